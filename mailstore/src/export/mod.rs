//! Writes mail out for other programs: an mbox file or a Maildir a mailbox, or an `.eml` file a message.
//!
//! # Invariants
//!
//! 1. A store is only read; not even `\Recent` is taken.
//! 2. A file bears its name only when it is whole and durable.
//! 3. What was exported before is not written a second time: message files are known by their names again, an mbox file
//!    is replaced by a new one.

mod eml_folder;
mod maildir_tree;
mod mbox_files;
mod text;

use std::{fmt, path::Path};

use mailfs::FileSystem;
use mailtypes::{Flags, Guid, InternalDate, Keyword, MailboxName, Uid, UidValidity};

use crate::traits::{
    Body, Column, Columns, Cursor, ListPattern, MailStorage, Result, Row, Rows, ScanBudget, StorageError, ViewAs,
};

/// What is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
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
    /// Messages that could not be read.
    pub failed: u64,
}

/// A message that could not be exported.
#[derive(Clone, Debug)]
pub struct ExportFailure {
    /// Its mailbox.
    pub mailbox: MailboxName,
    /// Its UID there.
    pub uid: Uid,
    /// Why.
    pub error: StorageError,
}

impl fmt::Display for ExportFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} UID {}: {}", self.mailbox, self.uid, self.error)
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

/// Why a message was not written.
enum WriteError {
    /// The message cannot be read; the others may.
    Message(StorageError),
    /// The destination cannot be written.
    Destination(StorageError),
}

impl From<mailfs::FsError> for WriteError {
    fn from(error: mailfs::FsError) -> Self {
        Self::Destination(error.into())
    }
}

/// Where messages go.
trait Destination {
    fn begin(&mut self, mailbox: &MailboxName) -> Result<()>;
    /// Whether the message was exported before.
    fn has(&self, message: &Message) -> bool;
    fn write(&mut self, message: &Message, body: &mut dyn Body) -> std::result::Result<(), WriteError>;
    /// The mailbox is done: what was written is durable when this returns.
    fn end(&mut self) -> Result<()>;
}

/// Exports mailboxes of a store into a folder, made if need be, and tells `progress` after each message. Memory does not
/// grow with messages or mailboxes.
///
/// # Errors
/// Those of the store as a whole and of the destination; what was written before stays, and a further run goes on.
pub fn export(
    fs: &dyn FileSystem,
    storage: &dyn MailStorage,
    destination: &Path,
    options: &ExportOptions,
    progress: &mut dyn FnMut(&ExportProgress),
) -> Result<ExportSummary> {
    let mut to: Box<dyn Destination + '_> = match options.format {
        ExportFormat::Mbox => Box::new(mbox_files::MboxFiles::new(fs, destination)),
        ExportFormat::Maildir => Box::new(maildir_tree::MaildirTree::new(fs, destination)),
        ExportFormat::Eml => Box::new(eml_folder::EmlFolder::new(fs, destination)),
    };
    let listed = storage.list(&options.mailboxes)?.into_iter().filter(|info| info.selectable);
    let mut views = Vec::new();
    let mut summary = ExportSummary::default();
    for info in listed {
        match storage.mailbox(&info.name).and_then(|mailbox| mailbox.view(&ViewAs::default())) {
            // It went since.
            Err(StorageError::NotFound(_) | StorageError::Deleted(_)) => {}
            view => {
                summary.progress.size += u64::from(view?.message_count());
                views.push(info.name);
            }
        }
    }
    for name in views {
        let view = match storage.mailbox(&name).and_then(|mailbox| mailbox.view(&ViewAs::default())) {
            Err(StorageError::NotFound(_) | StorageError::Deleted(_)) => continue,
            view => view?,
        };
        let (uids, uid_validity) = (view.uids(), view.uid_validity());
        let columns = Columns::flags().with(Column::InternalDate).with(Column::Guid);
        let (mut rows, mut at) = (Rows::new(), Some(Cursor::START));
        to.begin(&name)?;
        while let Some(cursor) = at {
            rows.clear();
            at = view.scan(&uids, cursor, &columns, ScanBudget::default(), &mut rows)?;
            for row in rows.rows.iter().filter(|row| !row.expunged) {
                let message = message(uid_validity, row, &rows);
                let written = if to.has(&message) {
                    summary.progress.skipped += 1;
                    Ok(())
                } else {
                    let body = view.body(row.uid).map_err(WriteError::Message);
                    let written = body.and_then(|mut body| to.write(&message, &mut *body));
                    summary.progress.exported += u64::from(written.is_ok());
                    written
                };
                match written {
                    Ok(()) | Err(WriteError::Message(StorageError::Expunged { .. })) => {}
                    Err(WriteError::Message(error)) => {
                        summary.progress.failed += 1;
                        if summary.failures.len() < ExportSummary::FAILURES_MAX {
                            summary.failures.push(ExportFailure { mailbox: name.clone(), uid: row.uid, error });
                        }
                    }
                    Err(WriteError::Destination(error)) => return Err(error),
                }
                summary.progress.done += 1;
                progress(&summary.progress);
            }
        }
        to.end()?;
        summary.progress.mailboxes += 1;
        progress(&summary.progress);
    }
    Ok(summary)
}

fn message(uid_validity: UidValidity, row: &Row, rows: &Rows) -> Message {
    Message {
        uid_validity,
        uid: row.uid,
        guid: row.guid.filter(|guid| !guid.is_zero()),
        flags: row.flags,
        keywords: rows.keywords(row).to_vec(),
        date: row.internal_date.unwrap_or(InternalDate::utc(0)),
    }
}
