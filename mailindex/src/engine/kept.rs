//! Second names for the files without which nobody knows flags, keywords, UIDs and which messages there are
//! (`docs/decisions/second-names.md`).
//!
//! A hard link costs no space, follows every append, whoever makes it, and stays when somebody removes `dovecot.index*`. The
//! log, the log before it and the snapshot have one each, `culver.kept.<name>`. They are made when a mailbox is opened and
//! whenever its log is another one, so that they reach at least as far as the last time that this library opened it or
//! changed something; where nobody has rotated the log since, as far as the log does.
//!
//! # Invariants
//!
//! 1. Second names are never a reason to fail: what cannot be linked has none.
//! 2. Those of another index, which was lost, are left alone until they were used.
//! 3. They are made in the order snapshot, old log, log: what a crash leaves is read from what connects.

use std::{
    path::Path,
    sync::{Arc, atomic::Ordering},
};

use mailfs::{FileSystem, FileSystemExt};

use super::{
    Env, IndexError, MailboxIndex, Result, another, aside,
    load::{self, Snapshot},
    log_file::{LogFile, Opened},
    paths::Paths,
};
use crate::{
    log::RawLogHeader,
    replay::{Limits, Replay},
    state::State,
};

/// What second names begin with.
const PREFIX: &str = "culver.kept.";

/// How often a log that is rotated under our hands is looked at again.
const TRIES_MAX: usize = 4;

/// Largest log read that was marked as corrupted.
const LOG_LEN_MAX: u64 = 1 << 30;

/// Whether files have their second names.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Linked {
    Yes,
    /// The names are those of another index.
    OfAnother,
}

impl Paths {
    /// The second names, as if they were the files of an index of their own.
    pub(super) fn kept(&self) -> Self {
        let name = |path: &Path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            self.dir.join(format!("{PREFIX}{name}"))
        };
        Self {
            dir: self.dir.clone(),
            log: name(&self.log),
            log2: name(&self.log2),
            newlock: name(&self.newlock),
            index: name(&self.index),
            backup: name(&self.backup),
            backup_tmp: name(&self.backup_tmp),
            cache: name(&self.cache),
        }
    }
}

impl MailboxIndex {
    /// Sees to it that the files have second names, if the store asks for that. Costs nothing while the log is the one that
    /// has one.
    pub(super) fn keep_files(&self, log: &LogFile) {
        if !self.store.index_is_sole_record() || self.env().is_read_only() {
            return;
        }
        if self.kept.load(Ordering::Acquire) == log.inode {
            return;
        }
        match link_all(self.env(), &self.paths) {
            Ok(Linked::Yes) => self.kept.store(log.inode, Ordering::Release),
            Ok(Linked::OfAnother) => {
                let dir = self.paths.dir.display();
                tracing::warn!(%dir, "an index was here before whose flags may still be wanted; it is kept as it is");
                self.kept.store(log.inode, Ordering::Release);
            }
            // Such as a file system without links.
            Err(e) => tracing::debug!(dir = %self.paths.dir.display(), "no second names: {e}"),
        }
    }

    /// Whether files of another index are kept here: this one was made after that was lost, by a program that did not know.
    pub fn another_was_lost(&self) -> Result<bool> {
        let log = self.log_file();
        Ok(match LogFile::open(&**self.env().fs(), &self.paths.kept().log)? {
            Opened::Usable(kept) => is_another(&kept, &log),
            Opened::Damaged(..) | Opened::Missing => false,
        })
    }
}

/// Whether a log is of another index than the one that is kept. Numbers of indexes are times in seconds; those of logs only
/// grow, also where an index is made anew from what was known of it.
fn is_another(kept: &LogFile, log: &LogFile) -> bool {
    let is_same_file = (kept.device, kept.inode) == (log.device, log.inode);
    !is_same_file && (kept.header.indexid != log.header.indexid || log.seq() <= kept.seq())
}

fn link_all(env: &Env, paths: &Paths) -> Result<Linked> {
    let (fs, kept) = (&**env.fs(), paths.kept());
    for _ in 0..TRIES_MAX {
        let Some(log) = identity(fs, &paths.log)? else { break };
        if identity(fs, &kept.log)? == Some(log) {
            return Ok(Linked::Yes);
        }
        let Opened::Usable(opened) = LogFile::open(fs, &paths.log)? else { break };
        match LogFile::open(fs, &kept.log)? {
            Opened::Usable(old) if is_another(&old, &opened) => return Ok(Linked::OfAnother),
            // Somebody has marked it as corrupted, and gone on without what stood in it.
            Opened::Damaged(..) => aside::move_aside_as(fs, &kept.log, &paths.log)?,
            Opened::Usable(_) | Opened::Missing => {}
        }
        for (from, to) in [(&paths.index, &kept.index), (&paths.log2, &kept.log2), (&paths.log, &kept.log)] {
            link(env, paths, from, to)?;
        }
        // Else somebody has rotated it meanwhile.
        if identity(fs, &paths.log)? == identity(fs, &kept.log)? {
            return Ok(Linked::Yes);
        }
    }
    Ok(Linked::Yes)
}

fn identity(fs: &dyn FileSystem, path: &Path) -> Result<Option<(u64, u64)>> {
    Ok(fs.metadata(path)?.map(|there| (there.device, there.inode)))
}

/// Gives a file a second name in place of whatever has it. Nothing where there is no such file.
fn link(env: &Env, paths: &Paths, from: &Path, to: &Path) -> Result<()> {
    let fs = &**env.fs();
    let Some(there) = identity(fs, from)? else { return Ok(()) };
    if identity(fs, to)? == Some(there) {
        return Ok(());
    }
    let temp = paths.temp("kept", env.random());
    match fs.hard_link(from, &temp) {
        Err(e) if e.is_not_found() => return Ok(()),
        other => other?,
    }
    let renamed = fs.rename(&temp, to);
    // Of two names for one file a rename leaves both.
    match fs.unlink(&temp) {
        Err(e) if !e.is_not_found() => renamed.and(Err(e))?,
        _ => renamed?,
    }
    Ok(())
}

/// Gives back to lost files of an index their own names, for the log from its second one if that goes with what is there.
/// Tells whether the log is there again. Durable when it returns.
pub(super) fn restore(env: &Env, paths: &Paths) -> Result<bool> {
    let (fs, kept) = (&**env.fs(), paths.kept());
    let Opened::Usable(log) = LogFile::open(fs, &kept.log)? else { return Ok(false) };
    let goes_with = match load::read_snapshot(fs, &paths.index)? {
        Snapshot::Usable { state, .. } => {
            another::is_of_another(fs, &kept, &log, &state)?.is_none()
                && load::continue_from(fs, &kept, &log, state)?.is_ok()
        }
        Snapshot::Missing | Snapshot::Damaged { .. } => match load::load(fs, &kept) {
            Ok(_) => true,
            Err(IndexError::Corrupt(_) | IndexError::NotFound { .. }) => false,
            Err(e) => return Err(e),
        },
    };
    if !goes_with {
        return Ok(false);
    }
    for (from, to) in [(&kept.index, &paths.index), (&kept.log2, &paths.log2), (&kept.log, &paths.log)] {
        match fs.hard_link(from, to) {
            // What is there is newer, or as good.
            Err(e) if !e.is_already_exists() && !e.is_not_found() => return Err(e.into()),
            _ => {}
        }
    }
    if env.syncs() {
        fs.sync_dir(&paths.dir)?;
    }
    Ok(true)
}

/// Gives the log before the present one its name again, if it is the one that is missed.
pub(super) fn restore_log2(env: &Env, paths: &Paths, log: &LogFile) -> Result<bool> {
    let (fs, kept) = (&**env.fs(), paths.kept());
    if log.header.prev_file_seq.get() == 0 || fs.metadata(&paths.log2)?.is_some() {
        return Ok(false);
    }
    for path in [&kept.log, &kept.log2] {
        if let Opened::Usable(before) = LogFile::open(fs, path)?
            && before.seq() == log.header.prev_file_seq.get()
            && before.header.indexid == log.header.indexid
        {
            fs.hard_link(path, &paths.log2)?;
            return Ok(true);
        }
    }
    Ok(false)
}

/// Gives back to an index whose files somebody has removed what is left of them under second names. Tells whether there is
/// a log again, which is to be compared with the messages then: others may have changed them since.
pub fn restore_lost(env: &Env, dir: &Path, prefix: &str) -> Result<bool> {
    let paths = Paths::new(dir, prefix);
    if env.fs().metadata(&paths.log)?.is_some() {
        return Ok(false);
    }
    let restored = restore(env, &paths)?;
    if restored {
        tracing::warn!(dir = %dir.display(), "the index was lost; it is back as it was known last");
    }
    Ok(restored)
}

/// Moves second names out of the way (as `culver.damaged.<file>.<n>`), those of an index that nobody wants back.
pub fn set_kept_aside(env: &Env, dir: &Path, prefix: &str) -> Result<()> {
    let paths = Paths::new(dir, prefix);
    let kept = paths.kept();
    for (from, to) in [(&kept.index, &paths.index), (&kept.log2, &paths.log2), (&kept.log, &paths.log)] {
        if env.fs().metadata(from)?.is_some() {
            aside::move_aside_as(&**env.fs(), from, to)?;
        }
    }
    Ok(())
}

/// What is known of a mailbox by the second names of its index's files, whatever became of the files. Reads as much as can
/// be read: of damaged files what stands before the damage. `None`: there are none.
pub fn kept_state(env: &Env, dir: &Path, prefix: &str) -> Result<Option<State>> {
    let (fs, kept) = (&**env.fs(), Paths::new(dir, prefix).kept());
    match load::load(fs, &kept) {
        Ok(loaded) => return Ok(Some(loaded.live.state)),
        Err(IndexError::NotFound { .. }) => return Ok(None),
        Err(IndexError::Corrupt(damage)) => tracing::warn!("{damage}"),
        Err(e) => return Err(e),
    }
    let snapshot = match load::read_snapshot(fs, &kept.index)? {
        Snapshot::Usable { state, .. } => Some(state),
        Snapshot::Damaged { partial, .. } => partial,
        Snapshot::Missing => None,
    };
    Ok(marked_log(fs, &kept.log, snapshot.as_ref())?.or(snapshot))
}

/// A log that another program has marked as corrupted, from the snapshot on or from its beginning, as far as it is whole.
fn marked_log(fs: &dyn FileSystem, path: &Path, snapshot: Option<&State>) -> Result<Option<State>> {
    let bytes = match fs.read_all(path, LOG_LEN_MAX) {
        Err(e) if e.is_not_found() => return Ok(None),
        other => other?,
    };
    let Ok(mut header) = RawLogHeader::parse(&bytes) else { return Ok(None) };
    if header.indexid.get() == 0 {
        header.indexid = snapshot.map_or(header.create_stamp.get().max(1), State::index_id).into();
    }
    let in_log = snapshot.and_then(State::position).filter(|at| at.file_seq == header.file_seq.get());
    let (state, from) = match (snapshot, in_log) {
        (Some(state), Some(at)) => (state.clone(), at.offset),
        _ if header.prev_file_seq.get() == 0 => (State::empty(), header.records_start()),
        _ => return Ok(None),
    };
    let mut replay = Replay::new(state, Limits::default());
    if replay.enter(&header).is_err() {
        return Ok(None);
    }
    replay.apply(bytes.get(from as usize..).unwrap_or_default());
    Ok(Some(replay.finish()))
}

impl MailboxIndex {
    /// Gives the present files second names, where those were another's before ([`set_kept_aside`]).
    pub fn keep_files_anew(self: &Arc<Self>) {
        self.kept.store(0, Ordering::Release);
        self.keep_present_files();
    }

    /// [`MailboxIndex::keep_files`] for the present log.
    pub(super) fn keep_present_files(self: &Arc<Self>) {
        let log = self.log_file();
        self.keep_files(&log);
    }
}
