//! Writing snapshots: built and synced without the lock, put in place under it (`docs/formats/index.md`, "Rewriting the
//! snapshot").
//!
//! # Invariants
//!
//! 1. The log is durable up to the snapshot's head before the snapshot has its name: else a power cut could leave a
//!    snapshot that is ahead of its log.
//! 2. A snapshot never replaces one that is newer, nor one of another log than the live one.
//! 3. The name is durable before the log can be rotated: rotation removes what an older snapshot would need.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use mailfs::{FileSystem, FileSystemExt, OpenMode};

use super::{
    Env, IndexError, MailboxIndex, Result,
    commit::{self, Locked, with_lock},
    live::{Live, SnapshotMark},
    paths::Paths,
    pool::Job,
    rotate,
};
use crate::{
    snapshot::{SnapshotStamp, SnapshotTooLarge, encode},
    state::{LogPosition, RawIndexHeader, State},
};

/// How long a snapshot waits for the lock; then it is dropped, and a later one tried.
const LOCK_WAIT: Duration = Duration::from_secs(10);

impl MailboxIndex {
    /// Has a snapshot written in the background if the log has grown enough.
    pub(super) fn schedule_snapshot_if_due(self: &Arc<Self>) {
        let due = is_due(self.env(), &self.slot().live);
        if due && !self.is_deleted() && !self.snapshot_scheduled.swap(true, Ordering::AcqRel) {
            self.env().pool().schedule_job(Job::Snapshot(Arc::clone(self)));
        }
    }

    /// Has the cache purged in the background if it is due then.
    pub(super) fn schedule_cache_purge(self: &Arc<Self>) {
        let is_used = self.state().cache_file_seq().is_some() && !self.env().is_read_only();
        if is_used && !self.is_deleted() && !self.purge_scheduled.swap(true, Ordering::AcqRel) {
            self.env().pool().schedule_job(Job::PurgeCache(Arc::clone(self)));
        }
    }

    pub(super) fn write_snapshot_if_due(self: &Arc<Self>) -> Result<()> {
        self.snapshot_scheduled.store(false, Ordering::Release);
        let due = is_due(self.env(), &self.slot().live);
        if due && !self.is_deleted() {
            self.write_snapshot()?;
            self.purge_cache_if_due()?;
        }
        Ok(())
    }

    /// Writes a snapshot of the state that views see. `false` when somebody else was faster.
    pub fn write_snapshot(self: &Arc<Self>) -> Result<bool> {
        self.check_not_deleted()?;
        if self.slot().live.log.is_distrusted() {
            commit::heal(self)?;
        }
        let live = self.slot().live.clone();
        let Some(position) = live.state.position() else { return Ok(false) };
        let fs = &**self.env().fs();
        if self.env().syncs() {
            live.log.handle.sync_data().inspect_err(|_| live.log.distrust())?;
        }
        let unwritable =
            |e: SnapshotTooLarge| IndexError::Unwritable { dir: self.paths.dir.clone(), what: e.to_string() };
        let bytes = encode(&live.state, &SnapshotStamp::default()).map_err(unwritable)?;
        let temp = self.paths.temp("index", self.env().random());
        let len = bytes.len() as u64;
        let written = write_temp(self.env(), &self.paths, &temp, &bytes).and_then(|()| {
            with_lock(self, LOCK_WAIT, |locked| {
                put_in_place(locked, &temp, &live.state, SnapshotMark { at: position, len })
            })
        });
        if !matches!(written, Ok(true)) {
            // It may be gone already; what stays has a name that recovery clears.
            let _ = fs.unlink(&temp);
        }
        written
    }
}

/// Whether the log has grown enough since the snapshot, or cannot be rotated for want of one.
fn is_due(env: &Env, live: &Live) -> bool {
    let options = env.options();
    let Some(position) = live.state.position().filter(|_| !env.is_read_only()) else { return false };
    let (since, snapshot_len) = match live.snapshot {
        Some(mark) if mark.at.file_seq == position.file_seq => (mark.at.offset, mark.len),
        // It stands before a rotation: the next one must not come before the next snapshot.
        Some(_) => return true,
        None => (live.log.header.records_start(), 0),
    };
    let grown = u64::from(position.offset.saturating_sub(since));
    let in_this_log = live.snapshot.is_some_and(|mark| mark.at.file_seq == position.file_seq);
    grown >= options.snapshot_log_len_min.max(snapshot_len / 4)
        || (!in_this_log && rotate::is_long_enough(env, &live.log, position.offset))
}

fn write_temp(env: &Env, paths: &Paths, temp: &Path, bytes: &[u8]) -> Result<()> {
    let file = paths.create(&**env.fs(), temp)?;
    file.write_at(bytes, 0)?;
    if env.syncs() {
        file.sync_data()?;
    }
    Ok(())
}

fn put_in_place(locked: &mut Locked, temp: &Path, state: &State, mark: SnapshotMark) -> Result<bool> {
    let index = Arc::clone(&locked.index);
    let (env, paths) = (index.env(), &index.paths);
    let fs = &**env.fs();
    let reaches = locked.log.seq() == mark.at.file_seq && locked.written() >= mark.at.offset;
    if !reaches || locked.state.index_id() != state.index_id() {
        return Ok(false);
    }
    // One that claims to be ahead of the log is no better than none.
    if let Some((index_id, at)) = head_on_disk(fs, &paths.index)?
        && index_id == state.index_id()
        && at >= mark.at
        && at.file_seq == locked.log.seq()
        && at.offset <= locked.written()
    {
        index.slot().live.snapshot = Some(SnapshotMark { at, len: mark.len });
        return Ok(false);
    }
    replace(env, paths, temp)?;
    index.slot().live.snapshot = Some(mark);
    remove_old_log2(env, paths, state)?;
    Ok(true)
}

/// Writes the snapshot of a log that has just begun, which nobody but the lock's holder has seen.
pub(super) fn write_first(locked: &Locked) -> Result<()> {
    let index = Arc::clone(&locked.index);
    let (env, paths) = (index.env(), &index.paths);
    let unwritable = |e: SnapshotTooLarge| IndexError::Unwritable { dir: paths.dir.clone(), what: e.to_string() };
    let bytes = encode(&locked.state, &SnapshotStamp::default()).map_err(unwritable)?;
    let temp = paths.temp("index", env.random());
    let written = write_temp(env, paths, &temp, &bytes).and_then(|()| replace(env, paths, &temp));
    if written.is_err() {
        // It may have its name already; what stays has one that recovery clears.
        let _ = env.fs().unlink(&temp);
    }
    written?;
    let mark = locked.state.position().map(|at| SnapshotMark { at, len: bytes.len() as u64 });
    index.slot().live.snapshot = mark;
    Ok(())
}

/// Puts a finished snapshot in place of the present one, which becomes the backup. That may be another program's, which has
/// not synced it: a good backup is not to be replaced by one that a power cut empties.
pub(super) fn replace(env: &Env, paths: &Paths, temp: &Path) -> Result<()> {
    let fs = &**env.fs();
    if fs.metadata(&paths.index)?.is_some() {
        match fs.unlink(&paths.backup_tmp) {
            Err(e) if !e.is_not_found() => return Err(e.into()),
            _ => {}
        }
        if env.syncs() {
            fs.open(&paths.index, OpenMode::Read)?.sync_data()?;
        }
        fs.hard_link(&paths.index, &paths.backup_tmp)?;
        fs.rename(&paths.backup_tmp, &paths.backup)?;
    }
    fs.rename(temp, &paths.index)?;
    if env.syncs() {
        fs.sync_dir(&paths.dir)?;
    }
    Ok(())
}

/// Whether the snapshot on disk is one of the state's log; it is durable then. Another program's may not have been so.
pub(super) fn is_durable_in(env: &Env, paths: &Paths, state: &State) -> Result<bool> {
    let fs = &**env.fs();
    let Some(position) = state.position() else { return Ok(false) };
    let found = head_on_disk(fs, &paths.index)?;
    if !found.is_some_and(|(id, at)| id == state.index_id() && at.file_seq == position.file_seq) {
        return Ok(false);
    }
    if env.syncs() {
        fs.open(&paths.index, OpenMode::Read)?.sync_data()?;
    }
    Ok(true)
}

/// Index id and head of the snapshot on disk, from its first bytes.
fn head_on_disk(fs: &dyn FileSystem, path: &Path) -> Result<Option<(u32, LogPosition)>> {
    let bytes = match fs.read_range(path, 0, RawIndexHeader::SIZE) {
        Err(e) if e.is_not_found() => return Ok(None),
        other => other?,
    };
    let word = |offset: usize| {
        let bytes = bytes.get(offset..offset + 4)?;
        Some(u32::from_le_bytes(bytes.try_into().ok()?))
    };
    // Offsets of indexid, log_file_seq and log_file_head_offset.
    let (Some(index_id), Some(file_seq), Some(offset)) = (word(16), word(60), word(68)) else { return Ok(None) };
    Ok(Some((index_id, LogPosition { file_seq, offset })))
}

/// `.log.2` has served its time when the snapshot stands in the log after it.
fn remove_old_log2(env: &Env, paths: &Paths, state: &State) -> Result<()> {
    let rotated = state.header().log2_rotate_time.get();
    let known = rotated != 0 && rotated != u32::MAX;
    let age = u64::from(env.unix_time().saturating_sub(rotated));
    if !known || age < env.options().log2_age_max.as_secs() {
        return Ok(());
    }
    match env.fs().unlink(&paths.log2) {
        Err(e) if !e.is_not_found() => Err(e.into()),
        _ => Ok(()),
    }
}
