//! A mailbox, to append to and to look into.

use std::sync::Arc;

use super::{Append, Appended, StoreView};
use crate::traits::{MailStorage, Mailbox, Result, Status, ViewAs, Wake, Watch};

/// A mailbox of a [`Store`](super::Store). Cheap to clone.
#[derive(Clone, Debug)]
pub struct StoreMailbox {
    storage: Arc<dyn MailStorage>,
    mailbox: Arc<dyn Mailbox>,
}

impl StoreMailbox {
    pub(super) fn new(storage: Arc<dyn MailStorage>, mailbox: Arc<dyn Mailbox>) -> Self {
        Self { storage, mailbox }
    }

    /// What it stands on.
    pub fn mailbox(&self) -> &Arc<dyn Mailbox> {
        &self.mailbox
    }

    /// Whether both are known to belong to one store, so that copies need not move bytes.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.storage, &other.storage)
    }

    /// Counts, after looking for changes of others.
    pub fn status(&self) -> Result<Status> {
        self.mailbox.status()
    }

    /// Appends a message. It is on disk when this returns.
    pub fn append(&self, append: Append<'_>) -> Result<Appended> {
        append.to(&*self.mailbox)
    }

    /// A snapshot.
    pub fn view(&self) -> Result<StoreView> {
        Ok(StoreView::new(self.mailbox.view(&ViewAs::default())?, self.clone()))
    }

    /// Calls `wake` after changes by anyone, from any thread, until the watch is dropped; it must not block, and may be
    /// called too often.
    pub fn watch(&self, wake: impl Fn() + Send + Sync + 'static) -> Result<Box<dyn Watch>> {
        let wake: Wake = Arc::new(wake);
        self.mailbox.watch(wake)
    }
}
