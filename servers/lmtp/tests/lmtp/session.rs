//! Conversations as an MTA leads them.

use culver_lmtp::SPOOL_LEN;
use culver_runtime::Limits;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::common::Client;

#[tokio::test]
async fn offers_what_it_can() {
    let mut client = Client::new(Limits { message_len_max: 1000, ..Limits::default() }).await;
    client.send("LHLO client.test\r\n").await;
    let mut lines = Vec::new();
    loop {
        lines.push(client.line().await);
        if lines.last().unwrap().starts_with("250 ") {
            break;
        }
    }
    let extensions = ["PIPELINING", "8BITMIME", "SMTPUTF8", "CHUNKING", "ENHANCEDSTATUSCODES"];
    let extensions = extensions.map(|name| format!("250-{name}"));
    assert_eq!(lines[0], "250-mail.test");
    assert_eq!(lines[1..6], extensions);
    assert_eq!(lines[6..], ["250 SIZE 1000"]);
}

#[tokio::test]
async fn one_packet_brings_two_messages_and_a_reply_for_each_recipient() {
    let mut client = Client::hello().await;
    client
        .send(
            "MAIL FROM:<> SIZE=20 BODY=8BITMIME\r\nRCPT TO:<ann>\r\nRCPT TO:<nobody>\r\nRCPT TO:<bob@any.example>\r\nDATA\r\n\
             Subject: a\r\n\r\n..dot\r\n.\r\n\
             MAIL FROM:<x@y.example>\r\nRCPT TO:<ann>\r\nDATA\r\nSubject: b\r\n\r\n.\r\nQUIT\r\n",
        )
        .await;
    client.replies(&["250 2.1.0", "250 2.1.5", "550 5.1.1", "250 2.1.5", "354", "250 2.0.0", "250 2.0.0"]).await;
    client.replies(&["250 2.1.0", "250 2.1.5", "354", "250 2.0.0", "221 2.0.0"]).await;
    assert_eq!(client.line().await, "", "closed");
    assert_eq!(client.inbox("ann"), ["Subject: a\r\n\r\n.dot\r\n", "Subject: b\r\n\r\n"]);
    assert_eq!(client.inbox("bob"), ["Subject: a\r\n\r\n.dot\r\n"]);
}

#[tokio::test]
async fn one_recipients_full_disk_is_not_the_others_matter() {
    let mut client = Client::hello().await;
    client.send("MAIL FROM:<>\r\nRCPT TO:<broken>\r\nRCPT TO:<ann>\r\nDATA\r\nA: b\r\n\r\n.\r\n").await;
    client.replies(&["250", "250", "250", "354", "452 4.3.1", "250 2.0.0"]).await;
    assert_eq!(client.inbox("ann").len(), 1);
}

#[tokio::test]
async fn a_large_message_passes_through_in_pieces() {
    let mut client = Client::hello().await;
    let line = "0123456789abcdef0123456789abcdef0123456789abcdef\r\n";
    let body = line.repeat(5 * SPOOL_LEN / line.len());
    client.send(&format!("MAIL FROM:<>\r\nRCPT TO:<ann>\r\nRCPT TO:<broken>\r\nDATA\r\nA: b\r\n\r\n{body}.\r\n")).await;
    client.replies(&["250", "250", "250", "354", "250 2.0.0", "452 4.3.1"]).await;
    assert_eq!(client.inbox("ann"), [format!("A: b\r\n\r\n{body}")]);
}

#[tokio::test]
async fn too_large_is_said_before_or_after_and_the_session_goes_on() {
    let mut client = Client::new(Limits { message_len_max: 100, ..Limits::default() }).await;
    client.send("LHLO x\r\n").await;
    client.replies(&["250-", "250-", "250-", "250-", "250-", "250-", "250 SIZE 100"]).await;
    client.send("MAIL FROM:<> SIZE=101\r\n").await;
    client.replies(&["552 5.3.4"]).await;
    let body = "x".repeat(SPOOL_LEN * 2);
    client.send(&format!("MAIL FROM:<>\r\nRCPT TO:<ann>\r\nRCPT TO:<bob>\r\nDATA\r\n{body}\r\n.\r\nNOOP\r\n")).await;
    client.replies(&["250", "250", "250", "354", "552 5.3.4", "552 5.3.4", "250 2.0.0"]).await;
    assert_eq!(client.inbox("ann").len() + client.inbox("bob").len(), 0);
}

#[tokio::test]
async fn commands_out_of_order_or_wrong_are_refused_one_by_one() {
    let mut client = Client::new(Limits { bad_commands_max: 100, ..Limits::default() }).await;
    client.send("EHLO x\r\nMAIL FROM:<>\r\n").await;
    client.replies(&["500 5.5.1", "503 5.5.1"]).await;
    client.send("LHLO x\r\nRCPT TO:<ann>\r\nDATA\r\nMAIL FROM:<>\r\nDATA\r\nMAIL FROM:<>\r\n").await;
    client.replies(&["250-", "250-", "250-", "250-", "250-", "250-", "250 SIZE"]).await;
    client.replies(&["503", "503", "250", "503", "503"]).await;
    client.send("RSET\r\nMAIL FROM:broken\r\nFROB\r\nVRFY ann\r\nSTARTTLS\r\nBDAT 3 LAST\r\n\r\nxNOOP\r\n").await;
    client.replies(&["250", "501", "500", "252", "502", "503", "250"]).await;
}

#[tokio::test]
async fn a_line_without_end_is_dropped_as_it_comes() {
    let mut client = Client::hello().await;
    for _ in 0..100 {
        client.send(&"x".repeat(10_000)).await;
    }
    client.send("\r\nNOOP\r\n").await;
    client.replies(&["500 5.5.6", "250 2.0.0"]).await;
}

#[tokio::test]
async fn too_many_errors_end_the_session() {
    let mut client = Client::new(Limits { bad_commands_max: 3, ..Limits::default() }).await;
    client.send(&"FROB\r\n".repeat(10)).await;
    client.replies(&["500", "500", "500", "421 4.7.0"]).await;
    assert_eq!(client.line().await, "");
}

#[tokio::test]
async fn a_client_that_goes_away_in_the_middle_delivers_nothing() {
    let mut client = Client::hello().await;
    client.send(&format!("MAIL FROM:<>\r\nRCPT TO:<ann>\r\nDATA\r\n{}", "a line\r\n".repeat(SPOOL_LEN / 4))).await;
    client.replies(&["250", "250", "354"]).await;
    client.write.shutdown().await.unwrap();
    let mut rest = String::new();
    client.read.read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "");
    assert_eq!(client.inbox("ann").len(), 0);
}

#[tokio::test]
async fn a_message_with_a_nul_or_without_a_header_has_an_answer() {
    let mut client = Client::hello().await;
    client.send("MAIL FROM:<>\r\nRCPT TO:<ann>\r\nDATA\r\nno header at all\r\n.\r\n").await;
    client.replies(&["250", "250", "354", "250 2.0.0"]).await;
    client.send("MAIL FROM:<>\r\nRCPT TO:<ann>\r\nDATA\r\nA: b\r\n\r\nx\0y\r\n.\r\n").await;
    client.replies(&["250", "250", "354", "250 2.0.0"]).await;
    assert_eq!(client.inbox("ann"), ["no header at all\r\n", "A: b\r\n\r\nx\0y\r\n"]);
}
