//! Changes of flags, put together word by word.

use mailtypes::{Flag, Flags, Keyword, ModSeq, UidSet};

use crate::traits::{Batch, Committed, FlagAction, FlagChange, Mailbox, Result};

/// A change of flags that has not been made yet. Dropping it changes nothing. Of one flag or keyword, what is said last
/// counts.
///
/// ```
/// # use mailstore::{Append, Store, memory::{MemoryOptions, MemoryStorage}, mailtypes::Flag};
/// # let store = Store::of(std::sync::Arc::new(MemoryStorage::new(MemoryOptions::default())));
/// let inbox = store.mailbox("INBOX")?;
/// let uid = inbox.append(Append::new(b"Subject: hello\r\n\r\n").flag(Flag::Answered))?.uid;
/// let mut view = inbox.view()?;
/// view.update_one(uid).add(Flag::Seen).remove(Flag::Answered).commit()?;
/// view.sync()?;
/// assert_eq!(view.message(uid)?.flags().to_string(), "\\Seen");
/// view.update_one(uid).replace().add(Flag::Flagged).commit()?;
/// view.sync()?;
/// assert_eq!(view.message(uid)?.flags().to_string(), "\\Flagged");
/// # Ok::<(), mailstore::StorageError>(())
/// ```
#[derive(Debug)]
#[must_use = "nothing changes before commit"]
pub struct Update<'a> {
    mailbox: &'a dyn Mailbox,
    uids: UidSet,
    /// All flags and keywords that are not to be set go.
    replace: bool,
    add: Named,
    remove: Named,
    unchanged_since: Option<ModSeq>,
}

#[derive(Debug, Default)]
struct Named {
    flags: Flags,
    keywords: Vec<Keyword>,
}

impl Named {
    fn is_empty(&self) -> bool {
        self.flags.is_empty() && self.keywords.is_empty()
    }

    fn put(&mut self, flag: Flag) {
        self.flags = self.flags | flag.into();
    }

    fn drop(&mut self, flag: Flag) {
        self.flags = self.flags.without(flag.into());
    }

    fn put_keyword(&mut self, keyword: Keyword) {
        if !self.keywords.contains(&keyword) {
            self.keywords.push(keyword);
        }
    }

    fn drop_keyword(&mut self, keyword: &Keyword) {
        self.keywords.retain(|have| have != keyword);
    }
}

impl<'a> Update<'a> {
    pub(super) fn new(mailbox: &'a dyn Mailbox, uids: UidSet) -> Self {
        let (add, remove) = (Named::default(), Named::default());
        Self { mailbox, uids, replace: false, add, remove, unchanged_since: None }
    }

    /// Sets a flag.
    #[allow(clippy::should_implement_trait, reason = "flags are added to messages here, nothing is summed up")]
    pub fn add(mut self, flag: Flag) -> Self {
        self.remove.drop(flag);
        self.add.put(flag);
        self
    }

    /// Takes a flag away.
    pub fn remove(mut self, flag: Flag) -> Self {
        self.add.drop(flag);
        self.remove.put(flag);
        self
    }

    /// Sets a keyword.
    pub fn add_keyword(mut self, keyword: Keyword) -> Self {
        self.remove.drop_keyword(&keyword);
        self.add.put_keyword(keyword);
        self
    }

    /// Takes a keyword away.
    pub fn remove_keyword(mut self, keyword: Keyword) -> Self {
        self.add.drop_keyword(&keyword);
        self.remove.put_keyword(keyword);
        self
    }

    /// Takes all flags and keywords away but those that are added, before this or after.
    pub fn replace(mut self) -> Self {
        self.replace = true;
        self
    }

    /// Leaves messages alone whose mod-sequence is larger; [`Committed::modified`] tells which.
    pub fn unchanged_since(mut self, modseq: ModSeq) -> Self {
        self.unchanged_since = Some(modseq);
        self
    }

    /// Makes the change, in one append.
    pub fn commit(self) -> Result<Committed> {
        let Self { mailbox, uids, replace, add, remove, unchanged_since } = self;
        let mut batch = Batch::new();
        let changes = match replace {
            true => vec![(FlagAction::Replace, add)],
            false => vec![(FlagAction::Remove, remove), (FlagAction::Add, add)],
        };
        for (action, named) in changes.into_iter().filter(|(_, named)| replace || !named.is_empty()) {
            let (uids, Named { flags, keywords }) = (uids.clone(), named);
            batch = batch.flags(FlagChange { uids, action, flags, keywords, unchanged_since });
        }
        mailbox.submit(batch)?.wait()
    }
}
