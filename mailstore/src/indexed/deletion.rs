//! The mark that tells everybody who has a mailbox open that it is deleted.

use std::{path::Path, sync::Arc};

use mailindex::{
    engine::{
        CommitError, CommitOp, CommitOutcome, CommitPoint, Completer, Env, IndexError, MailboxIndex, MessageStore,
        OpError, completion,
    },
    log::Origin,
    state::Deletion,
};
use mailtypes::MailboxName;

use super::{Backend, Indexed, PREFIX, change::change_messages, from_commit, from_index, mailbox::lost};
use crate::traits::{Judged, MailboxIdentity, Result, StorageError};

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
    let marked = change_messages(name, &index, move |at| mark(at, counted));
    match marked {
        Err(StorageError::Deleted(_)) => Ok(()),
        other => other.map(|_| ()),
    }
}

/// `counted`: the store counts references to its messages.
fn mark(at: &mut CommitPoint<'_>, counted: bool) {
    if counted {
        // Together with the mark: a crash behind it must not have their references taken away twice.
        let all = at.state().uids();
        at.expunge(&all);
    }
    at.transaction().index_deleted(Origin::External);
    at.require_sync();
}

/// Tells everybody who has a mailbox open that it is deleted, durably, if it is as somebody has judged it: whoever delivers
/// takes the same locks, or his message is found under them.
pub(super) fn mark_deleted_if<B: Backend>(files: Arc<B>, mailbox: &Indexed, judged: &Judged) -> Result<()> {
    let identity = MailboxIdentity { guid: mailbox.guid, uid_validity: mailbox.uid_validity };
    if identity != judged.identity {
        return Err(StorageError::Changed(mailbox.name.clone()));
    }
    let counted = mailbox.index.counts_references();
    for _ in 0..LOOKS_MAX {
        let (completer, completion) = completion(&mailbox.index);
        let (name, files, completer) = (mailbox.name.clone(), Arc::clone(&files), Some(completer));
        let mark = MarkIf { name, files, judged: *judged, counted, found: Found::Same, completer };
        mailbox.index.enqueue(Box::new(mark));
        match completion.wait().unwrap_or_else(|| Err(lost()))? {
            Found::Same => return Ok(()),
            Found::More => {}
            Found::Another => break,
        }
    }
    Err(StorageError::Changed(mailbox.name.clone()))
}

/// How often a mailbox is looked at whose files say what the index did not: it may come to nothing that anybody sees.
const LOOKS_MAX: usize = 3;

/// What a mailbox that is to be marked was found to be.
#[derive(Clone, Copy)]
enum Found {
    /// What was judged: it is marked.
    Same,
    /// Its files said more, which the index says now too.
    More,
    /// It is not what was judged.
    Another,
}

struct MarkIf<B> {
    name: MailboxName,
    files: Arc<B>,
    judged: Judged,
    counted: bool,
    found: Found,
    completer: Option<Completer<Result<Found>>>,
}

impl<B: Backend> CommitOp for MarkIf<B> {
    fn touches_messages(&self) -> bool {
        true
    }

    fn prepare(&mut self, at: &mut CommitPoint<'_>) -> std::result::Result<(), OpError> {
        self.files.look_now(at)?;
        let (state, judged) = (at.state(), &self.judged);
        let is_same = state.uid_validity() == Some(judged.identity.uid_validity)
            && state.next_uid() == judged.uid_next
            && state.highest_modseq() == judged.highest_modseq
            && state.message_count() == judged.messages;
        self.found = match (is_same, at.transaction().concerns_messages()) {
            (false, _) => Found::Another,
            (true, true) => Found::More,
            (true, false) => {
                self.files.take_away()?;
                mark(at, self.counted);
                Found::Same
            }
        };
        Ok(())
    }

    fn done(mut self: Box<Self>, outcome: std::result::Result<&CommitOutcome, Arc<CommitError>>) {
        let result = match outcome {
            Ok(_) => Ok(self.found),
            Err(error) => Err(from_commit(&self.name, &error)),
        };
        if let Some(completer) = self.completer.take() {
            completer.complete(result);
        }
    }
}
