//! Messages as an import meets them.

use mailtypes::{Flags, InternalDate, Keyword, MailboxName};

use super::{ImportFailure, content::Content};
use crate::traits::Result;

/// One message of a source.
pub(super) struct Message {
    /// Where it goes.
    pub(super) mailbox: MailboxName,
    /// What it is called when something is wrong with it.
    pub(super) what: String,
    pub(super) content: Content,
    pub(super) date: Option<InternalDate>,
    pub(super) flags: Flags,
    pub(super) keywords: Vec<Keyword>,
}

/// A message, or what is wrong with it.
pub(super) enum Found {
    Message(Message),
    Broken(ImportFailure),
}

/// Messages, one after the other.
pub(super) trait Source {
    /// How much there is, as [`Source::done`] counts: bytes, or messages.
    fn size(&self) -> u64;
    /// How much has come.
    fn done(&self) -> u64;
    /// The next message; fails only where no further one can be read.
    fn next(&mut self) -> Result<Option<Found>>;
}
