//! How much of what was there is there again.

use std::{collections::BTreeSet, fmt};

use super::seen::{Message, Seen};

/// Messages that came back, and what of them.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Count {
    /// Whose body is there, byte for byte.
    pub bodies: u64,
    /// Whose flags are the same.
    pub flags: u64,
    /// Whose keywords are the same.
    pub keywords: u64,
    /// Whose UID and UIDVALIDITY are the same.
    pub uids: u64,
    /// Messages that were not there before.
    pub more: u64,
}

impl Count {
    /// What of `before` is in `after`: a message is the one with its body in its mailbox, with its UID if there are
    /// several; or that of its UID, if no body is its own. Where two bodies changed places, flags and UID may be those of the
    /// message with its UID.
    pub(super) fn of(before: &Seen, after: &Seen) -> Self {
        let mut count = Self::default();
        for (name, old) in &before.mailboxes {
            let Some(new) = after.mailboxes.get(name) else { continue };
            let same_validity = old.uid_validity == new.uid_validity;
            let mut free: BTreeSet<u32> = new.messages.keys().copied().collect();
            let mut pairs: Vec<(u32, &Message, u32, bool)> = Vec::new();
            let mut rest = Vec::new();
            for (uid, message) in &old.messages {
                let at_home = new.messages.get(uid).is_some_and(|m| m.body.is_some() && m.body == message.body);
                if at_home && free.remove(uid) {
                    pairs.push((*uid, message, *uid, true));
                } else {
                    rest.push((*uid, message));
                }
            }
            for (uid, message) in rest {
                let is_it = |at: &u32| new.messages.get(at).is_some_and(|m| m.body.is_some() && m.body == message.body);
                let found = free.iter().copied().find(is_it);
                let found = found.map(|at| (at, true));
                let kept = (same_validity && free.contains(&uid)).then_some((uid, false));
                if let Some((at, has_body)) = found.or(kept) {
                    free.remove(&at);
                    pairs.push((uid, message, at, has_body));
                }
            }
            for (uid, message, at, has_body) in pairs {
                let Some(there) = new.messages.get(&at) else { continue };
                count.bodies += u64::from(has_body);
                let in_place = new.messages.get(&uid).filter(|_| same_validity);
                let any = |is_same: fn(&Message, &Message) -> bool| {
                    is_same(there, message) || in_place.is_some_and(|in_place| is_same(in_place, message))
                };
                count.flags += u64::from(any(|one, other| one.flags == other.flags));
                count.keywords += u64::from(any(|one, other| one.keywords == other.keywords));
                count.uids += u64::from(in_place.is_some());
            }
            count.more += free.len() as u64;
        }
        count
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.bodies += other.bodies;
        self.flags += other.flags;
        self.keywords += other.keywords;
        self.uids += other.uids;
        self.more += other.more;
    }

    /// Whether something of a message is lost here that is not lost there.
    pub fn is_less_than(&self, other: &Self) -> bool {
        self.bodies < other.bodies
            || self.flags < other.flags
            || self.keywords < other.keywords
            || self.uids < other.uids
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bodies, flags, keywords, uids, more } = self;
        write!(f, "{bodies} bodies {flags} flags {keywords} keywords {uids} UIDs {more} more")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interop::damage::seen::Mailbox;

    fn message(body: Option<&str>, flags: &str) -> Message {
        Message { flags: flags.to_owned(), keywords: String::new(), body: body.map(str::to_owned) }
    }

    fn seen(uid_validity: u32, messages: &[(u32, Message)]) -> Seen {
        let mailbox = Mailbox { uid_validity, messages: messages.iter().cloned().collect() };
        Seen { mailboxes: [("INBOX".to_owned(), mailbox)].into() }
    }

    #[test]
    fn messages_are_found_by_body_then_by_uid() {
        let before =
            seen(1, &[(1, message(Some("a"), "S")), (2, message(Some("b"), "S")), (3, message(Some("b"), ""))]);
        assert_eq!(Count::of(&before, &before), Count { bodies: 3, flags: 3, keywords: 3, uids: 3, more: 0 });
        let moved = seen(1, &[(7, message(Some("a"), "S")), (2, message(None, "S")), (9, message(Some("x"), ""))]);
        assert_eq!(Count::of(&before, &moved), Count { bodies: 1, flags: 2, keywords: 2, uids: 1, more: 1 });
        let swapped = [(1, message(Some("b"), "S")), (2, message(Some("a"), "S")), (3, message(Some("b"), ""))];
        assert_eq!(
            Count::of(&before, &seen(1, &swapped)),
            Count { bodies: 3, flags: 3, keywords: 3, uids: 3, more: 0 }
        );
        let anew = seen(5, &[(1, message(Some("a"), "")), (2, message(None, "S"))]);
        assert_eq!(Count::of(&before, &anew), Count { bodies: 1, flags: 0, keywords: 1, uids: 0, more: 1 });
        assert!(Count::of(&before, &anew).is_less_than(&Count::of(&before, &moved)));
    }
}
