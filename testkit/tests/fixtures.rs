//! The stores that a real Dovecot wrote, opened in place: everything that Dovecot reads out of them, we must read too.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that cannot go on fails, and says what it read")]

use std::{path::Path, sync::Arc};

use mailstore::{
    Column, Columns, Cursor, ListPattern, MailStorage, Row, Rows, ScanBudget, Section, StorageError, Store, View,
    ViewAs,
};
use mailtypes::{InternalDate, MailboxName};
use testkit::{
    fixtures::{Expected, ExpectedMailbox, ExpectedMessage, bytes_of, expected, unpack},
    observe::{moment, sha256},
    place::Place,
};

#[test]
fn sdbox_reads_as_dovecot_reads_it() {
    let summary = check("sdbox", 0);
    assert_eq!(summary, Summary { mailboxes: 9, messages: 54, detached: 0 });
}

#[test]
fn sdbox_with_attachments_reads_as_dovecot_reads_it_but_for_detached_bodies() {
    let summary = check("sdbox-attach", 1);
    assert!(summary.detached > 0, "the fixture has detached parts");
}

#[derive(Debug, Default, Eq, PartialEq)]
struct Summary {
    mailboxes: u32,
    messages: u32,
    detached: u32,
}

fn check(name: &str, detached_allowed: u32) -> Summary {
    let place = Place::new("fixture").unwrap();
    unpack(name, place.path()).unwrap();
    let expected = expected(name).unwrap();
    let store = Store::open(place.path().join("sdbox")).unwrap();
    let storage = Arc::clone(store.storage());
    check_names(&*storage, &expected);
    let mut summary = Summary::default();
    for (mailbox, expected) in expected.mailboxes.iter().filter(|(_, expected)| expected.selectable) {
        summary.mailboxes += 1;
        check_mailbox(&*storage, mailbox, expected, detached_allowed > 0, &mut summary);
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
    name: &str,
    expected: &ExpectedMailbox,
    detached: bool,
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
        let what = format!("{name}: UID {}", message.uid);
        summary.messages += 1;
        let uid = mailtypes::Uid::new(message.uid).unwrap();
        let mut rows = Rows::new();
        match view.scan(&[uid].into_iter().collect(), Cursor::START, &columns, ScanBudget::default(), &mut rows) {
            Ok(rest) => {
                assert_eq!((rest, rows.rows.len()), (None, 1), "{what}");
                check_row(&rows, &rows.rows[0], message, &what);
            }
            Err(error) => refused(&error, detached, &what),
        }
        match body(&*view, uid) {
            Ok(body) => {
                assert_eq!(body.len() as u64, message.body_octets, "{what}: octets");
                assert_eq!(sha256(&body), message.sha256, "{what}: body");
            }
            Err(error) => {
                refused(&error, detached, &what);
                summary.detached += 1;
            }
        }
    }
}

/// Only detached attachments may be refused, and by name.
fn refused(error: &StorageError, detached: bool, what: &str) {
    let named = matches!(error, StorageError::Unsupported(text) if text.contains("detached"));
    assert!(detached && named, "{what}: {error}");
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
    assert_eq!(row.guid.map(|guid| guid.to_string()).as_ref(), Some(&message.guid), "{what}: GUID");
    assert_eq!(row.size, Some(message.rfc822_size), "{what}: RFC822.SIZE");
    assert_eq!(
        row.internal_date.map(|date: InternalDate| date.unix),
        Some(moment(&message.internaldate).unwrap()),
        "{what}: INTERNALDATE"
    );
    let text = |range: Option<mailstore::ArenaRange>| String::from_utf8_lossy(rows.text(range.unwrap())).into_owned();
    assert_eq!(text(row.envelope), String::from_utf8_lossy(&bytes_of(&message.envelope)), "{what}: ENVELOPE");
    assert_eq!(
        text(row.body_structure),
        String::from_utf8_lossy(&bytes_of(&message.bodystructure)),
        "{what}: BODYSTRUCTURE"
    );
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

#[test]
fn what_is_no_store_is_named() {
    let place = Place::new("no-store").unwrap();
    let missing = Store::open(Path::new("/nowhere/at/all"));
    assert!(missing.is_err());
    let file = place.path().join("file");
    std::fs::write(&file, "not a folder").unwrap();
    assert!(matches!(Store::open(&file), Err(StorageError::NotAStore { path, .. }) if path == file));
}
