//! The locks of the host's mail programs (`docs/formats/mbox.md`, Locks): which, in which order, how long.
//!
//! # Invariants
//!
//! 1. All methods of a list are taken, in its order.
//! 2. No lock is held while another one is waited for: programs of the host whose lists have another order, as those of a
//!    Debian beside others, do not wait for us for ever.
//! 3. What is locked is the file that bears the name when the last lock is taken.

use std::{
    fmt, io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mailfs::{
    Dotlock, DotlockContent, DotlockOptions, FileHandle, FileSystem, FlockGuard, FsError, LockKind, OpenMode,
    lock_with_timeout,
};

use crate::mailbox_list::Rights;

/// How often a file is opened again that was replaced while its lock was waited for.
const REPLACED_TRIES_MAX: usize = 10;

/// Between two attempts at a lock of the `flock` family.
const FLOCK_PAUSE: Duration = Duration::from_millis(20);

/// A way to lock an mbox file. All programs of a host that touch the files must agree.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MboxLock {
    /// A file with `.lock` behind the name.
    Dotlock,
    /// The same, passed over where the folder may not be written.
    DotlockTry,
    /// A record lock; `lockf` is the same.
    Fcntl,
    /// A lock of the `flock` family; readers keep each other out.
    Flock,
}

/// Which locks are taken, and how long they are waited for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MboxLocks {
    /// For reading.
    pub read: Vec<MboxLock>,
    /// For writing.
    pub write: Vec<MboxLock>,
    /// How long somebody else's lock is waited for.
    pub timeout: Duration,
    /// How long a dotlock of no living owner, and the file, must not have changed to be overridden.
    pub dotlock_stale: Duration,
}

impl Default for MboxLocks {
    fn default() -> Self {
        Self {
            read: vec![MboxLock::Fcntl],
            write: vec![MboxLock::Fcntl, MboxLock::Dotlock],
            timeout: Duration::from_secs(5 * 60),
            dotlock_stale: Duration::from_secs(2 * 60),
        }
    }
}

/// A file that is locked; given back when dropped.
#[derive(Debug)]
pub(super) struct LockedFile {
    pub(super) file: FileHandle,
    pub(super) kind: LockKind,
    /// It was found to agree with the index since it was locked.
    agrees: AtomicBool,
    _held: Held,
}

impl LockedFile {
    /// It agrees with the index, and nobody else may change it before the lock is given back.
    pub(super) fn note_agreement(&self) {
        self.agrees.store(true, Ordering::Release);
    }

    /// Whether that was noted.
    pub(super) fn agrees(&self) -> bool {
        self.agrees.load(Ordering::Acquire)
    }
}

/// Locks, the last taken first, and so the first to be dropped.
type Held = Vec<Box<dyn fmt::Debug + Send + Sync>>;

/// How an attempt at all locks ended.
enum Attempt {
    Locked(LockedFile),
    /// The name leads to another file by now.
    Replaced,
    /// Somebody else has the lock at this place of the list.
    Busy(usize, FsError),
}

impl MboxLocks {
    /// Locks a file that is there. Fails with [`FsError::is_timeout`] when somebody else holds a lock all the while.
    pub(super) fn take(
        &self,
        fs: &Arc<dyn FileSystem>,
        path: &Path,
        kind: LockKind,
        timeout: Duration,
    ) -> mailfs::Result<LockedFile> {
        let timeout = timeout.min(self.timeout);
        let (start, mut replaced, mut awaited) = (fs.monotonic(), 0, 0);
        loop {
            let left = timeout.saturating_sub(fs.monotonic().saturating_sub(start));
            match self.take_once(fs, path, kind, awaited, left)? {
                Attempt::Locked(locked) => return Ok(locked),
                Attempt::Replaced if replaced < REPLACED_TRIES_MAX => replaced += 1,
                Attempt::Replaced => break,
                Attempt::Busy(_, busy) if left.is_zero() => return Err(busy),
                // That one is waited for next, with nothing held.
                Attempt::Busy(place, _) => awaited = place,
            }
        }
        let busy = io::Error::new(io::ErrorKind::TimedOut, "it is replaced again and again while it is locked");
        Err(FsError::new("lock", path, busy))
    }

    /// Waits for the lock at the place `awaited` of the list, and takes the others if nobody has them.
    fn take_once(
        &self,
        fs: &Arc<dyn FileSystem>,
        path: &Path,
        kind: LockKind,
        awaited: usize,
        timeout: Duration,
    ) -> mailfs::Result<Attempt> {
        let (methods, mode) = match kind {
            LockKind::Shared => (&self.read, OpenMode::Read),
            LockKind::Exclusive => (&self.write, OpenMode::ReadWrite),
        };
        let mut opened: Option<FileHandle> = None;
        let mut held = Held::new();
        let others = (0..methods.len()).filter(|place| *place != awaited);
        for place in methods.get(awaited).map(|_| awaited).into_iter().chain(others) {
            let timeout = if place == awaited { timeout } else { Duration::ZERO };
            let Some(method) = methods.get(place) else { continue };
            match self.take_one(*method, fs, path, (kind, mode), timeout, &mut opened) {
                Ok(lock) => lock.into_iter().for_each(|lock| held.insert(0, lock)),
                Err(e) if e.is_timeout() => return Ok(Attempt::Busy(place, e)),
                Err(e) => return Err(e),
            }
        }
        let file = match opened {
            Some(file) => file,
            None => fs.open(path, mode)?,
        };
        let (ours, there) = (file.metadata()?, fs.metadata(path)?);
        let is_same = there.is_some_and(|there| (there.device, there.inode) == (ours.device, ours.inode));
        Ok(if is_same {
            Attempt::Locked(LockedFile { file, kind, agrees: AtomicBool::new(false), _held: held })
        } else {
            Attempt::Replaced
        })
    }

    fn take_one(
        &self,
        method: MboxLock,
        fs: &Arc<dyn FileSystem>,
        path: &Path,
        (kind, mode): (LockKind, OpenMode),
        timeout: Duration,
        opened: &mut Option<FileHandle>,
    ) -> mailfs::Result<Option<Box<dyn fmt::Debug + Send + Sync>>> {
        match method {
            MboxLock::Dotlock | MboxLock::DotlockTry => match self.dotlock(fs, path, timeout) {
                Ok(lock) => Ok(Some(Box::new(lock))),
                Err(e) if method == MboxLock::DotlockTry && e.kind() == io::ErrorKind::PermissionDenied => {
                    tracing::debug!("no dotlock: {e}");
                    Ok(None)
                }
                Err(e) => Err(e),
            },
            MboxLock::Fcntl => {
                let file = match opened {
                    Some(file) => Arc::clone(file),
                    None => Arc::clone(opened.insert(fs.open(path, mode)?)),
                };
                Ok(Some(Box::new(lock_with_timeout(&**fs, &file, path, kind, timeout)?)))
            }
            MboxLock::Flock => {
                let (file, lock) = flock(&**fs, path, mode, timeout)?;
                opened.get_or_insert(file);
                Ok(Some(Box::new(lock)))
            }
        }
    }

    fn dotlock(&self, fs: &Arc<dyn FileSystem>, path: &Path, timeout: Duration) -> mailfs::Result<Dotlock> {
        let dir = path.parent().unwrap_or(path);
        let access = mailfs::Access { mode: 0o600, ..Rights::of(&**fs, dir)?.file_access() };
        let options = DotlockOptions { timeout, stale: self.dotlock_stale, access, content: DotlockContent::Owner };
        Dotlock::acquire(fs, path, options)
    }
}

/// Each attempt with a handle of its own.
fn flock(
    fs: &dyn FileSystem,
    path: &Path,
    mode: OpenMode,
    timeout: Duration,
) -> mailfs::Result<(FileHandle, FlockGuard)> {
    let start = fs.monotonic();
    loop {
        let file = fs.open(path, mode)?;
        if let Some(lock) = FlockGuard::try_take(&file)? {
            return Ok((file, lock));
        }
        if fs.monotonic().saturating_sub(start) >= timeout {
            let busy = io::Error::new(io::ErrorKind::TimedOut, "somebody else holds its lock");
            return Err(FsError::new("lock", path, busy));
        }
        fs.sleep(FLOCK_PAUSE);
    }
}

#[cfg(test)]
mod tests {
    use mailfs::{FileSystemExt, sim::SimDisk};

    use super::*;

    #[test]
    fn writers_keep_everybody_out_and_readers_only_writers() {
        let fs = SimDisk::new().as_file_system();
        let path = Path::new("/mbox");
        fs.write_atomic(path, b"", 0o600, false).unwrap();
        let locks = MboxLocks::default();
        let take = |kind| locks.take(&fs, path, kind, Duration::ZERO);
        let readers = [take(LockKind::Shared).unwrap(), take(LockKind::Shared).unwrap()];
        assert!(take(LockKind::Exclusive).is_err_and(|e| e.is_timeout()));
        assert!(!fs.exists(Path::new("/mbox.lock")).unwrap(), "what was taken in vain is given back");
        drop(readers);
        let writer = take(LockKind::Exclusive).unwrap();
        assert!(fs.exists(Path::new("/mbox.lock")).unwrap());
        assert!(take(LockKind::Shared).is_err_and(|e| e.is_timeout()));
        drop(writer);
        assert!(!fs.exists(Path::new("/mbox.lock")).unwrap());
        assert!(take(LockKind::Shared).is_ok());
    }

    /// Each holds what the other wants next, for a moment.
    #[test]
    fn lists_of_another_order_do_not_wait_for_each_other_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mbox");
        std::fs::write(&path, b"").unwrap();
        let fs: Arc<dyn FileSystem> = Arc::new(mailfs::RealDisk::new());
        let taken = |write: Vec<MboxLock>| {
            let locks = MboxLocks { write, ..MboxLocks::default() };
            (0..200).for_each(|_| drop(locks.take(&fs, &path, LockKind::Exclusive, Duration::from_secs(60)).unwrap()));
        };
        std::thread::scope(|scope| {
            for write in [[MboxLock::Dotlock, MboxLock::Fcntl], [MboxLock::Fcntl, MboxLock::Dotlock]] {
                scope.spawn(move || taken(write.to_vec()));
            }
        });
    }

    #[test]
    fn every_kind_of_lock_keeps_writers_apart() {
        let fs = SimDisk::new().as_file_system();
        let path = Path::new("/mbox");
        fs.write_atomic(path, b"", 0o600, false).unwrap();
        for method in [MboxLock::Dotlock, MboxLock::DotlockTry, MboxLock::Fcntl, MboxLock::Flock] {
            let locks = MboxLocks { write: vec![method], ..MboxLocks::default() };
            let take = || locks.take(&fs, path, LockKind::Exclusive, Duration::ZERO);
            let held = take().unwrap();
            assert!(take().is_err_and(|e| e.is_timeout()), "{method:?}");
            drop(held);
            assert!(take().is_ok(), "{method:?}");
        }
    }
}
