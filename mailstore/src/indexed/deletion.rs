//! The mark that tells everybody who has a mailbox open that it is deleted.

use std::{path::Path, sync::Arc};

use mailindex::{
    engine::{
        self, CommitError, CommitOp, CommitOutcome, CommitPoint, Env, IndexError, MailboxIndex, MessageStore, OpError,
        completion,
    },
    log::Origin,
    state::Deletion,
};
use mailtypes::MailboxName;

use super::{PREFIX, from_commit, from_index, lost};
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
    let index = match MailboxIndex::open(env, dir, PREFIX, store) {
        Ok(index) => index,
        Err(IndexError::Deleted { .. } | IndexError::NotFound { .. }) => return Ok(()),
        Err(e @ (IndexError::Corrupt(_) | IndexError::NeedsRebuild { .. })) => {
            tracing::warn!(mailbox = %name, "deleted without a mark in its log: {e}");
            return Ok(());
        }
        Err(e) => return Err(from_index(name, &e)),
    };
    let (completer, completion) = completion(&index);
    index.enqueue(Box::new(MarkDeleted { name: name.clone(), completer: Some(completer) }));
    match completion.wait().unwrap_or_else(|| Err(lost())) {
        Err(StorageError::Deleted(_)) => Ok(()),
        other => other,
    }
}

struct MarkDeleted {
    name: MailboxName,
    completer: Option<engine::Completer<Result<()>>>,
}

impl CommitOp for MarkDeleted {
    fn prepare(&mut self, at: &mut CommitPoint<'_>) -> std::result::Result<(), OpError> {
        at.transaction().index_deleted(Origin::External);
        at.require_sync();
        Ok(())
    }

    fn done(mut self: Box<Self>, outcome: std::result::Result<&CommitOutcome, Arc<CommitError>>) {
        if let Some(completer) = self.completer.take() {
            completer.complete(outcome.map(|_| ()).map_err(|e| from_commit(&self.name, &e)));
        }
    }
}
