//! What the log asks for and nobody has carried out yet (`docs/formats/log.md`, "Internal against external").

use std::{collections::BTreeMap, sync::Arc};

use mailtypes::UidSet;

/// Requests about flags that are told from each other; those beyond are taken for one.
const FLAG_REQUESTS_MAX: usize = 4096;

/// What internal records ask about flags. What they say of it is what the state says; what they do not speak of is
/// as it was.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum FlagRequest {
    /// These bits of [`RecordFlags`](super::RecordFlags).
    Flags(u8),
    /// The keyword of this name, as spelled in the log.
    Keyword(Arc<[u8]>),
    /// All keywords.
    Keywords,
    /// Anything.
    All,
}

/// Internal records at or after the tail.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pending {
    /// Expunge requests: where the record begins, and which UIDs.
    expunges: Vec<(u32, UidSet)>,
    /// First and last offset of other internal records; after the tail has moved between them the first is a bound.
    others: Option<(u32, u32)>,
    /// Changes of flags and keywords among those: where the record begins, which UIDs, and what about them.
    flags: Vec<(u32, UidSet, FlagRequest)>,
}

impl Pending {
    pub(crate) fn request_expunge(&mut self, offset: u32, uids: UidSet) {
        self.expunges.push((offset, uids));
    }

    pub(crate) fn note(&mut self, offset: u32) {
        let (first, last) = self.others.unwrap_or((offset, offset));
        self.others = Some((first.min(offset), last.max(offset)));
    }

    pub(crate) fn request_flags(&mut self, offset: u32, uids: UidSet, what: FlagRequest) {
        if self.flags.len() < FLAG_REQUESTS_MAX {
            self.flags.push((offset, uids, what));
        } else if let Some(last) = self.flags.last_mut() {
            // Whoever carried out the earlier ones of these does so again, which does no harm.
            *last = (offset, last.1.union(&uids), FlagRequest::All);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.expunges.is_empty() && self.others.is_none()
    }

    /// Whether anything but expunges is asked for.
    pub(crate) fn has_others(&self) -> bool {
        self.others.is_some()
    }

    /// Everything before `tail` has been carried out.
    pub(crate) fn move_tail(&mut self, tail: u32) {
        self.expunges.retain(|&(offset, _)| offset >= tail);
        self.others = self.others.filter(|&(_, last)| last >= tail).map(|(first, last)| (first.max(tail), last));
        self.flags.retain(|&(offset, ..)| offset >= tail);
        if self.others.is_none() {
            self.flags.clear();
        }
    }

    /// The log goes on in a new file: what is left counts from its beginning.
    pub(crate) fn enter_file(&mut self, start: u32) {
        self.expunges.iter_mut().for_each(|(offset, _)| *offset = start);
        self.others = self.others.map(|_| (start, start));
        self.flags.iter_mut().for_each(|(offset, ..)| *offset = start);
    }

    pub(crate) fn first_offset(&self) -> Option<u32> {
        let expunge = self.expunges.iter().map(|&(offset, _)| offset).min();
        expunge.into_iter().chain(self.others.map(|(first, _)| first)).min()
    }

    pub(crate) fn requested_expunges(&self) -> UidSet {
        united(self.expunges.iter().map(|(_, uids)| uids))
    }

    /// What records from `offset` on ask about flags, and of which messages; each thing once.
    pub(crate) fn flag_requests(&self, offset: u32) -> Vec<(FlagRequest, UidSet)> {
        let mut by_request: BTreeMap<&FlagRequest, Vec<&UidSet>> = BTreeMap::new();
        for (_, uids, what) in self.flags.iter().filter(|(at, ..)| *at >= offset) {
            by_request.entry(what).or_default().push(uids);
        }
        by_request.into_iter().map(|(what, sets)| (what.clone(), united(sets.into_iter()))).collect()
    }
}

fn united<'a>(sets: impl Iterator<Item = &'a UidSet>) -> UidSet {
    let mut ranges: Vec<_> = sets.flat_map(UidSet::ranges).collect();
    ranges.sort_unstable_by_key(|range| *range.start());
    let mut set = UidSet::new();
    ranges.into_iter().for_each(|range| set.insert_range(range));
    set
}
