//! Very many mailboxes at once: files and memory stay bounded.

#![allow(clippy::unwrap_used, reason = "these are tests, whatever clippy takes them for")]

use std::{fs, path::Path, sync::Arc};

use mailfs::RealDisk;
use mailindex::engine::{Env, EnvOptions, Fsync};
use mailstore::{
    Batch, MailStorage, SaveMeta, ViewAs,
    mailtypes::{Flags, MailboxName},
    sdbox::{SdboxOptions, SdboxStorage},
};

/// Files and folders that this process has open below a folder.
fn open_below(dir: &Path) -> usize {
    let links = fs::read_dir("/proc/self/fd").unwrap().filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
    links.filter(|target| target.starts_with(dir)).count()
}

/// Mailboxes opened.
const MAILBOXES: usize = 400;

/// Messages on their way in whose files stay open, at most; see `sdbox/save.rs`.
const OPEN_SAVED_MAX: usize = 256;

/// Logs of mailboxes that nobody holds that stay open for the next, at most.
const PARKED_MAX: usize = 256;

/// Files that may be open besides.
const OTHERS: usize = 32;

#[test]
fn mailboxes_hold_few_files_each_and_only_while_they_are_held() {
    let dir = tempfile::tempdir().unwrap();
    let env = Env::new(Arc::new(RealDisk::new()), EnvOptions { fsync: Fsync::Never, ..EnvOptions::default() });
    let storage = SdboxStorage::create(&env, &dir.path().join("mail"), SdboxOptions::default()).unwrap();
    let name = |n: usize| MailboxName::new(&format!("box {n}")).unwrap();
    for n in 0..MAILBOXES {
        storage.create(&name(n)).unwrap();
        storage.mailbox(&name(n)).unwrap().view(&ViewAs::default()).unwrap();
    }
    let open = open_below(dir.path());
    assert!(open < PARKED_MAX + OTHERS, "{open} files are open after {MAILBOXES} mailboxes were");
    let mut held = Vec::new();
    for n in 0..MAILBOXES {
        let mailbox = storage.mailbox(&name(n)).unwrap();
        let view = mailbox.view(&ViewAs::default()).unwrap();
        held.push((mailbox, view));
    }
    let open = open_below(dir.path());
    assert!(open < MAILBOXES + OTHERS, "{open} files are open for {MAILBOXES} mailboxes");
    let mut saved = Vec::new();
    for (mailbox, _) in &held {
        let mut save = mailbox.begin_save(SaveMeta::default(), None).unwrap();
        save.write(b"Subject: x\r\n\r\n").unwrap();
        saved.push(save.finish().unwrap());
    }
    let open = open_below(dir.path());
    assert!(open < MAILBOXES + OPEN_SAVED_MAX + OTHERS, "{open} files are open for {MAILBOXES} messages on their way");
    for ((mailbox, _), saved) in held.iter().zip(saved) {
        mailbox.submit(Batch::new().save(saved, Flags::NONE, Vec::new())).unwrap().wait().unwrap();
    }
    for (_, view) in &mut held {
        assert_eq!(view.sync(mailstore::Expunges::Apply).unwrap().appended.count(), 1);
    }
    let open = open_below(dir.path());
    // The cache beside the log.
    assert!(open <= 2 * MAILBOXES + OTHERS, "{open} files are open after a commit to each");
    drop(held);
    let open = open_below(dir.path());
    assert!(open < PARKED_MAX + OTHERS, "{open} files are open after all is dropped");
}

#[test]
fn a_message_given_up_at_any_stage_leaves_no_file() {
    let dir = tempfile::tempdir().unwrap();
    let env = Env::new(Arc::new(RealDisk::new()), EnvOptions::default());
    let storage = SdboxStorage::create(&env, &dir.path().join("mail"), SdboxOptions::default()).unwrap();
    let mailbox = storage.mailbox(&MailboxName::inbox()).unwrap();
    let mails = dir.path().join("mail/mailboxes/INBOX/dbox-Mails");
    let files = || {
        let names = fs::read_dir(&mails).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(".temp") || name.starts_with("u.")).collect::<Vec<_>>()
    };
    let begin = || mailbox.begin_save(SaveMeta::default(), None).unwrap();
    drop(begin());
    let mut written = begin();
    written.write(&[b'x'; 200_000]).unwrap();
    drop(written);
    let mut refused = begin();
    assert!(refused.write(b"a\0").is_err());
    drop(refused);
    drop(begin().finish().unwrap());
    drop(Batch::new().save(begin().finish().unwrap(), Flags::NONE, Vec::new()));
    assert_eq!(files(), [""; 0]);
    // A message of no bytes at all is one.
    let batch = Batch::new().save(begin().finish().unwrap(), Flags::NONE, Vec::new());
    let committed = mailbox.submit(batch).unwrap().wait().unwrap();
    assert_eq!(files(), ["u.1"]);
    assert_eq!(mailbox.view(&ViewAs::default()).unwrap().body(committed.saved[0]).unwrap().size(), 0);
}
