//! Moving messages to alternate storage and back (`docs/formats/dbox.md`, Alternate storage).
//!
//! # Invariants
//!
//! 1. A message's file goes from one storage when it is in the other one under its name, durably; whatever a crash
//!    leaves, one of the two is there, whole, and whoever reads looks at both.
//! 2. Bytes are copied without a lock. Names change under the log's lock, and only of messages that are there then: what
//!    was expunged meanwhile leaves nothing behind.
//! 3. The record's flag follows. It only says where a message should be.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use mailfs::{FileHandle, FileSystem, OpenMode};
use mailindex::{
    engine::{CommitPoint, Fsync, MailboxIndex},
    log::{FlagChange, Origin},
    state::RecordFlags,
};
use mailtypes::{MailboxName, Uid, UidSet};

use super::files::Mails;
use crate::{
    dbox::{MoveTo, Moved},
    indexed::{TempFile, change, from_index},
    traits::Result,
};

/// Messages whose names change under one hold of the log's lock.
const AT_ONCE_MAX: usize = 64;

/// Bytes copied at a time.
const COPY_LEN: usize = 128 << 10;

/// Where the file of a message is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Storage {
    Primary,
    Alternate,
}

/// Moves those of the messages that are there and lie in the other storage.
pub(super) fn move_messages(
    name: &MailboxName,
    index: &Arc<MailboxIndex>,
    mails: &Arc<Mails>,
    uids: &UidSet,
    to: MoveTo,
) -> Result<Moved> {
    mails.make_alt()?;
    let state = index.refresh().map_err(|e| from_index(name, &e))?;
    let there = uids.intersection(&state.uids()).difference(&state.requested_expunges());
    let mut all = Moved::default();
    let there: Vec<Uid> = there.iter().collect();
    for some in there.chunks(AT_ONCE_MAX) {
        let mut step = Step::new(mails, to);
        for &uid in some {
            step.copy(uid)?;
        }
        let (moved, _) = change(name, index, move |at| step.carry_out(at))?;
        let moved = moved?;
        all.moved = all.moved.union(&moved.moved);
        all.bytes += moved.bytes;
    }
    Ok(all)
}

/// Some messages on their way.
struct Step {
    mails: Arc<Mails>,
    to: MoveTo,
    /// Copies that wait for their names.
    waiting: Vec<Copied>,
    /// Those that lie where they should already.
    there_already: UidSet,
    done: Moved,
}

/// A copy without its name.
struct Copied {
    uid: Uid,
    len: u64,
    temp: TempFile,
}

impl Step {
    fn new(mails: &Arc<Mails>, to: MoveTo) -> Self {
        let (waiting, there_already, done) = (Vec::new(), UidSet::new(), Moved::default());
        Self { mails: Arc::clone(mails), to, waiting, there_already, done }
    }

    /// The two folders: from which, and to which.
    fn dirs(&self) -> (PathBuf, PathBuf) {
        let (primary, alt) = (self.mails.dir.clone(), self.mails.alt.clone().unwrap_or_default());
        match self.to {
            MoveTo::Alternate => (primary, alt),
            MoveTo::Primary => (alt, primary),
        }
    }

    /// The two files of a message.
    fn paths(&self, uid: Uid) -> (PathBuf, PathBuf) {
        let (primary, alt) = (self.mails.path(uid), self.mails.alt_path(uid).unwrap_or_default());
        match self.to {
            MoveTo::Alternate => (primary, alt),
            MoveTo::Primary => (alt, primary),
        }
    }

    /// Copies a message's file, durably, beside where it is to be.
    fn copy(&mut self, uid: Uid) -> Result<()> {
        let (from, _) = self.paths(uid);
        let source = match self.mails.fs().open(&from, OpenMode::Read) {
            Err(e) if e.is_not_found() => {
                self.there_already.insert(uid);
                return Ok(());
            }
            other => other?,
        };
        let (path, target) = self.mails.create_temp_in(&self.dirs().1)?;
        let temp = TempFile::new(self.mails.fs(), path);
        let len = copy_bytes(&source, &target)?;
        target.set_modified(source.metadata()?.modified)?;
        if self.mails.shared.env.options().fsync != Fsync::Never {
            target.sync_data()?;
        }
        self.waiting.push(Copied { uid, len, temp });
        Ok(())
    }

    /// Under the log's lock. May be called again if what it said could not be written.
    fn carry_out(&mut self, at: &mut CommitPoint<'_>) -> mailfs::Result<Moved> {
        let outcome = self.rename(at);
        let gone = at.state().requested_expunges();
        let there = at.state().uids().difference(&gone);
        let placed = self.done.moved.union(&self.there_already).intersection(&there);
        let flags = match self.to {
            MoveTo::Alternate => FlagChange::add(RecordFlags::ALT),
            MoveTo::Primary => FlagChange::remove(RecordFlags::ALT),
        };
        if !placed.is_empty() {
            at.transaction().flags(&placed, flags, Origin::External);
        }
        outcome.map(|()| self.done.clone())
    }

    fn rename(&mut self, at: &mut CommitPoint<'_>) -> mailfs::Result<()> {
        let fs = Arc::clone(self.mails.fs());
        let there = at.state().uids().difference(&at.state().requested_expunges());
        let mut moved = Vec::new();
        // A copy that is not wanted any more goes with its `TempFile`.
        for mut copied in std::mem::take(&mut self.waiting) {
            let (from, to) = self.paths(copied.uid);
            if there.contains(copied.uid) && fs.metadata(&from)?.is_some() {
                copied.temp.replace(&to)?;
                moved.push((copied.uid, copied.len, from));
            }
        }
        if moved.is_empty() {
            return Ok(());
        }
        let (from_dir, to_dir) = self.dirs();
        fs.sync_dir(&to_dir)?;
        for (uid, len, from) in moved {
            unlink_if_there(&*fs, &from)?;
            self.done.moved.insert(uid);
            self.done.bytes += len;
        }
        at.sync_dir(&from_dir);
        Ok(())
    }
}

fn unlink_if_there(fs: &dyn FileSystem, path: &Path) -> mailfs::Result<()> {
    match fs.unlink(path) {
        Err(e) if !e.is_not_found() => Err(e),
        _ => Ok(()),
    }
}

fn copy_bytes(source: &FileHandle, target: &FileHandle) -> mailfs::Result<u64> {
    let mut buffer = vec![0; COPY_LEN];
    let mut offset = 0;
    loop {
        let read = source.read_at(&mut buffer, offset)?;
        if read == 0 {
            return Ok(offset);
        }
        target.write_at(buffer.get(..read).unwrap_or_default(), offset)?;
        offset += read as u64;
    }
}
