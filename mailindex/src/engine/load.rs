//! The state from the files alone: snapshot or nothing, and the logs behind it (`docs/formats/index.md`, "Opening and
//! refreshing"). Takes no lock.

use std::sync::Arc;

use mailfs::{FileSystem, FileSystemExt};

use super::{
    Damage, IndexError, Result,
    live::{Live, SnapshotMark, replay_log, report_problems},
    log_file::{LogFile, Opened},
    paths::Paths,
};
use crate::{
    log::{modseq_at, modseq_bound_at},
    replay::{Limits, Replay, Stop},
    snapshot,
    state::State,
};

/// Largest snapshot read: some fifty million messages.
const SNAPSHOT_LEN_MAX: u64 = 2 << 30;

/// A mailbox read from its files.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) live: Live,
    /// Why the log was not read further.
    pub(super) stop: Stop,
    /// A snapshot that could not be used though the logs made up for it.
    pub(super) bad_snapshot: Option<Damage>,
}

/// A snapshot read from its file.
#[derive(Debug)]
pub(super) enum Snapshot {
    Missing,
    Usable {
        state: State,
        len: u64,
    },
    /// `partial` is what could be read although messages are missing: fit to keep flags from, not to go on from.
    Damaged {
        damage: Damage,
        partial: Option<State>,
    },
}

/// Reads a mailbox.
pub(super) fn load(fs: &dyn FileSystem, paths: &Paths) -> Result<Loaded> {
    let log = match LogFile::open(fs, &paths.log)? {
        Opened::Usable(log) => log,
        Opened::Damaged(_, damage) => return Err(damage.into()),
        Opened::Missing => return Err(nothing_here(fs, paths)?),
    };
    let bad_snapshot = match read_snapshot(fs, &paths.index)? {
        Snapshot::Missing => None,
        Snapshot::Damaged { damage, .. } => Some(damage),
        Snapshot::Usable { state, len } => {
            let before = state.clone();
            let mark = state.position().map(|at| SnapshotMark { at, len });
            match continue_from(fs, paths, &log, state)? {
                Ok((state, stop)) => {
                    let live = Live { log, state, snapshot: mark };
                    return Ok(Loaded { live, stop, bad_snapshot: None });
                }
                Err(what) => {
                    let damage = Damage { path: paths.index.clone(), offset: 0, what };
                    // The logs may reach back to the beginning and yet lack what the snapshot has.
                    if is_ahead(&log, &before)? {
                        return Err(damage.into());
                    }
                    Some(damage)
                }
            }
        }
    };
    match continue_from(fs, paths, &log, State::empty())? {
        Ok((state, stop)) => Ok(Loaded { live: Live { log, state, snapshot: None }, stop, bad_snapshot }),
        Err(what) => Err(bad_snapshot.unwrap_or_else(|| log.damage(0, what)).into()),
    }
}

/// Whether a snapshot of the same index has more than its log: the log has lost its end, or was replaced by an older one.
pub(super) fn is_ahead(log: &LogFile, snapshot: &State) -> Result<bool> {
    let Some(at) = snapshot.position() else { return Ok(false) };
    let past_end = at.file_seq == log.seq() && u64::from(at.offset) > log.handle.len()?;
    Ok(snapshot.index_id() == log.header.indexid.get() && (past_end || at.file_seq > log.seq()))
}

/// Neither log; is there anything else?
fn nothing_here(fs: &dyn FileSystem, paths: &Paths) -> Result<IndexError> {
    for path in [&paths.index, &paths.backup] {
        if fs.metadata(path)?.is_some() {
            return Ok(Damage { path: paths.log.clone(), offset: 0, what: "the log is missing".into() }.into());
        }
    }
    Ok(IndexError::NotFound { dir: paths.dir.clone() })
}

/// Reads and decodes a snapshot file.
pub(super) fn read_snapshot(fs: &dyn FileSystem, path: &std::path::Path) -> Result<Snapshot> {
    let bytes = match fs.read_all(path, SNAPSHOT_LEN_MAX) {
        Err(e) if e.is_not_found() => return Ok(Snapshot::Missing),
        other => other?,
    };
    let damage = |what: String| Damage { path: path.to_owned(), offset: 0, what };
    let decoded = match snapshot::decode(&bytes) {
        Ok(decoded) => decoded,
        Err(e) => return Ok(Snapshot::Damaged { damage: damage(e.to_string()), partial: None }),
    };
    // The log behind it does not bring such messages back.
    if let Some(problem) = decoded.problems.iter().find(|problem| problem.loses_messages()) {
        return Ok(Snapshot::Damaged { damage: damage(problem.to_string()), partial: Some(decoded.state) });
    }
    for problem in &decoded.problems {
        tracing::warn!(path = %path.display(), "put right: {problem}");
    }
    Ok(Snapshot::Usable { state: decoded.state, len: bytes.len() as u64 })
}

type Continued = std::result::Result<(State, Stop), String>;

/// Goes on from a state (that of a snapshot, or the empty one) to the end of `log`; the text says why the files do not
/// connect.
pub(super) fn continue_from(fs: &dyn FileSystem, paths: &Paths, log: &Arc<LogFile>, state: State) -> Result<Continued> {
    let (prev_seq, prev_end) = (log.header.prev_file_seq.get(), log.header.prev_file_offset.get());
    let position = state.position();
    let in_log = position.is_some_and(|at| at.file_seq == log.seq());
    let at_start = match position {
        Some(at) => at.file_seq == prev_seq && at.offset == prev_end,
        None => prev_seq == 0,
    };
    if !in_log && !at_start {
        return through_log2(fs, paths, log, state);
    }
    let state = match prepare_state(log, state, in_log)? {
        Ok(state) => state,
        Err(what) => return Ok(Err(what)),
    };
    let tail = state.recorded_tail();
    let mut replay = Replay::new(state, Limits::default());
    recall(log, &mut replay, tail, position.filter(|_| in_log).map(|at| at.offset))?;
    if let Err(e) = replay.enter(&log.header) {
        return Ok(Err(e.to_string()));
    }
    let from = position.filter(|_| in_log).map_or(log.header.records_start(), |at| at.offset);
    let (_, stop) = replay_log(log, &mut replay, from, None)?;
    report_problems(log, &replay);
    Ok(Ok((replay.finish(), stop)))
}

/// The state belongs to the log before, or to the beginning of it.
fn through_log2(fs: &dyn FileSystem, paths: &Paths, log: &Arc<LogFile>, state: State) -> Result<Continued> {
    let (prev_seq, prev_end) = (log.header.prev_file_seq.get(), log.header.prev_file_offset.get());
    if prev_seq == 0 {
        // A reset: whatever was before is void, the state too.
        return Ok(Err(format!("it belongs to a log before the reset by log {}", log.seq())));
    }
    let log2 = match LogFile::open(fs, &paths.log2)? {
        Opened::Usable(log2) if log2.seq() == prev_seq => log2,
        Opened::Damaged(_, damage) => return Ok(Err(damage.to_string())),
        Opened::Usable(_) | Opened::Missing => return Ok(Err(format!("log {prev_seq} is not there any more"))),
    };
    let position = state.position();
    let from = match position {
        Some(at) if at.file_seq == prev_seq => at.offset,
        None if log2.header.prev_file_seq.get() == 0 => log2.header.records_start(),
        _ => return Ok(Err(format!("the logs reach back to {prev_seq} only"))),
    };
    let state = match prepare_state(&log2, state, position.is_some())? {
        Ok(state) => state,
        Err(what) => return Ok(Err(what)),
    };
    let tail = state.recorded_tail();
    let mut replay = Replay::new(state, Limits::default());
    recall(&log2, &mut replay, tail, position.map(|at| at.offset))?;
    if let Err(e) = replay.enter(&log2.header) {
        return Ok(Err(e.to_string()));
    }
    let (reached, stop) = replay_log(&log2, &mut replay, from, Some(prev_end))?;
    if reached != prev_end {
        return Ok(Err(format!("log {prev_seq} ends at {reached} instead of {prev_end}: {stop}")));
    }
    if let Err(e) = replay.enter(&log.header) {
        return Ok(Err(e.to_string()));
    }
    let (_, stop) = replay_log(log, &mut replay, log.header.records_start(), None)?;
    report_problems(log, &replay);
    Ok(Ok((replay.finish(), stop)))
}

/// Checks that a state's place is in its log, and finds its modseq counter if the snapshot does not hold it.
fn prepare_state(log: &LogFile, state: State, in_log: bool) -> Result<std::result::Result<State, String>> {
    let Some(position) = state.position().filter(|_| in_log) else { return Ok(Ok(state)) };
    let len = log.handle.len()?;
    if len < position.offset.into() {
        return Ok(Err(format!("it goes up to {} of log {}, which has {len} bytes", position.offset, log.seq())));
    }
    // One below that with which its log begins was counted wrong: from others it was heard higher already.
    if state.modseq_is_known() && state.highest_modseq().value() >= log.header.initial_modseq.get() {
        return Ok(Ok(state));
    }
    let bytes = log.read(0, position.offset as usize)?;
    // What is damaged there is older than the snapshot: that costs no message and no flag.
    let counter = modseq_at(&bytes, position.offset).or_else(|_| modseq_bound_at(&bytes, position.offset));
    Ok(counter.map(|counter| state.with_modseq(counter)).map_err(|e| e.to_string()))
}

/// Lets the replay know what the snapshot holds that is not carried out in the store yet.
fn recall(log: &LogFile, replay: &mut Replay, tail: u32, head: Option<u32>) -> Result<()> {
    let Some(head) = head else { return Ok(()) };
    let tail = tail.max(log.header.records_start());
    if tail < head {
        let bytes = log.read(tail, (head - tail) as usize)?;
        replay.recall_pending(&bytes, tail);
    }
    Ok(())
}
