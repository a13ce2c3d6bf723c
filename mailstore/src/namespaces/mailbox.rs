//! A mailbox under the name that its namespace gives it.

use std::{any::Any, sync::Arc};

use mailtypes::{Guid, MailboxName, UidValidity};

use crate::traits::{
    Batch, ChangesSince, Mailbox, Position, Result, Save, SaveMeta, Stamp, Status, Ticket, View, ViewAs, Wake, Watch,
};

/// See the module.
#[derive(Debug)]
pub(super) struct NamedMailbox {
    name: MailboxName,
    inner: Arc<dyn Mailbox>,
}

impl NamedMailbox {
    pub(super) fn new(name: MailboxName, inner: Arc<dyn Mailbox>) -> Self {
        Self { name, inner }
    }
}

impl Mailbox for NamedMailbox {
    fn name(&self) -> &MailboxName {
        &self.name
    }

    fn guid(&self) -> Guid {
        self.inner.guid()
    }

    fn uid_validity(&self) -> UidValidity {
        self.inner.uid_validity()
    }

    fn status(&self) -> Result<Status> {
        self.inner.status()
    }

    fn size(&self) -> Result<u64> {
        self.inner.size()
    }

    fn view(&self, who: &ViewAs) -> Result<Box<dyn View>> {
        self.inner.view(who)
    }

    fn begin_save(&self, meta: SaveMeta, size_hint: Option<u64>) -> Result<Box<dyn Save>> {
        self.inner.begin_save(meta, size_hint)
    }

    fn submit(&self, batch: Batch) -> Result<Ticket> {
        self.inner.submit(batch)
    }

    fn changes_since(&self, position: &Position) -> Result<ChangesSince> {
        self.inner.changes_since(position)
    }

    fn position(&self) -> Result<Position> {
        self.inner.position()
    }

    fn watch(&self, wake: Wake) -> Result<Box<dyn Watch>> {
        self.inner.watch(wake)
    }

    fn checkpoint(&self) -> Result<()> {
        self.inner.checkpoint()
    }

    fn stamp(&self, stamp: &Stamp) -> Result<()> {
        self.inner.stamp(stamp)
    }

    /// What backends look at to know their own.
    fn as_any(&self) -> &dyn Any {
        self.inner.as_any()
    }
}
