//! What is known of a log and its snapshot, and how to get on from there without a lock.

use std::sync::Arc;

use mailfs::FileSystem;

use super::{
    Damage, IndexError, Result, load,
    log_file::{LogFile, Opened},
    paths::Paths,
};
use crate::{
    log::{Change, DamageKind, Transactions},
    replay::{Limits, Replay, Stop},
    state::{LogPosition, State},
};

/// Bytes replayed at once; a longer transaction is read whole.
const WINDOW_LEN: usize = 4 << 20;

/// Longest transaction replayed: no record can be longer than 256 MB, and no program writes one of a tenth of that.
const TRANSACTION_LEN_MAX: usize = 512 << 20;

/// Unread log from which on it may be cheaper to read the snapshot again.
const RELOAD_LEN_MIN: u64 = 256 << 10;

/// How far behind a torn place is looked for whole transactions, in bytes.
const GAP_LEN_MAX: usize = 4 << 10;

/// How much of the log is looked at for that.
const GAP_TAIL_LEN: usize = 64 << 10;

/// The snapshot on disk, as last seen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct SnapshotMark {
    /// Its head.
    pub(super) at: LogPosition,
    pub(super) len: u64,
}

/// See the module. Holds no handle of an `Env`.
#[derive(Clone, Debug)]
pub(super) struct Live {
    pub(super) log: Arc<LogFile>,
    pub(super) state: State,
    pub(super) snapshot: Option<SnapshotMark>,
}

impl Live {
    pub(super) fn memory_len(&self) -> usize {
        self.state.byte_size()
    }

    /// Where the state is in its log.
    pub(super) fn head(&self) -> u32 {
        self.state.position().map_or(0, |position| position.offset)
    }

    /// Goes on to the end of the log, through a rotation if there was one. Tells why it stopped there; damage of other
    /// kinds is an error. A torn end is none without the lock: it may be being written.
    pub(super) fn catch_up(&mut self, fs: &dyn FileSystem, paths: &Paths) -> Result<Stop> {
        let Some(there) = fs.metadata(&paths.log)? else { return Err(missing_log(fs, paths)?) };
        if (there.device, there.inode) != (self.log.device, self.log.inode) {
            return self.follow_rotation(fs, paths);
        }
        let head = u64::from(self.head());
        if there.len < head || self.log.is_distrusted() {
            return self.reload(fs, paths);
        }
        let unread = there.len - head;
        if unread == 0 {
            return Ok(Stop::End);
        }
        if unread >= RELOAD_LEN_MIN && fs.metadata(&paths.index)?.is_some_and(|snapshot| snapshot.len < unread) {
            return self.reload(fs, paths);
        }
        let mut replay = Replay::new(self.state.clone(), Limits::default());
        let (_, stop) = replay_log(&self.log, &mut replay, self.head(), None)?;
        self.finish(replay);
        Ok(stop)
    }

    fn follow_rotation(&mut self, fs: &dyn FileSystem, paths: &Paths) -> Result<Stop> {
        let new = match LogFile::open(fs, &paths.log)? {
            Opened::Usable(new) => new,
            Opened::Damaged(_, damage) => return Err(damage.into()),
            Opened::Missing => return Err(missing_log(fs, paths)?),
        };
        if new.header.prev_file_seq.get() != self.log.seq() || self.log.is_distrusted() {
            return self.reload(fs, paths);
        }
        let mut replay = Replay::new(self.state.clone(), Limits::default());
        let end = new.header.prev_file_offset.get();
        let (reached, _) = replay_log(&self.log, &mut replay, self.head(), Some(end))?;
        if reached != end || replay.enter(&new.header).is_err() {
            return self.reload(fs, paths);
        }
        let (_, stop) = replay_log(&new, &mut replay, new.header.records_start(), None)?;
        self.log = new;
        self.finish(replay);
        Ok(stop)
    }

    fn reload(&mut self, fs: &dyn FileSystem, paths: &Paths) -> Result<Stop> {
        let loaded = load::load(fs, paths)?;
        loaded.live.log.take_distrust_from(&self.log);
        *self = loaded.live;
        Ok(loaded.stop)
    }

    fn finish(&mut self, replay: Replay) {
        report_problems(&self.log, &replay);
        self.state = replay.finish();
    }
}

/// What Dovecot would run its fsck for is told once, by the reader that met it.
pub(super) fn report_problems(log: &LogFile, replay: &Replay) {
    for problem in replay.problems() {
        tracing::warn!(path = %log.path.display(), "skipped: {problem}");
    }
}

/// Replays a file from one of its transactions on, to its end or to `to`. Tells how far it came and why no further.
pub(super) fn replay_log(log: &LogFile, replay: &mut Replay, mut from: u32, to: Option<u32>) -> Result<(u32, Stop)> {
    let mut window = WINDOW_LEN;
    loop {
        let want = to.map_or(window, |to| window.min(to.saturating_sub(from) as usize));
        let bytes = log.read(from, want)?;
        if bytes.is_empty() {
            return Ok((from, Stop::End));
        }
        let applied = replay.apply(&bytes);
        // Whether the window, not the file, ended the transaction.
        let cut = bytes.len() == want && to.is_none_or(|to| from as usize + want < to as usize);
        let stuck = applied.end == from;
        from = applied.end;
        match applied.stop {
            Stop::End if cut => window = WINDOW_LEN,
            Stop::Torn { .. } if cut && !stuck => window = WINDOW_LEN,
            Stop::Torn { .. } if cut && window < TRANSACTION_LEN_MAX => window *= 2,
            Stop::Torn { offset } if is_gap(log, offset)? => {
                let damage = crate::log::Damage { offset, kind: DamageKind::Gap };
                return Ok((from, Stop::Corrupt(damage)));
            }
            stop => return Ok((from, stop)),
        }
    }
}

/// Whether a torn transaction is not the end: messages were appended behind it, more than once. Appends are synced one by
/// one, so all but the last of them were durable, and what stands before them too: no writer that died has left this.
fn is_gap(log: &LogFile, torn: u32) -> Result<bool> {
    let tail = log.read(torn, GAP_TAIL_LEN)?;
    let appends = |from: usize| {
        let rest = tail.get(from..).unwrap_or_default();
        let whole = Transactions::new(rest, torn.saturating_add(from as u32)).map_while(|found| found.ok());
        whole.filter(|found| found.changes().any(|(_, change)| matches!(change, Change::Append(_)))).take(2).count()
    };
    Ok((4..tail.len().min(GAP_LEN_MAX)).step_by(4).any(|from| appends(from) == 2))
}

/// Why reading a log stopped, as damage; `None` where nothing is damaged.
pub(super) fn stop_damage(log: &LogFile, stop: &Stop) -> Option<Damage> {
    match stop {
        Stop::End | Stop::Torn { .. } => None,
        Stop::Corrupt(damage) => Some(log.damage(damage.offset, damage.kind.to_string())),
        Stop::Limit { offset, .. } => Some(log.damage(*offset, stop.to_string())),
        Stop::NoLog => Some(log.damage(0, stop.to_string())),
    }
}

/// The log is not there: is the mailbox?
pub(super) fn missing_log(fs: &dyn FileSystem, paths: &Paths) -> Result<IndexError> {
    let dir = paths.dir.clone();
    Ok(match fs.metadata(&paths.dir)? {
        None => IndexError::Deleted { dir },
        Some(_) => Damage { path: paths.log.clone(), offset: 0, what: "the log is missing".into() }.into(),
    })
}
