//! Splitting a transaction by UIDs, so that each piece says all there is to say about its messages.

use std::ops::RangeInclusive;

use mailtypes::{Uid, UidSet};

use super::{ExtensionChanges, FlagRecord, KeywordChange, Transaction};

impl Transaction {
    /// The piece about UIDs below `at`, with everything that stands ahead of the messages, and the piece about the
    /// others, with everything behind.
    pub(super) fn split(self, at: Uid) -> (Self, Self) {
        let below = Uid::new(at.value() - 1);
        let mut first = match below {
            Some(below) => self.restricted(Uid::MIN..=below),
            None => Self::default(),
        };
        let mut second = self.restricted(at..=Uid::MAX);
        first.undelete = self.undelete;
        first.header_before = self.header_before;
        first.attributes = self.attributes;
        let mut extensions = self.extensions;
        extensions.retain(ExtensionChanges::has_prologue);
        for mut prologue in extensions {
            prologue.records = Vec::new();
            prologue.increments = Vec::new();
            let same = |e: &&mut ExtensionChanges| {
                e.spec == prologue.spec && e.generation == prologue.generation && e.origin == prologue.origin
            };
            match first.extensions.iter_mut().find(same) {
                Some(there) => {
                    prologue.records = std::mem::take(&mut there.records);
                    prologue.increments = std::mem::take(&mut there.increments);
                    *there = prologue;
                }
                None => first.extensions.push(prologue),
            }
        }
        second.header_after = self.header_after;
        second.min_modseq = self.min_modseq;
        second.delete = self.delete;
        (first, second)
    }

    fn restricted(&self, range: RangeInclusive<Uid>) -> Self {
        let window = UidSet::from(range.clone());
        let flags = self.flags.iter().filter_map(|record| {
            let entries = record.entries.iter().map(|(change, uids)| (*change, uids.intersection(&window)));
            let entries: Vec<_> = entries.filter(|(_, uids)| !uids.is_empty()).collect();
            let uids = record.uids.intersection(&window);
            (!entries.is_empty()).then_some(FlagRecord { origin: record.origin, entries, uids })
        });
        let keywords = self.keywords.iter().map(|change| KeywordChange {
            origin: change.origin,
            what: change.what.clone(),
            uids: change.uids.intersection(&window),
        });
        let extensions = self.extensions.iter().map(|e| ExtensionChanges {
            spec: e.spec,
            generation: e.generation,
            origin: e.origin,
            intro: false,
            reset: None,
            header: Vec::new(),
            records: e.records.iter().filter(|(uid, _)| range.contains(uid)).cloned().collect(),
            increments: e.increments.iter().filter(|(uid, _)| range.contains(uid)).copied().collect(),
        });
        Self {
            appends_origin: self.appends_origin,
            appends: self.appends.iter().filter(|(uid, _)| range.contains(uid)).copied().collect(),
            flags: flags.collect(),
            keywords: keywords.filter(|change| !change.uids.is_empty()).collect(),
            extensions: extensions.filter(|e| !e.is_empty()).collect(),
            modseqs: self.modseqs.iter().filter(|(uid, _)| range.contains(uid)).copied().collect(),
            expunge_requests: self.expunge_requests.intersection(&window),
            expunges: self.expunges.iter().filter(|(uid, _)| range.contains(uid)).copied().collect(),
            ..Self::default()
        }
    }

    /// A UID that has about as much written before it as behind; `None` if all is about one.
    pub(super) fn middle(&self) -> Option<Uid> {
        let mut starts: Vec<Uid> = Vec::new();
        let mut add_set = |set: &UidSet| starts.extend(set.ranges().map(|range| *range.start()));
        self.flags.iter().for_each(|record| add_set(&record.uids));
        self.keywords.iter().for_each(|change| add_set(&change.uids));
        add_set(&self.expunge_requests);
        starts.extend(self.appends.iter().map(|(uid, _)| *uid));
        starts.extend(self.modseqs.iter().map(|(uid, _)| *uid));
        starts.extend(self.expunges.iter().map(|(uid, _)| *uid));
        for extension in &self.extensions {
            starts.extend(extension.records.iter().map(|(uid, _)| *uid));
            starts.extend(extension.increments.iter().map(|(uid, _)| *uid));
        }
        starts.sort_unstable();
        let middle = *starts.get(starts.len() / 2)?;
        // Splitting at the very first would leave one piece as it is.
        if Some(&middle) == starts.first() { starts.into_iter().find(|&uid| uid > middle) } else { Some(middle) }
    }
}
