//! Looking over a mailbox after a crash.
//!
//! What a Maildir mailbox holds is in its files; only the index's log can be torn. The UID list is replaced by a rename
//! or appended to, and its reader passes over an unfinished last line.

use std::sync::Arc;

use super::{Shared, index::message_store};
use crate::{
    indexed::{PREFIX, from_index},
    mailbox_list::{MailboxDirs, RecoveredMailbox},
    traits::Result,
};
use mailfs::FileSystemExt;
use mailindex::{
    engine::{self, IndexError},
    state::Deletion,
};

/// Cuts the index's log if need be. One that cannot be read is made anew when the mailbox is opened.
pub(super) fn recover_mailbox(shared: &Arc<Shared>, dirs: &MailboxDirs, mailbox: &mut RecoveredMailbox) -> Result<u64> {
    if !shared.env.fs().is_dir(&dirs.index)? {
        return Ok(0);
    }
    match engine::recover(&shared.env, &dirs.index, PREFIX, message_store(shared, dirs)) {
        Ok(recovered) => {
            mailbox.reports = recovered.reports;
            mailbox.deleted = recovered.state.is_some_and(|state| state.deletion() == Deletion::Done);
        }
        Err(IndexError::Deleted { .. }) => mailbox.deleted = true,
        Err(IndexError::NotFound { .. } | IndexError::NeedsRebuild { .. }) => {}
        Err(e) => return Err(from_index(&mailbox.name, &e)),
    }
    Ok(0)
}
