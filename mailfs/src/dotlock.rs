//! Dotlocks: `path.lock` beside `path`, made with `O_EXCL` (`docs/formats/locking.md`, Dotlocks).
//!
//! # Invariants
//!
//! 1. A lock file held by this process stands in [`HELD`] before our pid stands in the file: a pid of ours in a lock file
//!    that is not in the table was left by a dead process that had the same number.
//! 2. Nobody's lock is removed or renamed without having looked, just before, that it is still the same inode.
//! 3. The name goes before the entry in the table does.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use crate::{
    Access, FileHandle, FileSystem, FsError, Metadata, OpenMode, Result,
    lock::{is_at, timed_out},
};

/// The first pause between two looks at somebody's lock; each next is twice as long, and somewhat random.
const PAUSE_MIN: Duration = Duration::from_millis(1);

/// The longest pause between two looks.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// A lock whose owner is dead is left alone for so long, as its text may just be being written.
const DEAD_OWNER_AGE_MIN: Duration = Duration::from_secs(2);

/// More than any pid and host name: what is longer holds something else.
const TEXT_LEN_MAX: usize = 512;

/// Device and inode of the lock files held by this process. Of the process and not of any object in it, as the pid is,
/// which the table stands beside.
static HELD: Mutex<Vec<(u64, u64)>> = Mutex::new(Vec::new());

fn held() -> MutexGuard<'static, Vec<(u64, u64)>> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What stands in the lock file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DotlockContent {
    /// `pid:host`, by which others see whether the owner lives.
    Owner,
    /// The next content of the protected file, put in its place by [`Dotlock::replace`].
    Replacement,
}

/// How to take a dotlock.
#[derive(Clone, Copy, Debug)]
pub struct DotlockOptions {
    /// How long to wait for somebody else's; zero: one look.
    pub timeout: Duration,
    /// How long a lock that tells of no living owner on this host, and its protected file, must not have changed to be
    /// overridden.
    pub stale: Duration,
    /// Who may use the lock file; the protected file, where that is replaced.
    pub access: Access,
    /// What stands in it.
    pub content: DotlockContent,
}

impl Default for DotlockOptions {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(120),
            stale: Duration::from_secs(120),
            access: Access::from(0o600),
            content: DotlockContent::Owner,
        }
    }
}

/// A dotlock held; given back when dropped, if it is still ours.
#[derive(Debug)]
#[must_use = "the lock is held as long as this"]
pub struct Dotlock {
    fs: Arc<dyn FileSystem>,
    path: PathBuf,
    lock_path: PathBuf,
    file: FileHandle,
    identity: (u64, u64),
    content: DotlockContent,
}

impl Dotlock {
    /// Locks `path`, which need not exist. Fails with [`FsError::is_timeout`] when somebody else holds it all the while.
    pub fn acquire(fs: &Arc<dyn FileSystem>, path: &Path, options: DotlockOptions) -> Result<Self> {
        let lock_path = lock_path_of(path);
        let start = fs.monotonic();
        let mut pause = PAUSE_MIN;
        let mut seen = Observation::default();
        loop {
            match fs.open(&lock_path, OpenMode::CreateNew { mode: options.access.mode }) {
                Ok(file) => return Self::take(fs, path, lock_path, file, options),
                Err(e) if e.is_already_exists() => {}
                Err(e) => return Err(e),
            }
            if seen.override_stale(&**fs, path, &lock_path, options.stale)? {
                continue;
            }
            let waited = fs.monotonic().saturating_sub(start);
            if waited >= options.timeout {
                return Err(timed_out(&lock_path, options.timeout));
            }
            fs.sleep(jittered(&**fs, pause).min(options.timeout.saturating_sub(waited)));
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    fn take(
        fs: &Arc<dyn FileSystem>,
        path: &Path,
        lock_path: PathBuf,
        file: FileHandle,
        options: DotlockOptions,
    ) -> Result<Self> {
        let DotlockOptions { access, content, .. } = options;
        if access.gid.is_some() {
            // Best effort, as everywhere.
            let _ = file.set_permissions(access.mode, access.gid);
        }
        let metadata = file.metadata()?;
        let identity = (metadata.device, metadata.inode);
        held().push(identity);
        let lock = Self { fs: Arc::clone(fs), path: path.to_owned(), lock_path, file, identity, content };
        match lock.touch() {
            // A lock without a text is one all the same, and on a full disk it is needed to remove something.
            Err(e) if e.is_no_space() => Ok(lock),
            Err(e) => Err(e),
            Ok(()) => Ok(lock),
        }
    }

    /// The lock file, open for writing.
    pub fn file(&self) -> &FileHandle {
        &self.file
    }

    /// Shows that the owner lives, to those who cannot ask for its process. To be called every 10 seconds or so by who
    /// holds a lock with [`DotlockContent::Owner`] for long; does nothing for the other kind.
    pub fn touch(&self) -> Result<()> {
        match self.content {
            DotlockContent::Owner => {
                let text = format!("{}:{}", self.fs.process_id(), self.fs.host_name());
                self.file.write_at(text.as_bytes(), 0)
            }
            DotlockContent::Replacement => Ok(()),
        }
    }

    /// Puts the lock file in the place of the protected one and so gives the lock back. Both the data and the name are
    /// durable when it returns. Fails without touching anything when somebody has overridden the lock.
    pub fn replace(self) -> Result<()> {
        self.file.sync_data()?;
        if !is_at(&*self.fs, &self.file, &self.lock_path)? {
            let lost = io::Error::other("the lock was overridden by somebody else");
            return Err(FsError::new("replace by", &self.lock_path, lost));
        }
        self.fs.rename(&self.lock_path, &self.path)?;
        self.fs.sync_dir(dir_of(&self.path))
    }
}

impl Drop for Dotlock {
    fn drop(&mut self) {
        // After `replace` the name is gone or somebody else's. A lock that cannot be removed goes stale.
        if is_at(&*self.fs, &self.file, &self.lock_path).unwrap_or(false) {
            let _ = self.fs.unlink(&self.lock_path);
        }
        let mut held = held();
        if let Some(at) = held.iter().position(|h| *h == self.identity) {
            held.swap_remove(at);
        }
    }
}

/// What was seen of somebody's lock, and since when.
#[derive(Default)]
struct Observation {
    last: Option<(Trace, Duration)>,
}

/// All that changes when an owner shows life, in the lock and in the protected file.
#[derive(Eq, PartialEq)]
struct Trace {
    lock: (u64, u64, u64, SystemTime, SystemTime),
    protected: Option<(u64, SystemTime)>,
}

impl Trace {
    fn new(lock: &Metadata, protected: Option<&Metadata>) -> Self {
        Self {
            lock: (lock.device, lock.inode, lock.len, lock.modified, lock.changed),
            protected: protected.map(|p| (p.len, p.modified)),
        }
    }
}

impl Observation {
    /// Looks once; `true` when the lock was stale and has been removed.
    fn override_stale(&mut self, fs: &dyn FileSystem, path: &Path, lock_path: &Path, stale: Duration) -> Result<bool> {
        let file = match fs.open(lock_path, OpenMode::Read) {
            Ok(file) => file,
            Err(e) if e.is_not_found() => return Ok(false), // just given back
            // Of another user: its times can be seen, its text cannot.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                return self.override_unreadable(fs, path, lock_path, stale);
            }
            Err(e) => return Err(e),
        };
        let lock = file.metadata()?;
        match owner_state(fs, &lock, read_owner(&file)?) {
            OwnerState::Alive => return Ok(false),
            OwnerState::Dead if age(fs, &lock) >= DEAD_OWNER_AGE_MIN => {}
            OwnerState::Dead | OwnerState::Unknown => {
                if !self.is_stale(fs, &lock, path, stale)? {
                    return Ok(false);
                }
            }
        }
        remove_if_same(fs, &lock, lock_path)
    }

    fn override_unreadable(
        &mut self,
        fs: &dyn FileSystem,
        path: &Path,
        lock_path: &Path,
        stale: Duration,
    ) -> Result<bool> {
        match fs.metadata(lock_path)? {
            Some(lock) if self.is_stale(fs, &lock, path, stale)? => remove_if_same(fs, &lock, lock_path),
            _ => Ok(false),
        }
    }

    fn is_stale(&mut self, fs: &dyn FileSystem, lock: &Metadata, path: &Path, stale: Duration) -> Result<bool> {
        let trace = Trace::new(lock, fs.metadata(path)?.as_ref());
        let now = fs.monotonic();
        match &self.last {
            Some((last, since)) if *last == trace => Ok(now.saturating_sub(*since) >= stale),
            _ => {
                self.last = Some((trace, now));
                Ok(false)
            }
        }
    }
}

enum OwnerState {
    /// A process of this host that exists, or a thread of ours.
    Alive,
    /// A process of this host that does not exist.
    Dead,
    /// Of another host, or the text does not say.
    Unknown,
}

fn owner_state(fs: &dyn FileSystem, lock: &Metadata, owner: Option<(u32, String)>) -> OwnerState {
    if held().contains(&(lock.device, lock.inode)) {
        return OwnerState::Alive;
    }
    match owner {
        Some((pid, host)) if host == fs.host_name() => {
            // Our own pid, and not in the table: of a process before us.
            if pid != fs.process_id() && fs.process_exists(pid) { OwnerState::Alive } else { OwnerState::Dead }
        }
        _ => OwnerState::Unknown,
    }
}

fn read_owner(file: &FileHandle) -> Result<Option<(u32, String)>> {
    let mut text = [0; TEXT_LEN_MAX];
    let len = file.read_at(&mut text, 0)?;
    Ok(text.get(..len).filter(|_| len < TEXT_LEN_MAX).and_then(parse_owner))
}

/// `pid:host`, an end of line allowed.
fn parse_owner(text: &[u8]) -> Option<(u32, String)> {
    let (pid, host) = std::str::from_utf8(text).ok()?.trim_end().split_once(':')?;
    let pid = pid.parse().ok().filter(|pid| *pid != 0)?;
    (!host.is_empty() && !host.contains(|c: char| c.is_whitespace())).then(|| (pid, host.to_owned()))
}

fn age(fs: &dyn FileSystem, lock: &Metadata) -> Duration {
    fs.now().duration_since(lock.modified).unwrap_or_default()
}

fn remove_if_same(fs: &dyn FileSystem, lock: &Metadata, lock_path: &Path) -> Result<bool> {
    let now = fs.metadata(lock_path)?;
    if now.is_none_or(|now| (now.device, now.inode) != (lock.device, lock.inode)) {
        return Ok(false);
    }
    match fs.unlink(lock_path) {
        Err(e) if !e.is_not_found() => Err(e),
        _ => Ok(true),
    }
}

fn jittered(fs: &dyn FileSystem, pause: Duration) -> Duration {
    let mut byte = [0];
    fs.random(&mut byte);
    let [byte] = byte;
    // At least the least pause, at most the whole.
    (pause / 2 + pause / 2 * u32::from(byte) / 255).max(PAUSE_MIN)
}

fn lock_path_of(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".lock");
    name.into()
}

/// The directory a name is in.
pub(crate) fn dir_of(path: &Path) -> &Path {
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}
