//! All that a Dovecot tells of a store: what IMAP shows, and what `doveadm` knows besides.

use std::collections::BTreeMap;

use sha1::{Digest as _, Sha1};

use super::super::USER;
use crate::{
    dovecot::{Dovecot, PASSWORD},
    imap::Imap,
    observe::{Depth, Shown},
};

/// What of a message is asked by `doveadm fetch`.
const FIELDS: &str = "mailbox uid guid pop3.uidl pop3.order date.saved";

/// Differences that are named.
const DIFFERENCES_MAX: usize = 20;

/// What was told of one store.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Told {
    shown: Shown,
    /// By mailbox.
    guids: BTreeMap<String, String>,
    /// By mailbox and UID.
    messages: BTreeMap<(String, String), ToldMessage>,
}

/// What `doveadm` tells of a message.
#[derive(Debug, Eq, PartialEq)]
struct ToldMessage {
    guid: String,
    /// Its POP3 id and order.
    pop3: [String; 2],
    save_date: String,
}

impl Told {
    /// Asks a Dovecot for all there is.
    pub(super) fn by(dovecot: &Dovecot) -> anyhow::Result<Self> {
        let mut imap = Imap::login(dovecot.imap, USER, PASSWORD)?;
        let mut told = Self { shown: Shown::by(&mut imap, Depth::ModSeqs)?, ..Self::default() };
        imap.ok("LOGOUT")?;
        let mailboxes = dovecot.doveadm(&["-f", "tab", "mailbox", "status", "-u", USER, "guid", "*"])?;
        for line in String::from_utf8(mailboxes)?.lines().skip(1) {
            let Some((name, guid)) = line.split_once('\t') else { continue };
            told.guids.insert(name.to_owned(), guid.to_owned());
        }
        let messages = dovecot.doveadm(&["-f", "tab", "fetch", "-u", USER, FIELDS, "all"])?;
        for line in String::from_utf8(messages)?.lines().skip(1) {
            let fields: Vec<String> = line.split('\t').map(str::to_owned).collect();
            let Ok([mailbox, uid, guid, uidl, order, save_date]) = <[String; 6]>::try_from(fields) else {
                anyhow::bail!("doveadm fetch tells {line:?}");
            };
            let message = ToldMessage { guid: guid_of_text(&guid), pop3: [uidl, order], save_date };
            told.messages.insert((mailbox, uid), message);
        }
        Ok(told)
    }

    /// Messages.
    pub(super) fn message_count(&self) -> usize {
        self.messages.len()
    }

    /// What differs, a line each; dates of saving aside.
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        let mut lines = self.shown.differences(&other.shown);
        if self.guids != other.guids {
            lines.push(format!("GUIDs of mailboxes: {:?} and {:?}", self.guids, other.guids));
        }
        for (what, ours) in &self.messages {
            match other.messages.get(what) {
                Some(theirs) if theirs.guid == ours.guid && theirs.pop3 == ours.pop3 => {}
                theirs => lines.push(format!("{what:?}: {ours:?} and {theirs:?}")),
            }
        }
        if self.messages.len() != other.messages.len() {
            lines.push(format!("{} messages and {}", self.messages.len(), other.messages.len()));
        }
        lines.truncate(DIFFERENCES_MAX);
        lines
    }

    /// Messages that have another date of saving.
    pub(super) fn other_save_dates(&self, other: &Self) -> usize {
        let is_other = |theirs: &ToldMessage, ours: &ToldMessage| theirs.save_date != ours.save_date;
        let messages = self.messages.iter();
        messages.filter(|(what, ours)| other.messages.get(*what).is_some_and(|theirs| is_other(theirs, ours))).count()
    }
}

/// A GUID as stores have it that keep 16 bytes: Dovecot hashes any other, such as the name of a Maildir's file.
fn guid_of_text(text: &str) -> String {
    if text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return text.to_owned();
    }
    Sha1::digest(text).iter().skip(4).map(|byte| format!("{byte:02x}")).collect()
}
