//! What a session's client believes of the mailbox, from nothing but the responses; and the rules that each response
//! must keep (RFC 3501 §5.2, §7.3, §7.4; RFC 7162).

use std::collections::{BTreeMap, BTreeSet};

use crate::wire::{Token, tokens};

/// Flags of a message, `\Recent` left out.
pub(super) type Flags = BTreeSet<String>;

/// What is known of a message.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    pub(super) uid: Option<u32>,
    pub(super) flags: Option<Flags>,
    /// The mod-sequence that these flags have.
    pub(super) mod_seq: Option<u64>,
    /// The largest mod-sequence told.
    floor: u64,
}

/// The command in whose course responses come.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct During {
    /// FETCH, STORE, SEARCH: sequence numbers must not change.
    pub(super) numbers_stay: bool,
    /// FETCH: its responses have what it asks for.
    pub(super) fetches: bool,
}

/// A selected mailbox, as its client sees it.
#[derive(Clone, Debug, Default)]
pub(super) struct Belief {
    pub(super) messages: Vec<Known>,
    pub(super) condstore: bool,
    pub(super) qresync: bool,
    /// UIDNEXT when the mailbox was selected: what comes later has larger UIDs.
    pub(super) uid_next: u32,
    /// Messages there when the mailbox was selected.
    pub(super) at_first: usize,
    /// The UIDs of VANISHED (EARLIER).
    pub(super) earlier: BTreeSet<u32>,
    /// The largest mod-sequence told of any message.
    pub(super) mod_seq_max: u64,
}

impl Belief {
    /// Takes a response in, or says which rule it breaks.
    pub(super) fn take(&mut self, line: &[u8], during: During) -> Result<(), String> {
        let words = tokens(line)?;
        match &words[..] {
            [Token::Atom(n), Token::Atom(word), rest @ ..] if n.first().is_some_and(u8::is_ascii_digit) => {
                let n = number(n)? as usize;
                match (word.as_slice(), rest) {
                    (b"EXISTS", []) => self.exists(n),
                    (b"RECENT", []) => self.recent(n),
                    (b"EXPUNGE", []) => self.expunge(n, during),
                    (b"FETCH", [Token::List(items)]) => self.fetch(n, items, during),
                    _ => Err("a response nobody knows".to_owned()),
                }
            }
            [Token::Atom(word), Token::List(_), Token::Atom(uids)] if word == b"VANISHED" => {
                self.earlier.extend(set(uids)?);
                match self.qresync {
                    true => Ok(()),
                    false => Err("VANISHED (EARLIER), and QRESYNC is not enabled".to_owned()),
                }
            }
            [Token::Atom(word), Token::Atom(uids)] if word == b"VANISHED" => self.vanished(uids, during),
            _ => Ok(()),
        }
    }

    fn exists(&mut self, n: usize) -> Result<(), String> {
        if n < self.messages.len() {
            return Err(format!("EXISTS shrinks from {} to {n}", self.messages.len()));
        }
        self.messages.resize_with(n, Known::default);
        Ok(())
    }

    fn recent(&self, n: usize) -> Result<(), String> {
        if n > self.messages.len() { Err(format!("{n} RECENT of {}", self.messages.len())) } else { Ok(()) }
    }

    fn expunge(&mut self, n: usize, during: During) -> Result<(), String> {
        if during.numbers_stay {
            return Err("EXPUNGE while sequence numbers must stay".to_owned());
        }
        if self.qresync {
            return Err("EXPUNGE instead of VANISHED".to_owned());
        }
        self.remove(n.checked_sub(1).filter(|at| *at < self.messages.len()))
    }

    fn vanished(&mut self, uids: &[u8], during: During) -> Result<(), String> {
        if during.numbers_stay {
            return Err("VANISHED while sequence numbers must stay".to_owned());
        }
        if !self.qresync {
            return Err("VANISHED, and QRESYNC is not enabled".to_owned());
        }
        set(uids)?.into_iter().try_for_each(|uid| self.remove(self.place_of(uid)))
    }

    /// Where a message is, or may be: one whose UID is not known stands between two whose UIDs are.
    fn place_of(&self, uid: u32) -> Option<usize> {
        let known = self.messages.iter().position(|message| message.uid == Some(uid));
        known.or_else(|| {
            let after = self.messages.iter().rposition(|message| message.uid.is_some_and(|have| have < uid));
            let first = after.map_or(0, |at| at + 1);
            self.messages.get(first).filter(|message| message.uid.is_none()).map(|_| first)
        })
    }

    fn remove(&mut self, at: Option<usize>) -> Result<(), String> {
        let at = at.ok_or("a message is gone that was not there")?;
        self.messages.remove(at);
        self.at_first -= usize::from(at < self.at_first);
        Ok(())
    }

    fn fetch(&mut self, n: usize, items: &[Token], during: During) -> Result<(), String> {
        let items: BTreeMap<String, &Token> = items
            .chunks_exact(2)
            .filter_map(|pair| Some((pair.first()?.text().to_uppercase(), pair.get(1)?)))
            .collect();
        let at =
            n.checked_sub(1).filter(|at| *at < self.messages.len()).ok_or("FETCH of a message that is not there")?;
        if let Some(uid) = items.get("UID") {
            self.uid(at, number(uid.bytes())?)?;
        }
        let mod_seq =
            items.get("MODSEQ").and_then(|list| list.items().first()).map(|n| number64(n.bytes())).transpose()?;
        let flags = items.get("FLAGS").map(|list| flags(list.items()));
        if self.condstore && !during.fetches && !(items.contains_key("UID") && mod_seq.is_some()) {
            return Err("FETCH without UID and MODSEQ, and CONDSTORE is enabled".to_owned());
        }
        let Some(message) = self.messages.get_mut(at) else { return Ok(()) };
        if let Some(mod_seq) = mod_seq {
            if mod_seq < message.floor {
                return Err(format!("MODSEQ falls from {} to {mod_seq}", message.floor));
            }
            message.floor = mod_seq;
            self.mod_seq_max = self.mod_seq_max.max(mod_seq);
            let changed = flags.is_some() && message.flags.is_some() && flags != message.flags;
            if changed && message.mod_seq == Some(mod_seq) {
                return Err(format!("flags {:?} are {flags:?} now under the same MODSEQ", message.flags));
            }
        }
        if flags.is_some() {
            message.flags = flags;
            message.mod_seq = mod_seq;
        } else if mod_seq.is_some() {
            message.mod_seq = mod_seq;
        }
        Ok(())
    }

    fn uid(&mut self, at: usize, uid: u32) -> Result<(), String> {
        let (before, behind) = self.messages.split_at(at);
        if let Some(have) = behind.first().and_then(|message| message.uid)
            && have != uid
        {
            return Err(format!("message {} was UID {have} and is {uid}", at + 1));
        }
        let is_ascending = before.iter().rev().find_map(|message| message.uid).is_none_or(|last| last < uid)
            && behind.iter().skip(1).find_map(|message| message.uid).is_none_or(|next| uid < next);
        if !is_ascending {
            return Err(format!("UID {uid} of message {} is not between its neighbours'", at + 1));
        }
        if (at < self.at_first) != (uid < self.uid_next) && self.uid_next > 0 {
            return Err(format!(
                "UID {uid} of message {}: {} were there, UIDNEXT was {}",
                at + 1,
                self.at_first,
                self.uid_next
            ));
        }
        if let Some(message) = self.messages.get_mut(at) {
            message.uid = Some(uid);
        }
        Ok(())
    }

    /// The UIDs that are known, with their places.
    pub(super) fn uids(&self) -> impl Iterator<Item = (usize, u32)> {
        self.messages.iter().enumerate().filter_map(|(at, message)| Some((at, message.uid?)))
    }
}

fn flags(items: &[Token]) -> Flags {
    items.iter().map(Token::text).filter(|flag| !flag.eq_ignore_ascii_case("\\Recent")).collect()
}

pub(super) fn number(digits: &[u8]) -> Result<u32, String> {
    u32::try_from(number64(digits)?).map_err(|e| e.to_string())
}

fn number64(digits: &[u8]) -> Result<u64, String> {
    let text = String::from_utf8_lossy(digits);
    text.parse().map_err(|e| format!("{text:?}: {e}"))
}

/// The numbers of a set without `*`.
pub(super) fn set(set: &[u8]) -> Result<BTreeSet<u32>, String> {
    let mut numbers = BTreeSet::new();
    for range in set.split(|&b| b == b',') {
        let mut ends = range.split(|&b| b == b':');
        let first = number(ends.next().unwrap_or_default())?;
        let last = ends.next().map_or(Ok(first), number)?;
        numbers.extend(first.min(last)..=first.max(last));
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(lines: &[&str], during: During) -> Result<Belief, String> {
        let mut belief = Belief { condstore: true, uid_next: 100, at_first: 3, ..Belief::default() };
        for line in ["3 EXISTS", "1 FETCH (UID 4 FLAGS (\\Seen) MODSEQ (7))", "3 FETCH (UID 9 FLAGS () MODSEQ (8))"] {
            belief.take(line.as_bytes(), During::default())?;
        }
        lines.iter().try_for_each(|line| belief.take(line.as_bytes(), during))?;
        Ok(belief)
    }

    #[test]
    fn what_may_be_told() {
        let belief = told(&["2 EXPUNGE", "1 EXPUNGE", "4 EXISTS", "2 FETCH (UID 100 MODSEQ (9))"], During::default());
        assert_eq!(belief.unwrap().uids().collect::<Vec<_>>(), [(0, 9), (1, 100)]);
    }

    #[test]
    fn what_may_not() {
        let stays = During { numbers_stay: true, fetches: false };
        for (line, during) in [
            ("2 EXISTS", During::default()),
            ("4 EXPUNGE", During::default()),
            ("0 EXPUNGE", During::default()),
            ("1 EXPUNGE", stays),
            ("VANISHED 4", During::default()),
            ("VANISHED (EARLIER) 4", During::default()),
            ("4 RECENT", During::default()),
            ("4 FETCH (FLAGS ())", During::default()),
            ("1 FETCH (FLAGS ())", During::default()),
            ("1 FETCH (UID 5 MODSEQ (9))", During::default()),
            ("2 FETCH (UID 9 MODSEQ (9))", During::default()),
            ("2 FETCH (UID 3 MODSEQ (9))", During::default()),
            ("1 FETCH (UID 4 MODSEQ (6))", During::default()),
            ("1 FETCH (UID 4 FLAGS () MODSEQ (7))", During::default()),
        ] {
            assert!(told(&[line], during).is_err(), "{line}");
        }
    }
}
