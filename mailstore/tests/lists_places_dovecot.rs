//! Stores whose parts lie in several places, beside a real Dovecot 2.3: INBOX, indexes, control files and the list's lock
//! apart from the rest; layout `index` on every format, its format and layout found without being told.

#![allow(clippy::unwrap_used, reason = "these are tests")]

mod dovecot;
mod located;

use std::{fs, path::Path, sync::Arc};

use dovecot::{Imap, Shared};
use located::located;
use mailfs::RealDisk;
use mailindex::engine::{Env, EnvOptions};
use mailstore::{
    Append, Format, ListLayout, ListOptions, Store, StoreOptions, detect,
    maildir::{MaildirLayout, MaildirSeparator},
};

fn store(root: &Path, options: &StoreOptions) -> Store {
    let env = Env::new(Arc::new(RealDisk::new()), EnvOptions::default());
    Store::create_in(&env, root, options).unwrap()
}

/// How many messages Dovecot finds.
fn counted(imap: &mut Imap, mailbox: &str) -> String {
    let lines = imap.run(format!("STATUS \"{mailbox}\" (MESSAGES)"));
    String::from_utf8(lines.concat()).unwrap().rsplit_once("MESSAGES ").unwrap().1.trim_end_matches(')').to_owned()
}

const FORMATS: [(&str, Format); 4] = [
    ("sdbox", Format::Sdbox),
    ("mdbox", Format::Mdbox),
    ("maildir", Format::Maildir(MaildirLayout::PlusPlus)),
    ("maildir", Format::Maildir(MaildirLayout::Fs)),
];

fn options(format: Format) -> StoreOptions {
    StoreOptions { format: Some(format), separator: MaildirSeparator::Slash, ..StoreOptions::default() }
}

const MESSAGE: &[u8] = b"Subject: x\r\n\r\nx\r\n";

/// By turns, each in all mailboxes; both find all that is there.
fn by_turns(shared: &Shared, open: &dyn Fn() -> Store, what: &str) {
    let boxes = ["INBOX", "a", "a/b", "c"];
    let ours = open();
    for mailbox in &boxes[1..3] {
        ours.create_mailbox(mailbox).unwrap();
    }
    shared.own();
    let mut imap = shared.imap();
    imap.run("CREATE c");
    for mailbox in boxes {
        ours.mailbox(mailbox).unwrap().append(Append::new(MESSAGE)).unwrap();
        shared.own();
        imap.run([format!("APPEND {mailbox} {{{}+}}\r\n", MESSAGE.len()).as_bytes(), MESSAGE].concat());
        assert_eq!(counted(&mut imap, mailbox), "2", "{what}: {mailbox}");
    }
    drop(ours);
    let ours = open();
    for mailbox in boxes {
        assert_eq!(ours.mailbox(mailbox).unwrap().view().unwrap().len(), 2, "{what}: {mailbox}");
    }
    ours.rename_mailbox("a", "d").unwrap();
    ours.delete_mailbox("c").unwrap();
    shared.own();
    let mut imap = shared.imap();
    assert_eq!(counted(&mut imap, "d/b"), "2", "{what}");
    imap.run("RENAME d/b e");
    imap.run("DELETE d");
    assert_eq!(ours.mailbox("e").unwrap().view().unwrap().len(), 2, "{what}");
    let names: Vec<String> =
        ours.list().unwrap().into_iter().filter(|i| i.selectable).map(|i| i.name.to_string()).collect();
    assert_eq!(names, ["INBOX", "e"], "{what}");
    assert_eq!(shared.complaints(), [""; 0], "{what}");
}

#[test]
fn inbox_lies_elsewhere() {
    if !dovecot::is_installed() {
        return;
    }
    for (kind, format) in FORMATS {
        let layout = if format == Format::Maildir(MaildirLayout::Fs) { ":LAYOUT=fs" } else { "" };
        let location = format!("{kind}:ROOT{layout}:INBOX=ROOT-inbox");
        let (shared, root) = located(&location, "");
        let inbox = root.with_file_name("mail-inbox");
        let list = ListOptions { inbox: Some(inbox.clone()), ..ListOptions::default() };
        let options = StoreOptions { list, ..options(format) };
        by_turns(&shared, &|| store(&root, &options), &location);
        assert!(fs::read_dir(inbox).unwrap().next().is_some(), "{location}");
    }
}

/// A folder that has the lock's name would be in the way of whoever locks the list there.
#[test]
fn the_lists_lock_lies_elsewhere() {
    if !dovecot::is_installed() {
        return;
    }
    for (kind, format) in FORMATS {
        let layout = if format == Format::Maildir(MaildirLayout::Fs) { ":LAYOUT=fs" } else { "" };
        let location = format!("{kind}:ROOT{layout}:VOLATILEDIR=ROOT-volatile");
        let (shared, root) = located(&location, "");
        fs::create_dir_all(root.join("mailboxes.lock")).unwrap();
        let list = ListOptions { volatile: Some(root.with_file_name("mail-volatile")), ..ListOptions::default() };
        let options = StoreOptions { list, ..options(format) };
        by_turns(&shared, &|| store(&root, &options), &location);
        assert!(root.join("mailboxes.lock").is_dir(), "{location}");
    }
}

#[test]
fn indexes_and_control_files_lie_elsewhere() {
    if !dovecot::is_installed() {
        return;
    }
    for (kind, format) in FORMATS {
        let layout = if format == Format::Maildir(MaildirLayout::Fs) { ":LAYOUT=fs" } else { "" };
        let location = format!("{kind}:ROOT{layout}:INDEX=ROOT-index:CONTROL=ROOT-control");
        let (shared, root) = located(&location, "");
        let beside = |name: &str| Some(root.with_file_name(name));
        let options = StoreOptions { index: beside("mail-index"), control: beside("mail-control"), ..options(format) };
        by_turns(&shared, &|| store(&root, &options), &location);
    }
}

/// Dovecot makes them, and what they are is found.
#[test]
fn layout_index_is_found_on_every_format() {
    if !dovecot::is_installed() {
        return;
    }
    for (kind, format) in [FORMATS[0], FORMATS[1], FORMATS[3]] {
        let location = format!("{kind}:ROOT:LAYOUT=index");
        let (shared, root) = located(&location, "");
        let mut imap = shared.imap();
        imap.run("SELECT INBOX");
        imap.run("CREATE before");
        imap.run([format!("APPEND before {{{}+}}\r\n", MESSAGE.len()).as_bytes(), MESSAGE].concat());
        imap.run("SELECT before");
        imap.run("DELETE before");
        drop(imap);
        let found = detect(&RealDisk::new(), &root).unwrap();
        assert_eq!((found.format, found.list), (format, ListLayout::Index), "{found}");
        let told = StoreOptions { separator: MaildirSeparator::Slash, ..StoreOptions::default() };
        by_turns(&shared, &|| store(&root, &told), &location);
    }
}
