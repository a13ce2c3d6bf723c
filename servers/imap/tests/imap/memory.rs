//! What a command holds while it comes is counted as its session's and its user's, wherever it is held.

use culver_runtime::Limits;
use mailstore::memory::MemoryOptions;
use tokio::io::AsyncWriteExt as _;

use crate::common::Host;

const BYE_SESSION: &str = "* BYE Too much memory for one session (limits.session_memory_max).";

fn header(len: usize) -> String {
    "X-Field: 0123456789012345678901234567890123456789012345678901234567890\r\n".repeat(len / 72)
}

/// A header of fields that are taken apart, each of which costs more than its bytes.
fn recipients(len: usize) -> String {
    "To: a@example.org, b@example.org, c@example.org, d@example.org\r\n".repeat(len / 64)
}

fn limits(session_memory_max: usize) -> Limits {
    Limits { session_memory_max, ..Limits::default() }
}

/// The scan of a message that comes keeps its header.
#[tokio::test]
async fn a_header_that_comes() {
    let host = Host::on_sdbox_with(limits(640 * 1024));
    let mut client = host.log_in().await;
    client.ok(append_of(&[&(header(100_000) + "\r\nbody\r\n")])).await;
    // The server hangs up before it has read all of it.
    let message = format!("a APPEND INBOX {{4000000+}}\r\n{}", header(900_000));
    let _ = client.stream.write_all(message.as_bytes()).await;
    let said = client.rest().await;
    assert!(said.contains(BYE_SESSION), "{said}");
}

/// Of a body nothing is kept but a buffer, however long it is.
#[tokio::test]
async fn a_body_that_comes() {
    let host = Host::on_sdbox_with(limits(640 * 1024));
    let mut client = host.log_in().await;
    client.ok(append_of(&[&format!("Subject: x\r\n\r\n{}", "x".repeat(4_000_000))])).await;
    let lines = format!("Subject: x\r\n\r\n{}", "0123456789\r\n".repeat(300_000));
    client.ok(append_of(&[&lines])).await;
}

/// All messages of one APPEND wait for the last one: of those that are whole the headers are not kept for long.
#[tokio::test]
async fn headers_of_messages_that_wait() {
    let host = Host::on_sdbox_with(limits(2 * 1024 * 1024));
    let mut client = host.log_in().await;
    let message = header(100_000) + "Subject: kept\r\n\r\nbody\r\n";
    client.ok(append_of(&vec![&message[..]; 60])).await;
    client.ok("SELECT INBOX").await;
    let told = client.ok("FETCH 1,60 ENVELOPE").await;
    assert_eq!(told.matches("(NIL \"kept\" ").count(), 2, "what was not kept is found out anew: {told}");
}

/// What is kept of them nevertheless is bounded, and none of them is appended.
#[tokio::test]
async fn messages_that_wait() {
    let host = Host::on_sdbox_with(limits(2 * 1024 * 1024));
    let mut client = host.log_in().await;
    let message = recipients(50_000) + "\r\nbody\r\n";
    let answer = client.command(append_of(&vec![&message[..]; 60])).await;
    assert!(answer.starts_with("tag NO [LIMIT] "), "{answer}");
    assert!(client.ok("STATUS INBOX (MESSAGES)").await.contains("MESSAGES 0"));
    client.ok(append_of(&[&message])).await;
    assert!(client.ok("STATUS INBOX (MESSAGES)").await.contains("MESSAGES 1"));
}

/// The room for a literal counts from the moment it may come.
#[tokio::test]
async fn a_literal_that_may_come() {
    let host = Host::with(limits(640 * 1024), MemoryOptions::default());
    let mut client = host.select().await;
    client.send("a SEARCH SUBJECT {900000+}\r\n").await;
    let said = client.rest().await;
    assert!(said.contains(BYE_SESSION), "{said}");
}

fn append_of(messages: &[&str]) -> String {
    let mut command = "APPEND INBOX".to_owned();
    for message in messages {
        command += &format!(" {{{}+}}\r\n{message}", message.len());
    }
    command
}
