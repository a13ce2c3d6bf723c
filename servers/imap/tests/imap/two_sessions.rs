//! What one session sees of another: RFC 3501 §5.2, §7.4.1, RFC 2180, RFC 2177.

use std::time::{Duration, Instant};

use crate::common::Host;
use mailtypes::{Flag, Flags};

const MAIL: &[u8] = b"Subject: x\n\nbody\n";

#[tokio::test]
async fn expunges_wait_for_a_command_that_may_tell_them() {
    let host = Host::new();
    for _ in 0..3 {
        host.put("INBOX", MAIL, Flags::NONE);
    }
    let (mut client, mut other) = (host.select().await, host.select().await);
    other.ok("STORE 2 +FLAGS.SILENT (\\Deleted)").await;
    other.ok("EXPUNGE").await;
    host.put("INBOX", MAIL, Flag::Flagged.into());
    // FETCH, STORE, SEARCH: numbers stay; the others are served (RFC 2180 §4.1.2).
    let fetched = client.command("FETCH 1:3 UID").await;
    assert!(fetched.contains("* 1 FETCH (UID 1)\r\n") && fetched.contains("* 3 FETCH (UID 3)\r\n"), "{fetched}");
    assert!(!fetched.contains("EXPUNGE\r\n"), "{fetched}");
    assert!(fetched.contains("* 4 EXISTS\r\n"), "new mail may be told: {fetched}");
    let fetched = client.command("FETCH 1:3 BODY.PEEK[TEXT]").await;
    assert_eq!(fetched.matches("FETCH (BODY[TEXT]").count(), 2, "{fetched}");
    assert!(
        fetched.ends_with("tag NO [EXPUNGEISSUED] Some of the requested messages no longer exist.\r\n"),
        "{fetched}"
    );
    assert_eq!(client.ok("STORE 3 +FLAGS (\\Seen)").await.matches("EXPUNGE").count(), 0);
    let found = client.ok("SEARCH ALL").await;
    assert!(found.starts_with("* SEARCH 1 3 4\r\n") && !found.contains("EXPUNGE\r\n"), "{found}");
    // Now it may be told, and the numbers change.
    assert_eq!(client.ok("NOOP").await, "* 2 EXPUNGE\r\n* 3 RECENT\r\ntag OK NOOP completed.\r\n");
    assert!(client.ok("FETCH 2 UID").await.starts_with("* 2 FETCH (UID 3)"));
}

#[tokio::test]
async fn uid_commands_may_tell_expunges() {
    for command in ["UID FETCH 1 FLAGS", "UID STORE 1 +FLAGS (\\Seen)", "UID SEARCH ALL", "COPY 1 INBOX", "CHECK"] {
        let host = Host::new();
        host.put("INBOX", MAIL, Flags::NONE);
        host.put("INBOX", MAIL, Flags::NONE);
        let (mut client, mut other) = (host.select().await, host.select().await);
        other.ok("STORE 2 +FLAGS.SILENT (\\Deleted)").await;
        other.ok("EXPUNGE").await;
        let answer = client.ok(command).await;
        assert!(answer.contains("* 2 EXPUNGE\r\n"), "{command}: {answer}");
    }
}

#[tokio::test]
async fn recent_is_for_one_session() {
    let host = Host::new();
    let (mut first, mut second) = (host.select().await, host.select().await);
    host.put("INBOX", MAIL, Flags::NONE);
    assert!(first.ok("NOOP").await.starts_with("* 1 EXISTS\r\n* 1 RECENT\r\n"));
    assert!(second.ok("NOOP").await.starts_with("* 1 EXISTS\r\n* 0 RECENT\r\n"));
}

#[tokio::test]
async fn idle_tells_new_mail_flags_and_expunges() {
    let host = Host::new();
    let (mut idling, mut other) = (host.select().await, host.select().await);
    idling.send("x IDLE\r\n").await;
    assert_eq!(idling.line().await, "+ idling\r\n");
    let mut slowest = Duration::ZERO;
    for n in 1..=20 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let began = Instant::now();
        host.put("INBOX", MAIL, Flags::NONE);
        assert_eq!(idling.line().await, format!("* {n} EXISTS\r\n"));
        slowest = slowest.max(began.elapsed());
        assert!(idling.line().await.ends_with("RECENT\r\n"));
    }
    assert!(slowest < Duration::from_millis(500), "a notice took {slowest:?}");
    other.ok("NOOP").await;
    other.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    assert!(idling.line().await.contains("* 1 FETCH (FLAGS (\\Deleted"));
    other.ok("EXPUNGE").await;
    assert_eq!(idling.line().await, "* 1 EXPUNGE\r\n");
    idling.send("DONE\r\ny NOOP\r\n").await;
    assert!(idling.answer("x").await.ends_with("tag OK Idle completed.\r\n"));
    assert_eq!(idling.answer("y").await, "tag OK NOOP completed.\r\n");
}

#[tokio::test]
async fn idle_without_a_mailbox_and_with_nonsense() {
    let host = Host::new();
    let mut client = host.log_in().await;
    client.send("x IDLE\r\n").await;
    assert_eq!(client.line().await, "+ idling\r\n");
    client.send("done\r\n").await;
    assert_eq!(client.answer("x").await, "tag OK Idle completed.\r\n");
    client.send("y IDLE\r\nz NOOP\r\n").await;
    assert_eq!(client.answer("y").await, "+ idling\r\ntag BAD Expected DONE.\r\n");
    client.ok("NOOP").await;
}

#[tokio::test]
async fn changes_between_watching_and_looking_are_not_lost() {
    let host = Host::new();
    let mut client = host.select().await;
    host.put("INBOX", MAIL, Flags::NONE);
    client.send("x IDLE\r\n").await;
    let mut told = client.line().await;
    told += &client.line().await;
    assert!(told.contains("* 1 EXISTS\r\n"), "{told}");
}
