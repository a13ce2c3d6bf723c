//! Changes that are committed together.

use std::sync::Arc;

use mailtypes::{Flags, Keyword, ModSeq, Uid, UidSet, UidValidity};

use super::{Kept, Mailbox, Saved};

/// Changes of one mailbox, carried out in order and written in one append.
#[derive(Debug, Default)]
#[must_use = "nothing changes before it is submitted"]
pub struct Batch {
    /// In order.
    pub items: Vec<BatchItem>,
}

/// One change.
#[derive(Debug)]
pub enum BatchItem {
    /// A message that was taken in, with its first flags.
    Save {
        /// The message.
        message: Saved,
        /// System flags.
        flags: Flags,
        /// Keywords.
        keywords: Vec<Keyword>,
        /// What it keeps of its place elsewhere; for conversions. Not possible in a batch that copies.
        kept: Option<Kept>,
    },
    /// Copies of another mailbox's messages, with flags, keywords, dates and GUIDs.
    Copy(CopySource),
    /// A change of flags.
    Flags(FlagChange),
    /// Messages to expunge; those that are gone already are passed over.
    Expunge(UidSet),
}

/// Where copies come from.
#[derive(Clone, Debug)]
pub struct CopySource {
    /// The mailbox; may be the one that the batch is for.
    pub mailbox: Arc<dyn Mailbox>,
    /// Which messages; those that are gone are passed over.
    pub uids: UidSet,
}

/// What to do with the flags named.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FlagAction {
    /// Set them.
    Add,
    /// Take them away.
    Remove,
    /// Set exactly them.
    Replace,
}

/// A change of flags on many messages.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FlagChange {
    /// Which messages; those that are gone are passed over.
    pub uids: UidSet,
    /// What to do.
    pub action: FlagAction,
    /// System flags.
    pub flags: Flags,
    /// Keywords.
    pub keywords: Vec<Keyword>,
    /// Only messages whose mod-sequence is at most this are changed (RFC 7162), decided under the log's lock by what they
    /// were before the batch.
    pub unchanged_since: Option<ModSeq>,
}

impl Batch {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a message into the mailbox.
    pub fn save(mut self, message: Saved, flags: Flags, keywords: Vec<Keyword>) -> Self {
        self.items.push(BatchItem::Save { message, flags, keywords, kept: None });
        self
    }

    /// Puts a message into the mailbox under the UID that it had elsewhere.
    pub fn save_as(mut self, message: Saved, flags: Flags, keywords: Vec<Keyword>, kept: Kept) -> Self {
        self.items.push(BatchItem::Save { message, flags, keywords, kept: Some(kept) });
        self
    }

    /// Copies messages into the mailbox.
    pub fn copy(mut self, mailbox: Arc<dyn Mailbox>, uids: UidSet) -> Self {
        self.items.push(BatchItem::Copy(CopySource { mailbox, uids }));
        self
    }

    /// Changes flags.
    pub fn flags(mut self, change: FlagChange) -> Self {
        self.items.push(BatchItem::Flags(change));
        self
    }

    /// Expunges messages.
    pub fn expunge(mut self, uids: UidSet) -> Self {
        self.items.push(BatchItem::Expunge(uids));
        self
    }
}

/// What a batch did.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Committed {
    /// The incarnation that the UIDs belong to.
    pub uid_validity: UidValidity,
    /// The UIDs of the saved messages, in the batch's order.
    pub saved: Vec<Uid>,
    /// The UIDs of the copies: source and copy, ascending.
    pub copied: Vec<(Uid, Uid)>,
    /// Messages whose flags were left alone because of `unchanged_since`.
    pub modified: UidSet,
    /// Messages that this batch expunged.
    pub expunged: UidSet,
    /// The mailbox's largest mod-sequence after the batch.
    pub highest_modseq: ModSeq,
}
