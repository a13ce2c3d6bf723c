//! Importing from each kind of source, once, again, and after a stop.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use mailfs::{FileSystemExt as _, sim::SimDisk};
use mailindex::engine::{Background, Env, EnvOptions};
use mailstore::{
    Body, Column, Columns, Cursor, ListPattern, MailStorage, Rows, ScanBudget, Section, StorageError, ViewAs,
    import::{EmlDates, ImportOptions, ImportSummary, SourceKind, detect, import},
    sdbox::{SdboxOptions, SdboxStorage},
};
use mailtypes::{InternalDate, MailboxName};

struct Place {
    disk: Arc<SimDisk>,
    storage: SdboxStorage,
}

/// What an import must leave of a message: mailbox, flags, keywords, time of arrival, bytes.
type Seen = (String, String, Vec<String>, i64, String);

impl Place {
    fn new() -> Self {
        let disk = Arc::new(SimDisk::new());
        let options = EnvOptions { background: Background::Manual, ..EnvOptions::default() };
        let env = Env::new(disk.as_file_system(), options);
        let storage = SdboxStorage::create(&env, Path::new("/store"), SdboxOptions::default()).unwrap();
        Self { disk, storage }
    }

    fn file(&self, path: &str, text: &str) {
        let path = PathBuf::from(path);
        self.disk.create_dir_all(path.parent().unwrap(), 0o700).unwrap();
        self.disk.write_atomic(&path, text.as_bytes(), 0o600, true).unwrap();
    }

    fn import(&self, source: &str, options: &ImportOptions) -> ImportSummary {
        let mut last = None;
        let mut tell = |progress: &_| last = Some(*progress);
        let summary = import(&*self.disk, Path::new(source), &self.storage, options, &mut tell).unwrap();
        assert_eq!(last, Some(summary.progress));
        assert_eq!(summary.progress.done, summary.progress.size);
        summary
    }

    fn counts(&self, source: &str, options: &ImportOptions) -> (u64, u64, u64) {
        let progress = self.import(source, options).progress;
        (progress.imported, progress.skipped, progress.failed)
    }

    fn messages(&self) -> Vec<Seen> {
        let mut seen = Vec::new();
        for info in self.storage.list(&ListPattern::all()).unwrap().into_iter().filter(|info| info.selectable) {
            let view = self.storage.mailbox(&info.name).unwrap().view(&ViewAs::default()).unwrap();
            let mut rows = Rows::new();
            let columns = Columns::flags().with(Column::InternalDate);
            let budget = ScanBudget { rows: 1000, bytes: 1 << 30, until: None };
            assert_eq!(view.scan(&view.uids(), Cursor::START, &columns, budget, &mut rows).unwrap(), None);
            for row in &rows.rows {
                let keywords = rows.keywords(row).iter().map(ToString::to_string).collect();
                let text = text(&mut *view.body(row.uid).unwrap());
                let date = row.internal_date.unwrap().unix;
                seen.push((info.name.to_string(), row.flags.to_string(), keywords, date, text));
            }
        }
        seen
    }
}

fn text(body: &mut dyn Body) -> String {
    let mut bytes = vec![0; usize::try_from(body.size()).unwrap()];
    let read = body.read_at(Section::WHOLE, 0, &mut bytes).unwrap();
    assert_eq!(read, bytes.len());
    String::from_utf8(bytes).unwrap()
}

fn seen(mailbox: &str, flags: &str, keywords: &[&str], date: i64, text: &str) -> Seen {
    let keywords = keywords.iter().map(|&keyword| keyword.to_owned()).collect();
    (mailbox.to_owned(), flags.to_owned(), keywords, date, text.replace('\n', "\r\n"))
}

fn utc() -> ImportOptions {
    ImportOptions { local_zone: |_| 0, ..ImportOptions::default() }
}

const MBOX: &str = "From a Thu Nov 29 22:33:52 2001\nSubject: DON'T DELETE\nX-IMAP: 1 2\n\npseudo\n\n\
    From a Thu Nov 29 22:33:52 2001\nSubject: 1\nStatus: RO\nX-Status: F\nX-Keywords: $Junk\n\n>From here\n>>From\n>>From x\n\n\
    From a Thu Nov 29 22:33:53 2001\nSubject: 2\n\nsame\n\n\
    From a Thu Nov 29 22:33:54 2001\nSubject: 2\n\nsame\n\n";

#[test]
fn an_mbox_file() {
    let place = Place::new();
    place.file("/in/mbox", MBOX);
    assert_eq!(place.counts("/in/mbox", &utc()), (3, 0, 0));
    let expect = [
        seen("INBOX", "\\Flagged \\Seen", &["$Junk"], 1_007_073_232, "Subject: 1\n\nFrom here\n>>From\n>From x\n"),
        seen("INBOX", "", &[], 1_007_073_233, "Subject: 2\n\nsame\n"),
        seen("INBOX", "", &[], 1_007_073_234, "Subject: 2\n\nsame\n"),
    ];
    assert_eq!(place.messages(), expect);
    assert_eq!(place.counts("/in/mbox", &utc()), (0, 3, 0), "again");
    assert_eq!(place.messages(), expect);
    place.file("/in/mbox", &format!("{MBOX}From a Thu Nov 29 22:33:55 2001\nSubject: 2\n\nsame\n\n"));
    assert_eq!(place.counts("/in/mbox", &utc()), (1, 3, 0), "one more of the same");
    let into = ImportOptions { into: MailboxName::new("Old/Mail").unwrap(), ..utc() };
    assert_eq!(place.counts("/in/mbox", &into), (4, 0, 0), "another mailbox is another matter");
}

#[test]
fn what_was_moved_within_the_store_does_not_come_again() {
    use mailstore::{Batch, BatchItem, CopySource};
    let place = Place::new();
    place.file("/in/mbox", MBOX);
    place.counts("/in/mbox", &utc());
    let archive = MailboxName::new("Archive").unwrap();
    place.storage.create(&archive).unwrap();
    let (inbox, archive) =
        (place.storage.mailbox(&MailboxName::inbox()).unwrap(), place.storage.mailbox(&archive).unwrap());
    let uids = inbox.view(&ViewAs::default()).unwrap().uids();
    let copy = BatchItem::Copy(CopySource { mailbox: Arc::clone(&inbox), uids: uids.clone() });
    archive.submit(Batch { items: vec![copy] }).unwrap().wait().unwrap();
    inbox.submit(Batch::new().expunge(uids)).unwrap().wait().unwrap();
    assert_eq!(place.counts("/in/mbox", &utc()), (0, 3, 0));
}

#[test]
fn a_tree_of_maildirs() {
    let place = Place::new();
    for dir in ["", "/.Work.2024", "/.B&APw-ro"] {
        for sub in ["cur", "new", "tmp"] {
            place.disk.create_dir_all(&PathBuf::from(format!("/in{dir}/{sub}")), 0o700).unwrap();
        }
    }
    place.file("/in/cur/2.b,S=9:2,RSa", "A: 2\r\n\r\nx\r\n");
    place.file("/in/new/1.a", "A: 1\n\n");
    place.file("/in/tmp/3.c", "A: 3\n\n");
    place.file("/in/cur/.hidden", "A: 4\n\n");
    place.file("/in/dovecot-keywords", "0 $Label1\n1 other\n");
    place.file("/in/.Work.2024/cur/1.a:2,Tz", "A: 1\n\n");
    place.file("/in/.B&APw-ro/new/1.a", "A: 5\n\n");
    assert_eq!(detect(&*place.disk, Path::new("/in")).unwrap(), SourceKind::Maildir);
    assert_eq!(place.counts("/in", &utc()), (4, 0, 0));
    let found: Vec<_> =
        place.messages().into_iter().map(|(name, flags, words, _, text)| (name, flags, words, text)).collect();
    let expect = |name: &str, flags: &str, words: &[&str], text: &str| {
        let (name, flags, words, _, text) = seen(name, flags, words, 0, text);
        (name, flags, words, text)
    };
    assert_eq!(
        found,
        [
            expect("INBOX", "", &[], "A: 1\n\n"),
            expect("INBOX", "\\Answered \\Seen", &["$Label1"], "A: 2\n\nx\n"),
            expect("Büro", "", &[], "A: 5\n\n"),
            expect("Work/2024", "\\Deleted", &[], "A: 1\n\n"),
        ]
    );
    assert_eq!(place.counts("/in", &utc()), (0, 4, 0));
    let names = place.disk.as_file_system().read_dir(Path::new("/in/new")).unwrap();
    assert_eq!(names.len(), 1, "the source is only read");
}

#[test]
fn folders_of_eml_files() {
    let place = Place::new();
    place.file("/in/b.eml", "Date: Thu, 29 Nov 2001 22:33:52 +0100\nA: b\n\nx");
    place.file("/in/a.EML", "Date: nonsense\nA: a\n\n");
    place.file("/in/notes.txt", "no mail");
    place.file("/in/Sub/Deep/c.eml", "A: c\n\n");
    assert_eq!(detect(&*place.disk, Path::new("/in")).unwrap(), SourceKind::Eml);
    assert_eq!(place.counts("/in", &utc()), (3, 0, 0));
    let messages = place.messages();
    let found: Vec<_> = messages.iter().map(|m| (m.0.as_str(), m.4.lines().nth(1).unwrap_or(&m.4))).collect();
    assert_eq!(found, [("INBOX", "A: a"), ("INBOX", "A: b"), ("Sub/Deep", "")]);
    assert_eq!(messages[1].3, 1_007_069_632, "the time is the header's");
    let by_file = ImportOptions { eml_dates: EmlDates::File, into: MailboxName::new("X").unwrap(), ..utc() };
    assert_eq!(place.counts("/in", &by_file), (3, 0, 0));
    let of_file = place.messages().into_iter().filter(|m| m.0 == "X" && m.3 == 1_007_069_632).count();
    assert_eq!(of_file, 0);
}

#[test]
fn one_bad_message_costs_no_other() {
    let place = Place::new();
    place.file("/in/a.eml", &format!("A: a\n\n{}", "x".repeat(100)));
    place.file("/in/b.eml", "A: b\n\n");
    let options = ImportOptions { message_len_max: 50, ..utc() };
    let summary = place.import("/in", &options);
    assert_eq!((summary.progress.imported, summary.progress.failed), (1, 1));
    let told = summary.failures[0].to_string();
    assert_eq!(told, "/in/a.eml: limit message_len_max (50) exceeded");
    assert_eq!(place.counts("/in", &utc()), (1, 1, 0), "raised, only what was missing comes");
}

#[test]
fn what_is_no_source_is_refused_by_name() {
    let place = Place::new();
    place.file("/in/notes.txt", "no mail");
    let refused =
        |source: &str| import(&*place.disk, Path::new(source), &place.storage, &utc(), &mut |_| {}).unwrap_err();
    assert!(matches!(refused("/nothing"), StorageError::NotAStore { .. }));
    assert!(matches!(refused("/in"), StorageError::NotAStore { .. }));
    assert!(refused("/in/notes.txt").to_string().contains("no mbox file"));
}

#[test]
fn a_stop_at_any_call_is_made_good_by_a_second_run() {
    let all = {
        let place = Place::new();
        place.file("/in/mbox", MBOX);
        let before = place.disk.changing_calls();
        place.counts("/in/mbox", &utc());
        place.disk.changing_calls() - before
    };
    assert!(all > 3);
    for k in 0..all {
        let place = Place::new();
        place.file("/in/mbox", MBOX);
        place.disk.crash_after(k);
        let _ = import(&*place.disk, Path::new("/in/mbox"), &place.storage, &utc(), &mut |_| {});
        let disk = Arc::new(place.disk.crash(mailfs::sim::CrashChoice::list(0)[0]));
        let env =
            Env::new(disk.as_file_system(), EnvOptions { background: Background::Manual, ..EnvOptions::default() });
        let storage = SdboxStorage::create(&env, Path::new("/store"), SdboxOptions::default()).unwrap();
        storage.recover().unwrap();
        let place = Place { disk, storage };
        let summary = place.import("/in/mbox", &utc()).progress;
        assert_eq!((summary.imported + summary.skipped, summary.failed), (3, 0));
        assert_eq!(place.messages().len(), 3, "after {k} calls");
    }
}

#[test]
fn dates_are_those_of_the_host_where_no_zone_is_named() {
    let place = Place::new();
    place.file("/in/mbox", MBOX);
    place.counts("/in/mbox", &ImportOptions { local_zone: |_| 90, ..ImportOptions::default() });
    assert_eq!(place.messages()[0].3, InternalDate { unix: 1_007_073_232 - 5400, zone: 90 }.unix);
}
