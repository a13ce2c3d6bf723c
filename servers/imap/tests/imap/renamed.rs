//! A selected mailbox that another session renames or deletes, and in whose place another mailbox is made.

use crate::common::{Client, Host};
use mailtypes::Flags;

fn hosts() -> [Host; 2] {
    [Host::on_sdbox(), Host::on_maildir()]
}

/// A client that has selected `Box` with three messages, and another client.
async fn selected(host: &Host) -> (Client, Client) {
    let (mut client, mut other) = (host.log_in().await, host.log_in().await);
    other.ok("CREATE Box").await;
    other.ok("CREATE There").await;
    for n in 1..=3 {
        host.put("Box", format!("Subject: mine {n}\n\nmine\n").as_bytes(), Flags::NONE);
    }
    client.ok("SELECT Box").await;
    (client, other)
}

/// Another mailbox under the name of the selected one, with as many messages.
async fn make_another(host: &Host, other: &mut Client) {
    other.ok("CREATE Box").await;
    for n in 1..=3 {
        host.put("Box", format!("Subject: other {n}\n\nother\n").as_bytes(), Flags::NONE);
    }
    // Something of it is cached.
    other.ok("SELECT Box").await;
    other.ok("FETCH 1:* (ENVELOPE BODYSTRUCTURE RFC822.SIZE)").await;
    other.ok("UNSELECT").await;
}

#[tokio::test]
async fn a_mailbox_that_took_the_place_is_not_read() {
    for command in [
        "FETCH 1 BODY.PEEK[]",
        "FETCH 1:3 (ENVELOPE)",
        "UID FETCH 1:3 (FLAGS BODY.PEEK[HEADER.FIELDS (Subject)])",
        "FETCH 2 BODY[TEXT]",
        "SEARCH SUBJECT other",
        "SEARCH BODY other",
        "SORT (REVERSE SUBJECT) UTF-8 SUBJECT mine",
        "THREAD REFERENCES UTF-8 SUBJECT mine",
    ] {
        for host in hosts() {
            let (mut client, mut other) = selected(&host).await;
            other.ok("RENAME Box Away").await;
            make_another(&host, &mut other).await;
            let told = client.ok(command).await;
            assert!(!told.contains("other"), "{command}: {told}");
            match command.split(' ').next() {
                Some("SEARCH") => assert!(told.starts_with("* SEARCH\r\n"), "{command}: {told}"),
                Some("SORT") => assert!(told.starts_with("* SORT 3 2 1\r\n"), "{command}: {told}"),
                Some("THREAD") => assert!(told.starts_with("* THREAD (1)(2)(3)\r\n"), "{command}: {told}"),
                _ => assert!(told.contains("mine"), "{command}: {told}"),
            }
            // Nothing of it was cached for ours.
            let told = client.ok("FETCH 1:3 (ENVELOPE)").await;
            assert_eq!(told.matches("mine").count(), 3, "{command}: {told}");
            let told = other.ok("EXAMINE Box").await;
            assert!(told.contains("* 3 EXISTS\r\n"), "{told}");
            assert_eq!(other.ok("FETCH 1:3 (ENVELOPE)").await.matches("other").count(), 3);
        }
    }
}

#[tokio::test]
async fn a_mailbox_that_took_the_place_is_not_copied_from() {
    for command in ["COPY 1:2 There", "MOVE 1:2 There", "UID COPY 1:2 There", "UID MOVE 1:2 There"] {
        for host in hosts() {
            let (mut client, mut other) = selected(&host).await;
            other.ok("RENAME Box Away").await;
            make_another(&host, &mut other).await;
            client.ok(command).await;
            other.ok("SELECT There").await;
            let told = other.ok("FETCH 1:* (ENVELOPE)").await;
            assert_eq!(told.matches("mine").count(), 2, "{command}: {told}");
            let left = if command.contains("MOVE") { 1 } else { 3 };
            assert!(other.ok("STATUS Away (MESSAGES)").await.contains(&format!("MESSAGES {left})")), "{command}");
            assert!(other.ok("STATUS Box (MESSAGES)").await.contains("MESSAGES 3)"), "{command}");
        }
    }
}

/// Deleted, there is nothing to be followed; and what stands there is not read.
#[tokio::test]
async fn a_mailbox_made_anew_after_a_delete_is_not_read() {
    for command in ["FETCH 1 BODY.PEEK[]", "FETCH 1:3 (ENVELOPE)", "SEARCH SUBJECT other", "COPY 1 There"] {
        for host in hosts() {
            let (mut client, mut other) = selected(&host).await;
            other.ok("DELETE Box").await;
            make_another(&host, &mut other).await;
            // The session ends when it looks at its mailbox again.
            client.send(format!("x {command}\r\ny NOOP\r\n")).await;
            let told = client.rest().await;
            assert!(!told.contains("other") && !told.contains("x OK"), "{command}: {told}");
            assert!(other.ok("STATUS There (MESSAGES)").await.contains("MESSAGES 0)"), "{command}");
        }
    }
}

/// The first command after the rename succeeds already.
#[tokio::test]
async fn changes_follow_a_rename() {
    for command in [
        "STORE 1 +FLAGS (\\Flagged)",
        "STORE 1 (UNCHANGEDSINCE 99) +FLAGS (\\Flagged)",
        "COPY 1 There",
        "MOVE 1 There",
        "EXPUNGE",
        "UID EXPUNGE 2",
        "CLOSE",
    ] {
        for host in hosts() {
            let (mut client, mut other) = selected(&host).await;
            client.ok("STORE 2 +FLAGS.SILENT (\\Deleted)").await;
            other.ok("RENAME Box Away").await;
            client.ok(command).await;
            let (there, left) = match command {
                "COPY 1 There" => (1, 3),
                "MOVE 1 There" => (1, 2),
                "EXPUNGE" | "UID EXPUNGE 2" | "CLOSE" => (0, 2),
                _ => (0, 3),
            };
            assert!(other.ok("STATUS There (MESSAGES)").await.contains(&format!("MESSAGES {there})")), "{command}");
            assert!(other.ok("STATUS Away (MESSAGES)").await.contains(&format!("MESSAGES {left})")), "{command}");
            if command.starts_with("STORE") {
                other.ok("EXAMINE Away").await;
                assert!(other.ok("FETCH 1 FLAGS").await.contains("\\Flagged"), "{command}");
            }
        }
    }
}

#[tokio::test]
async fn a_delete_that_fails_leaves_the_mailbox_selected() {
    let mut client = Host::on_sdbox().select().await;
    assert!(client.command("DELETE INBOX").await.starts_with("tag NO "));
    client.ok("APPEND INBOX {12+}\r\nSubject: y\r\n").await;
    assert!(client.ok("FETCH 1 FLAGS").await.starts_with("* 1 FETCH "));
}
