//! The folders of mailboxes as other programs and the administrator find and make them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt, symlink},
    path::{Path, PathBuf},
};

use mailstore::{Append, Format, Store, maildir::MaildirLayout, mailtypes::Keyword};

const MAILDIR: Format = Format::Maildir(MaildirLayout::PlusPlus);
const MAILDIR_FS: Format = Format::Maildir(MaildirLayout::Fs);

fn files_below(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { left.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

#[test]
fn deleting_a_mailbox_that_is_a_link_removes_the_link_alone() {
    let cases = [
        (MAILDIR, ".Shared"),
        (MAILDIR_FS, "Shared"),
        (Format::Sdbox, "mailboxes/Shared"),
        (Format::Sdbox, "mailboxes/Shared/dbox-Mails"),
    ];
    for (format, linked) in cases {
        let place = tempfile::tempdir().unwrap();
        let (mail, elsewhere) = (place.path().join("mail"), place.path().join("elsewhere"));
        let store = Store::create_as(&mail, format).unwrap();
        store.create_mailbox("Shared").unwrap();
        store.mailbox("Shared").unwrap().append(Append::new(b"Subject: kept\r\n\r\n1\r\n")).unwrap();
        drop(store);
        fs::rename(mail.join(linked), &elsewhere).unwrap();
        symlink(&elsewhere, mail.join(linked)).unwrap();
        let store = Store::open(&mail).unwrap();
        let there = |name: &PathBuf| name.extension().is_none_or(|e| e != "log");
        let before: Vec<_> = files_below(&elsewhere).into_iter().filter(there).collect();
        store.delete_mailbox("Shared").unwrap_or_else(|e| panic!("{format} {linked}: {e}"));
        assert!(!mail.join(linked).exists(), "{format} {linked}");
        let after: Vec<_> = files_below(&elsewhere).into_iter().filter(there).collect();
        assert_eq!(after, before, "{format} {linked}");
    }
}

#[test]
fn a_maildir_plus_plus_folder_is_marked_as_one() {
    let place = tempfile::tempdir().unwrap();
    let store = Store::create_as(place.path(), MAILDIR).unwrap();
    store.create_mailbox("a/b").unwrap();
    assert!(place.path().join(".a.b/maildirfolder").is_file());
    assert!(!place.path().join("maildirfolder").exists());
    let place = tempfile::tempdir().unwrap();
    let store = Store::create_as(place.path(), MAILDIR_FS).unwrap();
    store.create_mailbox("a/b").unwrap();
    assert!(files_below(place.path()).iter().all(|file| !file.ends_with("maildirfolder")));
}

/// Only root may give a folder to a group that it is not in.
#[test]
fn new_files_are_of_the_folders_group() {
    const GROUP: u32 = 12;
    let place = tempfile::tempdir().unwrap();
    let root = place.path().join("mail");
    drop(Store::create_as(&root, MAILDIR).unwrap());
    fs::set_permissions(&root, fs::Permissions::from_mode(0o770)).unwrap();
    if std::os::unix::fs::chown(&root, None, Some(GROUP)).is_err() {
        eprintln!("SKIPPED: new_files_are_of_the_folders_group needs root");
        return;
    }
    for name in ["dovecot-uidlist", "dovecot-uidvalidity"] {
        fs::remove_file(root.join(name)).ok();
    }
    let store = Store::open(&root).unwrap();
    let inbox = store.mailbox("INBOX").unwrap();
    inbox.append(Append::new(b"Subject: x\r\n\r\n1\r\n").keyword(Keyword::new("work").unwrap())).unwrap();
    store.subscribe("INBOX").unwrap();
    for name in ["dovecot-uidlist", "dovecot-keywords", "subscriptions"] {
        let metadata = fs::metadata(root.join(name)).unwrap();
        assert_eq!((metadata.gid(), metadata.mode() & 0o777), (GROUP, 0o660), "{name}");
    }
}
