//! All that IMAP shows of a user's mail, in a form that two servers can be compared by.

use std::{collections::BTreeMap, fmt::Write as _};

use anyhow::Context;
use sha2::{Digest, Sha256};

use crate::{
    dovecot::Release,
    imap::{Imap, quote},
    wire::{Token, tokens},
};

/// A user's mail as IMAP shows it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Shown {
    /// Names, `/` between their levels, with whether they can be selected.
    pub list: BTreeMap<String, bool>,
    /// LSUB, names likewise.
    pub subscribed: Vec<String>,
    /// The mailboxes that can be selected.
    pub mailboxes: BTreeMap<String, ShownMailbox>,
}

/// A mailbox as IMAP shows it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ShownMailbox {
    /// UIDVALIDITY.
    pub uid_validity: u32,
    /// UIDNEXT.
    pub uid_next: u32,
    /// EXISTS.
    pub exists: u32,
    /// STATUS UNSEEN.
    pub unseen: u32,
    /// HIGHESTMODSEQ, if it was looked at.
    pub highest_mod_seq: Option<u64>,
    /// By UID.
    pub messages: BTreeMap<u32, ShownMessage>,
}

/// A message as IMAP shows it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ShownMessage {
    /// Sequence number.
    pub seq: u32,
    /// Flags and keywords, sorted, without `\Recent`.
    pub flags: Vec<String>,
    /// INTERNALDATE as a moment: servers may show it in different zones.
    pub internal_date: String,
    /// RFC822.SIZE.
    pub size: u64,
    /// SHA-256 of BODY[], in hex.
    pub body: String,
    /// ENVELOPE, tokens printed.
    pub envelope: String,
    /// BODYSTRUCTURE, tokens printed.
    pub structure: String,
    /// MODSEQ, if it was looked at.
    pub mod_seq: Option<u64>,
}

/// How much to look at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Depth {
    /// Names, numbers and flags.
    Flags,
    /// Bodies, envelopes and structures too.
    Bodies,
    /// Mod-sequences too, which two servers agree about only on the same files.
    ModSeqs,
}

impl Shown {
    /// Looks at everything, changing nothing (EXAMINE, PEEK).
    pub fn by(imap: &mut Imap, depth: Depth) -> anyhow::Result<Self> {
        let (mut shown, mut names) = (Self::default(), Vec::new());
        for line in imap.ok("LIST \"\" \"*\"")?.untagged {
            let tokens = tokens(&line).map_err(anyhow::Error::msg)?;
            let [Token::Atom(word), Token::List(attributes), separator, name] = &tokens[..] else { continue };
            if word == b"LIST" {
                let selectable = !attributes.iter().any(|a| a.bytes().eq_ignore_ascii_case(b"\\Noselect"));
                let common = with_slashes(&name.text(), separator);
                if selectable {
                    names.push((common.clone(), name.text()));
                }
                shown.list.insert(common, selectable);
            }
        }
        for line in imap.ok("LSUB \"\" \"*\"")?.untagged {
            if let [Token::Atom(word), _, separator, name] = &tokens(&line).map_err(anyhow::Error::msg)?[..]
                && word == b"LSUB"
            {
                shown.subscribed.push(with_slashes(&name.text(), separator));
            }
        }
        shown.subscribed.sort();
        for (common, name) in names {
            if is_listed_only(imap, &name)? {
                shown.list.insert(common, false);
                continue;
            }
            let mailbox = ShownMailbox::by(imap, &name, depth).with_context(|| format!("mailbox {name}"))?;
            shown.mailboxes.insert(common, mailbox);
        }
        Ok(shown)
    }

    /// The same without mod-sequences.
    pub fn without_mod_seqs(mut self) -> Self {
        for mailbox in self.mailboxes.values_mut() {
            mailbox.highest_mod_seq = None;
            mailbox.messages.values_mut().for_each(|message| message.mod_seq = None);
        }
        self
    }

    /// Every difference, a line each; empty when equal.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let mut lines = Vec::new();
        compare("LIST", &self.list, &other.list, &mut lines);
        compare("LSUB", &self.subscribed, &other.subscribed, &mut lines);
        for (name, ours) in &self.mailboxes {
            let Some(theirs) = other.mailboxes.get(name) else { continue };
            let numbers = |m: &ShownMailbox| (m.uid_validity, m.uid_next, m.exists, m.unseen, m.highest_mod_seq);
            compare(
                &format!("{name}: UIDVALIDITY, UIDNEXT, EXISTS, UNSEEN, HIGHESTMODSEQ"),
                &numbers(ours),
                &numbers(theirs),
                &mut lines,
            );
            let uids: std::collections::BTreeSet<_> = ours.messages.keys().chain(theirs.messages.keys()).collect();
            for uid in uids {
                let what = format!("{name}: UID {uid}");
                match (ours.messages.get(uid), theirs.messages.get(uid)) {
                    (Some(ours), Some(theirs)) => compare_messages(&what, ours, theirs, &mut lines),
                    (ours, theirs) => compare(&what, &ours, &theirs, &mut lines),
                }
            }
        }
        lines
    }
}

/// Whether the mailbox is one that Dovecot lists as if it were there and then does not find: on Maildir++ it goes on listing
/// one that was deleted, by itself or by anybody, while others lie below it.
fn is_listed_only(imap: &mut Imap, name: &str) -> anyhow::Result<bool> {
    let answer = imap.command(&format!("STATUS {} (UIDNEXT)", quote(name)))?;
    // Dovecot tells the time that each command took; Culver has no such excuse.
    let is_dovecots = answer.text.ends_with(" secs).");
    Ok(!answer.is_ok() && is_dovecots && answer.text.contains("Mailbox doesn't exist"))
}

/// A name with `/` between its levels, whatever the server shows there.
fn with_slashes(name: &str, separator: &Token) -> String {
    name.replace(&separator.text(), "/")
}

fn compare<T: PartialEq + std::fmt::Debug>(what: &str, ours: &T, theirs: &T, lines: &mut Vec<String>) {
    if ours != theirs {
        lines.push(format!("{what}:\n  one   {ours:?}\n  other {theirs:?}"));
    }
}

fn compare_messages(what: &str, ours: &ShownMessage, theirs: &ShownMessage, lines: &mut Vec<String>) {
    compare(&format!("{what}: sequence number"), &ours.seq, &theirs.seq, lines);
    compare(&format!("{what}: flags"), &ours.flags, &theirs.flags, lines);
    compare(&format!("{what}: MODSEQ"), &ours.mod_seq, &theirs.mod_seq, lines);
    compare(&format!("{what}: RFC822.SIZE"), &ours.size, &theirs.size, lines);
    for (name, ours, theirs) in [
        ("INTERNALDATE", &ours.internal_date, &theirs.internal_date),
        ("BODY[]", &ours.body, &theirs.body),
        ("ENVELOPE", &ours.envelope, &theirs.envelope),
        ("BODYSTRUCTURE", &ours.structure, &theirs.structure),
    ] {
        compare(&format!("{what}: {name}"), ours, theirs, lines);
    }
}

impl ShownMailbox {
    /// Looks at one mailbox.
    pub fn by(imap: &mut Imap, name: &str, depth: Depth) -> anyhow::Result<Self> {
        let status = imap.ok(&format!("STATUS {} (MESSAGES UNSEEN UIDNEXT UIDVALIDITY)", quote(name)))?;
        let unseen = status.untagged.iter().find_map(|line| {
            let text = String::from_utf8_lossy(line).into_owned();
            let (_, rest) = text.rsplit_once("UNSEEN ")?;
            rest.split([' ', ')']).next()?.parse().ok()
        });
        let condstore = if depth == Depth::ModSeqs { " (CONDSTORE)" } else { "" };
        let examine = imap.ok(&format!("EXAMINE {}{condstore}", quote(name)))?;
        let number = |code: &str| {
            examine.untagged_code(code).and_then(|n| n.first()?.parse().ok()).with_context(|| code.to_owned())
        };
        let mut shown = Self {
            uid_validity: number("UIDVALIDITY")?,
            uid_next: number("UIDNEXT")?,
            exists: examine.number("EXISTS").context("EXISTS")?,
            unseen: unseen.context("UNSEEN")?,
            highest_mod_seq: None,
            messages: BTreeMap::new(),
        };
        if depth == Depth::ModSeqs {
            let told = examine.untagged_code("HIGHESTMODSEQ").and_then(|code| code.first()?.parse().ok());
            shown.highest_mod_seq = Some(told.context("HIGHESTMODSEQ")?);
        }
        if shown.exists > 0 {
            let items = match depth {
                Depth::Flags => "UID FLAGS",
                Depth::Bodies => "UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY.PEEK[]",
                Depth::ModSeqs => "UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY.PEEK[] MODSEQ",
            };
            for (seq, attributes) in imap.ok(&format!("FETCH 1:* ({items})"))?.fetches()? {
                let (uid, message) = ShownMessage::of(seq, &attributes)?;
                shown.messages.insert(uid, message);
            }
        }
        // STATUS of the mailbox that is selected may be answered from the session's own view: leave it.
        imap.ok("UNSELECT")?;
        Ok(shown)
    }
}

impl ShownMessage {
    fn of(seq: u32, attributes: &[(String, Token)]) -> anyhow::Result<(u32, Self)> {
        let mut message = Self { seq, ..Self::default() };
        let mut uid = None;
        for (name, value) in attributes {
            match name.as_str() {
                "UID" => uid = Some(value.text().parse()?),
                "FLAGS" => {
                    message.flags = value.items().iter().map(Token::text).filter(|flag| flag != "\\Recent").collect();
                    message.flags.sort();
                }
                "INTERNALDATE" => message.internal_date = moment(&value.text())?.to_string(),
                "RFC822.SIZE" => message.size = value.text().parse()?,
                "ENVELOPE" => message.envelope = format!("{value:?}"),
                "MODSEQ" => message.mod_seq = Some(value.items().first().context("MODSEQ")?.text().parse()?),
                "BODYSTRUCTURE" => message.structure = format!("{:?}", parameters_as_told(value)),
                "BODY[]" => message.body = sha256(value.bytes()),
                _ => anyhow::bail!("unasked attribute {name}"),
            }
        }
        Ok((uid.context("FETCH without UID")?, message))
    }
}

/// Dovecot 2.4 tells parameters of RFC 2231 decoded, under their names without the star. What the cache has of a message
/// is the text of whichever server looked first, so that beside 2.4 both ways are the same.
fn parameters_as_told(structure: &Token) -> Token {
    match Release::chosen() {
        Ok(Release::V2_4 { .. }) => parameters_decoded(structure),
        _ => structure.clone(),
    }
}

/// A text of BODYSTRUCTURE or ENVELOPE in a form in which both releases are the same.
pub fn as_2_4_tells(text: &[u8]) -> anyhow::Result<String> {
    let tokens = tokens(text).map_err(anyhow::Error::msg)?;
    Ok(format!("{:?}", tokens.iter().map(parameters_decoded).collect::<Vec<_>>()))
}

fn parameters_decoded(token: &Token) -> Token {
    let Token::List(items) = token else { return token.clone() };
    let mut decoded: Vec<Token> = items.iter().map(parameters_decoded).collect();
    for pair in decoded.chunks_mut(2) {
        let [Token::Text(name), Token::Text(value)] = pair else { continue };
        // charset'language'text; what is compared has UTF-8 only.
        if name.ends_with(b"*")
            && let Some(text) = value.splitn(3, |byte| *byte == b'\'').nth(2)
        {
            *value = percent_decoded(text);
            name.pop();
        }
    }
    Token::List(decoded)
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| byte == b'%').and_then(|hex| std::str::from_utf8(hex).ok());
        let octet = hex.and_then(|hex| u8::from_str_radix(hex, 16).ok());
        decoded.push(octet.unwrap_or(byte));
        rest = octet.and_then(|_| after.get(2..)).unwrap_or(after);
    }
    decoded
}

/// SHA-256 in lower-case hex.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Unix seconds of IMAP's `date-time`, such as `22-Apr-2019 03:49:38 +0000`.
pub fn moment(text: &str) -> anyhow::Result<i64> {
    let parse = || {
        let (date, rest) = text.trim().split_once(' ')?;
        let (time, zone) = rest.split_once(' ')?;
        let mut date = date.split('-');
        let day: i64 = date.next()?.parse().ok()?;
        let month = date.next()?;
        let month = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
            .iter()
            .position(|m| *m == month)? as i64;
        let year: i64 = date.next()?.parse().ok()?;
        let clock: Vec<i64> = time.split(':').map(str::parse).collect::<Result<_, _>>().ok()?;
        let [h, m, s] = clock[..] else { return None };
        let zone: i64 = zone.parse().ok()?;
        let leap = |y: i64| i64::from(y % 4 == 0 && (y % 100 != 0 || y % 400 == 0));
        let days_before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let years: i64 = (1970..year).map(|y| 365 + leap(y)).sum();
        let days = years + days_before[month as usize] + if month > 1 { leap(year) } else { 0 } + day - 1;
        Some(days * 86_400 + h * 3600 + m * 60 + s - (zone / 100 * 60 + zone % 100) * 60)
    };
    parse().with_context(|| format!("date {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extended_parameters_become_plain_ones() {
        let structure = tokens(b"(\"text\" (\"name*\" \"utf-8''f%C3%BC%2.bin\" \"a\" \"b*\") NIL)").unwrap();
        let decoded = tokens("(\"text\" (\"name\" \"fü%2.bin\" \"a\" \"b*\") NIL)".as_bytes()).unwrap();
        assert_eq!(parameters_decoded(&structure[0]), decoded[0]);
    }

    #[test]
    fn zones_name_the_same_moment() {
        assert_eq!(moment("22-Apr-2019 03:49:38 +0000").unwrap(), 1_555_904_978);
        assert_eq!(moment(" 2-Apr-2019 05:49:38 +0200").unwrap(), moment("02-Apr-2019 03:49:38 +0000").unwrap());
        assert!(moment("yesterday").is_err());
    }
}
