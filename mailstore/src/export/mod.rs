//! Writes mail out for other programs: an mbox file or a Maildir a mailbox, or an `.eml` file a message.
//!
//! # Invariants
//!
//! 1. A store is only read; not even `\Recent` is taken.
//! 2. A file bears its name only when it is whole and durable.
//! 3. A message or a mailbox that cannot be read costs no other; it is named in the summary.
//! 4. What was exported before is not written a second time: message files are known by their names again, an mbox file
//!    is replaced by a new one.

mod eml_folder;
mod maildir_tree;
mod mbox_files;
mod run;
mod text;

use std::{fmt, io, path::Path};

use mailfs::FileSystem;
use mailtypes::{Flags, Guid, InternalDate, Keyword, MailboxName, Uid, UidValidity};

use crate::traits::{Body, ListPattern, MailStorage, Result, StorageError};

/// What is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum ExportFormat {
    /// `MAILBOX.mbox`, lines that look like separators quoted (mboxrd), flags in `Status`, `X-Status` and `X-Keywords`.
    Mbox,
    /// Maildir++: INBOX in the folder itself, the others in `.MAILBOX`; flags and keywords in names.
    Maildir,
    /// `MAILBOX/UIDVALIDITY-UID.eml`, with CRLF line ends, no flags.
    Eml,
}

/// What to export, and how.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    /// The form.
    pub format: ExportFormat,
    /// Which mailboxes.
    pub mailboxes: ListPattern,
}

/// How far an export is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ExportProgress {
    /// Mailboxes that are done.
    pub mailboxes: u64,
    /// Messages looked at.
    pub done: u64,
    /// Messages to look at.
    pub size: u64,
    /// Messages written.
    pub exported: u64,
    /// Messages that were there already.
    pub skipped: u64,
    /// Messages that could not be read, and mailboxes.
    pub failed: u64,
}

/// A message, or a mailbox, that could not be exported.
#[derive(Clone, Debug)]
pub struct ExportFailure {
    /// The mailbox.
    pub mailbox: MailboxName,
    /// The message's UID there; `None` where the mailbox as a whole cannot be read or has no place in the form.
    pub uid: Option<Uid>,
    /// Why.
    pub error: StorageError,
}

impl fmt::Display for ExportFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.uid {
            Some(uid) => write!(f, "{} UID {uid}: {}", self.mailbox, self.error),
            None => write!(f, "{}: {}", self.mailbox, self.error),
        }
    }
}

/// What an export did.
#[derive(Clone, Debug, Default)]
pub struct ExportSummary {
    /// Counts.
    pub progress: ExportProgress,
    /// The failures, at most [`ExportSummary::FAILURES_MAX`] of them.
    pub failures: Vec<ExportFailure>,
}

impl ExportSummary {
    /// Failures that are named; more are only counted.
    pub const FAILURES_MAX: usize = 1000;
}

/// A message on its way out.
struct Message {
    uid_validity: UidValidity,
    uid: Uid,
    guid: Option<Guid>,
    flags: Flags,
    keywords: Vec<Keyword>,
    date: InternalDate,
}

/// Why a message or a mailbox was not written.
enum WriteError {
    /// It cannot be read or has no place in the form; the others may.
    Source(StorageError),
    /// The destination cannot be written.
    Destination(StorageError),
}

impl From<mailfs::FsError> for WriteError {
    fn from(error: mailfs::FsError) -> Self {
        match error.kind() {
            // The mailbox's name is too long there.
            io::ErrorKind::InvalidFilename => Self::Source(error.into()),
            _ => Self::Destination(error.into()),
        }
    }
}

/// Where messages go.
trait Destination {
    fn begin(&mut self, mailbox: &MailboxName) -> std::result::Result<(), WriteError>;
    /// Whether the message was exported before. Asked once for each message.
    fn has(&mut self, message: &Message) -> bool;
    fn write(&mut self, message: &Message, body: &mut dyn Body) -> std::result::Result<(), WriteError>;
    /// The mailbox is done: what was written is durable when this returns.
    fn end(&mut self) -> Result<()>;
}

/// Exports mailboxes of a store into a folder, made if need be, and tells `progress` after each message. Memory does not
/// grow with messages, but for the names that are in a mailbox's folder already.
///
/// # Errors
/// Those of the list of mailboxes and of the destination; what was written before stays, and a further run goes on.
/// Messages and mailboxes that cannot be read are in the summary.
pub fn export(
    fs: &dyn FileSystem,
    storage: &dyn MailStorage,
    destination: &Path,
    options: &ExportOptions,
    progress: &mut dyn FnMut(&ExportProgress),
) -> Result<ExportSummary> {
    let to: Box<dyn Destination + '_> = match options.format {
        ExportFormat::Mbox => Box::new(mbox_files::MboxFiles::new(fs, destination)),
        ExportFormat::Maildir => Box::new(maildir_tree::MaildirTree::new(fs, destination)),
        ExportFormat::Eml => Box::new(eml_folder::EmlFolder::new(fs, destination)),
    };
    run::Run::new(storage, to, progress).all(&options.mailboxes)
}
