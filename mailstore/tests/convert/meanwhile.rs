//! Mail that comes in the very moment between the conversion's last look at a mailbox and its end: it stays.

use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use mailfs::{FileSystem, FileSystemExt, OpenMode, sim::SimDisk};
use mailstore::{
    Format, Judged, Keeps, ListPattern, MailStorage, Mailbox, MailboxIdentity, MailboxInfo, OnlyIf, Result,
    convert::{ConvertOptions, ConvertSummary, FailureCause, Journal},
};
use mailtypes::MailboxName;

use crate::{
    converted::{FLAT, FORMATS, TREE, append, assert_same, env, memory, name, opened, run, run_with, set, store},
    meddled_disk::{MeddledDisk, Meddler},
};

const BOX: &str = "Work";

/// A store in which somebody does something just before a mailbox goes or is replaced.
struct Meddled {
    storage: Arc<dyn MailStorage>,
    meddle: Mutex<Option<Box<dyn FnOnce() + Send>>>,
}

impl Meddled {
    fn new(storage: &Arc<dyn MailStorage>, meddle: impl FnOnce() + Send + 'static) -> Self {
        Self { storage: Arc::clone(storage), meddle: Mutex::new(Some(Box::new(meddle))) }
    }

    fn meddle(&self) {
        let meddle = self.meddle.lock().unwrap().take();
        meddle.into_iter().for_each(|meddle| meddle());
    }
}

impl std::fmt::Debug for Meddled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.storage.fmt(f)
    }
}

impl MailStorage for Meddled {
    fn list(&self, pattern: &ListPattern) -> Result<Vec<MailboxInfo>> {
        self.storage.list(pattern)
    }
    fn mailbox(&self, name: &MailboxName) -> Result<Arc<dyn Mailbox>> {
        self.storage.mailbox(name)
    }
    fn create(&self, name: &MailboxName) -> Result<()> {
        self.storage.create(name)
    }
    fn delete(&self, name: &MailboxName) -> Result<()> {
        self.meddle();
        self.storage.delete(name)
    }
    fn delete_only_if(&self, name: &MailboxName, judged: &Judged) -> Result<()> {
        self.meddle();
        self.storage.delete_only_if(name, judged)
    }
    fn rename(&self, from: &MailboxName, to: &MailboxName) -> Result<()> {
        self.storage.rename(from, to)
    }
    fn subscribe(&self, name: &MailboxName) -> Result<()> {
        self.storage.subscribe(name)
    }
    fn unsubscribe(&self, name: &MailboxName) -> Result<()> {
        self.storage.unsubscribe(name)
    }
    fn subscriptions(&self) -> Result<Vec<MailboxName>> {
        self.storage.subscriptions()
    }
    fn replace(&self, name: &MailboxName, identity: &MailboxIdentity, only_if: OnlyIf) -> Result<()> {
        self.meddle();
        self.storage.replace(name, identity, only_if)
    }
    fn check_name(&self, name: &MailboxName) -> Result<()> {
        self.storage.check_name(name)
    }
    fn keeps(&self) -> Keeps {
        self.storage.keeps()
    }
}

const ROOT: &str = "/mail";
const LATE: &[u8] = b"From: late@example.com\nSubject: late\n\nlate\n";

/// Delivers as a program does that knows nothing of indexes.
fn deliver_to_files(fs: &dyn FileSystem, format: Format) {
    let path = match format {
        FLAT => "/mail/.Work/new/1.late.host",
        TREE => "/mail/Work/new/1.late.host",
        _ => "/mail/Work",
    };
    if format == Format::Mbox {
        let file = fs.open(Path::new(path), OpenMode::ReadWrite).unwrap();
        let message = [b"From late@example.com Mon Jan  1 00:00:00 2024\n", LATE, b"\n"].concat();
        file.write_at(&message, file.len().unwrap()).unwrap();
    } else {
        fs.write_atomic(Path::new(path), LATE, 0o600, true).unwrap();
    }
}

/// Ways to deliver to a store of a format on a disk.
type Deliver = Box<dyn FnOnce() + Send>;

fn deliveries(fs: &Arc<dyn FileSystem>, there: &Arc<dyn MailStorage>, format: Format) -> Vec<Deliver> {
    let (fs, there) = (Arc::clone(fs), Arc::clone(there));
    let mut all: Vec<Deliver> = vec![Box::new(move || append(&*opened(&*there, BOX), [9000]))];
    if matches!(format, Format::Maildir(_) | Format::Mbox) {
        all.push(Box::new(move || deliver_to_files(&*fs, format)));
    }
    all
}

/// Stores that hold the same after a conversion, and how mail may come into the second.
type Converted = (Arc<dyn MailStorage>, Arc<dyn MailStorage>, Journal, Deliver);

fn converted(format: Format, way: usize) -> Option<Converted> {
    let source = memory();
    source.create(&name(BOX)).unwrap();
    append(&*opened(&*source, BOX), 1..=5);
    let fs = SimDisk::new().as_file_system();
    let there = store(&env(&fs), Path::new(ROOT), format);
    let mut journal = Journal::in_memory();
    assert!(run(&*source, &*there, &mut journal).failures.is_empty());
    let deliver = deliveries(&fs, &there, format).into_iter().nth(way)?;
    Some((source, there, journal, deliver))
}

fn assert_conflict(summary: &ConvertSummary, what: &str) {
    let causes: Vec<_> = summary.failures.iter().map(|failure| (failure.mailbox.as_str(), &failure.why)).collect();
    assert!(matches!(causes[..], [(BOX, FailureCause::Conflict(_))]), "{what}: {causes:?}");
}

fn messages(storage: &dyn MailStorage) -> u32 {
    opened(storage, BOX).status().unwrap().messages
}

/// Every format, with every way in which mail comes into it.
fn everywhere(test: impl Fn(Arc<dyn MailStorage>, Arc<dyn MailStorage>, Journal, Deliver, &str)) {
    for format in FORMATS {
        for way in 0.. {
            let Some((source, there, journal, deliver)) = converted(*format, way) else { break };
            test(source, there, journal, deliver, &format!("{format}, way {way}"));
        }
    }
}

#[test]
fn a_mailbox_that_is_deleted_keeps_what_came_last() {
    everywhere(|source, there, mut journal, deliver, what| {
        source.delete(&name(BOX)).unwrap();
        let meddled = Meddled::new(&there, deliver);
        assert_conflict(&run(&*source, &meddled, &mut journal), what);
        assert_eq!(messages(&*there), 6, "{what}");
        assert_conflict(&run(&*source, &*there, &mut journal), what);
        let overwrite = ConvertOptions { overwrite: true, ..ConvertOptions::default() };
        assert!(run_with(&*source, &*there, &mut journal, &overwrite).failures.is_empty());
        assert!(there.mailbox(&name(BOX)).is_err(), "{what}");
    });
}

#[test]
fn a_mailbox_that_is_replaced_keeps_what_came_last() {
    everywhere(|source, there, mut journal, deliver, what| {
        // Another of the same name.
        source.delete(&name(BOX)).unwrap();
        source.create(&name(BOX)).unwrap();
        append(&*opened(&*source, BOX), [70, 71]);
        let keep = ConvertOptions { keep_deleted: true, ..ConvertOptions::default() };
        let meddled = Meddled::new(&there, deliver);
        assert_conflict(&run_with(&*source, &meddled, &mut journal, &keep), what);
        assert_eq!(messages(&*there), 6, "{what}");
        let overwrite = ConvertOptions { overwrite: true, ..ConvertOptions::default() };
        assert!(run_with(&*source, &*there, &mut journal, &overwrite).failures.is_empty());
        assert_same(&*source, &*there);
    });
}

#[test]
fn a_mailbox_that_somebody_makes_first_is_his() {
    for format in FORMATS {
        let source = memory();
        source.create(&name(BOX)).unwrap();
        append(&*opened(&*source, BOX), 1..=5);
        let there = store(&env(&SimDisk::new().as_file_system()), Path::new(ROOT), *format);
        // INBOX first, which nobody meddles with.
        let mut journal = Journal::in_memory();
        let inbox = ConvertOptions { mailboxes: ListPattern::new("INBOX").unwrap(), ..ConvertOptions::default() };
        run_with(&*source, &*there, &mut journal, &inbox);
        let other = Arc::clone(&there);
        let meddled = Meddled::new(&there, move || {
            other.create(&name(BOX)).unwrap();
            append(&*opened(&*other, BOX), [9000]);
        });
        assert_conflict(&run(&*source, &meddled, &mut journal), &format.to_string());
        assert_eq!(messages(&*there), 1, "{format}");
    }
}

/// A disk on which a message is put into a Maildir's folder when that is about to be moved to the trash.
#[derive(Debug)]
struct LastMinute {
    disk: Arc<dyn FileSystem>,
    is_due: AtomicBool,
}

impl Meddler for LastMinute {
    fn disk(&self) -> &dyn FileSystem {
        &*self.disk
    }

    fn renames(&self, from: &Path, to: &Path) -> mailfs::Result<()> {
        let is_trash = to.to_string_lossy().contains("..DOVECOT-T");
        let new = if from.ends_with("new") { from.to_owned() } else { from.join("new") };
        if is_trash && self.disk.is_dir(&new)? && self.is_due.swap(false, Ordering::Relaxed) {
            self.disk.write_atomic(&new.join("1.late.host"), LATE, 0o600, true)?;
        }
        Ok(())
    }
}

/// A program that takes no locks delivers when all have been looked at under them: its message is in a new mailbox of the
/// name, and the conversion says that it was not alone.
#[test]
fn a_maildir_keeps_what_came_behind_the_last_look() {
    for format in [FLAT, TREE] {
        for (mailbox, is_deleted) in [(BOX, true), (BOX, false), ("INBOX", false)] {
            let what = format!("{format}, {mailbox}, {is_deleted}");
            let source = memory();
            source.create(&name(BOX)).unwrap();
            append(&*opened(&*source, mailbox), 1..=5);
            let last = LastMinute { disk: SimDisk::new().as_file_system(), is_due: AtomicBool::new(false) };
            let last = Arc::new(MeddledDisk(last));
            let there = store(&env(&(Arc::clone(&last) as _)), Path::new(ROOT), format);
            let mut journal = Journal::in_memory();
            assert!(run(&*source, &*there, &mut journal).failures.is_empty());
            let judged = judged(&*opened(&*there, mailbox));
            last.0.is_due.store(true, Ordering::Relaxed);
            let identity = MailboxIdentity { guid: mailtypes::Guid([8; 16]), ..judged.identity };
            let outcome = match is_deleted {
                true => there.delete_only_if(&name(mailbox), &judged),
                false => there.replace(&name(mailbox), &identity, OnlyIf::As(judged)),
            };
            assert!(matches!(outcome, Err(mailstore::StorageError::Changed(_))), "{what}: {outcome:?}");
            let there = opened(&*there, mailbox);
            let view = there.view(&Default::default()).unwrap();
            assert_eq!(view.uids(), set([1]), "{what}");
            let mut bytes = [0; 100];
            let mut body = view.body(view.uids().first().unwrap()).unwrap();
            let len = body.read_at(mailstore::Section::WHOLE, 0, &mut bytes).unwrap();
            assert_eq!(bytes[..len], String::from_utf8_lossy(LATE).replace('\n', "\r\n").into_bytes()[..]);
        }
    }
}

fn judged(mailbox: &dyn Mailbox) -> Judged {
    let status = mailbox.status().unwrap();
    Judged {
        identity: MailboxIdentity { guid: mailbox.guid(), uid_validity: mailbox.uid_validity() },
        uid_next: status.uid_next,
        highest_modseq: status.highest_modseq,
        messages: status.messages,
    }
}
