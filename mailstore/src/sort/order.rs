//! Messages in the order of one text, kept so that the next sort by it reads no text but those of messages that came since.
//!
//! A message never changes, so an order holds for good; it can only lack messages. Dovecot keeps the same numbers in its index
//! (`sort-s` and its siblings, `docs/formats/index.md`).

use std::{collections::BTreeMap, sync::Arc};

use mailtypes::{SortCriterion, SortKey, Uid, UidSet};

use super::keys::{Keys, SORT_KEY_LEN_MAX};
use crate::traits::{Cursor, Result, Rows, ScanBudget, View};

/// So few messages are not worth an order.
pub(super) const ORDER_LEN_MIN: usize = 256;

/// So many messages at most get their places in an order that is there: each costs reading some fifteen others.
const INSERT_MAX: u64 = 64;

/// Numbers that grow with the text, equal for messages whose texts are equal.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SortOrder {
    /// Ascending by UID.
    by_uid: Vec<(Uid, u32)>,
}

impl SortOrder {
    /// Of these numbers; a message that is there twice has its first.
    pub fn new(mut by_uid: Vec<(Uid, u32)>) -> Self {
        by_uid.sort_by_key(|(uid, _)| *uid);
        by_uid.dedup_by_key(|(uid, _)| *uid);
        Self { by_uid }
    }

    /// How many messages have their places.
    pub fn len(&self) -> usize {
        self.by_uid.len()
    }

    /// Whether no message has.
    pub fn is_empty(&self) -> bool {
        self.by_uid.is_empty()
    }

    /// The number of a message.
    pub fn rank(&self, uid: Uid) -> Option<u32> {
        let at = self.by_uid.binary_search_by_key(&uid, |(uid, _)| *uid).ok()?;
        self.by_uid.get(at).map(|(_, rank)| *rank)
    }

    /// Which messages have their places.
    fn uids(&self) -> UidSet {
        self.by_uid.iter().map(|(uid, _)| *uid).collect()
    }

    /// One message for each number, in order, of those that are among `shown`.
    fn representatives(&self, shown: &UidSet) -> Vec<(u32, Uid)> {
        let there = self.by_uid.iter().filter(|(uid, _)| shown.contains(*uid));
        let mut all: Vec<(u32, Uid)> = there.map(|(uid, rank)| (*rank, *uid)).collect();
        all.sort_unstable();
        all.dedup_by_key(|(rank, _)| *rank);
        all
    }
}

/// The order of these messages by a text, if there is one that lacks few of them; those get their places.
pub(super) fn order_of(view: &dyn View, key: SortKey, uids: &UidSet) -> Result<Option<Arc<SortOrder>>> {
    let Some(order) = view.sort_order(key) else { return Ok(None) };
    let missing = uids.difference(&order.uids());
    if missing.is_empty() {
        return Ok(Some(order));
    }
    if missing.count() > INSERT_MAX {
        return Ok(None);
    }
    let Some(order) = with_more(view, key, &order, &missing)?.map(Arc::new) else { return Ok(None) };
    view.keep_sort_order(key, &order);
    Ok(Some(order))
}

/// A place before, at or behind a number's.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Slot {
    Before(usize),
    At(usize),
}

/// `None` when a message that was to be compared with has gone just now.
fn with_more(view: &dyn View, key: SortKey, order: &SortOrder, missing: &UidSet) -> Result<Option<SortOrder>> {
    let reps = order.representatives(&view.uids());
    let mut groups: BTreeMap<(Slot, Vec<u8>), Vec<Uid>> = BTreeMap::new();
    for uid in missing.iter() {
        let Some(text) = text_of(view, key, uid)? else { continue };
        let Some(slot) = find_slot(view, key, &reps, &text)? else { return Ok(None) };
        // At a number all texts are the same.
        let text = if matches!(slot, Slot::At(_)) { Vec::new() } else { text };
        groups.entry((slot, text)).or_default().push(uid);
    }
    let ranks: BTreeMap<u32, usize> = reps.iter().enumerate().map(|(at, (rank, _))| (*rank, at)).collect();
    for (uid, rank) in &order.by_uid {
        if let Some(at) = ranks.get(rank) {
            groups.entry((Slot::At(*at), Vec::new())).or_default().push(*uid);
        }
    }
    let mut sorted: Vec<_> = groups.into_iter().collect();
    // Before a number comes in front of it.
    sorted.sort_by(|((a, a_text), _), ((b, b_text), _)| (a.place(), a_text).cmp(&(b.place(), b_text)));
    let numbered = sorted.into_iter().zip(1..).flat_map(|((_, uids), rank)| uids.into_iter().map(move |u| (u, rank)));
    Ok(Some(SortOrder::new(numbered.collect())))
}

impl Slot {
    fn place(self) -> usize {
        match self {
            Self::Before(at) => 2 * at,
            Self::At(at) => 2 * at + 1,
        }
    }
}

fn find_slot(view: &dyn View, key: SortKey, reps: &[(u32, Uid)], text: &[u8]) -> Result<Option<Slot>> {
    let mut range = 0..reps.len();
    while !range.is_empty() {
        let middle = range.start + range.len() / 2;
        let Some((_, uid)) = reps.get(middle) else { break };
        let Some(there) = text_of(view, key, *uid)? else { return Ok(None) };
        match there.as_slice().cmp(text) {
            std::cmp::Ordering::Equal => return Ok(Some(Slot::At(middle))),
            std::cmp::Ordering::Less => range.start = middle + 1,
            std::cmp::Ordering::Greater => range.end = middle,
        }
    }
    Ok(Some(Slot::Before(range.start)))
}

/// What one message is compared by; `None` when it is gone.
fn text_of(view: &dyn View, key: SortKey, uid: Uid) -> Result<Option<Vec<u8>>> {
    let mut keys = Keys::new(&[SortCriterion { key, reverse: false }]);
    let mut rows = Rows::new();
    let one: UidSet = std::iter::once(uid).collect();
    view.scan(&one, Cursor::START, keys.columns(), ScanBudget::default(), &mut rows)?;
    let Some(row) = rows.rows.first().filter(|row| !row.expunged) else { return Ok(None) };
    keys.read(row, &rows)?;
    let mut text = keys.into_texts();
    text.truncate(SORT_KEY_LEN_MAX);
    Ok(Some(text))
}
