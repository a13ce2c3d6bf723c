//! What a backend supplies that keeps flags, UIDs and computed values in Dovecot's index: how a message comes in, is
//! copied and gets its place, beside where it lies ([`MessageFiles`]) and what the engine has carried out in the files
//! ([`MessageStore`](mailindex::engine::MessageStore)). All else is written once, over these.
//!
//! # Invariants
//!
//! 1. [`Backend::begin`] to [`Backend::undo`] are called under the log's lock (and that of
//!    [`MessageStore::lock`](mailindex::engine::MessageStore::lock)), and wait for nothing.
//! 2. A message has its place, durable but for a sync that was asked for, before its record is appended.
//! 3. Whatever got its place for an operation that is not committed loses it again.

use std::{any::Any, fmt, sync::Arc};

use mailfs::FileSystem;
use mailindex::{
    engine::{CommitPoint, MailboxIndex, OpError},
    log::Origin,
    state::State,
};
use mailmime::Structure;
use mailtypes::{Flags, Keyword, Uid, UidSet};

use super::{Indexed, IndexedMailbox, MessageFiles, Unsynced, commit, deletion::mark_deleted_if};
use crate::traits::{Batch, Judged, Kept, Result, Save, SaveMeta, SavedMessage, Ticket};

/// See the module. One is shared by the handles of one opening.
pub(crate) trait Backend: MessageFiles + Sized + 'static {
    /// Where a message that was taken in waits for its UID.
    type Waiting: Send + 'static;

    /// What one operation has done to the files so far: for ending it and for undoing it.
    type Placed: Default + Send;

    /// How changes of flags are recorded: internal where the files are yet to be told.
    const FLAGS_ORIGIN: Origin;

    /// Where its files are.
    fn fs(&self) -> &Arc<dyn FileSystem>;

    /// Begins taking in a message; what [`Save::finish`] gives is a [`Staged`]. `preview`: it will be cached.
    fn begin_save(&self, meta: &SaveMeta, preview: bool) -> Result<Box<dyn Save>>;

    /// Whether [`Backend::copy`] can copy from there; else messages are read there and saved here.
    fn is_near(&self, source: &Self) -> bool;

    /// Called before the first message of an operation gets its place.
    fn begin(&self, _at: &mut CommitPoint<'_>, _placed: &mut Self::Placed) -> std::result::Result<(), OpError> {
        Ok(())
    }

    /// Called before the first expunge of an operation that adds no messages; tells which messages are found to be gone.
    fn begin_expunge(&self, _at: &mut CommitPoint<'_>) -> std::result::Result<UidSet, OpError> {
        Ok(UidSet::new())
    }

    /// Adds to the transaction what others have done to the files and the index does not say, as they are under the locks.
    fn look_now(&self, _at: &mut CommitPoint<'_>) -> std::result::Result<(), OpError> {
        Ok(())
    }

    /// The mailbox is about to be marked as deleted: takes away what programs that know nothing of the index deliver to.
    fn take_away(&self) -> std::result::Result<(), OpError> {
        Ok(())
    }

    /// Gives a message that was taken in the next UID and its place.
    fn place(
        &self,
        at: &mut CommitPoint<'_>,
        placed: &mut Self::Placed,
        message: &mut Staged<Self::Waiting>,
        with: First<'_>,
    ) -> std::result::Result<Uid, OpError>;

    /// Gives a copy the next UID and its place; `None` when the message is gone.
    fn copy(
        &self,
        at: &mut CommitPoint<'_>,
        placed: &mut Self::Placed,
        source: &CopyFrom<'_, Self>,
        uid: Uid,
        with: First<'_>,
    ) -> std::result::Result<Option<Uid>, OpError>;

    /// Called when all messages of an operation have their places; says what is to be synced.
    fn end(&self, at: &mut CommitPoint<'_>, placed: &mut Self::Placed) -> std::result::Result<(), OpError>;

    /// Takes back what was done to the files.
    fn undo(&self, placed: Self::Placed);
}

/// What a new message begins with, for backends whose files tell it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct First<'a> {
    pub(crate) flags: Flags,
    pub(crate) keywords: &'a [Keyword],
    /// What it keeps of its place in another store. [`CommitPoint::next_uid`] gives its UID first.
    pub(crate) kept: Option<Kept>,
}

/// Where copies come from.
pub(crate) struct CopyFrom<'a, B> {
    pub(crate) files: &'a B,
    pub(crate) index: &'a Arc<MailboxIndex>,
    /// What it holds, read for this operation.
    pub(crate) state: &'a State,
}

/// A message that is whole, and waits for its UID.
pub(crate) struct Staged<W> {
    /// What is to be synced before it is committed; `None` when the data is durable already.
    pub(crate) unsynced: Option<Unsynced>,
    pub(crate) structure: Structure,
    /// Its preview, if that was asked for.
    pub(crate) preview: Option<String>,
    /// When it arrived, Unix seconds.
    pub(crate) received: u32,
    pub(crate) waiting: W,
}

impl<W: Send + 'static> SavedMessage for Staged<W> {
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }

    fn size(&self) -> u64 {
        self.structure.virtual_len()
    }

    fn held_len(&self) -> usize {
        self.structure.held_len()
    }

    fn shrink(&mut self) {
        self.structure.forget_header();
    }
}

impl<W> fmt::Debug for Staged<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Staged").field("size", &self.structure.virtual_len()).finish_non_exhaustive()
    }
}

/// A [`Backend`] whichever it is, as handles have it.
pub(crate) trait AnyBackend: MessageFiles {
    /// [`Backend::begin_save`].
    fn begin(&self, meta: &SaveMeta, preview: bool) -> Result<Box<dyn Save>>;

    /// Queues a batch of this mailbox's.
    fn submit(self: Arc<Self>, mailbox: &IndexedMailbox, batch: Batch) -> Result<Ticket>;

    /// [`mark_deleted_if`].
    fn mark_deleted_if(self: Arc<Self>, mailbox: &Indexed, judged: &Judged) -> Result<()>;

    /// For finding out whether it is one's own kind.
    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync>;
}

impl<B: Backend> AnyBackend for B {
    fn begin(&self, meta: &SaveMeta, preview: bool) -> Result<Box<dyn Save>> {
        self.begin_save(meta, preview)
    }

    fn submit(self: Arc<Self>, mailbox: &IndexedMailbox, batch: Batch) -> Result<Ticket> {
        commit::submit(self, mailbox, batch)
    }

    fn mark_deleted_if(self: Arc<Self>, mailbox: &Indexed, judged: &Judged) -> Result<()> {
        mark_deleted_if(self, mailbox, judged)
    }

    fn into_any(self: Arc<Self>) -> Arc<dyn Any + Send + Sync> {
        self
    }
}
