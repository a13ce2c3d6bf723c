//! An expunge that a crash came into is finished by the recovery, attachments and all.

#![allow(clippy::unwrap_used, reason = "these are tests")]

use std::{fs, path::Path, sync::Arc};

use mailfs::RealDisk;
use mailindex::{
    decode_offset,
    engine::{Env, EnvOptions},
};
use mailstore::{
    Append, Batch, MailStorage, Store,
    sdbox::{SdboxOptions, SdboxStorage},
};
use mailtypes::{MailboxName, Uid};

/// Where an attachment lies, as the message's metadata says it.
const ATTACHMENT: &str = "aa/bb/c0ffee-1";

fn open(root: &Path, attachments: &Path) -> SdboxStorage {
    let options = SdboxOptions { attachments: Some(attachments.to_owned()), ..SdboxOptions::default() };
    SdboxStorage::open(&Env::new(Arc::new(RealDisk::new()), EnvOptions::default()), root, options).unwrap()
}

/// Gives the message in `path` an attachment: the message's name for it, and that of its content.
fn attach(path: &Path, attachments: &Path, suffix: &str) -> [std::path::PathBuf; 2] {
    let mut message = fs::read(path).unwrap();
    assert_eq!(message.pop(), Some(b'\n'));
    message.extend(format!("X0 5 - {ATTACHMENT}\n\n").bytes());
    fs::write(path, message).unwrap();
    let (own, content) = (attachments.join(format!("{ATTACHMENT}-{suffix}")), attachments.join("aa/bb/hashes/c0ffee"));
    fs::create_dir_all(content.parent().unwrap()).unwrap();
    fs::write(&content, "12345").unwrap();
    fs::hard_link(&content, &own).unwrap();
    [own, content]
}

#[test]
fn a_recovered_expunge_leaves_no_attachment() {
    let dir = tempfile::tempdir().unwrap();
    let (root, attachments) = (dir.path().join("mail"), dir.path().join("attachments"));
    let mails = root.join("mailboxes/INBOX/dbox-Mails");
    let (message, log) = (mails.join("u.1"), mails.join("dovecot.index.log"));
    Store::create(&root).unwrap().mailbox("INBOX").unwrap().append(Append::new(b"Subject: x\n\nbody\n")).unwrap();

    let storage = open(&root, &attachments);
    let inbox = storage.mailbox(&MailboxName::inbox()).unwrap();
    let files = attach(&message, &attachments, &format!("{}-1", inbox.guid()));
    let (whole, before) = (fs::read(&message).unwrap(), fs::metadata(&log).unwrap().len() as usize);
    let expunge = Batch::new().expunge(Uid::new(1).into_iter().collect());
    inbox.submit(expunge).unwrap().wait().unwrap();
    drop((inbox, storage));
    assert!(!message.exists() && files.iter().all(|file| !file.exists()));

    // As a crash leaves it between the request and what it asks for.
    let mut written = fs::read(&log).unwrap();
    let request = decode_offset(written[before..before + 4].try_into().unwrap()).unwrap();
    written.truncate(before + request as usize);
    fs::write(&log, written).unwrap();
    fs::write(&message, whole).unwrap();
    fs::write(&files[1], "12345").unwrap();
    fs::hard_link(&files[1], &files[0]).unwrap();

    let storage = open(&root, &attachments);
    storage.recover().unwrap();
    let inbox = storage.mailbox(&MailboxName::inbox()).unwrap();
    assert_eq!(inbox.status().unwrap().messages, 0);
    assert!(!message.exists(), "the message is gone");
    assert!(files.iter().all(|file| !file.exists()), "and its attachment");
}
