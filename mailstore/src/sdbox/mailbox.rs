//! One mailbox: its index, and the folder of its message files.

use std::{any::Any, fmt, sync::Arc};

use mailindex::engine::completion;
use mailtypes::{Guid, MailboxName, UidSet, UidValidity};

use super::{
    Shared,
    commit::{BatchOp, Item, foreign_message},
    files::Mails,
    save::{SdboxSave, SdboxSaved},
};
use crate::{
    copy::{CopyOptions, stage_copies},
    indexed::{Indexed, committing},
    traits::{
        Batch, BatchItem, ChangesSince, CopySource, Mailbox, Position, Result, Save, SaveMeta, Saved, Status, Ticket,
        View, ViewAs, Wake, Watch,
    },
};

/// A handle to an sdbox mailbox.
pub(crate) struct SdboxMailbox {
    pub(super) open: Arc<OpenMailbox>,
}

/// What the handles of one opening share.
pub(super) struct OpenMailbox {
    pub(super) shared: Arc<Shared>,
    pub(super) mails: Arc<Mails>,
    pub(super) indexed: Arc<Indexed>,
}

impl OpenMailbox {
    pub(super) fn begin_save(&self, meta: &SaveMeta) -> Result<SdboxSave> {
        SdboxSave::begin(&self.shared, &self.mails, meta)
    }
}

pub(super) fn own_message(message: Saved) -> Result<Box<SdboxSaved>> {
    message.0.into_any().downcast().map_err(|_| foreign_message())
}

impl SdboxMailbox {
    pub(crate) fn indexed(&self) -> &Arc<Indexed> {
        &self.open.indexed
    }

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
                        source: Arc::clone(&source.indexed.index),
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
        &self.open.indexed.name
    }

    fn guid(&self) -> Guid {
        self.open.indexed.guid
    }

    fn uid_validity(&self) -> UidValidity {
        self.open.indexed.uid_validity
    }

    fn status(&self) -> Result<Status> {
        self.open.indexed.status()
    }

    fn size(&self) -> Result<u64> {
        self.open.indexed.size()
    }

    fn view(&self, who: &ViewAs) -> Result<Box<dyn View>> {
        self.open.indexed.view(who)
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
        let index = &open.indexed.index;
        let (completer, completion) = completion(index);
        let op = BatchOp::new(open.indexed.name.clone(), Arc::clone(&open.mails), items, completer);
        index.enqueue(Box::new(op));
        Ok(committing(completion))
    }

    fn changes_since(&self, position: &Position) -> Result<ChangesSince> {
        self.open.indexed.changes_since(position)
    }

    fn position(&self) -> Result<Position> {
        self.open.indexed.position()
    }

    fn watch(&self, wake: Wake) -> Result<Box<dyn Watch>> {
        self.open.indexed.watch(wake)
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl fmt::Debug for SdboxMailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SdboxMailbox")
            .field("name", &self.open.indexed.name)
            .field("dir", &self.open.mails.dir)
            .finish()
    }
}
