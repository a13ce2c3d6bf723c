//! What the workers were promised, and whether a store holds it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::foreign::Foreign;
use crate::observe::Shown;

/// What a worker was promised: where its messages are, and which of its keywords they have.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) messages: BTreeMap<(String, u32), Mine>,
    /// Message-IDs of deliveries to INBOX.
    pub(super) delivered: BTreeSet<String>,
    pub(super) commands: u64,
    /// Whether it was Dovecot that made the promises.
    pub(super) is_dovecots: bool,
    pub(super) crashes: u64,
    /// Commands that Dovecot answered NO on an mbox.
    pub(super) refusals: u64,
    /// SELECTs in which Dovecot told a lower HIGHESTMODSEQ than it had before.
    pub(super) went_back: Vec<String>,
    /// COPY and MOVE of a message that Dovecot did not find; whether it is lost, the end shows.
    pub(super) unseen: u64,
    /// Messages that Culver did not find for a COPY or MOVE: it is right if a Dovecot gave them other UIDs.
    pub(super) missed: Vec<(String, u32)>,
    /// Bodies of messages, and Message-IDs of deliveries, that were in hand when a server died.
    pub(super) uncertain: BTreeSet<String>,
    /// Bodies and Message-IDs of all that the worker ever put there.
    pub(super) ever: BTreeSet<String>,
    /// All UIDs that the worker was ever told, by mailbox and body, ascending.
    pub(super) told: BTreeMap<(String, String), Vec<u32>>,
    pub(super) broken: Vec<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Mine {
    pub(super) body: String,
    pub(super) marked: bool,
}

/// A message of a worker that is there under a UID that nobody was told.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Misplaced {
    pub(super) mailbox: String,
    pub(super) uid: u32,
    pub(super) worker: usize,
    /// Whether Dovecot serves the worker.
    pub(super) is_dovecots: bool,
    pub(super) was: Was,
}

/// What the worker was told of a message.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Was {
    /// It was promised under this UID, under which it is not there.
    Promised(u32),
    /// It was there under these UIDs, or under none, and is not to be there any more, or not twice.
    Ended(Vec<u32>),
}

impl Misplaced {
    /// Whether it is the message that had that UID.
    pub(super) fn had(&self, mailbox: &str, uid: u32) -> bool {
        let had_it = match &self.was {
            Was::Promised(old) => *old == uid,
            Was::Ended(told) => told.contains(&uid),
        };
        had_it && self.mailbox == mailbox
    }
}

impl fmt::Display for Misplaced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mailbox, uid, worker, is_dovecots, was } = self;
        let whose = if *is_dovecots { "Dovecot" } else { "Culver" };
        match was {
            Was::Promised(old) => write!(f, "{mailbox}: UID {old} of worker {worker} ({whose}'s) is {uid} now"),
            Was::Ended(told) => {
                write!(
                    f,
                    "{mailbox}: UID {uid} of worker {worker} ({whose}'s) is nobody's, or there twice: it had {told:?}"
                )
            }
        }
    }
}

/// What is not as it should be.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Every server tells of the same ones.
    pub(super) misplaced: BTreeSet<Misplaced>,
    /// Everything else, with who showed it.
    pub(super) broken: Vec<String>,
}

/// Compares what a server shows with what was promised.
pub(super) fn check(who: &str, shown: &Shown, ledgers: &[Ledger], foreign: &Foreign, found: &mut Found) {
    let Found { misplaced, broken } = found;
    let mut promised: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    let mut lost: BTreeMap<(&str, &str), (u32, usize)> = BTreeMap::new();
    for (number, ledger) in ledgers.iter().enumerate() {
        for ((mailbox, uid), mine) in &ledger.messages {
            if !promised.entry(mailbox).or_default().insert(*uid) {
                broken.push(format!("{mailbox}: UID {uid} was given to two workers"));
            }
            match shown.mailboxes.get(mailbox).and_then(|mailbox| mailbox.messages.get(uid)) {
                None => {
                    if let Some((uid, number)) = lost.insert((mailbox, &mine.body), (*uid, number)) {
                        broken.push(format!("{who}: {mailbox}: UID {uid} of worker {number} is lost"));
                    }
                }
                Some(found) if found.body != mine.body => {
                    broken.push(format!("{who}: {mailbox}: UID {uid} of worker {number} is another message"));
                }
                Some(found) if found.flags.contains(&format!("mark{number}")) != mine.marked => {
                    broken.push(format!(
                        "{who}: {mailbox}: UID {uid} of worker {number}: keyword should be {}",
                        mine.marked
                    ));
                }
                Some(_) => {}
            }
        }
    }
    for (name, mailbox) in &shown.mailboxes {
        let foreign = foreign.delivered.keys().filter(|(at, _)| at == name).map(|(_, body)| body.as_str());
        let mut awaited: BTreeSet<&str> = foreign.collect();
        if name == "INBOX" {
            awaited.extend(ledgers.iter().flat_map(|ledger| &ledger.delivered).map(String::as_str));
        }
        for (uid, message) in &mailbox.messages {
            let is_promised = promised.get(name.as_str()).is_some_and(|uids| uids.contains(uid));
            let names = [Some(message.body.as_str()), delivered_id(&message.envelope)];
            let is_uncertain =
                ledgers.iter().any(|ledger| names.iter().flatten().any(|n| ledger.uncertain.contains(*n)));
            if is_promised || is_uncertain || names.iter().flatten().any(|name| awaited.remove(name)) {
                continue;
            }
            let had = |ledger: &Ledger| names.iter().flatten().any(|name| ledger.ever.contains(*name));
            let lost = lost.remove(&(name, &message.body));
            let worker = lost.map(|(_, number)| number).or_else(|| ledgers.iter().position(had));
            let Some((worker, ledger)) = worker.and_then(|number| Some((number, ledgers.get(number)?))) else {
                broken.push(format!("{who}: {name}: UID {uid} is nobody's, or there twice"));
                continue;
            };
            let told = || ledger.told.get(&(name.clone(), message.body.clone())).cloned().unwrap_or_default();
            let was = lost.map_or_else(|| Was::Ended(told()), |(old, _)| Was::Promised(old));
            let mailbox = name.clone();
            misplaced.insert(Misplaced { mailbox, uid: *uid, worker, is_dovecots: ledger.is_dovecots, was });
        }
        broken.extend(awaited.iter().map(|what| format!("{who}: {name}: a delivery is lost: {what}")));
    }
    for ((mailbox, _), (uid, number)) in lost {
        broken.push(format!("{who}: {mailbox}: UID {uid} of worker {number} is lost"));
    }
}

/// What ends the Message-ID of a delivery.
pub(super) const DELIVERED: &str = "@delivered.example>";

fn delivered_id(envelope: &str) -> Option<&str> {
    let end = envelope.rfind(DELIVERED)? + DELIVERED.len();
    let id = envelope.get(..end)?;
    id.get(id.rfind('<')?..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::{ShownMailbox, ShownMessage};

    fn shown(messages: &[(u32, &str)]) -> Shown {
        let message = |(uid, body): &(u32, &str)| (*uid, ShownMessage { body: (*body).to_owned(), ..<_>::default() });
        let mailbox = ShownMailbox { messages: messages.iter().map(message).collect(), ..<_>::default() };
        Shown { mailboxes: [("Shared".to_owned(), mailbox)].into(), ..Shown::default() }
    }

    /// What is broken, what has another UID, and what is nobody's.
    fn found(promised: &[(u32, &str)], there: &[(u32, &str)]) -> (usize, usize, usize) {
        let mine = |body: &str| Mine { body: body.to_owned(), marked: false };
        let messages = promised.iter().map(|(uid, body)| (("Shared".to_owned(), *uid), mine(body))).collect();
        let ever = ["a", "b"].map(str::to_owned).into();
        let ledgers = [Ledger { messages, ever, ..Ledger::default() }];
        let mut found = Found::default();
        for who in ["x", "y"] {
            check(who, &shown(there), &ledgers, &Foreign::default(), &mut found);
        }
        let is_promised = |what: &&Misplaced| matches!(what.was, Was::Promised(_));
        let promised = found.misplaced.iter().filter(is_promised).count();
        (found.broken.len() / 2, promised, found.misplaced.len() - promised)
    }

    #[test]
    fn another_uid_is_told_once_and_what_is_lost_is_lost() {
        assert_eq!(found(&[(1, "a"), (2, "b")], &[(1, "a"), (2, "b")]), (0, 0, 0));
        assert_eq!(found(&[(1, "a"), (2, "b")], &[(1, "a"), (5, "b")]), (0, 1, 0));
        assert_eq!(found(&[(1, "a"), (2, "b")], &[(1, "a"), (5, "c")]), (2, 0, 0));
        assert_eq!(found(&[(1, "a"), (2, "a")], &[(5, "a"), (6, "a")]), (1, 1, 1));
        assert_eq!(found(&[(1, "a"), (2, "a")], &[(2, "b")]), (2, 0, 0));
        assert_eq!(found(&[(1, "a")], &[(1, "a"), (2, "b"), (3, "a")]), (0, 0, 2));
    }
}
