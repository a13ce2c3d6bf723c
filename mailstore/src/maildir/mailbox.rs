//! A handle to a Maildir mailbox.

use std::{any::Any, fmt, sync::Arc};

use mailindex::engine::completion;
use mailtypes::{Guid, MailboxName, UidSet, UidValidity};

use super::{
    commit::{BatchOp, Item},
    files::MaildirFiles,
    save::{MaildirSave, MaildirSaved},
};
use crate::{
    copy::{CopyOptions, stage_copies},
    indexed::{Indexed, committing},
    traits::{
        Batch, BatchItem, ChangesSince, CopySource, Mailbox, Position, Result, Save, SaveMeta, Saved, Status,
        StorageError, Ticket, View, ViewAs, Wake, Watch,
    },
};

/// See the module.
pub(crate) struct MaildirMailbox {
    pub(super) files: Arc<MaildirFiles>,
    pub(crate) indexed: Arc<Indexed>,
}

fn own_message(message: Saved) -> Result<Box<MaildirSaved>> {
    let foreign = |_| StorageError::NotPossible("Message was taken in by another store");
    message.0.into_any().downcast().map_err(foreign)
}

impl MaildirMailbox {
    fn item(&self, item: BatchItem, items: &mut Vec<Item>) -> Result<()> {
        match item {
            BatchItem::Save { message, flags, keywords } => {
                items.push(Item::Save { message: own_message(message)?, flags, keywords });
            }
            BatchItem::Copy(CopySource { mailbox, uids }) => {
                let ours = mailbox.as_any().downcast_ref::<Self>();
                match ours.filter(|source| Arc::ptr_eq(source.files.fs(), self.files.fs())) {
                    Some(source) => items.push(Item::Copy {
                        source: Arc::clone(&source.indexed.index),
                        files: Arc::clone(&source.files),
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

    /// Copies from another kind of store are read there, and saved here in `tmp`.
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

impl Mailbox for MaildirMailbox {
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
        Ok(Box::new(MaildirSave::begin(&self.files, &meta)?))
    }

    /// Copies from another kind of store are read here and now.
    fn submit(&self, batch: Batch) -> Result<Ticket> {
        let mut items = Vec::with_capacity(batch.items.len());
        for item in batch.items {
            self.item(item, &mut items)?;
        }
        let index = &self.indexed.index;
        let (completer, completion) = completion(index);
        let op = BatchOp::new(self.indexed.name.clone(), Arc::clone(&self.files), items, completer);
        index.enqueue(Box::new(op));
        Ok(committing(completion))
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

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl fmt::Debug for MaildirMailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dir = &self.files.dirs.mail;
        f.debug_struct("MaildirMailbox").field("name", &self.indexed.name).field("dir", dir).finish()
    }
}
