//! One mailbox: its index, and the folder of its message files.

use std::{any::Any, fmt, sync::Arc};

use mailindex::{
    engine::{
        self, CommitError, CommitOp, CommitOutcome, CommitPoint, Completion, FeedPosition, IndexWatch, MailboxIndex,
        OpError, completion,
    },
    state::{RawIndexHeader, State},
};
use mailtypes::{Guid, MailboxName, Uid, UidSet, UidValidity};

use super::{
    Shared,
    commit::{BatchOp, Item, foreign_message},
    error::{from_commit, from_index},
    files::Mails,
    save::{SdboxSave, SdboxSaved},
    scan,
    view::SdboxView,
};
use crate::{
    copy::{CopyOptions, stage_copies},
    traits::{
        Batch, BatchItem, ChangesSince, Committed, Completer, CopySource, Drive, Freshness, Mailbox, Position, Result,
        Save, SaveMeta, Saved, Status, StorageError, Ticket, View, ViewAs, Wake, Watch,
    },
};

/// A handle to an sdbox mailbox.
pub(super) struct SdboxMailbox {
    pub(super) open: Arc<OpenMailbox>,
}

/// What handles and views of one opening share.
pub(super) struct OpenMailbox {
    pub(super) shared: Arc<Shared>,
    pub(super) name: MailboxName,
    pub(super) mails: Arc<Mails>,
    pub(super) index: Arc<MailboxIndex>,
    pub(super) guid: Guid,
    pub(super) uid_validity: UidValidity,
}

impl OpenMailbox {
    /// The state after looking for changes of others.
    pub(super) fn refresh(&self) -> Result<State> {
        self.index.refresh().map_err(|e| from_index(&self.name, &e))
    }

    pub(super) fn freshness(&self, state: &State) -> Freshness {
        let Some(position) = state.position() else { return Freshness::Unknown };
        match self.index.freshness(position) {
            engine::Freshness::Same => Freshness::Same,
            engine::Freshness::Changed => Freshness::Changed,
            engine::Freshness::Unknown => Freshness::Unknown,
        }
    }

    /// Takes the recent messages from the sessions to come; tells which was the first.
    pub(super) fn take_recent(&self) -> Result<Uid> {
        let (completer, completion) = completion(&self.index);
        let op = TakeRecent { name: self.name.clone(), first: Uid::MIN, completer: Some(completer) };
        self.index.enqueue(Box::new(op));
        completion.wait().unwrap_or_else(|| Err(lost()))
    }

    /// Offers what scans computed to the cache.
    pub(super) fn flush_cache(&self) {
        if let Err(e) = self.index.flush_fills() {
            tracing::debug!(mailbox = %self.name, "nothing cached: {e}");
        }
    }

    pub(super) fn begin_save(&self, meta: &SaveMeta) -> Result<SdboxSave> {
        SdboxSave::begin(&self.shared, &self.mails, meta)
    }

    fn position_of(&self, position: FeedPosition, state: &State) -> Position {
        Position {
            uid_validity: self.uid_validity,
            modseq: state.highest_modseq(),
            token: position.to_bytes().to_vec(),
        }
    }
}

pub(super) fn own_message(message: Saved) -> Result<Box<SdboxSaved>> {
    message.0.into_any().downcast().map_err(|_| foreign_message())
}

pub(super) fn lost() -> StorageError {
    StorageError::Unavailable("the commit was given up".to_owned())
}

impl SdboxMailbox {
    fn item(&self, item: BatchItem, items: &mut Vec<Item>) -> Result<()> {
        let open = &self.open;
        match item {
            BatchItem::Save { message, flags, keywords } => {
                items.push(Item::Save { message: own_message(message)?, flags, keywords });
            }
            BatchItem::Copy(CopySource { mailbox, uids }) => {
                let ours = mailbox.as_any().downcast_ref::<SdboxMailbox>().map(|mailbox| &mailbox.open);
                match ours.filter(|source| Arc::ptr_eq(&source.mails.fs, &open.mails.fs)) {
                    Some(source) => items.push(Item::Copy {
                        source: Arc::clone(&source.index),
                        mails: Arc::clone(&source.mails),
                        uids,
                    }),
                    None => self.take_in(&*mailbox, &uids, items)?,
                }
            }
            BatchItem::Flags(change) => items.push(Item::Flags(change)),
            BatchItem::Expunge(uids) => items.push(Item::Expunge(uids)),
        }
        Ok(())
    }

    /// Copies from another kind of store are read there, and saved here under temporary names.
    fn take_in(&self, from: &dyn Mailbox, uids: &UidSet, items: &mut Vec<Item>) -> Result<()> {
        let view = from.view(&ViewAs::default())?;
        let (batch, sources) = stage_copies(&*view, uids, self, &CopyOptions { keep_guids: true })?;
        for (item, uid) in batch.items.into_iter().zip(sources) {
            if let BatchItem::Save { message, flags, keywords } = item {
                items.push(Item::CopySaved { uid, message: own_message(message)?, flags, keywords });
            }
        }
        Ok(())
    }
}

impl Mailbox for SdboxMailbox {
    fn name(&self) -> &MailboxName {
        &self.open.name
    }

    fn guid(&self) -> Guid {
        self.open.guid
    }

    fn uid_validity(&self) -> UidValidity {
        self.open.uid_validity
    }

    fn status(&self) -> Result<Status> {
        let state = self.open.refresh()?;
        let messages = state.message_count();
        Ok(Status {
            messages,
            recent: messages.saturating_sub(state.count_below(state.first_recent_uid())),
            unseen: messages.saturating_sub(state.seen_count()),
            deleted: state.deleted_count(),
            uid_next: state.next_uid(),
            uid_validity: self.open.uid_validity,
            highest_modseq: state.highest_modseq(),
        })
    }

    fn size(&self) -> Result<u64> {
        let view = SdboxView::open(Arc::clone(&self.open), &ViewAs::default())?;
        let size = scan::total_size(&view)?;
        view.flush_cache();
        Ok(size)
    }

    fn view(&self, who: &ViewAs) -> Result<Box<dyn View>> {
        Ok(Box::new(SdboxView::open(Arc::clone(&self.open), who)?))
    }

    fn begin_save(&self, meta: SaveMeta, _size_hint: Option<u64>) -> Result<Box<dyn Save>> {
        Ok(Box::new(self.open.begin_save(&meta)?))
    }

    /// Copies from another kind of store are read here and now.
    fn submit(&self, batch: Batch) -> Result<Ticket> {
        let open = &self.open;
        let mut items = Vec::with_capacity(batch.items.len());
        for item in batch.items {
            self.item(item, &mut items)?;
        }
        let (completer, completion) = completion(&open.index);
        let op = BatchOp::new(open.name.clone(), Arc::clone(&open.mails), items, completer);
        open.index.enqueue(Box::new(op));
        Ok(Ticket::driven(|completer| Box::new(DriveCompletion { completion, completer })))
    }

    fn changes_since(&self, position: &Position) -> Result<ChangesSince> {
        let open = &self.open;
        let from = FeedPosition::from_bytes(&position.token).filter(|_| position.uid_validity == open.uid_validity);
        let Some(from) = from else { return Ok(ChangesSince::TooOld { now: self.position()? }) };
        let answer = open.index.changes_since(from).map_err(|e| from_index(&open.name, &e))?;
        let state = open.index.state();
        Ok(match answer {
            engine::ChangesSince::Changes { changes, now } => ChangesSince::Changes {
                appended: changes.appended,
                flags: changes.flags,
                expunged: changes.expunged,
                now: open.position_of(now, &state),
            },
            engine::ChangesSince::TooOld { now } => ChangesSince::TooOld { now: open.position_of(now, &state) },
        })
    }

    fn position(&self) -> Result<Position> {
        let state = self.open.refresh()?;
        Ok(self.open.position_of(self.open.index.position(), &state))
    }

    fn watch(&self, wake: Wake) -> Result<Box<dyn Watch>> {
        let watch = self.open.index.watch(wake).map_err(|e| from_index(&self.open.name, &e))?;
        Ok(Box::new(SdboxWatch { _watch: watch }))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl fmt::Debug for SdboxMailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SdboxMailbox").field("name", &self.open.name).field("dir", &self.open.mails.dir).finish()
    }
}

#[derive(Debug)]
struct SdboxWatch {
    _watch: IndexWatch,
}

impl Watch for SdboxWatch {}

/// A ticket's way into the engine.
struct DriveCompletion {
    completion: Completion<Result<Committed>>,
    completer: Completer,
}

impl Drive for DriveCompletion {
    fn drive(self: Box<Self>) {
        let outcome = self.completion.wait().unwrap_or_else(|| Err(lost()));
        self.completer.complete(outcome);
    }

    fn kick(self: Box<Self>) {
        let Self { completion, completer } = *self;
        completion.on_done(move |outcome| completer.complete(outcome.unwrap_or_else(|| Err(lost()))));
    }
}

/// Moves the mark of recent messages to the end.
struct TakeRecent {
    name: MailboxName,
    first: Uid,
    completer: Option<engine::Completer<Result<Uid>>>,
}

impl CommitOp for TakeRecent {
    fn prepare(&mut self, at: &mut CommitPoint<'_>) -> std::result::Result<(), OpError> {
        let (first, next) = (at.state().first_recent_uid(), at.state().next_uid());
        self.first = first;
        if first < next {
            at.transaction().header_update(RawIndexHeader::FIRST_RECENT_UID, &next.value().to_le_bytes());
        }
        Ok(())
    }

    fn done(mut self: Box<Self>, outcome: std::result::Result<&CommitOutcome, Arc<CommitError>>) {
        let result = outcome.map(|_| self.first).map_err(|e| from_commit(&self.name, &e));
        if let Some(completer) = self.completer.take() {
            completer.complete(result);
        }
    }
}
