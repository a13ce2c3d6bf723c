//! One open log file: handle, identity, header, lock, and whether it owes the disk anything.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use mailfs::{FileHandle, FileSystem, LockGuard, LockKind, LockOrder, LockPoller, LockRank, OpenMode, RankGuard};

use super::{Damage, IndexError, Result};
use crate::log::{LogHeaderError, RawLogHeader};

/// The longest header looked at; later versions may have longer ones than ours, but not by much.
const HEADER_LEN_MAX: usize = 4096;

/// What the names of the files of an mdbox's map begin with.
const MAP_PREFIX: &str = "dovecot.map.index";

/// See the module. A rotated log is another `LogFile`.
#[derive(Debug)]
pub(super) struct LogFile {
    pub(super) handle: FileHandle,
    pub(super) path: PathBuf,
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) header: RawLogHeader,
    poller: LockPoller,
    /// Acknowledged bytes may not be on disk yet.
    dirty: AtomicBool,
    /// A write or sync failed: what this handle says of the file is not believed any more.
    distrusted: AtomicBool,
    /// What stood in the file then was written again.
    healed: AtomicBool,
    /// Its name may not be on disk yet.
    owes_name: AtomicBool,
}

/// What opening a log finds.
#[derive(Debug)]
pub(super) enum Opened {
    /// There is no such file.
    Missing,
    /// A header that can be used.
    Usable(Arc<LogFile>),
    /// A file that cannot be used as it is. (The handle is for the lock: repairs are made under it.)
    Damaged(Arc<LogFile>, Damage),
}

/// The log's lock, and its rank on this thread.
#[derive(Debug)]
pub(super) struct LogLock {
    /// Dropped first.
    _held: LockGuard,
    rank: Option<RankGuard>,
}

impl LogLock {
    /// The thread holds one log's lock as before, only on another file. `old` is released.
    pub(super) fn take_rank_from(&mut self, mut old: Self) {
        self.rank = old.rank.take();
    }
}

impl LogFile {
    pub(super) fn open(fs: &dyn FileSystem, path: &Path) -> Result<Opened> {
        let handle = match fs.open(path, OpenMode::ReadWrite) {
            Err(e) if e.is_not_found() => return Ok(Opened::Missing),
            other => other?,
        };
        Self::from_handle(handle, path)
    }

    /// Takes over a file that was just opened or made.
    pub(super) fn from_handle(handle: FileHandle, path: &Path) -> Result<Opened> {
        let metadata = handle.metadata()?;
        let header = read_header(&handle)?;
        let (header, bad) = match header.and_then(|header| header.check_usable().map(|()| header)) {
            Ok(header) => (header, None),
            Err(e) => (RawLogHeader::first(0, 0, 0, 0), Some(e)),
        };
        let log = Arc::new(Self {
            handle,
            path: path.to_owned(),
            device: metadata.device,
            inode: metadata.inode,
            header,
            poller: LockPoller::new(),
            dirty: AtomicBool::new(false),
            distrusted: AtomicBool::new(false),
            healed: AtomicBool::new(false),
            owes_name: AtomicBool::new(false),
        });
        Ok(match bad {
            None => Opened::Usable(log),
            Some(e) => {
                let damage = log.damage(0, e.to_string());
                Opened::Damaged(log, damage)
            }
        })
    }

    pub(super) fn seq(&self) -> u32 {
        self.header.file_seq.get()
    }

    pub(super) fn damage(&self, offset: u32, what: impl Into<String>) -> Damage {
        Damage { path: self.path.clone(), offset: offset.into(), what: what.into() }
    }

    /// Whether the header on disk is still the one that was read: nobody marked the file as corrupted.
    pub(super) fn is_header_unchanged(&self) -> Result<bool> {
        Ok(read_header(&self.handle)?.is_ok_and(|header| header == self.header))
    }

    /// Whether it is the log of an mdbox's map, as its name tells.
    pub(super) fn is_map(&self) -> bool {
        let name = self.path.file_name().map(OsStr::as_encoded_bytes).unwrap_or_default();
        name.starts_with(MAP_PREFIX.as_bytes())
    }

    /// Which place its lock has in the order.
    fn rank(&self) -> LockRank {
        if self.is_map() { LockRank::MapLog } else { LockRank::MailboxLog }
    }

    /// Waits for the lock; zero tries once. `ranked` enters the lock order of this thread: only for the first of several
    /// logs that are tried at once.
    pub(super) fn lock(&self, fs: &dyn FileSystem, timeout: Duration, ranked: bool) -> Result<LogLock> {
        let rank = ranked.then(|| LockOrder::enter(self.rank()));
        let lock = self.poller.lock(fs, &self.handle, &self.path, LockKind::Exclusive, timeout);
        match lock {
            Ok(lock) => Ok(LogLock { _held: lock, rank }),
            Err(e) if e.is_timeout() => Err(IndexError::LockTimeout { path: self.path.clone(), waited: timeout }),
            Err(e) => Err(e.into()),
        }
    }

    /// Up to `len` bytes from `offset`, fewer at the end of the file.
    pub(super) fn read(&self, offset: u32, len: usize) -> Result<Vec<u8>> {
        let there = self.handle.len()?.saturating_sub(offset.into());
        let mut bytes = vec![0; usize::try_from(there).unwrap_or(usize::MAX).min(len)];
        let read = self.handle.read_at(&mut bytes, offset.into())?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Acknowledged bytes were appended without a sync; `true` when that is news.
    pub(super) fn set_dirty(&self) -> bool {
        !self.dirty.swap(true, Ordering::AcqRel)
    }

    /// To be called when everything appended so far is covered by a sync: after it by one who holds the lock, before it by
    /// anybody else. `true` when there was something to sync.
    pub(super) fn take_dirty(&self) -> bool {
        self.dirty.swap(false, Ordering::AcqRel)
    }

    /// The folder is to be synced before anything in this file is acknowledged.
    pub(super) fn owe_name(&self) {
        self.owes_name.store(true, Ordering::Release);
    }

    pub(super) fn take_owed_name(&self) -> bool {
        self.owes_name.swap(false, Ordering::AcqRel)
    }

    pub(super) fn distrust(&self) {
        self.distrusted.store(true, Ordering::Release);
    }

    pub(super) fn is_distrusted(&self) -> bool {
        self.distrusted.load(Ordering::Acquire)
    }

    pub(super) fn set_healed(&self) {
        self.healed.store(true, Ordering::Release);
    }

    /// Opened anew, the file is as little to be believed as before, until it was written again.
    pub(super) fn take_distrust_from(&self, old: &Self) {
        let owed = old.is_distrusted() && !old.healed.load(Ordering::Acquire);
        if owed && (self.device, self.inode) == (old.device, old.inode) {
            self.distrust();
        }
    }
}

fn read_header(handle: &FileHandle) -> Result<std::result::Result<RawLogHeader, LogHeaderError>> {
    let mut bytes = [0; RawLogHeader::SIZE as usize];
    let read = handle.read_at(&mut bytes, 0)?;
    let parsed = RawLogHeader::parse(bytes.get(..read).unwrap_or_default());
    if !matches!(parsed, Err(LogHeaderError::Incomplete { .. })) || read < bytes.len() {
        return Ok(parsed);
    }
    // A longer header of a later version.
    let mut bytes = vec![0; HEADER_LEN_MAX];
    let read = handle.read_at(&mut bytes, 0)?;
    Ok(RawLogHeader::parse(bytes.get(..read).unwrap_or_default()))
}
