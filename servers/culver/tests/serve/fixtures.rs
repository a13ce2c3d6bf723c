//! The stores that a real Dovecot wrote, served in place: read as Dovecot reads a copy of them, with not a byte changed
//! where mail is only read; and changed, and then read by Dovecot as Culver reads them.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
};

use testkit::{
    culver::Culver,
    dovecot::{self, Dovecot, PASSWORD, Release, Setup},
    fixtures,
    imap::{Imap, quote},
    observe::{Depth, Shown},
    place::{MailUser, Place, copy_tree},
    skip,
    tree::{Tree, walk},
};

use crate::program::CULVER;

/// A copy of a fixture, with what belongs to it and lies elsewhere.
struct Copied {
    store: PathBuf,
    /// Attachments that were detached.
    attachments: PathBuf,
    /// Alternate storage.
    alt: PathBuf,
}

impl Copied {
    /// All of it lies in a folder of its own.
    fn new(fixture: &str, home: &Path, user: &str, owner: &MailUser) -> Self {
        let unpacked = home.join("unpacked");
        if !unpacked.exists() {
            std::fs::create_dir_all(&unpacked).unwrap();
            fixtures::unpack(fixture, &unpacked).unwrap();
        }
        let folder = home.join(user);
        std::fs::create_dir_all(&folder).unwrap();
        let store = fixtures::store_in(fixture, &unpacked);
        let beside = |name: &str| PathBuf::from(format!("{}{name}", store.display()));
        let copied =
            Self { store: folder.join("ann"), attachments: folder.join("attachments"), alt: folder.join("ann-alt") };
        for (from, to) in [
            (&store, &copied.store),
            (&unpacked.join("attachments"), &copied.attachments),
            (&beside("-alt"), &copied.alt),
        ] {
            if from.exists() {
                copy_tree(from, to, owner).unwrap();
            }
        }
        // Where the alternate storage lies stands in the store too.
        for link in walk(&copied.store).unwrap().into_iter().filter(|path| path.ends_with("dbox-alt-root")) {
            std::fs::remove_file(&link).unwrap();
            std::os::unix::fs::symlink(&copied.alt, &link).unwrap();
        }
        owner.own(&folder).unwrap();
        copied
    }

    fn settings(&self, read_only: bool) -> Vec<String> {
        // For the user `ann`.
        let template = |path: &Path| path.display().to_string().replace("/ann", "/{user}");
        let mut settings = vec![
            format!("storage.path={}", template(&self.store)),
            format!("storage.attachments={}", self.attachments.display()),
            format!("storage.read_only={read_only}"),
            "storage.separator=/".to_owned(),
        ];
        if self.alt.exists() {
            settings.push(format!("storage.alt={}", template(&self.alt)));
        }
        settings
    }
}

struct Served {
    fixture: &'static str,
    place: Place,
    owner: MailUser,
}

impl Served {
    fn new(fixture: &'static str) -> Self {
        Self { fixture, place: Place::new("fixture-imap").unwrap(), owner: MailUser::for_tests().unwrap() }
    }

    fn copied(&self, name: &str) -> Copied {
        Copied::new(self.fixture, self.place.path(), name, &self.owner)
    }

    fn culver(&self, name: &str, on: &Copied, read_only: bool) -> Culver {
        let data = self.place.folder_of(&self.owner, name).unwrap();
        Culver::prepare(&data, &self.owner, &["ann"]).unwrap();
        let settings = on.settings(read_only);
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        Culver::start_set(CULVER.as_ref(), &data, &self.owner, &settings).unwrap()
    }

    fn dovecot(&self, name: &str, on: &Copied) -> Dovecot {
        let mail_location = fixtures::mail_location(self.fixture, &on.store);
        let attachments = on.attachments.display();
        let extra = match Release::chosen().unwrap() {
            Release::V2_3 => format!(
                "mail_attachment_dir = {attachments}\nmail_attachment_fs = sis posix\nmail_plugins = $mail_plugins zlib\n"
            ),
            Release::V2_4 { .. } => format!(
                "mail_ext_attachment_path = {attachments}\nfs sis {{\n}}\nfs posix {{\n}}\nmail_plugins {{\n  \
                 mail_compress = yes\n}}\n"
            ),
        };
        let folder = self.place.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        Dovecot::start(&folder, &self.owner, &Setup { mail_location, users: &["ann"], extra: &extra }).unwrap()
    }

    fn same(&self, when: &str, ours: &Shown, theirs: &Shown) {
        let differences = ours.differences(theirs);
        assert!(differences.is_empty(), "{}, {when}: {}", self.fixture, differences.join("\n"));
    }
}

fn shown(address: SocketAddr) -> Shown {
    Shown::by(&mut Imap::login(address, "ann", PASSWORD).unwrap(), Depth::ModSeqs).unwrap()
}

fn serves_as_dovecot_does(fixture: &'static str) {
    if !dovecot::is_installed() {
        return skip("serving a fixture beside Dovecot", "dovecot");
    }
    let served = Served::new(fixture);
    let [ours, theirs] = ["ours", "theirs"].map(|name| served.copied(name));
    // First read by Culver alone.
    let trees =
        [&ours.store, &ours.attachments, &ours.alt].map(|path| path.exists().then(|| Tree::note(path).unwrap()));
    let reader = served.culver("reader", &ours, true);
    let untouched = shown(reader.imap);
    read_as_selected(reader.imap, &untouched);
    reader.kill().unwrap();
    for tree in trees.into_iter().flatten() {
        assert_eq!(tree.changes().unwrap(), [""; 0], "{fixture}");
    }
    // What others put into a Maildir has a mod-sequence of whoever finds it first.
    let theirs = shown(served.dovecot("on-a-copy", &theirs).imap).without_mod_seqs();
    served.same("only read", &untouched.clone().without_mod_seqs(), &theirs);
    assert!(untouched.mailboxes.len() > 5, "there is something to compare");

    let culver = served.culver("writer", &ours, false);
    change_everything(culver.imap, &untouched);
    let changed = shown(culver.imap);
    let dovecot = served.dovecot("on-ours", &ours);
    served.same("changed", &changed, &shown(dovecot.imap));
    let complaints = dovecot.complaints().unwrap();
    assert!(complaints.is_empty(), "{fixture}: {complaints:#?}");
}

/// As a client reads that selects mailboxes and means to set flags: it is told that it cannot.
fn read_as_selected(address: SocketAddr, there: &Shown) {
    let mut imap = Imap::login(address, "ann", PASSWORD).unwrap();
    for (name, mailbox) in &there.mailboxes {
        let selected = imap.ok(&format!("SELECT {}", quote(name))).unwrap();
        assert!(selected.code("READ-ONLY").is_some(), "{name}: {}", selected.text);
        if mailbox.exists > 0 {
            imap.ok("FETCH 1:* (FLAGS BODY[] PREVIEW)").unwrap();
            let refused = imap.command("STORE 1:* +FLAGS (\\Seen)").unwrap();
            assert_eq!((refused.status.as_str(), refused.code("READ-ONLY").is_some()), ("NO", true), "{refused:?}");
        }
        imap.ok("CLOSE").unwrap();
        imap.ok(&format!("STATUS {} (SIZE UNSEEN DELETED)", quote(name))).unwrap();
    }
    for command in ["CREATE fresh", "DELETE Archive", "RENAME INBOX fresh", "SUBSCRIBE fresh", "UNSUBSCRIBE INBOX"] {
        assert_eq!(imap.command(command).unwrap().status, "NO", "{command}");
    }
    assert_eq!(imap.append("INBOX", "", None, b"Subject: x\r\n\r\nx\r\n").unwrap().status, "NO");
}

/// Some of everything that changes a mailbox, in each of them.
fn change_everything(address: SocketAddr, there: &Shown) {
    let mut imap = Imap::login(address, "ann", PASSWORD).unwrap();
    imap.ok("CREATE fresh").unwrap();
    for (name, mailbox) in &there.mailboxes {
        let answer = imap.append(name, "\\Flagged kept", None, b"Subject: added\r\n\r\nlater\r\n").unwrap();
        assert!(answer.is_ok(), "{name}: {answer:?}");
        imap.ok(&format!("SELECT {}", quote(name))).unwrap();
        imap.ok("STORE 1:* +FLAGS.SILENT (\\Answered changed)").unwrap();
        imap.ok("STORE 1 FLAGS.SILENT (\\Seen)").unwrap();
        imap.ok("COPY 1:* fresh").unwrap();
        if mailbox.exists > 2 {
            imap.ok("MOVE 2 fresh").unwrap();
            imap.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").unwrap();
            imap.ok("EXPUNGE").unwrap();
        }
        imap.ok("UNSELECT").unwrap();
    }
    imap.ok("RENAME fresh renamed").unwrap();
    imap.ok("SUBSCRIBE renamed").unwrap();
    imap.ok("DELETE \"Name with spaces\"").unwrap();
}

/// A test for each of them.
macro_rules! served {
    ($($test:ident: $name:literal;)+) => { $(#[test] fn $test() { serves_as_dovecot_does($name); })+ };
}

served! {
    sdbox_is_served_as_dovecot_serves_it: "sdbox";
    detached_attachments_are_served_as_dovecot_serves_them: "sdbox-attach";
    layout_index_is_served_as_dovecot_serves_it: "sdbox-layoutindex";
    mdbox_is_served_as_dovecot_serves_it: "mdbox";
    compressed_mdbox_is_served_as_dovecot_serves_it: "mdbox-zstd";
    alternate_storage_is_served_as_dovecot_serves_it: "mdbox-alt";
    maildir_is_served_as_dovecot_serves_it: "maildir";
    maildir_with_layout_fs_is_served_as_dovecot_serves_it: "maildir-fs";
    mbox_is_served_as_dovecot_serves_it: "mbox";
    sdbox_of_2_4_is_served_as_dovecot_serves_it: "2.4/sdbox";
    detached_attachments_of_2_4_are_served_as_dovecot_serves_them: "2.4/sdbox-attach";
    layout_index_of_2_4_is_served_as_dovecot_serves_it: "2.4/sdbox-layoutindex";
    mdbox_of_2_4_is_served_as_dovecot_serves_it: "2.4/mdbox";
    compressed_mdbox_of_2_4_is_served_as_dovecot_serves_it: "2.4/mdbox-zstd";
    alternate_storage_of_2_4_is_served_as_dovecot_serves_it: "2.4/mdbox-alt";
    maildir_of_2_4_is_served_as_dovecot_serves_it: "2.4/maildir";
    maildir_with_layout_fs_of_2_4_is_served_as_dovecot_serves_it: "2.4/maildir-fs";
    mbox_of_2_4_is_served_as_dovecot_serves_it: "2.4/mbox";
}
