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
    folders::{self, Descent, Folders, leads_nowhere, note},
    source::{Found, Message, Source},
};
use crate::traits::Result;

/// Longest file of keyword names that is read, in bytes.
const KEYWORDS_LEN_MAX: u64 = 64 << 10;
/// Letters that can stand for keywords.
const LETTERS: usize = 26;

/// See the module.
pub(super) struct MaildirTree<'a> {
    fs: &'a dyn FileSystem,
    mailboxes: VecDeque<Maildir>,
    /// The mailbox whose messages come at the time.
    name: MailboxName,
    files: VecDeque<PathBuf>,
    keywords: Vec<Option<Keyword>>,
    /// Folders that cannot be taken in.
    failures: Vec<ImportFailure>,
    /// Messages, for want of a sum of bytes that would cost a look at each file.
    done: u64,
    total: u64,
}

/// A mailbox that was found.
struct Maildir {
    name: MailboxName,
    dir: PathBuf,
    count: u64,
}

impl<'a> MaildirTree<'a> {
    pub(super) fn open(fs: &'a dyn FileSystem, root: &Path, options: &ImportOptions) -> Result<Self> {
        let mut search = Search::new(fs);
        search.folder(root, &options.into, None)?;
        let Search { found, failures, .. } = search;
        Ok(Self {
            fs,
            total: found.iter().map(|maildir| maildir.count).sum(),
            mailboxes: found.into(),
            name: options.into.clone(),
            files: VecDeque::new(),
            keywords: Vec::new(),
            failures,
            done: 0,
        })
    }

    fn begin(&mut self, maildir: &Maildir) -> Result<()> {
        self.name = maildir.name.clone();
        self.keywords = keywords(self.fs, &maildir.dir.join("dovecot-keywords"))?;
        let mut files = Vec::new();
        for sub in ["cur", "new"] {
            let sub = maildir.dir.join(sub);
            files.extend(names(self.fs, &sub)?.into_iter().map(|name| sub.join(name)));
        }
        // Names begin with the time of arrival; every run must meet the messages in the same order.
        files.sort_by_key(|path| base_name(path));
        self.files = files.into();
        Ok(())
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
    let mut search = Search::new(fs);
    search.folder(root, &MailboxName::inbox(), None)?;
    Ok(!search.found.is_empty())
}

fn is_maildir(fs: &dyn FileSystem, dir: &Path) -> Result<bool> {
    Ok(has_dir(fs, dir, "cur")? && has_dir(fs, dir, "new")?)
}

/// Collects Maildirs.
struct Search<'a> {
    fs: &'a dyn FileSystem,
    folders: Folders<'a>,
    found: Vec<Maildir>,
    failures: Vec<ImportFailure>,
}

impl<'a> Search<'a> {
    fn new(fs: &'a dyn FileSystem) -> Self {
        Self { fs, folders: Folders::new(fs), found: Vec::new(), failures: Vec::new() }
    }

    /// Looks into a folder and below it, as deep as [`Folders::enter`] lets it.
    fn folder(&mut self, dir: &Path, name: &MailboxName, above: Option<&Descent>) -> Result<()> {
        let is_root = above.is_none();
        let entered = self.folders.enter(dir, above.unwrap_or(&Descent::default()))?;
        let Some((entries, here)) = entered else { return Ok(()) };
        if is_maildir(self.fs, dir)? {
            let outcome = self.maildir(dir, name);
            note(&mut self.failures, dir, outcome)?;
        }
        for entry in entries {
            let text = entry.name.to_string_lossy();
            let path = dir.join(&entry.name);
            let outcome = match (entry.kind, text.strip_prefix('.')) {
                (FileKind::Symlink, _) => Err(leads_nowhere()),
                // Maildir++: all levels in one name.
                (FileKind::Dir, Some(levels)) if is_root => self.flat(&path, name, levels),
                (FileKind::Dir, None) if !matches!(&*text, "cur" | "new" | "tmp") => {
                    below(name, &decoded(&text)).and_then(|name| self.folder(&path, &name, Some(&here)))
                }
                _ => Ok(()),
            };
            note(&mut self.failures, &path, outcome)?;
        }
        Ok(())
    }

    fn flat(&mut self, dir: &Path, above: &MailboxName, levels: &str) -> Result<()> {
        if !is_maildir(self.fs, dir)? {
            return Ok(());
        }
        self.maildir(dir, &below(above, &decoded(levels).replace('.', "/"))?)
    }

    fn maildir(&mut self, dir: &Path, name: &MailboxName) -> Result<()> {
        let mut count = 0;
        for sub in ["cur", "new"] {
            count += names(self.fs, &dir.join(sub))?.len() as u64;
        }
        self.found.push(Maildir { name: name.clone(), dir: dir.to_owned(), count });
        Ok(())
    }
}

/// A level's name, as it stands there if it is no modified UTF-7.
fn decoded(level: &str) -> String {
    mutf7::decode(level.as_bytes()).unwrap_or_else(|_| level.to_owned())
}

fn names(fs: &dyn FileSystem, dir: &Path) -> Result<Vec<std::ffi::OsString>> {
    let entries = match folders::read_dir(fs, dir) {
        Err(e) if e.is_not_found() => return Ok(Vec::new()),
        entries => entries?,
    };
    // A link that leads nowhere is told of when it is opened.
    let is_message = |entry: &mailfs::DirEntry| {
        matches!(entry.kind, FileKind::File | FileKind::Symlink) && !entry.name.as_encoded_bytes().starts_with(b".")
    };
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
            let (path, outcome) = if let Some(path) = self.files.pop_front() {
                self.done += 1;
                let message = self.message(&path);
                (path, message)
            } else if let Some(maildir) = self.mailboxes.pop_front() {
                let Err(error) = self.begin(&maildir) else { continue };
                self.done += maildir.count;
                (maildir.dir, Err(error))
            } else {
                return Ok(self.failures.pop().map(Found::Broken));
            };
            return Ok(Some(match outcome {
                Ok(message) => Found::Message(message),
                // It may be that another program gave it another name, or took it: it comes with the next run.
                Err(error) => Found::Broken(ImportFailure { what: path.display().to_string(), error }),
            }));
        }
    }
}
