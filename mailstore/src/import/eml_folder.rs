//! Folders of `.eml` files as a source: one message a file, folders become mailboxes.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use mailfs::{FileKind, FileSystem, FileSystemExt as _, OpenMode};
use mailmime::{Fields, header_len, parse_date};
use mailtypes::{Flags, InternalDate, MailboxName};

use super::{
    EmlDates, ImportFailure, ImportOptions,
    content::Content,
    source::{Found, Message, Source},
};
use crate::traits::{Result, StorageError};

/// How deep folders are looked into.
const DEPTH_MAX: usize = MailboxName::LEVELS_MAX;
/// How much of a message is read for its date.
const HEADER_LEN_MAX: usize = 64 << 10;

/// See the module.
pub(super) struct EmlFolder<'a> {
    fs: &'a dyn FileSystem,
    dates: EmlDates,
    files: VecDeque<(MailboxName, PathBuf, u64)>,
    size: u64,
    done: u64,
}

impl<'a> EmlFolder<'a> {
    pub(super) fn open(fs: &'a dyn FileSystem, root: &Path, options: &ImportOptions) -> Result<Self> {
        let mut source = Self { fs, dates: options.eml_dates, files: VecDeque::new(), size: 0, done: 0 };
        source.list(root, &options.into, DEPTH_MAX)?;
        Ok(source)
    }

    /// Goes through a folder, in the order of names, so that every run meets the messages in the same order.
    fn list(&mut self, dir: &Path, mailbox: &MailboxName, depth: usize) -> Result<()> {
        let mut entries = self.fs.read_dir(dir)?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        for entry in entries {
            let path = dir.join(&entry.name);
            match entry.kind {
                FileKind::File if is_message(&path) => {
                    let len = self.fs.metadata(&path)?.map_or(0, |metadata| metadata.len);
                    self.size += len;
                    self.files.push_back((mailbox.clone(), path, len));
                }
                FileKind::Dir if depth > 0 => {
                    let name = entry.name.to_string_lossy();
                    self.list(&path, &below(mailbox, &name)?, depth - 1)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn message(&self, mailbox: MailboxName, path: &Path) -> Result<Message> {
        let file = self.fs.open(path, OpenMode::Read)?;
        let metadata = file.metadata()?;
        let from_header = match self.dates {
            EmlDates::Header => {
                let mut head = vec![0; HEADER_LEN_MAX.min(usize::try_from(metadata.len).unwrap_or(HEADER_LEN_MAX))];
                let read = file.read_at(&mut head, 0)?;
                date_of(head.get(..read).unwrap_or_default())
            }
            EmlDates::File => None,
        };
        let of_file = || {
            let since = metadata.modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            InternalDate::utc(i64::try_from(since).unwrap_or(0))
        };
        Ok(Message {
            mailbox,
            what: path.display().to_string(),
            content: Content { header: Vec::new(), range: 0..metadata.len, file, quoted: false },
            date: Some(from_header.unwrap_or_else(of_file)),
            flags: Flags::NONE,
            keywords: Vec::new(),
        })
    }
}

fn date_of(message: &[u8]) -> Option<InternalDate> {
    let header = message.get(..header_len(message)).unwrap_or_default();
    let date = parse_date(&Fields::new(header).find(|field| field.is(b"Date"))?.value())?;
    Some(InternalDate { unix: date.unix_seconds, zone: i16::try_from(date.zone_minutes).unwrap_or(0) })
}

fn is_message(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("eml"))
}

/// A mailbox below another, or beside it where that is INBOX.
pub(super) fn below(mailbox: &MailboxName, name: &str) -> Result<MailboxName> {
    let name = if mailbox.is_inbox() { name.to_owned() } else { format!("{mailbox}/{name}") };
    MailboxName::new(&name).map_err(|source| StorageError::InvalidName { name, source })
}

/// Whether there are such files in a folder or below it.
pub(super) fn has_messages(fs: &dyn FileSystem, root: &Path) -> Result<bool> {
    let mut dirs = vec![(root.to_owned(), DEPTH_MAX)];
    while let Some((dir, depth)) = dirs.pop() {
        for entry in fs.read_dir(&dir)? {
            let path = dir.join(&entry.name);
            match entry.kind {
                FileKind::File if is_message(&path) => return Ok(true),
                FileKind::Dir if depth > 0 => dirs.push((path, depth - 1)),
                _ => {}
            }
        }
    }
    Ok(false)
}

impl Source for EmlFolder<'_> {
    fn size(&self) -> u64 {
        self.size
    }

    fn done(&self) -> u64 {
        self.done
    }

    fn next(&mut self) -> Result<Option<Found>> {
        let Some((mailbox, path, len)) = self.files.pop_front() else { return Ok(None) };
        self.done += len;
        Ok(Some(match self.message(mailbox, &path) {
            Ok(message) => Found::Message(message),
            Err(error) => Found::Broken(ImportFailure { what: path.display().to_string(), error }),
        }))
    }
}

/// Whether a folder has a folder of that name.
pub(super) fn has_dir(fs: &dyn FileSystem, dir: &Path, name: &str) -> Result<bool> {
    Ok(fs.is_dir(&dir.join(name))?)
}
