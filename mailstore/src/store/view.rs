//! A snapshot of a mailbox, and what can be done with its messages.

use std::{fmt, sync::Arc};

use mailtypes::{SearchKey, Uid, UidSet};

use super::{Message, Messages, StoreMailbox, Update, message::uid_alone};
use crate::{
    copy::{Copied, CopyOptions, copy_streamed},
    search::search,
    traits::{Batch, Changes, Expunges, Result, View},
};

/// A snapshot of a mailbox: nothing in it changes but by [`StoreView::sync`].
pub struct StoreView {
    view: Box<dyn View>,
    mailbox: StoreMailbox,
}

impl StoreView {
    pub(super) fn new(view: Box<dyn View>, mailbox: StoreMailbox) -> Self {
        Self { view, mailbox }
    }

    /// What it stands on.
    pub fn view(&self) -> &dyn View {
        &*self.view
    }

    /// How many messages it shows.
    pub fn len(&self) -> usize {
        usize::try_from(self.view.message_count()).unwrap_or(usize::MAX)
    }

    /// Whether it shows none.
    pub fn is_empty(&self) -> bool {
        self.view.message_count() == 0
    }

    /// The messages, in order. Flags and UIDs are read in batches, and with them what [`Messages::with`] names; anything
    /// else of a message when it is asked for.
    ///
    /// ```
    /// use mailstore::{Append, Column, Columns, Store};
    /// # use mailstore::memory::{MemoryOptions, MemoryStorage};
    /// # let store = Store::of(std::sync::Arc::new(MemoryStorage::new(MemoryOptions::default())));
    /// let inbox = store.mailbox("INBOX")?;
    /// inbox.append(Append::new(b"Subject: one\r\n\r\n"))?;
    /// inbox.append(Append::new(b"Subject: two\r\n\r\n"))?;
    /// let mut list = String::new();
    /// for message in inbox.view()?.messages().with(Columns::envelope() | Column::Size) {
    ///     let message = message?;
    ///     list += &format!("{} {} {}\n", message.uid(), message.size()?, message.envelope()?.subject());
    /// }
    /// assert_eq!(list, "1 16 one\n2 16 two\n");
    /// # Ok::<(), mailstore::StorageError>(())
    /// ```
    pub fn messages(&self) -> Messages<'_> {
        Messages::new(&*self.view, self.view.uids())
    }

    /// Some of the messages, such as those that a search found. UIDs that the view does not show are passed over.
    pub fn messages_among(&self, uids: &UidSet) -> Messages<'_> {
        Messages::new(&*self.view, uids.clone())
    }

    /// One message. Fails with [`StorageError::Expunged`](crate::StorageError::Expunged) where the view does not show it.
    pub fn message(&self, uid: Uid) -> Result<Message<'_>> {
        Message::of(&*self.view, uid)
    }

    /// The messages that match (RFC 9051 §6.4.4), see [`search`](mod@crate::search). Costs from some nanoseconds a message,
    /// where flags and UIDs tell, to reading all of them, where their texts are looked into.
    ///
    /// ```
    /// # use mailstore::{Append, Store, memory::{MemoryOptions, MemoryStorage}};
    /// use mailstore::mailtypes::{Flag, SearchKey};
    /// # let store = Store::of(std::sync::Arc::new(MemoryStorage::new(MemoryOptions::default())));
    /// # let inbox = store.mailbox("INBOX")?;
    /// # inbox.append(Append::new(b"Subject: Lunch on Friday\r\n\r\n"))?;
    ///
    /// let unseen = SearchKey::Not(Box::new(SearchKey::Flag(Flag::Seen)));
    /// let about_lunch = SearchKey::Header("Subject".into(), "lunch".into());
    /// let found = inbox.view()?.search(SearchKey::And(vec![unseen, about_lunch]))?;
    /// assert_eq!(found.to_string(), "1");
    /// # Ok::<(), mailstore::StorageError>(())
    /// ```
    pub fn search(&self, key: SearchKey) -> Result<UidSet> {
        search(key, &*self.view)
    }

    /// A change of flags on many messages.
    pub fn update<'a>(&'a self, uids: &UidSet) -> Update<'a> {
        Update::new(&**self.mailbox.mailbox(), uids.clone())
    }

    /// A change of flags on one message.
    pub fn update_one(&self, uid: Uid) -> Update<'_> {
        Update::new(&**self.mailbox.mailbox(), uid_alone(uid))
    }

    /// Copies messages with flags, keywords and dates to another mailbox, all or none; those that are gone are passed
    /// over. It is on disk when this returns. Costs a link for each message where both mailboxes are of the same
    /// [`Store`](super::Store) and it can, else moves the bytes; then the copies have GUIDs of their own.
    ///
    /// ```
    /// # use mailstore::{Append, Store, memory::{MemoryOptions, MemoryStorage}};
    /// # let store = Store::of(std::sync::Arc::new(MemoryStorage::new(MemoryOptions::default())));
    /// # let inbox = store.mailbox("INBOX")?;
    /// # inbox.append(Append::new(b"Subject: hello\r\n\r\n"))?;
    /// store.create_mailbox("Archive")?;
    /// let archive = store.mailbox("Archive")?;
    /// let view = inbox.view()?;
    /// let copied = view.copy_to(&view.view().uids(), &archive)?;
    /// assert_eq!((copied.uids.len(), archive.view()?.len()), (1, 1));
    /// # Ok::<(), mailstore::StorageError>(())
    /// ```
    pub fn copy_to(&self, uids: &UidSet, to: &StoreMailbox) -> Result<Copied> {
        let from = self.mailbox.mailbox();
        if !self.mailbox.is_beside(to) {
            return copy_streamed(&**from, uids, &**to.mailbox(), &CopyOptions::default());
        }
        let batch = Batch::new().copy(Arc::clone(from), uids.clone());
        let committed = to.mailbox().submit(batch)?.wait()?;
        Ok(Copied { uids: committed.copied.clone(), committed })
    }

    /// Moves messages to another mailbox: [`StoreView::copy_to`], then [`StoreView::expunge`], so that a crash between the
    /// two leaves both. A message that somebody else expunged or moved meanwhile is not moved: its copy is taken back.
    /// Tells which were moved, and as what.
    pub fn move_to(&self, uids: &UidSet, to: &StoreMailbox) -> Result<Vec<(Uid, Uid)>> {
        let copied = self.copy_to(uids, to)?.uids;
        let expunged = self.expunge(&copied.iter().map(|&(source, _)| source).collect())?;
        let (moved, lost): (Vec<_>, Vec<_>) = copied.into_iter().partition(|&(source, _)| expunged.contains(source));
        if !lost.is_empty() {
            let copies = lost.into_iter().map(|(_, copy)| copy).collect();
            to.mailbox().submit(Batch::new().expunge(copies))?.wait()?;
        }
        Ok(moved)
    }

    /// Expunges messages; the view shows it after the next [`StoreView::sync`]. Tells which were there to be expunged.
    pub fn expunge(&self, uids: &UidSet) -> Result<UidSet> {
        Ok(self.mailbox.mailbox().submit(Batch::new().expunge(uids.clone()))?.wait()?.expunged)
    }

    /// Looks for what this program and others did since, and shows it.
    pub fn sync(&mut self) -> Result<Changes> {
        self.view.sync(Expunges::Apply)
    }
}

impl fmt::Debug for StoreView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoreView").field("mailbox", &self.mailbox).finish_non_exhaustive()
    }
}
