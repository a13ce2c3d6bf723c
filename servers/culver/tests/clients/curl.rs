//! curl speaks IMAP a command at a time.

use std::{fs, path::Path};

use testkit::{
    clients::{Peer, Stage},
    dovecot::PASSWORD,
};

use crate::{deliver_numbered, listing, numbered, stage, without_added_headers};

/// Runs curl on a path of the server, as `ann`.
fn curl(stage: &Stage, home: &Path, path: &str, arguments: &[&str]) -> Vec<u8> {
    let url = format!("imap://{}/{path}", stage.culver().imap);
    let client = stage.client(Peer::Curl, home).unwrap();
    let client = client.args(["--silent", "--show-error", "--user", &format!("ann:{PASSWORD}"), &url]);
    client.args(arguments).ok().unwrap().stdout
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn curl_lists_fetches_searches_stores_moves_and_appends() {
    let Some(stage) = stage("curl", Peer::Curl, &["ann"]) else { return };
    deliver_numbered(&stage, "ann", 1..=5);
    let home = stage.home("curl").unwrap();
    let curl = |path: &str, arguments: &[&str]| curl(&stage, &home, path, arguments);

    curl("", &["-X", "CREATE Archive"]);
    let list = text(&curl("", &[]));
    assert!(list.contains("INBOX") && list.contains("Archive"), "{list}");
    assert_eq!(without_added_headers(&curl("INBOX;UID=2", &[])), numbered(2));
    assert_eq!(without_added_headers(&curl("INBOX;MAILINDEX=3", &[])), numbered(3));
    assert!(text(&curl("INBOX;UID=4;SECTION=HEADER.FIELDS%20(SUBJECT)", &[])).starts_with("Subject: number 4\r\n"));
    assert_eq!(text(&curl("INBOX?SUBJECT%20%22number%205%22", &[])), "* SEARCH 5\r\n");
    assert_eq!(text(&curl("INBOX?NOT%20SEEN", &[])), "* SEARCH 1 5\r\n");
    assert!(text(&curl("INBOX", &["-X", "STORE 1 +FLAGS (\\Flagged)"])).contains("\\Flagged"));
    curl("INBOX", &["-X", "UID MOVE 3 Archive"]);
    curl("INBOX", &["-X", "COPY 1 Archive"]);
    assert!(text(&curl("", &["-X", "STATUS Archive (MESSAGES)"])).contains("MESSAGES 2"));
    let message = home.join("message");
    fs::write(&message, numbered(6)).unwrap();
    curl("Archive", &["-T", message.to_str().unwrap()]);
    let large = [numbered(7), b"a line of a large message\r\n".repeat(100_000)].concat();
    fs::write(&message, &large).unwrap();
    curl("Archive", &["-T", message.to_str().unwrap()]);
    assert!(curl("Archive;UID=4", &[]) == large);

    assert_eq!(listing(&stage, "ann", "INBOX"), ["1 \\Flagged #1", "2 \\Seen #2", "4 \\Seen #4", "5 #5"]);
    assert_eq!(listing(&stage, "ann", "Archive"), ["1 \\Seen #3", "2 \\Flagged #1", "3 \\Seen #6", "4 \\Seen #7"]);
}
