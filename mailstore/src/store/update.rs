//! Changes of flags, put together word by word.

use mailtypes::{Flag, Flags, Keyword, ModSeq, UidSet};

use crate::traits::{Batch, Committed, FlagAction, FlagChange, Mailbox, Result};

/// A change of flags that has not been made yet. Dropping it changes nothing.
#[derive(Debug)]
#[must_use = "nothing changes before commit"]
pub struct Update<'a> {
    mailbox: &'a dyn Mailbox,
    uids: UidSet,
    add: (Flags, Vec<Keyword>),
    remove: (Flags, Vec<Keyword>),
    unchanged_since: Option<ModSeq>,
}

impl<'a> Update<'a> {
    pub(super) fn new(mailbox: &'a dyn Mailbox, uids: UidSet) -> Self {
        let none = || (Flags::NONE, Vec::new());
        Self { mailbox, uids, add: none(), remove: none(), unchanged_since: None }
    }

    /// Sets a flag.
    #[allow(clippy::should_implement_trait, reason = "flags are added to messages here, nothing is summed up")]
    pub fn add(mut self, flag: Flag) -> Self {
        self.add.0 = self.add.0 | flag.into();
        self
    }

    /// Takes a flag away.
    pub fn remove(mut self, flag: Flag) -> Self {
        self.remove.0 = self.remove.0 | flag.into();
        self
    }

    /// Sets a keyword.
    pub fn add_keyword(mut self, keyword: Keyword) -> Self {
        self.add.1.push(keyword);
        self
    }

    /// Takes a keyword away.
    pub fn remove_keyword(mut self, keyword: Keyword) -> Self {
        self.remove.1.push(keyword);
        self
    }

    /// Leaves messages alone whose mod-sequence is larger; [`Committed::modified`] tells which.
    pub fn unchanged_since(mut self, modseq: ModSeq) -> Self {
        self.unchanged_since = Some(modseq);
        self
    }

    /// Makes the change, in one append.
    pub fn commit(self) -> Result<Committed> {
        let Self { mailbox, uids, add, remove, unchanged_since } = self;
        let mut batch = Batch::new();
        for (action, (flags, keywords)) in [(FlagAction::Remove, remove), (FlagAction::Add, add)] {
            if !flags.is_empty() || !keywords.is_empty() {
                let uids = uids.clone();
                batch = batch.flags(FlagChange { uids, action, flags, keywords, unchanged_since });
            }
        }
        mailbox.submit(batch)?.wait()
    }
}
