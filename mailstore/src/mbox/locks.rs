//! The locks of the host's mail programs (`docs/formats/mbox.md`, Locks): which, in which order, how long.
//!
//! # Invariants
//!
//! 1. All methods of a list are taken, in its order, and given back in reverse.
//! 2. What is locked is the file that bears the name when the last lock is taken.

use std::{fmt, io, path::Path, sync::Arc, time::Duration};

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
            write: vec![MboxLock::Dotlock, MboxLock::Fcntl],
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
    /// Dropped first to last, so the last taken is the first.
    _held: Vec<Box<dyn fmt::Debug + Send + Sync>>,
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
        let start = fs.monotonic();
        for _ in 0..REPLACED_TRIES_MAX {
            let left = timeout.saturating_sub(fs.monotonic().saturating_sub(start));
            if let Some(locked) = self.take_once(fs, path, kind, left)? {
                return Ok(locked);
            }
        }
        let busy = io::Error::new(io::ErrorKind::TimedOut, "it is replaced again and again while it is locked");
        Err(FsError::new("lock", path, busy))
    }

    /// `None` when the name leads to another file by now.
    fn take_once(
        &self,
        fs: &Arc<dyn FileSystem>,
        path: &Path,
        kind: LockKind,
        timeout: Duration,
    ) -> mailfs::Result<Option<LockedFile>> {
        let start = fs.monotonic();
        let left = || timeout.saturating_sub(fs.monotonic().saturating_sub(start));
        let (methods, mode) = match kind {
            LockKind::Shared => (&self.read, OpenMode::Read),
            LockKind::Exclusive => (&self.write, OpenMode::ReadWrite),
        };
        let mut held: Vec<Box<dyn fmt::Debug + Send + Sync>> = Vec::new();
        let mut opened: Option<FileHandle> = None;
        for method in methods {
            match method {
                MboxLock::Dotlock | MboxLock::DotlockTry => match self.dotlock(fs, path, left()) {
                    Ok(lock) => held.insert(0, Box::new(lock)),
                    Err(e) if *method == MboxLock::DotlockTry && e.kind() == io::ErrorKind::PermissionDenied => {
                        tracing::debug!("no dotlock: {e}");
                    }
                    Err(e) => return Err(e),
                },
                MboxLock::Fcntl => {
                    let file = match &opened {
                        Some(file) => Arc::clone(file),
                        None => fs.open(path, mode)?,
                    };
                    held.insert(0, Box::new(lock_with_timeout(&**fs, &file, path, kind, left())?));
                    opened = Some(file);
                }
                MboxLock::Flock => {
                    let (file, lock) = flock(&**fs, path, mode, left())?;
                    held.insert(0, Box::new(lock));
                    opened.get_or_insert(file);
                }
            }
        }
        let file = match opened {
            Some(file) => file,
            None => fs.open(path, mode)?,
        };
        let (ours, there) = (file.metadata()?, fs.metadata(path)?);
        let is_same = there.is_some_and(|there| (there.device, there.inode) == (ours.device, ours.inode));
        Ok(is_same.then_some(LockedFile { file, kind, _held: held }))
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
