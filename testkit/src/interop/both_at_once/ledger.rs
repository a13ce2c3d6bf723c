//! What the workers were promised, and whether a store holds it.

use std::collections::{BTreeMap, BTreeSet};

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
    /// COPY and MOVE of a message that the server did not find; whether it is lost, the end shows.
    pub(super) unseen: u64,
    /// Bodies of messages, and Message-IDs of deliveries, that were in hand when a server died.
    pub(super) uncertain: BTreeSet<String>,
    /// Bodies and Message-IDs of all that the worker ever put there.
    pub(super) ever: BTreeSet<String>,
    pub(super) broken: Vec<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Mine {
    pub(super) body: String,
    pub(super) marked: bool,
}

/// Compares what a server shows with what was promised. A message that has another UID than it was promised is told once,
/// in `renumbered`; everything else that is not as it should be in `broken`.
pub(super) fn check(
    who: &str,
    shown: &Shown,
    ledgers: &[Ledger],
    foreign: &Foreign,
    broken: &mut Vec<String>,
    renumbered: &mut BTreeSet<String>,
) {
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
            match lost.remove(&(name, &message.body)) {
                Some((old, number)) => {
                    let whose = if ledgers.get(number).is_some_and(|l| l.is_dovecots) { "Dovecot" } else { "Culver" };
                    // Every server tells of it.
                    renumbered.insert(format!("{name}: UID {old} of worker {number} ({whose}'s) is {uid} now"));
                }
                None => {
                    let had = |ledger: &Ledger| names.iter().flatten().any(|name| ledger.ever.contains(*name));
                    let whose = ledgers.iter().position(had);
                    let whose = whose.map_or_else(String::new, |number| format!(" of worker {number}"));
                    broken.push(format!("{who}: {name}: UID {uid}{whose} is nobody's, or there twice"));
                }
            }
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

    /// What is broken, and what has another UID.
    fn found(promised: &[(u32, &str)], there: &[(u32, &str)]) -> (usize, usize) {
        let mine = |body: &str| Mine { body: body.to_owned(), marked: false };
        let messages = promised.iter().map(|(uid, body)| (("Shared".to_owned(), *uid), mine(body))).collect();
        let ledgers = [Ledger { messages, ..Ledger::default() }];
        let (mut broken, mut renumbered) = (Vec::new(), BTreeSet::new());
        check("x", &shown(there), &ledgers, &Foreign::default(), &mut broken, &mut renumbered);
        (broken.len(), renumbered.len())
    }

    #[test]
    fn another_uid_is_told_once_and_what_is_lost_is_lost() {
        assert_eq!(found(&[(1, "a"), (2, "b")], &[(1, "a"), (2, "b")]), (0, 0));
        assert_eq!(found(&[(1, "a"), (2, "b")], &[(1, "a"), (5, "b")]), (0, 1));
        assert_eq!(found(&[(1, "a"), (2, "b")], &[(1, "a"), (5, "c")]), (2, 0));
        assert_eq!(found(&[(1, "a"), (2, "a")], &[(5, "a"), (6, "a")]), (2, 1));
        assert_eq!(found(&[(1, "a"), (2, "a")], &[(2, "b")]), (2, 0));
    }
}
