//! Changes of flags and keywords, gathered so that many small calls become few records.

use mailtypes::{Keyword, Uid, UidSet};

use super::{FlagChange, KeywordAction, Transaction};
use crate::log::Origin;

/// Entries of one FLAG_UPDATE record; no UID stands in two of them.
#[derive(Clone, Debug)]
pub(super) struct FlagRecord {
    pub(super) origin: Origin,
    pub(super) entries: Vec<(FlagChange, UidSet)>,
    pub(super) uids: UidSet,
}

/// One KEYWORD_UPDATE or KEYWORD_RESET record.
#[derive(Clone, Debug)]
pub(super) struct KeywordChange {
    pub(super) origin: Origin,
    /// `None`: all keywords are removed.
    pub(super) what: Option<(KeywordAction, Keyword)>,
    pub(super) uids: UidSet,
}

/// How many records back a keyword change looks for one that it can join.
const JOIN_DEPTH: usize = 64;

impl Transaction {
    /// Changes flags of messages. Later calls see the result of earlier ones.
    pub fn flags(&mut self, uids: &UidSet, change: FlagChange, origin: Origin) {
        if uids.is_empty() {
            return;
        }
        let joins = |record: &&mut FlagRecord| record.origin == origin && disjoint(&record.uids, uids);
        match self.flags.last_mut().filter(joins) {
            Some(record) => {
                record.uids = merged(std::mem::take(&mut record.uids), uids);
                match record.entries.iter_mut().rev().take(JOIN_DEPTH).find(|(other, _)| *other == change) {
                    Some((_, set)) => *set = merged(std::mem::take(set), uids),
                    None => record.entries.push((change, uids.clone())),
                }
            }
            None => {
                let entries = vec![(change, uids.clone())];
                self.flags.push(FlagRecord { origin, entries, uids: uids.clone() });
            }
        }
    }

    /// Sets or removes a keyword.
    pub fn keyword(&mut self, action: KeywordAction, keyword: &Keyword, uids: &UidSet, origin: Origin) {
        self.put_keyword(KeywordChange { origin, what: Some((action, keyword.clone())), uids: uids.clone() });
    }

    /// Removes all keywords.
    pub fn keyword_reset(&mut self, uids: &UidSet, origin: Origin) {
        self.put_keyword(KeywordChange { origin, what: None, uids: uids.clone() });
    }

    fn put_keyword(&mut self, change: KeywordChange) {
        if change.uids.is_empty() {
            return;
        }
        // It may join an earlier record if nothing between them speaks of the same keyword.
        let name = |what: &Option<(KeywordAction, Keyword)>| what.as_ref().map(|(_, keyword)| keyword.clone());
        for earlier in self.keywords.iter_mut().rev().take(JOIN_DEPTH) {
            if earlier.what == change.what && earlier.origin == change.origin {
                earlier.uids = merged(std::mem::take(&mut earlier.uids), &change.uids);
                return;
            }
            if earlier.what.is_none() || change.what.is_none() || name(&earlier.what) == name(&change.what) {
                break;
            }
        }
        self.keywords.push(change);
    }
}

/// The union, in constant time where `more` is one range behind the others.
fn merged(mut set: UidSet, more: &UidSet) -> UidSet {
    if more.range_count() == 1 {
        more.ranges().for_each(|range| set.insert_range(range));
        return set;
    }
    set.union(more)
}

fn disjoint(a: &UidSet, b: &UidSet) -> bool {
    if a.last() < b.first() || b.last() < a.first() {
        return true;
    }
    if b.range_count() == 1 {
        let inside = |uid: Option<Uid>| uid.is_some_and(|uid| a.contains(uid));
        // One UID is looked up; a longer range is compared with all.
        if b.first() == b.last() {
            return !inside(b.first());
        }
    }
    a.intersection(b).is_empty()
}
