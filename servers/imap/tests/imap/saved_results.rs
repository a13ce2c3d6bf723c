//! The result of a search, kept as `$` (RFC 5182), after its examples.

use crate::common::Host;
use mailtypes::{Flag, Flags};

fn host_with(messages: u32) -> Host {
    let host = Host::new();
    for n in 1..=messages {
        let flags = if n % 2 == 0 { Flag::Flagged.into() } else { Flags::NONE };
        host.put("INBOX", format!("Subject: {n}\n\nbody\n").as_bytes(), flags);
    }
    host
}

#[tokio::test]
async fn a_result_can_be_used_wherever_messages_are_named() {
    let host = host_with(6);
    let mut client = host.select().await;
    client.ok("CREATE Other").await;
    assert_eq!(client.ok("SEARCH RETURN (SAVE) FLAGGED").await, "tag OK Search completed.\r\n");
    let told = client.ok("FETCH $ UID").await;
    assert_eq!(told, "* 2 FETCH (UID 2)\r\n* 4 FETCH (UID 4)\r\n* 6 FETCH (UID 6)\r\ntag OK Fetch completed.\r\n");
    assert_eq!(client.ok("UID FETCH $ UID").await, told);
    assert!(client.ok("UID SEARCH UID $ SUBJECT 4").await.starts_with("* SEARCH 4\r\n"));
    assert!(client.ok("SEARCH (OR $ 1)").await.starts_with("* SEARCH 1 2 4 6\r\n"));
    assert!(client.ok("SEARCH NOT $").await.starts_with("* SEARCH 1 3 5\r\n"));
    assert!(client.ok("COPY $ Other").await.contains(" 2,4,6 1:3]"));
    assert_eq!(client.ok("STORE $ +FLAGS (\\Deleted)").await.matches("FETCH (").count(), 3);
    assert_eq!(client.ok("UID EXPUNGE $").await.matches("EXPUNGE\r\n").count(), 3);
    assert_eq!(client.ok("FETCH $ UID").await, "tag OK Fetch completed.\r\n", "gone from the result too");
    client.ok("SEARCH RETURN (SAVE) ALL").await;
    assert!(client.ok("MOVE $ Other").await.contains(" 1,3,5 4:6]"));
}

#[tokio::test]
async fn messages_leave_the_result_and_others_keep_their_place() {
    let host = host_with(6);
    let mut client = host.select().await;
    client.ok("SEARCH RETURN (SAVE) FLAGGED").await;
    client.ok("STORE 1,4 +FLAGS.SILENT (\\Deleted)").await;
    client.ok("EXPUNGE").await;
    assert_eq!(client.ok("FETCH $ UID").await, "* 1 FETCH (UID 2)\r\n* 4 FETCH (UID 6)\r\ntag OK Fetch completed.\r\n");
}

#[tokio::test]
async fn what_is_saved_depends_on_what_is_returned() {
    let host = host_with(6);
    let mut client = host.select().await;
    for (returns, told, saved) in [
        ("SAVE MIN", " MIN 2\r\n", "2"),
        ("MAX SAVE MIN", " MIN 2 MAX 6\r\n", "2 6"),
        ("MAX SAVE MIN COUNT", " MIN 2 MAX 6 COUNT 3\r\n", "2 4 6"),
        ("ALL SAVE MIN", " MIN 2 ALL 2,4,6\r\n", "2 4 6"),
    ] {
        let answer = client.ok(format!("SEARCH RETURN ({returns}) FLAGGED")).await;
        assert!(answer.contains(told), "{returns}: {answer}");
        assert!(client.ok("SEARCH $").await.starts_with(&format!("* SEARCH {saved}\r\n")), "{returns}");
    }
    // A search that does not save leaves it; one that fails does not.
    client.ok("SEARCH RETURN (ALL) 1").await;
    assert!(client.command("SEARCH CHARSET X-KLINGON ALL").await.starts_with("tag NO [BADCHARSET"));
    assert!(client.ok("SEARCH $").await.starts_with("* SEARCH 2 4 6\r\n"));
    let failed = client.command("SEARCH RETURN (SAVE) CHARSET X-KLINGON (OR $ 1)").await;
    assert!(failed.starts_with("tag NO [BADCHARSET"), "{failed}");
    assert!(client.ok("SEARCH $").await.starts_with("* SEARCH\r\n"));
}

#[tokio::test]
async fn an_empty_result_names_nothing() {
    let host = host_with(2);
    let mut client = host.select().await;
    assert_eq!(client.ok("FETCH $ FLAGS").await, "tag OK Fetch completed.\r\n", "nothing saved yet");
    client.ok("SEARCH RETURN (SAVE) SUBJECT nothing").await;
    assert_eq!(client.ok("COPY $ \"Other Messages\"").await, "tag OK Copy completed.\r\n");
    assert_eq!(client.ok("STORE $ +FLAGS (\\Seen)").await, "tag OK Store completed.\r\n");
    client.ok("SEARCH RETURN (SAVE) ALL").await;
    client.ok("SELECT INBOX").await;
    assert_eq!(client.ok("FETCH $ FLAGS").await, "tag OK Fetch completed.\r\n", "of another selection");
}

#[tokio::test]
async fn commands_in_one_go() {
    let host = host_with(4);
    let mut client = host.select().await;
    client.ok("CREATE Junk").await;
    client.send("f1 SEARCH RETURN (SAVE) FLAGGED\r\nf2 COPY $ Junk\r\nf3 STORE $ +FLAGS.Silent (\\Deleted)\r\n").await;
    assert_eq!(client.answer("f1").await, "tag OK Search completed.\r\n");
    assert!(client.answer("f2").await.contains(" 2,4 1:2]"));
    assert_eq!(client.answer("f3").await, "tag OK Store completed.\r\n");
    assert!(client.ok("SEARCH DELETED").await.starts_with("* SEARCH 2 4\r\n"));
}
