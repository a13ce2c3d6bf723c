//! Changes of flags and keywords.

use std::collections::HashMap;

use mailindex::{
    engine::CommitPoint,
    log::{FlagChange as LogFlagChange, KeywordAction, Origin},
    state::{RecordRef, State},
};
use mailtypes::{Flags, Keyword, UidSet};

use crate::traits::{FlagAction, FlagChange};

/// The records of a state that a set names. Linear in the records found and the set's ranges.
pub(crate) fn records<'a>(state: &'a State, uids: &'a UidSet) -> impl Iterator<Item = RecordRef<'a>> {
    uids.ranges().flat_map(move |range| {
        let from = state.count_below(*range.start());
        state.records_from(from).take_while(move |record| record.uid() <= *range.end())
    })
}

/// A change that an earlier item of a batch made: in the transaction already, not in the state yet.
pub(crate) struct Applied {
    change: FlagChange,
    left_alone: UidSet,
}

/// Flags and keywords of a message after what earlier items of its batch did.
pub(crate) fn effective(state: &State, record: &RecordRef<'_>, applied: &[Applied]) -> (Flags, Vec<Keyword>) {
    let names = record.keyword_bits().iter().filter_map(|bit| state.keyword(bit)?.keyword().cloned());
    let (mut flags, mut keywords) = (record.flags(), names.collect::<Vec<_>>());
    let uid = record.uid();
    for Applied { change, .. } in applied.iter().filter(|a| a.change.uids.contains(uid) && !a.left_alone.contains(uid))
    {
        flags = flags_after(flags, change);
        if change.action == FlagAction::Replace {
            keywords.clear();
        }
        keywords.retain(|keyword| !change.keywords.contains(keyword));
        if change.action != FlagAction::Remove {
            keywords.extend(change.keywords.iter().cloned());
        }
    }
    (flags, keywords)
}

/// Adds a change to the transaction, behind those in `applied`, and to these; tells which messages were left alone
/// because of `unchanged_since`. `origin`: internal where a file is yet to be told. `own`: flags that are not the log's.
pub(crate) fn apply(
    at: &mut CommitPoint<'_>,
    change: &FlagChange,
    applied: &mut Vec<Applied>,
    origin: Origin,
    own: Flags,
) -> UidSet {
    let is_first = applied.is_empty();
    let left_alone = if is_first { apply_first(at, change, origin, own) } else { apply_next(at, change, origin, own) };
    applied.push(Applied { change: change.clone(), left_alone: left_alone.clone() });
    left_alone
}

/// Whatever earlier changes of the batch did, what this one says is recorded as it is.
fn apply_next(at: &mut CommitPoint<'_>, change: &FlagChange, origin: Origin, own: Flags) -> UidSet {
    let (mut left_alone, mut uids) = (UidSet::new(), UidSet::new());
    for record in records(at.state(), &change.uids) {
        let changed = change.unchanged_since.is_some_and(|since| record.modseq() > since);
        if changed { left_alone.insert(record.uid()) } else { uids.insert(record.uid()) }
    }
    if uids.is_empty() {
        return left_alone;
    }
    let (action, transaction) = (change.action, at.transaction());
    if action == FlagAction::Replace || !change.flags.without(own).is_empty() {
        transaction.flags(&uids, log_change(change, own), origin);
    }
    if action == FlagAction::Replace {
        transaction.keyword_reset(&uids, origin);
    }
    let keyword_action = if action == FlagAction::Remove { KeywordAction::Remove } else { KeywordAction::Add };
    for keyword in &change.keywords {
        transaction.keyword(keyword_action, keyword, &uids, origin);
    }
    left_alone
}

fn log_change(change: &FlagChange, own: Flags) -> LogFlagChange {
    let flags = change.flags.without(own);
    match change.action {
        FlagAction::Add => LogFlagChange::add(flags),
        FlagAction::Remove => LogFlagChange::remove(flags),
        FlagAction::Replace => {
            let others = Flags::ALL.without(flags).without(own);
            LogFlagChange { add: flags.into(), remove: others.into(), count_modseq: false }
        }
    }
}

/// Records only what differs from the state, for what is recorded counts as a change.
fn apply_first(at: &mut CommitPoint<'_>, change: &FlagChange, origin: Origin, own: Flags) -> UidSet {
    let state = at.state();
    let mut left_alone = UidSet::new();
    if change.unchanged_since.is_some() && !state.has_modseqs() {
        at.transaction().enable_modseqs();
    }
    let mut flags = UidSet::new();
    let mut keywords = KeywordChanges::new(state, change);
    for record in records(state, &change.uids) {
        if change.unchanged_since.is_some_and(|since| record.modseq() > since) {
            left_alone.insert(record.uid());
            continue;
        }
        if flags_after(record.flags(), change).without(own) != record.flags().without(own) {
            flags.insert(record.uid());
        }
        keywords.note(&record);
    }
    if !flags.is_empty() {
        at.transaction().flags(&flags, log_change(change, own), origin);
    }
    for (action, keyword, uids) in keywords.finish() {
        at.transaction().keyword(action, &keyword, &uids, origin);
    }
    left_alone
}

fn flags_after(flags: Flags, change: &FlagChange) -> Flags {
    match change.action {
        FlagAction::Add => flags | change.flags,
        FlagAction::Remove => flags.without(change.flags),
        FlagAction::Replace => change.flags,
    }
}

/// Which messages gain or lose which keywords.
struct KeywordChanges<'a> {
    state: &'a State,
    /// Keywords to be set, with their bits as far as they have one.
    add: Vec<(Keyword, Option<u16>, UidSet)>,
    /// Keywords to be taken away, by bit; with `others` every bit that is not among them.
    remove: HashMap<u16, UidSet>,
    keep: Option<Vec<u16>>,
}

impl<'a> KeywordChanges<'a> {
    fn new(state: &'a State, change: &FlagChange) -> Self {
        let bit = |keyword: &Keyword| state.keyword_bit(keyword.as_str().as_bytes());
        let named = || change.keywords.iter();
        let add = match change.action {
            FlagAction::Add | FlagAction::Replace => named().map(|k| (k.clone(), bit(k), UidSet::new())).collect(),
            FlagAction::Remove => Vec::new(),
        };
        let remove = match change.action {
            FlagAction::Remove => named().filter_map(bit).map(|bit| (bit, UidSet::new())).collect(),
            FlagAction::Add | FlagAction::Replace => HashMap::new(),
        };
        let keep = (change.action == FlagAction::Replace).then(|| named().filter_map(bit).collect());
        Self { state, add, remove, keep }
    }

    fn note(&mut self, record: &RecordRef<'_>) {
        let (uid, bits) = (record.uid(), record.keyword_bits());
        for (_, bit, uids) in &mut self.add {
            if bit.is_none_or(|bit| !bits.contains(bit)) {
                uids.insert(uid);
            }
        }
        match &self.keep {
            Some(keep) => {
                for bit in bits.iter().filter(|bit| !keep.contains(bit)) {
                    self.remove.entry(bit).or_default().insert(uid);
                }
            }
            None => {
                for (bit, uids) in &mut self.remove {
                    if bits.contains(*bit) {
                        uids.insert(uid);
                    }
                }
            }
        }
    }

    fn finish(self) -> Vec<(KeywordAction, Keyword, UidSet)> {
        let state = self.state;
        let removed = self.remove.into_iter().filter_map(|(bit, uids)| {
            // A name that is no keyword of IMAP's is nobody's to take away.
            let keyword = state.keyword(bit)?.keyword()?.clone();
            Some((KeywordAction::Remove, keyword, uids))
        });
        let mut changes: Vec<_> = removed.collect();
        // In one order whatever the map's, so that runs can be repeated.
        changes.sort_by(|a, b| a.1.as_str().cmp(b.1.as_str()));
        changes.extend(self.add.into_iter().map(|(keyword, _, uids)| (KeywordAction::Add, keyword, uids)));
        changes.retain(|(_, _, uids)| !uids.is_empty());
        changes
    }
}
