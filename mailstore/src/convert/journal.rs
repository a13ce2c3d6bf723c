//! What a conversion has done, as far as the destination itself does not tell: which mailboxes were begun, and what each
//! was like when it was done, so that a change by others is seen, and a mailbox that the source has no more.
//!
//! A text of lines that are only added, the last of a mailbox counting:
//!
//! ```text
//! culver-convert 1
//! B <guid> <name> <uidvalidity> <modseq> <UIDs or ->         begun: what is there may be half done; the source's in it
//! P <guid> <modseq> <UIDs>                                   put there since, or changed there, by a conversion
//! D <guid> <name> <source> <destination> <failed UIDs or ->  done; each: uidvalidity,uidnext,modseq,messages
//! X <guid>                                                   deleted
//! S <name>…                                                  the subscriptions that were converted
//! ```
//!
//! Fields are separated by tabs, names in modified UTF-7. A `P` is written when the commit is done, so that what it names
//! is known to be the conversion's, and not what somebody else has put there under the same UID. The modseq is the
//! mailbox's then: what has a larger one was changed since.
//!
//! A line that cannot be read never gives a right: of its mailbox nothing is known any more but that it was begun, and what
//! is in it must be shown to be the source's. What a crash has cut was not acted upon.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use mailfs::{FileHandle, FileSystem, FileSystemExt, OpenMode};
use mailtypes::{Guid, MailboxName, ModSeq, Uid, UidSet, UidValidity, mutf7};

use super::ours::{Ours, Set, parse_put, parse_set};
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
    /// How far it is.
    pub(super) phase: Phase,
}

/// How far a mailbox is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Phase {
    /// It was begun and not done; of these messages of the destination it is known whose they are.
    Begun(Ours),
    /// What it was like when it was done.
    Done(Done),
}

impl Entry {
    pub(super) fn done(&self) -> Option<&Done> {
        match &self.phase {
            Phase::Done(done) => Some(done),
            Phase::Begun(_) => None,
        }
    }
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

impl Done {
    fn parse<'a>(fields: &mut impl Iterator<Item = &'a str>) -> Option<Self> {
        let (source, destination) = (Mark::parse(fields.next()?)?, Mark::parse(fields.next()?)?);
        Some(Self { source, destination, failed: parse_set(fields.next()?)? })
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
        let kind = fields.next();
        if kind == Some("S") {
            self.subscriptions = fields.filter_map(decode).collect();
            return;
        }
        let Some(guid) = fields.next().and_then(|guid| Guid::parse(guid.as_bytes()).ok()) else { return };
        match kind {
            Some("P") => {
                if let (Some(put), Some(ours)) = (parse_put(&mut fields), self.begun(guid)) {
                    ours.put(put);
                }
            }
            Some(kind @ ("B" | "D")) => {
                let name = fields.next().and_then(decode);
                let phase = match kind {
                    "B" => Ours::parse(&mut fields).map(Phase::Begun),
                    _ => Done::parse(&mut fields).map(Phase::Done),
                };
                match name.zip(phase) {
                    Some((name, phase)) => self.entries.insert(guid, Entry { name, phase }),
                    None => self.entries.remove(&guid),
                };
            }
            Some("X") => {
                self.entries.remove(&guid);
            }
            _ => {}
        }
    }

    fn begun(&mut self, guid: Guid) -> Option<&mut Ours> {
        match &mut self.entries.get_mut(&guid)?.phase {
            Phase::Begun(ours) => Some(ours),
            Phase::Done(_) => None,
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

    /// A mailbox is about to be changed, in which so much is known to be the source's; durable when it returns.
    pub(super) fn begin(&mut self, guid: Guid, name: &MailboxName, ours: Ours) -> Result<()> {
        let lines = ours.write(guid, name);
        let entry = Entry { name: name.clone(), phase: Phase::Begun(ours) };
        if self.entries.get(&guid) == Some(&entry) {
            return Ok(());
        }
        self.entries.insert(guid, entry);
        self.append(&lines, true)
    }

    /// Messages were put into a mailbox that was begun, or changed there. May be lost in a power cut, and the knowledge
    /// with it.
    pub(super) fn put(&mut self, guid: Guid, modseq: ModSeq, uids: UidSet) -> Result<()> {
        let Some(ours) = self.begun(guid).filter(|_| !uids.is_empty()) else { return Ok(()) };
        let line = format!("P\t{guid}\t{}\t{uids}\n", modseq.value());
        ours.put((modseq, uids));
        self.append(&line, false)
    }

    /// A mailbox is as in the source.
    pub(super) fn done(&mut self, guid: Guid, name: &MailboxName, done: Done) -> Result<()> {
        let mut line = format!("D\t{guid}\t{}\t", mutf7::encode(name.as_str()));
        done.source.write(&mut line);
        line.push('\t');
        done.destination.write(&mut line);
        line += &format!("\t{}\n", Set(&done.failed));
        self.entries.insert(guid, Entry { name: name.clone(), phase: Phase::Done(done) });
        self.append(&line, true)
    }

    /// A mailbox has another name in the destination.
    pub(super) fn renamed(&mut self, guid: Guid, name: &MailboxName) -> Result<()> {
        match self.entries.get(&guid).cloned() {
            Some(entry) if entry.name == *name => Ok(()),
            Some(Entry { phase: Phase::Done(done), .. }) => self.done(guid, name, done),
            Some(Entry { phase: Phase::Begun(ours), .. }) => self.begin(guid, name, ours),
            None => Ok(()),
        }
    }

    /// A mailbox was deleted in the destination.
    pub(super) fn deleted(&mut self, guid: Guid) -> Result<()> {
        self.entries.remove(&guid);
        self.append(&format!("X\t{guid}\n"), true)
    }

    pub(super) fn subscribed(&mut self, names: Vec<MailboxName>) -> Result<()> {
        if names == self.subscriptions {
            return Ok(());
        }
        let line: String = names.iter().map(|name| format!("\t{}", mutf7::encode(name.as_str()))).collect();
        self.subscriptions = names;
        self.append(&format!("S{line}\n"), true)
    }

    fn append(&mut self, lines: &str, durable: bool) -> Result<()> {
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
        handle.write_at(lines.as_bytes(), file.len)?;
        if durable {
            handle.sync_data()?;
        }
        file.len += lines.len() as u64;
        Ok(())
    }
}

fn decode(name: &str) -> Option<MailboxName> {
    MailboxName::new(&mutf7::decode(name.as_bytes()).ok()?).ok()
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

    fn modseq(n: u64) -> ModSeq {
        ModSeq::new(n).unwrap()
    }

    fn set(uids: &[u32]) -> UidSet {
        uids.iter().filter_map(|uid| Uid::new(*uid)).collect()
    }

    fn ours(uid_validity: u32, uids: &[u32]) -> Ours {
        Ours::new(UidValidity::new(uid_validity).unwrap(), modseq(5), set(uids))
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
        // However many they are.
        let failed: UidSet = (2..50_000).step_by(2).filter_map(Uid::new).collect();
        let done = Done { source: mark(7), destination: mark(8), failed };
        journal.begin(Guid([1; 16]), &name("Überblick & Co/x y"), ours(1, &[])).unwrap();
        journal.put(Guid([1; 16]), modseq(3), set(&[1])).unwrap();
        journal.done(Guid([1; 16]), &name("Überblick & Co/x y"), done.clone()).unwrap();
        journal.begin(Guid([2; 16]), &name("b2"), ours(7, &[1, 2, 3])).unwrap();
        journal.put(Guid([2; 16]), modseq(9), set(&[3, 4])).unwrap();
        journal.renamed(Guid([2; 16]), &name("b")).unwrap();
        journal.begin(Guid([3; 16]), &name("c"), ours(1, &[])).unwrap();
        journal.deleted(Guid([3; 16])).unwrap();
        journal.renamed(Guid([1; 16]), &name("z")).unwrap();
        journal.subscribed(vec![name("z"), name("y & x")]).unwrap();
        let read = Journal::open(&fs, "/j".into()).unwrap();
        assert_eq!((&read.entries, &read.subscriptions), (&journal.entries, &journal.subscriptions));
        assert_eq!(read.entry(Guid([1; 16])), Some(&Entry { name: name("z"), phase: Phase::Done(done) }));
        let entry = read.entry(Guid([2; 16])).unwrap();
        let Entry { phase: Phase::Begun(ours), .. } = entry else { panic!("{entry:?}") };
        assert!(ours.is_of(UidValidity::new(7).unwrap()) && entry.name == name("b"));
        let known = [(2, 5), (2, 6), (3, 6), (4, 9), (4, 10), (5, 1)];
        let known = known.map(|(uid, at)| ours.is_unchanged(Uid::new(uid).unwrap(), modseq(at)));
        assert_eq!(known, [Some(true), Some(false), Some(true), Some(true), Some(false), None]);
    }

    #[test]
    fn a_line_that_cannot_be_read_gives_no_right() {
        let guid = Guid([1; 16]);
        let done = format!("D\t{guid}\ta\t1,2,3,4\t1,2,3,4\t-");
        let begun = format!("B\t{guid}\ta\t1\t5\t1:3");
        for before in [&done, &begun] {
            for bad in ["B\ta", "B\ta\t1\t5\tx", "B\ta\t0\t5\t1", "D\ta\t1,2,3,4\t1,2,3,4\t", "D\ta\t1,2,3\t1,2,3,4\t-"]
            {
                let mut journal = Journal::in_memory();
                journal.read_line(before);
                assert!(journal.entry(guid).is_some());
                let (kind, rest) = bad.split_once('\t').unwrap();
                journal.read_line(&format!("{kind}\t{guid}\t{rest}"));
                assert_eq!(journal.entry(guid), None, "{bad}");
            }
        }
        // What was put is known, or is not.
        let mut journal = Journal::in_memory();
        for line in [&begun, &format!("P\t{guid}\t9\t7,x"), &format!("P\t{guid}\t9"), &format!("P\t{guid}\t9\t8")] {
            journal.read_line(line);
        }
        let ours = journal.begun(guid).unwrap();
        assert_eq!(ours.all(), [(modseq(5), set(&[1, 2, 3])), (modseq(9), set(&[8]))]);
    }

    #[test]
    fn a_cut_line_is_as_if_it_were_not_there() {
        let (fs, mut journal) = made();
        journal.begin(Guid([1; 16]), &name("a"), ours(1, &[])).unwrap();
        let whole = fs.read_all(Path::new("/j"), 1000).unwrap();
        journal.begin(Guid([2; 16]), &name("b"), ours(1, &[4])).unwrap();
        let bytes = fs.read_all(Path::new("/j"), 1000).unwrap();
        for len in whole.len()..bytes.len() {
            fs.write_atomic(Path::new("/j"), &bytes[..len], 0o600, true).unwrap();
            let mut read = Journal::open(&fs, "/j".into()).unwrap();
            assert_eq!(read.entries.len(), 1, "{len}");
            read.begin(Guid([2; 16]), &name("b"), ours(1, &[4])).unwrap();
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
        Journal::open(&fs, path.clone()).unwrap().begin(Guid([1; 16]), &name("a"), ours(1, &[])).unwrap();
        assert!(Journal::open(&fs, path).unwrap().entry(Guid([1; 16])).is_some());
    }

    #[test]
    fn any_lines_are_read() {
        for line in [
            "",
            "B",
            "B\tx",
            "D\t\t",
            "S",
            "S\t\t&x",
            "P",
            "P\t1\t2",
            "D\t01010101010101010101010101010101\ta\t1,2",
            "X\t-",
        ] {
            Journal::in_memory().read_line(line);
        }
    }
}
