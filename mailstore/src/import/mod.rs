//! Takes mail in from elsewhere: an mbox file, a tree of Maildirs, a folder of `.eml` files.
//!
//! # Invariants
//!
//! 1. A source is only read.
//! 2. What is imported has a GUID that follows from the mailbox it went to, its bytes and how many equal ones came
//!    before it there. What the store has under its GUID, in whatever mailbox by now, is passed over: an import that is
//!    run again, or was stopped and is run again, doubles nothing.
//! 3. One message or folder that cannot be taken in costs no other; it is named in the summary.
//! 4. Links are followed, but for those that lead back to a folder on the way to them.

mod content;
mod eml_folder;
mod folders;
mod identity;
mod maildir_tree;
mod mbox_file;
mod run;
mod source;

use std::{fmt, path::Path};

use mailfs::{FileKind, FileSystem};
use mailtypes::MailboxName;

pub(crate) use self::mbox_file::host_zone;
use crate::traits::{MailStorage, Result, StorageError};

/// What is imported from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SourceKind {
    /// One mbox file, in any of the dialects.
    Mbox,
    /// A Maildir with the mailboxes in it: Maildir++ or a folder a level.
    Maildir,
    /// Files that end in `.eml`, in folders of any depth.
    Eml,
}

/// Where the time of arrival of an `.eml` file's message is taken from.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum EmlDates {
    /// The `Date` field of the header; the file where there is none.
    #[default]
    Header,
    /// When the file was last changed.
    File,
}

/// How to import.
#[derive(Clone, Debug)]
pub struct ImportOptions {
    /// The kind of the source; found out if not given.
    pub kind: Option<SourceKind>,
    /// The mailbox that the source's own messages go to; the source's mailboxes go below it, or beside it where it is
    /// INBOX. Mailboxes are made as needed.
    pub into: MailboxName,
    /// For `.eml` files.
    pub eml_dates: EmlDates,
    /// Larger messages are refused, in bytes.
    pub message_len_max: u64,
    /// Minutes east of UTC that a local time of the importing host has, given in seconds since 1970; for separators of
    /// mbox files, which name no zone.
    pub local_zone: fn(i64) -> i16,
}

impl Default for ImportOptions {
    fn default() -> Self {
        Self {
            kind: None,
            into: MailboxName::inbox(),
            eml_dates: EmlDates::default(),
            message_len_max: 1 << 30,
            local_zone: mbox_file::host_zone,
        }
    }
}

/// How far an import is.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ImportProgress {
    /// How much of the source was looked at: bytes, or messages where those are known.
    pub done: u64,
    /// How much there is of it.
    pub size: u64,
    /// Messages taken in.
    pub imported: u64,
    /// Messages that were there already.
    pub skipped: u64,
    /// Messages that could not be taken in, and folders.
    pub failed: u64,
}

/// A message, or a folder, that could not be taken in.
#[derive(Clone, Debug)]
pub struct ImportFailure {
    /// Which: a file or folder, or a place in a file.
    pub what: String,
    /// Why.
    pub error: StorageError,
}

impl fmt::Display for ImportFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.what, self.error)
    }
}

/// What an import did.
#[derive(Clone, Debug, Default)]
pub struct ImportSummary {
    /// Counts.
    pub progress: ImportProgress,
    /// The failures, at most [`ImportSummary::FAILURES_MAX`] of them.
    pub failures: Vec<ImportFailure>,
}

impl ImportSummary {
    /// Failures that are named; more are only counted.
    pub const FAILURES_MAX: usize = 1000;
}

/// Imports `source` into a store, and tells `progress` after each message. Committed in batches: what is counted as
/// imported when this fails may be there or not, and a further run settles it. Reads the source twice where a message is
/// new, and the GUIDs of all that is in the store once.
///
/// # Errors
/// [`StorageError::NotAStore`] if the source is of no kind that is known; errors of the store and of the source as a
/// whole.
pub fn import(
    fs: &dyn FileSystem,
    source: &Path,
    storage: &dyn MailStorage,
    options: &ImportOptions,
    progress: &mut dyn FnMut(&ImportProgress),
) -> Result<ImportSummary> {
    let kind = match options.kind {
        Some(kind) => kind,
        None => detect(fs, source)?,
    };
    let mut messages: Box<dyn source::Source + '_> = match kind {
        SourceKind::Mbox => Box::new(mbox_file::MboxFile::open(fs, source, options)?),
        SourceKind::Maildir => Box::new(maildir_tree::MaildirTree::open(fs, source, options)?),
        SourceKind::Eml => Box::new(eml_folder::EmlFolder::open(fs, source, options)?),
    };
    run::Run::begin(storage, options, progress)?.all(&mut *messages)
}

/// What a source is, by what is there.
///
/// # Errors
/// [`StorageError::NotAStore`], which says what was looked for.
pub fn detect(fs: &dyn FileSystem, source: &Path) -> Result<SourceKind> {
    let not = |what: &str| StorageError::NotAStore { path: source.to_owned(), what: what.to_owned() };
    let Some(metadata) = fs.metadata(source)? else { return Err(not("it does not exist")) };
    if metadata.kind == FileKind::File {
        return Ok(SourceKind::Mbox);
    }
    if maildir_tree::is_tree(fs, source)? {
        return Ok(SourceKind::Maildir);
    }
    if eml_folder::has_messages(fs, source)? {
        return Ok(SourceKind::Eml);
    }
    Err(not("it is neither a file, nor a folder with \"cur\" and \"new\" in it or below it, nor has it .eml files"))
}
