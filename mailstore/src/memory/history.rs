//! What happened to a mailbox, as far back as memory goes: the change feed.

use std::collections::VecDeque;

use mailtypes::{ModSeq, UidSet};

/// Change records kept of one mailbox; older ones are forgotten, and positions before them are too old.
pub(super) const HISTORY_LEN_MAX: usize = 16 * 1024;

/// What a change record did.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Append,
    Flags,
    Expunge,
}

/// One change record.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) modseq: ModSeq,
    pub(super) kind: Kind,
    pub(super) uids: UidSet,
}

#[derive(Debug)]
pub(super) struct History {
    events: VecDeque<Event>,
    /// Everything after this mod-sequence is known.
    reaches_back_to: ModSeq,
}

/// What changed in sum: a message that came and went between is in neither set.
#[derive(Debug, Default)]
pub(super) struct Sum {
    pub(super) appended: UidSet,
    pub(super) flags: UidSet,
    pub(super) expunged: UidSet,
}

impl History {
    pub(super) fn new() -> Self {
        Self { events: VecDeque::new(), reaches_back_to: ModSeq::MIN }
    }

    /// One that begins with this mod-sequence.
    pub(super) fn from(modseq: ModSeq) -> Self {
        Self { events: VecDeque::new(), reaches_back_to: modseq }
    }

    pub(super) fn push(&mut self, event: Event) {
        self.events.push_back(event);
        while self.events.len() > HISTORY_LEN_MAX {
            if let Some(event) = self.events.pop_front() {
                self.reaches_back_to = event.modseq;
            }
        }
    }

    /// All that has a larger mod-sequence; `None` where memory does not go back that far.
    pub(super) fn since(&self, modseq: ModSeq) -> Option<Sum> {
        if modseq < self.reaches_back_to {
            return None;
        }
        let mut sum = Sum::default();
        let start = self.events.partition_point(|event| event.modseq <= modseq);
        for event in self.events.range(start..) {
            match event.kind {
                Kind::Append => sum.appended = sum.appended.union(&event.uids),
                Kind::Flags => sum.flags = sum.flags.union(&event.uids.difference(&sum.appended)),
                Kind::Expunge => {
                    sum.expunged = sum.expunged.union(&event.uids.difference(&sum.appended));
                    sum.appended = sum.appended.difference(&event.uids);
                    sum.flags = sum.flags.difference(&event.uids);
                }
            }
        }
        Some(sum)
    }
}

#[cfg(test)]
mod tests {
    use mailtypes::Uid;

    use super::*;

    fn event(modseq: u64, kind: Kind, uid: u32) -> Event {
        Event { modseq: ModSeq::new(modseq).unwrap(), kind, uids: Uid::new(uid).into_iter().collect() }
    }

    #[test]
    fn a_forgotten_past_is_too_old() {
        let mut history = History::new();
        for n in 0..HISTORY_LEN_MAX as u64 + 3 {
            history.push(event(n + 2, Kind::Flags, 1));
        }
        assert!(history.since(ModSeq::new(3).unwrap()).is_none());
        assert!(history.since(ModSeq::new(4).unwrap()).is_some(), "records 2, 3 and 4 were dropped, 5 is there");
    }

    #[test]
    fn what_came_and_went_is_in_neither_set() {
        let mut history = History::new();
        history.push(event(2, Kind::Append, 1));
        history.push(event(3, Kind::Append, 2));
        history.push(event(4, Kind::Flags, 1));
        history.push(event(5, Kind::Expunge, 2));
        let sum = history.since(ModSeq::new(2).unwrap()).unwrap();
        let shown = [&sum.appended, &sum.flags, &sum.expunged].map(UidSet::to_string);
        assert_eq!(shown, ["", "1", ""]);
    }
}
