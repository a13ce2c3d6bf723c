//! One mailbox with an index, open: what its handles and views share.

use std::{fmt, sync::Arc};

use mailindex::{
    engine::{self, Completion, FeedPosition, IndexWatch, MailboxIndex},
    state::{RawIndexHeader, State},
};
use mailtypes::{Guid, MailboxName, Uid, UidValidity};

use super::{AnyBackend, Private, change, commit::Done, from_index, view::IndexedView, vsize};
use crate::traits::{
    ChangesSince, Completer, Drive, Freshness, Position, Result, Status, StorageError, Ticket, View, ViewAs, Wake,
    Watch,
};

/// What handles and views of one opening share.
pub(crate) struct Indexed {
    pub(crate) name: MailboxName,
    pub(crate) index: Arc<MailboxIndex>,
    pub(crate) files: Arc<dyn AnyBackend>,
    pub(crate) guid: Guid,
    pub(crate) uid_validity: UidValidity,
    /// What parsing a message may hold in memory.
    pub(crate) limits: mailmime::Limits,
    /// Its user's own flags, where he has such.
    pub(crate) private: Option<Arc<Private>>,
}

/// Why a commit has no outcome.
pub(crate) fn lost() -> StorageError {
    StorageError::Unavailable("the commit was given up".into())
}

impl Indexed {
    /// The state after looking for changes of others.
    pub(crate) fn refresh(&self, takes_recent: bool) -> Result<State> {
        self.files.look(self, takes_recent)?;
        self.shown(self.index.refresh().map_err(|e| from_index(&self.name, &e))?)
    }

    /// A state of the index as its user sees it.
    pub(super) fn shown(&self, state: State) -> Result<State> {
        self.private.as_ref().map_or(Ok(state.clone()), |private| private.shown(state))
    }

    /// Fails if the mailbox is not in its folder any more. To be asked after files were opened by their names, for another
    /// mailbox may have come to stand there. Costs a `stat`.
    pub(super) fn check_place(&self) -> Result<()> {
        self.index.check_place().map_err(|e| from_index(&self.name, &e))
    }

    /// Whether another handle stands for the same mailbox, under whatever name.
    pub(crate) fn is_same_mailbox(&self, other: &Self) -> bool {
        self.guid == other.guid && self.uid_validity == other.uid_validity
    }

    pub(super) fn freshness(&self, state: &State) -> Freshness {
        let Some(position) = state.position() else { return Freshness::Unknown };
        match self.index.freshness(position) {
            engine::Freshness::Same => match (self.files.freshness(), &self.private) {
                (Freshness::Same, Some(private)) => private.freshness(),
                (other, _) => other,
            },
            engine::Freshness::Changed => Freshness::Changed,
            engine::Freshness::Unknown => Freshness::Unknown,
        }
    }

    /// Whether the store was opened for reading alone.
    pub(crate) fn is_read_only(&self) -> bool {
        self.index.env().is_read_only()
    }

    /// Fails where the store was opened for reading alone.
    pub(super) fn check_writable(&self) -> Result<()> {
        if self.is_read_only() { Err(StorageError::ReadOnly(format!("mailbox {}", self.name).into())) } else { Ok(()) }
    }

    /// See [`crate::Mailbox::uids_are_lasting`].
    pub(super) fn uids_are_lasting(&self) -> bool {
        self.files.made_up_from().is_none_or(|first| self.index.state().next_uid() <= first)
    }

    /// Takes the recent messages from the sessions to come; tells which was the first.
    pub(super) fn take_recent(&self) -> Result<Uid> {
        let taken = change(&self.name, &self.index, |at| {
            let (first, next) = (at.state().first_recent_uid(), at.state().next_uid());
            if first < next {
                at.transaction().header_update(RawIndexHeader::FIRST_RECENT_UID, &next.value().to_le_bytes());
            }
            first
        });
        Ok(taken?.0)
    }

    /// Offers what scans computed to the cache.
    pub(crate) fn flush_cache(&self) {
        if let Err(e) = self.index.flush_fills() {
            tracing::debug!(mailbox = %self.name, "nothing cached: {e}");
        }
    }

    /// See [`crate::Mailbox::status`].
    pub(crate) fn status(&self) -> Result<Status> {
        let state = self.refresh(false)?;
        let messages = state.message_count();
        Ok(Status {
            messages,
            recent: messages.saturating_sub(state.count_below(state.first_recent_uid())),
            unseen: messages.saturating_sub(state.seen_count()),
            deleted: state.deleted_count(),
            uid_next: state.next_uid(),
            uid_validity: self.uid_validity,
            highest_modseq: state.highest_modseq(),
        })
    }

    /// See [`crate::Mailbox::size`].
    pub(crate) fn size(self: &Arc<Self>) -> Result<u64> {
        let view = IndexedView::open(Arc::clone(self), &ViewAs::default())?;
        let size = vsize::total_size(&view)?;
        view.flush_cache();
        Ok(size)
    }

    /// See [`crate::Mailbox::view`].
    pub(crate) fn view(self: &Arc<Self>, who: &ViewAs) -> Result<Box<dyn View>> {
        Ok(Box::new(IndexedView::open(Arc::clone(self), who)?))
    }

    fn position_of(&self, position: FeedPosition, state: &State) -> Position {
        Position {
            uid_validity: self.uid_validity,
            modseq: state.highest_modseq(),
            token: position.to_bytes().to_vec(),
        }
    }

    /// See [`crate::Mailbox::changes_since`].
    pub(crate) fn changes_since(&self, position: &Position) -> Result<ChangesSince> {
        self.files.look(self, false)?;
        let from = FeedPosition::from_bytes(&position.token).filter(|_| position.uid_validity == self.uid_validity);
        let Some(from) = from else { return Ok(ChangesSince::TooOld { now: self.position()? }) };
        let answer = self.index.changes_since(from).map_err(|e| from_index(&self.name, &e))?;
        let state = self.index.state();
        Ok(match answer {
            engine::ChangesSince::Changes { changes, now } => ChangesSince::Changes {
                appended: changes.appended,
                flags: changes.flags,
                expunged: changes.expunged,
                now: self.position_of(now, &state),
            },
            engine::ChangesSince::TooOld { now } => ChangesSince::TooOld { now: self.position_of(now, &state) },
        })
    }

    /// See [`crate::Mailbox::position`].
    pub(crate) fn position(&self) -> Result<Position> {
        let state = self.refresh(false)?;
        Ok(self.position_of(self.index.position(), &state))
    }

    /// See [`crate::Mailbox::watch`].
    pub(crate) fn watch(&self, wake: Wake) -> Result<Box<dyn Watch>> {
        let files = self.files.watch(Arc::clone(&wake))?;
        let own = self.private.as_ref().map(|private| private.watch(Arc::clone(&wake))).transpose()?;
        let index = self.index.watch(wake).map_err(|e| from_index(&self.name, &e))?;
        Ok(Box::new(IndexedWatch { _index: index, _files: files, _own: own }))
    }
}

impl Drop for Indexed {
    fn drop(&mut self) {
        self.files.close();
    }
}

impl fmt::Debug for Indexed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Indexed").field("name", &self.name).field("dir", &self.index.dir()).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct IndexedWatch {
    _index: IndexWatch,
    _files: Option<Box<dyn Watch>>,
    _own: Option<IndexWatch>,
}

impl Watch for IndexedWatch {}

/// The ticket of a batch whose operation completes `completion`. `private`: where its user's own flags go.
pub(super) fn committing(completion: Completion<Result<Done>>, private: Option<Arc<Private>>) -> Ticket {
    Ticket::driven(|completer| Box::new(DriveCompletion { completion, completer, private }))
}

/// A ticket's way into the engine.
struct DriveCompletion {
    completion: Completion<Result<Done>>,
    completer: Completer,
    private: Option<Arc<Private>>,
}

/// Has what is the user's own written, if there is any.
fn begin_own(private: Option<&Private>, done: &mut Done) -> Option<Completion<Result<((), State)>>> {
    let change = std::mem::take(&mut done.private);
    private.filter(|_| !change.is_empty()).map(|private| private.begin(change, done.state.clone()))
}

impl Drive for DriveCompletion {
    fn drive(self: Box<Self>) {
        let outcome = self.completion.wait().unwrap_or_else(|| Err(lost())).and_then(|mut done| {
            match begin_own(self.private.as_deref(), &mut done) {
                Some(own) => own.wait().unwrap_or_else(|| Err(lost())).map(|_| done.committed),
                None => Ok(done.committed),
            }
        });
        self.completer.complete(outcome);
    }

    fn kick(self: Box<Self>) {
        let Self { completion, completer, private } = *self;
        completion.on_done(move |outcome| match outcome.unwrap_or_else(|| Err(lost())) {
            Ok(mut done) => match begin_own(private.as_deref(), &mut done) {
                Some(own) => own.on_done(move |outcome| {
                    completer.complete(outcome.unwrap_or_else(|| Err(lost())).map(|_| done.committed));
                }),
                None => completer.complete(Ok(done.committed)),
            },
            Err(error) => completer.complete(Err(error)),
        });
    }
}
