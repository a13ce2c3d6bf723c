//! Disks that will not do as they are told, under the whole program: what was acknowledged stays, everything else has an
//! answer, and the server lives on.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::{
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use testkit::{
    culver::Culver,
    dovecot::PASSWORD,
    imap::Imap,
    lmtp::Lmtp,
    place::{MailUser, Place},
    skip,
};

const CULVER: &str = env!("CARGO_BIN_EXE_culver");

fn server(place: &Place) -> (Culver, std::path::PathBuf) {
    let owner = MailUser::for_tests().unwrap();
    let data = place.folder_of(&owner, "data").unwrap();
    Culver::prepare(&data, &owner, &["ann", "bob"]).unwrap();
    (Culver::start(CULVER.as_ref(), &data, &owner).unwrap(), data)
}

fn message(number: usize) -> Vec<u8> {
    format!("Subject: {number}\r\n\r\n{}", "a line of some length\r\n".repeat(200)).into_bytes()
}

fn exists(imap: &mut Imap) -> u32 {
    imap.ok("SELECT INBOX").unwrap().number("EXISTS").unwrap()
}

#[test]
fn a_store_without_rights_costs_only_its_user() {
    let place = Place::new("no-rights").unwrap();
    let (culver, data) = server(&place);
    let mut lmtp = Lmtp::connect(culver.lmtp).unwrap();
    let anns_inbox = Culver::mail_of(&data, "ann").join("mailboxes/INBOX/dbox-Mails");
    assert_eq!(lmtp.deliver(&["ann"], &message(0)).unwrap()[0].0, 250);
    set_mode(&anns_inbox, 0o000);
    let replies = lmtp.deliver(&["ann", "bob"], &message(1)).unwrap();
    assert_eq!((replies[0].0, replies[1].0), (451, 250), "{replies:?}");
    assert!(!replies[0].1.contains('/'), "a path was told: {replies:?}");
    let mut imap = Imap::login(culver.imap, "ann", PASSWORD).unwrap();
    let answer = imap.command("STATUS Elsewhere (MESSAGES)").unwrap();
    assert_eq!(answer.status, "NO", "{answer:?}");
    set_mode(&anns_inbox, 0o700);
    assert_eq!(lmtp.deliver(&["ann"], &message(2)).unwrap()[0].0, 250, "mended, it takes mail again");
    assert_eq!(exists(&mut imap), 2);
}

fn set_mode(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

/// A small file system of its own, taken away in the end.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(at: &'a Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m,mode=0777", "culver-test"]).arg(at).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then_some(Self(at))
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_mail_and_loses_none() {
    let place = Place::new("full-disk").unwrap();
    let owner = MailUser::for_tests().unwrap();
    let data = place.folder_of(&owner, "data").unwrap();
    let Some(_disk) = SmallDisk::mount(&data) else {
        return skip("a really full disk", "the right to mount a small file system");
    };
    Culver::prepare(&data, &owner, &["ann", "bob"]).unwrap();
    let culver = Culver::start(CULVER.as_ref(), &data, &owner).unwrap();
    let mut lmtp = Lmtp::connect(culver.lmtp).unwrap();
    let mut delivered = Vec::new();
    for number in 0..1000 {
        let replies = lmtp.deliver(&["ann"], &message(number)).unwrap();
        match replies[0].0 {
            250 => delivered.push(number),
            452 => break,
            _ => panic!("message {number}: {replies:?}"),
        }
    }
    assert!((50..1000).contains(&delivered.len()), "{} delivered on 1 MB", delivered.len());
    let mut imap = Imap::login(culver.imap, "ann", PASSWORD).unwrap();
    let answer = imap.append("INBOX", "", None, &message(1000)).unwrap();
    assert_eq!(answer.status, "NO", "{answer:?}");
    assert_eq!(exists(&mut imap) as usize, delivered.len());
    for (seq, number) in delivered.iter().enumerate() {
        let fetched = imap.ok(&format!("FETCH {} (BODY.PEEK[])", seq + 1)).unwrap().fetches().unwrap();
        // Below the fields that delivery puts on top.
        assert!(fetched[0].1[0].1.bytes().ends_with(&message(*number)), "message {number}");
    }
    // Room is made by expunging; then mail flows again, and what was refused did not come back.
    imap.ok("STORE 1:20 +FLAGS (\\Deleted)").unwrap();
    imap.ok("EXPUNGE").unwrap();
    assert_eq!(lmtp.deliver(&["ann"], &message(2000)).unwrap()[0].0, 250);
    assert_eq!(exists(&mut imap) as usize, delivered.len() - 20 + 1);
}
