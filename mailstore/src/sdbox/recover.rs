//! Looking over a mailbox after a crash.

use std::sync::Arc;

use mailindex::{
    engine::{self, IndexError},
    state::Deletion,
};

use super::{Shared, files::Mails, rebuild};
use crate::{
    indexed::{PREFIX, from_index},
    mailbox_list::{MailboxDirs, RecoveredMailbox},
    traits::Result,
};

/// Cuts or rebuilds the index if need be, and removes old temporary files.
pub(super) fn recover_mailbox(shared: &Arc<Shared>, dirs: &MailboxDirs, mailbox: &mut RecoveredMailbox) -> Result<u64> {
    let mails = Arc::new(Mails::new(shared, dirs));
    let outcome = recover_index(&mails, mailbox);
    if mailbox.deleted {
        return outcome.map(|()| 0);
    }
    let removed = mails.clean_temps()?;
    outcome.map(|()| removed)
}

fn recover_index(mails: &Arc<Mails>, mailbox: &mut RecoveredMailbox) -> Result<()> {
    let needs_rebuild = match engine::recover(&mails.shared.env, &mails.index, PREFIX, Arc::clone(mails) as _) {
        Ok(recovered) => {
            mailbox.reports = recovered.reports;
            mailbox.deleted = recovered.state.is_some_and(|state| state.deletion() == Deletion::Done);
            recovered.needs_rebuild && !mailbox.deleted
        }
        Err(IndexError::Deleted { .. }) => {
            mailbox.deleted = true;
            false
        }
        // Opening it makes an index, which is soon enough.
        Err(IndexError::NotFound { .. }) => !mails.uids()?.is_empty(),
        Err(IndexError::NeedsRebuild { .. }) => true,
        Err(e) => return Err(from_index(&mailbox.name, &e)),
    };
    if needs_rebuild {
        mailbox.rebuilt = Some(rebuild::rebuild(&mailbox.name, mails)?);
    }
    Ok(())
}
