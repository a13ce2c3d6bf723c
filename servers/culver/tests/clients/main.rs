//! Mail programs that others wrote, against `culver serve`. Each test has a server of its own, and looks at what the
//! client did a second time through a real Dovecot on the same store. Those that do most of what clients do are run on
//! sdbox and on Maildir.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod curl;
mod fetchmail;
mod getmail;
mod imapclient;
mod imapflow;
mod imaplib;
mod isync;
mod mutt;
mod offlineimap;
mod phone;
mod pop3;
mod postfix;
mod tls;

use testkit::{
    clients::{Peer, Stage, StoreFormat, missing},
    observe::ShownMessage,
};

const CULVER: &str = env!("CARGO_BIN_EXE_culver");

/// A server for a test, unless something that the test needs is not installed.
fn stage(what: &str, peer: Peer, users: &[&str]) -> Option<Stage> {
    stage_on(StoreFormat::Sdbox, what, peer, users)
}

/// The same, on a format.
fn stage_on(format: StoreFormat, what: &str, peer: Peer, users: &[&str]) -> Option<Stage> {
    if missing(what, &[Peer::Dovecot, peer]) {
        return None;
    }
    Some(Stage::new(what, CULVER.as_ref(), format, users).unwrap())
}

/// A message that is easily told from others: `Subject: number N`, from `senderN@test.example`, on the Nth of March.
fn numbered(number: u32) -> Vec<u8> {
    format!(
        "Message-ID: <{number}@test.example>\r\nDate: {number:02} Mar 2026 12:00:00 +0000\r\n\
         From: Sender {number} <sender{number}@test.example>\r\nTo: Ann <ann@test.example>\r\n\
         Subject: number {number}\r\n\r\nThis is the body of message {number}.\r\n.a dot\r\nGr\u{fc}\u{df}e\r\n"
    )
    .into_bytes()
}

/// Puts such messages into a user's INBOX, with UIDs from 1 on.
fn deliver_numbered(stage: &Stage, user: &str, numbers: std::ops::RangeInclusive<u32>) {
    let messages: Vec<_> = numbers.map(numbered).collect();
    stage.deliver(user, messages.iter().map(Vec::as_slice)).unwrap();
}

/// What both servers show of a mailbox: `UID flags subject-number`, a line each.
fn listing(stage: &Stage, user: &str, mailbox: &str) -> Vec<String> {
    let shown = stage.shown(user).unwrap();
    let Some(mailbox) = shown.mailboxes.get(mailbox) else { panic!("no {mailbox} in {:?}", shown.list) };
    let line = |(uid, message): (&u32, &ShownMessage)| {
        let number = message.envelope.split("number ").nth(1).unwrap_or("?");
        let number: String = number.chars().take_while(char::is_ascii_digit).collect();
        format!("{uid} {} #{number}", message.flags.join(" ")).replace("  ", " ")
    };
    mailbox.messages.iter().map(line).collect()
}

/// Which of the numbered messages these are, in order. Each must be whole: what a client adds to a header is its own.
fn numbers_of(messages: &[Vec<u8>]) -> Vec<u32> {
    let with_lf = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap().replace("\r\n", "\n");
    let number_of = |message: &Vec<u8>| {
        let text = with_lf(message);
        let number = text.split("Subject: number ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
        let expected = with_lf(&numbered(number));
        let ((head, body), (expected_head, expected_body)) =
            (text.split_once("\n\n").unwrap(), expected.split_once("\n\n").unwrap());
        assert_eq!(body.trim_end(), expected_body.trim_end());
        for field in expected_head.lines() {
            assert!(head.lines().any(|line| line == field), "{field:?} is missing in {head}");
        }
        number
    };
    let mut numbers: Vec<u32> = messages.iter().map(number_of).collect();
    numbers.sort_unstable();
    numbers
}

/// The message behind the trace fields that MTA and server put before it.
fn without_added_headers(mut message: &[u8]) -> &[u8] {
    let added = ["Return-Path:", "Delivered-To:", "Received:"];
    while added.iter().any(|name| message.starts_with(name.as_bytes())) {
        let mut lines = message.split_inclusive(|&b| b == b'\n');
        let mut len = lines.next().map_or(0, <[u8]>::len);
        len +=
            lines.take_while(|line| line.starts_with(b" ") || line.starts_with(b"\t")).map(<[u8]>::len).sum::<usize>();
        message = &message[len..];
    }
    message
}
