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
    folders::{Descent, Folders, leads_nowhere, note},
    source::{Found, Message, Source},
};
use crate::traits::{Result, StorageError};

/// How much of a message is read for its date.
const HEADER_LEN_MAX: usize = 64 << 10;

/// See the module.
pub(super) struct EmlFolder<'a> {
    fs: &'a dyn FileSystem,
    dates: EmlDates,
    files: VecDeque<(MailboxName, PathBuf, u64)>,
    /// Folders that cannot be taken in.
    failures: Vec<ImportFailure>,
    size: u64,
    done: u64,
}

impl<'a> EmlFolder<'a> {
    pub(super) fn open(fs: &'a dyn FileSystem, root: &Path, options: &ImportOptions) -> Result<Self> {
        let mut source =
            Self { fs, dates: options.eml_dates, files: VecDeque::new(), failures: Vec::new(), size: 0, done: 0 };
        source.list(&mut Folders::new(fs), root, &options.into, &Descent::default())?;
        Ok(source)
    }

    /// Goes through a folder, as deep as [`Folders::enter`] lets it.
    fn list(&mut self, folders: &mut Folders<'_>, dir: &Path, mailbox: &MailboxName, above: &Descent) -> Result<()> {
        let Some((entries, here)) = folders.enter(dir, above)? else { return Ok(()) };
        for entry in entries {
            let path = dir.join(&entry.name);
            match entry.kind {
                // A link that leads nowhere is told of when it is opened.
                FileKind::File | FileKind::Symlink if is_message(&path) => {
                    let len = self.fs.metadata(&path).ok().flatten().map_or(0, |metadata| metadata.len);
                    self.size += len;
                    self.files.push_back((mailbox.clone(), path, len));
                }
                FileKind::Dir => {
                    let listed = below(mailbox, &entry.name.to_string_lossy())
                        .and_then(|mailbox| self.list(folders, &path, &mailbox, &here));
                    note(&mut self.failures, &path, listed)?;
                }
                FileKind::Symlink => note(&mut self.failures, &path, Err(leads_nowhere()))?,
                FileKind::File | FileKind::Other => {}
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

/// Whether there are such files in a folder or below it. What cannot be read has none.
pub(super) fn has_messages(fs: &dyn FileSystem, root: &Path) -> Result<bool> {
    let mut folders = Folders::new(fs);
    let mut open = vec![(root.to_owned(), Descent::default())];
    while let Some((dir, above)) = open.pop() {
        let (entries, here) = match folders.enter(&dir, &above) {
            Err(error @ StorageError::Limit { .. }) => return Err(error),
            Err(error) if dir == root => return Err(error),
            Err(_) | Ok(None) => continue,
            Ok(Some(entered)) => entered,
        };
        for entry in entries {
            let path = dir.join(&entry.name);
            match entry.kind {
                FileKind::File if is_message(&path) => return Ok(true),
                FileKind::Dir => open.push((path, here.clone())),
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
        let Some((mailbox, path, len)) = self.files.pop_front() else {
            return Ok(self.failures.pop().map(Found::Broken));
        };
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
