//! Opening, making and unmaking a Maildir mailbox.

use std::sync::Arc;

use mailfs::FileSystemExt;
use mailindex::{
    engine::{self, IndexError, MailboxIndex, MessageStore, RebuildMessage},
    log::Transaction,
    state::{RawIndexHeader, RecordFlags, State},
};
use mailtypes::{Guid, MailboxName, UidValidity};

use super::{Shared, files::MaildirFiles};
use crate::{
    indexed::{Indexed, IndexedMailbox, PREFIX, Private, change, from_index, unix_now},
    mailbox_list::{MailboxDirs, Rights},
    traits::{MailboxIdentity, Result, StorageError},
};

/// How often a mailbox is looked at again after something was done about it.
const OPEN_TRIES_MAX: usize = 4;

/// Seconds between two looks into `tmp`.
const TMP_SCAN_INTERVAL: u32 = 24 * 3600;

/// Makes what is missing of an empty mailbox, durably: `tmp`, `new` and `cur`, the control and index folders, a uidlist
/// and an index. The folder `dirs.mail` and those above it are made too. What is there stays.
pub(super) fn create_in(
    shared: &Arc<Shared>,
    dirs: &MailboxDirs,
    rights: Rights,
    identity: Option<&MailboxIdentity>,
) -> Result<()> {
    let fs = &**shared.env.fs();
    rights.create_dirs(fs, &dirs.control)?;
    rights.create_dirs(fs, &dirs.index)?;
    for folder in ["tmp", "new", "cur"] {
        rights.create_dirs(fs, &dirs.mail.join(folder))?;
    }
    let files = Arc::new(MaildirFiles::new(shared, dirs));
    if let Some(identity) = identity {
        let _lock = files.lock_uidlist(shared.env.options().lock_timeout, true)?;
        let mut known = files.known();
        files.load(&mut known)?;
        let header = &mut known.table().header;
        (header.uid_validity, header.guid) = (Some(identity.uid_validity), Some(identity.guid));
        files.rewrite_uidlist(&mut known, &State::empty())?;
    }
    open_index(&MailboxName::inbox(), &files).map(|_| ())
}

/// Opens the mailbox in folders that are there (`dirs.mail/cur` exists); makes or rebuilds index and uidlist if need be.
pub(super) fn open(shared: &Arc<Shared>, name: &MailboxName, dirs: &MailboxDirs) -> Result<IndexedMailbox> {
    let fs = &**shared.env.fs();
    if !fs.is_dir(&dirs.mail.join("cur"))? {
        return Err(StorageError::NotFound(name.clone()));
    }
    let rights = Rights::of(fs, &dirs.mail)?;
    for dir in [&dirs.mail.join("tmp"), &dirs.mail.join("new"), &dirs.control, &dirs.index] {
        if !fs.is_dir(dir)? {
            rights.create_dirs(fs, dir)?;
        }
    }
    let files = Arc::new(MaildirFiles::new(shared, dirs));
    let Opened { files, index, guid, uid_validity } = open_index(name, &files)?;
    clean_tmp(name, &files, &index);
    let limits = shared.options.limits.clone();
    let private = Private::of(&shared.env, name, dirs, &index)?;
    Ok(IndexedMailbox::new(Indexed { name: name.clone(), index, files, guid, uid_validity, limits, private }))
}

/// What is asked of the files when the index alone is recovered.
pub(super) fn message_store(shared: &Arc<Shared>, dirs: &MailboxDirs) -> Arc<dyn MessageStore> {
    Arc::new(MaildirFiles::new(shared, dirs))
}

/// Once in a while, files that were left in `tmp` go.
fn clean_tmp(name: &MailboxName, files: &MaildirFiles, index: &Arc<MailboxIndex>) {
    if index.env().is_read_only() {
        return;
    }
    let now = unix_now(&**files.fs());
    let last = index.state().header().last_temp_file_scan.get();
    if now.saturating_sub(last) < TMP_SCAN_INTERVAL {
        return;
    }
    let outcome = files.clean_tmp().map_err(StorageError::from).and_then(|()| {
        change(name, index, move |at| {
            at.transaction().header_update(RawIndexHeader::LAST_TEMP_FILE_SCAN, &now.to_le_bytes());
        })
    });
    if let Err(e) = outcome {
        tracing::debug!(mailbox = %name, "temporary files were not cleaned up: {e}");
    }
}

struct Opened {
    files: Arc<MaildirFiles>,
    index: Arc<MailboxIndex>,
    guid: Guid,
    uid_validity: UidValidity,
}

fn open_index(name: &MailboxName, files: &Arc<MaildirFiles>) -> Result<Opened> {
    let (shared, dirs) = (&files.shared, &files.dirs);
    for _ in 0..OPEN_TRIES_MAX {
        let index = match MailboxIndex::open(&shared.env, &dirs.index, PREFIX, Arc::clone(files) as _) {
            Ok(index) => index,
            Err(IndexError::NotFound { .. }) => {
                let uid_validity = ensure_uidlist(files, &State::empty())?;
                let store = Arc::clone(files) as _;
                let initial = first_transaction(uid_validity);
                MailboxIndex::create(&shared.env, &dirs.index, PREFIX, store, &initial)
                    .map_err(|e| from_index(name, &e))?
            }
            Err(IndexError::NeedsRebuild { .. }) => {
                rebuild(name, files)?;
                continue;
            }
            Err(e) => return Err(from_index(name, &e)),
        };
        // All who have the mailbox open share what is known of its files.
        let shared_files = index.store().and_then(|store| store.downcast::<MaildirFiles>().ok());
        let files = shared_files.filter(|other| other.dirs == *dirs).unwrap_or_else(|| Arc::clone(files));
        let state = index.state();
        match (files.identity()?, state.uid_validity()) {
            ((Some(list), Some(_)), None) => give_uid_validity(name, &index, list)?,
            ((Some(list), Some(guid)), Some(in_index)) if in_index == list => {
                return Ok(Opened { files, index, guid, uid_validity: list });
            }
            ((Some(list), Some(_)), _) => {
                tracing::warn!(mailbox = %name, "the UID list has another UIDVALIDITY than the index, which is reset");
                drop(index);
                reset(name, &files, list)?;
            }
            _ => {
                ensure_uidlist(&files, &state)?;
            }
        }
    }
    Err(StorageError::Unavailable(format!("the index of {name} changes faster than it can be opened").into()))
}

/// Dovecot's index of a mailbox that nobody has opened yet has none. Before there are messages in it there must be one:
/// Dovecot takes an index with messages and no UIDVALIDITY for damaged.
fn give_uid_validity(name: &MailboxName, index: &Arc<MailboxIndex>, uid_validity: UidValidity) -> Result<()> {
    let given = change(name, index, move |at| {
        if at.state().uid_validity().is_none() {
            let value = uid_validity.value().to_le_bytes();
            at.transaction().header_update_before(RawIndexHeader::UID_VALIDITY, &value);
        }
    });
    given.map(|_| ())
}

/// What the log of a new mailbox begins with.
fn first_transaction(uid_validity: UidValidity) -> Transaction {
    let mut transaction = Transaction::new();
    transaction.header_update_before(RawIndexHeader::UID_VALIDITY, &uid_validity.value().to_le_bytes());
    // Without this every message has the mailbox's mod-sequence until a client asks for it. It costs nothing in the log.
    transaction.enable_modseqs();
    transaction
}

/// Sees to it that there is a UID list with UIDVALIDITY and GUID.
fn ensure_uidlist(files: &Arc<MaildirFiles>, state: &State) -> Result<UidValidity> {
    let _lock = files.lock_uidlist(files.shared.env.options().lock_timeout, true)?;
    let mut known = files.known();
    files.load(&mut known)?;
    let missing = known.uidlist.is_none();
    let header = &known.table().header;
    if missing || header.uid_validity.is_none() || header.guid.is_none() {
        files.rewrite_uidlist(&mut known, state)?;
    }
    known.table().header.uid_validity.ok_or_else(|| StorageError::Unavailable("no UIDVALIDITY was given".into()))
}

/// Has the UID list say which UID is the next.
pub(super) fn note_next_uid(files: &MaildirFiles, state: &State) -> Result<()> {
    let _lock = files.lock_uidlist(files.shared.env.options().lock_timeout, true)?;
    let mut known = files.known();
    files.load(&mut known)?;
    if known.table().header.next_uid.is_none_or(|next| next < state.next_uid()) {
        files.rewrite_uidlist(&mut known, state)?;
    }
    Ok(())
}

/// Makes the index anew from the UID list and the names. What is left of the old one is kept: mod-sequences, keywords
/// that have no letter, flags that no name tells.
fn rebuild(name: &MailboxName, files: &Arc<MaildirFiles>) -> Result<()> {
    let (shared, dirs) = (&files.shared, &files.dirs);
    let uid_validity = ensure_uidlist(files, &State::empty())?;
    let keep = match engine::recover(&shared.env, &dirs.index, PREFIX, Arc::clone(files) as _) {
        Ok(recovered) => recovered.state.filter(|state| state.uid_validity() == Some(uid_validity)),
        Err(IndexError::NotFound { .. } | IndexError::NeedsRebuild { .. }) => None,
        Err(e) => return Err(from_index(name, &e)),
    };
    if let Some(keep) = &keep {
        files.remove(keep, &keep.requested_expunges()).map_err(|e| StorageError::Io(e.to_string().into()))?;
    }
    let messages: Vec<RebuildMessage> = {
        let mut known = files.known();
        files.load(&mut known)?;
        files.find_all(&mut known)?;
        let there = known.table().iter().filter(|entry| entry.place.is_some());
        there
            .map(|entry| {
                let flags = entry.name_flags().map_or(RecordFlags::NONE, |flags| flags.flags.into());
                RebuildMessage { uid: entry.uid, flags }
            })
            .collect()
    };
    let more = if keep.is_some() { Transaction::new() } else { first_transaction(uid_validity) };
    engine::rebuild(&shared.env, &dirs.index, PREFIX, &messages, keep.as_ref(), more)
        .map_err(|e| from_index(name, &e))?;
    tracing::warn!(mailbox = %name, messages = messages.len(), "the index was rebuilt from the UID list and the names");
    files.forget();
    Ok(())
}

/// Makes an empty index, which the next synchronisation fills.
fn reset(name: &MailboxName, files: &Arc<MaildirFiles>, uid_validity: UidValidity) -> Result<()> {
    let (env, dirs) = (&files.shared.env, &files.dirs);
    engine::rebuild(env, &dirs.index, PREFIX, &[], None, first_transaction(uid_validity))
        .map_err(|e| from_index(name, &e))?;
    files.forget();
    Ok(())
}
