//! Stores that are none, files cut short, names that climb, folders without rights, odd messages: a clear error, and
//! nothing lost.

#![allow(unreachable_pub, clippy::print_stdout, clippy::unwrap_used, reason = "in a test's helper as in the test")]

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use mailstore::{
    Append, Batch, Column, Columns, Cursor, MailStorage, Rows, ScanBudget, StorageError, Store, ViewAs,
    sdbox::{SdboxOptions, SdboxStorage},
};
use mailtypes::{Flag, MailboxName, UidSet};

fn what(path: &Path) -> String {
    match Store::open(path) {
        Err(StorageError::NotAStore { what, path: told }) => {
            assert_eq!(told, path);
            what
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_no_store_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    assert_eq!(what(&at("nothing")), "there is nothing");
    fs::write(at("file"), "x").unwrap();
    assert!(what(&at("file")).contains("a file"));
    assert_eq!(what(&at("file/x")), "there is nothing");
    fs::write(at("mbox"), "From a@b Mon Jan  1 00:00:00 2024\n").unwrap();
    assert!(what(&at("mbox")).contains("mbox"));
    for folder in ["cur", "new", "mailboxes/INBOX/dbox-Mails"] {
        fs::create_dir_all(at("both").join(folder)).unwrap();
    }
    assert!(what(&at("both")).contains("a Maildir and a dbox store"));
    fs::create_dir_all(at("empty")).unwrap();
    assert!(what(&at("empty")).contains("empty folder"));
    fs::create_dir_all(at("other/x")).unwrap();
    assert!(what(&at("other")).contains("without any mail store"));
    for name in ["file", "both", "other"] {
        assert!(matches!(Store::create(at(name)), Err(StorageError::NotAStore { .. })), "{name}");
    }
    assert!(Store::create(at("empty")).is_ok());
    assert!(Store::open(at("empty")).is_ok());
}

#[test]
fn a_folder_without_rights() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("mail");
    Store::create(&root).unwrap();
    fs::set_permissions(&root, fs::Permissions::from_mode(0o000)).unwrap();
    let readable = fs::read_dir(&root).is_ok();
    let opened = Store::open(&root);
    fs::set_permissions(&root, fs::Permissions::from_mode(0o700)).unwrap();
    if readable {
        eprintln!("SKIPPED: this user may read everything");
        return;
    }
    match opened {
        Err(StorageError::NotAStore { what, .. }) => assert!(what.contains("may not be read"), "{what}"),
        other => panic!("{other:?}"),
    }
    assert!(Store::open(&root).is_ok(), "nothing was changed");
}

#[test]
fn names_that_climb() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(dir.path().join("mail")).unwrap();
    for name in ["../x", "a/../../x", "/etc/passwd", "a//b", "", ".", "dbox-Mails", "a/dbox-Mails", "a\0b", "a\nb"] {
        assert!(matches!(store.create_mailbox(name), Err(StorageError::InvalidName { .. })), "{name:?}");
        assert!(matches!(store.mailbox(name), Err(StorageError::InvalidName { .. })), "{name:?}");
    }
    assert_eq!(store.list().unwrap().len(), 1);
    let beside: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(beside, ["mail"]);
}

/// A store with three messages, and where they lie.
fn three(dir: &Path) -> (Store, std::path::PathBuf) {
    let store = Store::create(dir.join("mail")).unwrap();
    let inbox = store.mailbox("INBOX").unwrap();
    for n in 1..=3 {
        let message = format!("Subject: message {n}\r\n\r\n{}\r\n", "body ".repeat(20_000));
        inbox.append(Append::new(message.as_bytes()).flag(Flag::Seen)).unwrap();
    }
    (store, dir.join("mail/mailboxes/INBOX/dbox-Mails"))
}

#[test]
fn a_message_file_cut_short() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mails) = three(dir.path());
    let whole = fs::read(mails.join("u.2")).unwrap();
    for len in [0, 5, 20, 300, whole.len() / 2, whole.len() - 1] {
        fs::write(mails.join("u.2"), &whole[..len]).unwrap();
        let view = store.mailbox("INBOX").unwrap().view().unwrap();
        let messages: Vec<_> = view.messages().with(Columns::envelope()).map(Result::unwrap).collect();
        assert_eq!(messages.len(), 3, "flags need no file");
        match messages[1].body().map(|_| ()) {
            Err(StorageError::Corrupt { path, .. }) => assert!(path.ends_with("u.2")),
            other => panic!("{len}: {other:?}"),
        }
        assert_eq!(messages[2].read().unwrap().len(), whole_len(&messages[0]), "the others are served");
    }
    fs::write(mails.join("u.2"), &whole).unwrap();
    let view = store.mailbox("INBOX").unwrap().view().unwrap();
    assert!(view.messages().nth(1).unwrap().unwrap().read().is_ok(), "nothing was lost by looking");
}

fn whole_len(message: &mailstore::store::Message<'_>) -> usize {
    message.size().unwrap() as usize
}

#[test]
fn a_message_file_that_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mails) = three(dir.path());
    fs::remove_file(mails.join("u.2")).unwrap();
    let view = store.mailbox("INBOX").unwrap().view().unwrap();
    let columns = Columns::default() | Column::Body;
    let mut rows = Rows::new();
    let view = view.view();
    assert!(
        view.scan(
            &view.uids(),
            Cursor::START,
            &columns,
            ScanBudget { until: None, ..ScanBudget::default() },
            &mut rows
        )
        .is_ok()
    );
    let gone = rows.rows.iter().map(|row| row.expunged).collect::<Vec<_>>();
    assert!(gone == [false, true, false] || gone == [false; 3], "{gone:?}");
    let uid = rows.rows[1].uid;
    assert!(matches!(view.body(uid), Err(StorageError::Expunged { .. })));
}

#[test]
fn index_files_damaged_in_every_way() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mails) = three(dir.path());
    drop(store);
    let pristine = dir.path().join("pristine");
    copy(&dir.path().join("mail"), &pristine);
    let log = mails.join("dovecot.index.log");
    let damages: [(&str, &dyn Fn()); 5] = [
        ("cut", &|| {
            let len = fs::metadata(&log).unwrap().len();
            fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(len - 7).unwrap();
        }),
        ("rubbish at the end", &|| {
            let mut bytes = fs::read(&log).unwrap();
            bytes.extend_from_slice(&[0xaa; 100]);
            fs::write(&log, bytes).unwrap();
        }),
        // Two appends stand whole behind these: they cannot be an append that was interrupted.
        ("zeros at the beginning", &|| {
            let mut bytes = fs::read(&log).unwrap();
            bytes[40..56].fill(0);
            fs::write(&log, bytes).unwrap();
        }),
        ("empty", &|| fs::write(&log, "").unwrap()),
        ("gone", &|| fs::remove_file(&log).unwrap()),
    ];
    for (how, damage) in damages {
        fs::remove_dir_all(dir.path().join("mail")).unwrap();
        copy(&pristine, &dir.path().join("mail"));
        damage();
        let store = Store::open(dir.path().join("mail")).unwrap();
        let inbox = store.mailbox("INBOX").unwrap_or_else(|e| panic!("{how}: {e}"));
        let view = inbox.view().unwrap();
        let uids: Vec<_> = view.messages().map(|m| m.unwrap().uid().value()).collect();
        assert!(uids == [1, 2, 3] || how == "cut" && uids == [1, 2], "{how}: {uids:?}");
        assert!(view.messages().all(|m| m.unwrap().read().is_ok()), "{how}");
        let uid = inbox.append(Append::new(b"Subject: after\r\n\r\n")).unwrap().uid;
        assert_eq!(uid.value(), 4, "{how}: no UID is used twice");
        assert!(fs::metadata(mails.join("u.3")).is_ok(), "{how}: no message goes");
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn odd_messages() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(dir.path().join("mail")).unwrap();
    let inbox = store.mailbox("INBOX").unwrap();
    let refused = inbox.append(Append::new(b"Subject: x\r\n\r\na\0b"));
    assert!(matches!(refused, Err(StorageError::MessageRefused(_))), "{refused:?}");
    for message in [&b""[..], b"\r\n", b"no header, no line end", &[0xff; 3000]] {
        inbox.append(Append::new(message)).unwrap();
    }
    let view = inbox.view().unwrap();
    let read: Vec<_> = view.messages().map(|m| m.unwrap().read().unwrap()).collect();
    assert_eq!(read, [&b""[..], b"\r\n", b"no header, no line end", &[0xff; 3000]]);
    assert!(view.messages().all(|m| m.unwrap().envelope().unwrap().subject().is_empty()));
    let left: Vec<_> = fs::read_dir(dir.path().join("mail/mailboxes/INBOX/dbox-Mails"))
        .unwrap()
        .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with(".temp."))
        .collect();
    assert!(left.is_empty(), "the refused message left {left:?}");
}

#[test]
fn leftovers_in_the_way_are_taken_in() {
    let dir = tempfile::tempdir().unwrap();
    let (store, mails) = three(dir.path());
    // A whole message that no index knows, and one that was cut.
    fs::copy(mails.join("u.1"), mails.join("u.4")).unwrap();
    fs::write(mails.join("u.5"), b"2 M1e C1\n").unwrap();
    let inbox = store.mailbox("INBOX").unwrap();
    let uid = inbox.append(Append::new(b"Subject: new\r\n\r\n")).unwrap().uid;
    assert_eq!(uid.value(), 6);
    let view = inbox.view().unwrap();
    let uids: Vec<_> = view.messages().map(|m| m.unwrap().uid().value()).collect();
    assert_eq!(uids, [1, 2, 3, 4, 6]);
    assert_eq!(fs::read(mails.join("u.5")).unwrap(), b"2 M1e C1\n", "nothing is overwritten");
}

#[test]
fn a_mailbox_renamed_while_it_is_open() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(dir.path().join("mail")).unwrap();
    store.create_mailbox("old").unwrap();
    let old = store.mailbox("old").unwrap();
    old.append(Append::new(b"Subject: a\r\n\r\n")).unwrap();
    store.rename_mailbox("old", "new").unwrap();
    let new = store.mailbox("new").unwrap();
    assert_eq!(new.mailbox().guid(), old.mailbox().guid());
    new.append(Append::new(b"Subject: b\r\n\r\n")).unwrap();
    assert_eq!(new.view().unwrap().len(), 2);
    assert!(old.append(Append::new(b"Subject: c\r\n\r\n")).is_err(), "the old name is gone");
    assert!(!dir.path().join("mail/mailboxes/old").exists());
}

#[test]
fn crlf_bodies_are_read_back_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let env = mailindex::engine::Env::new(std::sync::Arc::new(mailfs::RealDisk::new()), Default::default());
    let options = SdboxOptions { line_ends: mailstore::dbox::BodyLineEnds::CrLf, ..SdboxOptions::default() };
    let storage = SdboxStorage::create(&env, &dir.path().join("mail"), options).unwrap();
    let mailbox = storage.mailbox(&MailboxName::inbox()).unwrap();
    let message = b"Subject: x\r\n\r\nline\r\nline\r\n";
    let mut save = mailbox.begin_save(Default::default(), None).unwrap();
    save.write(message).unwrap();
    mailbox.submit(Batch::new().save(save.finish().unwrap(), Default::default(), Vec::new())).unwrap().wait().unwrap();
    let view = mailbox.view(&ViewAs::default()).unwrap();
    let uids: UidSet = view.uids();
    let mut body = view.body(uids.first().unwrap()).unwrap();
    assert_eq!((body.size(), body.stored_size()), (message.len() as u64, message.len() as u64));
    let mut read = vec![0; 100];
    let len = body.read_at(mailstore::Section { start: 14, len: 12 }, 4, &mut read).unwrap();
    assert_eq!(&read[..len], &message[18..26]);
}

#[test]
fn a_full_disk() {
    use mailfs::sim::{Fault, SimDisk};
    let disk = SimDisk::new();
    let env = mailindex::engine::Env::new(disk.as_file_system(), Default::default());
    let storage = SdboxStorage::create(&env, Path::new("/mail"), SdboxOptions::default()).unwrap();
    let mailbox = storage.mailbox(&MailboxName::inbox()).unwrap();
    let append = || {
        let mut save = mailbox.begin_save(Default::default(), None)?;
        save.write(b"Subject: x\r\n\r\n")?;
        mailbox.submit(Batch::new().save(save.finish()?, Default::default(), Vec::new()))?.wait()
    };
    append().unwrap();
    disk.fail_calls_from(1, Fault::NoSpace);
    match append() {
        Err(e @ StorageError::NoSpace(_)) => {
            assert!(e.is_temporary() && e.to_string().contains("/mail/mailboxes/INBOX"), "{e}");
            assert_eq!(e.client_text(), "Not enough disk space");
            assert_eq!(e.failure().unwrap().kind(), std::io::ErrorKind::StorageFull);
            assert!(e.path().unwrap().starts_with("/mail/mailboxes/INBOX/dbox-Mails"), "{e:?}");
        }
        other => panic!("{other:?}"),
    }
    disk.clear_plan();
    assert_eq!(append().unwrap().saved[0].value(), 2, "it goes on when there is room");
    assert_eq!(mailbox.status().unwrap().messages, 2);
}

/// Wherever the disk refuses, a program can tell what the system answered, and about which file.
#[test]
fn a_failure_tells_the_file_and_the_answer() {
    use mailfs::sim::{Fault, SimDisk};
    let mut refused = 0;
    for call in 1..60 {
        let disk = SimDisk::new();
        let env = mailindex::engine::Env::new(disk.as_file_system(), Default::default());
        let storage = SdboxStorage::create(&env, Path::new("/mail"), SdboxOptions::default()).unwrap();
        let mailbox = storage.mailbox(&MailboxName::inbox()).unwrap();
        disk.fail_calls_from(call, Fault::Io);
        let appended = mailbox.begin_save(Default::default(), None).and_then(|mut save| {
            save.write(b"Subject: x\r\n\r\n")?;
            mailbox.submit(Batch::new().save(save.finish()?, Default::default(), Vec::new()))?.wait()
        });
        let Err(error) = appended else { continue };
        refused += 1;
        let failure = error.failure().unwrap_or_else(|| panic!("{error:?}"));
        assert!(failure.path().is_some_and(|path| path.starts_with("/mail")), "call {call}: {error:?}");
        assert_ne!(failure.kind(), std::io::ErrorKind::StorageFull);
        assert!(failure.raw_os_error().is_some(), "call {call}: {error:?}");
    }
    assert!(refused > 3, "{refused}");
}

#[test]
fn a_batch_of_more_messages_than_files_may_be_open() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(dir.path().join("mail")).unwrap();
    let mailbox = store.storage().mailbox(&MailboxName::inbox()).unwrap();
    let mut batch = Batch::new();
    for n in 0..1200 {
        let mut save = mailbox.begin_save(Default::default(), None).unwrap();
        save.write(format!("Subject: {n}\r\n\r\n").as_bytes()).unwrap();
        batch = batch.save(save.finish().unwrap(), Default::default(), Vec::new());
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        let ours = open.filter_map(|fd| fs::read_link(fd.unwrap().path()).ok()).filter(|to| to.starts_with(dir.path()));
        let count = ours.count();
        assert!(count < 400, "{count} files are open");
    }
    let committed = mailbox.submit(batch).unwrap().wait().unwrap();
    assert_eq!(committed.saved.len(), 1200);
    assert_eq!(store.mailbox("INBOX").unwrap().view().unwrap().len(), 1200);
}
