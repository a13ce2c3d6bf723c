//! DELE, RSET, QUIT, LAST: what becomes of messages, and when.

use culver_pop3::{DeleteType, Options};
use culver_runtime::Limits;
use mailstore::memory::{MemoryOptions, MemoryStorage};
use mailtypes::Keyword;
use tokio::io::AsyncWriteExt as _;

use crate::common::{Host, PATIENCE};

#[tokio::test]
async fn deleted_at_quit_and_not_before() {
    let host = Host::new();
    host.put_many(4);
    let mut client = host.log_in().await;
    client.check(&[("DELE 1", "+OK"), ("DELE 1", "-ERR"), ("RETR 1", "-ERR"), ("LIST 1", "-ERR")]).await;
    client.check(&[("TOP 1 0", "-ERR"), ("UIDL 1", "-ERR"), ("DELE 3", "+OK"), ("DELE 9", "-ERR")]).await;
    let total = "Subject: 2\r\n\r\nbody 2\r\n".len() * 2;
    assert_eq!(client.command("STAT").await, format!("+OK 2 {total}"));
    assert_eq!(client.list("LIST").await.len(), 2);
    assert_eq!(host.uids(), [1, 2, 3, 4]);
    client.check(&[("QUIT", "+OK Logging out, messages deleted.")]).await;
    assert_eq!(host.uids(), [2, 4]);
    assert_eq!(client.line().await, "");
}

#[tokio::test]
async fn rset_undeletes() {
    let host = Host::new();
    host.put_many(2);
    let mut client = host.log_in().await;
    client.check(&[("DELE 1", "+OK"), ("DELE 2", "+OK"), ("STAT", "+OK 0 0"), ("RSET", "+OK")]).await;
    client.check(&[("STAT", "+OK 2 "), ("DELE 2", "+OK"), ("QUIT", "+OK")]).await;
    assert_eq!(host.uids(), [1]);
}

#[tokio::test]
async fn a_lost_connection_deletes_nothing() {
    let host = Host::new();
    host.put_many(2);
    for goodbye in ["", "QUI", "NOOP\r\n", "FROB\r\n"] {
        let mut client = host.log_in().await;
        assert_eq!(client.list("RETR 1").await[0], "Subject: 1");
        client.check(&[("DELE 1", "+OK")]).await;
        client.send(goodbye).await;
        client.write.shutdown().await.unwrap();
        tokio::time::timeout(PATIENCE, client.session).await.expect("the session ends").unwrap();
    }
    let inbox = host.inbox();
    assert_eq!(host.uids(), [1, 2]);
    assert!(inbox[0].1.contains("Seen") && !inbox[1].1.contains("Seen"), "what was shown was seen: {inbox:?}");
}

#[tokio::test]
async fn a_stopping_server_deletes_nothing() {
    let host = Host::new();
    host.put_many(1);
    let mut client = host.log_in().await;
    client.check(&[("DELE 1", "+OK")]).await;
    host.stopper.stop();
    assert_eq!(client.line().await, "-ERR [SYS/TEMP] Server is shutting down.");
    assert_eq!(client.line().await, "");
    assert_eq!(host.uids(), [1]);
}

#[tokio::test]
async fn what_was_shown_is_seen_at_quit() {
    let host = Host::new();
    host.put_many(3);
    let mut client = host.log_in().await;
    client.list("RETR 2").await;
    client.check(&[("RSET", "+OK")]).await;
    client.list("RETR 1").await;
    client.list("TOP 2 100").await;
    client.list("RETR 3").await;
    client.check(&[("DELE 3", "+OK"), ("QUIT", "+OK")]).await;
    let inbox = host.inbox();
    assert_eq!(inbox.iter().map(|(uid, _)| *uid).collect::<Vec<_>>(), [1, 2]);
    assert!(inbox[0].1.contains("Seen") && !inbox[1].1.contains("Seen"), "{inbox:?}");
}

#[tokio::test]
async fn flags_can_be_left_alone() {
    let options = Options { no_flag_updates: true, ..Options::default() };
    let host = Host::with(Limits::default(), options);
    host.put_many(1);
    let mut client = host.log_in().await;
    client.list("RETR 1").await;
    client.check(&[("QUIT", "+OK Logging out.")]).await;
    assert!(!host.inbox()[0].1.contains("Seen"));
}

#[tokio::test]
async fn deleted_messages_can_be_flagged_instead() {
    let keyword = Keyword::new("$POP3Deleted").unwrap();
    let options = Options { delete: DeleteType::Flag(keyword), ..Options::default() };
    let host = Host::with(Limits::default(), options);
    host.put_many(3);
    let mut client = host.log_in().await;
    client.check(&[("DELE 2", "+OK"), ("QUIT", "+OK Logging out, messages deleted.")]).await;
    assert_eq!(host.uids(), [1, 2, 3]);
    assert!(host.inbox()[1].1.contains("$POP3Deleted"), "{:?}", host.inbox());
    let mut client = host.log_in().await;
    client.check(&[("STAT", "+OK 2 ")]).await;
    assert_eq!(client.list("RETR 2").await[0], "Subject: 3");
}

#[tokio::test]
async fn last_where_it_is_asked_for() {
    let host = Host::with(Limits::default(), Options { last: true, ..Options::default() });
    host.put_many(3);
    let mut client = host.log_in().await;
    client.check(&[("LAST", "+OK 0"), ("DELE 1", "+OK"), ("LAST", "+OK 1")]).await;
    client.list("RETR 2").await;
    client.check(&[("LAST", "+OK 2"), ("RSET", "+OK"), ("LAST", "+OK 0")]).await;
    let mut client = Host::new().log_in().await;
    client.check(&[("LAST", "-ERR")]).await;
}

#[tokio::test]
async fn a_commit_that_fails_is_told() {
    let storage = std::sync::Arc::new(MemoryStorage::new(MemoryOptions::default()));
    let host = Host::over(storage.clone(), Limits::default(), Options::default());
    host.put_many(2);
    let mut client = host.log_in().await;
    client.check(&[("DELE 1", "+OK")]).await;
    mailstore::MailStorage::rename(&*storage, &"INBOX".parse().unwrap(), &"Elsewhere".parse().unwrap()).unwrap();
    let answer = client.command("QUIT").await;
    // INBOX was emptied by somebody: what was to be deleted is not there any more.
    assert!(answer.starts_with("+OK") || answer.starts_with("-ERR [SYS/"), "{answer}");
    assert_eq!(client.line().await, "");
}
