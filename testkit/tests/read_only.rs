//! Stores opened for reading alone: everything is read, every change is refused, and no byte and no time of any file is
//! another afterwards.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test that cannot go on fails, and says what it read")]

use std::{
    fs,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use mailstore::{
    Append, Column, Columns, ListOptions, ListPattern, MailStorage, Section, StorageError, Store, StoreOptions, View,
    ViewAs,
    mailfs::RealDisk,
    mailindex::engine::{Env, EnvOptions},
    mailtypes::{Flag, MailboxName, UidSet},
    open_storage,
};
use testkit::{
    fixtures::{expected, store_in, unpack},
    place::Place,
    tree::{Tree, walk},
};

fn open(path: &Path, home: &Path) -> Arc<dyn MailStorage> {
    let (attachments, alt) = (Some(home.join("attachments")), home.join("mdbox-alt"));
    let list = ListOptions { alt: alt.exists().then_some(alt), ..ListOptions::default() };
    let options = StoreOptions { attachments, list, read_only: true, ..StoreOptions::default() };
    open_storage(&Env::new(Arc::new(RealDisk::new()), EnvOptions::default()), path, &options).unwrap()
}

/// Reads all there is; tells how many messages.
fn read_everything(storage: &dyn MailStorage) -> u32 {
    let mut count = 0;
    storage.subscriptions().unwrap();
    for info in storage.list(&ListPattern::all()).unwrap().into_iter().filter(|info| info.selectable) {
        storage.status(&info.name).unwrap();
        let mailbox = storage.mailbox(&info.name).unwrap();
        assert!(mailbox.is_read_only());
        mailbox.size().unwrap();
        // A session that would take the recent messages, if that changed nothing.
        let mut view = mailbox.view(&ViewAs { takes_recent: true }).unwrap();
        count += scan(&*view);
        view.flush_cache();
        view.sync(mailstore::Expunges::Apply).unwrap();
        mailbox.position().unwrap();
    }
    count
}

fn scan(view: &dyn View) -> u32 {
    let columns = [
        Column::Size,
        Column::InternalDate,
        Column::SaveDate,
        Column::SentDate,
        Column::Guid,
        Column::Envelope,
        Column::Body,
        Column::BodyStructure,
        Column::Preview,
    ];
    let columns = columns.into_iter().fold(Columns::flags().with_header("X-Spam"), Columns::with);
    let (mut rows, mut at) = (mailstore::Rows::new(), Some(mailstore::Cursor::START));
    while let Some(from) = at {
        at = view.scan(&view.uids(), from, &columns, mailstore::ScanBudget::default(), &mut rows).unwrap();
    }
    let mut piece = vec![0; 64 << 10];
    for uid in view.uids().iter() {
        let mut body = view.body(uid).unwrap();
        let (mut offset, size) = (0, body.size());
        while offset < size {
            offset += body.read_at(Section::WHOLE, offset, &mut piece).unwrap() as u64;
        }
    }
    view.message_count()
}

/// Every kind of change is refused, with the error that says why.
fn try_to_change(storage: Arc<dyn MailStorage>) {
    let store = Store::of(storage);
    let refused = |what: &str, result: mailstore::Result<()>| {
        assert!(matches!(result, Err(StorageError::ReadOnly(_))), "{what}: {result:?}");
    };
    refused("create", store.create_mailbox("new one"));
    refused("delete", store.delete_mailbox("Archive"));
    refused("rename", store.rename_mailbox("INBOX", "other"));
    refused("subscribe", store.subscribe("INBOX"));
    refused("unsubscribe", store.unsubscribe("INBOX"));
    let inbox = store.mailbox("INBOX").unwrap();
    refused("append", inbox.append(Append::new(b"Subject: x\r\n\r\nx\r\n")).map(|_| ()));
    let view = inbox.view().unwrap();
    let all = view.view().uids();
    let some: UidSet = all.iter().take(1).collect();
    refused("flag", view.update(&some).add(Flag::Flagged).commit().map(|_| ()));
    refused("expunge", view.expunge(&some).map(|_| ()));
    refused("copy", view.copy_to(&some, &inbox).map(|_| ()));
}

fn unchanged(tree: &Tree, what: &str) {
    assert_eq!(tree.changes().unwrap(), [""; 0], "{what}");
}

fn nothing_changes(place: &Place, name: &str) -> u32 {
    let store = store_in(name, place.path());
    let tree = Tree::note(place.path()).unwrap();
    let storage = open(&store, place.path());
    let count = read_everything(&*storage);
    try_to_change(Arc::clone(&storage));
    drop(storage);
    unchanged(&tree, name);
    println!("{name}: {count} messages read, {} files and folders as before", tree.len());
    count
}

fn fixture(name: &str) -> (Place, u32) {
    let place = Place::new("read-only").unwrap();
    unpack(name, place.path()).unwrap();
    let messages = expected(name).unwrap().mailboxes.values().filter_map(|mailbox| mailbox.messages).sum();
    (place, messages)
}

/// Written by 2.3, and by 2.4.
const FIXTURES: [&str; 18] = [
    "sdbox",
    "sdbox-attach",
    "sdbox-layoutindex",
    "mdbox",
    "mdbox-zstd",
    "mdbox-alt",
    "maildir",
    "maildir-fs",
    "mbox",
    "2.4/sdbox",
    "2.4/sdbox-attach",
    "2.4/sdbox-layoutindex",
    "2.4/mdbox",
    "2.4/mdbox-zstd",
    "2.4/mdbox-alt",
    "2.4/maildir",
    "2.4/maildir-fs",
    "2.4/mbox",
];

#[test]
fn reading_what_dovecot_wrote_changes_nothing() {
    for name in FIXTURES {
        let (place, messages) = fixture(name);
        assert_eq!(nothing_changes(&place, name), messages, "{name}");
    }
}

/// Seen through a mount that lets nobody write; unmounted when dropped.
struct ReadOnlyMount<'p>(&'p Path);

impl<'p> ReadOnlyMount<'p> {
    fn of(folder: &Path, at: &'p Path) -> Option<Self> {
        let mount = |arguments: &[&std::ffi::OsStr]| {
            Command::new("mount").args(arguments).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
        };
        mount(&["--bind".as_ref(), folder.as_ref(), at.as_ref()]).then_some(())?;
        let mounted = Self(at);
        mount(&["-o".as_ref(), "remount,bind,ro".as_ref(), at.as_ref()]).then_some(mounted)
    }
}

impl Drop for ReadOnlyMount<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

/// Where the system refuses every write, none is tried.
#[test]
fn a_disk_that_is_mounted_read_only_is_read() {
    for name in ["sdbox", "sdbox-layoutindex", "mdbox-alt", "maildir", "maildir-fs", "mbox"] {
        let (place, messages) = fixture(name);
        let mounted_at = Place::new("read-only-mount").unwrap();
        let Some(_mount) = ReadOnlyMount::of(place.path(), mounted_at.path()) else {
            return testkit::skip("a read-only mount", "the right to mount");
        };
        let home = mounted_at.path();
        assert!(fs::write(home.join("x"), "").is_err());
        let storage = open(&store_in(name, home), home);
        assert_eq!(read_everything(&*storage), messages, "{name}");
        try_to_change(storage);
    }
}

/// Also where it takes putting things right in memory: torn logs, damaged snapshots, no index at all.
#[test]
fn what_has_to_be_put_right_is_so_in_memory() {
    for name in ["sdbox", "maildir"] {
        for damage in [
            |path: &Path| name_of(path).starts_with("dovecot.index").then_some(Damage::Lost),
            |path: &Path| (name_of(path) == "dovecot.index.log").then_some(Damage::Torn),
            |path: &Path| (name_of(path) == "dovecot.index").then_some(Damage::Scribbled),
        ] {
            let (place, messages) = fixture(name);
            for path in walk(place.path()).unwrap().into_iter().filter(|path| path.is_file()) {
                if let Some(damage) = damage(&path) {
                    damage.befall(&path);
                }
            }
            assert_eq!(nothing_changes(&place, name), messages, "{name}");
        }
    }
}

enum Damage {
    Lost,
    Torn,
    Scribbled,
}

impl Damage {
    fn befall(self, path: &Path) {
        match self {
            Self::Lost => fs::remove_file(path).unwrap(),
            Self::Torn => {
                let mut bytes = fs::read(path).unwrap();
                // A record of sixteen bytes of which ten are there.
                bytes.extend(b"\x80\x80\x80\x84\x04\0\0\x10\x01\0");
                fs::write(path, bytes).unwrap();
            }
            Self::Scribbled => {
                fs::write(path, "no index at all, but long enough for a header of one, which has 120 bytes or more")
                    .unwrap()
            }
        }
    }
}

fn name_of(path: &Path) -> &str {
    path.file_name().and_then(|name| name.to_str()).unwrap()
}

/// A Maildir that no mail server has opened yet: its messages have UIDs for as long as it is open, and it is told that
/// they have no others.
#[test]
fn a_maildir_without_uids_gets_them_in_memory() {
    let place = Place::new("read-only").unwrap();
    let root = place.path().join("Maildir");
    for folder in ["cur", "new", "tmp"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::write(root.join("cur/1000000001.M1P1.host:2,FS"), "Subject: one\n\none\n").unwrap();
    fs::write(root.join("new/1000000002.M1P1.host"), "Subject: two\n\ntwo\n").unwrap();
    let tree = Tree::note(place.path()).unwrap();
    let storage = open(&root, place.path());
    let inbox = storage.mailbox(&MailboxName::inbox()).unwrap();
    let mut view = inbox.view(&ViewAs { takes_recent: true }).unwrap();
    assert_eq!((view.message_count(), scan(&*view)), (2, 2));
    assert!(!inbox.uids_are_lasting());
    unchanged(&tree, "read");
    // What comes meanwhile is seen.
    fs::write(root.join("new/1000000003.M1P1.host"), "Subject: three\n\nthree\n").unwrap();
    view.sync(mailstore::Expunges::Apply).unwrap();
    assert_eq!(scan(&*view), 3);
    // And so is it when somebody comes who may write.
    let writer = Store::open(&root).unwrap();
    assert_eq!(writer.mailbox("INBOX").unwrap().view().unwrap().len(), 3);
    let again = storage.mailbox(&MailboxName::inbox()).unwrap();
    assert_eq!(scan(&*again.view(&ViewAs::default()).unwrap()), 3);
    assert_eq!(again.uid_validity(), writer.storage().mailbox(&MailboxName::inbox()).unwrap().uid_validity());
}

/// A reader beside somebody who writes: what is put right in memory does not hide what comes.
#[test]
fn a_reader_follows_a_writer() {
    let (place, _) = fixture("sdbox");
    let root = store_in("sdbox", place.path());
    let storage = open(&root, place.path());
    let inbox = storage.mailbox(&MailboxName::inbox()).unwrap();
    let mut view = inbox.view(&ViewAs::default()).unwrap();
    let count = view.message_count();
    let writer = Store::open(&root).unwrap();
    for number in 1..=3 {
        writer.mailbox("INBOX").unwrap().append(Append::new(b"Subject: new\r\n\r\nnew\r\n")).unwrap();
        view.sync(mailstore::Expunges::Apply).unwrap();
        assert_eq!(view.message_count(), count + number);
        assert_eq!(scan(&*view), count + number);
    }
}
