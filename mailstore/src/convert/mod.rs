//! One user's mail from a store of any kind into a store of any other, so that no client can tell: UIDs, UIDVALIDITY,
//! mod-sequences, GUIDs of mailboxes and messages, flags, keywords, dates, POP3 ids, subscriptions are those of the source.
//!
//! A conversion may be stopped at any moment and is run again, as it is for what is new in the source: new mail, changed
//! flags, expunges, mailboxes that were renamed or deleted. What it has done stands in the destination itself, and what
//! cannot be read there in a [`Journal`]. What a destination cannot hold is told, never silent
//! (`docs/decisions/conversion.md`).
//!
//! # Invariants
//!
//! 1. The source is only read.
//! 2. A mailbox of the destination that was changed by somebody else since is not touched, unless
//!    [`ConvertOptions::overwrite`] says so; no message goes that was not compared with the source's or noted in the journal
//!    when a conversion had put it there.
//! 3. A mailbox stands in the journal before it is changed, after each commit, and again when it is done: if it shows what
//!    the source's showed then, and nothing else.
//! 4. One message or mailbox that cannot be converted costs no other.

mod compare;
mod journal;
mod kept;
mod mailbox;
mod message;
mod names;
mod ours;
mod renames;
mod run;
mod snapshot;
mod verify;

use std::fmt;

use mailtypes::{MailboxName, Uid};

pub use self::{
    journal::{Done, Journal},
    names::Names,
    verify::{Difference, VerifyProgress, VerifySummary, verify},
};
use crate::traits::{ListPattern, MailStorage, Result, StorageError};

/// How to convert.
#[derive(Clone, Debug)]
pub struct ConvertOptions {
    /// Which mailboxes of the source.
    pub mailboxes: ListPattern,
    /// Tell what would be done, and do nothing.
    pub dry_run: bool,
    /// What was changed in the destination by others gives way to what the source has.
    pub overwrite: bool,
    /// Mailboxes that were converted and that the source has no more stay in the destination.
    pub keep_deleted: bool,
    /// Messages without a POP3 id of their own keep the name of their file as one, as POP3 clients of a Maildir know it
    /// whose `pop3_uidl_format` is `%f`.
    pub file_names_as_uidls: bool,
}

impl Default for ConvertOptions {
    fn default() -> Self {
        Self {
            mailboxes: ListPattern::all(),
            dry_run: false,
            overwrite: false,
            keep_deleted: false,
            file_names_as_uidls: false,
        }
    }
}

/// How far a conversion is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ConvertProgress {
    /// Messages that were looked at.
    pub done: u64,
    /// Messages that the source has.
    pub size: u64,
    /// Mailboxes that are as in the source now.
    pub mailboxes: u64,
    /// Messages put into the destination.
    pub added: u64,
    /// Messages that were there already.
    pub kept: u64,
    /// Messages there whose flags were changed.
    pub flags: u64,
    /// Messages there that were expunged.
    pub expunged: u64,
    /// Bytes of the messages added, with CRLF line ends.
    pub bytes: u64,
    /// Messages and mailboxes that were not converted.
    pub failed: u64,
}

/// What was done, or would be, with a mailbox of the destination.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Action {
    /// It was as in the source.
    Unchanged,
    /// It was made.
    Created,
    /// It was there, of a conversion before, and was brought up to date.
    Updated,
    /// It was made anew: what was there could not be brought up to date.
    Replaced,
    /// The source has it no more.
    Deleted,
    /// It was left alone, or could not be read; see the failures.
    Failed,
}

impl Action {
    /// A word for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Created => "created",
            Self::Updated => "updated",
            Self::Replaced => "replaced",
            Self::Deleted => "deleted",
            Self::Failed => "failed",
        }
    }
}

/// What became of one mailbox.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConvertedMailbox {
    /// Its name in the source; as it was there, if it was deleted.
    pub source: MailboxName,
    /// Its name in the destination.
    pub destination: MailboxName,
    /// Its name in the destination before, if it was renamed.
    pub renamed_from: Option<MailboxName>,
    /// What was done.
    pub action: Action,
    /// Messages put there.
    pub added: u64,
    /// Messages whose flags were changed.
    pub flags: u64,
    /// Messages expunged.
    pub expunged: u64,
}

/// Something that the destination cannot hold as the source has it.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Loss {
    /// A mailbox gets another name.
    Name {
        /// In the source.
        source: MailboxName,
        /// In the destination.
        destination: MailboxName,
    },
    /// Messages have the GUIDs there that their text gives them.
    Guids,
    /// POP3 ids that the source keeps with messages have no place there; so many messages have one.
    Pop3 {
        /// How many.
        messages: u64,
    },
    /// Messages without a line end at their end, or without an end of their header, have one there.
    LineEnds {
        /// How many.
        messages: u64,
    },
    /// Messages lose header fields that the format has for itself, such as Status and X-UID.
    Fields {
        /// How many.
        messages: u64,
    },
    /// Names to which somebody is subscribed that no mailbox there can have.
    Subscription {
        /// Which.
        name: MailboxName,
    },
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name { source, destination } => write!(f, "mailbox {source} is called {destination}"),
            Self::Guids => f.write_str("GUIDs of messages are not kept: they follow from the text there"),
            Self::Pop3 { messages } => write!(f, "POP3 ids of {messages} messages are not kept"),
            Self::LineEnds { messages } => {
                write!(f, "{messages} messages get the line end or the end of the header that they lack")
            }
            Self::Fields { messages } => {
                write!(
                    f,
                    "{messages} messages lose header fields that the format has for itself (Status, X-UID and the like)"
                )
            }
            Self::Subscription { name } => write!(f, "the subscription to {name} is not kept"),
        }
    }
}

/// A message or mailbox that was not converted.
#[derive(Clone, Debug)]
pub struct ConvertFailure {
    /// The mailbox, as it is called in the source.
    pub mailbox: MailboxName,
    /// The message; the whole mailbox if not given.
    pub uid: Option<Uid>,
    /// Why.
    pub why: FailureCause,
}

/// Why something was not converted.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FailureCause {
    /// A storage operation failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A run before could not convert it, and there is no place for it between the others any more.
    #[error("a run before could not convert it; --overwrite converts its mailbox anew")]
    Before,
    /// The destination has something of its own there.
    #[error("{0}; --overwrite puts the source's in its place")]
    Conflict(&'static str),
}

impl fmt::Display for ConvertFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.uid {
            Some(uid) => write!(f, "{}, message {uid}: {}", self.mailbox, self.why),
            None => write!(f, "{}: {}", self.mailbox, self.why),
        }
    }
}

/// What a conversion did, or would do.
#[derive(Clone, Debug, Default)]
pub struct ConvertSummary {
    /// Counts.
    pub progress: ConvertProgress,
    /// Each mailbox.
    pub mailboxes: Vec<ConvertedMailbox>,
    /// What could not be kept.
    pub losses: Vec<Loss>,
    /// Failures, at most [`ConvertSummary::FAILURES_MAX`] of them.
    pub failures: Vec<ConvertFailure>,
}

impl ConvertSummary {
    /// Failures that are named; more are only counted.
    pub const FAILURES_MAX: usize = 1000;

    pub(super) fn failed(&mut self, mailbox: &MailboxName, uid: Option<Uid>, why: impl Into<FailureCause>) {
        self.progress.failed += 1;
        if self.failures.len() < Self::FAILURES_MAX {
            self.failures.push(ConvertFailure { mailbox: mailbox.clone(), uid, why: why.into() });
        }
    }
}

/// Converts. `journal` is that of the destination: the same at each run. `progress` is called after each batch of
/// messages. Reads each new message once; of a mailbox in which nothing changed since the last run its counts alone; of
/// one in which something did, the flags of all messages.
///
/// # Errors
/// What makes going on useless: no space, a store that cannot be listed, a journal that cannot be written. All else is in
/// the summary. Run again, it goes on where it was.
pub fn convert(
    source: &dyn MailStorage,
    destination: &dyn MailStorage,
    journal: &mut Journal,
    options: &ConvertOptions,
    progress: &mut dyn FnMut(&ConvertProgress),
) -> Result<ConvertSummary> {
    run::Run::new(source, destination, journal, options, progress).all()
}

/// Whether an error says that nothing else can be converted either.
fn is_of_all(error: &StorageError) -> bool {
    matches!(error, StorageError::NoSpace(_) | StorageError::ReadOnly(_) | StorageError::Fenced(_))
}
