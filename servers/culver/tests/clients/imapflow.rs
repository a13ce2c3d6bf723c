//! imapflow of npm.

use testkit::{
    clients::{Peer, StoreFormat},
    dovecot::PASSWORD,
};

use crate::{deliver_numbered, listing, stage_on};

#[test]
fn imapflow_reads_searches_flags_moves_appends_and_waits() {
    session_on(StoreFormat::Sdbox, "imapflow");
}

#[test]
fn imapflow_reads_searches_flags_moves_appends_and_waits_on_maildir() {
    session_on(StoreFormat::Maildir, "imapflow-maildir");
}

#[allow(clippy::print_stderr, reason = "what it came to is of use in a log")]
fn session_on(format: StoreFormat, what: &str) {
    let Some(stage) = stage_on(format, what, Peer::Node, &["ann"]) else { return };
    deliver_numbered(&stage, "ann", 1..=10);
    let home = stage.home("imapflow").unwrap();
    let client = stage.script(Peer::Node, &home, "session.js", include_str!("imapflow_session.js")).unwrap();
    let client = client.env("NODE_PATH", Peer::node_modules());
    let ran = client.args([&stage.culver().imap.port().to_string(), "ann", PASSWORD]).ok().unwrap();
    eprintln!("imapflow: {}", ran.text().trim());

    let inbox = [
        "1 $Label1 \\Answered \\Flagged #1",
        "2 $Label1 #2",
        "3 \\Seen #3",
        "4 #4",
        "5 #5",
        "7 #7",
        "8 #8",
        "11 \\Draft \\Seen #11",
        "12 #12",
    ];
    assert_eq!(listing(&stage, "ann", "INBOX"), inbox);
    assert_eq!(listing(&stage, "ann", "Done"), ["1 #5", "2 #6"]);
    let names: Vec<_> = stage.shown("ann").unwrap().list.into_keys().collect();
    assert_eq!(names, ["Done", "INBOX"]);
}
