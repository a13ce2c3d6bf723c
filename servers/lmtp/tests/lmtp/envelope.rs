//! Recipients, details, and the fields on top.

use culver_lmtp::{DetailMailbox, Options};
use culver_runtime::{Limits, TlsInfo, TlsVersion};
use mailstore::MailStorage as _;

use crate::common::{Client, plain};

async fn deliver(client: &mut Client, recipients: &[&str]) {
    client.send("MAIL FROM:<x@y.example>\r\n").await;
    for recipient in recipients {
        client.send(format!("RCPT TO:<{recipient}>\r\n")).await;
    }
    client.send("DATA\r\nSubject: a\r\n\r\n.\r\n").await;
    client.replies(&vec!["250"; recipients.len() + 1]).await;
    client.replies(&["354"]).await;
    let delivered: Vec<_> = recipients.iter().map(|recipient| format!("250 2.0.0 <{recipient}> ")).collect();
    client.replies(&delivered.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn a_detail_names_a_mailbox_that_exists() {
    let mut client = Client::hello().await;
    client.stores.of("ann").create(&"lists/rust".parse().unwrap()).unwrap();
    deliver(&mut client, &["ann+lists/rust@d.example"]).await;
    deliver(&mut client, &["ann+other"]).await;
    deliver(&mut client, &["ann+"]).await;
    deliver(&mut client, &["ann+INBOX"]).await;
    assert_eq!(client.mailbox("ann", "lists/rust").len(), 1);
    assert_eq!(client.inbox("ann").len(), 3);
}

#[tokio::test]
async fn a_detail_can_make_a_mailbox_or_be_ignored() {
    let options = Options { detail: DetailMailbox::Create, ..plain() };
    let mut client = Client::hello_with(Limits::default(), options).await;
    deliver(&mut client, &["ann+new/one+two@d.example"]).await;
    deliver(&mut client, &["ann+new/one+two"]).await;
    assert_eq!(client.mailbox("ann", "new/one+two").len(), 2);
    deliver(&mut client, &["\"ann+../../x\""]).await;
    assert_eq!(client.inbox("ann").len(), 1, "what cannot name a mailbox is no detail");

    let options = Options { detail: DetailMailbox::Ignore, recipient_delimiter: "-+".to_owned(), ..plain() };
    let mut client = Client::hello_with(Limits::default(), options).await;
    client.stores.of("ann").create(&"x+y".parse().unwrap()).unwrap();
    deliver(&mut client, &["ann-x+y"]).await;
    assert_eq!(client.inbox("ann").len(), 1);

    let options = Options { recipient_delimiter: String::new(), ..plain() };
    let mut client = Client::hello_with(Limits::default(), options).await;
    client.send("MAIL FROM:<>\r\nRCPT TO:<ann+x>\r\n").await;
    client.replies(&["250", "550 5.1.1"]).await;
}

#[tokio::test]
async fn a_recipient_named_twice_gets_one_copy_and_two_replies() {
    let mut client = Client::hello().await;
    client.stores.of("ann").create(&"x".parse().unwrap()).unwrap();
    deliver(&mut client, &["ann", "ann@d.example", "bob", "ann+x", "bob"]).await;
    assert_eq!((client.inbox("ann").len(), client.inbox("bob").len()), (1, 1));
    assert_eq!(client.mailbox("ann", "x").len(), 1);
}

#[tokio::test]
async fn addresses_in_utf8_where_the_sender_says_so() {
    let mut client = Client::hello().await;
    client.send("MAIL FROM:<ä@b.example>\r\nMAIL FROM:<>\r\nRCPT TO:<jörg@b.example>\r\nRSET\r\n").await;
    client.replies(&["553 5.6.7", "250", "553 5.6.7", "250"]).await;
    client
        .send("MAIL FROM:<ä@b.example> SMTPUTF8 BODY=8BITMIME\r\nRCPT TO:<jörg@ö.example>\r\nDATA\r\nÄ: ö\r\n.\r\n")
        .await;
    client.replies(&["250", "250", "354", "250 2.0.0 <jörg@ö.example>"]).await;
    assert_eq!(client.inbox("jörg"), ["Ä: ö\r\n"]);
    client.send(b"MAIL FROM:<\xff@b.example> SMTPUTF8\r\n").await;
    client.replies(&["501"]).await;
}

#[tokio::test]
async fn fields_on_top_as_dovecot_writes_them() {
    let mut client = Client::hello_with(Limits::default(), Options::default()).await;
    deliver(&mut client, &["ann@d.example"]).await;
    let message = client.inbox("ann").remove(0);
    let lines: Vec<_> = message.split("\r\n").collect();
    assert_eq!(
        lines[..4],
        [
            "Return-Path: <x@y.example>",
            "Delivered-To: ann@d.example",
            "Received: from client.test",
            "\tby mail.test with LMTP"
        ]
    );
    assert!(lines[4].starts_with("\tid ") && lines[4].ends_with(":T1"), "{}", lines[4]);
    assert_eq!(lines[5], "\t(envelope-from <x@y.example>)");
    let date = lines[6].strip_prefix("\tfor <ann@d.example>; ").unwrap();
    // As RFC 5322 §3.3 wants it: `Sun, 22 Nov 2026 10:13:06 +0000`.
    let form: String = date
        .chars()
        .map(|c| {
            if c.is_ascii_digit() {
                '0'
            } else if c.is_ascii_alphabetic() {
                'a'
            } else {
                c
            }
        })
        .collect();
    assert_eq!(form.replace('-', "+"), "aaa, 00 aaa 0000 00:00:00 +0000");
    assert_eq!(lines[7..], ["Subject: a", "", ""]);

    deliver(&mut client, &["ann", "bob"]).await;
    let message = client.inbox("bob").remove(0);
    assert_eq!(message, client.inbox("ann")[1], "all have the same");
    assert!(message.starts_with("Return-Path: <x@y.example>\r\nReceived: from client.test\r\n"), "{message}");
    assert!(message.contains("(envelope-from <x@y.example>); "), "{message}");
}

#[tokio::test]
async fn the_way_a_message_came_is_in_received() {
    let tls = TlsInfo {
        version: TlsVersion::V1_3,
        cipher: "TLS13_AES_256_GCM_SHA384",
        server_name: None,
        channel_binding: Default::default(),
    };
    let change = |context: &mut culver_lmtp::SessionContext| {
        context.client.address = Some("::1".parse().unwrap());
        context.client.tls = Some(tls);
    };
    let mut client = Client::with(Limits::default(), Options::default(), change).await;
    client.send("LHLO [1.2.3.4]\r\nMAIL FROM:<> SMTPUTF8\r\nRCPT TO:<ann>\r\nDATA\r\n.\r\n").await;
    client.replies(&["250-", "250-", "250-", "250-", "250-", "250-", "250 SIZE", "250", "250", "354", "250"]).await;
    let received = "Received: from [1.2.3.4] ([IPv6:::1])\r\n\t(using TLSv1.3 with cipher TLS13_AES_256_GCM_SHA384)\r\n\tby mail.test with UTF8LMTPS\r\n";
    assert!(client.inbox("ann")[0].contains(received), "{}", client.inbox("ann")[0]);
}
