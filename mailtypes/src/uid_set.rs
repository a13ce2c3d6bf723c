//! A set of UIDs as sorted ranges.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use crate::Uid;

/// A set of UIDs, kept as ascending ranges that neither touch nor overlap. A mailbox without holes costs one range.
#[derive(Clone, Default, Eq, Hash, PartialEq)]
pub struct UidSet {
    ranges: Vec<(u32, u32)>,
}

impl UidSet {
    /// The empty set.
    pub const fn new() -> Self {
        Self { ranges: Vec::new() }
    }

    /// Whether no UID is in it.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// How many UIDs are in it.
    pub fn count(&self) -> u64 {
        self.ranges.iter().map(|&(first, last)| u64::from(last - first) + 1).sum()
    }

    /// How many ranges it takes to write it down.
    pub fn range_count(&self) -> usize {
        self.ranges.len()
    }

    /// Adds one UID. Constant time when it is the largest so far.
    pub fn insert(&mut self, uid: Uid) {
        self.insert_range(uid..=uid);
    }

    /// Adds a range; an empty one (first > last) adds nothing. Constant time at the end, else linear in the ranges
    /// that move.
    pub fn insert_range(&mut self, range: RangeInclusive<Uid>) {
        let (first, last) = (range.start().value(), range.end().value());
        if first > last {
            return;
        }
        // The ranges from `at` on reach up to `first - 1` or further; those before `to` start at `last + 1` or earlier.
        let at = self.ranges.partition_point(|&(_, end)| end < first - 1);
        let to = self.ranges.partition_point(|&(start, _)| start <= last.saturating_add(1));
        if at >= to {
            self.ranges.insert(at, (first, last));
            return;
        }
        let merged = self.ranges[at..to].iter().fold((first, last), |(a, b), &(c, d)| (a.min(c), b.max(d)));
        self.ranges.splice(at..to, [merged]);
    }

    /// Takes one UID out. Linear in the ranges that move.
    pub fn remove(&mut self, uid: Uid) {
        let n = uid.value();
        let at = self.ranges.partition_point(|&(_, end)| end < n);
        let Some(&(first, last)) = self.ranges.get(at).filter(|&&(first, _)| first <= n) else { return };
        let left = (first < n).then(|| (first, n - 1));
        let right = (n < last).then(|| (n + 1, last));
        self.ranges.splice(at..=at, left.into_iter().chain(right));
    }

    /// Whether the UID is in it. Logarithmic.
    pub fn contains(&self, uid: Uid) -> bool {
        let n = uid.value();
        let at = self.ranges.partition_point(|&(_, end)| end < n);
        self.ranges.get(at).is_some_and(|&(first, _)| first <= n)
    }

    /// How many of its UIDs are smaller than `uid`. Linear in the ranges before it.
    pub fn count_below(&self, uid: Uid) -> u64 {
        let n = uid.value();
        let below = self.ranges.iter().take_while(|&&(first, _)| first < n);
        below.map(|&(first, last)| u64::from(last.min(n - 1) - first) + 1).sum()
    }

    /// The smallest.
    pub fn first(&self) -> Option<Uid> {
        self.ranges.first().and_then(|&(first, _)| Uid::new(first))
    }

    /// The largest.
    pub fn last(&self) -> Option<Uid> {
        self.ranges.last().and_then(|&(_, last)| Uid::new(last))
    }

    /// The ranges, ascending.
    pub fn ranges(&self) -> UidRanges<'_> {
        UidRanges { ranges: self.ranges.iter() }
    }

    /// The UIDs, ascending. A set given by a client may name four thousand million: bound the walk by what exists.
    pub fn iter(&self) -> Uids<'_> {
        Uids { ranges: self.ranges.iter(), now: None }
    }

    /// The UIDs of both. Linear in the ranges.
    pub fn union(&self, other: &Self) -> Self {
        let (mut a, mut b) = (self.ranges.as_slice(), other.ranges.as_slice());
        let mut ranges: Vec<(u32, u32)> = Vec::with_capacity(a.len().max(b.len()));
        loop {
            let from_a = match (a.first(), b.first()) {
                (Some(a), Some(b)) => a.0 <= b.0,
                (a, _) => a.is_some(),
            };
            let side = if from_a { &mut a } else { &mut b };
            let Some((&(first, last), rest)) = side.split_first() else { return Self { ranges } };
            *side = rest;
            match ranges.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => ranges.push((first, last)),
            }
        }
    }

    /// The UIDs that both have. Linear in the ranges.
    pub fn intersection(&self, other: &Self) -> Self {
        let (mut a, mut b) = (self.ranges.as_slice(), other.ranges.as_slice());
        let mut ranges = Vec::new();
        while let (Some((&(a1, a2), a_rest)), Some((&(b1, b2), b_rest))) = (a.split_first(), b.split_first()) {
            if a1.max(b1) <= a2.min(b2) {
                ranges.push((a1.max(b1), a2.min(b2)));
            }
            if a2 < b2 { a = a_rest } else { b = b_rest }
        }
        Self { ranges }
    }

    /// Those of `self` that are not in `other`.
    pub fn difference(&self, other: &Self) -> Self {
        let mut ranges = Vec::new();
        let mut holes = other.ranges.as_slice();
        for &(first, last) in &self.ranges {
            let mut start = Some(first);
            while let (Some(from), Some((&(hole_first, hole_last), rest))) = (start, holes.split_first()) {
                if hole_first > last {
                    break;
                }
                if hole_last >= from {
                    if hole_first > from {
                        ranges.push((from, hole_first - 1));
                    }
                    start = hole_last.checked_add(1).filter(|&next| next <= last);
                }
                if hole_last > last {
                    break;
                }
                holes = rest;
            }
            if let Some(from) = start {
                ranges.push((from, last));
            }
        }
        Self { ranges }
    }
}

/// The ranges of a [`UidSet`], ascending.
#[derive(Clone, Debug)]
pub struct UidRanges<'a> {
    ranges: std::slice::Iter<'a, (u32, u32)>,
}

impl Iterator for UidRanges<'_> {
    type Item = RangeInclusive<Uid>;
    fn next(&mut self) -> Option<Self::Item> {
        let &(first, last) = self.ranges.next()?;
        Some(Uid::new(first)?..=Uid::new(last)?)
    }
}

/// The UIDs of a [`UidSet`], ascending.
#[derive(Clone, Debug)]
pub struct Uids<'a> {
    ranges: std::slice::Iter<'a, (u32, u32)>,
    now: Option<(u32, u32)>,
}

impl Iterator for Uids<'_> {
    type Item = Uid;
    fn next(&mut self) -> Option<Uid> {
        let (first, last) = match self.now.take() {
            Some(now) => now,
            None => *self.ranges.next()?,
        };
        self.now = (first < last).then(|| (first + 1, last));
        Uid::new(first)
    }
}

impl FromIterator<Uid> for UidSet {
    fn from_iter<I: IntoIterator<Item = Uid>>(uids: I) -> Self {
        let mut set = Self::new();
        set.extend(uids);
        set
    }
}

impl Extend<Uid> for UidSet {
    fn extend<I: IntoIterator<Item = Uid>>(&mut self, uids: I) {
        uids.into_iter().for_each(|uid| self.insert(uid));
    }
}

impl From<Uid> for UidSet {
    fn from(uid: Uid) -> Self {
        Self::from(uid..=uid)
    }
}

impl From<RangeInclusive<Uid>> for UidSet {
    fn from(range: RangeInclusive<Uid>) -> Self {
        let mut set = Self::new();
        set.insert_range(range);
        set
    }
}

impl fmt::Display for UidSet {
    /// As IMAP's `uid-set`: `1,3:5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, &(first, last)) in self.ranges.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            if first == last { write!(f, "{comma}{first}")? } else { write!(f, "{comma}{first}:{last}")? }
        }
        Ok(())
    }
}

/// Not a set of UIDs as it is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a set of UIDs is written as numbers and ranges with commas between them, such as 1,3:5")]
pub struct InvalidUidSet;

impl FromStr for UidSet {
    type Err = InvalidUidSet;

    /// Reads what `Display` writes; ranges in any order, their ends too. No `*`: see [`SequenceSet`](crate::SequenceSet).
    fn from_str(text: &str) -> Result<Self, InvalidUidSet> {
        let uid = |digits: &str| {
            let are_digits = digits.bytes().all(|b| b.is_ascii_digit());
            digits.parse().ok().filter(|_| are_digits).and_then(Uid::new).ok_or(InvalidUidSet)
        };
        let mut set = Self::new();
        for range in text.split(',').filter(|_| !text.is_empty()) {
            let (first, last) = range.split_once(':').unwrap_or((range, range));
            let (first, last) = (uid(first)?, uid(last)?);
            set.insert_range(first.min(last)..=first.max(last));
        }
        Ok(set)
    }
}

impl fmt::Debug for UidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{self}}}")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn uid(n: u32) -> Uid {
        Uid::new(n).unwrap()
    }

    #[test]
    fn ends_of_the_number_range() {
        let mut set = UidSet::new();
        set.insert(Uid::MAX);
        set.insert(uid(u32::MAX - 1));
        set.insert(Uid::MIN);
        assert_eq!(set.to_string(), "1,4294967294:4294967295");
        assert_eq!(set.difference(&UidSet::from(uid(2)..=Uid::MAX)).to_string(), "1");
        set.remove(Uid::MAX);
        assert_eq!(set.last(), Uid::new(u32::MAX - 1));
        assert_eq!(set.iter().count(), 2);
    }

    #[test]
    fn written_sets_are_read() {
        let read = |text: &str| text.parse::<UidSet>().map(|set| set.to_string());
        assert_eq!(read("7,3:5,9:8,4"), Ok("3:5,7:9".to_owned()));
        assert_eq!(read("4294967295"), Ok("4294967295".to_owned()));
        assert_eq!(read(""), Ok(String::new()));
        for bad in ["0", "*", "1:", ":", "1,", ",1", "+1", " 1", "1:2:3", "4294967296", "1;2"] {
            assert_eq!(read(bad), Err(InvalidUidSet), "{bad}");
        }
        assert_eq!(UidSet::from(uid(7)).to_string(), "7");
    }

    #[test]
    fn unions_of_sets_that_interleave() {
        let every_other = |from: u32| (from..400_000).step_by(4).map(uid).collect::<UidSet>();
        assert_eq!(every_other(1).union(&every_other(3)).range_count(), 200_000);
        let (even, odd): (Vec<_>, Vec<_>) = (1..=100_000).map(uid).partition(|uid| uid.value() % 2 == 0);
        let (even, odd): (UidSet, UidSet) = (even.into_iter().collect(), odd.into_iter().collect());
        assert_eq!(even.union(&odd).to_string(), "1:100000");
        let end = UidSet::from(uid(9)..=Uid::MAX);
        assert_eq!(end.union(&UidSet::from(Uid::MAX)), end);
        assert_eq!(UidSet::new().union(&end), end);
    }

    fn sets() -> impl Strategy<Value = Vec<(bool, u32, u32)>> {
        prop::collection::vec((any::<bool>(), 1u32..60, 0u32..8), 0..40)
    }

    fn build(ops: &[(bool, u32, u32)]) -> (UidSet, BTreeSet<u32>) {
        let (mut set, mut model) = (UidSet::new(), BTreeSet::new());
        for &(add, n, more) in ops {
            if add {
                set.insert_range(uid(n)..=uid(n + more));
                model.extend(n..=n + more);
            } else {
                set.remove(uid(n));
                model.remove(&n);
            }
        }
        (set, model)
    }

    proptest! {
        #[test]
        fn behaves_like_a_set_of_numbers(a in sets(), b in sets(), probe in 1u32..70) {
            let ((a, a_model), (b, b_model)) = (build(&a), build(&b));
            let numbers = |set: &UidSet| set.iter().map(Uid::value).collect::<Vec<_>>();
            prop_assert_eq!(numbers(&a), a_model.iter().copied().collect::<Vec<_>>());
            prop_assert!(a.ranges.windows(2).all(|w| w[0].1 + 1 < w[1].0), "ranges touch: {:?}", a);
            prop_assert_eq!(a.count(), a_model.len() as u64);
            prop_assert_eq!(a.contains(uid(probe)), a_model.contains(&probe));
            prop_assert_eq!(a.count_below(uid(probe)), a_model.range(..probe).count() as u64);
            let union = a.union(&b);
            prop_assert_eq!(numbers(&union), a_model.union(&b_model).copied().collect::<Vec<_>>());
            prop_assert!(union.ranges.windows(2).all(|w| w[0].1 + 1 < w[1].0), "ranges touch: {:?}", union);
            prop_assert_eq!(union.to_string().parse::<UidSet>(), Ok(union));
            prop_assert_eq!(numbers(&a.intersection(&b)), a_model.intersection(&b_model).copied().collect::<Vec<_>>());
            prop_assert_eq!(numbers(&a.difference(&b)), a_model.difference(&b_model).copied().collect::<Vec<_>>());
        }
    }
}
