//! Flags that the client of a selected mailbox knows without being told: those it set itself.

use mailtypes::{Uid, UidSet};

use crate::selected::FlagsDigest;

/// Flags by message. Put in and looked up in order of UID, which costs next to nothing; any other order is possible.
#[derive(Debug, Default)]
pub(crate) struct KnownFlags {
    /// Sorted by UID as far as `is_sorted` says. Of entries with one UID the last counts.
    entries: Vec<(Uid, FlagsDigest)>,
    is_unsorted: bool,
    /// Where the next lookup is likely to find its message.
    next: usize,
}

impl KnownFlags {
    pub(crate) fn insert(&mut self, uid: Uid, flags: FlagsDigest) {
        if self.is_unsorted && self.entries.len() == self.entries.capacity() {
            // Whatever is put in again and again takes room once.
            self.sort();
        }
        self.is_unsorted |= self.entries.last().is_some_and(|(last, _)| *last >= uid);
        self.entries.push((uid, flags));
    }

    fn sort(&mut self) {
        if std::mem::take(&mut self.is_unsorted) {
            self.entries.sort_by_key(|(uid, _)| *uid);
            // Keeps the former of two: it takes over from the latter first.
            self.entries.dedup_by(|later, kept| {
                let is_same = later.0 == kept.0;
                if is_same {
                    kept.1 = later.1;
                }
                is_same
            });
            self.next = 0;
        }
    }

    /// The flags of a message, if the client knows them.
    pub(crate) fn get(&mut self, uid: Uid) -> Option<FlagsDigest> {
        self.sort();
        let at = match self.entries.get(self.next) {
            Some((next, _)) if *next == uid => self.next,
            _ => self.entries.binary_search_by_key(&uid, |(uid, _)| *uid).ok()?,
        };
        self.next = at + 1;
        self.entries.get(at).map(|(_, flags)| *flags)
    }

    /// Forgets some messages.
    pub(crate) fn forget(&mut self, uids: &UidSet) {
        if !uids.is_empty() {
            self.entries.retain(|(uid, _)| !uids.contains(*uid));
            self.next = 0;
        }
    }

    /// Forgets everything, and gives the memory back.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use mailtypes::Flags;
    use proptest::prelude::*;

    use super::*;

    fn digest(number: u8) -> FlagsDigest {
        FlagsDigest::of(Flags::from_bits(number), [])
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, rng_seed: prop::test_runner::RngSeed::Fixed(7162), ..Default::default() })]

        #[test]
        fn it_is_a_map(steps in prop::collection::vec((0u8..4, 1u32..30, 0u8..32), 0..100)) {
            let (mut known, mut map) = (KnownFlags::default(), BTreeMap::new());
            for (step, number, flags) in steps {
                let uid = Uid::new(number).unwrap();
                match step {
                    0 | 1 => {
                        known.insert(uid, digest(flags));
                        map.insert(uid, digest(flags));
                    }
                    2 => prop_assert_eq!(known.get(uid), map.get(&uid).copied()),
                    _ => {
                        let uids: UidSet = (number..number + 5).filter_map(Uid::new).collect();
                        known.forget(&uids);
                        map.retain(|uid, _| !uids.contains(*uid));
                    }
                }
            }
            for number in 1..40 {
                let uid = Uid::new(number).unwrap();
                prop_assert_eq!(known.get(uid), map.get(&uid).copied());
            }
        }
    }
}
