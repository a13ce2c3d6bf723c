//! OfflineIMAP keeps a Maildir and Culver's mailboxes the same.

use std::{fs, path::Path};

use testkit::{
    clients::{MaildirMessage, Peer, Stage, StoreFormat, maildir_folders, read_maildir},
    dovecot::PASSWORD,
};

use crate::{deliver_numbered, listing, numbered, stage_on};

fn configure(stage: &Stage, home: &Path) {
    let (home_path, port) = (home.display(), stage.culver().imap.port());
    let configuration = format!(
        "[general]\naccounts = Test\nmetadata = {home_path}/state\nui = basic\nfsync = no\n\
         [Account Test]\nlocalrepository = Here\nremoterepository = There\n\
         [Repository Here]\ntype = Maildir\nlocalfolders = {home_path}/mail\nsep = /\n\
         [Repository There]\ntype = IMAP\nremotehost = 127.0.0.1\nremoteport = {port}\nssl = no\nstarttls = no\n\
         remoteuser = ann\nremotepass = {PASSWORD}\nauth_mechanisms = PLAIN\n"
    );
    fs::write(home.join("offlineimaprc"), configuration).unwrap();
}

fn sync(stage: &Stage, home: &Path) {
    let client = stage.client(Peer::OfflineImap, home).unwrap();
    let ran = client.args(["-1", "-o", "-c", home.join("offlineimaprc").to_str().unwrap()]).ok().unwrap();
    let said = ran.text() + &ran.errors();
    assert!(!said.contains("ERROR") && !said.contains("Traceback"), "{said}");
}

fn here(home: &Path, folder: &str) -> Vec<MaildirMessage> {
    read_maildir(&home.join("mail").join(folder)).unwrap()
}

/// Number and flags of the messages in a folder of the Maildir.
fn lines_here(home: &Path, folder: &str) -> Vec<String> {
    let mut lines: Vec<_> = here(home, folder).iter().map(|m| format!("{} {}", number_of(m), m.flags)).collect();
    lines.sort();
    lines
}

fn lines_there(stage: &Stage, mailbox: &str) -> Vec<String> {
    let letters = [("\\Flagged", 'F'), ("\\Answered", 'R'), ("\\Seen", 'S')];
    let line = |line: &String| {
        let flags: String = letters.iter().filter(|(flag, _)| line.contains(flag)).map(|(_, letter)| *letter).collect();
        format!("{} {flags}", line.rsplit('#').next().unwrap())
    };
    let mut lines: Vec<_> = listing(stage, "ann", mailbox).iter().map(line).collect();
    lines.sort();
    lines
}

fn number_of(message: &MaildirMessage) -> String {
    let text = String::from_utf8_lossy(&message.bytes).into_owned();
    text.split("Subject: number ").nth(1).unwrap().lines().next().unwrap().to_owned()
}

#[test]
fn offlineimap_syncs_both_ways() {
    sync_on(StoreFormat::Sdbox, "offlineimap");
}

#[test]
fn offlineimap_syncs_both_ways_on_maildir() {
    sync_on(StoreFormat::Maildir, "offlineimap-maildir");
}

fn sync_on(format: StoreFormat, what: &str) {
    let Some(stage) = stage_on(format, what, Peer::OfflineImap, &["ann"]) else { return };
    let home = stage.home("offlineimap").unwrap();
    configure(&stage, &home);
    deliver_numbered(&stage, "ann", 1..=10);
    stage.imap("ann").unwrap().ok("CREATE Work/2026").unwrap();
    sync(&stage, &home);
    assert_eq!(lines_here(&home, "INBOX"), lines_there(&stage, "INBOX"));
    assert_eq!(lines_here(&home, "INBOX").len(), 10);

    // There: flags, an expunge, a move, new mail.
    let mut imap = stage.imap("ann").unwrap();
    imap.ok("SELECT INBOX").unwrap();
    imap.ok("STORE 1:2 +FLAGS.SILENT (\\Seen \\Answered)").unwrap();
    imap.ok("STORE 3 +FLAGS.SILENT (\\Deleted)").unwrap();
    imap.ok("EXPUNGE").unwrap();
    imap.ok("UID MOVE 4 Work/2026").unwrap();
    deliver_numbered(&stage, "ann", 11..=12);
    // Here: a flag, a removal, a new message.
    for message in here(&home, "INBOX") {
        let name = message.path.file_name().unwrap().to_str().unwrap().to_owned();
        match number_of(&message).as_str() {
            "5" => fs::rename(&message.path, home.join("mail/INBOX/cur").join(name.replace(":2,", ":2,F"))).unwrap(),
            "6" => fs::remove_file(&message.path).unwrap(),
            _ => {}
        }
    }
    fs::write(home.join("mail/Work/2026/cur/1700000000.1.here:2,S"), numbered(20)).unwrap();
    sync(&stage, &home);
    sync(&stage, &home);

    let inbox = ["1 RS", "10 ", "11 ", "12 ", "2 RS", "5 F", "7 ", "8 ", "9 "];
    assert_eq!(lines_there(&stage, "INBOX"), inbox);
    assert_eq!(lines_here(&home, "INBOX"), inbox);
    assert_eq!(lines_there(&stage, "Work/2026"), ["20 S", "4 "]);
    assert_eq!(lines_here(&home, "Work/2026"), ["20 S", "4 "]);
    assert_eq!(maildir_folders(&home.join("mail")).unwrap(), ["INBOX", "Work/2026"]);
}
