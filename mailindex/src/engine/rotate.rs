//! Rotation: `.log` becomes `.log.2` and a new one takes its place (`docs/formats/log.md`, "Rotation").
//!
//! # Invariants
//!
//! 1. Done with the old log's lock held, the new one's taken before anybody can see the new file.
//! 2. The snapshot on disk belongs to the old log, so that `.log.2` before it is not needed any more and the chain holds
//!    whichever of the names a crash leaves.
//! 3. The old log is durable before the new one is its successor, and the new one before it has the name.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use mailfs::FileSystem;
use zerocopy::IntoBytes;

use super::{
    Env, Result,
    commit::Locked,
    log_file::{LogFile, LogLock, Opened},
    paths::Paths,
    snapshot_writer,
};
use crate::{
    log::{RawLogHeader, Transaction},
    replay::{Limits, Replay, Stop},
    state::State,
};

/// Offset of `log2_rotate_time` in the base header.
const LOG2_ROTATE_TIME: u16 = 76;

/// A `.log.newlock` that old was left by a crash: nobody takes that long between making and renaming it.
pub(super) const NEWLOCK_STALE: Duration = Duration::from_secs(60);

/// The successor, locked.
#[derive(Debug)]
pub(super) struct Rotated {
    pub(super) log: Arc<LogFile>,
    pub(super) lock: LogLock,
}

/// Rotates. `end` is the old log's end, `modseq` its counter there, `first_record` what the new log begins with. `None`
/// when somebody else seems to be making a log.
pub(super) fn rotate(
    env: &Env,
    paths: &Paths,
    old: &LogFile,
    end: u32,
    modseq: u64,
    first_record: &[u8],
) -> Result<Option<Rotated>> {
    let fs = &**env.fs();
    if !clear_newlock(fs, paths)? {
        return Ok(None);
    }
    let header = RawLogHeader::next(&old.header, end, env.unix_time(), modseq);
    let made = make_next(env, paths, &header, first_record).and_then(|(log, lock)| {
        if env.syncs() {
            old.handle.sync_data().inspect_err(|_| old.distrust())?;
            old.take_dirty();
        }
        swap_names(env, paths)?;
        Ok((log, lock))
    });
    match made {
        Ok((log, lock)) => {
            if env.syncs()
                && let Err(e) = fs.sync_dir(&paths.dir)
            {
                // It is to be synced before anything in the new log is acknowledged.
                tracing::warn!("the name of a new log is not durable yet: {e}");
                log.owe_name();
            }
            Ok(Some(Rotated { log, lock }))
        }
        Err(e) => {
            // Until the rename the old log is the log. A lock file that stays is stale in a minute.
            let _ = fs.unlink(&paths.newlock);
            Err(e)
        }
    }
}

/// Removes what a crash left; `false` when it is too young for that.
pub(super) fn clear_newlock(fs: &dyn FileSystem, paths: &Paths) -> Result<bool> {
    let Some(there) = fs.metadata(&paths.newlock)? else { return Ok(true) };
    let age = fs.now().duration_since(there.modified.max(SystemTime::UNIX_EPOCH)).unwrap_or_default();
    if age < NEWLOCK_STALE {
        return Ok(false);
    }
    tracing::warn!(path = %paths.newlock.display(), "removing a stale lock, {} s old", age.as_secs());
    match fs.unlink(&paths.newlock) {
        Err(e) if !e.is_not_found() => Err(e.into()),
        _ => Ok(true),
    }
}

fn make_next(env: &Env, paths: &Paths, header: &RawLogHeader, first_record: &[u8]) -> Result<(Arc<LogFile>, LogLock)> {
    let fs = &**env.fs();
    let file = paths.create(fs, &paths.newlock)?;
    let bytes = [header.as_bytes(), first_record].concat();
    file.write_at(&bytes, 0)?;
    if env.syncs() {
        file.sync_data()?;
    }
    match LogFile::from_handle(file, &paths.log)? {
        Opened::Usable(log) => {
            let lock = log.lock(fs, Duration::ZERO, false)?;
            Ok((log, lock))
        }
        Opened::Damaged(_, damage) => Err(damage.into()),
        Opened::Missing => unreachable_file(paths),
    }
}

fn unreachable_file(paths: &Paths) -> Result<(Arc<LogFile>, LogLock)> {
    Err(super::IndexError::NotFound { dir: paths.dir.clone() })
}

fn swap_names(env: &Env, paths: &Paths) -> Result<()> {
    let fs = &**env.fs();
    match fs.unlink(&paths.log2) {
        Err(e) if !e.is_not_found() => return Err(e.into()),
        _ => {}
    }
    fs.hard_link(&paths.log, &paths.log2)?;
    if env.syncs() {
        // Else a crash might keep the new log's name and lose the old log's.
        fs.sync_dir(&paths.dir)?;
    }
    Ok(fs.rename(&paths.newlock, &paths.log)?)
}

/// Rotates at the end of a commit, when it is due and nothing speaks against it; whether it did. Failure costs nothing: the
/// old log goes on.
pub(super) fn rotate_if_due(locked: &mut Locked) -> bool {
    if !is_due(locked) {
        return false;
    }
    let state = locked.state.clone();
    match rotate_as(locked, &state) {
        Ok(rotated) => rotated,
        Err(e) => {
            tracing::warn!(path = %locked.log.path.display(), "not rotated: {e}");
            false
        }
    }
}

fn is_due(locked: &Locked) -> bool {
    let log = &locked.log;
    if !is_long_enough(locked.index.env(), log, locked.written()) || locked.state.has_pending() || locked.has_pieces() {
        return false;
    }
    // Else a crash, or the next rotation, would leave a snapshot that no log continues (invariant 2).
    let snapshot = locked.index.slot().live.snapshot;
    snapshot.is_some_and(|mark| mark.at.file_seq == log.seq())
}

/// Whether a log that ends at `end` has the length, or length and age, to be rotated.
pub(super) fn is_long_enough(env: &Env, log: &LogFile, end: u32) -> bool {
    let (options, len) = (env.options(), u64::from(end));
    let age = u64::from(env.unix_time().saturating_sub(log.header.create_stamp.get()));
    let grown =
        len >= options.rotate_len_max || len >= options.rotate_len_min && age >= options.rotate_age_min.as_secs();
    grown && !env.is_read_only()
}

/// Rotates; the new log begins with what `state` says, which may count other mod-sequences than the old one's end.
pub(super) fn rotate_as(locked: &mut Locked, state: &State) -> Result<bool> {
    let (index, old) = (Arc::clone(&locked.index), Arc::clone(&locked.log));
    let env = index.env();
    let mut stamp = Transaction::new();
    stamp.header_update(LOG2_ROTATE_TIME, &env.unix_time().to_le_bytes());
    if !snapshot_writer::is_durable_in(env, &index.paths, &locked.state)? {
        // Somebody has removed it, or put an older one there: another is due first.
        index.slot().live.snapshot = None;
        return Ok(false);
    }
    let unwritable = |what: String| super::IndexError::Unwritable { dir: index.paths.dir.clone(), what };
    let modseq = state.highest_modseq().value();
    if old.is_map() {
        // Whatever stands behind the tail, Dovecot takes the map for damaged.
        stamp.move_tail();
    }
    let mut entered = Replay::new(state.clone(), Limits::default());
    let next = RawLogHeader::next(&old.header, locked.written(), env.unix_time(), modseq);
    entered.enter(&next).map_err(|e| unwritable(e.to_string()))?;
    let pieces = stamp.encode(&entered.finish()).map_err(|e| unwritable(e.to_string()))?;
    let first: Vec<u8> = pieces.into_iter().flat_map(|piece| piece.bytes).collect();
    let Some(rotated) = rotate(env, &index.paths, &old, locked.written(), modseq, &first)? else { return Ok(false) };
    // From here on the new log is the log, whatever happens.
    let mut replay = Replay::new(state.clone(), Limits::default());
    let entered = replay.enter(&rotated.log.header).map_err(|e| e.to_string());
    let applied = entered.map(|()| replay.apply(&first));
    match applied {
        Ok(applied) if applied.stop == Stop::End => locked.switch(rotated.log, rotated.lock, replay.finish()),
        other => {
            old.distrust();
            return Err(unwritable(format!("the new log does not continue the old one: {other:?}")));
        }
    }
    Ok(true)
}
