//! IMAPClient of PyPI.

use testkit::{clients::Peer, dovecot::PASSWORD};

use crate::{deliver_numbered, listing, stage};

#[test]
fn imapclient_reads_searches_flags_moves_appends_and_waits() {
    let Some(stage) = stage("imapclient", Peer::Python, &["ann"]) else { return };
    deliver_numbered(&stage, "ann", 1..=10);
    let home = stage.home("imapclient").unwrap();
    let script = include_str!("imapclient_session.py");
    let client = stage.script(Peer::Python, &home, "session.py", script).unwrap();
    client.args([&stage.culver().imap.port().to_string(), "ann", PASSWORD]).ok().unwrap();

    let inbox = [
        "1 $Label1 \\Flagged #1",
        "2 $Label1 #2",
        "3 \\Seen #3",
        "4 #4",
        "5 #5",
        "7 #7",
        "8 #8",
        "10 #10",
        "11 \\Draft \\Seen #11",
        "12 \\Seen #12",
        "13 \\Seen #13",
        "14 #14",
    ];
    assert_eq!(listing(&stage, "ann", "INBOX"), inbox);
    assert_eq!(listing(&stage, "ann", "Done"), ["1 #5", "2 #6"]);
    let names: Vec<_> = stage.shown("ann").unwrap().list.into_keys().collect();
    assert_eq!(names, ["Done", "INBOX"]);
}
