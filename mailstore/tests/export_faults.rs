//! Exports of stores in which something is wrong, and of messages that are alike.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::Arc,
};

use mailfs::RealDisk;
use mailindex::engine::{Background, Env, EnvOptions};
use mailstore::{
    Batch, BatchItem, CopySource, ListPattern, MailStorage, SaveMeta, ViewAs,
    export::{ExportFormat, ExportOptions, ExportSummary, export},
    maildir::{MaildirOptions, MaildirPlaces, MaildirStorage},
    memory::{MemoryOptions, MemoryStorage},
    sdbox::{SdboxOptions, SdboxStorage},
};
use mailtypes::{Flags, InternalDate, MailboxName};

struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn env() -> Env {
        Env::new(Arc::new(RealDisk::new()), EnvOptions { background: Background::Manual, ..EnvOptions::default() })
    }

    fn maildir(&self) -> MaildirStorage {
        let places = MaildirPlaces::default();
        MaildirStorage::create(&Self::env(), &self.path("mail"), &places, MaildirOptions::default()).unwrap()
    }

    fn put(&self, name: &str, text: &str) {
        for sub in ["tmp", "new", "cur"] {
            fs::create_dir_all(self.path("mail").join(name).parent().unwrap().with_file_name(sub)).unwrap();
        }
        fs::write(self.path("mail").join(name), text).unwrap();
    }

    /// Exports to `out`.
    fn export(&self, storage: &dyn MailStorage, format: ExportFormat) -> ExportSummary {
        let options = ExportOptions { format, mailboxes: ListPattern::all() };
        let mut last = None;
        let mut tell = |progress: &_| last = Some(*progress);
        let summary = export(&RealDisk::new(), storage, &self.path("out"), &options, &mut tell).unwrap();
        assert_eq!(last, Some(summary.progress));
        assert_eq!(summary.progress.done, summary.progress.size);
        summary
    }

    fn names(&self, dir: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(dir)).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn counts(summary: &ExportSummary) -> (u64, u64, u64) {
    let progress = summary.progress;
    (progress.exported, progress.skipped, progress.failed)
}

fn failures(summary: &ExportSummary) -> Vec<(String, Option<u32>)> {
    summary.failures.iter().map(|f| (f.mailbox.to_string(), f.uid.map(|uid| uid.value()))).collect()
}

#[test]
fn copies_within_a_mailbox_are_messages_of_their_own() {
    let place = Place::new();
    place.put("cur/1700000000.M1P1.h:2,S", "A: 1\n\nx\n");
    let storage = place.maildir();
    let inbox = storage.mailbox(&MailboxName::inbox()).unwrap();
    let uids = inbox.view(&ViewAs::default()).unwrap().uids();
    for _ in 0..2 {
        let copy = BatchItem::Copy(CopySource { mailbox: Arc::clone(&inbox), uids: uids.clone() });
        inbox.submit(Batch { items: vec![copy] }).unwrap().wait().unwrap();
    }
    assert_eq!(counts(&place.export(&storage, ExportFormat::Maildir)), (3, 0, 0));
    let names = place.names("out/cur");
    assert_eq!(names.len(), 3);
    assert_eq!(counts(&place.export(&storage, ExportFormat::Maildir)), (0, 3, 0), "again");
    assert_eq!(place.names("out/cur"), names);
    // An export of the first form had one file for the three, whose name was the time and the GUID.
    let cur = place.path("out/cur");
    let parts: Vec<&str> = names[0].split('.').collect();
    fs::rename(cur.join(&names[0]), cur.join([parts[0], parts[2], parts[3]].join("."))).unwrap();
    names[1..].iter().for_each(|name| fs::remove_file(cur.join(name)).unwrap());
    assert_eq!(counts(&place.export(&storage, ExportFormat::Maildir)), (2, 1, 0));
    assert_eq!(counts(&place.export(&storage, ExportFormat::Maildir)), (0, 3, 0));
    assert_eq!(place.names("out/cur").len(), 3);
}

#[test]
fn sizes_in_names_are_those_of_the_files() {
    let place = Place::new();
    let text = "A: 1\n\none\ntwo\n";
    let len = text.len();
    place.put(&format!("cur/1700000000.M1P1.h,S={len},W={}:2,S", len + 9), text);
    place.put("cur/1700000001.M1P1.h:2,S", "A: 2\r\n\r\nx\ny");
    let storage = place.maildir();
    assert_eq!(counts(&place.export(&storage, ExportFormat::Maildir)), (2, 0, 0));
    let names = place.names("out/cur");
    assert!(names[0].ends_with(&format!(".culver,S={len},W={}:2,S", len + 4)), "{names:?}");
    assert_eq!(fs::read_to_string(place.path("out/cur").join(&names[0])).unwrap(), text);
    assert!(names[1].ends_with(".culver,S=9,W=12:2,S"), "{names:?}");
}

/// Messages 2 and 4 of INBOX cannot be read: one name leads nowhere, the other to itself, which is an error for every
/// user.
fn with_bad_links(place: &Place) -> MaildirStorage {
    for number in 1..=5 {
        let name = format!("170000000{number}.M1P1.h:2,");
        match number {
            2 => symlink("/nonexistent", place.path("mail/cur").join(name)).unwrap(),
            4 => symlink(&name, place.path("mail/cur").join(&name)).unwrap(),
            _ => place.put(&format!("cur/{name}"), &format!("A: {number}\n\nx\n")),
        }
    }
    place.put(".Other/cur/1700000009.M1P1.h:2,", "A: other\n\nx\n");
    place.maildir()
}

#[test]
fn messages_that_cannot_be_read_are_named_and_cost_no_other() {
    for format in [ExportFormat::Mbox, ExportFormat::Maildir, ExportFormat::Eml] {
        let place = Place::new();
        let storage = with_bad_links(&place);
        let summary = place.export(&storage, format);
        assert_eq!(counts(&summary), (4, 0, 2), "{format:?} {:?}", summary.failures);
        let mut failed = failures(&summary);
        failed.sort();
        assert_eq!(failed, [("INBOX".to_owned(), Some(2)), ("INBOX".to_owned(), Some(4))], "{format:?}");
        assert_eq!(summary.progress.mailboxes, 2);
        match format {
            ExportFormat::Mbox => {
                let text = fs::read_to_string(place.path("out/INBOX.mbox")).unwrap();
                assert_eq!(text.matches("From MAILER-DAEMON ").count(), 3);
                assert_eq!(place.names("out"), ["INBOX.mbox", "Other.mbox"]);
            }
            ExportFormat::Maildir => {
                assert_eq!((place.names("out/cur").len(), place.names("out/.Other/cur").len()), (3, 1));
            }
            _ => assert_eq!((place.names("out/INBOX").len(), place.names("out/Other").len()), (3, 1)),
        }
    }
}

#[test]
fn damaged_and_lost_files_of_sdbox_are_named() {
    let place = Place::new();
    let storage = SdboxStorage::create(&Place::env(), &place.path("mail"), SdboxOptions::default()).unwrap();
    let inbox = storage.mailbox(&MailboxName::inbox()).unwrap();
    for number in 1..=5 {
        let mut save = inbox.begin_save(SaveMeta::default(), None).unwrap();
        save.write(format!("A: {number}\r\n\r\nx\r\n").as_bytes()).unwrap();
        let batch = Batch::new().save(save.finish().unwrap(), Flags::NONE, Vec::new());
        inbox.submit(batch).unwrap().wait().unwrap();
    }
    let file = |uid: u32| place.path(&format!("mail/mailboxes/INBOX/dbox-Mails/u.{uid}"));
    fs::write(file(1), "nonsense").unwrap();
    fs::remove_file(file(3)).unwrap();
    let summary = place.export(&storage, ExportFormat::Mbox);
    assert_eq!(counts(&summary), (3, 0, 2), "{:?}", summary.failures);
    assert_eq!(failures(&summary), [("INBOX".to_owned(), Some(1)), ("INBOX".to_owned(), Some(3))]);
    assert!(summary.failures[1].to_string().contains("INBOX UID 3: the mailbox has it"), "{}", summary.failures[1]);
    assert_eq!(fs::read_to_string(place.path("out/INBOX.mbox")).unwrap().matches("From MAILER-DAEMON ").count(), 3);
}

#[test]
fn a_mailbox_without_a_place_in_the_form_costs_no_other() {
    let place = Place::new();
    let storage = MemoryStorage::new(MemoryOptions::default());
    for name in ["a.b", "c"] {
        storage.create(&MailboxName::new(name).unwrap()).unwrap();
    }
    let summary = place.export(&storage, ExportFormat::Maildir);
    assert_eq!((failures(&summary), summary.progress.mailboxes), (vec![("a.b".to_owned(), None)], 2));
    assert!(Path::new(&place.path("out/.c/cur")).is_dir());
    // A name that no file can have: the longest level, and an ending.
    let long = "x".repeat(255);
    storage.create(&MailboxName::new(&long).unwrap()).unwrap();
    let summary = place.export(&storage, ExportFormat::Mbox);
    assert_eq!((failures(&summary), summary.progress.mailboxes), (vec![(long, None)], 3));
}

#[test]
fn names_in_a_maildir_are_in_the_order_of_the_messages() {
    let place = Place::new();
    let storage = MemoryStorage::new(MemoryOptions::default());
    let inbox = storage.mailbox(&MailboxName::inbox()).unwrap();
    for number in 1..=11 {
        let meta = SaveMeta { internal_date: Some(InternalDate::utc(1_700_000_000)), ..SaveMeta::default() };
        let mut save = inbox.begin_save(meta, None).unwrap();
        save.write(format!("A: {number}\r\n\r\n").as_bytes()).unwrap();
        let batch = Batch::new().save(save.finish().unwrap(), Flags::NONE, Vec::new());
        inbox.submit(batch).unwrap().wait().unwrap();
    }
    place.export(&storage, ExportFormat::Maildir);
    let text = |name: &String| fs::read_to_string(place.path("out/cur").join(name)).unwrap();
    let texts: Vec<_> = place.names("out/cur").iter().map(text).collect();
    assert_eq!(texts, (1..=11).map(|number| format!("A: {number}\n\n")).collect::<Vec<_>>());
}
