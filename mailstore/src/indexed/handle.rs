//! A handle to a mailbox with an index, whichever backend's it is.

use std::{any::Any, fmt, sync::Arc};

use mailtypes::{Guid, MailboxName, UidValidity};

use super::{Indexed, fill::PREVIEW_FIELD};
use crate::traits::{
    Batch, ChangesSince, Judged, Mailbox, Position, Result, Save, SaveMeta, Stamp, Status, Ticket, View, ViewAs, Wake,
    Watch,
};

/// See the module.
pub(crate) struct IndexedMailbox {
    pub(super) indexed: Arc<Indexed>,
}

impl IndexedMailbox {
    pub(crate) fn new(indexed: Indexed) -> Self {
        Self { indexed: Arc::new(indexed) }
    }

    /// What it stands on.
    pub(crate) fn indexed(&self) -> &Arc<Indexed> {
        &self.indexed
    }

    /// Tells everybody who has it open that it is deleted, durably, if it is as somebody has judged it.
    pub(crate) fn mark_deleted_if(&self, judged: &Judged) -> Result<()> {
        Arc::clone(&self.indexed.files).mark_deleted_if(&self.indexed, judged)
    }
}

/// What a handle of one of our own backends stands on.
pub(crate) fn indexed_of(mailbox: &dyn Mailbox) -> Option<&Arc<Indexed>> {
    mailbox.as_any().downcast_ref::<IndexedMailbox>().map(|mailbox| &mailbox.indexed)
}

impl Mailbox for IndexedMailbox {
    fn name(&self) -> &MailboxName {
        &self.indexed.name
    }

    fn guid(&self) -> Guid {
        self.indexed.guid
    }

    fn uid_validity(&self) -> UidValidity {
        self.indexed.uid_validity
    }

    fn status(&self) -> Result<Status> {
        self.indexed.status()
    }

    fn size(&self) -> Result<u64> {
        self.indexed.size()
    }

    fn view(&self, who: &ViewAs) -> Result<Box<dyn View>> {
        self.indexed.view(who)
    }

    fn begin_save(&self, meta: SaveMeta, _size_hint: Option<u64>) -> Result<Box<dyn Save>> {
        self.indexed.check_writable()?;
        self.indexed.files.begin(&meta, self.indexed.index.caches_new(PREVIEW_FIELD))
    }

    /// Copies from another kind of store are read here and now.
    fn submit(&self, batch: Batch) -> Result<Ticket> {
        self.indexed.check_writable()?;
        Arc::clone(&self.indexed.files).submit(self, batch)
    }

    fn changes_since(&self, position: &Position) -> Result<ChangesSince> {
        self.indexed.changes_since(position)
    }

    fn position(&self) -> Result<Position> {
        self.indexed.position()
    }

    fn watch(&self, wake: Wake) -> Result<Box<dyn Watch>> {
        self.indexed.watch(wake)
    }

    fn checkpoint(&self) -> Result<()> {
        if !self.indexed.is_read_only() {
            self.indexed.files.checkpoint();
        }
        Ok(())
    }

    fn stamp(&self, stamp: &Stamp) -> Result<()> {
        self.indexed.check_writable()?;
        self.indexed.stamp(stamp)
    }

    fn is_read_only(&self) -> bool {
        self.indexed.is_read_only()
    }

    fn uids_are_lasting(&self) -> bool {
        self.indexed.uids_are_lasting()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl fmt::Debug for IndexedMailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IndexedMailbox").field("indexed", &self.indexed).finish()
    }
}
