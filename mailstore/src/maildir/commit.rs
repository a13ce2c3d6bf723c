//! A batch on its way into a mailbox: what is moved, linked and recorded under the UID list's lock and the log's.
//!
//! # Invariants
//!
//! 1. A message's file bears its name, and its UID stands in the UID list, before its record is appended; folders and
//!    list are synced in between.
//! 2. Changes of flags and expunges are asked for in the log; the engine has them carried out behind that.
//! 3. Whatever was named for an operation that is not committed loses its name again. After a crash in between it is a
//!    message like one that another program delivered: whole, and new.

use std::{path::PathBuf, sync::Arc, time::SystemTime};

use mailfs::{FileHandle, OpenMode};
use mailindex::{
    engine::{CommitError, CommitOp, CommitOutcome, CommitPoint, Completer, MailboxIndex, OpError},
    log::{KeywordAction, Origin},
    state::State,
};
use mailtypes::{Flags, Keyword, MailboxName, Uid, UidSet, UidValidity};

use super::{
    files::{Known, MaildirFiles},
    name::{self, NameFlags},
    save::{MaildirSaved, create_temp, unique_base},
    table::{Folder, Place},
};
use crate::{
    indexed::{self, Applied, from_commit, unix_now},
    traits::{Committed, FlagChange, Result, StorageError},
};

/// Bytes copied at once where a link cannot be made.
const COPY_LEN: usize = 256 << 10;

/// A change, ready for the locks.
pub(super) enum Item {
    Save {
        message: Box<MaildirSaved>,
        flags: Flags,
        keywords: Vec<Keyword>,
    },
    Copy {
        source: Arc<MailboxIndex>,
        files: Arc<MaildirFiles>,
        uids: UidSet,
    },
    /// A copy that had to be moved byte by byte, from another kind of store: its UID there, and the message.
    CopySaved {
        uid: Uid,
        message: Box<MaildirSaved>,
        flags: Flags,
        keywords: Vec<Keyword>,
    },
    Flags(FlagChange),
    Expunge(UidSet),
}

/// A batch as one operation.
pub(super) struct BatchOp {
    name: MailboxName,
    files: Arc<MaildirFiles>,
    items: Vec<Item>,
    completer: Option<Completer<Result<Committed>>>,
    made: Made,
}

/// What was done under the locks.
#[derive(Default)]
struct Made {
    /// Names given; for undoing.
    names: Vec<PathBuf>,
    /// The UID list with lines of this batch, and its length before; for undoing.
    appended: Option<(FileHandle, u64)>,
    /// The first UID that is not in the UID list yet.
    first_new: Option<Uid>,
    folders: Vec<Folder>,
    applied: Vec<Applied>,
    saved: Vec<Uid>,
    copied: Vec<(Uid, Uid)>,
    modified: UidSet,
    expunged: UidSet,
    uid_validity: Option<UidValidity>,
}

impl BatchOp {
    pub(super) fn new(
        name: MailboxName,
        files: Arc<MaildirFiles>,
        items: Vec<Item>,
        completer: Completer<Result<Committed>>,
    ) -> Self {
        Self { name, files, items, completer: Some(completer), made: Made::default() }
    }

    fn adds_messages(&self) -> bool {
        self.items.iter().any(|item| !matches!(item, Item::Flags(_) | Item::Expunge(_)))
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
        let adds = self.adds_messages();
        let Self { files, items, made, .. } = self;
        made.uid_validity = at.state().uid_validity();
        if adds {
            files.catch_up(at)?;
        }
        let before = files.cur_time();
        for item in items {
            match item {
                Item::Save { message, flags, keywords } => {
                    let uid = take_in(files, at, made, message, *flags, keywords)?;
                    made.saved.push(uid);
                }
                Item::CopySaved { uid, message, flags, keywords } => {
                    let copy = take_in(files, at, made, message, *flags, keywords)?;
                    made.copied.push((*uid, copy));
                }
                Item::Copy { source, files: from, uids } => copy(files, at, made, source, from, uids)?,
                Item::Flags(change) => {
                    let left_alone = indexed::apply(at, change, &mut made.applied, Origin::Internal);
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
        if made.first_new.is_some() {
            made.appended = files.save_uidlist(&mut files.known(), at.state(), made.first_new)?;
            if let Some((file, _)) = &made.appended {
                at.sync_file(file);
            }
            made.folders.iter().for_each(|folder| at.sync_dir(files.folder(*folder)));
            if made.folders.contains(&Folder::Cur) {
                files.changed_cur(&mut files.known(), before);
            }
            at.require_sync();
        }
        Ok(())
    }

    fn undo(&mut self) {
        for path in self.made.names.drain(..).rev() {
            if let Err(e) = self.files.fs().unlink(&path) {
                tracing::warn!("a message that was not committed stays: {e}");
            }
        }
        if let Some((file, len)) = self.made.appended.take()
            && let Err(e) = file.set_len(len)
        {
            // Lines without files do no harm.
            tracing::debug!("UIDs that were not given stay in the list: {e}");
        }
        self.files.forget();
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

/// Where a message with these flags goes: with none it is delivered into `new`.
fn place_for(files: &MaildirFiles, known: &mut Known, flags: Flags, keywords: &[Keyword]) -> mailfs::Result<Place> {
    let letters = files.letters_for(known, keywords.iter())?;
    Ok(if flags.is_empty() && keywords.is_empty() {
        Place { folder: Folder::New, info: Box::default() }
    } else {
        Place { folder: Folder::Cur, info: name::with_flags(b"", NameFlags { flags, letters }).into() }
    })
}

/// Gives a saved message its UID, its name and its record.
fn take_in(
    files: &MaildirFiles,
    at: &mut CommitPoint<'_>,
    made: &mut Made,
    message: &mut MaildirSaved,
    flags: Flags,
    keywords: &[Keyword],
) -> std::result::Result<Uid, OpError> {
    let keys = message.guid.map(|guid| format!("G{guid}")).unwrap_or_default();
    let uid = {
        let known = &mut *files.known();
        let place = place_for(files, known, flags, keywords)?;
        let path = files.path(&message.base, &place);
        message.temp.rename_new(&path)?;
        made.named(at, known, path, &message.base, keys.as_bytes(), place)?
    };
    append(at, uid, flags, keywords);
    at.cache(uid, indexed::values_of_saved(&message.structure, message.received, unix_now(&**files.fs())));
    Ok(uid)
}

fn append(at: &mut CommitPoint<'_>, uid: Uid, flags: Flags, keywords: &[Keyword]) {
    at.transaction().append(uid, flags);
    let one: UidSet = std::iter::once(uid).collect();
    for keyword in keywords {
        at.transaction().keyword(KeywordAction::Add, keyword, &one, Origin::External);
    }
}

impl Made {
    /// A file has its name: it gets its UID.
    fn named(
        &mut self,
        at: &mut CommitPoint<'_>,
        known: &mut Known,
        path: PathBuf,
        base: &[u8],
        keys: &[u8],
        place: Place,
    ) -> std::result::Result<Uid, OpError> {
        self.names.push(path);
        let uid = at.next_uid()?;
        if !self.folders.contains(&place.folder) {
            self.folders.push(place.folder);
        }
        if place.folder == Folder::New {
            known.left_in_new = Some(true);
            known.in_new.push(uid);
        }
        let scan = known.scan;
        known.table().push(uid, base, keys, place, scan);
        self.first_new.get_or_insert(uid);
        Ok(uid)
    }
}

/// Copies within a store: the file gets another name.
fn copy(
    files: &MaildirFiles,
    at: &mut CommitPoint<'_>,
    made: &mut Made,
    source: &Arc<MailboxIndex>,
    from: &MaildirFiles,
    uids: &UidSet,
) -> std::result::Result<(), OpError> {
    let here = from.dirs == files.dirs;
    let state = if here { at.state().clone() } else { source.refresh()? };
    for record in indexed::records(&state, uids) {
        let uid = record.uid();
        if here && made.expunged.contains(uid) {
            continue;
        }
        let (flags, keywords) = indexed::effective(&state, &record, if here { &made.applied } else { &[] });
        if let Some(copied) = copy_one(files, at, made, from, &state, uid, flags, &keywords)? {
            append(at, copied, flags, &keywords);
            made.copied.push((uid, copied));
        }
    }
    Ok(())
}

/// `None` when the message is gone.
#[allow(clippy::too_many_arguments, reason = "source and destination, and what the copy is to have")]
fn copy_one(
    files: &MaildirFiles,
    at: &mut CommitPoint<'_>,
    made: &mut Made,
    from: &MaildirFiles,
    state: &State,
    uid: Uid,
    flags: Flags,
    keywords: &[Keyword],
) -> std::result::Result<Option<Uid>, OpError> {
    let Some((source_base, source_keys)) = identity_of(from, uid)? else { return Ok(None) };
    let (place, base, keys) = {
        let known = &mut *files.known();
        let place = place_for(files, known, flags, keywords)?;
        if known.table().uid_of(&source_base).is_none() {
            (place, source_base, source_keys)
        } else {
            // The name is taken: the copy gets another, and keeps its identity by a key.
            let (base, keys) = renamed(files, &source_base, &source_keys);
            (place, base, keys)
        }
    };
    let path = files.path(&base, &place);
    match from.with_path(state, uid, |source| link_or_copy(files, source, &path)) {
        Ok(()) => {}
        Err(StorageError::Expunged { .. }) => return Ok(None),
        Err(e) => return Err(OpError::refused(e)),
    }
    let known = &mut *files.known();
    Ok(Some(made.named(at, known, path, &base, &keys, place)?))
}

/// Base name and keys of a message.
fn identity_of(files: &MaildirFiles, uid: Uid) -> mailfs::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let mut known = files.known();
    if known.table().get(uid).is_none() {
        files.load(&mut known)?;
    }
    Ok(known.table().get(uid).map(|entry| (entry.base.to_vec(), entry.keys.to_vec())))
}

/// Another base name with the same sizes, and keys with the identity.
fn renamed(files: &MaildirFiles, base: &[u8], keys: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut other = unique_base(&**files.fs());
    for key in [b'S', b'W'] {
        if let Some(size) = name::size_in(base, key) {
            other.extend_from_slice(format!(",{}={size}", char::from(key)).as_bytes());
        }
    }
    let mut keys = keys.to_vec();
    // A name with a space cannot stand in a key.
    if super::uidlist::value_of(&keys, b'G').is_none() && !base.contains(&b' ') {
        let space: &[u8] = if keys.is_empty() { b"" } else { b" " };
        keys = [&keys, space, b"G", base].concat();
    }
    (other, keys)
}

fn link_or_copy(files: &MaildirFiles, from: &std::path::Path, to: &std::path::Path) -> mailfs::Result<()> {
    match files.fs().hard_link(from, to) {
        Err(e) if e.is_already_exists() || e.is_not_found() => Err(e),
        // Another file system, too many links, or no links at all.
        Err(_) => copy_file(files, from, to),
        Ok(()) => Ok(()),
    }
}

/// Copies a file with its time, durably as far as its data goes, under a name that must be free.
fn copy_file(files: &MaildirFiles, from: &std::path::Path, to: &std::path::Path) -> mailfs::Result<()> {
    let fs = files.fs();
    let source = fs.open(from, OpenMode::Read)?;
    let modified: SystemTime = source.metadata()?.modified;
    let (temp, target) = create_temp(files)?;
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
        target.set_modified(modified)?;
        target.sync_data()?;
        fs.rename_new(&temp, to)
    })();
    if copied.is_err() {
        // The first failure is what matters; what stays in `tmp` is cleaned up in time.
        let _ = fs.unlink(&temp);
    }
    copied
}
