//! The log under its lock: what it says at its end, and appending to it.
//!
//! # Invariants
//!
//! 1. While a [`Locked`] exists, `Slot::committing` is set: views stay where they were when the lock was taken.
//! 2. `state` is what the log says up to `written`, plus `pieces`, which are still to be written.
//! 3. When it is dropped without [`Locked::publish`], what others of this process see is what they saw before.

use std::{
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Duration,
};

use mailfs::FileSystemExt;
use mailtypes::UidSet;

use crate::{
    engine::{
        Damage, IndexError, LockFor, MailboxIndex, Result, StoreLock, cache_file,
        live::stop_damage,
        log_file::{LogFile, LogLock, Opened},
        recover,
    },
    log::{EncodedTransaction, TRANSACTION_SIZE_TARGET, Transaction},
    replay::{Limits, Replay, Stop},
    state::{Deletion, State},
};

/// How often the log may be rotated or repaired between our asking for its lock and getting it.
const LOCK_TRIES_MAX: usize = 100;

/// Longest log that can be written again.
const LOG_LEN_MAX: u64 = 1 << 30;

/// See the module.
#[derive(Debug)]
pub(in crate::engine) struct Locked {
    pub(in crate::engine) index: Arc<MailboxIndex>,
    pub(in crate::engine) log: Arc<LogFile>,
    pub(in crate::engine) state: State,
    /// Where the log ends on disk.
    written: u32,
    pieces: Vec<EncodedTransaction>,
    /// Messages whose bodies go as soon as `pieces` are written.
    removals: Vec<(State, UidSet)>,
    /// Released after `Drop` has run.
    lock: LogLock,
    /// The store's own; released after the log's.
    pub(in crate::engine) store_lock: Option<Box<dyn StoreLock>>,
}

/// Takes the log's lock, reads to the end, and puts a torn end right.
pub(in crate::engine) fn lock(
    index: &Arc<MailboxIndex>,
    timeout: Duration,
    ranked: bool,
    what_for: LockFor,
) -> Result<Locked> {
    let fs = &**index.env().fs();
    let start = fs.monotonic();
    index.check_not_deleted()?;
    let store_lock = index.store.lock(timeout, ranked, what_for).map_err(|e| match e {
        IndexError::Fs(e) if e.is_timeout() => {
            IndexError::LockTimeout { path: index.paths.log.clone(), waited: timeout }
        }
        IndexError::Fs(e) if e.is_not_found() => {
            // The folder that the lock lies in is gone, and the mailbox with it.
            index.set_deleted();
            index.deleted_error()
        }
        other => other,
    })?;
    for _ in 0..LOCK_TRIES_MAX {
        index.check_not_deleted()?;
        let log = index.log_file();
        if log.is_distrusted() {
            heal(index, &log, ranked)?;
        } else {
            let left = timeout.saturating_sub(fs.monotonic().saturating_sub(start));
            let lock = log.lock(fs, left, ranked)?;
            match read_to_end(index, &log)? {
                At::End(state) => {
                    let written = state.position().map_or(0, |position| position.offset);
                    let index = Arc::clone(index);
                    let (pieces, removals) = (Vec::new(), Vec::new());
                    return Ok(Locked { index, log, state, written, pieces, removals, lock, store_lock });
                }
                At::OtherFile => continue,
                At::Damage(damage) => {
                    drop(lock);
                    tracing::warn!("{damage}");
                    recover::repair(index.env(), &index.paths, &*index.store, damage)?;
                }
            }
        }
        // Opens the file anew.
        index.refresh()?;
    }
    Err(IndexError::LockTimeout { path: index.paths.log.clone(), waited: timeout })
}

/// A write or sync of this log failed. What stood unsynced before the place that failed may be lost although reading still
/// shows it, and a hole before records yet to come would void those: all of it is written again, by another handle.
pub(in crate::engine) fn heal(index: &Arc<MailboxIndex>, log: &LogFile, ranked: bool) -> Result<()> {
    let fs = &**index.env().fs();
    let Opened::Usable(fresh) = LogFile::open(fs, &log.path)? else { return Ok(()) };
    if (fresh.device, fresh.inode) != (log.device, log.inode) {
        return Ok(());
    }
    let _lock = fresh.lock(fs, index.env().options().lock_timeout, ranked)?;
    let there = fs.metadata(&log.path)?;
    if there.is_none_or(|there| (there.device, there.inode) != (fresh.device, fresh.inode)) {
        // It was rotated while the lock was waited for: these bytes are another file's.
        return Ok(());
    }
    if index.env().syncs() {
        let bytes = fs.read_all(&log.path, LOG_LEN_MAX)?;
        tracing::warn!(path = %log.path.display(), "writing {} bytes again after a failed write or sync", bytes.len());
        fresh.handle.write_at(&bytes, 0)?;
        fresh.handle.sync_data()?;
    }
    log.set_healed();
    Ok(())
}

enum At {
    End(State),
    /// It was rotated, recreated or cut while we waited: the lock is on the wrong file or stale.
    OtherFile,
    /// To be repaired.
    Damage(Damage),
}

fn read_to_end(index: &Arc<MailboxIndex>, log: &Arc<LogFile>) -> Result<At> {
    if !log.is_header_unchanged()? {
        return Ok(At::Damage(log.damage(0, "the header was changed; marked as corrupted?")));
    }
    let generation = index.bell().generation();
    let mut slot = index.slot();
    let stop = match index.catch_up(&mut slot) {
        Err(IndexError::Corrupt(damage)) => return Ok(At::Damage(damage)),
        Err(e) => {
            drop(slot);
            if e.is_gone() {
                index.set_deleted();
            }
            return Err(e);
        }
        Ok(stop) => stop,
    };
    let same_file = Arc::ptr_eq(&slot.live.log, log);
    let state = slot.live.state.clone();
    let found = match stop {
        _ if !same_file => At::OtherFile,
        Stop::End => At::End(state.clone()),
        Stop::Torn { offset } => {
            cut_torn_end(index, log, offset)?;
            At::End(state.clone())
        }
        stop => At::Damage(stop_damage(log, &stop).unwrap_or_else(|| log.damage(0, stop.to_string()))),
    };
    let deleted = state.deletion() == Deletion::Done;
    slot.committing = matches!(found, At::End(_)) && !deleted;
    let changed = index.publish(&slot);
    drop(slot);
    index.bell().looked(generation);
    index.announce(changed);
    if deleted {
        index.set_deleted();
        return Err(index.deleted_error());
    }
    Ok(found)
}

/// A writer was killed inside its write. Dovecot would void the whole log for that.
fn cut_torn_end(index: &MailboxIndex, log: &LogFile, offset: u32) -> Result<()> {
    let len = log.handle.len()?;
    tracing::warn!(path = %log.path.display(), offset, "cut {} bytes of a torn end", len.saturating_sub(offset.into()));
    log.handle.set_len(offset.into())?;
    if index.env().syncs() {
        log.handle.sync_data().inspect_err(|_| log.distrust())?;
    }
    Ok(())
}

impl Locked {
    /// Adds a transaction to what is to be written, and makes `state` what it will be then. Leaves nothing behind when it
    /// fails.
    pub(in crate::engine) fn add(&mut self, transaction: &Transaction) -> Result<()> {
        if transaction.is_empty() {
            return Ok(());
        }
        let unwritable = |what: String| IndexError::Unwritable { dir: self.index.paths.dir.clone(), what };
        let pieces = transaction.encode(&self.state).map_err(|e| unwritable(e.to_string()))?;
        let mut replay = Replay::new(self.state.clone(), Limits::default());
        for piece in &pieces {
            let applied = replay.apply(&piece.bytes);
            if applied.stop != Stop::End {
                return Err(unwritable(applied.stop.to_string()));
            }
        }
        if let Some(problem) = replay.problems().first() {
            return Err(unwritable(problem.to_string()));
        }
        self.state = replay.finish();
        self.pieces.extend(pieces);
        Ok(())
    }

    /// Whether there is something to be written.
    pub(in crate::engine) fn has_pieces(&self) -> bool {
        !self.pieces.is_empty()
    }

    /// Where the log ends on disk.
    pub(in crate::engine) fn written(&self) -> u32 {
        self.written
    }

    /// Appends what was added, whole transactions in writes of a size that a kill does not tear. When it fails the log may
    /// be torn: [`Locked::cut_back`] must follow.
    pub(in crate::engine) fn write(&mut self) -> Result<()> {
        let mut buffer = Vec::new();
        for piece in mem::take(&mut self.pieces) {
            if !buffer.is_empty() && buffer.len() + piece.bytes.len() > TRANSACTION_SIZE_TARGET {
                self.write_piece(&mem::take(&mut buffer))?;
            }
            if buffer.is_empty() {
                buffer = piece.bytes;
            } else {
                buffer.extend(piece.bytes);
            }
        }
        if !buffer.is_empty() {
            self.write_piece(&buffer)?;
        }
        if !self.index.store.counts_references() {
            self.remove_bodies();
        }
        Ok(())
    }

    /// Has the bodies of these messages of a state removed once it is written that they are gone.
    pub(in crate::engine) fn remove_when_written(&mut self, state: State, uids: UidSet) {
        self.removals.push((state, uids));
    }

    /// Tells the store which messages went, now that the log says so durably.
    pub(in crate::engine) fn tell_gone(&mut self) {
        for (state, uids) in mem::take(&mut self.removals) {
            cache_file::count_deleted(&self.index, &state, &uids);
            let Some(store) = &mut self.store_lock else { continue };
            if let Err(error) = store.gone(&state, &uids) {
                let dir = self.index.paths.dir.display();
                tracing::warn!(%dir, "references of expunged messages {uids} stay counted: {error}");
            }
        }
    }

    /// Whether the store waits to be told which messages went.
    pub(in crate::engine) fn has_removals(&self) -> bool {
        !self.removals.is_empty()
    }

    /// What the store did under its lock is in force.
    pub(in crate::engine) fn publish_store(&mut self) {
        if let Some(store) = &mut self.store_lock {
            store.publish();
        }
    }

    /// What the store did under its lock is not in force.
    pub(in crate::engine) fn take_back_store(&mut self) {
        if let Some(store) = &mut self.store_lock {
            store.take_back();
        }
    }

    /// Only now: a Dovecot that finds no body where its index still has the message calls that a lost one, and rebuilds
    /// the whole mailbox. What cannot be removed stays as a file that nothing refers to.
    fn remove_bodies(&mut self) {
        for (state, uids) in mem::take(&mut self.removals) {
            cache_file::count_deleted(&self.index, &state, &uids);
            let store = &self.index.store;
            let refused = match catch_unwind(AssertUnwindSafe(|| store.remove(&state, &uids))) {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error.to_string(),
                Err(_) => "panic".to_owned(),
            };
            let dir = self.index.paths.dir.display();
            tracing::warn!(%dir, "bodies of expunged messages {uids} were not removed: {refused}");
        }
    }

    fn write_piece(&mut self, bytes: &[u8]) -> Result<()> {
        let end = u32::try_from(u64::from(self.written) + bytes.len() as u64).map_err(|_| IndexError::Unwritable {
            dir: self.index.paths.dir.clone(),
            what: format!("the log has {} bytes and can have no more", self.written),
        })?;
        self.log.handle.write_at(bytes, self.written.into()).inspect_err(|_| self.log.distrust())?;
        self.written = end;
        Ok(())
    }

    /// Takes an append back: the log ends at `end` again. `false` when that failed: the append may be in force.
    pub(in crate::engine) fn cut_back(&mut self, end: u32) -> bool {
        self.pieces.clear();
        self.removals.clear();
        self.log.distrust();
        let cut = self.log.handle.set_len(end.into());
        if cut.is_ok() && self.index.env().syncs() {
            // Best effort: the file system has just failed us. The log is one transaction shorter or torn in any case.
            let _ = self.log.handle.sync_data();
        }
        match cut {
            Ok(()) => {
                self.written = end;
                true
            }
            Err(e) => {
                tracing::error!(path = %self.log.path.display(), offset = end, "cannot take an append back: {e}");
                false
            }
        }
    }

    /// Lets views see `state`, which must be on disk as its operations promised.
    pub(in crate::engine) fn publish(&mut self) -> bool {
        debug_assert!(self.pieces.is_empty(), "published before it was written");
        self.publish_store();
        let index = &self.index;
        let mut slot = index.slot();
        slot.live.state = self.state.clone();
        slot.live.log = Arc::clone(&self.log);
        index.publish(&slot)
    }

    /// The log was rotated: the successor takes the place of the log, and its lock that of the lock.
    pub(in crate::engine) fn switch(&mut self, log: Arc<LogFile>, lock: LogLock, state: State) {
        self.written = state.position().map_or(0, |position| position.offset);
        self.state = state;
        self.log = log;
        let old = mem::replace(&mut self.lock, lock);
        self.lock.take_rank_from(old);
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        self.index.slot().committing = false;
    }
}
