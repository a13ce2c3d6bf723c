//! STAT, LIST, UIDL, RETR, TOP.

use culver_pop3::{Options, UidlDuplicates, UidlFormat};
use culver_runtime::Limits;
use mailtypes::{MailboxName, Uid};

use crate::common::Host;

#[tokio::test]
async fn sizes_and_numbers() {
    let host = Host::new();
    host.put(b"A: b\n\nlf\n");
    host.put(b"A: b\r\n\r\n..\r\nno end");
    let mut client = host.log_in().await;
    client.check(&[("STAT", "+OK 2 30"), ("LIST 1", "+OK 1 12"), ("LIST 2", "+OK 2 18")]).await;
    client.check(&[("LIST 3", "-ERR"), ("LIST 0", "-ERR"), ("LIST x", "-ERR"), ("LIST 1 1", "-ERR")]).await;
    client.check(&[("LIST 99999999999999999999999", "-ERR"), ("list 2", "+OK 2 18")]).await;
    assert_eq!(client.list("LIST").await, ["1 12", "2 18"]);
    client.check(&[("NOOP", "+OK"), ("QUIT", "+OK")]).await;
    assert_eq!(client.line().await, "");
}

#[tokio::test]
async fn messages_as_they_are_with_dots_doubled() {
    let host = Host::new();
    host.put(b"A: b\n\nlf\n.\n..x\n");
    host.put(b"A: b\r\n\r\n\0\r\nbare\rcr\r\nno end");
    let mut client = host.log_in().await;
    assert_eq!(client.list("RETR 1").await, ["A: b", "", "lf", "..", "...x"]);
    assert_eq!(client.list("RETR 2").await, ["A: b", "", "\0", "bare\rcr", "no end"]);
    assert_eq!(client.list("TOP 1 0").await, ["A: b", ""]);
    assert_eq!(client.list("TOP 1 2").await, ["A: b", "", "lf", ".."]);
    assert_eq!(client.list("TOP 1 999999999999").await, ["A: b", "", "lf", "..", "...x"]);
    client.check(&[("TOP 1", "-ERR"), ("TOP", "-ERR"), ("TOP 1 x", "-ERR"), ("TOP 1 1 1", "-ERR")]).await;
    client.check(&[("RETR", "-ERR"), ("RETR 3", "-ERR"), ("RETR 1 1", "-ERR")]).await;
}

#[tokio::test]
async fn the_view_is_that_of_the_login() {
    let host = Host::new();
    host.put_many(3);
    let mut client = host.log_in().await;
    host.put(b"A: late\r\n\r\n");
    host.expunge(&[2]);
    client.check(&[("STAT", "+OK 3 "), ("LIST 2", "+OK 2 ")]).await;
    assert_eq!(client.list("LIST").await.len(), 3);
    client.check(&[("RETR 4", "-ERR"), ("DELE 2", "+OK")]).await;
    assert_eq!(client.list("RETR 3").await[0], "Subject: 3");
    client.check(&[("QUIT", "+OK")]).await;
    let mut client = host.log_in().await;
    assert_eq!(client.list("RETR 2").await[0], "Subject: 3");
}

#[tokio::test]
async fn unique_ids_in_dovecots_form() {
    let host = Host::new();
    host.put_many(3);
    host.expunge(&[1]);
    let validity = host.storage.mailbox(&MailboxName::inbox()).unwrap().uid_validity();
    let mut client = host.log_in().await;
    let id = |uid: u32| format!("{uid:08x}{:08x}", validity.value());
    assert_eq!(client.list("UIDL").await, [format!("1 {}", id(2)), format!("2 {}", id(3))]);
    assert_eq!(client.command("UIDL 2").await, format!("+OK 2 {}", id(3)));
    client.check(&[("DELE 1", "+OK"), ("UIDL 1", "-ERR")]).await;
    assert_eq!(client.list("UIDL").await, [format!("2 {}", id(3))]);
}

#[tokio::test]
async fn unique_ids_by_guid_and_without_doubles() {
    let format = UidlFormat::parse("%2g").unwrap();
    let options = Options { uidl_format: format, uidl_duplicates: UidlDuplicates::Rename, ..Options::default() };
    let host = Host::with(Limits::default(), options);
    host.put_many(600);
    host.expunge(&[300]);
    let mut client = host.log_in().await;
    let ids = client.list("UIDL").await;
    assert_eq!(ids.len(), 599);
    let distinct: std::collections::HashSet<_> = ids.iter().map(|line| line.split_once(' ').unwrap().1).collect();
    assert_eq!(distinct.len(), 599, "with two digits, many would be the same");
    assert_eq!(client.command("UIDL 599").await, format!("+OK {}", ids[598]));
}

#[tokio::test]
async fn a_large_message_passes_in_steps() {
    let limits = Limits { output_step_len: 4096, ..Limits::default() };
    let host = Host::with(limits, Options::default());
    let line = "x".repeat(75);
    let body = format!(".{line}\r\n").repeat(10_000);
    host.put(format!("A: b\r\n\r\n{body}").as_bytes());
    let mut client = host.log_in().await;
    client.send("RETR 1\r\nTOP 1 9999\r\nSTAT\r\n").await;
    for lines in [10_002, 10_001] {
        let message = client.lines().await;
        assert_eq!(message.len(), lines);
        assert!(message[2..].iter().all(|got| got.strip_prefix("..") == Some(&line)));
    }
    assert_eq!(client.line().await, format!("+OK 1 {}", body.len() + 8));
}

#[tokio::test]
async fn lists_of_many_messages_are_made_in_steps() {
    let limits = Limits { output_step_len: 1000, ..Limits::default() };
    let host = Host::with(limits, Options::default());
    host.put_many(5000);
    let mut client = host.log_in().await;
    client.send("LIST\r\nUIDL\r\n").await;
    for _ in 0..2 {
        let lines = client.lines().await;
        assert!(lines.iter().enumerate().all(|(n, line)| line.starts_with(&format!("{} ", n + 1))));
        assert_eq!(lines.len(), 5000);
    }
    assert_eq!(host.uids().len(), 5000);
    assert_eq!(Uid::MIN.value(), 1);
}
