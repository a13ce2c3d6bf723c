//! STORE and UID STORE (RFC 3501 §6.4.6, RFC 7162 §3.1.3): one batch, whatever the number of messages. The condition of
//! UNCHANGEDSINCE is decided under the store's lock, with the change.

use imap_proto::{MessageSet, Store, StoreAction, Tag, write::Code};
use mailstore::{
    Batch, Columns, Committed, Cursor, Expunges, FlagAction, FlagChange, Result as StorageResult, Rows, ScanBudget,
    View,
};
use mailtypes::{Flags, Keyword, ModSeq, SequenceBound, SequenceSet, Uid, UidSet};

use crate::{
    codes::Target,
    end::End,
    expunge::READ_ONLY,
    selected::{FlagsDigest, Selected},
    session::{Commit, Session, committed, in_flight},
    sync::Sync,
};

/// What a client is told that names a sequence number which is not there.
pub(crate) const BAD_SEQUENCE: &str = "Invalid messageset.";

impl Session {
    pub(crate) async fn store(&mut self, tag: &Tag, store: Store) -> Result<(), End> {
        let uid = store.uid;
        if store.unchanged_since.is_some() {
            self.enable_condstore();
        }
        let Some(uids) = self.here(|selected, _| uids_of(selected, uid, &store.set))? else {
            return self.bad(tag, BAD_SEQUENCE);
        };
        if self.here(|selected, _| selected.read_only)? {
            return self.no(tag, Some(Code::ReadOnly), READ_ONLY);
        }
        let modified = match store.unchanged_since.map(ModSeq::new) {
            _ if uids.is_empty() => UidSet::new(),
            // No message has a mod-sequence of 0 or less (RFC 7162 §3.1.3).
            Some(None) => uids,
            since => match self.change_flags(store, uids, since.flatten()).await? {
                Ok(modified) => modified,
                Err(error) => {
                    self.here(|selected, _| selected.forget_known())?;
                    return self.storage_error(tag, "STORE", &error, Target::Other);
                }
            },
        };
        // The numbers hold until the sync.
        let named = if uid { modified } else { self.here(|selected, _| seqs_of(&*selected.view, &modified))? };
        let code = (!named.is_empty()).then_some(Code::Modified(&named));
        let text = if named.is_empty() { "Store completed." } else { "Conditional store failed." };
        self.finish_with(tag, Sync::after_message_command(uid), code, text).await
    }

    /// Commits a change of flags. Says which messages failed its condition.
    async fn change_flags(
        &mut self,
        store: Store,
        uids: UidSet,
        unchanged_since: Option<ModSeq>,
    ) -> Result<StorageResult<UidSet>, End> {
        let change = FlagChange {
            uids,
            action: match store.action {
                StoreAction::Replace => FlagAction::Replace,
                StoreAction::Add => FlagAction::Add,
                StoreAction::Remove => FlagAction::Remove,
            },
            flags: store.flags.flags,
            keywords: store.flags.keywords,
            unchanged_since,
        };
        let (silent, all) = (store.silent, change.uids.clone());
        let outcome = match self.commit_change(change.clone(), silent).await? {
            Err(error) if self.has_followed(&error).await? => self.commit_change(change, silent).await?,
            other => other,
        };
        let mut modified = match outcome {
            Ok(committed) => committed.modified,
            Err(error) => return Ok(Err(error)),
        };
        if unchanged_since.is_some() {
            let step = move |selected: &mut Selected, _: &mut Vec<u8>| {
                // RFC 7162 §3.1.3: those that passed are told with their mod-sequences, those that failed should be.
                selected.owe(&all);
                gone(selected, &all)
            };
            // The change is made; what else is to be said of the mailbox, the sync finds.
            modified = modified.union(&self.on_selected(step).await?.unwrap_or_default());
        }
        self.here(|selected, _| selected.client_knows_not(&modified))?;
        Ok(Ok(modified))
    }

    async fn commit_change(&mut self, change: FlagChange, silent: bool) -> Result<StorageResult<Committed>, End> {
        Ok(match self.on_selected(move |selected, _| submit(selected, change, silent)).await? {
            Ok(commit) => committed(commit).await,
            Err(error) => Err(error),
        })
    }
}

/// Those of `uids` that somebody has expunged, which the client may not know yet: a condition cannot hold for them.
fn gone(selected: &mut Selected, uids: &UidSet) -> StorageResult<UidSet> {
    selected.sync(Expunges::Hold)?;
    if !selected.view.holds_expunged() {
        return Ok(UidSet::new());
    }
    let (mut gone, mut rows, mut at) = (UidSet::new(), Rows::new(), Some(Cursor::START));
    while let Some(from) = at {
        rows.clear();
        at = selected.view.scan(uids, from, &Columns::flags(), ScanBudget::default(), &mut rows)?;
        gone.extend(rows.rows.iter().filter(|row| row.expunged).map(|row| row.uid));
    }
    Ok(gone)
}

fn submit(selected: &mut Selected, change: FlagChange, silent: bool) -> StorageResult<Commit> {
    if silent {
        note_expected(selected, &change)?;
    }
    selected.mailbox.submit(Batch::new().flags(change)).map(in_flight)
}

/// `.SILENT`: what the change makes of each message need not be told. What another session does to it meanwhile leads
/// to other flags than these, and is told.
fn note_expected(selected: &mut Selected, change: &FlagChange) -> StorageResult<()> {
    let mut rows = Rows::new();
    let mut at = Some(Cursor::START);
    while let Some(from) = at {
        rows.clear();
        at = selected.view.scan(&change.uids, from, &Columns::flags(), ScanBudget::default(), &mut rows)?;
        for row in rows.rows.iter().filter(|row| !row.expunged) {
            selected.client_knows(row.uid, expected(row.flags, rows.keywords(row), change));
        }
    }
    Ok(())
}

/// The flags of a message after the change.
fn expected(flags: Flags, keywords: &[Keyword], change: &FlagChange) -> FlagsDigest {
    let given = |keyword: &&Keyword| change.keywords.contains(keyword);
    match change.action {
        FlagAction::Replace => FlagsDigest::of(change.flags, &change.keywords),
        FlagAction::Add => {
            let kept = keywords.iter().filter(|keyword| !given(keyword));
            FlagsDigest::of(flags | change.flags, kept.chain(&change.keywords))
        }
        FlagAction::Remove => {
            FlagsDigest::of(flags.without(change.flags), keywords.iter().filter(|keyword| !given(keyword)))
        }
    }
}

/// The sequence numbers of messages, as a set.
pub(crate) fn seqs_of(view: &dyn View, uids: &UidSet) -> UidSet {
    uids.iter().filter_map(|uid| view.seq_of(uid)).filter_map(|seq| Uid::new(seq.value())).collect()
}

/// The messages that a set names. `None` for a sequence number that is not there, as none is in an empty mailbox; UIDs that are not there name nothing
/// (RFC 3501 §6.4.8).
pub(crate) fn uids_of(selected: &Selected, uid: bool, set: &MessageSet) -> Option<UidSet> {
    let view = &selected.view;
    let MessageSet::Numbers(set) = set else { return Some(selected.saved_result()) };
    if uid {
        let uids = view.uids();
        let largest = uids.last().map_or(0, Uid::value);
        return Some(uids.intersection(&set.resolve(largest)));
    }
    let count = view.message_count();
    let numbers = set.resolve(count);
    let is_there = match first_with_star(set) {
        // As with Dovecot, numbers too large do not count beside `*`.
        Some(first) => count > 0 && (first == u32::MAX || first <= count),
        None => numbers.last().is_some_and(|last| last.value() <= count),
    };
    is_there.then(|| view.uids_at(&numbers))
}

/// The smallest `n` of the ranges `n:*`; `*` alone counts as the largest number. `None` without any `*`.
fn first_with_star(set: &SequenceSet) -> Option<u32> {
    let with_star = set.0.iter().filter_map(|range| match *range {
        (SequenceBound::Star, SequenceBound::Star) => Some(u32::MAX),
        (SequenceBound::Star, SequenceBound::Number(n)) | (SequenceBound::Number(n), SequenceBound::Star) => Some(n),
        _ => None,
    });
    with_star.min()
}
