//! Purging an mdbox, moving its messages to alternate storage and bringing expunged ones back, beside a real Dovecot 2.3:
//! what either does the other one goes on from, and Dovecot's log stays empty.

#![allow(unreachable_pub, clippy::print_stdout, clippy::unwrap_used, reason = "in a test's helper as in the test")]

mod beside_dovecot;
mod doveadm;
mod dovecot;
mod dovecot_shown;
mod sample_mail;

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use beside_dovecot::{Kind, append, compare};
use doveadm::{doveadm, is_installed};
use dovecot::Shared;
use mailfs::RealDisk;
use mailindex::engine::{Env, EnvOptions};
use mailstore::{
    Batch, ListOptions, MailStorage, Mailbox, Section, ViewAs,
    dbox::MoveTo,
    mdbox::{MdboxOptions, MdboxStorage},
};
use mailtypes::{Flags, Uid, UidSet};
use sample_mail::{messages, name};

fn alt(root: &Path) -> PathBuf {
    root.with_file_name("alt")
}

fn mdbox(env: &Env, root: &Path) -> MdboxStorage {
    let list = ListOptions { alt: Some(alt(root)), ..ListOptions::default() };
    let options = MdboxOptions { list, rotate_size: 3000, ..MdboxOptions::default() };
    MdboxStorage::create(env, root, options).unwrap()
}

const KIND: Kind = Kind {
    location: |root| format!("mdbox:{}:ALT={}", root.display(), alt(root).display()),
    open: |env, root| Arc::new(mdbox(env, root)),
};

fn open(shared: &Shared) -> MdboxStorage {
    mdbox(&Env::new(Arc::new(RealDisk::new()), EnvOptions::default()), &shared.root())
}

fn uids(of: impl IntoIterator<Item = u32>) -> UidSet {
    of.into_iter().filter_map(Uid::new).collect()
}

/// How many files of messages lie in primary and in alternate storage, and their bytes.
fn files(shared: &Shared) -> ((usize, u64), (usize, u64)) {
    let below = |root: &Path| {
        let entries = fs::read_dir(root.join("storage")).map(|dir| dir.map(Result::unwrap).collect::<Vec<_>>());
        let named = |entry: &fs::DirEntry| entry.file_name().into_string().unwrap();
        let entries = entries.unwrap_or_default();
        let left = |name: &str| {
            name.starts_with(".temp.")
                || (name.starts_with("culver") && !name.starts_with("culver.kept."))
                || name.ends_with(".broken")
        };
        assert!(!entries.iter().any(|entry| left(&named(entry))), "{entries:?}");
        let files = entries.iter().filter(|entry| named(entry).starts_with("m."));
        files.fold((0, 0), |(count, len), file| (count + 1, len + file.metadata().unwrap().len()))
    };
    (below(&shared.root()), below(&alt(&shared.root())))
}

fn fill(store: &MdboxStorage) -> Arc<dyn Mailbox> {
    let inbox = store.mailbox(&name("INBOX")).unwrap();
    for round in 0..3 {
        for (n, message) in messages().iter().take(8).enumerate() {
            append(&*inbox, message, Flags::NONE, &["$Label1"], 1_600_000_000 + round * 100 + n as i64);
        }
    }
    store.create(&name("Copies")).unwrap();
    inbox
}

fn expunge(mailbox: &dyn Mailbox, which: UidSet) {
    mailbox.submit(Batch::new().expunge(which)).unwrap().wait().unwrap();
}

/// All but that the store is rebuilt where that was asked for.
fn complaints(shared: &Shared) -> Vec<String> {
    let asked = |line: &String| line.contains("rebuilding indexes") || line.contains("fscking index file");
    shared.complaints().into_iter().filter(|line| !asked(line)).collect()
}

#[test]
fn all_else_is_as_without() {
    if is_installed() {
        beside_dovecot::dovecot_reads_what_we_write(&KIND);
        beside_dovecot::we_read_what_dovecot_writes(&KIND);
        beside_dovecot::turn_about(&KIND, 40, 20_261_125, None);
    }
}

#[test]
fn purges_beside_dovecots() {
    if !is_installed() {
        return;
    }
    let shared = KIND.shared();
    let store = open(&shared);
    let inbox = fill(&store);
    let mut imap = shared.imap();
    let copies = store.mailbox(&name("Copies")).unwrap();
    copies.submit(Batch::new().copy(Arc::clone(&inbox), uids(5..=8))).unwrap().wait().unwrap();
    expunge(&*inbox, uids((1..=24).filter(|n| n % 3 != 0)));
    let before = files(&shared);
    let purged = store.purge().unwrap();
    assert_eq!((purged.removed, &purged.left[..]), (13, &[][..]), "16 expunged, of which three have copies");
    let after = files(&shared);
    assert_eq!(before.0.1 - after.0.1, purged.freed);
    compare(&shared, &store, &mut imap, "after our purge", false);
    assert_eq!(store.purge().unwrap().files, 0);

    // Dovecot goes on from there, and we from its purge.
    shared.own();
    imap.run("SELECT INBOX");
    imap.run("UID STORE 3:9 +FLAGS (\\Deleted)");
    imap.run("EXPUNGE");
    imap.run("UNSELECT");
    imap.append("INBOX", "", &messages()[0]);
    doveadm(&shared, &["purge"]);
    compare(&shared, &store, &mut imap, "after Dovecot's purge", true);
    expunge(&*inbox, uids([12]));
    assert_eq!(store.purge().unwrap().removed, 1);
    compare(&shared, &store, &mut imap, "after our second purge", true);
    assert_eq!(shared.complaints(), [""; 0]);
    doveadm(&shared, &["force-resync", "*"]);
    compare(&shared, &open(&shared), &mut shared.imap(), "after force-resync", true);
    assert_eq!(complaints(&shared), [""; 0]);
}

#[test]
fn alternate_storage_beside_dovecots() {
    if !is_installed() {
        return;
    }
    let shared = KIND.shared();
    let store = open(&shared);
    let inbox = fill(&store);
    let mut imap = shared.imap();
    let moved = store.move_messages(&name("INBOX"), &uids(3..=6), MoveTo::Alternate).unwrap();
    assert_eq!(moved.moved, uids(3..=6));
    let ((_, primary), (count, bytes)) = files(&shared);
    assert!(count == 1 && bytes > moved.bytes && bytes < moved.bytes + 100 && primary > 0);
    assert!(store.move_messages(&name("INBOX"), &uids(3..=6), MoveTo::Alternate).unwrap().moved.is_empty());
    compare(&shared, &store, &mut imap, "after our move", false);

    // What Dovecot has moved stays where it is when we purge.
    doveadm(&shared, &["altmove", "mailbox", "INBOX", "uid", "10:12"]);
    store.purge().unwrap();
    compare(&shared, &store, &mut imap, "after Dovecot's move and our purge", true);
    let lies =
        |uid: u32| store.move_messages(&name("INBOX"), &uids([uid]), MoveTo::Alternate).unwrap().moved.is_empty();
    assert!(lies(10) && lies(11) && lies(12));
    doveadm(&shared, &["altmove", "-r", "mailbox", "INBOX", "uid", "4"]);
    doveadm(&shared, &["purge"]);
    compare(&shared, &store, &mut imap, "after what Dovecot takes for a move back", true);
    let back = store.move_messages(&name("INBOX"), &uids(1..=24), MoveTo::Primary).unwrap();
    // Dovecot 2.3.19 writes what it is to bring back from alternate storage anew, in alternate storage.
    assert_eq!(back.moved, uids([3, 4, 5, 6, 10, 11, 12]));
    assert_eq!(files(&shared).1, (0, 0));
    compare(&shared, &store, &mut imap, "after our move back", true);
    expunge(&*inbox, uids(1..=4));
    store.purge().unwrap();
    doveadm(&shared, &["force-resync", "*"]);
    compare(&shared, &open(&shared), &mut shared.imap(), "after force-resync", true);
    assert_eq!(complaints(&shared), [""; 0]);
}

#[test]
fn expunged_messages_come_back() {
    if !is_installed() {
        return;
    }
    let shared = KIND.shared();
    let store = open(&shared);
    let inbox = fill(&store);
    let mut imap = shared.imap();
    let body = |uid: u32| {
        let view = inbox.view(&ViewAs::default()).unwrap();
        let mut body = view.body(Uid::new(uid).unwrap()).unwrap();
        let mut bytes = vec![0; body.size() as usize];
        body.read_at(Section::WHOLE, 0, &mut bytes).unwrap();
        bytes
    };
    let whole = body(8);
    expunge(&*inbox, uids(7..=9));
    let expunged = store.expunged().unwrap();
    assert_eq!(expunged.len(), 3);
    assert!(expunged.iter().all(|message| message.mailbox.as_deref() == Some("INBOX") && message.guid.is_some()));
    assert_eq!(expunged[1].subject.as_deref(), Some("grüße"));
    assert_eq!(expunged[2].subject.as_deref(), Some("plain"));
    let back = store.restore_expunged(&[expunged[1].number], None).unwrap();
    assert_eq!(back, [(name("INBOX"), 1)]);
    assert_eq!(body(25), whole);
    compare(&shared, &store, &mut imap, "after one came back", false);
    let other = store.restore_expunged(&[expunged[0].number, expunged[1].number], Some(&name("Copies"))).unwrap();
    assert_eq!(other, [(name("Copies"), 1)], "one of them is there already");
    assert_eq!(store.purge().unwrap().removed, 1);
    assert!(store.expunged().unwrap().is_empty());
    compare(&shared, &store, &mut imap, "after the purge", true);
    assert_eq!(shared.complaints(), [""; 0]);
    doveadm(&shared, &["force-resync", "*"]);
    compare(&shared, &open(&shared), &mut shared.imap(), "after force-resync", true);
    assert_eq!(complaints(&shared), [""; 0]);
}
