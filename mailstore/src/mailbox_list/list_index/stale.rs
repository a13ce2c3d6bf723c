//! Telling Dovecot that its cache of the mailbox tree (`dovecot.list.index`, `docs/formats/list.md`) is stale.
//!
//! Culver reads folders, and of a list index only STATUS values (but for `LAYOUT=index`). A Dovecot beside it believes the
//! tree in it until the mark in its header says that it must be scanned again. Without the mark it would not see mailboxes
//! that come and go here.

use std::{path::Path, sync::Arc};

use mailfs::{LockOrder, LockRank};
use mailindex::{
    engine::{CommitError, CommitOp, CommitOutcome, CommitPoint, Completer, Env, IndexError, OpError, completion},
    log::Origin,
    state::ExtensionSpec,
};

use super::open_list;

/// The extension whose header begins with the mark; its other bytes and its records stay as they are.
const LIST: ExtensionSpec =
    ExtensionSpec { name: "list", hdr_size: 1, record_size: 0, record_align: 0, no_shrink: true };

/// "The tree must be scanned before it is used."
const STALE: u8 = 1;

/// Marks the list index of a store as stale, if there is one. To be called with `mailboxes.lock` released: a Dovecot that
/// holds the list index's lock may be waiting for that one. It holds nothing that cannot be found again, so a failure
/// is only worth a line in the log.
pub(crate) fn mark_stale(env: &Env, root: &Path) {
    match try_mark(env, root) {
        Ok(()) | Err(IndexError::NotFound { .. } | IndexError::Deleted { .. }) => {}
        Err(error) => tracing::warn!(root = %root.display(), "Dovecot's list index was not marked as stale: {error}"),
    }
}

fn try_mark(env: &Env, root: &Path) -> Result<(), IndexError> {
    // The first rank: a debug build sees to it that no lock is held here.
    let _first = LockOrder::enter(LockRank::ListLog);
    let index = open_list(env, root)?;
    let (completer, completion) = completion(&index);
    index.enqueue(Box::new(Mark { completer: Some(completer) }));
    if let Some(Err(error)) = completion.wait() {
        tracing::warn!(root = %root.display(), "Dovecot's list index was not marked as stale: {error}");
    }
    Ok(())
}

struct Mark {
    completer: Option<Completer<Result<(), Arc<CommitError>>>>,
}

impl CommitOp for Mark {
    fn prepare(&mut self, at: &mut CommitPoint<'_>) -> Result<(), OpError> {
        let list = at.state().extension(LIST.name);
        if list.is_some_and(|list| list.hdr().first() != Some(&STALE)) {
            at.transaction().ext_header(&LIST, 0, &[STALE], Origin::External);
        }
        Ok(())
    }

    fn done(mut self: Box<Self>, outcome: Result<&CommitOutcome, Arc<CommitError>>) {
        if let Some(completer) = self.completer.take() {
            completer.complete(outcome.map(|_| ()));
        }
    }
}
