//! A Maildir++ tree: a folder a mailbox, a file a message, flags and keywords in names (`docs/formats/maildir.md`).

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use mailfs::{FileSystem, FileSystemExt as _};
use mailtypes::{Flag, Keyword, MailboxName, mutf7};

use super::{
    Destination, Message, WriteError,
    eml_folder::{DIR_MODE, time_of},
    text::{BareLineEnds, LfLines, NewFile, each_piece},
};
use crate::traits::{Body, Result, StorageError};

/// Letters that can stand for keywords; further ones are not exported.
const LETTERS: usize = 26;
/// Longest file of keyword names that is read, in bytes.
const KEYWORDS_LEN_MAX: u64 = 64 << 10;
/// Names the keywords.
const KEYWORDS: &str = "dovecot-keywords";

/// See the module.
pub(super) struct MaildirTree<'a> {
    fs: &'a dyn FileSystem,
    root: PathBuf,
    dir: PathBuf,
    /// What stands in front of the first comma or colon of the names that are there, and in how many.
    there: HashMap<Vec<u8>, u32>,
    keywords: Vec<(usize, Keyword)>,
}

impl<'a> MaildirTree<'a> {
    pub(super) fn new(fs: &'a dyn FileSystem, root: &Path) -> Self {
        Self { fs, root: root.to_owned(), dir: root.to_owned(), there: HashMap::new(), keywords: Vec::new() }
    }

    fn info(&mut self, message: &Message) -> String {
        // Letters stand in ASCII order.
        let flags =
            [(Flag::Draft, 'D'), (Flag::Flagged, 'F'), (Flag::Answered, 'R'), (Flag::Seen, 'S'), (Flag::Deleted, 'T')];
        let mut info: String =
            flags.into_iter().filter_map(|(flag, letter)| message.flags.contains(flag).then_some(letter)).collect();
        let mut letters: Vec<char> = message.keywords.iter().filter_map(|keyword| self.letter(keyword)).collect();
        letters.sort_unstable();
        info.extend(letters);
        info
    }

    fn letter(&mut self, keyword: &Keyword) -> Option<char> {
        let known = self.keywords.iter().find(|(_, known)| known == keyword).map(|(number, _)| *number);
        let number = match known {
            Some(number) => number,
            None => {
                let free = (0..LETTERS).find(|number| self.keywords.iter().all(|(taken, _)| taken != number))?;
                self.keywords.push((free, keyword.clone()));
                free
            }
        };
        u8::try_from(number).ok().map(|number| char::from(b'a' + number))
    }

    fn read_keywords(&self) -> Result<Vec<(usize, Keyword)>> {
        let text = match self.fs.read_all(&self.dir.join(KEYWORDS), KEYWORDS_LEN_MAX) {
            Err(e) if e.is_not_found() => Vec::new(),
            text => text?,
        };
        let text = String::from_utf8_lossy(&text).into_owned();
        let entry = |line: &str| {
            let (number, name) = line.split_once(' ')?;
            Some((number.parse().ok().filter(|&number| number < LETTERS)?, Keyword::new(name).ok()?))
        };
        Ok(text.lines().filter_map(entry).collect())
    }
}

/// The folder's name of a mailbox other than INBOX.
fn dir_name(mailbox: &MailboxName) -> std::result::Result<String, WriteError> {
    let mut name = String::new();
    for level in mailbox.levels() {
        let level = mutf7::encode(level);
        if level.contains('.') {
            let text = "a level with a dot in a Maildir++ tree".to_owned();
            return Err(WriteError::Source(StorageError::Unsupported(text)));
        }
        name.push('.');
        name.push_str(&level);
    }
    Ok(name)
}

/// What names a message for good. Copies in one mailbox share their GUID, so that the UID must be there; so long that who
/// goes by names meets messages of one second in their order.
fn unique(message: &Message) -> String {
    let (date, uid_validity, uid) = (message.date.unix, message.uid_validity.value(), message.uid.value());
    match message.guid {
        Some(guid) => format!("{date}.V{uid_validity}U{uid:010}.{guid}.culver"),
        None => format!("{date}.V{uid_validity}U{uid:010}.culver"),
    }
}

/// What exports of the first form named a message, and its copies alike.
fn former_name(message: &Message) -> String {
    let (date, uid_validity, uid) = (message.date.unix, message.uid_validity.value(), message.uid.value());
    match message.guid {
        Some(guid) => format!("{date}.{guid}.culver"),
        None => format!("{date}.V{uid_validity}U{uid}.culver"),
    }
}

impl Destination for MaildirTree<'_> {
    fn begin(&mut self, mailbox: &MailboxName) -> std::result::Result<(), WriteError> {
        self.dir = if mailbox.is_inbox() { self.root.clone() } else { self.root.join(dir_name(mailbox)?) };
        for sub in ["tmp", "new", "cur"] {
            self.fs.create_dir_all(&self.dir.join(sub), DIR_MODE)?;
        }
        if !mailbox.is_inbox() {
            self.fs.write_atomic(&self.dir.join("maildirfolder"), b"", 0o600, false)?;
        }
        self.there.clear();
        for sub in ["new", "cur"] {
            for entry in self.fs.read_dir(&self.dir.join(sub))? {
                let name = entry.name.as_encoded_bytes();
                let base = name.split(|c| b",:".contains(c)).next().unwrap_or_default();
                *self.there.entry(base.to_vec()).or_default() += 1;
            }
        }
        self.keywords = self.read_keywords().map_err(WriteError::Destination)?;
        Ok(())
    }

    fn has(&mut self, message: &Message) -> bool {
        if self.there.contains_key(unique(message).as_bytes()) {
            return true;
        }
        // A file of the first form is one message, whichever of the copies.
        match self.there.get_mut(former_name(message).as_bytes()).filter(|files| **files > 0) {
            Some(files) => {
                *files -= 1;
                true
            }
            None => false,
        }
    }

    fn write(&mut self, message: &Message, body: &mut dyn Body) -> std::result::Result<(), WriteError> {
        let (unique, info) = (unique(message), self.info(message));
        let mut file = NewFile::create(self.fs, self.dir.join("tmp").join(&unique))?;
        let (mut lines, mut bare) = (LfLines::default(), BareLineEnds::default());
        let written = each_piece(body, |piece| {
            let from = file.buffer().len();
            lines.write(piece, file.buffer());
            bare.read(file.buffer().get(from..).unwrap_or_default());
            Ok(file.flush_if_long()?)
        });
        if let Err(error) = written {
            file.discard(self.fs);
            return Err(error);
        }
        lines.finish(file.buffer());
        // The sizes of what is written: what the store has noted of the message may be wrong.
        let (size, with_crlf) = (file.len(), file.len() + bare.count);
        let name = format!("{unique},S={size},W={with_crlf}:2,{info}");
        file.finish(self.fs, &self.dir.join("cur").join(name), time_of(message.date))?;
        *self.there.entry(unique.into_bytes()).or_default() += 1;
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        if !self.keywords.is_empty() {
            self.keywords.sort_unstable_by_key(|(number, _)| *number);
            let text: String = self.keywords.iter().map(|(number, keyword)| format!("{number} {keyword}\n")).collect();
            self.fs.write_atomic(&self.dir.join(KEYWORDS), text.as_bytes(), 0o600, true)?;
        }
        Ok(self.fs.sync_dir(&self.dir.join("cur"))?)
    }
}
