//! What a conversion has done, as far as the destination itself does not tell: which mailboxes were begun, and what each
//! was like when it was done, so that a change by others is seen, and a mailbox that the source has no more.
//!
//! A text of lines that are only added, the last of a mailbox counting:
//!
//! ```text
//! culver-convert 1
//! B <guid> <name>                                            begun: what is there may be half done
//! D <guid> <name> <source> <destination> <failed UIDs or ->  done; each: uidvalidity,uidnext,modseq,messages
//! X <guid>                                                   deleted
//! S <name>…                                                  the subscriptions that were converted
//! ```
//!
//! Fields are separated by tabs, names in modified UTF-7. What cannot be read is passed over: a line that a crash has cut
//! costs a comparison of its mailbox, and no mail.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use mailfs::{FileHandle, FileSystem, FileSystemExt, OpenMode};
use mailtypes::{Guid, MailboxName, ModSeq, Uid, UidSet, UidValidity, mutf7};

use crate::{
    Format,
    mailbox_list::MBOX_INDEX_DIR,
    traits::{Result, Status, StorageError},
};

/// The file's first line.
const FIRST_LINE: &str = "culver-convert 1";

/// Longest file read.
const FILE_LEN_MAX: u64 = 256 << 20;

/// Mode of the file.
const MODE: u32 = 0o600;

/// Mode of its folder, where that is not there yet.
const FOLDER_MODE: u32 = 0o700;

/// Failed messages noted of a mailbox.
const FAILED_MAX: u64 = 10_000;

/// See the module.
#[derive(Debug, Default)]
pub struct Journal {
    entries: BTreeMap<Guid, Entry>,
    subscriptions: Vec<MailboxName>,
    file: Option<JournalFile>,
}

#[derive(Debug)]
struct JournalFile {
    fs: Arc<dyn FileSystem>,
    path: PathBuf,
    handle: Option<FileHandle>,
    len: u64,
}

/// A mailbox that was begun.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Entry {
    /// Its name in the destination.
    pub(super) name: MailboxName,
    /// What it was like when it was done; `None`: it was not.
    pub(super) done: Option<Done>,
}

/// What a mailbox was like when it was converted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Done {
    /// In the source.
    pub source: Mark,
    /// In the destination.
    pub destination: Mark,
    /// Messages that could not be converted.
    pub failed: UidSet,
}

/// What tells whether a mailbox was changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Mark {
    /// Its incarnation.
    pub uid_validity: UidValidity,
    /// The next UID.
    pub uid_next: Uid,
    /// The largest mod-sequence.
    pub highest_modseq: ModSeq,
    /// Messages.
    pub messages: u32,
}

impl From<&Status> for Mark {
    fn from(status: &Status) -> Self {
        let &Status { uid_validity, uid_next, highest_modseq, messages, .. } = status;
        Self { uid_validity, uid_next, highest_modseq, messages }
    }
}

impl Mark {
    fn write(&self, out: &mut String) {
        // Writing into a text does not fail.
        let _ = write!(
            out,
            "{},{},{},{}",
            self.uid_validity.value(),
            self.uid_next.value(),
            self.highest_modseq.value(),
            self.messages
        );
    }

    fn parse(text: &str) -> Option<Self> {
        let mut numbers = text.split(',').map(|number| number.parse::<u64>().ok());
        let mut next = || numbers.next().flatten();
        let mark = Self {
            uid_validity: UidValidity::new(u32::try_from(next()?).ok()?)?,
            uid_next: Uid::new(u32::try_from(next()?).ok()?)?,
            highest_modseq: ModSeq::new(next()?)?,
            messages: u32::try_from(next()?).ok()?,
        };
        numbers.next().is_none().then_some(mark)
    }
}

impl Journal {
    /// The file's name.
    pub const FILE_NAME: &str = ".culver.convert";

    /// Where that of a destination belongs, so that Dovecot takes it for no mailbox: in its folder; in an mbox store, where
    /// every file there is a mailbox, in the folder of the indexes.
    pub fn place(root: &Path, format: Format) -> PathBuf {
        match format {
            Format::Mbox => root.join(MBOX_INDEX_DIR).join(Self::FILE_NAME),
            _ => root.join(Self::FILE_NAME),
        }
    }

    /// One that lasts as long as this program.
    pub fn in_memory() -> Self {
        Self::default()
    }

    /// That in a file; nothing is written before something is done. A file that is none of these is refused.
    pub fn open(fs: &Arc<dyn FileSystem>, path: PathBuf) -> Result<Self> {
        let bytes = match fs.read_all(&path, FILE_LEN_MAX) {
            Err(e) if e.is_not_found() => Vec::new(),
            other => other?,
        };
        let mut journal = Self::default();
        let whole = memchr::memrchr(b'\n', &bytes).map_or(0, |at| at + 1);
        let text = String::from_utf8_lossy(bytes.get(..whole).unwrap_or_default()).into_owned();
        let mut lines = text.lines();
        if lines.next().is_some_and(|first| first != FIRST_LINE) {
            let what = "it is no journal of a conversion that is known here".to_owned();
            return Err(StorageError::Corrupt { path, offset: 0, what });
        }
        lines.for_each(|line| journal.read_line(line));
        journal.file = Some(JournalFile { fs: Arc::clone(fs), path, handle: None, len: whole as u64 });
        Ok(journal)
    }

    fn read_line(&mut self, line: &str) {
        let mut fields = line.split('\t');
        match fields.next() {
            Some("S") => self.subscriptions = fields.filter_map(decode).collect(),
            Some(kind) => {
                let Some(guid) = fields.next().and_then(|guid| Guid::parse(guid.as_bytes()).ok()) else { return };
                match (kind, fields.next().and_then(decode)) {
                    ("X", _) => {
                        self.entries.remove(&guid);
                    }
                    ("B", Some(name)) => {
                        self.entries.insert(guid, Entry { name, done: None });
                    }
                    ("D", Some(name)) => {
                        let done = parse_done(&mut fields);
                        self.entries.insert(guid, Entry { name, done });
                    }
                    _ => {}
                }
            }
            None => {}
        }
    }

    pub(super) fn entry(&self, guid: Guid) -> Option<&Entry> {
        self.entries.get(&guid)
    }

    /// What was converted, by GUID.
    pub(super) fn entries(&self) -> impl Iterator<Item = (Guid, &Entry)> {
        self.entries.iter().map(|(guid, entry)| (*guid, entry))
    }

    /// Names of the destination to which somebody was subscribed in the source.
    pub(super) fn subscriptions(&self) -> &[MailboxName] {
        &self.subscriptions
    }

    /// A mailbox is about to be changed; durable when it returns.
    pub(super) fn begin(&mut self, guid: Guid, name: &MailboxName) -> Result<()> {
        if self.entries.get(&guid).is_some_and(|entry| entry.name == *name && entry.done.is_none()) {
            return Ok(());
        }
        self.entries.insert(guid, Entry { name: name.clone(), done: None });
        self.append(&format!("B\t{guid}\t{}\n", mutf7::encode(name.as_str())))
    }

    /// A mailbox is as in the source.
    pub(super) fn done(&mut self, guid: Guid, name: &MailboxName, mut done: Done) -> Result<()> {
        if done.failed.count() > FAILED_MAX {
            done.failed = UidSet::new();
        }
        let mut line = format!("D\t{guid}\t{}\t", mutf7::encode(name.as_str()));
        done.source.write(&mut line);
        line.push('\t');
        done.destination.write(&mut line);
        let failed = if done.failed.is_empty() { "-".to_owned() } else { done.failed.to_string() };
        line += &format!("\t{failed}\n");
        self.entries.insert(guid, Entry { name: name.clone(), done: Some(done) });
        self.append(&line)
    }

    /// A mailbox has another name in the destination.
    pub(super) fn renamed(&mut self, guid: Guid, name: &MailboxName) -> Result<()> {
        match self.entries.get(&guid).cloned() {
            Some(Entry { done: Some(done), name: before }) if before != *name => self.done(guid, name, done),
            Some(Entry { done: None, name: before }) if before != *name => self.begin(guid, name),
            _ => Ok(()),
        }
    }

    /// A mailbox was deleted in the destination.
    pub(super) fn deleted(&mut self, guid: Guid) -> Result<()> {
        self.entries.remove(&guid);
        self.append(&format!("X\t{guid}\n"))
    }

    pub(super) fn subscribed(&mut self, names: Vec<MailboxName>) -> Result<()> {
        if names == self.subscriptions {
            return Ok(());
        }
        let line: String = names.iter().map(|name| format!("\t{}", mutf7::encode(name.as_str()))).collect();
        self.subscriptions = names;
        self.append(&format!("S{line}\n"))
    }

    fn append(&mut self, line: &str) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let handle = match &file.handle {
            Some(handle) => Arc::clone(handle),
            None => {
                if file.len == 0 {
                    if let Some(folder) = file.path.parent() {
                        file.fs.create_dir_all(folder, FOLDER_MODE)?;
                    }
                    let first = format!("{FIRST_LINE}\n");
                    file.fs.write_atomic(&file.path, first.as_bytes(), MODE, true)?;
                    file.len = first.len() as u64;
                }
                let handle = file.fs.open(&file.path, OpenMode::ReadWrite)?;
                // What a crash has cut.
                handle.set_len(file.len)?;
                Arc::clone(file.handle.insert(handle))
            }
        };
        handle.write_at(line.as_bytes(), file.len)?;
        handle.sync_data()?;
        file.len += line.len() as u64;
        Ok(())
    }
}

fn decode(name: &str) -> Option<MailboxName> {
    MailboxName::new(&mutf7::decode(name.as_bytes()).ok()?).ok()
}

fn parse_done<'a>(fields: &mut impl Iterator<Item = &'a str>) -> Option<Done> {
    let (source, destination) = (Mark::parse(fields.next()?)?, Mark::parse(fields.next()?)?);
    let mut failed = UidSet::new();
    for range in fields.next()?.split(',').filter(|range| *range != "-") {
        let (first, last) = range.split_once(':').unwrap_or((range, range));
        let uid = |text: &str| Uid::new(text.parse().ok()?);
        failed.insert_range(uid(first)?..=uid(last)?);
    }
    Some(Done { source, destination, failed })
}

#[cfg(test)]
mod tests {
    use mailfs::sim::SimDisk;

    use super::*;

    fn mark(n: u32) -> Mark {
        Mark {
            uid_validity: UidValidity::new(n).unwrap(),
            uid_next: Uid::new(n + 1).unwrap(),
            highest_modseq: ModSeq::new(u64::from(n) << 33).unwrap(),
            messages: n,
        }
    }

    fn name(name: &str) -> MailboxName {
        MailboxName::new(name).unwrap()
    }

    fn made() -> (Arc<dyn FileSystem>, Journal) {
        let fs: Arc<dyn FileSystem> = Arc::new(SimDisk::new());
        let journal = Journal::open(&fs, "/j".into()).unwrap();
        assert!(!fs.exists(Path::new("/j")).unwrap());
        (fs, journal)
    }

    #[test]
    fn what_was_written_is_read() {
        let (fs, mut journal) = made();
        let failed: UidSet = [3, 4, 9].into_iter().filter_map(Uid::new).collect();
        let done = Done { source: mark(7), destination: mark(8), failed };
        journal.begin(Guid([1; 16]), &name("Überblick & Co/x y")).unwrap();
        journal.done(Guid([1; 16]), &name("Überblick & Co/x y"), done.clone()).unwrap();
        journal.begin(Guid([2; 16]), &name("b")).unwrap();
        journal.begin(Guid([3; 16]), &name("c")).unwrap();
        journal.deleted(Guid([3; 16])).unwrap();
        journal.renamed(Guid([1; 16]), &name("z")).unwrap();
        journal.subscribed(vec![name("z"), name("y & x")]).unwrap();
        let read = Journal::open(&fs, "/j".into()).unwrap();
        assert_eq!((&read.entries, &read.subscriptions), (&journal.entries, &journal.subscriptions));
        assert_eq!(read.entry(Guid([1; 16])), Some(&Entry { name: name("z"), done: Some(done) }));
        assert_eq!(read.entry(Guid([2; 16])), Some(&Entry { name: name("b"), done: None }));
    }

    #[test]
    fn a_cut_line_is_as_if_it_were_not_there() {
        let (fs, mut journal) = made();
        journal.begin(Guid([1; 16]), &name("a")).unwrap();
        let whole = fs.read_all(Path::new("/j"), 1000).unwrap();
        journal.begin(Guid([2; 16]), &name("b")).unwrap();
        let bytes = fs.read_all(Path::new("/j"), 1000).unwrap();
        for len in whole.len()..bytes.len() {
            fs.write_atomic(Path::new("/j"), &bytes[..len], 0o600, true).unwrap();
            let mut read = Journal::open(&fs, "/j".into()).unwrap();
            assert_eq!(read.entries.len(), 1, "{len}");
            read.begin(Guid([2; 16]), &name("b")).unwrap();
            assert_eq!(fs.read_all(Path::new("/j"), 1000).unwrap(), bytes);
        }
        fs.write_atomic(Path::new("/j"), b"something else\n", 0o600, true).unwrap();
        assert!(Journal::open(&fs, "/j".into()).is_err());
    }

    #[test]
    fn a_folder_that_is_not_there_is_made() {
        let fs: Arc<dyn FileSystem> = Arc::new(SimDisk::new());
        let path = Journal::place(Path::new("/mail"), Format::Mbox);
        assert_eq!(path, Path::new("/mail/.imap/.culver.convert"));
        Journal::open(&fs, path.clone()).unwrap().begin(Guid([1; 16]), &name("a")).unwrap();
        assert!(Journal::open(&fs, path).unwrap().entry(Guid([1; 16])).is_some());
    }

    #[test]
    fn any_lines_are_read() {
        for line in ["", "B", "B\tx", "D\t\t", "S", "S\t\t&x", "D\t01010101010101010101010101010101\ta\t1,2", "X\t-"] {
            Journal::in_memory().read_line(line);
        }
    }
}
