//! Making a mailbox's first log (`docs/formats/index.md`, "Creating a mailbox").
//!
//! # Invariants
//!
//! 1. The log appears under its name whole and durable, or not at all.
//! 2. `.log.newlock` is held from the look whether there is a log to the rename, so that of two creators, Dovecot among
//!    them, one makes it and the other opens it.

use std::{path::Path, sync::Arc, time::Duration};

use zerocopy::IntoBytes;

use super::{Env, IndexError, MailboxIndex, MessageStore, Result, paths::Paths, rotate};
use crate::{
    log::{RawLogHeader, Transaction},
    replay::{Limits, Replay, Stop},
    state::State,
};

/// Pause between two looks whether another creator is done.
const CREATOR_PAUSE: Duration = Duration::from_millis(5);

impl MailboxIndex {
    /// Makes an index in an existing folder, whose first log holds `initial` (UID validity, extension headers). If there
    /// is one already, or another creator is faster, that one is opened and `initial` forgotten: compare what matters.
    /// Durable when it returns.
    pub fn create(
        env: &Env,
        dir: &Path,
        prefix: &str,
        store: Arc<dyn MessageStore>,
        initial: &Transaction,
    ) -> Result<Arc<Self>> {
        let paths = Paths::new(dir, prefix);
        let header = RawLogHeader::first(env.unix_time().max(1), RawLogHeader::FIRST_SEQ, env.unix_time(), 1);
        let bytes = first_log(&paths, &header, initial)?.0;
        publish_log(env, &paths, &bytes)?;
        Self::open(env, dir, prefix, store)
    }
}

/// A log file of this header and content, and the state at its end.
pub(super) fn first_log(paths: &Paths, header: &RawLogHeader, content: &Transaction) -> Result<(Vec<u8>, State)> {
    let unwritable = |what: String| IndexError::Unwritable { dir: paths.dir.clone(), what };
    let mut replay = Replay::new(State::empty(), Limits::default());
    replay.enter(header).map_err(|e| unwritable(e.to_string()))?;
    let mut state = replay.finish();
    let mut bytes = header.as_bytes().to_vec();
    for piece in content.encode(&state).map_err(|e| unwritable(e.to_string()))? {
        let mut replay = Replay::new(state, Limits::default());
        let applied = replay.apply(&piece.bytes);
        if applied.stop != Stop::End {
            return Err(unwritable(applied.stop.to_string()));
        }
        state = replay.finish();
        bytes.extend(piece.bytes);
    }
    Ok((bytes, state))
}

/// What an index would be that is made of this content; nothing is written. `dir` and `prefix`: for errors.
pub fn state_of(dir: &Path, prefix: &str, content: &Transaction) -> Result<State> {
    let header = RawLogHeader::first(1, RawLogHeader::FIRST_SEQ, 1, 1);
    Ok(first_log(&Paths::new(dir, prefix), &header, content)?.1)
}

/// Gives a log its name, unless there is one; whether this one is it.
pub(super) fn publish_log(env: &Env, paths: &Paths, bytes: &[u8]) -> Result<bool> {
    let fs = &**env.fs();
    if fs.metadata(&paths.log)?.is_some() {
        return Ok(false);
    }
    let temp = paths.temp("log", env.random());
    let file = paths.create(fs, &temp)?;
    let written = file
        .write_at(bytes, 0)
        .and_then(|()| if env.syncs() { file.sync_data() } else { Ok(()) })
        .map_err(IndexError::from)
        .and_then(|()| link_as_log(env, paths, &temp));
    // The log, if it is ours, has its own name by now.
    let _ = fs.unlink(&temp);
    let made = written?;
    if made && env.syncs() {
        fs.sync_dir(&paths.dir)?;
    }
    Ok(made)
}

fn link_as_log(env: &Env, paths: &Paths, temp: &Path) -> Result<bool> {
    let fs = &**env.fs();
    let start = fs.monotonic();
    loop {
        match fs.hard_link(temp, &paths.newlock) {
            Ok(()) => break,
            Err(e) if e.is_already_exists() => {}
            Err(e) => return Err(e.into()),
        }
        if fs.metadata(&paths.log)?.is_some() {
            return Ok(false);
        }
        let waited = fs.monotonic().saturating_sub(start);
        if waited >= env.options().lock_timeout {
            return Err(IndexError::LockTimeout { path: paths.newlock.clone(), waited });
        }
        if !rotate::clear_newlock(fs, paths)? {
            fs.sleep(CREATOR_PAUSE);
        }
    }
    match fs.rename_new(&paths.newlock, &paths.log) {
        Ok(()) => Ok(true),
        Err(e) => {
            fs.unlink(&paths.newlock)?;
            if e.is_already_exists() { Ok(false) } else { Err(e.into()) }
        }
    }
}
