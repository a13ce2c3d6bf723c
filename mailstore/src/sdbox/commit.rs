//! A batch on its way into a mailbox: what is moved, linked and recorded under the log's lock.
//!
//! # Invariants
//!
//! 1. A message's file bears its name before its record is appended, and the folder is synced in between.
//! 2. A name that is taken is never overwritten and never removed: it was left by a crash, or by an index that was lost,
//!    and its message is taken in under the UID it bears.
//! 3. Whatever was named for an operation that is not committed loses its name again.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use mailfs::{FileHandle, FsError, OpenMode};
use mailindex::{
    engine::{CommitError, CommitOp, CommitOutcome, CommitPoint, Completer, MailboxIndex, OpError},
    log::{KeywordAction, Origin},
    state::RecordFlags,
};
use mailtypes::{Flags, Keyword, MailboxName, Uid, UidSet, UidValidity};

use super::{attached, files::Mails, save::SdboxSaved};
use crate::{
    indexed::{self, from_commit, unix_now},
    traits::{Committed, FlagChange, Result, StorageError},
};

/// Left-over files that one operation walks through before it asks for a rebuild instead.
const LEFTOVERS_MAX: u32 = 10_000;

/// How often, and after what time each, a commit is looked after that removes a message.
const LOOKS_MAX: u32 = 2_000;
const LOOK_INTERVAL: std::time::Duration = std::time::Duration::from_millis(1);
/// Bytes copied at once where a link cannot be made.
const COPY_LEN: usize = 256 << 10;

/// A change, ready for the lock.
pub(super) enum Item {
    Save {
        message: Box<SdboxSaved>,
        flags: Flags,
        keywords: Vec<Keyword>,
    },
    Copy {
        source: Arc<MailboxIndex>,
        mails: Arc<Mails>,
        uids: UidSet,
    },
    /// A copy that had to be moved byte by byte, from another kind of store: its UID there, and the message.
    CopySaved {
        uid: Uid,
        message: Box<SdboxSaved>,
        flags: Flags,
        keywords: Vec<Keyword>,
    },
    Flags(FlagChange),
    Expunge(UidSet),
}

/// A batch as one operation: it is there whole or not at all.
pub(super) struct BatchOp {
    name: MailboxName,
    mails: Arc<Mails>,
    items: Vec<Item>,
    completer: Option<Completer<Result<Committed>>>,
    made: Made,
}

/// What was done under the lock.
#[derive(Default)]
struct Made {
    /// Names given; for undoing.
    names: Vec<PathBuf>,
    /// Changes of flags so far.
    applied: Vec<indexed::Applied>,
    saved: Vec<Uid>,
    copied: Vec<(Uid, Uid)>,
    modified: UidSet,
    expunged: UidSet,
    uid_validity: Option<UidValidity>,
}

impl BatchOp {
    pub(super) fn new(
        name: MailboxName,
        mails: Arc<Mails>,
        items: Vec<Item>,
        completer: Completer<Result<Committed>>,
    ) -> Self {
        Self { name, mails, items, completer: Some(completer), made: Made::default() }
    }
}

impl CommitOp for BatchOp {
    fn files_to_sync(&self) -> Vec<FileHandle> {
        let file = |item: &Item| match item {
            Item::Save { message, .. } | Item::CopySaved { message, .. } => {
                message.unsynced.as_ref().map(|unsynced| Arc::clone(&unsynced.file))
            }
            _ => None,
        };
        self.items.iter().filter_map(file).collect()
    }

    fn prepare(&mut self, at: &mut CommitPoint<'_>) -> std::result::Result<(), OpError> {
        let Self { mails, items, made, .. } = self;
        made.uid_validity = at.state().uid_validity();
        for item in items {
            match item {
                Item::Save { message, flags, keywords } => {
                    let uid = take_in(mails, at, made, message, *flags, keywords)?;
                    made.saved.push(uid);
                }
                Item::CopySaved { uid, message, flags, keywords } => {
                    let copy = take_in(mails, at, made, message, *flags, keywords)?;
                    made.copied.push((*uid, copy));
                }
                Item::Copy { source, mails: from, uids } => copy(mails, at, made, source, from, uids)?,
                Item::Flags(change) => {
                    let left_alone = indexed::apply(at, change, &mut made.applied, Origin::External);
                    made.modified = made.modified.union(&left_alone);
                }
                Item::Expunge(uids) => {
                    // What another operation of this append asked to expunge is that one's.
                    let there = at.state().uids().difference(&at.state().requested_expunges());
                    made.expunged = made.expunged.union(&uids.intersection(&there));
                    at.expunge(uids);
                }
            }
        }
        if !made.names.is_empty() {
            at.sync_dir(&mails.dir);
            at.require_sync();
        }
        Ok(())
    }

    fn undo(&mut self) {
        for path in self.made.names.drain(..).rev() {
            if let Err(e) = self.mails.fs.unlink(&path) {
                tracing::warn!("a message that was not committed stays: {e}");
            }
        }
    }

    fn done(mut self: Box<Self>, outcome: std::result::Result<&CommitOutcome, Arc<CommitError>>) {
        let made = std::mem::take(&mut self.made);
        let result = match outcome {
            Ok(outcome) => Ok(Committed {
                uid_validity: made.uid_validity.unwrap_or(UidValidity::MIN),
                saved: made.saved,
                copied: made.copied,
                modified: made.modified,
                expunged: made.expunged,
                highest_modseq: outcome.state.highest_modseq(),
            }),
            Err(error) => Err(from_commit(&self.name, &error)),
        };
        if let Some(completer) = self.completer.take() {
            completer.complete(result);
        }
    }
}

/// Gives a saved message its UID, its name and its record.
fn take_in(
    mails: &Mails,
    at: &mut CommitPoint<'_>,
    made: &mut Made,
    message: &mut SdboxSaved,
    flags: Flags,
    keywords: &[Keyword],
) -> std::result::Result<Uid, OpError> {
    let uid = name_next(mails, at, made, |_, path| message.temp.rename_new(path))?;
    append(at, uid, flags.into(), keywords.iter());
    at.cache(uid, indexed::values_of_saved(&message.structure, message.received, unix_now(&*mails.fs)));
    Ok(uid)
}

fn append<'a>(at: &mut CommitPoint<'_>, uid: Uid, flags: RecordFlags, keywords: impl Iterator<Item = &'a Keyword>) {
    at.transaction().append(uid, flags);
    let mut one = UidSet::new();
    one.insert(uid);
    for keyword in keywords {
        at.transaction().keyword(KeywordAction::Add, keyword, &one, Origin::External);
    }
}

/// The next UID whose name is free, and a file under it. What lies in the way is taken in if it is whole.
fn name_next(
    mails: &Mails,
    at: &mut CommitPoint<'_>,
    made: &mut Made,
    mut put: impl FnMut(Uid, &Path) -> mailfs::Result<()>,
) -> std::result::Result<Uid, OpError> {
    for _ in 0..LEFTOVERS_MAX {
        let uid = at.next_uid()?;
        let path = mails.path(uid);
        match put(uid, &path) {
            Ok(()) => {
                made.names.push(path);
                return Ok(uid);
            }
            Err(e) if e.is_already_exists() => {
                if mails.is_whole(&path) {
                    tracing::warn!(path = %path.display(), "a message that no index knew was found and taken in");
                    at.transaction().append(uid, RecordFlags::NONE);
                } else {
                    tracing::warn!(path = %path.display(), "a damaged message that no index knew is left as it is");
                }
            }
            Err(e) => return Err(e.into()),
        }
    }
    let text = format!("{LEFTOVERS_MAX} message files that no index knows");
    Err(FsError::new("name a message in", &mails.dir, io::Error::other(text)).into())
}

/// Copies within a store: the file gets another name.
fn copy(
    mails: &Mails,
    at: &mut CommitPoint<'_>,
    made: &mut Made,
    source: &Arc<MailboxIndex>,
    from: &Mails,
    uids: &UidSet,
) -> std::result::Result<(), OpError> {
    let here = from.dir == mails.dir;
    let state = if here { at.state().clone() } else { source.refresh()? };
    for record in indexed::records(&state, uids) {
        if here && made.expunged.contains(record.uid()) {
            continue;
        }
        let path = from.path(record.uid());
        let attached = attached::files_of_record(from, &state, record.uid());
        let guid = at.state().dbox_header().map(|header| header.guid);
        let named = name_next(mails, at, made, |uid, to| {
            attached::link(&*mails.fs, &attached, guid, uid)?;
            link_or_copy(mails, &path, to)
        });
        let uid = match named {
            Err(OpError::Fs(e)) if e.is_not_found() && is_gone(source, record.uid())? => continue,
            other => other?,
        };
        // Where the message should lie (a further record flag) is a matter of each copy.
        let (flags, keywords) = indexed::effective(&state, &record, if here { &made.applied } else { &[] });
        append(at, uid, flags.into(), keywords.iter());
        made.copied.push((record.uid(), uid));
    }
    Ok(())
}

/// Whether a message is gone whose file is. A commit of this process has it removed before it tells: that is waited for.
fn is_gone(source: &Arc<MailboxIndex>, uid: Uid) -> std::result::Result<bool, OpError> {
    for _ in 0..LOOKS_MAX {
        let is_committing = source.is_committing();
        if !source.refresh()?.contains(uid) {
            return Ok(true);
        }
        if !is_committing {
            break;
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    Ok(false)
}

fn link_or_copy(mails: &Mails, from: &Path, to: &Path) -> mailfs::Result<()> {
    match mails.fs.hard_link(from, to) {
        Err(e) if e.is_already_exists() || e.is_not_found() => Err(e),
        // Another file system, too many links, or no links at all.
        Err(_) => copy_file(mails, from, to),
        Ok(()) => Ok(()),
    }
}

/// Copies a file, durably as far as its data goes, under a name that must be free.
fn copy_file(mails: &Mails, from: &Path, to: &Path) -> mailfs::Result<()> {
    let source = mails.fs.open(from, OpenMode::Read)?;
    let (temp, target) = mails.create_temp()?;
    let copied = (|| {
        let mut buffer = vec![0; COPY_LEN];
        let mut offset = 0;
        loop {
            let read = source.read_at(&mut buffer, offset)?;
            if read == 0 {
                break;
            }
            target.write_at(buffer.get(..read).unwrap_or_default(), offset)?;
            offset += read as u64;
        }
        target.sync_data()?;
        mails.fs.rename_new(&temp, to)
    })();
    if copied.is_err() {
        // The first failure is what matters; the name begins as temporary ones do.
        let _ = mails.fs.unlink(&temp);
    }
    copied
}

/// Fails a batch that cannot even be queued.
pub(super) fn foreign_message() -> StorageError {
    StorageError::NotPossible("Message was taken in by another store")
}
