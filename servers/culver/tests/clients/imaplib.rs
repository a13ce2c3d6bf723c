//! Python's imaplib.

use testkit::{
    clients::{Peer, StoreFormat},
    dovecot::PASSWORD,
};

use crate::{deliver_numbered, listing, stage_on};

#[test]
fn imaplib_reads_searches_flags_moves_and_appends() {
    session_on(StoreFormat::Sdbox, "imaplib");
}

#[test]
fn imaplib_reads_searches_flags_moves_and_appends_on_maildir() {
    session_on(StoreFormat::Maildir, "imaplib-maildir");
}

#[allow(clippy::print_stderr, reason = "what it came to is of use in a log")]
fn session_on(format: StoreFormat, what: &str) {
    let Some(stage) = stage_on(format, what, Peer::Python, &["ann"]) else { return };
    deliver_numbered(&stage, "ann", 1..=10);
    let home = stage.home("imaplib").unwrap();
    let port = stage.culver().imap.port().to_string();
    let script = include_str!("imaplib_session.py");
    let client = stage.script(Peer::Python, &home, "session.py", script).unwrap();
    let ran = client.args([&port, "ann", PASSWORD]).ok().unwrap();
    eprintln!("imaplib: {}", ran.text().trim());

    let inbox = [
        "1 $Label1 \\Flagged #1",
        "2 $Label1 #2",
        "3 #3",
        "4 #4",
        "5 #5",
        "7 #7",
        "8 #8",
        "10 #10",
        "11 \\Draft \\Seen #11",
    ];
    assert_eq!(listing(&stage, "ann", "INBOX"), inbox);
    assert_eq!(listing(&stage, "ann", "Done"), ["1 #5", "2 #6"]);
    let shown = stage.shown("ann").unwrap();
    let names: Vec<_> = shown.list.keys().map(String::as_str).collect();
    // The level that the rename left empty is gone.
    assert_eq!(names, ["Done", "INBOX"]);
    assert_eq!(shown.subscribed, ["Work/Gr&APwA3w-e"], "a subscription does not follow a rename");
}
