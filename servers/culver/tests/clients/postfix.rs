//! Postfix delivers by LMTP.

use std::collections::BTreeMap;

use fastrand::Rng;
use testkit::{
    clients::{Peer, Postfix, SentMessage},
    imap::Imap,
    messages::{large, varied},
};

use crate::{stage, without_added_headers};

const COUNT: u64 = 1000;
/// Two 5 MB messages, and a handful of those that make a server's buffers overflow.
const LARGE: [(u64, usize); 6] =
    [(100, 5 << 20), (600, 5 << 20), (200, 1 << 20), (300, 1 << 20), (400, 300_000), (500, 300_000)];
/// Plain users beside the odd ones.
const PLAIN_USERS: usize = 20;
/// Users whose names need not look like a word. Mail to them comes with a domain.
const ODD_USERS: [&str; 10] =
    ["o'neil", "a=b", "{curly}", "$dollar", "~tilde", "a&b", "50", "x_-.y", "q?m!", "whole@address.example"];
const ODD_SENDERS: [&str; 7] = [
    "",
    "\"john doe\"@test.example",
    "!#$%&'*+-/=?^_`{|}~@test.example",
    "bounce+ann=test.example@lists.example",
    "0123456789012345678901234567890123456789012345678901234567890123@long.example",
    "\"a\\\"b\"@test.example",
    "x@[192.0.2.1]",
];

/// Messages with their envelopes, always the same.
fn messages() -> Vec<SentMessage> {
    let mut rng = Rng::with_seed(20_261_122);
    let plain: Vec<String> = (0..PLAIN_USERS).map(|n| format!("user{n}@test.example")).collect();
    let odd = ODD_USERS.map(|user| if user.contains('@') { user.to_owned() } else { format!("{user}@test.example") });
    let everyone: Vec<String> = plain.iter().chain(&odd).cloned().collect();
    let message = |number| {
        let len = LARGE.iter().find(|(n, _)| *n == number).map(|(_, len)| *len);
        let bytes = match len {
            Some(len) => large(&mut rng, number, len),
            None => varied(&mut rng, number),
        };
        let sender = match rng.usize(..4) {
            0 => rng.choice(ODD_SENDERS).unwrap_or_default().to_owned(),
            _ => format!("sender{number}@test.example"),
        };
        let recipients = match rng.usize(..40) {
            0 if len.is_none() => everyone.clone(),
            1..=5 => vec![rng.choice(&plain).unwrap().clone(), rng.choice(&odd).unwrap().clone()],
            6..=10 => vec![rng.choice(&odd).unwrap().clone()],
            11 => vec![rng.choice(&plain).unwrap().to_uppercase()],
            12 => vec![rng.choice(&plain).unwrap().replace('@', "+lists.detail@")],
            _ => vec![rng.choice(&plain).unwrap().clone()],
        };
        SentMessage { sender, recipients, bytes }
    };
    (0..COUNT).map(message).collect()
}

#[test]
fn postfix_delivers_1000_varied_messages() {
    let plain: Vec<String> = (0..PLAIN_USERS).map(|n| format!("user{n}")).collect();
    let aliases = std::array::from_fn::<_, { ODD_USERS.len() }, _>(|n| format!("odd{n}"));
    let aliases: BTreeMap<&str, &str> = ODD_USERS.into_iter().zip(aliases.iter().map(String::as_str)).collect();
    let plain = plain.iter().map(String::as_str);
    let users: Vec<&str> = plain.chain(ODD_USERS).chain(aliases.values().copied()).collect();
    let Some(stage) = stage("postfix", Peer::Postfix, &users) else { return };
    let postfix = Postfix::start(&stage.home("mta").unwrap(), stage.culver().lmtp).unwrap();
    let messages = messages();
    std::thread::scope(|scope| {
        for part in messages.chunks(messages.len() / 4) {
            let postfix = &postfix;
            scope.spawn(move || postfix.send(part).unwrap());
        }
    });
    postfix.wait_until_empty().unwrap();

    let mut expected: BTreeMap<&str, Vec<&[u8]>> = BTreeMap::new();
    for message in &messages {
        for recipient in &message.recipients {
            let is_of = |user: &&&str| {
                let recipient = recipient.to_ascii_lowercase().replace("+lists.detail", "");
                recipient == **user || recipient.strip_suffix("@test.example") == Some(**user)
            };
            expected.entry(users.iter().find(is_of).unwrap()).or_default().push(&message.bytes);
        }
    }
    let deliveries: usize = expected.values().map(Vec::len).sum();
    assert_eq!(postfix.deliveries(), deliveries);
    for (user, alias) in &aliases {
        stage.alias(user, alias).unwrap();
    }
    for (user, mut sent) in expected {
        let delivered = bodies(&mut stage.witness(aliases.get(user).unwrap_or(&user)).unwrap());
        assert!(bodies(&mut stage.imap(user).unwrap()) == delivered, "Culver and Dovecot show {user} different mail");
        let mut delivered: Vec<_> = delivered.iter().map(|message| without_added_headers(message)).collect();
        sent.sort_unstable();
        delivered.sort_unstable();
        assert_eq!(delivered.len(), sent.len(), "messages of {user}");
        for (delivered, sent) in delivered.iter().zip(&sent) {
            assert!(delivered == sent, "{user}: sent {}, got {}", sent.escape_ascii(), delivered.escape_ascii());
        }
    }
    eprintln!("Postfix: {COUNT} messages in {deliveries} deliveries, all equal to what was sent");
}

fn bodies(imap: &mut Imap) -> Vec<Vec<u8>> {
    imap.ok("EXAMINE INBOX").unwrap();
    let fetches = imap.ok("FETCH 1:* (BODY.PEEK[])").unwrap().fetches().unwrap();
    fetches.iter().map(|(_, attributes)| attributes[0].1.bytes().to_vec()).collect()
}
