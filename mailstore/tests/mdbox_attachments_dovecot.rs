//! An mdbox to which a real Dovecot 2.3 writes with attachments detached, and one whose files are full by their age.

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
    time::{Duration, SystemTime},
};

use beside_dovecot::{Kind, append, compare};
use doveadm::{doveadm, is_installed};
use dovecot::Shared;
use mailfs::RealDisk;
use mailindex::engine::{Env, EnvOptions};
use mailstore::{
    Batch, MailStorage,
    mdbox::{MdboxOptions, MdboxStorage},
};
use mailtypes::{Flags, Uid, UidSet};
use sample_mail::{Numbers, messages, name};

/// Files take messages for that long. No test runs so long that the day ends twice.
const ROTATE_INTERVAL: Duration = Duration::from_secs(3 * 86_400);

fn attachments(root: &Path) -> PathBuf {
    root.with_file_name("attachments")
}

fn mdbox(env: &Env, root: &Path) -> MdboxStorage {
    let options = MdboxOptions {
        attachments: Some(attachments(root)),
        rotate_interval: ROTATE_INTERVAL,
        ..MdboxOptions::default()
    };
    MdboxStorage::create(env, root, options).unwrap()
}

/// What Dovecot is told besides where the store is. Nothing is too short to be detached.
fn location(root: &Path) -> String {
    format!(
        "mdbox:{}\nmail_attachment_dir = {}\nmail_attachment_min_size = 1\nmail_attachment_fs = sis posix\n\
         mdbox_rotate_interval = {}s",
        root.display(),
        attachments(root).display(),
        ROTATE_INTERVAL.as_secs()
    )
}

const KIND: Kind = Kind { location, open: |env, root| Arc::new(mdbox(env, root)) };

#[test]
fn all_else_is_as_without() {
    if is_installed() {
        beside_dovecot::dovecot_reads_what_we_write(&KIND);
        beside_dovecot::we_read_what_dovecot_writes(&KIND);
        beside_dovecot::turn_about(&KIND, 30, 20_261_122, None);
    }
}

fn open(shared: &Shared) -> MdboxStorage {
    mdbox(&Env::new(Arc::new(RealDisk::new()), EnvOptions::default()), &shared.root())
}

fn uids(of: impl IntoIterator<Item = u32>) -> UidSet {
    of.into_iter().filter_map(Uid::new).collect()
}

/// A message with an attachment that is made of base64, and one that is not; each number has content of its own.
fn with_attachments(number: u64) -> Vec<u8> {
    const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut numbers = Numbers(number);
    let mut message = format!(
        "Subject: number {number}\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=xx\r\n\r\n--xx\r\n\
         Content-Type: text/plain\r\n\r\nsee below\r\n--xx\r\nContent-Type: application/octet-stream\r\n\
         Content-Transfer-Encoding: base64\r\nContent-Disposition: attachment; filename=a.bin\r\n\r\n"
    )
    .into_bytes();
    for _ in 0..60 {
        message.extend((0..76).map(|_| LETTERS[numbers.below(64)]));
        message.extend(b"\r\n");
    }
    message
        .extend(b"--xx\r\nContent-Type: application/x-log\r\nContent-Disposition: attachment; filename=b.log\r\n\r\n");
    (0..200).for_each(|line| message.extend(format!("line {line} of {number}\r\n").bytes()));
    message.extend(b"--xx--\r\n");
    message
}

/// The files of attachments: the names that messages have for them, and their contents.
fn detached(shared: &Shared) -> (usize, usize) {
    fn walk(dir: &Path, found: &mut (usize, usize)) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            match (path.is_dir(), path.parent().is_some_and(|dir| dir.ends_with("hashes"))) {
                (true, _) => walk(&path, found),
                (false, false) => found.0 += 1,
                (false, true) => found.1 += 1,
            }
        }
    }
    let mut found = (0, 0);
    walk(&attachments(&shared.root()), &mut found);
    found
}

fn expunge(store: &MdboxStorage, mailbox: &str, which: UidSet) {
    store.mailbox(&name(mailbox)).unwrap().submit(Batch::new().expunge(which)).unwrap().wait().unwrap();
}

#[test]
fn detached_attachments_beside_dovecots() {
    if !is_installed() {
        return;
    }
    let shared = KIND.shared();
    let mut imap = shared.imap();
    for number in [1, 2, 3, 1] {
        imap.append("INBOX", "", &with_attachments(number));
    }
    imap.append("INBOX", "", &messages()[0]);
    assert_eq!(detached(&shared), (8, 6), "each message has two, and two messages have the same");
    imap.run("CREATE Copies");
    imap.run("SELECT INBOX");
    imap.run("COPY 1 Copies");
    imap.run("UNSELECT");
    let store = open(&shared);
    compare(&shared, &store, &mut imap, "as Dovecot wrote it", false);
    let copies = store.mailbox(&name("Copies")).unwrap();
    copies.submit(Batch::new().copy(store.mailbox(&name("INBOX")).unwrap(), uids([2]))).unwrap().wait().unwrap();
    compare(&shared, &store, &mut imap, "with our copy", true);

    // Of messages that have copies, and of one that has none.
    expunge(&store, "INBOX", uids(1..=3));
    assert_eq!(store.purge().unwrap().removed, 1);
    assert_eq!(detached(&shared), (6, 4));
    compare(&shared, &store, &mut imap, "after our purge", false);
    expunge(&store, "Copies", uids([1, 2]));
    doveadm(&shared, &["purge"]);
    assert_eq!(detached(&shared), (2, 2), "what two messages had is still what one has");
    compare(&shared, &store, &mut imap, "after Dovecot's purge", true);
    imap.append("INBOX", "", &with_attachments(9));
    expunge(&store, "INBOX", uids([4]));
    assert_eq!(store.purge().unwrap().removed, 1);
    assert_eq!(detached(&shared), (2, 2));
    compare(&shared, &store, &mut imap, "after our second purge", true);
    assert_eq!(shared.complaints(), [""; 0]);
    doveadm(&shared, &["force-resync", "*"]);
    compare(&shared, &open(&shared), &mut shared.imap(), "after force-resync", true);
}

/// As a purge leaves it that was cut short before it removed the old file, with the map lost since: the attachments of the
/// message that goes are those of the one that stays. (The second copy is put aside by the rebuild; a purge finds none.)
#[test]
fn a_message_that_lies_there_twice_keeps_its_attachments() {
    if !is_installed() {
        return;
    }
    let shared = KIND.shared();
    let mut imap = shared.imap();
    imap.append("INBOX", "", &with_attachments(1));
    drop(imap);
    let storage = shared.root().join("storage");
    fs::copy(storage.join("m.1"), storage.join("m.2")).unwrap();
    for entry in fs::read_dir(&storage).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap().to_str().unwrap().contains("dovecot.map.index") {
            fs::remove_file(path).unwrap();
        }
    }
    let store = open(&shared);
    store.recover().unwrap();
    assert_eq!(store.mailbox(&name("INBOX")).unwrap().status().unwrap().messages, 1);
    store.purge().unwrap();
    assert_eq!(detached(&shared), (2, 2));
    compare(&shared, &store, &mut shared.imap(), "after the purge", false);
    assert_eq!(shared.complaints(), [""; 0]);
}

/// Has a file say that it was made so many seconds before now.
fn make_older(path: &Path, seconds: u64) {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    let mut bytes = fs::read(path).unwrap();
    let at = bytes.windows(2).position(|window| window == b" C").unwrap() + 2;
    bytes[at..at + 8].copy_from_slice(format!("{:08x}", now - seconds).as_bytes());
    fs::write(path, bytes).unwrap();
}

#[test]
fn files_are_full_at_the_age_at_which_dovecots_are() {
    if !is_installed() {
        return;
    }
    const DAY: u64 = 86_400;
    let shared = KIND.shared();
    let storage = shared.root().join("storage");
    let file = |number: u32| storage.join(format!("m.{number}"));
    let store = open(&shared);
    let inbox = store.mailbox(&name("INBOX")).unwrap();
    let by_us = || append(&*inbox, &messages()[0], Flags::NONE, &[], 1_600_000_000);
    let by_dovecot = || {
        let mut imap = shared.imap();
        imap.append("INBOX", "", &messages()[0]);
    };
    by_us();
    for (last, add) in (1..).zip([&by_us as &dyn Fn(), &by_dovecot]) {
        // Two days ago and less is young whatever the hour, three days ago and more is not.
        make_older(&file(last), 2 * DAY - 60);
        add();
        assert!(!file(last + 1).exists());
        make_older(&file(last), 3 * DAY + 60);
        add();
        assert!(file(last + 1).exists());
    }
    drop(inbox);
    compare(&shared, &open(&shared), &mut shared.imap(), "after all", false);
    assert_eq!(shared.complaints(), [""; 0]);
}
