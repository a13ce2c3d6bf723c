//! A store to convert, and looking at what became of it.

use std::{path::Path, sync::Arc};

use mailfs::FileSystem;
use mailindex::engine::{Background, Env, EnvOptions};
use mailstore::{
    Batch, FlagAction, FlagChange, Format, MailStorage, Mailbox, Pop3Identity, Result, SaveMeta, StoreOptions, ViewAs,
    convert::{ConvertOptions, ConvertSummary, Journal, convert, verify},
    create_storage,
    maildir::MaildirLayout,
    memory::MemoryStorage,
    open_storage,
};
use mailtypes::{Flag, Flags, Guid, InternalDate, Keyword, MailboxName, Uid, UidSet};

pub(crate) const FLAT: Format = Format::Maildir(MaildirLayout::PlusPlus);
pub(crate) const TREE: Format = Format::Maildir(MaildirLayout::Fs);

/// The formats on disk.
pub(crate) const FORMATS: &[Format] = &[Format::Sdbox, Format::Mdbox, FLAT, TREE, Format::Mbox];

/// What a mailbox is called in a store of a format that cannot have others below one with messages.
pub(crate) fn work(format: Format) -> MailboxName {
    name(if format == Format::Mbox { "Work-messages" } else { "Work" })
}

pub(crate) fn name(name: &str) -> MailboxName {
    MailboxName::new(name).unwrap()
}

pub(crate) fn set(uids: impl IntoIterator<Item = u32>) -> UidSet {
    uids.into_iter().filter_map(Uid::new).collect()
}

/// An `Env` whose background work is done when it is asked for.
pub(crate) fn env(fs: &Arc<dyn FileSystem>) -> Env {
    Env::new(Arc::clone(fs), EnvOptions { background: Background::Manual, ..EnvOptions::default() })
}

pub(crate) fn store(env: &Env, root: &Path, format: Format) -> Arc<dyn MailStorage> {
    let options = StoreOptions { format: Some(format), ..StoreOptions::default() };
    create_storage(env, root, &options).unwrap()
}

pub(crate) fn reopened(env: &Env, root: &Path, format: Format) -> Result<Arc<dyn MailStorage>> {
    open_storage(env, root, &StoreOptions { format: Some(format), ..StoreOptions::default() })
}

pub(crate) fn memory() -> Arc<dyn MailStorage> {
    Arc::new(MemoryStorage::default())
}

/// Message `n`: some with NULs, long lines, no line end at the end, nothing at all.
pub(crate) fn message(n: u32) -> Vec<u8> {
    // Fields that an mbox has for itself.
    let fields = if n % 7 == 6 { "Status: RO\r\nX-Keywords: $Other\r\n more\r\n" } else { "" };
    let head = format!("{fields}Subject: message {n}\r\nDate: Mon, 1 Jan 2024 00:00:{:02} +0000\r\n\r\n", n % 60);
    let body = match n % 7 {
        0 => "a\0b\r\n".to_owned(),
        1 => String::new(),
        2 => "no line end".to_owned(),
        3 => format!("{}\r\n", "x".repeat(3000)),
        4 => "From here on\r\n>From there\r\n.\r\n..\r\n".to_owned(),
        _ => "line\r\n".repeat(n as usize % 40),
    };
    if n % 31 == 30 { Vec::new() } else { [head, body].concat().into_bytes() }
}

pub(crate) fn append(mailbox: &dyn Mailbox, numbers: impl IntoIterator<Item = u32>) {
    let mut batch = Batch::new();
    for n in numbers {
        let mut guid = [9; 16];
        guid[..4].copy_from_slice(&n.to_be_bytes());
        let pop3 = match n % 5 {
            0 => Pop3Identity { uidl: Some(format!("old-{n}").into_bytes()), order: Some(10_000 - n) },
            _ => Pop3Identity::default(),
        };
        let meta = SaveMeta {
            internal_date: Some(InternalDate::utc(1_500_000_000 + i64::from(n))),
            guid: Some(Guid(guid)),
            nuls: Some(mailstore::NulPolicy::Keep),
            pop3,
        };
        let mut save = mailbox.begin_save(meta, None).unwrap();
        save.write(&message(n)).unwrap();
        let flags = Flags::from_bits((n % 32) as u8);
        let keywords = ["$Label1", "Work"].into_iter().take(n as usize % 3);
        let keywords = keywords.map(|keyword| Keyword::new(keyword).unwrap()).collect();
        batch = batch.save(save.finish().unwrap(), flags, keywords);
    }
    let _ = mailbox.submit(batch).unwrap().wait().unwrap();
}

pub(crate) fn expunge(mailbox: &dyn Mailbox, uids: UidSet) {
    let _ = mailbox.submit(Batch::new().expunge(uids)).unwrap().wait().unwrap();
}

pub(crate) fn flag(mailbox: &dyn Mailbox, uids: UidSet, keyword: &str) {
    let change = FlagChange {
        uids,
        action: FlagAction::Add,
        flags: Flag::Flagged.into(),
        keywords: vec![Keyword::new(keyword).unwrap()],
        unchanged_since: None,
    };
    let _ = mailbox.submit(Batch::new().flags(change)).unwrap().wait().unwrap();
}

pub(crate) fn opened(storage: &dyn MailStorage, mailbox: &str) -> Arc<dyn Mailbox> {
    storage.mailbox(&name(mailbox)).unwrap()
}

/// Mail in five mailboxes, some flagged and some expunged later, the last of a mailbox among them.
pub(crate) fn fill(storage: &dyn MailStorage, count: u32) {
    for mailbox in ["Work", "Work/Projects", "Überblick & Co", "Empty"] {
        storage.create(&name(mailbox)).unwrap();
    }
    for (at, mailbox) in ["INBOX", "Work", "Work/Projects", "Überblick & Co"].into_iter().enumerate() {
        let first = 1 + 1000 * at as u32;
        let mailbox = opened(storage, mailbox);
        append(&*mailbox, first..first + count / 2);
        append(&*mailbox, first + count / 2..first + count);
        flag(&*mailbox, set([2, 3]), "Later");
        expunge(&*mailbox, set([1, count / 2, count]));
        flag(&*mailbox, set([2]), "last");
    }
    drop(opened(storage, "INBOX").view(&ViewAs { takes_recent: true }).unwrap());
    append(&*opened(storage, "INBOX"), [900]);
    for mailbox in ["Work", "INBOX", "Gone/for/long"] {
        storage.subscribe(&name(mailbox)).unwrap();
    }
}

pub(crate) fn run(source: &dyn MailStorage, destination: &dyn MailStorage, journal: &mut Journal) -> ConvertSummary {
    run_with(source, destination, journal, &ConvertOptions::default())
}

pub(crate) fn run_with(
    source: &dyn MailStorage,
    destination: &dyn MailStorage,
    journal: &mut Journal,
    options: &ConvertOptions,
) -> ConvertSummary {
    let mut told = None;
    let summary = convert(source, destination, journal, options, &mut |progress| told = Some(*progress)).unwrap();
    assert_eq!(told, Some(summary.progress));
    if summary.failures.is_empty() && !options.keep_deleted {
        assert_eq!(summary.progress.done, summary.progress.size, "{summary:?}");
    }
    summary
}

/// All that differs.
pub(crate) fn differences(source: &dyn MailStorage, destination: &dyn MailStorage) -> Vec<String> {
    let verified = verify(source, destination, &ConvertOptions::default(), &mut |_| {}).unwrap();
    assert_eq!(verified.progress.done, verified.progress.size);
    let mut differences: Vec<_> = verified.differences.iter().map(ToString::to_string).collect();
    for mailbox in source.list(&mailstore::ListPattern::all()).unwrap().into_iter().filter(|info| info.selectable) {
        if let (Ok(ours), Ok(theirs)) = (source.status(&mailbox.name), destination.status(&mailbox.name))
            && ours.recent != theirs.recent
        {
            differences.push(format!("{}: recent {} {}", mailbox.name, ours.recent, theirs.recent));
        }
    }
    differences
}

pub(crate) fn assert_same(source: &dyn MailStorage, destination: &dyn MailStorage) {
    let differences = differences(source, destination);
    assert!(differences.is_empty(), "{differences:#?}");
}
