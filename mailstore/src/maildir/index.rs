//! Opening, making and unmaking a Maildir mailbox.

use std::sync::Arc;

use mailtypes::MailboxName;

use super::{Dirs, Shared};
use crate::{
    mailbox_list::Rights,
    traits::{Mailbox, Result, StorageError},
};

/// Makes what is missing of an empty mailbox, durably: `tmp`, `new` and `cur`, the control and index folders, a uidlist
/// and an index. The folder `dirs.mail` and those above it are made too. What is there stays.
pub(crate) fn create_in(_shared: &Shared, _dirs: &Dirs, _rights: Rights) -> Result<()> {
    Err(StorageError::Unsupported("Maildir".to_owned()))
}

/// Opens the mailbox in folders that are there (`dirs.mail/cur` exists); makes or rebuilds index and uidlist if need be.
pub(crate) fn open(_shared: &Arc<Shared>, name: &MailboxName, _dirs: &Dirs) -> Result<Arc<dyn Mailbox>> {
    Err(StorageError::NotFound(name.clone()))
}

/// Whether the mailbox is marked as deleted in its index.
pub(crate) fn is_deleted(_shared: &Shared, _dirs: &Dirs) -> Result<bool> {
    Ok(false)
}

/// Tells everybody who has the mailbox open that it is deleted, durably. To be called before its folders go.
pub(crate) fn mark_deleted(_shared: &Shared, name: &MailboxName, _dirs: &Dirs) -> Result<()> {
    Err(StorageError::NotFound(name.clone()))
}
