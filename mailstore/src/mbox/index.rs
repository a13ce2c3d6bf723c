//! Opening and making the index of an mbox.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, atomic::Ordering},
};

use mailfs::{FileSystemExt, LockKind, LockOrder, LockRank};
use mailindex::{
    engine::{self, IndexError, MailboxIndex, MessageStore, RebuildMessage},
    log::{Origin, Transaction},
    state::{RawIndexHeader, RecordFlags, State},
};
use mailtypes::{Guid, MailboxName, Uid, UidSet, UidValidity};

use super::{
    Shared,
    files::{MBOX_EXT, MboxFiles, SyncHeader},
    scan::{Rules, Scanner},
    sync::{Extent, read_base, work_of},
};
use crate::{
    indexed::{Indexed, IndexedMailbox, PREFIX, Private, change, from_index, new_guid},
    mailbox_list::{MailboxDirs, Rights, condemned, next_uid_validity},
    traits::{MailboxIdentity, Result, StorageError},
};

/// How often a mailbox is looked at again after something was done about it.
const OPEN_TRIES_MAX: usize = 4;

/// A mailbox whose next UID is at or above this begins anew, under another UIDVALIDITY, when it is opened. More than a file is
/// believed to have given ([`super::meta`]): its old UIDVALIDITY does not count then.
const NEXT_UID_MAX: u32 = 0xffff_0000;

/// Opens the mailbox whose file is there; makes or rebuilds its index if need be.
pub(super) fn open(shared: &Arc<Shared>, name: &MailboxName, dirs: &MailboxDirs) -> Result<IndexedMailbox> {
    let fs = &**shared.env.fs();
    if !fs.is_dir(&dirs.index)? {
        let root = dirs.index.parent().and_then(std::path::Path::parent).unwrap_or(&dirs.index);
        Rights::of(fs, root)?.create_dirs(fs, &dirs.index)?;
    }
    let (files, index) = open_index(shared, name, dirs)?;
    let (guid, uid_validity) = match identity(&index.state()) {
        (Some(guid), Some(uid_validity)) => (guid, uid_validity),
        _ => give_identity(shared, name, &index)?,
    };
    let limits = shared.options.limits.clone();
    files.open_count.fetch_add(1, Ordering::AcqRel);
    let private = Private::of(&shared.env, name, dirs, &index)?;
    Ok(IndexedMailbox::new(Indexed { name: name.clone(), index, files, guid, uid_validity, limits, private }))
}

fn identity(state: &State) -> (Option<Guid>, Option<UidValidity>) {
    let guid = SyncHeader::of(state).map(|header| header.guid).filter(|guid| !guid.is_zero());
    (guid, state.uid_validity())
}

fn open_index(
    shared: &Arc<Shared>,
    name: &MailboxName,
    dirs: &MailboxDirs,
) -> Result<(Arc<MboxFiles>, Arc<MailboxIndex>)> {
    let new_files = MboxFiles::new(shared, dirs);
    for _ in 0..OPEN_TRIES_MAX {
        let index = match MailboxIndex::open(&shared.env, &dirs.index, PREFIX, Arc::clone(&new_files) as _) {
            Ok(index) => index,
            Err(IndexError::NotFound { .. }) => {
                let initial = first_transaction(shared, uid_validity(&new_files, None)?);
                let store = Arc::clone(&new_files) as _;
                MailboxIndex::create(&shared.env, &dirs.index, PREFIX, store, &initial)
                    .map_err(|e| from_index(name, &e))?
            }
            Err(IndexError::NeedsRebuild { .. }) => {
                rebuild(name, &new_files, &UidSet::new())?;
                continue;
            }
            Err(IndexError::Deleted { .. })
                if condemned::standing(&**shared.env.fs(), dirs)? == condemned::Standing::Another =>
            {
                tracing::warn!(mailbox = %name, "a new mailbox stands where one was deleted; its index is begun anew");
                // What it says is of the old file.
                new_files.undo.clear(true)?;
                reset(name, &new_files, uid_validity(&new_files, None)?, Guid::ZERO)?;
                condemned::forget(&**shared.env.fs(), dirs);
                continue;
            }
            Err(e) => return Err(from_index(name, &e)),
        };
        // All who have the mailbox open share what is known of its file.
        let files = index.store().and_then(|store| store.downcast::<MboxFiles>().ok());
        let files = files.filter(|other| other.dirs == *dirs).unwrap_or_else(|| Arc::clone(&new_files));
        files.belongs_to(&index);
        if index.state().next_uid().value() >= NEXT_UID_MAX {
            tracing::warn!(mailbox = %name, "there are no UIDs left: messages get new ones, under another UIDVALIDITY");
            let old = SyncHeader::of(&index.state()).unwrap_or_default();
            drop(index);
            reset(name, &files, new_uid_validity(&files)?, old.guid)?;
            continue;
        }
        let in_index = index.state().uid_validity();
        match in_file(&files)? {
            Some(in_file) if in_index.is_some_and(|in_index| in_index != in_file) => {
                tracing::warn!(mailbox = %name, "the mbox has another UIDVALIDITY than the index, which is reset");
                let old = SyncHeader::of(&index.state()).unwrap_or_default();
                drop(index);
                reset(name, &files, in_file, old.guid)?;
            }
            Some(in_file) if in_index.is_none() => give_uid_validity(name, &index, in_file)?,
            _ => {
                // The file is looked at once here, so that what is wrong with it is told.
                files.sync_now(name, work_of(&index.state()), Extent::Tail)?;
                return Ok((files, index));
            }
        }
    }
    Err(StorageError::Unavailable(format!("the index of {name} changes faster than it can be opened").into()))
}

/// The UIDVALIDITY that the file tells.
fn in_file(files: &MboxFiles) -> Result<Option<UidValidity>> {
    let timeout = files.shared.options.locks.timeout;
    let locked = match files.lock_file(LockKind::Shared, timeout) {
        Err(e) if e.is_not_found() => return Ok(None),
        other => other?,
    };
    let mut scanner = match Scanner::new(files.path(), Arc::clone(&locked.file), Rules::Dovecot) {
        Err(e) if e.kind() == std::io::ErrorKind::InvalidData => {
            return Err(StorageError::NotPossible("Mailbox isn't a valid mbox file"));
        }
        other => other?,
    };
    Ok(read_base(&mut scanner)?.and_then(|meta| meta.base).map(|base| base.uid_validity))
}

/// That of the file, of the old index, or a new one.
fn uid_validity(files: &MboxFiles, old: Option<UidValidity>) -> Result<UidValidity> {
    match in_file(files)?.or(old) {
        Some(uid_validity) => Ok(uid_validity),
        None => new_uid_validity(files),
    }
}

fn new_uid_validity(files: &MboxFiles) -> Result<UidValidity> {
    let (fs, dir) = (&**files.fs(), &files.shared.uid_validity_dir);
    if !fs.is_dir(dir)? {
        Rights::of(fs, dir.parent().unwrap_or(dir))?.create_dirs(fs, dir)?;
    }
    Ok(next_uid_validity(fs, dir)?)
}

fn give_uid_validity(name: &MailboxName, index: &Arc<MailboxIndex>, uid_validity: UidValidity) -> Result<()> {
    let given = change(name, index, move |at| {
        if at.state().uid_validity().is_none() {
            let value = uid_validity.value().to_le_bytes();
            at.transaction().header_update_before(RawIndexHeader::UID_VALIDITY, &value);
        }
    });
    given.map(|_| ())
}

/// Makes the index of a mailbox whose file is yet to be made.
pub(super) fn make(
    shared: &Arc<Shared>,
    dirs: &MailboxDirs,
    rights: Rights,
    identity: Option<&MailboxIdentity>,
) -> Result<()> {
    rights.create_dirs(&**shared.env.fs(), &dirs.index)?;
    let files = MboxFiles::new(shared, dirs);
    let mut initial = match identity {
        Some(identity) => first_transaction(shared, identity.uid_validity),
        None => first_transaction(shared, uid_validity(&files, None)?),
    };
    if let Some(identity) = identity {
        write_guid(&mut initial, SyncHeader::default(), identity.guid);
    }
    MailboxIndex::create(&shared.env, &dirs.index, PREFIX, files, &initial)
        .map(drop)
        .map_err(|e| from_index(&MailboxName::inbox(), &e))
}

/// What the log of a new mailbox begins with.
fn first_transaction(shared: &Shared, uid_validity: UidValidity) -> Transaction {
    let mut transaction = Transaction::new();
    transaction.header_update_before(RawIndexHeader::UID_VALIDITY, &uid_validity.value().to_le_bytes());
    write_guid(&mut transaction, SyncHeader::default(), new_guid(&**shared.env.fs()));
    // Without this every message has the mailbox's mod-sequence until a client asks for it. It costs nothing in the log.
    transaction.enable_modseqs();
    transaction
}

fn write_guid(transaction: &mut Transaction, header: SyncHeader, guid: Guid) {
    let header = SyncHeader { guid, ..header };
    transaction.ext_header(&MBOX_EXT, 0, &header.encode(), Origin::External);
}

/// A mailbox that some program made without GUID or UIDVALIDITY gets them.
fn give_identity(shared: &Shared, name: &MailboxName, index: &Arc<MailboxIndex>) -> Result<(Guid, UidValidity)> {
    let new_guid = new_guid(&**shared.env.fs());
    let new_uid_validity = next_uid_validity(&**shared.env.fs(), &shared.uid_validity_dir)?;
    let (_, state) = change(name, index, move |at| {
        let (guid, uid_validity) = identity(at.state());
        if guid.is_none() {
            let header = SyncHeader::of(at.state()).unwrap_or_default();
            write_guid(at.transaction(), header, new_guid);
        }
        if uid_validity.is_none() {
            let value = new_uid_validity.value().to_le_bytes();
            at.transaction().header_update_before(RawIndexHeader::UID_VALIDITY, &value);
        }
        at.require_sync();
    })?;
    match identity(&state) {
        (Some(guid), Some(uid_validity)) => Ok((guid, uid_validity)),
        _ => Err(StorageError::Unavailable(format!("mailbox {name} has no identity").into())),
    }
}

/// Makes the index anew with what is left of the old one and with `more` messages; the next synchronisation finds out where
/// they are, and what flags they have.
pub(super) fn rebuild(name: &MailboxName, files: &Arc<MboxFiles>, more_uids: &UidSet) -> Result<usize> {
    let (shared, dirs) = (&files.shared, &files.dirs);
    let keep = match engine::recover(&shared.env, &dirs.index, PREFIX, Arc::clone(files) as Arc<dyn MessageStore>) {
        Ok(recovered) => recovered.state,
        Err(IndexError::NotFound { .. } | IndexError::NeedsRebuild { .. }) => None,
        Err(e) => return Err(from_index(name, &e)),
    };
    let uid_validity = uid_validity(files, keep.as_ref().and_then(State::uid_validity))?;
    let keep = keep.filter(|state| state.uid_validity() == Some(uid_validity));
    let kept = keep.iter().flat_map(|state| state.records_from(0)).map(|record| (record.uid(), record.record_flags()));
    let mut flags: BTreeMap<Uid, RecordFlags> = more_uids.iter().map(|uid| (uid, RecordFlags::NONE)).collect();
    flags.extend(kept);
    let messages: Vec<RebuildMessage> = flags.into_iter().map(|(uid, flags)| RebuildMessage { uid, flags }).collect();
    let mut more = Transaction::new();
    match keep.as_ref().and_then(SyncHeader::of).filter(|header| !header.guid.is_zero()) {
        Some(header) if keep.is_some() => write_guid(&mut more, SyncHeader::default(), header.guid),
        _ => more = first_transaction(shared, uid_validity),
    }
    engine::rebuild(&shared.env, &dirs.index, PREFIX, &messages, keep.as_ref(), more)
        .map_err(|e| from_index(name, &e))?;
    tracing::warn!(mailbox = %name, messages = messages.len(), "the index was rebuilt");
    files.forget();
    Ok(messages.len())
}

/// Makes an empty index, which the next synchronisation fills.
fn reset(name: &MailboxName, files: &Arc<MboxFiles>, uid_validity: UidValidity, guid: Guid) -> Result<()> {
    let mut first = first_transaction(&files.shared, uid_validity);
    if !guid.is_zero() {
        write_guid(&mut first, SyncHeader::default(), guid);
    }
    engine::rebuild(&files.shared.env, &files.dirs.index, PREFIX, &[], None, first)
        .map_err(|e| from_index(name, &e))?;
    files.forget();
    Ok(())
}

/// The write locks of a file, until they are dropped.
pub(super) fn lock(shared: &Arc<Shared>, dirs: &MailboxDirs) -> Result<Option<Box<dyn fmt::Debug>>> {
    let rank = LockOrder::enter(LockRank::Uidlist);
    let timeout = shared.env.options().lock_timeout;
    match MboxFiles::new(shared, dirs).lock_file(LockKind::Exclusive, timeout) {
        // Nobody like us changes what we may not.
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => Ok(None),
        locked => Ok(Some(Box::new((locked?, rank)))),
    }
}

/// Writes all to the file that only the index knows.
pub(super) fn settle(shared: &Arc<Shared>, name: &MailboxName, dirs: &MailboxDirs) -> Result<()> {
    let mailbox = open(shared, name, dirs)?;
    let files = mailbox.indexed().index.store().and_then(|store| store.downcast::<MboxFiles>().ok());
    if let Some(files) = files {
        files.flush_now();
    }
    Ok(())
}
