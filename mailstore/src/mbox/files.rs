//! One mbox and its index: what all who have it open in one `Env` share.
//!
//! # Invariants
//!
//! 1. Where messages lie is in the index (`mbox` extension), and is believed only as long as the file looks as the index
//!    says (size and time of modification), and, where this process knows it, to the nanosecond.
//! 2. The file is read with the read locks held and changed with the write locks held. No lock is kept while anybody but
//!    the disk is waited for.
//! 3. The mbox is locked before the index's log.

use std::{
    fmt,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread::{self, ThreadId},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mailfs::{FileHandle, FileSystem, LockKind, LockOrder, LockRank, Metadata};
use mailindex::{
    engine::{LockFor, MailboxIndex, StoreLock},
    state::{ExtensionSpec, State},
};
use mailtypes::Guid;

use super::{
    Shared,
    locks::LockedFile,
    undo::{Append, Change, Undo, Witness},
};
use crate::{indexed::Stir, mailbox_list::MailboxDirs};

/// Where messages lie, and how the file looked when that was found.
pub(super) const MBOX_EXT: ExtensionSpec =
    ExtensionSpec { name: "mbox", hdr_size: 32, record_size: 8, record_align: 8, no_shrink: true };

/// What tells messages without UIDs from each other.
pub(super) const MD5_EXT: ExtensionSpec = ExtensionSpec::record("header-md5", 16, 1);

/// The header of [`MBOX_EXT`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct SyncHeader {
    /// Bytes of the file.
    pub(super) size: u64,
    /// Its time of modification, Unix seconds.
    pub(super) mtime: u32,
    /// Only the end of the file was looked at when it was synchronised last.
    pub(super) is_partial: bool,
    /// The mailbox's identity.
    pub(super) guid: Guid,
}

impl SyncHeader {
    pub(super) fn of(state: &State) -> Option<Self> {
        let extension = state.extension(MBOX_EXT.name)?;
        Some(Self {
            size: u64::from_le_bytes(extension.hdr_bytes(0)?),
            mtime: u32::from_le_bytes(extension.hdr_bytes(8)?),
            is_partial: extension.hdr_bytes(12).is_some_and(|[dirty]| dirty != 0),
            guid: extension.hdr_bytes(16).map_or(Guid::ZERO, Guid),
        })
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = self.size.to_le_bytes().to_vec();
        bytes.extend_from_slice(&self.mtime.to_le_bytes());
        bytes.extend_from_slice(&u32::from(self.is_partial).to_le_bytes());
        bytes.extend_from_slice(&self.guid.0);
        bytes
    }

    fn is_of(&self, there: &Metadata) -> bool {
        (self.size, self.mtime) == (there.len, seconds(there.modified))
    }
}

/// Unix seconds as the index has them.
pub(super) fn seconds(time: SystemTime) -> u32 {
    u32::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()).unwrap_or(u32::MAX)
}

/// The file as it was when it agreed with the index.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Seen {
    device: u64,
    inode: u64,
    len: u64,
    modified: SystemTime,
    header: SyncHeader,
}

/// See the module.
pub(super) struct MboxFiles {
    me: Weak<Self>,
    pub(super) shared: Arc<Shared>,
    pub(super) dirs: MailboxDirs,
    pub(super) undo: Undo,
    index: Mutex<Weak<MailboxIndex>>,
    seen: Mutex<Option<Seen>>,
    /// Locks in force, by the thread that carries the commit.
    held: Mutex<Vec<(ThreadId, Arc<LockedFile>)>>,
    pub(super) stir: Arc<Stir>,
    /// When flags were written last, on the monotonic clock.
    pub(super) flushed: Mutex<Duration>,
    /// The undo file speaks of messages appended by the commit under way.
    pub(super) owes_clear: AtomicBool,
    /// What the commit under way has appended so far.
    pub(super) appending: Mutex<Option<Change>>,
    /// How many have the mailbox open.
    pub(super) open_count: AtomicUsize,
}

impl MboxFiles {
    pub(super) fn new(shared: &Arc<Shared>, dirs: &MailboxDirs) -> Arc<Self> {
        let fs = shared.env.fs();
        Arc::new_cyclic(|me| Self {
            me: Weak::clone(me),
            shared: Arc::clone(shared),
            dirs: dirs.clone(),
            undo: Undo::new(fs, &dirs.index, shared.syncs()),
            index: Mutex::default(),
            seen: Mutex::default(),
            held: Mutex::default(),
            stir: Arc::default(),
            flushed: Mutex::new(fs.monotonic()),
            owes_clear: AtomicBool::new(false),
            appending: Mutex::default(),
            open_count: AtomicUsize::new(0),
        })
    }

    pub(super) fn fs(&self) -> &Arc<dyn FileSystem> {
        self.shared.env.fs()
    }

    pub(super) fn shared_self(&self) -> Option<Arc<Self>> {
        self.me.upgrade()
    }

    /// The mbox.
    pub(super) fn path(&self) -> &Path {
        &self.dirs.mail
    }

    /// To be told once it is open.
    pub(super) fn belongs_to(&self, index: &Arc<MailboxIndex>) {
        *self.index.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(index);
    }

    pub(super) fn index(&self) -> Option<Arc<MailboxIndex>> {
        self.index.lock().unwrap_or_else(PoisonError::into_inner).upgrade()
    }

    fn seen(&self) -> MutexGuard<'_, Option<Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the file, as it looks now, agrees with an index that has this header.
    pub(super) fn agrees(&self, there: &Metadata, header: SyncHeader) {
        let Metadata { device, inode, len, modified, .. } = *there;
        *self.seen() = Some(Seen { device, inode, len, modified, header });
    }

    /// What was noted may not be in the index after all.
    pub(super) fn forget(&self) {
        *self.seen() = None;
    }

    /// Whether messages lie where the index says, of a file that looks like this.
    pub(super) fn is_current(&self, state: &State, there: &Metadata) -> bool {
        let Some(header) = SyncHeader::of(state).filter(|header| header.is_of(there)) else { return false };
        let mut seen = self.seen();
        let Metadata { device, inode, len, modified, .. } = *there;
        let now = Seen { device, inode, len, modified, header };
        match *seen {
            // Somebody has changed it within a second.
            Some(before) if before.header == header && before != now => false,
            _ => {
                *seen = Some(now);
                true
            }
        }
    }

    /// The same under a lock. Its time may be set by somebody who has no lock (`docs/formats/mbox.md`, What Dovecot 2.3.19
    /// does): what was found under this lock still holds then.
    pub(super) fn is_current_under(&self, held: &LockedFile, state: &State, there: &Metadata) -> bool {
        let has_len = SyncHeader::of(state).is_some_and(|header| header.size == there.len);
        held.agrees() && has_len || self.is_current(state, there)
    }

    /// Whether the commit under way has appended something, and could be undone.
    pub(super) fn is_appending(&self) -> bool {
        self.appending.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The lock that the commit on this thread holds.
    pub(super) fn held(&self) -> Option<Arc<LockedFile>> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.iter().find(|(thread, _)| *thread == thread::current().id()).map(|(_, lock)| Arc::clone(lock))
    }

    /// Locks the file; takes back what a dead process left half done.
    pub(super) fn lock_file(&self, kind: LockKind, timeout: Duration) -> mailfs::Result<LockedFile> {
        let locks = &self.shared.options.locks;
        let take = |kind| locks.take(self.fs(), self.path(), kind, timeout);
        let locked = take(kind)?;
        if !self.undo.is_pending()? {
            return Ok(locked);
        }
        let locked = match kind {
            LockKind::Exclusive => locked,
            LockKind::Shared => {
                drop(locked);
                take(LockKind::Exclusive)?
            }
        };
        self.recover_with(&locked.file)?;
        if kind == LockKind::Exclusive {
            return Ok(locked);
        }
        drop(locked);
        take(kind)
    }

    fn recover_with(&self, file: &FileHandle) -> mailfs::Result<()> {
        let witness = |append: Append| Some(witness_of(&self.index()?.refresh().ok()?, append));
        if self.undo.recover(file, witness)? {
            self.forget();
        }
        Ok(())
    }

    /// For [`MessageStore::lock`](mailindex::engine::MessageStore::lock).
    pub(super) fn lock_for_commit(
        &self,
        what_for: LockFor,
        timeout: Duration,
        ranked: bool,
    ) -> mailfs::Result<Option<Box<dyn StoreLock>>> {
        let kind = match what_for {
            LockFor::Flags => return Ok(None),
            LockFor::Reading => LockKind::Shared,
            LockFor::Messages => LockKind::Exclusive,
        };
        let rank = ranked.then(|| LockOrder::enter(LockRank::Uidlist));
        let lock = Arc::new(self.lock_file(kind, timeout)?);
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.push((thread::current().id(), Arc::clone(&lock)));
        Ok(Some(Box::new(InForce { files: Weak::clone(&self.me), lock, _rank: rank })))
    }
}

/// What an index, as it is on disk, says of an append. One that did not agree with the file as it was before it has been
/// made since, or was not durable.
fn witness_of(state: &State, append: Append) -> Witness {
    let has_seen = |header: SyncHeader| header.mtime > 0 && header.size == append.old_len;
    match SyncHeader::of(state) {
        _ if state.next_uid() > append.first => Witness::Has,
        Some(header) if state.next_uid() == append.first && has_seen(header) => Witness::HasNot,
        _ => Witness::Silent,
    }
}

/// A commit's lock of the mbox.
struct InForce {
    files: Weak<MboxFiles>,
    lock: Arc<LockedFile>,
    _rank: Option<mailfs::RankGuard>,
}

impl StoreLock for InForce {}

impl Drop for InForce {
    fn drop(&mut self) {
        let Some(files) = self.files.upgrade() else { return };
        *files.appending.lock().unwrap_or_else(PoisonError::into_inner) = None;
        // What was appended is in the log by now, or was taken back.
        if self.lock.kind == LockKind::Exclusive
            && files.owes_clear.swap(false, Ordering::AcqRel)
            && let Err(e) = files.undo.clear(false)
        {
            tracing::warn!("the undo file of an mbox stays: {e}");
        }
        let mut held = files.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.retain(|(_, other)| !Arc::ptr_eq(other, &self.lock));
    }
}

impl fmt::Debug for InForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InForce").field("lock", &self.lock).finish_non_exhaustive()
    }
}
