//! The cache beside Dovecot: each reads what the other wrote, learned and purged, and neither throws the file away.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod doveadm;
mod dovecot;
mod dovecot_shown;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use doveadm::{doveadm, is_installed};
use dovecot::Shared;
use dovecot_shown::{assert_same, contains, one, shown_by_dovecot, shown_by_us};
use mailfs::RealDisk;
use mailindex::{
    cache::{Decision, Fields, RawCacheHeader},
    engine::{Background, Env, EnvOptions},
};
use mailstore::{
    Append, Column, Columns, Store, StoreOptions,
    mailtypes::{MailboxName, Uid, UidSet},
};

fn env() -> Env {
    Env::new(Arc::new(RealDisk::new()), EnvOptions { background: Background::Manual, ..EnvOptions::default() })
}

fn open(env: &Env, root: &Path) -> Store {
    Store::create_in(env, root, &StoreOptions::default()).unwrap()
}

fn cache_file(root: &Path) -> PathBuf {
    root.join("mailboxes/INBOX/dbox-Mails/dovecot.index.cache")
}

fn header(root: &Path) -> RawCacheHeader {
    RawCacheHeader::read(&mut &fs::read(cache_file(root)).unwrap()[..]).unwrap()
}

fn decision(root: &Path, field: &str) -> Decision {
    let bytes = fs::read(cache_file(root)).unwrap();
    let fields = Fields::read(&mut &bytes[..], &header(root)).unwrap();
    fields.get(fields.find(field.as_bytes()).unwrap()).unwrap().decision
}

fn deliver(store: &Store, count: u32) {
    let inbox = store.mailbox("INBOX").unwrap();
    for number in 0..count {
        let (text, filler) = (format!("Subject: {number}\r\nFrom: <a{number}@x>\r\n"), "x".repeat(200));
        let message = format!("{text}X-Filler: {filler}\r\nMessage-ID: <{number}@{filler}>\r\n\r\nbody\r\n");
        inbox.append(Append::new(message.as_bytes())).unwrap();
    }
}

/// What both show, after either has purged, and what each left in the file is still there.
#[test]
fn each_reads_what_the_other_purged() {
    if !is_installed() {
        return;
    }
    let shared = Shared::new();
    let (root, env) = (shared.root(), env());
    let store = open(&env, &root);
    deliver(&store, 150);
    let mut imap = shared.imap();
    imap.run("SELECT INBOX");
    imap.run("UID FETCH 1:* (ENVELOPE BODYSTRUCTURE BODY.PEEK[HEADER.FIELDS (X-FILLER)])");
    drop(imap);
    let before = header(&root);
    // More than a fifth goes here, and we purge.
    let view = store.mailbox("INBOX").unwrap().view().unwrap();
    let gone: UidSet = view.view().uids().iter().filter(|uid| uid.value() % 3 == 0).collect();
    view.expunge(&gone).unwrap();
    env.drain();
    let ours = header(&root);
    assert_ne!(ours.file_seq, before.file_seq, "we have purged");
    assert_eq!((ours.record_count.get(), ours.deleted_record_count.get()), (100, 0));
    let shown = shown_by_us(&**store.storage());
    shared.own();
    assert_same(&shown, &shown_by_dovecot(&mut shared.imap()), "after our purge");
    // Dovecot does.
    doveadm(&shared, &["mailbox", "cache", "purge", "INBOX"]);
    assert_ne!(header(&root).file_seq, ours.file_seq, "Dovecot has purged");
    assert_same(&shown_by_us(&**open(&env, &root).storage()), &shown, "after Dovecot's purge");
    deliver(&open(&env, &root), 3);
    shared.own();
    assert_same(&shown_by_us(&**store.storage()), &shown_by_dovecot(&mut shared.imap()), "with more");
    // What we expunge, Dovecot counts among the deleted.
    let view = store.mailbox("INBOX").unwrap().view().unwrap();
    view.expunge(&one(Uid::new(1).unwrap())).unwrap();
    assert_eq!(header(&root).deleted_record_count.get(), 1);
    shared.own();
    assert_same(&shown_by_us(&**store.storage()), &shown_by_dovecot(&mut shared.imap()), "after an expunge");
    assert_eq!(shared.complaints(), Vec::<String>::new());
}

/// A Dovecot that is told to keep envelopes gets them from us too, and serves ours.
#[test]
fn envelopes_are_kept_where_dovecot_wants_them() {
    if !is_installed() {
        return;
    }
    let shared = Shared::new();
    let path = shared.dir.path().join("dovecot.conf");
    let config = fs::read_to_string(&path).unwrap();
    fs::write(path, config + "mail_never_cache_fields =\nmail_always_cache_fields = imap.envelope\n").unwrap();
    let (root, env) = (shared.root(), env());
    let mut imap = shared.imap();
    imap.append("INBOX", "", b"Subject: of Dovecot\r\nFrom: <d@x>\r\n\r\nx\r\n");
    imap.run("SELECT INBOX");
    imap.run("UID FETCH 1 (ENVELOPE)");
    drop(imap);
    assert!(decision(&root, "imap.envelope").stores(), "{:?}", decision(&root, "imap.envelope"));
    let store = open(&env, &root);
    deliver(&store, 1);
    // Without the header fields, as if the message had come long ago: it is looked at, and its envelope kept.
    let inbox = store.storage().mailbox(&MailboxName::inbox()).unwrap();
    let view = inbox.view(&mailstore::ViewAs::default()).unwrap();
    let mut rows = mailstore::Rows::new();
    let columns = Columns::default() | Column::Envelope;
    let all = view.uids();
    view.scan(&all, mailstore::Cursor::START, &columns, mailstore::ScanBudget::default(), &mut rows).unwrap();
    view.flush_cache();
    let ours = rows.text(rows.rows[1].envelope.unwrap()).to_vec();
    let bytes = fs::read(cache_file(&root)).unwrap();
    assert!(contains(&bytes, &ours[1..ours.len() - 1]), "it stands in the file");
    shared.own();
    assert_same(&shown_by_us(&**store.storage()), &shown_by_dovecot(&mut shared.imap()), "by Dovecot");
    assert_eq!(shared.complaints(), Vec::<String>::new());
}
