//! What is shown of a store, by Culver's library and by Dovecot over IMAP, in one form; messages that cannot be read too.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use anyhow::Context;
use mailstore::{
    Store, StoreOptions,
    check::{CheckOptions, Outcome, check_storage},
    mailfs::RealDisk,
    mailindex::engine::{Env, EnvOptions},
    mailtypes::{Flag, mutf7},
};

use crate::{
    dovecot::{Dovecot, PASSWORD},
    imap::{Imap, quote},
    observe::sha256,
    wire::{Token, tokens},
};

/// A store.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Seen {
    /// By name in UTF-8. Those that cannot be opened are not among them.
    pub(super) mailboxes: BTreeMap<String, Mailbox>,
}

/// A mailbox.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Mailbox {
    pub(super) uid_validity: u32,
    pub(super) messages: BTreeMap<u32, Message>,
}

/// A message.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Message {
    /// Sorted.
    pub(super) flags: String,
    pub(super) keywords: String,
    /// SHA-256 of its text with CRLF; `None` where it cannot be read.
    pub(super) body: Option<String>,
}

fn env() -> Env {
    Env::new(Arc::new(RealDisk::new()), EnvOptions::default())
}

fn sorted(mut words: Vec<String>) -> String {
    words.sort();
    words.join(" ")
}

impl Seen {
    pub(super) fn message_count(&self) -> u64 {
        self.mailboxes.values().map(|mailbox| mailbox.messages.len() as u64).sum()
    }

    /// What is not alike, a line each.
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        let names: std::collections::BTreeSet<_> = self.mailboxes.keys().chain(other.mailboxes.keys()).collect();
        for name in names {
            match (self.mailboxes.get(name), other.mailboxes.get(name)) {
                (Some(one), Some(two)) if one != two => {
                    lines.push(format!("{name}: UIDVALIDITY {} and {}", one.uid_validity, two.uid_validity));
                    let uids: std::collections::BTreeSet<_> = one.messages.keys().chain(two.messages.keys()).collect();
                    for uid in uids.into_iter().filter(|uid| one.messages.get(uid) != two.messages.get(uid)) {
                        lines.push(format!("  {uid}: {:?} and {:?}", one.messages.get(uid), two.messages.get(uid)));
                    }
                }
                (Some(_), Some(_)) => {}
                (one, _) => lines.push(format!("{name}: only in {}", if one.is_some() { "one" } else { "the other" })),
            }
        }
        lines
    }

    /// By the library.
    pub(super) fn by_culver(root: &Path) -> anyhow::Result<Self> {
        let mut seen = Self::default();
        let store = Store::open_in(&env(), root, &StoreOptions::default())?;
        for info in store.list()?.into_iter().filter(|info| info.selectable) {
            let Ok(mailbox) = store.mailbox(info.name.as_str()) else { continue };
            let Ok(view) = mailbox.view() else { continue };
            let mut shown = Mailbox { uid_validity: mailbox.mailbox().uid_validity().value(), ..Mailbox::default() };
            for message in view.messages() {
                let message = message?;
                let named = [
                    (Flag::Answered, "\\Answered"),
                    (Flag::Deleted, "\\Deleted"),
                    (Flag::Draft, "\\Draft"),
                    (Flag::Flagged, "\\Flagged"),
                    (Flag::Seen, "\\Seen"),
                ];
                let has = |flag: Flag| message.flags().contains(flag);
                let flags = named.iter().filter(|(flag, _)| has(*flag)).map(|(_, name)| (*name).to_owned()).collect();
                let keywords = message.keywords().iter().map(|keyword| keyword.as_str().to_owned()).collect();
                let body = message.read().ok().map(|bytes| sha256(&bytes));
                let message_seen = Message { flags: sorted(flags), keywords: sorted(keywords), body };
                shown.messages.insert(message.uid().value(), message_seen);
            }
            seen.mailboxes.insert(info.name.as_str().to_owned(), shown);
        }
        Ok(seen)
    }

    /// By a Dovecot.
    pub(super) fn by_dovecot(dovecot: &Dovecot, user: &str) -> anyhow::Result<Self> {
        let mut seen = Self::default();
        // One that it dies of now and then it puts right another time.
        let list = || -> anyhow::Result<_> {
            let mut imap = Imap::login(dovecot.imap, user, PASSWORD)?;
            let answer = imap.ok("LIST \"\" \"*\"")?;
            Ok((imap, answer))
        };
        let Some((mut imap, answer)) = (0..TRIES_MAX).find_map(|_| list().ok()) else { return Ok(seen) };
        let mut names = Vec::new();
        for line in answer.untagged {
            if let [Token::Atom(word), Token::List(attributes), _, name] =
                &tokens(&line).map_err(anyhow::Error::msg)?[..]
                && word == b"LIST"
                && !attributes.iter().any(|a| a.bytes().eq_ignore_ascii_case(b"\\Noselect"))
            {
                names.push(name.text());
            }
        }
        for name in names {
            if let Ok(Some(mailbox)) = Mailbox::by_dovecot(dovecot, user, &mut imap, &name) {
                let name = mutf7::decode(name.as_bytes()).unwrap_or(name);
                seen.mailboxes.insert(name, mailbox);
            }
        }
        Ok(seen)
    }
}

/// How often a session that Dovecot has ended is begun again for one thing.
const TRIES_MAX: usize = 3;

impl Mailbox {
    fn by_dovecot(dovecot: &Dovecot, user: &str, imap: &mut Imap, name: &str) -> anyhow::Result<Option<Self>> {
        let Some(uid_validity) = examine(dovecot, user, imap, name)? else { return Ok(None) };
        let mut shown = Self { uid_validity, ..Self::default() };
        for _ in 0..TRIES_MAX {
            match imap.command("UID FETCH 1:* (FLAGS)").and_then(|answer| answer.fetches()) {
                Ok(fetches) => {
                    for (_, attributes) in fetches {
                        let (uid, message) = message(&attributes)?;
                        shown.messages.insert(uid, message);
                    }
                    break;
                }
                Err(_) if examine(dovecot, user, imap, name)?.is_none() => return Ok(None),
                Err(_) => {}
            }
        }
        // All at once, and those one by one that are not told of then.
        let all = imap.command("UID FETCH 1:* (BODY.PEEK[])").and_then(|answer| answer.fetches());
        for (_, attributes) in all.unwrap_or_default() {
            shown.take(&attributes)?;
        }
        let missing: Vec<u32> = shown.messages.iter().filter(|(_, m)| m.body.is_none()).map(|(uid, _)| *uid).collect();
        for uid in missing {
            for _ in 0..TRIES_MAX {
                let one = imap.command(&format!("UID FETCH {uid} (BODY.PEEK[])")).and_then(|answer| answer.fetches());
                match one {
                    Ok(fetches) => {
                        for (_, attributes) in fetches {
                            shown.take(&attributes)?;
                        }
                        break;
                    }
                    Err(_) if examine(dovecot, user, imap, name)?.is_none() => return Ok(Some(shown)),
                    Err(_) => {}
                }
            }
        }
        // A session that was ended while it told of the last is not one to go on with.
        if imap.command("NOOP").is_err() {
            *imap = Imap::login(dovecot.imap, user, PASSWORD)?;
        }
        Ok(Some(shown))
    }

    fn take(&mut self, attributes: &[(String, Token)]) -> anyhow::Result<()> {
        let body = attributes.iter().find(|(name, _)| name == "BODY[]");
        if let Some((_, body)) = body.filter(|(_, body)| *body != Token::Atom(b"NIL".to_vec())) {
            let (uid, _) = message(attributes)?;
            if let Some(message) = self.messages.get_mut(&uid) {
                message.body = Some(sha256(body.bytes()));
            }
        }
        Ok(())
    }
}

/// The mailbox's UIDVALIDITY; `None` where it cannot be opened.
fn examine(dovecot: &Dovecot, user: &str, imap: &mut Imap, name: &str) -> anyhow::Result<Option<u32>> {
    for _ in 0..TRIES_MAX {
        match imap.command(&format!("EXAMINE {}", quote(name))) {
            Ok(answer) if answer.is_ok() => {
                let number = answer.untagged_code("UIDVALIDITY").and_then(|n| n.first()?.parse().ok());
                return Ok(Some(number.context("UIDVALIDITY")?));
            }
            // Another time it may have put it right.
            Ok(_) => {}
            Err(_) => *imap = Imap::login(dovecot.imap, user, PASSWORD)?,
        }
    }
    Ok(None)
}

fn message(attributes: &[(String, Token)]) -> anyhow::Result<(u32, Message)> {
    let (mut uid, mut message) = (None, Message::default());
    for (name, value) in attributes {
        match name.as_str() {
            "UID" => uid = Some(value.text().parse()?),
            "FLAGS" => {
                let words = value.items().iter().map(Token::text).filter(|flag| flag != "\\Recent");
                let (flags, keywords) = words.partition(|word| word.starts_with('\\'));
                (message.flags, message.keywords) = (sorted(flags), sorted(keywords));
            }
            _ => {}
        }
    }
    Ok((uid.context("FETCH without UID")?, message))
}

/// Has Culver repair a store; tells what it could not.
pub(super) fn repair(root: &Path) -> anyhow::Result<Vec<String>> {
    let options = CheckOptions { repair: true, deep: true, mailbox: None };
    let env = env();
    let report = check_storage(&env, root, &StoreOptions::default(), &options, &mut |_| {})?;
    env.flush()?;
    let left = report.findings.iter().filter(|finding| finding.outcome == Outcome::Left);
    Ok(left.map(ToString::to_string).collect())
}

/// Has Dovecot open a store and go over all of it.
pub(super) fn resync(dovecot: &Dovecot, user: &str) -> anyhow::Result<()> {
    Seen::by_dovecot(dovecot, user)?;
    // What it cannot put right is seen afterwards.
    let _ = dovecot.doveadm(&["force-resync", "-u", user, "*"]);
    Ok(())
}
