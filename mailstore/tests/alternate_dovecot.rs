//! sdbox with alternate storage beside a real Dovecot 2.3: what either moves the other one finds, copies, expunges and
//! moves back, and Dovecot's log stays empty.

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
    Batch, ListOptions, MailStorage, ViewAs,
    dbox::{self, DboxMessage, MoveTo},
    sdbox::{SdboxOptions, SdboxStorage},
};
use mailtypes::{Flags, Uid, UidSet};
use sample_mail::{messages, name};

fn alt(root: &Path) -> PathBuf {
    root.with_file_name("alt")
}

fn sdbox(env: &Env, root: &Path) -> SdboxStorage {
    let list = ListOptions { alt: Some(alt(root)), ..ListOptions::default() };
    SdboxStorage::create(env, root, SdboxOptions { list, ..SdboxOptions::default() }).unwrap()
}

const KIND: Kind = Kind {
    location: |root| format!("sdbox:{}:ALT={}", root.display(), alt(root).display()),
    open: |env, root| Arc::new(sdbox(env, root)),
};

fn open(shared: &Shared) -> SdboxStorage {
    sdbox(&Env::new(Arc::new(RealDisk::new()), EnvOptions::default()), &shared.root())
}

fn uids(of: &[u32]) -> UidSet {
    of.iter().filter_map(|uid| Uid::new(*uid)).collect()
}

/// The message files of a mailbox in primary and in alternate storage.
fn files(shared: &Shared, mailbox: &str) -> (Vec<u32>, Vec<u32>) {
    let below = |root: &Path| {
        let dir = root.join("mailboxes").join(mailbox).join("dbox-Mails");
        let entries = fs::read_dir(dir).map(|dir| dir.map(|e| e.unwrap().file_name().into_string().unwrap()).collect());
        let names: Vec<String> = entries.unwrap_or_default();
        assert!(!names.iter().any(|name| name.starts_with(".temp.")), "{names:?}");
        let mut uids: Vec<u32> = names.iter().filter_map(|n| n.strip_prefix("u.")?.parse().ok()).collect();
        uids.sort_unstable();
        uids
    };
    (below(&shared.root()), below(&alt(&shared.root())))
}

fn filled(shared: &Shared) -> SdboxStorage {
    let store = open(shared);
    let inbox = store.mailbox(&name("INBOX")).unwrap();
    for (n, message) in messages().iter().take(5).enumerate() {
        append(&*inbox, message, Flags::NONE, &["$Label1"], 1_600_000_000 + n as i64);
    }
    store.create(&name("Copies")).unwrap();
    store
}

#[test]
fn dovecot_finds_what_we_move() {
    if !is_installed() {
        return;
    }
    let shared = KIND.shared();
    let store = filled(&shared);
    let mut imap = shared.imap();
    let moved = store.move_messages(&name("INBOX"), &uids(&[2, 3, 9]), MoveTo::Alternate).unwrap();
    assert_eq!(moved.moved, uids(&[2, 3]));
    assert_eq!(files(&shared, "INBOX"), (vec![1, 4, 5], vec![2, 3]));
    assert_eq!(fs::read_link(shared.root().join("dbox-alt-root")).unwrap(), alt(&shared.root()));
    compare(&shared, &store, &mut imap, "after our move", false);
    assert!(store.move_messages(&name("INBOX"), &uids(&[2, 3]), MoveTo::Alternate).unwrap().moved.is_empty());

    // Copies stay in the storage that they are in, whoever makes them.
    let inbox = store.mailbox(&name("INBOX")).unwrap();
    let target = store.mailbox(&name("Copies")).unwrap();
    target.submit(Batch::new().copy(Arc::clone(&inbox), uids(&[1, 2]))).unwrap().wait().unwrap();
    assert_eq!(files(&shared, "Copies"), (vec![1], vec![2]));
    shared.own();
    imap.run("SELECT INBOX");
    imap.run("UID COPY 3:4 Copies");
    imap.run("UNSELECT");
    assert_eq!(files(&shared, "Copies"), (vec![1, 4], vec![2, 3]));
    compare(&shared, &store, &mut imap, "after copies", true);

    // Dovecot brings one back, and expunges another.
    doveadm(&shared, &["altmove", "-r", "mailbox", "INBOX", "uid", "2"]);
    assert_eq!(files(&shared, "INBOX"), (vec![1, 2, 4, 5], vec![3]));
    doveadm(&shared, &["expunge", "mailbox", "INBOX", "uid", "3"]);
    assert_eq!(files(&shared, "INBOX"), (vec![1, 2, 4, 5], vec![]));
    compare(&shared, &store, &mut imap, "after Dovecot's move and expunge", true);
    // The checksums are still there.
    let mails = shared.root().join("mailboxes/INBOX/dbox-Mails");
    let verified = dbox::verify(DboxMessage::open(&RealDisk::new(), &mails.join("u.2")).unwrap()).unwrap();
    assert!(verified.checksum);
    doveadm(&shared, &["force-resync", "*"]);
    compare(&shared, &store, &mut imap, "after force-resync", true);
    assert_eq!(complaints(&shared), [""; 0]);
}

/// All but that an index is rebuilt, which was asked for.
fn complaints(shared: &Shared) -> Vec<String> {
    shared.complaints().into_iter().filter(|line| !line.contains("Rebuilding index")).collect()
}

#[test]
fn we_find_what_dovecot_moves() {
    if !is_installed() {
        return;
    }
    let shared = KIND.shared();
    let store = filled(&shared);
    let mut imap = shared.imap();
    doveadm(&shared, &["altmove", "mailbox", "INBOX", "uid", "1:3"]);
    assert_eq!(files(&shared, "INBOX"), (vec![4, 5], vec![1, 2, 3]));
    compare(&shared, &store, &mut imap, "after Dovecot's move", false);
    let moved = store.move_messages(&name("INBOX"), &uids(&[1, 4]), MoveTo::Primary).unwrap();
    assert_eq!(moved.moved, uids(&[1]));
    assert_eq!(files(&shared, "INBOX"), (vec![1, 4, 5], vec![2, 3]));
    let inbox = store.mailbox(&name("INBOX")).unwrap();
    inbox.submit(Batch::new().expunge(uids(&[2]))).unwrap().wait().unwrap();
    assert_eq!(files(&shared, "INBOX"), (vec![1, 4, 5], vec![3]));
    compare(&shared, &store, &mut imap, "after our move back and expunge", true);
    assert_eq!(complaints(&shared), [""; 0]);
}

/// What lies in alternate storage goes with its mailbox, and an index that is lost is made of both.
#[test]
fn mailboxes_and_their_alternate_storage() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("mail");
    let env = Env::new(Arc::new(RealDisk::new()), EnvOptions::default());
    let store = sdbox(&env, &root);
    store.create(&name("a/b")).unwrap();
    let mailbox = store.mailbox(&name("a/b")).unwrap();
    for message in messages().iter().take(3) {
        append(&*mailbox, message, Flags::NONE, &[], 1_600_000_000);
    }
    drop(mailbox);
    store.move_messages(&name("a/b"), &uids(&[2, 3]), MoveTo::Alternate).unwrap();
    let count = |mailbox: &str| {
        let view = store.mailbox(&name(mailbox)).unwrap().view(&ViewAs::default()).unwrap();
        view.uids().iter().filter(|uid| view.body(*uid).is_ok()).count()
    };
    store.rename(&name("a"), &name("x/y")).unwrap();
    assert_eq!(count("x/y/b"), 3);
    assert!(alt(&root).join("mailboxes/x/y/b/dbox-Mails/u.2").exists());

    let other = Env::new(Arc::new(RealDisk::new()), EnvOptions::default());
    for entry in fs::read_dir(root.join("mailboxes/x/y/b/dbox-Mails")).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().starts_with("dovecot.index") {
            fs::remove_file(path).unwrap();
        }
    }
    let again = sdbox(&other, &root);
    let view = again.mailbox(&name("x/y/b")).unwrap().view(&ViewAs::default()).unwrap();
    assert_eq!(view.uids(), uids(&[1, 2, 3]));
    drop(view);
    again.delete(&name("x/y/b")).unwrap();
    assert!(!alt(&root).join("mailboxes/x").exists());
}

#[test]
fn all_else_is_as_without() {
    if is_installed() {
        beside_dovecot::dovecot_reads_what_we_write(&KIND);
        beside_dovecot::we_read_what_dovecot_writes(&KIND);
        beside_dovecot::turn_about(&KIND, 60, 20_261_124, None);
    }
}
