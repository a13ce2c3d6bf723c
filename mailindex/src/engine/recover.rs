//! Putting damaged index files right, from each other where that is possible (`docs/formats/log.md`, "Damage").
//!
//! # Invariants
//!
//! 1. Nothing is deleted: what is replaced or cut because of damage is kept as `culver.damaged.<file>.<n>` first. (A torn
//!    end is no damage: nobody was promised what stands there.)
//! 2. Everything is done under the log's lock, as long as there is a log.
//! 3. Each step leaves files from which this can start again.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use mailfs::{FileSystem, FileSystemExt};
use zerocopy::IntoBytes;

use super::{
    Damage, Env, IndexError, MailboxIndex, MessageStore, Result, another, aside, bridge, commit, create, kept,
    load::{self, Snapshot},
    log_file::{LogFile, Opened},
    paths::Paths,
    rotate, snapshot_writer,
};
use crate::{
    log::{RawLogHeader, complete_end},
    replay::Stop,
    state::{LogPosition, State},
};

/// How many things are put right one after the other before giving up.
const STEPS_MAX: usize = 16;

/// Largest log that is copied to repair it.
const LOG_LEN_MAX: u64 = 1 << 30;

/// What was done about something found.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum RecoveryAction {
    /// An incomplete transaction at the log's end, never acknowledged as durable, was cut off.
    CutTornEnd {
        /// Bytes that went.
        len: u64,
    },
    /// A copy was kept and the log cut before the damage.
    CutDamage {
        /// The copy.
        copy: PathBuf,
    },
    /// A copy was kept, and the log goes on behind the damage, in whose place there is a record that says nothing.
    Bridged {
        /// The copy.
        copy: PathBuf,
        /// Bytes that were damaged.
        len: u64,
    },
    /// The file was moved out of the way.
    SetAside {
        /// Its new name.
        copy: PathBuf,
    },
    /// The log had been marked as corrupted; its whole transactions were taken over.
    Unmarked {
        /// The file as it was.
        copy: PathBuf,
    },
    /// The backup took the place of the snapshot.
    UsedBackup,
    /// Files that were missing are back under their names, from their second ones
    /// ([`MessageStore::index_is_sole_record`](super::MessageStore::index_is_sole_record)).
    Restored,
    /// A new log was begun behind the snapshot.
    NewLog {
        /// Its number.
        file_seq: u32,
    },
    /// The snapshot was written again.
    WroteSnapshot {
        /// The one before.
        copy: PathBuf,
    },
    /// What the log asked for was carried out.
    CarriedOut {
        /// Messages that were expunged.
        expunged: u64,
    },
    /// A leftover was removed.
    RemovedTemp,
    /// The messages have to be gone over: see [`rebuild`](super::rebuild()).
    NeedsRebuild,
}

/// Something found, and what was done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RecoveryReport {
    /// Which file, where in it, what.
    pub damage: Damage,
    /// What was done.
    pub action: RecoveryAction,
}

/// The end of a recovery.
#[derive(Debug)]
pub struct Recovered {
    /// In the order in which it was done.
    pub reports: Vec<RecoveryReport>,
    /// The index cannot be trusted to know all messages: [`rebuild`](super::rebuild()) it, keeping what `state` has.
    pub needs_rebuild: bool,
    /// The mailbox as far as it could be read.
    pub state: Option<State>,
}

/// Looks after one mailbox's index files before anybody else does: cuts a torn end, puts damage right, carries out
/// what a crash left undone. Costs reading the files once when nothing is wrong.
///
/// [`IndexError::NotFound`] when there is no index at all.
pub fn recover(env: &Env, dir: &Path, prefix: &str, store: Arc<dyn MessageStore>) -> Result<Recovered> {
    let paths = Paths::new(dir, prefix);
    let mut recovered = put_right(env, &paths)?;
    remove_temps(env, &paths, &mut recovered.reports)?;
    let pending = recovered.state.as_ref().is_some_and(State::has_pending);
    if pending && !recovered.needs_rebuild {
        let index = MailboxIndex::open(env, dir, prefix, store)?;
        let before = index.state();
        let asked = before.requested_expunges();
        let state = commit::carry_out(&index)?;
        let damage = Damage {
            path: paths.log.clone(),
            offset: before.tail_offset().into(),
            what: "requests that nobody has carried out".into(),
        };
        let action = RecoveryAction::CarriedOut { expunged: asked.count() };
        recovered.reports.push(RecoveryReport { damage, action });
        recovered.state = Some(state);
    }
    Ok(recovered)
}

/// As [`recover`], for one who has met damage; fails when that is not enough, or not allowed.
pub(super) fn repair(env: &Env, paths: &Paths, store: &dyn MessageStore, damage: Damage) -> Result<()> {
    if !store.is_put_right_alone() {
        return Err(IndexError::NeedsRebuild { dir: paths.dir.clone(), damage });
    }
    let recovered = put_right(env, paths)?;
    match recovered.reports.into_iter().find(|report| report.action == RecoveryAction::NeedsRebuild) {
        Some(report) => Err(IndexError::NeedsRebuild { dir: paths.dir.clone(), damage: report.damage }),
        None => Ok(()),
    }
}

fn put_right(env: &Env, paths: &Paths) -> Result<Recovered> {
    let mut work = Work { env, fs: &**env.fs(), paths, reports: Vec::new(), needs_rebuild: false };
    for _ in 0..STEPS_MAX {
        if let Some(state) = work.step()? {
            return Ok(Recovered { reports: work.reports, needs_rebuild: work.needs_rebuild, state });
        }
    }
    let damage = Damage { path: paths.log.clone(), offset: 0, what: "damaged again and again".into() };
    Err(IndexError::NeedsRebuild { dir: paths.dir.clone(), damage })
}

struct Work<'a> {
    env: &'a Env,
    fs: &'a dyn FileSystem,
    paths: &'a Paths,
    reports: Vec<RecoveryReport>,
    needs_rebuild: bool,
}

/// `None`: something was put right, look again.
type Step = Option<Option<State>>;

impl Work<'_> {
    fn report(&mut self, damage: Damage, action: RecoveryAction) {
        tracing::warn!(?action, "{damage}");
        self.needs_rebuild |= action == RecoveryAction::NeedsRebuild;
        self.reports.push(RecoveryReport { damage, action });
    }

    fn step(&mut self) -> Result<Step> {
        let opened = LogFile::open(self.fs, &self.paths.log)?;
        let (Opened::Usable(log) | Opened::Damaged(log, _)) = &opened else { return self.without_log() };
        let _lock = log.lock(self.fs, self.env.options().lock_timeout, true)?;
        let there = self.fs.metadata(&self.paths.log)?;
        let still = there.is_some_and(|there| (there.device, there.inode) == (log.device, log.inode));
        if !still || matches!(opened, Opened::Usable(_)) && !log.is_header_unchanged()? {
            return Ok(None);
        }
        match &opened {
            Opened::Usable(log) => self.with_log(log),
            Opened::Damaged(log, damage) => self.with_bad_header(log, damage.clone()),
            Opened::Missing => Ok(None),
        }
    }

    /// The snapshot alone counts, and a new log begins behind it.
    fn without_log(&mut self) -> Result<Step> {
        if kept::restore(self.env, self.paths)? {
            let damage = Damage { path: self.paths.log.clone(), offset: 0, what: "the log is missing".into() };
            self.report(damage, RecoveryAction::Restored);
            return Ok(None);
        }
        let (mut found, mut kept) = (None, None);
        for path in [&self.paths.index, &self.paths.backup] {
            match load::read_snapshot(self.fs, path)? {
                Snapshot::Missing => {}
                Snapshot::Usable { state, .. } => {
                    if let Some(at) = state.position() {
                        return self.begin_log(&state, at);
                    }
                }
                Snapshot::Damaged { damage, partial } => {
                    found = found.or(Some(damage));
                    kept = kept.or(partial);
                }
            }
        }
        match found {
            Some(damage) => {
                self.report(damage, RecoveryAction::NeedsRebuild);
                Ok(Some(kept))
            }
            None => Err(IndexError::NotFound { dir: self.paths.dir.clone() }),
        }
    }

    fn begin_log(&mut self, state: &State, at: LogPosition) -> Result<Step> {
        let header = log_behind(self.env, state, at);
        let file_seq = header.file_seq.get();
        if create::publish_log(self.env, self.paths, header.as_bytes())? {
            let damage = Damage { path: self.paths.log.clone(), offset: 0, what: "the log is missing".into() };
            self.report(damage, RecoveryAction::NewLog { file_seq });
        }
        Ok(None)
    }

    fn with_log(&mut self, log: &Arc<LogFile>) -> Result<Step> {
        if let Snapshot::Usable { state, .. } = load::read_snapshot(self.fs, &self.paths.index)?
            && let Some(what) = another::is_of_another(self.fs, self.paths, log, &state)?
        {
            // From here on the log is missing.
            let copy = self.move_aside(&log.path)?;
            let damage = another::damage(log, &what);
            self.report(damage.clone(), RecoveryAction::SetAside { copy });
            self.report(damage, RecoveryAction::NeedsRebuild);
            return Ok(None);
        }
        let loaded = match load::load(self.fs, self.paths) {
            Err(IndexError::Corrupt(damage)) => return self.broken_chain(log, damage),
            other => other?,
        };
        match loaded.stop {
            Stop::End => {}
            Stop::Torn { offset } if self.bridge(log, offset, None)? => return Ok(None),
            Stop::Corrupt(damage) if self.bridge(log, damage.offset, Some(damage.kind.to_string()))? => {
                return Ok(None);
            }
            Stop::Torn { offset } => {
                let len = log.handle.len()?.saturating_sub(offset.into());
                self.cut(log, offset)?;
                self.report(log.damage(offset, "a torn end"), RecoveryAction::CutTornEnd { len });
            }
            Stop::Corrupt(damage) => {
                let copy = self.copy_aside(log)?;
                self.cut(log, damage.offset)?;
                let damage = log.damage(damage.offset, damage.kind.to_string());
                self.report(damage.clone(), RecoveryAction::CutDamage { copy });
                // Whatever was behind the damage may have been about messages.
                self.report(damage, RecoveryAction::NeedsRebuild);
            }
            stop @ (Stop::Limit { .. } | Stop::NoLog) => return Err(log.damage(0, stop.to_string()).into()),
        }
        if let Some(damage) = loaded.bad_snapshot {
            let copy = self.move_aside(&self.paths.index)?;
            self.report(damage, RecoveryAction::SetAside { copy });
        }
        Ok(Some(Some(loaded.live.state)))
    }

    /// Puts a record that says nothing in the place of damage, if the log goes on behind it; tells whether it does.
    /// `damage`: what is wrong; `None`: it seems to be a torn end.
    fn bridge(&mut self, log: &Arc<LogFile>, offset: u32, damage: Option<String>) -> Result<bool> {
        let len = log.handle.len()?.saturating_sub(offset.into());
        if len > bridge::REST_LEN_MAX {
            return Ok(false);
        }
        let rest = log.read(offset, len as usize)?;
        if damage.is_none() && !bridge::may_be_wrong_size(&rest) {
            return Ok(false);
        }
        let Some((len, filler)) = bridge::resumes_at(&rest).and_then(|len| Some((len, bridge::filler(len)?))) else {
            return Ok(false);
        };
        let copy = self.copy_aside(log)?;
        log.handle.write_at(&filler, offset.into())?;
        if self.env.syncs() {
            log.handle.sync_data()?;
        }
        let damage = log.damage(offset, damage.unwrap_or_else(|| "a record of a wrong size".to_owned()));
        self.report(damage.clone(), RecoveryAction::Bridged { copy, len: len as u64 });
        // It may have been about messages.
        self.report(damage, RecoveryAction::NeedsRebuild);
        Ok(true)
    }

    fn cut(&self, log: &LogFile, offset: u32) -> Result<()> {
        log.handle.set_len(offset.into())?;
        if self.env.syncs() {
            log.handle.sync_data()?;
        }
        Ok(())
    }

    /// The log is sound, but nothing leads up to it.
    fn broken_chain(&mut self, log: &Arc<LogFile>, damage: Damage) -> Result<Step> {
        let snapshot = load::read_snapshot(self.fs, &self.paths.index)?;
        let backup = load::read_snapshot(self.fs, &self.paths.backup)?;
        if let Snapshot::Usable { state, .. } = &snapshot
            && let Some(at) = state.position()
            && load::is_ahead(log, state)?
        {
            // The log lost its end. What the snapshot has was in force.
            return self.restart_log(log, state, at, damage);
        }
        if let Snapshot::Usable { state, .. } = &backup
            && load::continue_from(self.fs, self.paths, log, state.clone())?.is_ok()
        {
            return self.use_other(&snapshot, &self.paths.backup, damage, RecoveryAction::UsedBackup);
        }
        if kept::restore_log2(self.env, self.paths, log)? {
            self.report(damage, RecoveryAction::Restored);
            return Ok(None);
        }
        let kept = self.paths.kept().index;
        if let Snapshot::Usable { state, .. } = load::read_snapshot(self.fs, &kept)?
            && load::continue_from(self.fs, self.paths, log, state)?.is_ok()
        {
            return self.use_other(&snapshot, &kept, damage, RecoveryAction::Restored);
        }
        let (mut whole, mut partial) = (None, None);
        for found in [snapshot, backup] {
            match found {
                Snapshot::Usable { state, .. } => whole = whole.or(Some(state)),
                Snapshot::Damaged { partial: found, .. } => partial = partial.or(found),
                Snapshot::Missing => {}
            }
        }
        self.report(damage, RecoveryAction::NeedsRebuild);
        Ok(Some(whole.or(partial)))
    }

    fn restart_log(&mut self, log: &LogFile, state: &State, at: LogPosition, damage: Damage) -> Result<Step> {
        if !rotate::clear_newlock(self.fs, self.paths)? {
            return Err(damage.into());
        }
        let copy = self.link_aside(&log.path)?;
        let header = log_behind(self.env, state, at);
        self.replace_log(header.as_bytes())?;
        self.report(damage.clone(), RecoveryAction::SetAside { copy });
        self.report(damage, RecoveryAction::NewLog { file_seq: header.file_seq.get() });
        Ok(None)
    }

    /// Puts another snapshot in the place of the one that cannot be used.
    fn use_other(&mut self, snapshot: &Snapshot, other: &Path, damage: Damage, action: RecoveryAction) -> Result<Step> {
        if !matches!(snapshot, Snapshot::Missing) {
            let copy = self.move_aside(&self.paths.index)?;
            self.report(damage.clone(), RecoveryAction::SetAside { copy });
        }
        let temp = self.paths.temp("index", self.env.random());
        self.fs.hard_link(other, &temp)?;
        snapshot_writer::replace(self.env, self.paths, &temp)?;
        self.report(damage, action);
        Ok(None)
    }

    /// Another program may have marked the log only because of its end: what is whole in it counts.
    fn with_bad_header(&mut self, log: &LogFile, damage: Damage) -> Result<Step> {
        let bytes = self.fs.read_all(&log.path, LOG_LEN_MAX)?;
        let restored = match RawLogHeader::parse(&bytes) {
            Ok(header) if header.is_marked_corrupted() && header.file_seq.get() != 0 => {
                self.restored(&header, &bytes)?
            }
            Ok(_) | Err(_) => None,
        };
        let Some(restored) = restored else {
            let copy = self.move_aside(&log.path)?;
            self.report(damage.clone(), RecoveryAction::SetAside { copy });
            // What it held is not known.
            self.report(damage, RecoveryAction::NeedsRebuild);
            return Ok(None);
        };
        if !rotate::clear_newlock(self.fs, self.paths)? {
            return Err(damage.into());
        }
        let copy = self.link_aside(&log.path)?;
        self.replace_log(&restored)?;
        self.report(damage, RecoveryAction::Unmarked { copy });
        Ok(None)
    }

    /// The log with the index id that the other files have, cut to what is whole.
    fn restored(&self, header: &RawLogHeader, bytes: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut index_id = None;
        for path in [&self.paths.index, &self.paths.backup] {
            if let Snapshot::Usable { state, .. } = load::read_snapshot(self.fs, path)? {
                index_id = index_id.or(Some(state.index_id()));
            }
        }
        if let Opened::Usable(log2) = LogFile::open(self.fs, &self.paths.log2)? {
            index_id = index_id.or(Some(log2.header.indexid.get()));
        }
        // A first log alone: any number will do, and Dovecot's custom is the time it was made.
        let first = (header.prev_file_seq.get() == 0).then(|| header.create_stamp.get().max(1));
        let Some(index_id) = index_id.or(first).filter(|id| *id != 0) else { return Ok(None) };
        let start = header.records_start() as usize;
        let (Some(head), Some(records)) = (bytes.get(..start), bytes.get(start..)) else { return Ok(None) };
        let (end, _) = complete_end(records, header.records_start());
        let mut restored = head.to_vec();
        if let Some(id) = restored.get_mut(4..8) {
            id.copy_from_slice(&index_id.to_le_bytes());
        }
        restored.extend(records.get(..(end as usize).saturating_sub(start)).unwrap_or_default());
        Ok(Some(restored))
    }

    fn replace_log(&self, bytes: &[u8]) -> Result<()> {
        replace_log(self.env, self.paths, bytes)
    }

    fn copy_aside(&self, log: &LogFile) -> Result<PathBuf> {
        let bytes = self.fs.read_all(&log.path, LOG_LEN_MAX)?;
        let copy = aside::put(self.fs, &log.path, |copy| {
            let file = self.paths.create(self.fs, copy)?;
            file.write_at(&bytes, 0)?;
            file.sync_data()
        })?;
        Ok(copy)
    }

    fn link_aside(&self, path: &Path) -> Result<PathBuf> {
        Ok(aside::link(self.fs, path)?)
    }

    fn move_aside(&self, path: &Path) -> Result<PathBuf> {
        aside::move_aside(self.env, self.paths, path)
    }
}

/// Puts a log in the place of the present one, whose lock is held.
pub(super) fn replace_log(env: &Env, paths: &Paths, bytes: &[u8]) -> Result<()> {
    let fs = &**env.fs();
    let file = paths.create(fs, &paths.newlock)?;
    let replaced = file
        .write_at(bytes, 0)
        .and_then(|()| if env.syncs() { file.sync_data() } else { Ok(()) })
        .and_then(|()| fs.rename(&paths.newlock, &paths.log));
    if replaced.is_err() {
        // What stays is stale in a minute.
        let _ = fs.unlink(&paths.newlock);
    }
    replaced?;
    if env.syncs() {
        fs.sync_dir(&paths.dir)?;
    }
    Ok(())
}

/// The header of a log that goes on where a snapshot ends.
fn log_behind(env: &Env, state: &State, at: LogPosition) -> RawLogHeader {
    let modseq = state.highest_modseq().value();
    let mut header = RawLogHeader::first(state.index_id(), at.file_seq.saturating_add(1), env.unix_time(), modseq);
    header.prev_file_seq = at.file_seq.into();
    header.prev_file_offset = at.offset.into();
    header
}

/// Files of ours that a crash left half made. Those that somebody is making just now are young.
fn remove_temps(env: &Env, paths: &Paths, reports: &mut Vec<RecoveryReport>) -> Result<()> {
    let fs = &**env.fs();
    rotate::clear_newlock(fs, paths)?;
    for entry in fs.read_dir(&paths.dir)? {
        let name = entry.name.to_string_lossy();
        if !(name.starts_with("culver.") && name.ends_with(".tmp")) {
            continue;
        }
        let path = paths.dir.join(&entry.name);
        let Some(there) = fs.metadata(&path)? else { continue };
        let age = fs.now().duration_since(there.modified).unwrap_or_default();
        if age >= rotate::NEWLOCK_STALE {
            fs.unlink(&path)?;
            let damage = Damage { path, offset: 0, what: "a temporary file that nobody finished".into() };
            reports.push(RecoveryReport { damage, action: RecoveryAction::RemovedTemp });
        }
    }
    Ok(())
}
