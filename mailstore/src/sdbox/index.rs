//! Opening, making and unmaking a mailbox's index.

use std::sync::Arc;

use mailfs::FileSystemExt;
use mailindex::{
    engine::{self, IndexError, MailboxIndex},
    log::{Origin, Transaction},
    state::{DboxHeader, ExtensionSpec, RawIndexHeader, State},
};
use mailtypes::{Guid, MailboxName, Uid};

use super::{Shared, files::Mails, rebuild};
use crate::{
    dbox::{Known, give_identity, new_identity, write_uid_validity},
    indexed::{Indexed, IndexedMailbox, PREFIX, Private, from_index},
    mailbox_list::{MailboxDirs, Rights},
    traits::{MailboxIdentity, Result, StorageError},
};

/// How often an index is looked at again after something was done about it.
const OPEN_TRIES_MAX: usize = 4;

/// Opens the mailbox in folders of which that of the messages is there; makes or rebuilds its index if need be.
pub(super) fn open(shared: &Arc<Shared>, name: &MailboxName, dirs: &MailboxDirs) -> Result<IndexedMailbox> {
    let fs = shared.fs();
    if dirs.index != dirs.mail && !fs.is_dir(&dirs.index)? {
        Rights::of(fs, &dirs.mail)?.create_dirs(fs, &dirs.index)?;
    }
    let mails = Arc::new(Mails::new(shared, dirs));
    let index = open_index(name, &mails)?;
    let MailboxIdentity { guid, uid_validity } = match known(&index.state()) {
        (Some(guid), Some(uid_validity)) => MailboxIdentity { guid, uid_validity },
        _ => {
            let new = new_identity(fs, &shared.control)?;
            give_identity(name, &index, new, known, |at, guid| write_guid(at.transaction(), guid))?
        }
    };
    let limits = shared.options.limits.clone();
    let private = Private::of(&shared.env, name, dirs, &index)?;
    Ok(IndexedMailbox::new(Indexed { name: name.clone(), index, files: mails, guid, uid_validity, limits, private }))
}

fn known(state: &State) -> Known {
    let guid = state.dbox_header().map(|header| header.guid).filter(|guid| !guid.is_zero());
    (guid, state.uid_validity())
}

fn open_index(name: &MailboxName, mails: &Arc<Mails>) -> Result<Arc<MailboxIndex>> {
    let shared = &mails.shared;
    for _ in 0..OPEN_TRIES_MAX {
        match MailboxIndex::open(&shared.env, &mails.index, PREFIX, Arc::clone(mails) as _) {
            Ok(index) if has_fsck_mark(&index.state()) || was_lost(name, &index, mails)? => {
                drop(index);
                rebuild::rebuild(name, mails)?;
            }
            Ok(index) => return Ok(index),
            Err(IndexError::NotFound { .. }) if !mails.exists()? => return Err(StorageError::NotFound(name.clone())),
            Err(IndexError::NotFound { .. }) if restore(name, mails)? => {}
            Err(IndexError::NotFound { .. }) if mails.uids()?.is_empty() => {
                let initial = first_transaction(new_identity(shared.fs(), &shared.control)?);
                let made = MailboxIndex::create(&shared.env, &mails.index, PREFIX, Arc::clone(mails) as _, &initial);
                return made.map_err(|e| from_index(name, &e));
            }
            Err(IndexError::NotFound { .. } | IndexError::NeedsRebuild { .. }) => {
                rebuild::rebuild(name, mails)?;
            }
            Err(e) => return Err(from_index(name, &e)),
        }
    }
    Err(StorageError::Unavailable(format!("the index of {name} changes faster than it can be opened").into()))
}

/// Whether the index is an empty one that somebody made where there are messages, having found none: that of before is
/// known by other names.
fn was_lost(name: &MailboxName, index: &MailboxIndex, mails: &Mails) -> Result<bool> {
    let is_empty = index.state().message_count() == 0 && index.state().next_uid() == Uid::MIN;
    if !is_empty || !index.another_was_lost().map_err(|e| from_index(name, &e))? {
        return Ok(false);
    }
    Ok(!mails.uids()?.is_empty())
}

/// Gives a lost index back as far as it is known by other names; tells whether there is one again.
pub(super) fn restore(name: &MailboxName, mails: &Arc<Mails>) -> Result<bool> {
    let shared = &mails.shared;
    let failed = |e: IndexError| from_index(name, &e);
    if !engine::restore_lost(&shared.env, &mails.index, PREFIX).map_err(failed)? {
        return Ok(false);
    }
    // Others may have added and removed messages since.
    let is_right = match MailboxIndex::open(&shared.env, &mails.index, PREFIX, Arc::clone(mails) as _) {
        Ok(index) => mails.uids()? == index.state().uids().iter().collect::<Vec<_>>(),
        Err(IndexError::NeedsRebuild { .. }) => false,
        Err(e) => return Err(failed(e)),
    };
    if !is_right {
        rebuild::rebuild(name, mails)?;
    }
    Ok(true)
}

/// Dovecot's fsck was here, and leaves it to the next to go over the messages.
fn has_fsck_mark(state: &State) -> bool {
    state.header().flags.get() & RawIndexHeader::FSCKED != 0
}

/// What the log of a new mailbox begins with (`docs/formats/dbox.md`, "Creating a mailbox by hand").
fn first_transaction(identity: MailboxIdentity) -> Transaction {
    let mut transaction = Transaction::new();
    write_guid(&mut transaction, identity.guid);
    write_uid_validity(&mut transaction, identity.uid_validity);
    // Without this every message has the mailbox's mod-sequence until a client asks for it. It costs nothing in the log.
    transaction.enable_modseqs();
    transaction
}

pub(super) fn write_guid(transaction: &mut Transaction, guid: Guid) {
    let header = DboxHeader { guid, ..DboxHeader::default() };
    transaction.ext_header(&ExtensionSpec::DBOX_HDR, 0, &header.encode(), Origin::External);
}

/// Makes the index of an empty mailbox in folders that are there, durably.
pub(super) fn make(shared: &Arc<Shared>, dirs: &MailboxDirs, identity: Option<&MailboxIdentity>) -> Result<()> {
    let identity = identity.copied().map_or_else(|| new_identity(shared.fs(), &shared.control), Ok)?;
    let made = MailboxIndex::create(
        &shared.env,
        &dirs.index,
        PREFIX,
        Arc::new(Mails::new(shared, dirs)),
        &first_transaction(identity),
    );
    made.map(|_| ()).map_err(|e| from_index(&MailboxName::inbox(), &e))
}
