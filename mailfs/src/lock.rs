//! Waiting for record locks: by polling, as an open-file-description lock cannot be waited for with an end in sight; and when
//! that takes long, by a thread that waits in the kernel. Other programs wait there: who only polls is served last.
//!
//! # Invariants
//!
//! 1. No mutex is held while sleeping.
//! 2. A guard unlocks when dropped, and only what it locked.
//! 3. Two threads may not lock through one handle without a [`LockPoller`]: the kernel takes them for one owner.

use std::{
    collections::VecDeque,
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::Duration,
};

use crate::{FileHandle, FileSystem, FsError, LockKind, OpenMode, Result};

/// The first pause between two attempts; each next is twice as long.
const PAUSE_MIN: Duration = Duration::from_micros(50);

/// The longest pause between two attempts.
const PAUSE_MAX: Duration = Duration::from_millis(5);

/// From this pause on it is waited in the kernel.
const WAIT_FROM: Duration = Duration::from_micros(400);

/// Pauses that grow, until a point in time.
struct Backoff<'a> {
    fs: &'a dyn FileSystem,
    path: &'a Path,
    start: Duration,
    timeout: Duration,
    pause: Duration,
}

impl<'a> Backoff<'a> {
    fn new(fs: &'a dyn FileSystem, path: &'a Path, timeout: Duration) -> Self {
        Self { fs, path, start: fs.monotonic(), timeout, pause: PAUSE_MIN }
    }

    /// How much time there still is.
    fn left(&self) -> Duration {
        self.timeout.saturating_sub(self.fs.monotonic().saturating_sub(self.start))
    }

    /// Sleeps once; fails when the time is over.
    fn wait(&mut self) -> Result<()> {
        let waited = self.fs.monotonic().saturating_sub(self.start);
        if waited >= self.timeout {
            return Err(timed_out(self.path, self.timeout));
        }
        self.fs.sleep(self.pause.min(self.timeout.saturating_sub(waited)));
        self.pause = (self.pause * 2).min(PAUSE_MAX);
        Ok(())
    }
}

pub(crate) fn timed_out(path: &Path, timeout: Duration) -> FsError {
    let text = format!("Timeout while waiting for lock for {} s", timeout.as_secs_f64());
    FsError::new("lock", path, io::Error::new(io::ErrorKind::TimedOut, text))
}

/// Takes a whole-file lock, polling for at most `timeout` (zero: one attempt). `path` is for the error.
///
/// Threads that share `file` must go through a [`LockPoller`] instead.
pub fn lock_with_timeout(
    fs: &dyn FileSystem,
    file: &FileHandle,
    path: &Path,
    kind: LockKind,
    timeout: Duration,
) -> Result<LockGuard> {
    let mut backoff = Backoff::new(fs, path, timeout);
    while !file.try_lock(kind)? {
        backoff.wait()?;
    }
    Ok(LockGuard { file: Arc::clone(file), turn: None })
}

/// Has a thread wait for the lock by a handle of its own, which is given back locked. When time is over the thread is left to
/// itself: it gives up what it gets. `None` where that cannot be done, as when the name leads to another file by now.
fn wait_in_kernel(
    fs: &dyn FileSystem,
    file: &FileHandle,
    path: &Path,
    kind: LockKind,
    backoff: &Backoff<'_>,
) -> Result<Option<FileHandle>> {
    let own = match fs.open(path, OpenMode::ReadWrite) {
        Err(e) if e.is_not_found() => return Ok(None),
        other => other?,
    };
    let (ours, theirs) = (own.metadata()?, file.metadata()?);
    if (ours.device, ours.inode) != (theirs.device, theirs.inode) {
        return Ok(None);
    }
    let (sender, receiver) = mpsc::channel();
    let waiting = thread::Builder::new().name("culver-lock".to_owned()).spawn(move || {
        let locked = own.lock_waiting(kind);
        // Nobody may be there any more: then the handle is closed, and the lock with it.
        let _ = sender.send(locked.map(|locked| locked.then_some(own)));
    });
    if waiting.is_err() {
        return Ok(None);
    }
    match receiver.recv_timeout(backoff.left()) {
        Ok(locked) => locked,
        Err(_) => Err(timed_out(path, backoff.timeout)),
    }
}

/// A record lock held; unlocks when dropped.
#[derive(Debug)]
#[must_use = "the lock is held as long as the guard"]
pub struct LockGuard {
    file: FileHandle,
    /// After the file's lock is gone: dropped last.
    turn: Option<Turn>,
}

impl LockGuard {
    /// The locked file.
    pub fn file(&self) -> &FileHandle {
        &self.file
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        // A failed unlock is made good by the close; nobody could do better here.
        let _ = self.file.unlock();
        drop(self.turn.take());
    }
}

/// A lock of the `flock` family held; unlocks when dropped.
#[derive(Debug)]
#[must_use = "the lock is held as long as the guard"]
pub struct FlockGuard {
    file: FileHandle,
}

impl FlockGuard {
    /// Takes it if nobody has it. It is the handle's: open the file anew for each attempt.
    pub fn try_take(file: &FileHandle) -> Result<Option<Self>> {
        Ok(file.try_flock()?.then(|| Self { file: Arc::clone(file) }))
    }

    /// The locked file.
    pub fn file(&self) -> &FileHandle {
        &self.file
    }
}

impl Drop for FlockGuard {
    fn drop(&mut self) {
        // As with record locks.
        let _ = self.file.unflock();
    }
}

/// The queue before one file's lock: within the process first come, first served, and one at a time asks the kernel.
///
/// Keep one for each file, beside the shared handle.
#[derive(Clone, Default)]
pub struct LockPoller {
    queue: Arc<Mutex<Queue>>,
}

#[derive(Default)]
struct Queue {
    next: u64,
    waiting: VecDeque<u64>,
}

impl fmt::Debug for LockPoller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LockPoller").field("waiting", &self.queue().waiting.len()).finish()
    }
}

impl LockPoller {
    /// With nobody waiting.
    pub fn new() -> Self {
        Self::default()
    }

    /// Like [`lock_with_timeout`], but after those who asked before; also excludes threads that share the handle.
    pub fn lock(
        &self,
        fs: &dyn FileSystem,
        file: &FileHandle,
        path: &Path,
        kind: LockKind,
        timeout: Duration,
    ) -> Result<LockGuard> {
        let mut backoff = Backoff::new(fs, path, timeout);
        let turn = self.queue_up();
        while !turn.has_come() {
            backoff.wait()?;
        }
        while !file.try_lock(kind)? {
            if backoff.pause >= WAIT_FROM
                && fs.waits_for_locks()
                && let Some(held) = wait_in_kernel(fs, file, path, kind, &backoff)?
            {
                return Ok(LockGuard { file: held, turn: Some(turn) });
            }
            backoff.wait()?;
        }
        Ok(LockGuard { file: Arc::clone(file), turn: Some(turn) })
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queue_up(&self) -> Turn {
        let mut queue = self.queue();
        let number = queue.next;
        queue.next += 1;
        queue.waiting.push_back(number);
        Turn { poller: self.clone(), number }
    }
}

/// A place in the queue; left when dropped.
#[derive(Debug)]
struct Turn {
    poller: LockPoller,
    number: u64,
}

impl Turn {
    fn has_come(&self) -> bool {
        self.poller.queue().waiting.front() == Some(&self.number)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let number = self.number;
        self.poller.queue().waiting.retain(|n| *n != number);
    }
}

/// A lock that is a file made for it and a record lock on that (`mailboxes.lock`, `dovecot-vsize.lock`); the file is
/// removed when the lock is given back.
#[derive(Debug)]
#[must_use = "the lock is held as long as this"]
pub struct CreatedLock {
    fs: Arc<dyn FileSystem>,
    path: PathBuf,
    guard: LockGuard,
}

impl CreatedLock {
    /// Creates the file with `mode` if it is not there, and locks it for writing.
    pub fn acquire(fs: &Arc<dyn FileSystem>, path: &Path, mode: u32, timeout: Duration) -> Result<Self> {
        let mut backoff = Backoff::new(&**fs, path, timeout);
        loop {
            let file = match fs.open(path, OpenMode::ReadWrite) {
                Err(e) if e.is_not_found() => match fs.open(path, OpenMode::CreateNew { mode }) {
                    Err(e) if e.is_already_exists() => {
                        backoff.wait()?;
                        continue;
                    }
                    other => other?,
                },
                other => other?,
            };
            if file.try_lock(LockKind::Exclusive)? {
                let guard = LockGuard { file, turn: None };
                // The former holder may have removed the name between our open and our lock.
                if is_at(&**fs, guard.file(), path)? {
                    return Ok(Self { fs: Arc::clone(fs), path: path.to_owned(), guard });
                }
            }
            backoff.wait()?;
        }
    }
}

impl Drop for CreatedLock {
    fn drop(&mut self) {
        // Removed while still locked, so that nobody can lock a name that is about to go. A file that stays is harmless.
        if is_at(&*self.fs, self.guard.file(), &self.path).unwrap_or(false) {
            let _ = self.fs.unlink(&self.path);
        }
    }
}

/// Whether the path still leads to this open file.
pub(crate) fn is_at(fs: &dyn FileSystem, file: &FileHandle, path: &Path) -> Result<bool> {
    let ours = file.metadata()?;
    Ok(fs.metadata(path)?.is_some_and(|there| (there.device, there.inode) == (ours.device, ours.inode)))
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::RealDisk;

    const FOREVER: Duration = Duration::from_secs(600);

    fn open(dir: &Path) -> (Arc<dyn FileSystem>, PathBuf) {
        let path = dir.join("log");
        std::fs::write(&path, b"").unwrap();
        (Arc::new(RealDisk::new()), path)
    }

    #[test]
    fn a_lock_that_is_waited_for_in_the_kernel_is_had_and_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let (fs, path) = open(dir.path());
        let file = || fs.open(&path, OpenMode::ReadWrite).unwrap();
        let (first, second, third) = (file(), file(), file());
        assert!(first.try_lock(LockKind::Exclusive).unwrap());
        let (waiting, waits) = mpsc::channel();
        let waiter = {
            let (fs, path) = (Arc::clone(&fs), path.clone());
            thread::spawn(move || {
                let poller = LockPoller::new();
                // That it has begun to wait in the kernel cannot be seen from here; it has either way.
                waiting.send(()).unwrap();
                let held = poller.lock(&*fs, &second, &path, LockKind::Exclusive, FOREVER).unwrap();
                assert!(!third.try_lock(LockKind::Exclusive).unwrap());
                drop(held);
                assert!(third.try_lock(LockKind::Exclusive).unwrap());
            })
        };
        waits.recv().unwrap();
        thread::sleep(Duration::from_millis(20));
        first.unlock().unwrap();
        waiter.join().unwrap();
    }

    #[test]
    fn who_gave_up_waiting_keeps_nobody_out() {
        let dir = tempfile::tempdir().unwrap();
        let (fs, path) = open(dir.path());
        let file = || fs.open(&path, OpenMode::ReadWrite).unwrap();
        let (first, second) = (file(), file());
        assert!(first.try_lock(LockKind::Exclusive).unwrap());
        let poller = LockPoller::new();
        let soon = Duration::from_millis(10);
        assert!(poller.lock(&*fs, &second, &path, LockKind::Exclusive, soon).unwrap_err().is_timeout());
        first.unlock().unwrap();
        drop(poller.lock(&*fs, &second, &path, LockKind::Exclusive, FOREVER).unwrap());
    }

    #[test]
    fn a_name_that_leads_to_another_file_is_polled_for_by_the_handle() {
        let dir = tempfile::tempdir().unwrap();
        let (fs, path) = open(dir.path());
        let file = fs.open(&path, OpenMode::ReadWrite).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, b"another").unwrap();
        let backoff = Backoff::new(&*fs, &path, FOREVER);
        assert!(wait_in_kernel(&*fs, &file, &path, LockKind::Exclusive, &backoff).unwrap().is_none());
    }
}
