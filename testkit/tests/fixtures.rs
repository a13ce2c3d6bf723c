//! The stores that a real Dovecot wrote, opened in place: everything that Dovecot reads out of them, we must read too.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that cannot go on fails, and says what it read")]

use std::{path::Path, sync::Arc};

use mailstore::{
    Batch, Column, Columns, Cursor, ListOptions, ListPattern, MailStorage, Row, Rows, ScanBudget, Section,
    StorageError, Store, StoreOptions, View, ViewAs,
    import::{ImportOptions, SourceKind, import},
    mailfs::RealDisk,
    mailindex::engine::{Env, EnvOptions},
    memory::MemoryStorage,
    open_storage,
};
use mailtypes::{InternalDate, MailboxName};
use testkit::{
    fixtures::{Expected, ExpectedMailbox, ExpectedMessage, bytes_of, expected, store_in, unpack},
    observe::{as_2_4_tells, moment, sha256},
    place::Place,
};

/// A test for each store: `NAME`, written by 2.3, or `2.4/NAME`.
macro_rules! fixtures {
    ($($test:ident: $name:literal, $messages:literal;)+) => {
        $(#[test] fn $test() { assert_eq!(check($name), Summary { mailboxes: 9, messages: $messages }); })+
    };
}

fixtures! {
    sdbox_reads_as_dovecot_reads_it: "sdbox", 54;
    sdbox_with_attachments_reads_as_dovecot_reads_it: "sdbox-attach", 38;
    sdbox_with_layout_index_reads_as_dovecot_reads_it: "sdbox-layoutindex", 42;
    mdbox_reads_as_dovecot_reads_it: "mdbox", 54;
    mdbox_with_zstd_reads_as_dovecot_reads_it: "mdbox-zstd", 42;
    mdbox_with_alternate_storage_reads_as_dovecot_reads_it: "mdbox-alt", 43;
    maildir_reads_as_dovecot_reads_it: "maildir", 49;
    maildir_with_layout_fs_reads_as_dovecot_reads_it: "maildir-fs", 55;
    sdbox_of_2_4_reads_as_dovecot_reads_it: "2.4/sdbox", 46;
    sdbox_with_attachments_of_2_4_reads_as_dovecot_reads_it: "2.4/sdbox-attach", 46;
    sdbox_with_layout_index_of_2_4_reads_as_dovecot_reads_it: "2.4/sdbox-layoutindex", 46;
    mdbox_of_2_4_reads_as_dovecot_reads_it: "2.4/mdbox", 46;
    mdbox_with_zstd_of_2_4_reads_as_dovecot_reads_it: "2.4/mdbox-zstd", 46;
    mdbox_with_alternate_storage_of_2_4_reads_as_dovecot_reads_it: "2.4/mdbox-alt", 46;
    maildir_of_2_4_reads_as_dovecot_reads_it: "2.4/maildir", 48;
    maildir_with_layout_fs_of_2_4_reads_as_dovecot_reads_it: "2.4/maildir-fs", 48;
}

#[test]
fn mbox_reads_as_dovecot_reads_it() {
    assert_eq!(check("mbox").mailboxes, 9);
}

#[derive(Debug, Default, Eq, PartialEq)]
struct Summary {
    mailboxes: u32,
    messages: u32,
}

/// Opens a fixture; its format is found.
fn open(name: &str, home: &Path) -> Arc<dyn MailStorage> {
    unpack(name, home).unwrap();
    let alt = home.join("mdbox-alt");
    let list = ListOptions { alt: alt.exists().then_some(alt), ..ListOptions::default() };
    let options = StoreOptions { attachments: Some(home.join("attachments")), list, ..StoreOptions::default() };
    let env = Env::new(Arc::new(RealDisk::new()), EnvOptions::default());
    open_storage(&env, &store_in(name, home), &options).unwrap()
}

fn check(name: &str) -> Summary {
    let place = Place::new("fixture").unwrap();
    let storage = open(name, place.path());
    let expected = expected(name).unwrap();
    check_names(&*storage, &expected);
    let mut summary = Summary::default();
    for (mailbox, expected) in expected.mailboxes.iter().filter(|(_, expected)| expected.selectable) {
        summary.mailboxes += 1;
        check_mailbox(&*storage, name, mailbox, expected, &mut summary);
    }
    println!("{name}: {summary:?}");
    summary
}

fn check_names(storage: &dyn MailStorage, expected: &Expected) {
    let listed: Vec<_> = storage.list(&ListPattern::all()).unwrap();
    let listed: std::collections::BTreeMap<_, _> =
        listed.iter().map(|info| (info.name.as_str(), info.selectable)).collect();
    let names: std::collections::BTreeMap<_, _> =
        expected.mailboxes.iter().map(|(name, m)| (name.as_str(), m.selectable)).collect();
    assert_eq!(listed, names);
    let mut subscribed: Vec<_> = storage.subscriptions().unwrap().iter().map(ToString::to_string).collect();
    subscribed.sort();
    let mut wanted = expected.subscriptions.clone();
    wanted.sort();
    assert_eq!(subscribed, wanted);
}

fn check_mailbox(
    storage: &dyn MailStorage,
    fixture: &str,
    name: &str,
    expected: &ExpectedMailbox,
    summary: &mut Summary,
) {
    let mailbox = storage.mailbox(&MailboxName::new(name).unwrap()).unwrap();
    assert_eq!(Some(mailbox.guid().to_string()), expected.guid, "{name}: GUID");
    let status = mailbox.status().unwrap();
    assert_eq!(Some(status.messages), expected.messages, "{name}: MESSAGES");
    assert_eq!(Some(status.unseen), expected.unseen, "{name}: UNSEEN");
    assert_eq!(Some(status.uid_next.value()), expected.uidnext, "{name}: UIDNEXT");
    assert_eq!(Some(status.uid_validity.value()), expected.uidvalidity, "{name}: UIDVALIDITY");
    assert_eq!(Some(status.highest_modseq.value()), expected.highestmodseq, "{name}: HIGHESTMODSEQ");
    assert_eq!(Some(mailbox.size().unwrap()), expected.size, "{name}: SIZE");
    let view = mailbox.view(&ViewAs::default()).unwrap();
    let columns = Columns::flags()
        .with(Column::Size)
        .with(Column::InternalDate)
        .with(Column::Guid)
        .with(Column::Envelope)
        .with(Column::BodyStructure);
    let messages = expected.messages_list.as_deref().unwrap_or_default();
    assert_eq!(view.message_count() as usize, messages.len(), "{name}");
    for message in messages {
        let what = format!("{fixture}: {name}: UID {}", message.uid);
        summary.messages += 1;
        let uid = mailtypes::Uid::new(message.uid).unwrap();
        let mut rows = Rows::new();
        let one = [uid].into_iter().collect();
        let rest = view.scan(&one, Cursor::START, &columns, ScanBudget::default(), &mut rows).unwrap();
        assert_eq!((rest, rows.rows.len()), (None, 1), "{what}");
        check_row(&rows, &rows.rows[0], message, &what);
        let body = body(&*view, uid).unwrap();
        assert_eq!(body.len() as u64, message.body_octets, "{what}: octets");
        assert_eq!(sha256(&body), message.sha256, "{what}: body");
    }
}

fn check_row(rows: &Rows, row: &Row, message: &ExpectedMessage, what: &str) {
    assert_eq!(row.seq.value(), message.seq, "{what}: sequence number");
    let mut flags: Vec<_> = row.flags.iter().map(|flag| flag.name().to_owned()).collect();
    flags.sort();
    assert_eq!(flags, message.flags, "{what}: flags");
    let mut keywords: Vec<_> = rows.keywords(row).iter().map(ToString::to_string).collect();
    keywords.sort();
    assert_eq!(keywords, message.keywords, "{what}: keywords");
    assert_eq!(row.modseq.value(), message.modseq, "{what}: mod-sequence");
    assert_eq!(row.guid.map(|guid| guid.to_string()), Some(guid_128(&message.guid)), "{what}: GUID");
    assert_eq!(row.size, Some(message.rfc822_size), "{what}: RFC822.SIZE");
    assert_eq!(
        row.internal_date.map(|date: InternalDate| date.unix),
        Some(moment(&message.internaldate).unwrap()),
        "{what}: INTERNALDATE"
    );
    check_texts(rows, row, message, what);
}

fn check_texts(rows: &Rows, row: &Row, message: &ExpectedMessage, what: &str) {
    let is_2_4 = what.starts_with("2.4/");
    let text = |bytes: &[u8]| match is_2_4 {
        true => as_2_4_tells(bytes).unwrap(),
        false => String::from_utf8_lossy(bytes).into_owned(),
    };
    for (name, ours, expected) in
        [("ENVELOPE", row.envelope, &message.envelope), ("BODYSTRUCTURE", row.body_structure, &message.bodystructure)]
    {
        assert_eq!(text(rows.text(ours.unwrap())), text(&bytes_of(expected)), "{what}: {name}");
    }
}

/// Where a GUID is a text, as in Maildir, its binary form is the end of its hash (`docs/formats/README.md`, GUID128).
fn guid_128(text: &str) -> String {
    if text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return text.to_owned();
    }
    let hash = <sha1::Sha1 as sha1::Digest>::digest(text.as_bytes());
    hash[4..].iter().map(|byte| format!("{byte:02x}")).collect()
}

fn body(view: &dyn View, uid: mailtypes::Uid) -> mailstore::Result<Vec<u8>> {
    let mut body = view.body(uid)?;
    let mut bytes = Vec::new();
    let mut piece = [0; 1000];
    loop {
        match body.read_at(Section::WHOLE, bytes.len() as u64, &mut piece)? {
            0 => break,
            len => bytes.extend_from_slice(&piece[..len]),
        }
    }
    assert_eq!(bytes.len() as u64, body.size());
    Ok(bytes)
}

/// The messages as an import reads them: what Dovecot tells of them is in the bytes alone.
#[test]
fn mbox_messages_read_as_dovecot_reads_them() {
    let place = Place::new("mbox").unwrap();
    unpack("mbox", place.path()).unwrap();
    let expected = expected("mbox").unwrap();
    let columns = Columns::default().with(Column::Size).with(Column::Envelope).with(Column::BodyStructure);
    let mut compared = 0;
    for (name, mailbox) in expected.mailboxes.iter().filter(|(_, mailbox)| mailbox.selectable) {
        let messages = mailbox.messages_list.as_deref().unwrap_or_default();
        let file = if name == "INBOX" { "inbox".to_owned() } else { mailtypes::mutf7::encode(name) };
        let storage = MemoryStorage::default();
        let options = ImportOptions { kind: Some(SourceKind::Mbox), ..ImportOptions::default() };
        let path = place.path().join("mail").join(file);
        let summary = import(&RealDisk::new(), &path, &storage, &options, &mut |_| ()).unwrap();
        assert_eq!(summary.progress.imported, messages.len() as u64, "{name}: {summary:?}");
        let view = storage.mailbox(&MailboxName::inbox()).unwrap().view(&ViewAs::default()).unwrap();
        let (mut rows, mut at) = (Rows::new(), Some(Cursor::START));
        while let Some(from) = at {
            at = view.scan(&view.uids(), from, &columns, ScanBudget::default(), &mut rows).unwrap();
        }
        for (row, message) in rows.rows.iter().zip(messages) {
            let what = format!("{name}: message {}", message.seq);
            if (name.as_str(), message.seq) == ("INBOX", 18) {
                // It ends with a quoted "From ", and without the empty line that ends a message: an import takes the
                // quoting back and keeps the end of line, where Dovecot serves the one and drops the other.
                assert_eq!(row.size, Some(message.rfc822_size + 1), "{what}");
                continue;
            }
            check_texts(&rows, row, message, &what);
            assert_eq!(row.size, Some(message.rfc822_size), "{what}: RFC822.SIZE");
            assert_eq!(sha256(&body(&*view, row.uid).unwrap()), message.sha256, "{what}: body");
            compared += 1;
        }
    }
    assert_eq!(compared, 45);
}

/// Copies have names of their own for their attachments; the content goes with the last of them.
#[test]
fn attachments_go_with_their_messages() {
    let place = Place::new("attachments").unwrap();
    let storage = open("sdbox-attach", place.path());
    let count = || {
        let folders = walk(&place.path().join("attachments"));
        folders.into_iter().filter(|path| path.is_file()).count()
    };
    let before = count();
    let inbox = storage.mailbox(&MailboxName::inbox()).unwrap();
    let view = inbox.view(&ViewAs::default()).unwrap();
    storage.create(&MailboxName::new("copies").unwrap()).unwrap();
    let copies = storage.mailbox(&MailboxName::new("copies").unwrap()).unwrap();
    let copied = copies.submit(Batch::new().copy(Arc::clone(&inbox), view.uids())).unwrap().wait().unwrap().copied;
    assert_eq!(copied.len(), view.uids().count() as usize);
    assert!(count() > before, "the copies have attachments");
    let bodies = |view: &dyn View, uids: &[mailtypes::Uid]| -> Vec<String> {
        uids.iter().map(|uid| sha256(&body(view, *uid).unwrap())).collect()
    };
    let (old, new): (Vec<_>, Vec<_>) = copied.into_iter().unzip();
    let of_old = bodies(&*view, &old);
    inbox.submit(Batch::new().expunge(view.uids())).unwrap().wait().unwrap();
    let view = copies.view(&ViewAs::default()).unwrap();
    assert_eq!(bodies(&*view, &new), of_old, "the copies are whole without the originals");
    copies.submit(Batch::new().expunge(view.uids())).unwrap().wait().unwrap();
    assert!(count() < before, "nothing is left of those that went");
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

#[test]
fn what_is_no_store_is_named() {
    let place = Place::new("no-store").unwrap();
    let missing = Store::open(Path::new("/nowhere/at/all"));
    assert!(missing.is_err());
    let file = place.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    assert!(matches!(Store::open(&file), Err(StorageError::NotAStore { path, .. }) if path == file));
}
