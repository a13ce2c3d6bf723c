//! Why a storage operation failed.

use std::path::{Path, PathBuf};

use mailtypes::{InvalidMailboxName, MailboxName, Uid};

use super::Failure;

/// Results of storage operations.
pub type Result<T> = std::result::Result<T, StorageError>;

/// Why a storage operation failed. `Display` is for the log and may name paths; what a client may be told is
/// [`StorageError::client_text`]. Cheap to clone: one failed commit fails many tickets.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// There is no such mailbox.
    #[error("mailbox {0} does not exist")]
    NotFound(MailboxName),
    /// The name is taken.
    #[error("mailbox {0} exists already")]
    AlreadyExists(MailboxName),
    /// The name exists as a level of the hierarchy only.
    #[error("mailbox {0} cannot be selected")]
    NotSelectable(MailboxName),
    /// The name cannot name a mailbox in this store.
    #[error("{name:?} cannot name a mailbox: {source}")]
    InvalidName {
        /// As given.
        name: String,
        /// What is wrong with it.
        #[source]
        source: InvalidMailboxName,
    },
    /// The operation is not possible on this mailbox, such as deleting INBOX.
    #[error("{0}")]
    NotPossible(&'static str),
    /// The message is gone; a command's other messages may still be served.
    #[error("message {uid} was expunged")]
    Expunged {
        /// Which.
        uid: Uid,
    },
    /// The mailbox was deleted while it was open.
    #[error("mailbox {0} was deleted")]
    Deleted(MailboxName),
    /// It is not as it was when somebody decided what is to become of it: others have been at work. Nothing of theirs went.
    #[error("mailbox {0} was changed meanwhile")]
    Changed(MailboxName),
    /// A file does not hold what it must. Nothing was changed because of it.
    #[error("{} is damaged at offset {offset}: {what}", path.display())]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// Where in it, in bytes.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
    /// The place is not a mail store of a kind that is known, or not of the kind asked for.
    #[error("{} is no mail store that can be opened: {what}", path.display())]
    NotAStore {
        /// Where.
        path: PathBuf,
        /// What was found instead.
        what: String,
    },
    /// Something here is known and not supported, such as a message with detached attachments.
    #[error("{0} is not supported")]
    Unsupported(String),
    /// A message cannot be stored as it is, such as one with NUL bytes.
    #[error("message refused: {0}")]
    MessageRefused(&'static str),
    /// A limit was met; it can be raised under its name.
    #[error("limit {name} ({limit}) exceeded")]
    Limit {
        /// The limit's name in the configuration.
        name: &'static str,
        /// Its value.
        limit: u64,
    },
    /// The disk is full or the user's quota is.
    #[error("no space: {0}")]
    NoSpace(Failure),
    /// The store cannot be written.
    #[error("{0} is read-only")]
    ReadOnly(Failure),
    /// Cannot be served now; trying again may help (a lock held too long, a backend away).
    #[error("unavailable: {0}")]
    Unavailable(Failure),
    /// Another writer took the store over.
    #[error("fenced: {0}")]
    Fenced(String),
    /// The mailbox moved to another name.
    #[error("mailbox moved to {0}")]
    Moved(MailboxName),
    /// Anything else that the system answered.
    #[error("{0}")]
    Io(Failure),
}

impl StorageError {
    /// What a client may be told: no path, no errno, nothing about the host.
    pub fn client_text(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "Mailbox doesn't exist",
            Self::AlreadyExists(_) => "Mailbox already exists",
            Self::NotSelectable(_) => "Mailbox can't be selected",
            Self::InvalidName { .. } => "Invalid mailbox name",
            Self::NotPossible(what) => what,
            Self::Expunged { .. } => "Some of the requested messages no longer exist",
            Self::Deleted(_) => "Mailbox was deleted",
            Self::Changed(_) => "Mailbox was changed meanwhile",
            Self::Unsupported(_) => "Not supported for this message",
            Self::MessageRefused(what) => what,
            Self::Limit { .. } => "Limit exceeded",
            Self::NoSpace(_) => "Not enough disk space",
            Self::ReadOnly(_) => "Mailbox is read-only",
            Self::Unavailable(_) | Self::Fenced(_) => "Temporarily unavailable, try again",
            Self::Moved(_) => "Mailbox was renamed",
            Self::Corrupt { .. } | Self::NotAStore { .. } | Self::Io(_) => "Internal error, see the server log",
        }
    }

    /// What the system answered, where that was it.
    pub fn failure(&self) -> Option<&Failure> {
        match self {
            Self::NoSpace(failure) | Self::ReadOnly(failure) | Self::Unavailable(failure) | Self::Io(failure) => {
                Some(failure)
            }
            _ => None,
        }
    }

    /// The file or folder that it is about, where it is one.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::Corrupt { path, .. } | Self::NotAStore { path, .. } => Some(path),
            other => other.failure()?.path(),
        }
    }

    /// Whether the same operation may succeed later without anything being repaired.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::NoSpace(_) | Self::Io(_) | Self::Fenced(_))
    }
}
