//! Opening and making a mailbox's index.

use std::sync::Arc;

use mailfs::FileSystemExt;
use mailindex::{
    engine::{IndexError, MailboxIndex},
    log::{Origin, Transaction},
    state::{ExtensionSpec, MdboxHeader, RawIndexHeader, State},
};
use mailtypes::{Guid, MailboxName, UidValidity};

use super::{Shared, files::Mails, map::MapResult};
use crate::{
    indexed::{Indexed, IndexedMailbox, PREFIX, Private, change, from_index, new_guid},
    mailbox_list::{MailboxDirs, Rights, next_uid_validity},
    traits::{MailboxIdentity, Result, StorageError},
};

/// Opens the mailbox in folders of which that of the messages is there; makes its index if need be.
/// `storage_name`: as lists on disk have it.
pub(super) fn open(
    shared: &Arc<Shared>,
    name: &MailboxName,
    storage_name: &str,
    dirs: &MailboxDirs,
) -> Result<IndexedMailbox> {
    let fs = shared.fs();
    if dirs.index != dirs.mail && !fs.is_dir(&dirs.index)? {
        Rights::of(fs, &dirs.mail)?.create_dirs(fs, &dirs.index)?;
    }
    let mails = Arc::new(Mails::new(shared, dirs, Some(storage_name.into())));
    let index = open_index(name, &mails)?;
    // Set once, here.
    let _ = mails.opened.set(Arc::downgrade(&index));
    let (guid, uid_validity) = match identity(&index.state()) {
        (Some(guid), Some(uid_validity)) => (guid, uid_validity),
        _ => give_identity(shared, name, &index)?,
    };
    let limits = shared.options.limits.clone();
    let private = Private::of(&shared.env, name, dirs, &index)?;
    Ok(IndexedMailbox::new(Indexed { name: name.clone(), index, files: mails, guid, uid_validity, limits, private }))
}

fn identity(state: &State) -> (Option<Guid>, Option<UidValidity>) {
    let guid = state.mdbox_header().map(|header| header.guid).filter(|guid| !guid.is_zero());
    (guid, state.uid_validity())
}

fn open_index(name: &MailboxName, mails: &Arc<Mails>) -> Result<Arc<MailboxIndex>> {
    let shared = &mails.shared;
    match MailboxIndex::open(&shared.env, &mails.index, PREFIX, Arc::clone(mails) as _) {
        Ok(index) => Ok(index),
        Err(IndexError::NotFound { .. }) if !mails.exists()? => Err(StorageError::NotFound(name.clone())),
        // As Dovecot does: what the map may have of a mailbox whose index was lost, a rebuild brings back.
        Err(IndexError::NotFound { .. }) => {
            let initial = first_transaction(shared, new_identity(shared)?)?;
            let made = MailboxIndex::create(&shared.env, &mails.index, PREFIX, Arc::clone(mails) as _, &initial);
            made.map_err(|e| from_index(name, &e))
        }
        Err(e @ IndexError::NeedsRebuild { .. }) => Err(mails.damaged(e.to_string())),
        Err(e) => Err(from_index(name, &e)),
    }
}

/// What the log of a new mailbox begins with (`docs/formats/dbox.md`, "Creating a mailbox by hand").
fn first_transaction(shared: &Shared, identity: MailboxIdentity) -> Result<Transaction> {
    let mut transaction = Transaction::new();
    let map_uid_validity = shared.map.refresh(&shared.files).of_map()?.uid_validity();
    write_header(&mut transaction, MdboxHeader { map_uid_validity, guid: identity.guid, flags: 0 });
    write_uid_validity(&mut transaction, identity.uid_validity);
    // Without this every message has the mailbox's mod-sequence until a client asks for it. It costs nothing in the log.
    transaction.enable_modseqs();
    Ok(transaction)
}

fn new_identity(shared: &Shared) -> Result<MailboxIdentity> {
    let uid_validity = next_uid_validity(shared.fs(), &shared.control)?;
    Ok(MailboxIdentity { guid: new_guid(shared.fs()), uid_validity })
}

fn write_header(transaction: &mut Transaction, header: MdboxHeader) {
    transaction.ext_header(&ExtensionSpec::MDBOX_HDR, 0, &header.encode(), Origin::External);
}

fn write_uid_validity(transaction: &mut Transaction, uid_validity: UidValidity) {
    transaction.header_update_before(RawIndexHeader::UID_VALIDITY, &uid_validity.value().to_le_bytes());
}

/// Makes the index of an empty mailbox in folders that are there, durably.
pub(super) fn make(shared: &Arc<Shared>, dirs: &MailboxDirs, identity: Option<&MailboxIdentity>) -> Result<()> {
    let store = Arc::new(Mails::new(shared, dirs, None));
    let identity = identity.copied().map_or_else(|| new_identity(shared), Ok)?;
    let initial = first_transaction(shared, identity)?;
    let made = MailboxIndex::create(&shared.env, &dirs.index, PREFIX, store, &initial);
    made.map(|_| ()).map_err(|e| from_index(&MailboxName::inbox(), &e))
}

/// A mailbox that some program made without GUID or UIDVALIDITY gets them.
fn give_identity(shared: &Shared, name: &MailboxName, index: &Arc<MailboxIndex>) -> Result<(Guid, UidValidity)> {
    let new_guid = new_guid(shared.fs());
    let new_uid_validity = next_uid_validity(shared.fs(), &shared.control)?;
    let map_uid_validity = shared.map.refresh(&shared.files).of_map()?.uid_validity();
    let (_, state) = change(name, index, move |at| {
        let (guid, uid_validity) = identity(at.state());
        if guid.is_none() {
            let there = at.state().mdbox_header();
            let header = there.unwrap_or(MdboxHeader { map_uid_validity, ..MdboxHeader::default() });
            write_header(at.transaction(), MdboxHeader { guid: new_guid, ..header });
        }
        if uid_validity.is_none() {
            write_uid_validity(at.transaction(), new_uid_validity);
        }
        if guid.is_none() || uid_validity.is_none() {
            at.require_sync();
        }
    })?;
    match identity(&state) {
        (Some(guid), Some(uid_validity)) => Ok((guid, uid_validity)),
        _ => Err(StorageError::Unavailable(format!("mailbox {name} has no identity"))),
    }
}
