//! A Maildir with the mailboxes in it as a source (`docs/formats/maildir.md`). Unlike the backend this one takes the
//! folders as anybody's: no index and no uidlist is read, and nothing is moved from `new` to `cur`.

use std::{
    collections::VecDeque,
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use mailfs::{FileKind, FileSystem, FileSystemExt as _, OpenMode};
use mailtypes::{Flag, Flags, InternalDate, Keyword, MailboxName, mutf7};

use super::{
    ImportFailure, ImportOptions,
    content::Content,
    eml_folder::{below, has_dir},
    source::{Found, Message, Source},
};
use crate::traits::{Result, StorageError};

/// How deep folders are looked into.
const DEPTH_MAX: usize = MailboxName::LEVELS_MAX;
/// Longest file of keyword names that is read, in bytes.
const KEYWORDS_LEN_MAX: u64 = 64 << 10;
/// Letters that can stand for keywords.
const LETTERS: usize = 26;

/// See the module.
pub(super) struct MaildirTree<'a> {
    fs: &'a dyn FileSystem,
    mailboxes: VecDeque<(MailboxName, PathBuf)>,
    /// The mailbox whose messages come at the time.
    name: MailboxName,
    files: VecDeque<PathBuf>,
    keywords: Vec<Option<Keyword>>,
    /// Mailboxes, for want of a sum of bytes that would cost a look at each file.
    done: u64,
    total: u64,
}

impl<'a> MaildirTree<'a> {
    pub(super) fn open(fs: &'a dyn FileSystem, root: &Path, options: &ImportOptions) -> Result<Self> {
        let mut mailboxes = Vec::new();
        find(fs, root, &options.into, true, DEPTH_MAX, &mut mailboxes)?;
        let mut total = 0;
        for (_, dir) in &mailboxes {
            for sub in ["cur", "new"] {
                total += names(fs, &dir.join(sub))?.len() as u64;
            }
        }
        Ok(Self {
            fs,
            mailboxes: mailboxes.into(),
            name: options.into.clone(),
            files: VecDeque::new(),
            keywords: Vec::new(),
            done: 0,
            total,
        })
    }

    /// Begins with the next mailbox; `false` behind the last.
    fn next_mailbox(&mut self) -> Result<bool> {
        let Some((name, dir)) = self.mailboxes.pop_front() else { return Ok(false) };
        self.name = name;
        self.keywords = keywords(self.fs, &dir.join("dovecot-keywords"))?;
        let mut files = Vec::new();
        for sub in ["cur", "new"] {
            let sub = dir.join(sub);
            files.extend(names(self.fs, &sub)?.into_iter().map(|name| sub.join(name)));
        }
        // Names begin with the time of arrival; every run must meet the messages in the same order.
        files.sort_by_key(|path| base_name(path));
        self.files = files.into();
        Ok(true)
    }

    fn message(&self, path: &Path) -> Result<Message> {
        let file = self.fs.open(path, OpenMode::Read)?;
        let metadata = file.metadata()?;
        let since = metadata.modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let (flags, keywords) = self.flags(path);
        Ok(Message {
            mailbox: self.name.clone(),
            what: path.display().to_string(),
            content: Content { header: Vec::new(), range: 0..metadata.len, file, quoted: false },
            date: Some(InternalDate::utc(i64::try_from(since).unwrap_or(0))),
            flags,
            keywords,
        })
    }

    fn flags(&self, path: &Path) -> (Flags, Vec<Keyword>) {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let letters = name.rsplit_once(":2,").map_or("", |(_, letters)| letters);
        let letters = letters.split(',').next().unwrap_or_default();
        let (mut flags, mut keywords) = (Flags::NONE, Vec::new());
        for letter in letters.bytes() {
            match letter {
                b'D' => flags = flags | Flag::Draft.into(),
                b'F' => flags = flags | Flag::Flagged.into(),
                b'R' => flags = flags | Flag::Answered.into(),
                b'S' => flags = flags | Flag::Seen.into(),
                b'T' => flags = flags | Flag::Deleted.into(),
                b'a'..=b'z' => keywords.extend(self.keywords.get(usize::from(letter - b'a')).cloned().flatten()),
                _ => {}
            }
        }
        (flags, keywords)
    }
}

/// Whether a folder is a Maildir, or has one in it.
pub(super) fn is_tree(fs: &dyn FileSystem, root: &Path) -> Result<bool> {
    let mut found = Vec::new();
    find(fs, root, &MailboxName::inbox(), true, DEPTH_MAX, &mut found)?;
    Ok(!found.is_empty())
}

fn is_maildir(fs: &dyn FileSystem, dir: &Path) -> Result<bool> {
    Ok(has_dir(fs, dir, "cur")? && has_dir(fs, dir, "new")?)
}

/// Collects the Maildirs in a folder and below it.
fn find(
    fs: &dyn FileSystem,
    dir: &Path,
    name: &MailboxName,
    is_root: bool,
    depth: usize,
    found: &mut Vec<(MailboxName, PathBuf)>,
) -> Result<()> {
    if is_maildir(fs, dir)? {
        found.push((name.clone(), dir.to_owned()));
    }
    let mut entries = fs.read_dir(dir)?;
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    for entry in entries.into_iter().filter(|entry| entry.kind == FileKind::Dir) {
        let text = entry.name.to_string_lossy();
        let path = dir.join(&entry.name);
        match text.strip_prefix('.') {
            // Maildir++: all levels in one name.
            Some(levels) if is_root && is_maildir(fs, &path)? => {
                let name = below(name, &decoded(levels).replace('.', "/"))?;
                found.push((name, path));
            }
            None if depth > 0 && !matches!(&*text, "cur" | "new" | "tmp") => {
                find(fs, &path, &below(name, &decoded(&text))?, false, depth - 1, found)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// A level's name, as it stands there if it is no modified UTF-7.
fn decoded(level: &str) -> String {
    mutf7::decode(level.as_bytes()).unwrap_or_else(|_| level.to_owned())
}

fn names(fs: &dyn FileSystem, dir: &Path) -> Result<Vec<std::ffi::OsString>> {
    let entries = match fs.read_dir(dir) {
        Err(e) if e.is_not_found() => return Ok(Vec::new()),
        entries => entries?,
    };
    let is_message =
        |entry: &mailfs::DirEntry| entry.kind == FileKind::File && !entry.name.as_encoded_bytes().starts_with(b".");
    Ok(entries.into_iter().filter(is_message).map(|entry| entry.name).collect())
}

fn base_name(path: &Path) -> Vec<u8> {
    let name = path.file_name().unwrap_or_default().as_encoded_bytes();
    name.split(|&c| c == b':').next().unwrap_or_default().to_vec()
}

fn keywords(fs: &dyn FileSystem, path: &Path) -> Result<Vec<Option<Keyword>>> {
    let text = match fs.read_all(path, KEYWORDS_LEN_MAX) {
        Err(e) if e.is_not_found() => return Ok(Vec::new()),
        text => text?,
    };
    let mut keywords = vec![None; LETTERS];
    for line in String::from_utf8_lossy(&text).lines() {
        let Some((number, name)) = line.split_once(' ') else { continue };
        let slot = number.parse().ok().and_then(|number: usize| keywords.get_mut(number));
        if let (Some(slot), Ok(keyword)) = (slot, Keyword::new(name)) {
            *slot = Some(keyword);
        }
    }
    Ok(keywords)
}

impl Source for MaildirTree<'_> {
    fn size(&self) -> u64 {
        self.total
    }

    fn done(&self) -> u64 {
        self.done
    }

    fn next(&mut self) -> Result<Option<Found>> {
        loop {
            let Some(path) = self.files.pop_front() else {
                if self.next_mailbox()? {
                    continue;
                }
                return Ok(None);
            };
            self.done += 1;
            return Ok(Some(match self.message(&path) {
                Ok(message) => Found::Message(message),
                // Another program gave it another name, or took it: it comes with the next run.
                Err(error @ StorageError::Io(_)) => {
                    Found::Broken(ImportFailure { what: path.display().to_string(), error })
                }
                Err(error) => return Err(error),
            }));
        }
    }
}
