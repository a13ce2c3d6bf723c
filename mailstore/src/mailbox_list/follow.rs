//! Finding a mailbox again that was renamed while it was open.
//!
//! A rename keeps the folder, and with it the folder's inode. An inode's number is given again when its folder is gone, so
//! what is found must also have the mailbox's identity.

use std::sync::Arc;

use super::{Format, by_guid, walk::walk};
use crate::{
    indexed::indexed_of,
    traits::{MailStorage, Mailbox, Result, StorageError},
};

/// A handle to the same mailbox under its present name; `None` when it has none any more. Reads the list, and costs a
/// `stat` for each mailbox up to it.
pub(crate) fn follow(
    storage: &dyn MailStorage,
    format: &dyn Format,
    mailbox: &dyn Mailbox,
) -> Result<Option<Arc<dyn Mailbox>>> {
    if format.layout().is_by_guid() {
        return by_guid::follow(storage, format, mailbox);
    }
    let Some(old) = indexed_of(mailbox) else { return Ok(None) };
    let (fs, layout) = (&**format.env().fs(), format.layout());
    for found in walk(fs, layout)?.into_iter().filter(|found| found.selectable) {
        let folder = fs.metadata(&layout.dirs(&found.name)?.index)?;
        if folder.is_none_or(|folder| (folder.device, folder.inode) != old.index.folder()) {
            continue;
        }
        return match storage.mailbox(&found.name) {
            Ok(new) => Ok(indexed_of(&*new).is_some_and(|new| new.is_same_mailbox(old)).then_some(new)),
            // Gone, or gone on.
            Err(StorageError::NotFound(_) | StorageError::NotSelectable(_) | StorageError::Deleted(_)) => Ok(None),
            Err(e) => Err(e),
        };
    }
    Ok(None)
}
