//! The mark that tells everybody who has a mailbox open that it is deleted.

use std::{path::Path, sync::Arc};

use mailindex::{
    engine::{Env, IndexError, MailboxIndex, MessageStore},
    log::Origin,
    state::Deletion,
};
use mailtypes::MailboxName;

use super::{PREFIX, change::change_messages, from_index};
use crate::traits::{Result, StorageError};

/// Whether the mailbox whose index lies in a folder is marked as deleted.
pub(crate) fn is_deleted(env: &Env, dir: &Path, store: Arc<dyn MessageStore>) -> bool {
    match MailboxIndex::open(env, dir, PREFIX, store) {
        Err(IndexError::Deleted { .. }) => true,
        Ok(index) => index.state().deletion() == Deletion::Done,
        // Whatever is wrong with it, it is there.
        Err(_) => false,
    }
}

/// Tells everybody who has the mailbox open that it is deleted, durably.
pub(crate) fn mark_deleted(env: &Env, name: &MailboxName, dir: &Path, store: Arc<dyn MessageStore>) -> Result<()> {
    let counted = store.counts_references();
    let index = match MailboxIndex::open(env, dir, PREFIX, store) {
        Ok(index) => index,
        Err(IndexError::Deleted { .. } | IndexError::NotFound { .. }) => return Ok(()),
        Err(e @ (IndexError::Corrupt(_) | IndexError::NeedsRebuild { .. })) => {
            tracing::warn!(mailbox = %name, "deleted without a mark in its log: {e}");
            return Ok(());
        }
        Err(e) => return Err(from_index(name, &e)),
    };
    let marked = change_messages(name, &index, move |at| {
        if counted {
            // Together with the mark: a crash behind it must not have their references taken away twice.
            let all = at.state().uids();
            at.expunge(&all);
        }
        at.transaction().index_deleted(Origin::External);
        at.require_sync();
    });
    match marked {
        Err(StorageError::Deleted(_)) => Ok(()),
        other => other.map(|_| ()),
    }
}
