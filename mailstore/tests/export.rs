//! Exporting to each form, and importing it again.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{path::Path, sync::Arc};

use mailfs::{FileSystemExt as _, sim::SimDisk};
use mailstore::{
    Append, ListPattern, Store,
    export::{ExportFormat, ExportOptions, ExportSummary, export},
    import::{EmlDates, ImportOptions, import},
    memory::{MemoryOptions, MemoryStorage},
};
use mailtypes::{Flag, InternalDate, Keyword};

const MESSAGES: [&[u8]; 6] = [
    b"Subject: 1\r\n\r\nFrom here\r\n>From there\r\nFrom x Thu Nov 29 22:33:52 2001\r\nend\r\n",
    b"Subject: 2\r\nStatus: RO\r\nX-UID: 7\r\n\r\nno end",
    b"Subject: only a header\r\n",
    b"\r\nonly a body\r\n\r\n\r\n",
    b"Subject: 5\r\n\r\n\r\n",
    b"Subject: odd line ends\r\n\r\na\rb\r\nc\r\r\nd\r\r\r\n\r\n",
];

fn store() -> Store {
    let store = Store::of(Arc::new(MemoryStorage::new(MemoryOptions::default())));
    store.create_mailbox("Work/2024").unwrap();
    store.create_mailbox("Büro").unwrap();
    for (number, raw) in MESSAGES.iter().enumerate() {
        let date = InternalDate::utc(1_700_000_000 + number as i64);
        let append = || Append::new(raw).internal_date(date).flag(Flag::Seen);
        store.mailbox("INBOX").unwrap().append(append().flag(Flag::Flagged)).unwrap();
        let keyword = Keyword::new(&format!("key{number}")).unwrap();
        store.mailbox("Work/2024").unwrap().append(append().keyword(keyword)).unwrap();
    }
    store
}

fn run(disk: &SimDisk, store: &Store, format: ExportFormat) -> ExportSummary {
    let options = ExportOptions { format, mailboxes: ListPattern::all() };
    let mut last = None;
    let mut tell = |progress: &_| last = Some(*progress);
    let summary = export(disk, &**store.storage(), Path::new("/out"), &options, &mut tell).unwrap();
    assert_eq!(last, Some(summary.progress));
    assert_eq!((summary.progress.done, summary.progress.failed), (summary.progress.size, 0));
    summary
}

/// Flags, keywords, time and text of the messages of a mailbox, in order.
fn seen(store: &Store, mailbox: &str) -> Vec<(String, Vec<String>, i64, Vec<u8>)> {
    let view = store.mailbox(mailbox).unwrap().view().unwrap();
    let one = |message: mailstore::Message<'_>| {
        let keywords = message.keywords().iter().map(ToString::to_string).collect();
        let date = message.internal_date().unwrap().unix;
        (message.flags().to_string(), keywords, date, message.read().unwrap())
    };
    view.messages().map(Result::unwrap).map(one).collect()
}

fn back(disk: &SimDisk, source: &str, into: &str) -> Store {
    let store = Store::of(Arc::new(MemoryStorage::new(MemoryOptions::default())));
    let into = mailtypes::MailboxName::new(into).unwrap();
    let options = ImportOptions { into, eml_dates: EmlDates::File, ..ImportOptions::default() };
    let summary = import(disk, Path::new(source), &**store.storage(), &options, &mut |_| {}).unwrap();
    assert_eq!(summary.progress.failed, 0);
    store
}

#[test]
fn maildir_and_back() {
    let (disk, store) = (SimDisk::new(), store());
    assert_eq!(run(&disk, &store, ExportFormat::Maildir).progress.exported, 12);
    let again = run(&disk, &store, ExportFormat::Maildir).progress;
    assert_eq!((again.exported, again.skipped), (0, 12));
    let back = back(&disk, "/out", "INBOX");
    for mailbox in ["INBOX", "Work/2024"] {
        assert_eq!(seen(&back, mailbox), seen(&store, mailbox), "{mailbox}");
    }
    assert!(disk.exists(Path::new("/out/.B&APw-ro/maildirfolder")).unwrap());
}

#[test]
fn eml_and_back() {
    let (disk, store) = (SimDisk::new(), store());
    assert_eq!(run(&disk, &store, ExportFormat::Eml).progress.exported, 12);
    assert_eq!(run(&disk, &store, ExportFormat::Eml).progress.exported, 0);
    let back = back(&disk, "/out", "INBOX");
    let texts = |store: &Store, mailbox| seen(store, mailbox).into_iter().map(|m| (m.2, m.3)).collect::<Vec<_>>();
    assert_eq!(texts(&back, "Work/2024"), texts(&store, "Work/2024"));
}

#[test]
fn mbox_and_back() {
    let (disk, store) = (SimDisk::new(), store());
    for _ in 0..2 {
        assert_eq!(run(&disk, &store, ExportFormat::Mbox).progress.exported, 12);
    }
    let back = back(&disk, "/out/Work/2024.mbox", "Work/2024");
    let (found, expect) = (seen(&back, "Work/2024"), seen(&store, "Work/2024"));
    assert_eq!(found.len(), expect.len());
    // What an mbox file cannot keep: a last line without an end, a header without one, fields of its own.
    let changed: [(usize, &[u8]); 2] = [(1, b"Subject: 2\r\n\r\nno end\r\n"), (2, b"Subject: only a header\r\n\r\n")];
    for (number, (found, mut expect)) in found.into_iter().zip(expect).enumerate() {
        if let Some((_, text)) = changed.iter().find(|(changed, _)| *changed == number) {
            expect.3 = text.to_vec();
        }
        assert_eq!(found, expect, "{number}: {}", String::from_utf8_lossy(&found.3));
    }
}

#[test]
fn a_disk_that_is_full_is_told_and_leaves_no_half_file() {
    let (disk, store) = (SimDisk::new(), store());
    let before = disk.calls();
    run(&disk, &store, ExportFormat::Eml);
    let calls = disk.calls() - before;
    for n in 0..calls {
        let disk = SimDisk::new();
        disk.fail_calls_from(n, mailfs::sim::Fault::NoSpace);
        let options = ExportOptions { format: ExportFormat::Eml, mailboxes: ListPattern::all() };
        let outcome = export(&disk, &**store.storage(), Path::new("/out"), &options, &mut |_| {});
        let delivered = disk.faults_delivered() > 0;
        disk.clear_plan();
        assert_eq!(outcome.is_err(), delivered, "call {n}");
        run(&disk, &store, ExportFormat::Eml);
        for entry in disk.as_file_system().read_dir(Path::new("/out/INBOX")).unwrap() {
            assert!(entry.name.to_string_lossy().ends_with(".eml"), "{:?} after call {n}", entry.name);
        }
    }
}
