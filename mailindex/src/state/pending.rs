//! What the log asks for and nobody has carried out yet (`docs/formats/log.md`, "Internal against external").

use mailtypes::UidSet;

/// Internal records at or after the tail.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pending {
    /// Expunge requests: where the record begins, and which UIDs.
    expunges: Vec<(u32, UidSet)>,
    /// First and last offset of other internal records; after the tail has moved between them the first is a bound.
    others: Option<(u32, u32)>,
}

impl Pending {
    pub(crate) fn request_expunge(&mut self, offset: u32, uids: UidSet) {
        self.expunges.push((offset, uids));
    }

    pub(crate) fn note(&mut self, offset: u32) {
        let (first, last) = self.others.unwrap_or((offset, offset));
        self.others = Some((first.min(offset), last.max(offset)));
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
    }

    /// The log goes on in a new file: what is left counts from its beginning.
    pub(crate) fn enter_file(&mut self, start: u32) {
        self.expunges.iter_mut().for_each(|(offset, _)| *offset = start);
        self.others = self.others.map(|_| (start, start));
    }

    pub(crate) fn first_offset(&self) -> Option<u32> {
        let expunge = self.expunges.iter().map(|&(offset, _)| offset).min();
        expunge.into_iter().chain(self.others.map(|(first, _)| first)).min()
    }

    pub(crate) fn requested_expunges(&self) -> UidSet {
        let mut ranges: Vec<_> = self.expunges.iter().flat_map(|(_, uids)| uids.ranges()).collect();
        ranges.sort_unstable_by_key(|range| *range.start());
        let mut set = UidSet::new();
        ranges.into_iter().for_each(|range| set.insert_range(range));
        set
    }
}
