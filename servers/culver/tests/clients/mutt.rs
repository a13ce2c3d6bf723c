//! mutt and neomutt, driven by the keys that a person would press.

use std::{fs, path::Path};

use testkit::{
    clients::{Peer, Program, Stage, StoreFormat},
    dovecot::PASSWORD,
};

use crate::{deliver_numbered, listing, numbers_of, stage_on};

fn configure(stage: &Stage, home: &Path) {
    let there = format!("imap://ann@{}", stage.culver().imap);
    let configuration = format!(
        "set folder={there}/ spoolfile={there}/INBOX record=+Sent\n\
         set imap_user=ann imap_pass={PASSWORD} imap_authenticators=login\n\
         set from=ann@test.example realname=Ann use_domain=no sendmail=/bin/true editor=/bin/true\n\
         set ssl_starttls=no ssl_force_tls=no\n\
         set confirmcreate=no confirmappend=no delete=yes move=no quit=yes mark_old=no\n\
         set abort_unmodified=no wait_key=no pipe_decode=no beep=no sort=mailbox-order\n"
    );
    fs::write(home.join("muttrc"), configuration).unwrap();
}

/// Opens INBOX on a terminal and presses keys.
fn press(home: &Path, mutt: &Path, keys: &[&str]) {
    let mut configuration = fs::read_to_string(home.join("muttrc")).unwrap();
    configuration += &format!("push \"{}\"\n", keys.concat());
    fs::write(home.join("keys"), configuration).unwrap();
    // Its screen needs a terminal, which script(1) gives it.
    let script = Program::new("/usr/bin/script".as_ref(), home);
    let command = format!("{} -n -F {}", mutt.display(), home.join("keys").display());
    script.args(["--quiet", "--return", "--command", &command, "/dev/null"]).ok().unwrap();
}

fn session(format: StoreFormat, name: &str, peer: Peer) {
    let Some(stage) = stage_on(format, name, peer, &["ann"]) else { return };
    deliver_numbered(&stage, "ann", 1..=10);
    // For the copies of what was sent NeoMutt makes no mailbox.
    stage.imap("ann").unwrap().ok("CREATE Sent").unwrap();
    let home = stage.home(name).unwrap();
    configure(&stage, &home);
    let mutt = peer.path().unwrap();
    press(
        &home,
        &mutt,
        &[
            // Reads one, and hands it to a program as it is.
            "<search>~s 'number 3'<enter><display-message><exit>",
            &format!("<pipe-message>cat >{}<enter>", home.join("message").display()),
            // Flags one that the server found by its body.
            "<limit>=b 'body of message 4'<enter><flag-message><limit>all<enter>",
            // Moves two, copies one, deletes one.
            "<tag-pattern>~s 'number 5'|~s 'number 6'<enter><tag-prefix><save-message>=Archive<enter>",
            "<search>~s 'number 7'<enter><copy-message>=Archive<enter>",
            "<search>~s 'number 8'<enter><delete-message>",
            "<search>~s 'number 9'<enter><toggle-new>",
            // Sends one, and keeps a copy.
            "<mail>bob@test.example<enter>number 20<enter><send-message>",
            "<sync-mailbox><quit>",
        ],
    );
    let read = fs::read(home.join("message")).unwrap();
    assert_eq!(numbers_of(&[read]), [3]);
    assert_eq!(
        listing(&stage, "ann", "INBOX"),
        ["1 #1", "2 #2", "3 \\Seen #3", "4 \\Flagged #4", "7 #7", "9 \\Seen #9", "10 #10"]
    );
    assert_eq!(listing(&stage, "ann", "Archive"), ["1 #5", "2 #6", "3 #7"]);
    assert_eq!(listing(&stage, "ann", "Sent"), ["1 \\Seen #20"]);
}

#[test]
fn mutt_reads_searches_flags_moves_and_keeps_sent_mail() {
    session(StoreFormat::Sdbox, "mutt", Peer::Mutt);
}

#[test]
fn mutt_reads_searches_flags_moves_and_keeps_sent_mail_on_maildir() {
    session(StoreFormat::Maildir, "mutt-maildir", Peer::Mutt);
}

#[test]
fn neomutt_reads_searches_flags_moves_and_keeps_sent_mail() {
    session(StoreFormat::Sdbox, "neomutt", Peer::NeoMutt);
}
