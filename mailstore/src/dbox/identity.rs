//! GUID and UIDVALIDITY of the mailboxes of sdbox and mdbox, which stand in their indexes alone.

use std::{path::Path, sync::Arc};

use mailfs::FileSystem;
use mailindex::{
    engine::{CommitPoint, MailboxIndex},
    log::Transaction,
    state::{RawIndexHeader, State},
};
use mailtypes::{Guid, MailboxName, UidValidity};

use crate::{
    indexed::{change, new_guid},
    mailbox_list::next_uid_validity,
    traits::{MailboxIdentity, Result, StorageError},
};

/// What a mailbox's index says of who it is.
pub(crate) type Known = (Option<Guid>, Option<UidValidity>);

/// An identity that nobody has had. `control`: where `dovecot-uidvalidity` is.
pub(crate) fn new_identity(fs: &dyn FileSystem, control: &Path) -> Result<MailboxIdentity> {
    Ok(MailboxIdentity { guid: new_guid(fs), uid_validity: next_uid_validity(fs, control)? })
}

/// Of a mailbox that some program made without GUID or UIDVALIDITY: what is missing is taken from `new`. What a format's
/// index has, `known` tells; `write_guid` puts a GUID there.
pub(crate) fn give_identity(
    name: &MailboxName,
    index: &Arc<MailboxIndex>,
    new: MailboxIdentity,
    known: fn(&State) -> Known,
    write_guid: impl Fn(&mut CommitPoint<'_>, Guid) + Send + 'static,
) -> Result<MailboxIdentity> {
    let (_, state) = change(name, index, move |at| {
        let (guid, uid_validity) = known(at.state());
        if guid.is_none() {
            write_guid(at, new.guid);
        }
        if uid_validity.is_none() {
            write_uid_validity(at.transaction(), new.uid_validity);
        }
        if guid.is_none() || uid_validity.is_none() {
            at.require_sync();
        }
    })?;
    match known(&state) {
        (Some(guid), Some(uid_validity)) => Ok(MailboxIdentity { guid, uid_validity }),
        _ => Err(StorageError::Unavailable(format!("mailbox {name} has no identity").into())),
    }
}

pub(crate) fn write_uid_validity(transaction: &mut Transaction, uid_validity: UidValidity) {
    transaction.header_update_before(RawIndexHeader::UID_VALIDITY, &uid_validity.value().to_le_bytes());
}
