//! The mail that jobs work on: the same for both servers, byte for byte.

use anyhow::ensure;
use fastrand::Rng;
use testkit::messages::large as sized;

use super::mail;
use crate::servers::{Kind, Pair};

/// Messages of the large mailbox.
pub(super) const LARGE: usize = 100_000;
/// Messages of the mailbox whose cache is thrown away before each run, and of those that are changed.
pub(super) const PLAIN: usize = 5_000;
/// Mailboxes of the user who has many.
pub(super) const MAILBOXES: usize = 1_000;
/// Messages of the mailbox that is larger still, of 1 KB each.
pub(super) const MILLION: usize = 1_000_000;
/// Texts that differ; further messages are the same again.
const TEXTS: u64 = 2000;

/// Gives a user an INBOX of so many messages, once.
pub(super) fn fill(pair: &Pair, user: &str, count: usize) -> anyhow::Result<()> {
    fill_with(pair, user, count, mail)
}

fn fill_with(pair: &Pair, user: &str, count: usize, mail: fn(u64) -> Vec<u8>) -> anyhow::Result<()> {
    if pair.mail(Kind::Dovecot, user).exists() {
        return Ok(());
    }
    let mut imap = pair.login(Kind::Culver, user)?;
    for from in (0..count).step_by(500) {
        let texts: Vec<_> = (from..(from + 500).min(count)).map(|number| mail(number as u64 % TEXTS)).collect();
        let flags = ["", "\\Seen", "\\Seen \\Answered", "Junk"];
        let messages: Vec<_> = texts
            .iter()
            .enumerate()
            .map(|(i, text)| (flags[i % 4], Some("11-Jan-2024 10:00:00 +0000"), text.as_slice()))
            .collect();
        let answer = imap.append_many("INBOX", &messages)?;
        ensure!(answer.is_ok(), "filling: {} {}", answer.status, answer.text);
    }
    imap.ok("LOGOUT")?;
    pair.copy_to_dovecot(user)
}

/// A user with 100,000 messages.
pub(super) fn large(pair: &Pair) -> anyhow::Result<()> {
    fill(pair, "large", LARGE)
}

/// A user with 1,000,000 messages of 1 KB.
pub(super) fn million(pair: &Pair) -> anyhow::Result<()> {
    fill_with(pair, "million", MILLION, |number| sized(&mut Rng::with_seed(number), number, 1024))
}

/// A user with 5,000 messages.
pub(super) fn plain(pair: &Pair) -> anyhow::Result<()> {
    fill(pair, "plain", PLAIN)
}

/// A user whose mail is changed by the jobs, in both stores in the same way.
pub(super) fn changed(pair: &Pair) -> anyhow::Result<()> {
    fill(pair, "changed", PLAIN)
}

/// A user with many mailboxes of few messages.
pub(super) fn many(pair: &Pair) -> anyhow::Result<()> {
    if pair.mail(Kind::Dovecot, "many").exists() {
        return Ok(());
    }
    let mut imap = pair.login(Kind::Culver, "many")?;
    for number in 0..MAILBOXES {
        let name = format!("list/mailbox-{number}");
        imap.ok(&format!("CREATE {name}"))?;
        for message in 0..number % 4 {
            let answer = imap.append(&name, "", None, &mail(message as u64))?;
            ensure!(answer.is_ok(), "filling: {} {}", answer.status, answer.text);
        }
    }
    imap.ok("LOGOUT")?;
    pair.copy_to_dovecot("many")
}

/// Takes away what a server has cached of the user's INBOX.
pub(super) fn drop_cache(pair: &Pair, kind: Kind) -> anyhow::Result<()> {
    let cache = pair.inbox(kind, "plain").join("dovecot.index.cache");
    match std::fs::remove_file(&cache) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
