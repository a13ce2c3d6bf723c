//! isync keeps a Maildir and a Culver mailbox the same.

use std::{collections::BTreeMap, fs, path::Path};

use testkit::{
    clients::{Peer, Stage, StoreFormat, maildir_folders, read_maildir},
    dovecot::PASSWORD,
};

use crate::{deliver_numbered, numbered, stage_on};

fn sync(stage: &Stage, home: &Path) -> String {
    let client = stage.client(Peer::Mbsync, home).unwrap();
    let ran = client.args(["--config", home.join("mbsyncrc").to_str().unwrap(), "--all", "--verbose"]).ok().unwrap();
    ran.text() + &ran.errors()
}

fn configure(stage: &Stage, home: &Path) {
    let (port, maildir) = (stage.culver().imap.port(), home.join("mail"));
    fs::create_dir_all(&maildir).unwrap();
    let maildir = maildir.display();
    let configuration = format!(
        "IMAPStore there\nHost 127.0.0.1\nPort {port}\nUser ann\nPass {PASSWORD}\nSSLType None\nAuthMechs LOGIN\n\n\
         MaildirStore here\nPath {maildir}/\nInbox {maildir}/INBOX\nSubFolders Verbatim\n\n\
         Channel all\nFar :there:\nNear :here:\nPatterns *\nCreate Both\nRemove Both\nExpunge Both\nSync All\n\
         SyncState *\nCopyArrivalDate yes\n"
    );
    fs::write(home.join("mbsyncrc"), configuration).unwrap();
}

/// Of each mailbox its messages: number in the subject, and flags as letters.
type View = BTreeMap<String, Vec<(String, String)>>;

fn number_of(text: &str) -> String {
    let number = text.split("number ").nth(1).unwrap_or("?");
    number.chars().take_while(char::is_ascii_digit).collect()
}

fn view_here(home: &Path) -> View {
    let root = home.join("mail");
    let view = |folder: String| {
        let messages = read_maildir(&root.join(&folder)).unwrap();
        let one =
            |m: &testkit::clients::MaildirMessage| (number_of(&String::from_utf8_lossy(&m.bytes)), m.flags.clone());
        let mut messages: Vec<_> = messages.iter().map(one).collect();
        messages.sort();
        (folder, messages)
    };
    maildir_folders(&root).unwrap().into_iter().map(view).collect()
}

fn view_there(stage: &Stage) -> View {
    let letters = [("\\Draft", 'D'), ("\\Flagged", 'F'), ("\\Answered", 'R'), ("\\Seen", 'S'), ("\\Deleted", 'T')];
    let shown = stage.shown("ann").unwrap();
    let view = |(name, mailbox): (&String, &testkit::observe::ShownMailbox)| {
        let one = |m: &testkit::observe::ShownMessage| {
            let flags = letters.iter().filter(|(flag, _)| m.flags.iter().any(|f| f == flag));
            (number_of(&m.envelope), flags.map(|(_, letter)| *letter).collect())
        };
        let mut messages: Vec<_> = mailbox.messages.values().map(one).collect();
        messages.sort();
        (name.clone(), messages)
    };
    shown.mailboxes.iter().map(view).collect()
}

/// Syncs until a run changes nothing, which must be soon, and both sides must then be equal.
fn settle(stage: &Stage, home: &Path) -> View {
    for _ in 0..4 {
        let before = (view_here(home), view_there(stage));
        sync(stage, home);
        let after = (view_here(home), view_there(stage));
        if after == before {
            assert_eq!(after.0, after.1, "Maildir and Culver");
            return after.0;
        }
    }
    panic!("it does not come to rest");
}

#[test]
fn isync_syncs_both_ways_until_nothing_changes() {
    sync_on(StoreFormat::Sdbox, "isync");
}

#[test]
fn isync_syncs_both_ways_until_nothing_changes_on_maildir() {
    sync_on(StoreFormat::Maildir, "isync-maildir");
}

#[allow(clippy::print_stderr, reason = "what it came to is of use in a log")]
fn sync_on(format: StoreFormat, what: &str) {
    let Some(stage) = stage_on(format, what, Peer::Mbsync, &["ann"]) else { return };
    let home = stage.home("isync").unwrap();
    configure(&stage, &home);
    deliver_numbered(&stage, "ann", 1..=60);
    let view = settle(&stage, &home);
    assert_eq!(view["INBOX"].len(), 60);

    // There: flags, a new mailbox, a move, an expunge, new mail.
    let mut imap = stage.imap("ann").unwrap();
    imap.ok("CREATE Work/2026").unwrap();
    imap.ok("SELECT INBOX").unwrap();
    imap.ok("STORE 1:10 +FLAGS.SILENT (\\Seen \\Answered)").unwrap();
    imap.ok("MOVE 11:15 Work/2026").unwrap();
    imap.ok("STORE 20 +FLAGS.SILENT (\\Deleted)").unwrap();
    imap.ok("EXPUNGE").unwrap();
    deliver_numbered(&stage, "ann", 61..=70);
    // Here: flags, removals, new messages, a new mailbox.
    let inbox = home.join("mail/INBOX");
    let messages = read_maildir(&inbox).unwrap();
    let numbered_file = |number: u32| {
        let is_it =
            |m: &&testkit::clients::MaildirMessage| number_of(&String::from_utf8_lossy(&m.bytes)) == number.to_string();
        messages.iter().find(is_it).unwrap().path.clone()
    };
    for number in 30..=35 {
        let path = numbered_file(number);
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        let unique = name.split(":2,").next().unwrap();
        fs::rename(&path, inbox.join("cur").join(format!("{unique}:2,FS"))).unwrap();
    }
    for number in 40..=44 {
        fs::remove_file(numbered_file(number)).unwrap();
    }
    for folder in ["Home", "Home/Gr&APwA3w-e"] {
        for part in ["cur", "new", "tmp"] {
            fs::create_dir_all(home.join("mail").join(folder).join(part)).unwrap();
        }
    }
    for (folder, number) in [("INBOX", 80), ("INBOX", 81), ("Home", 82), ("Home/Gr&APwA3w-e", 83)] {
        let bytes = String::from_utf8(numbered(number)).unwrap().replace("\r\n", "\n");
        let path = home.join("mail").join(folder).join(format!("new/1700000000.{number}.here"));
        fs::write(path, bytes).unwrap();
    }

    let view = settle(&stage, &home);
    let numbers = |name: &str, flags: &str| {
        let all = view[name].iter().filter(|(_, f)| f == flags).map(|(n, _)| n.parse::<u32>().unwrap());
        let mut all: Vec<_> = all.collect();
        all.sort_unstable();
        all
    };
    assert_eq!(view.keys().map(String::as_str).collect::<Vec<_>>(), ["Home", "Home/Gr&APwA3w-e", "INBOX", "Work/2026"]);
    assert_eq!(numbers("INBOX", "RS"), (1..=10).collect::<Vec<_>>());
    assert_eq!(numbers("INBOX", "FS"), (30..=35).collect::<Vec<_>>());
    let untouched =
        (16..=81).filter(|n| ![25, 40, 41, 42, 43, 44].contains(n) && !(30..=35).contains(n) && !(71..80).contains(n));
    assert_eq!(numbers("INBOX", ""), untouched.collect::<Vec<_>>());
    assert_eq!(numbers("Work/2026", ""), (11..=15).collect::<Vec<_>>());
    assert_eq!((numbers("Home", ""), numbers("Home/Gr&APwA3w-e", "")), (vec![82], vec![83]));
    assert!(imap.ok("NOOP").is_ok(), "a session that saw it all is still there");
    eprintln!("isync: came to rest with {} messages", view.values().map(Vec::len).sum::<usize>());
}
