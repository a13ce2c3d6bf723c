//! Looking at one mailbox's index files without changing anything, and telling in words what is wrong with them, what it
//! means and what [`recover`](super::recover()), [`rebuild`](super::rebuild()) and [`mend`](super::mend()) would do.
//!
//! # Invariants
//!
//! 1. Not a byte is written. The log's lock is taken only to look once more where something seems to be wrong, for
//!    between two reads others may have gone on.
//! 2. What is found is told in one pass: what hides behind the first damage of a log is not known.

use std::{path::Path, sync::Arc};

use mailfs::{FileSystem, FileSystemExt};

use super::{
    Damage, Env, IndexError, Result, another,
    cache_file::check_cache,
    load::{self, Snapshot},
    log_file::{LogFile, Opened},
    paths::Paths,
};
use crate::{
    log::{complete_end, modseq_at},
    replay::Stop,
    snapshot,
    state::{RawIndexHeader, State},
};

/// Largest log that is looked at from its beginning.
const LOG_LEN_MAX: u64 = 1 << 30;

/// Largest snapshot whose problems are told one by one.
const SNAPSHOT_LEN_MAX: u64 = 2 << 30;

/// What would be done about something that was found.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum IndexRemedy {
    /// Nothing: it costs nobody anything, and goes by itself.
    Nothing,
    /// The incomplete transaction at the end, which was never acknowledged as durable, is cut off.
    CutTornEnd,
    /// The log is cut before the damage (a copy is kept), and the messages are gone over.
    CutAndRebuild,
    /// The file is moved out of the way; the others make up for it.
    SetAside,
    /// The files are put right from each other: snapshot, backup, logs.
    PutRight,
    /// The snapshot is written again from what it and the log say.
    WriteSnapshot,
    /// The index is made anew from the messages, with what is left of the old one.
    Rebuild,
    /// The cache is moved out of the way; what it held is computed again.
    DropCache,
    /// What the log asks for is carried out in the store.
    CarryOut,
}

impl IndexRemedy {
    /// In words, for one who is asked whether it shall be done.
    pub fn text(self) -> &'static str {
        match self {
            Self::Nothing => "nothing has to be done",
            Self::CutTornEnd => "cut the unfinished transaction off; nobody was promised what it says",
            Self::CutAndRebuild => "keep a copy, cut the log before the damage, and go over the messages",
            Self::SetAside => "move the file out of the way; the others make up for it",
            Self::PutRight => {
                "put the index right from its snapshot, its backup and its logs, whichever reach furthest"
            }
            Self::WriteSnapshot => "write the snapshot again from what it and the log say",
            Self::Rebuild => "keep copies, and make the index anew from the messages and what is left of the old one",
            Self::DropCache => "move the cache out of the way; what it held is computed again",
            Self::CarryOut => "carry out what the log asks for",
        }
    }
}

/// Something that is wrong with an index file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct IndexFinding {
    /// Which file, where in it, what.
    pub damage: Damage,
    /// What would be done.
    pub remedy: IndexRemedy,
}

/// What was seen of one mailbox's index files.
#[derive(Clone, Debug, Default)]
pub struct Inspected {
    /// In the order in which the files were looked at: log, snapshot, backup, older log, cache.
    pub findings: Vec<IndexFinding>,
    /// The mailbox as far as it can be read.
    pub state: Option<State>,
    /// Whether there is an index at all.
    pub is_there: bool,
}

impl Inspected {
    /// Whether something was found that needs a remedy.
    pub fn is_damaged(&self) -> bool {
        self.findings.iter().any(|finding| finding.remedy != IndexRemedy::Nothing)
    }

    fn found(&mut self, damage: Damage, remedy: IndexRemedy) {
        if !self.findings.iter().any(|there| there.damage == damage) {
            self.findings.push(IndexFinding { damage, remedy });
        }
    }
}

/// Looks at the index of this prefix in a folder. Reads log, snapshot and backup whole, of the cache the records that the
/// index speaks of.
pub fn inspect(env: &Env, dir: &Path, prefix: &str) -> Result<Inspected> {
    let paths = Paths::new(dir, prefix);
    let first = look(env, &paths)?;
    if first.findings.is_empty() {
        return Ok(first);
    }
    match LogFile::open(&**env.fs(), &paths.log)? {
        Opened::Usable(log) | Opened::Damaged(log, _) => {
            let _lock = log.lock(&**env.fs(), env.options().lock_timeout, true)?;
            look(env, &paths)
        }
        Opened::Missing => look(env, &paths),
    }
}

/// Calls `look` with the mailbox as it is while nobody can change it; `None` where it cannot be read. Holds the log's lock
/// meanwhile, if there is a log.
pub fn at_rest<T>(env: &Env, dir: &Path, prefix: &str, look: impl FnOnce(Option<&State>) -> T) -> Result<T> {
    let paths = Paths::new(dir, prefix);
    let opened = LogFile::open(&**env.fs(), &paths.log)?;
    let _lock = match &opened {
        Opened::Usable(log) | Opened::Damaged(log, _) => {
            Some(log.lock(&**env.fs(), env.options().lock_timeout, true)?)
        }
        Opened::Missing => None,
    };
    let state = match load::load(&**env.fs(), &paths) {
        Ok(loaded) => Some(loaded.live.state),
        Err(IndexError::Corrupt(_) | IndexError::NotFound { .. }) => None,
        Err(e) => return Err(e),
    };
    Ok(look(state.as_ref()))
}

fn look(env: &Env, paths: &Paths) -> Result<Inspected> {
    let fs = &**env.fs();
    let mut seen = Inspected::default();
    for path in [&paths.log, &paths.index, &paths.backup, &paths.log2] {
        seen.is_there |= fs.metadata(path)?.is_some();
    }
    match LogFile::open(fs, &paths.log)? {
        Opened::Missing if seen.is_there => {
            let what = "the log is missing: what changed since the snapshot is not known".into();
            seen.found(Damage { path: paths.log.clone(), offset: 0, what }, IndexRemedy::PutRight);
        }
        Opened::Missing => return Ok(seen),
        Opened::Damaged(_, damage) => seen.found(damage, IndexRemedy::PutRight),
        Opened::Usable(log) => look_at_log(env, paths, &log, &mut seen)?,
    }
    look_at_snapshot(env, &paths.index, IndexRemedy::PutRight, &mut seen)?;
    look_at_snapshot(env, &paths.backup, IndexRemedy::SetAside, &mut seen)?;
    if let Opened::Damaged(_, damage) = LogFile::open(fs, &paths.log2)? {
        seen.found(damage, IndexRemedy::SetAside);
    }
    if let Some(state) = seen.state.clone() {
        look_at_state(paths, &state, &mut seen);
        if let Err(flaw) = check_cache(fs, &paths.cache, &state)? {
            let damage = Damage { path: paths.cache.clone(), offset: flaw.offset, what: flaw.what };
            seen.found(damage, IndexRemedy::DropCache);
        }
    }
    Ok(seen)
}

fn look_at_log(env: &Env, paths: &Paths, log: &Arc<LogFile>, seen: &mut Inspected) -> Result<()> {
    let fs = &**env.fs();
    if let Snapshot::Usable { state, .. } = load::read_snapshot(fs, &paths.index)?
        && let Some(what) = another::is_of_another(fs, paths, log, &state)?
    {
        seen.found(another::damage(log, &what), IndexRemedy::PutRight);
        seen.state = Some(state);
        return Ok(());
    }
    match load::load(fs, paths) {
        Ok(loaded) => {
            match &loaded.stop {
                Stop::End => {}
                Stop::Torn { offset } => {
                    let len = log.handle.len()?.saturating_sub(u64::from(*offset));
                    let what = format!("the last {len} bytes are a transaction that was not finished");
                    seen.found(log.damage(*offset, what), IndexRemedy::CutTornEnd);
                }
                Stop::Corrupt(damage) => {
                    let found = log.damage(damage.offset, damage.kind.to_string());
                    seen.found(found, IndexRemedy::CutAndRebuild);
                }
                stop => seen.found(log.damage(0, stop.to_string()), IndexRemedy::Nothing),
            }
            if let Some(damage) = loaded.bad_snapshot {
                seen.found(damage, IndexRemedy::SetAside);
            }
            seen.state = Some(loaded.live.state);
        }
        Err(IndexError::Corrupt(damage)) => seen.found(damage, IndexRemedy::PutRight),
        Err(e) => return Err(e),
    }
    look_at_history(fs, paths, log, seen)
}

/// What stands in the log before the snapshot: nobody needs it but those who are behind.
fn look_at_history(fs: &dyn FileSystem, paths: &Paths, log: &Arc<LogFile>, seen: &mut Inspected) -> Result<()> {
    let bytes = log.handle.len()?;
    let head = seen.state.as_ref().and_then(State::position).filter(|at| at.file_seq == log.seq());
    let (Some(head), true) = (head, bytes <= LOG_LEN_MAX) else { return Ok(()) };
    let start = log.header.records_start();
    let records = log.read(start, head.offset.saturating_sub(start) as usize)?;
    let (end, stop) = complete_end(&records, start);
    if let Some(stop) = stop {
        let what = format!("{stop}; it is older than the snapshot, so that no message and no flag hangs on it");
        // A snapshot that does not tell its mod-sequence leaves it to the log's records to be counted.
        let snapshot = load::read_snapshot(fs, &paths.index)?;
        let tells = matches!(snapshot, Snapshot::Usable { state, .. } if state.modseq_is_known());
        let remedy = if tells { IndexRemedy::Nothing } else { IndexRemedy::WriteSnapshot };
        seen.found(log.damage(end, what), remedy);
        return Ok(());
    }
    let whole = log.read(0, head.offset as usize)?;
    let counted = modseq_at(&whole, head.offset).ok();
    let known = seen.state.as_ref().map(|state| state.highest_modseq().value());
    if let (Some(counted), Some(known)) = (counted, known)
        && counted > known
    {
        let what = format!("its mod-sequences come to {counted}, those of the index to {known}");
        seen.found(log.damage(head.offset, what), IndexRemedy::WriteSnapshot);
    }
    Ok(())
}

fn look_at_snapshot(env: &Env, path: &Path, if_damaged: IndexRemedy, seen: &mut Inspected) -> Result<()> {
    let fs = &**env.fs();
    match load::read_snapshot(fs, path)? {
        Snapshot::Missing => return Ok(()),
        Snapshot::Damaged { damage, partial } => {
            seen.found(damage, if_damaged);
            if seen.state.is_none() {
                seen.state = partial;
            }
            return Ok(());
        }
        Snapshot::Usable { state, .. } => {
            if seen.state.is_none() {
                seen.state = Some(state);
            }
        }
    }
    // The log put it right, and goes on doing so; Dovecot runs its fsck each time.
    let Ok(decoded) = snapshot::decode(&fs.read_all(path, SNAPSHOT_LEN_MAX)?) else { return Ok(()) };
    for problem in decoded.problems {
        let remedy = match if_damaged {
            IndexRemedy::SetAside => IndexRemedy::Nothing,
            _ => IndexRemedy::WriteSnapshot,
        };
        seen.found(Damage { path: path.to_owned(), offset: 0, what: problem.to_string() }, remedy);
    }
    Ok(())
}

/// What no decoder refuses and yet cannot be.
fn look_at_state(paths: &Paths, state: &State, seen: &mut Inspected) {
    let damage = |what: String| Damage { path: paths.index.clone(), offset: 0, what };
    let highest = state.highest_modseq();
    let above = state.records_from(0).filter(|record| record.modseq() > highest).count();
    if above > 0 {
        let what = format!("{above} messages have mod-sequences above the highest, {}", highest.value());
        seen.found(damage(what), IndexRemedy::WriteSnapshot);
    }
    if state.header().flags.get() & RawIndexHeader::FSCKED != 0 {
        let what = "Dovecot's fsck went over the index and asks for the messages to be gone over".to_owned();
        seen.found(damage(what), IndexRemedy::Rebuild);
    }
    if state.has_pending() {
        let count = state.requested_expunges().count();
        let what = format!("{count} expunges and other requests of the log are not carried out in the store");
        let damage = Damage { path: paths.log.clone(), offset: state.tail_offset().into(), what };
        seen.found(damage, IndexRemedy::CarryOut);
    }
}
