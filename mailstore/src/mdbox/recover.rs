//! Looking over a store after a crash: the map's log, each mailbox's, and whether the map counts enough references.
//!
//! A count that is too high is lowered to what there is, if every folder that may refer to messages was seen. But to no reference at all it is not: that may be what an append, or
//! an expunge, left that a crash came into; it may also be all that is left of a mailbox whose index was lost. A rebuild brings
//! such a message back.

use std::{collections::HashMap, sync::Arc};

use mailindex::{
    engine::{self, IndexError, MailboxIndex, RecoveryAction},
    state::{Deletion, State},
};
use mailtypes::Uid;

use super::{
    Shared,
    files::{Mails, Referred},
    map::MapResult,
    map_state::{MapChanges, MapRecord, MapState},
};
use crate::{
    indexed::{PREFIX, from_index},
    mailbox_list::{Format, ListLock, MailboxDirs, RecoveredMailbox, held},
    traits::Result,
};

/// Messages that one transaction of the map is about.
const CHANGES_MAX: usize = 500;

/// How often each number of the map is referred to.
#[derive(Debug, Default)]
pub(super) struct References {
    counts: HashMap<Uid, u32>,
}

impl References {
    /// Counts those of a mailbox.
    pub(super) fn add(&mut self, state: &State) {
        for record in state.records_from(0) {
            if let Some(uid) = Referred::of(state, &record).map_uid {
                *self.counts.entry(uid).or_default() += 1;
            }
        }
    }

    /// Numbers of which the map counts fewer than there are, and how many fewer, ascending.
    pub(super) fn uncounted(&self, map: &MapState) -> Vec<(Uid, i32)> {
        let fewer = |(uid, there): (&Uid, &u32)| {
            let counted = u32::from(map.record(*uid)?.refs);
            let missing = there.checked_sub(counted).filter(|missing| *missing > 0)?;
            Some((*uid, i32::try_from(missing).ok()?))
        };
        let mut uncounted: Vec<_> = self.counts.iter().filter_map(fewer).collect();
        uncounted.sort_unstable();
        uncounted
    }

    /// Numbers that somebody refers to, of which the map counts more references than there are, and how many more,
    /// ascending.
    pub(super) fn overcounted(&self, map: &MapState) -> Vec<(Uid, i32)> {
        let more = |(uid, there): (&Uid, &u32)| {
            let counted = u32::from(map.record(*uid)?.refs);
            let more = counted.checked_sub(*there).filter(|more| *more > 0)?;
            Some((*uid, i32::try_from(more).ok()?))
        };
        let mut overcounted: Vec<_> = self.counts.iter().filter_map(more).collect();
        overcounted.sort_unstable();
        overcounted
    }

    /// Numbers that the map counts references to of which there is none, ascending.
    pub(super) fn unreferenced(&self, map: &MapState) -> Vec<Uid> {
        let is_it = |record: &MapRecord| record.refs > 0 && !self.counts.contains_key(&record.uid);
        map.records().filter(is_it).map(|record| record.uid).collect()
    }

    /// Whether there are numbers that the map does not have.
    pub(super) fn has_unknown(&self, map: &MapState) -> bool {
        self.counts.keys().any(|uid| map.record(*uid).is_none())
    }
}

/// Cuts a torn end of the map's log, which can be used else, and removes old temporary files; tells how many.
pub(super) fn recover_map(shared: &Shared) -> Result<u64> {
    match shared.map.recover() {
        Ok(recovered) => {
            for report in recovered.reports {
                tracing::warn!(action = ?report.action, "the map: {}", report.damage);
            }
            if recovered.needs_rebuild {
                return Err(shared.map.lost("the map cannot be put right from its own files".to_owned())).of_map();
            }
        }
        // Opening makes one, where there is nothing it would have to speak of.
        Err(IndexError::NotFound { .. }) => {
            shared.map.open(&shared.files).of_map()?;
        }
        Err(e) => return Err(e).of_map(),
    }
    Ok(shared.files.clean_temps()?)
}

/// Cuts the index if need be, and carries out what it asks for.
pub(super) fn recover_mailbox(
    shared: &Arc<Shared>,
    dirs: &MailboxDirs,
    mailbox: &mut RecoveredMailbox,
) -> Result<Option<State>> {
    let mails = Arc::new(Mails::new(shared, dirs, None));
    match engine::recover(&shared.env, &mails.index, PREFIX, Arc::clone(&mails) as _) {
        Ok(recovered) => {
            mailbox.reports = recovered.reports;
            // It is as it was known last, and may be older than the map.
            if mailbox.reports.iter().any(|report| report.action == RecoveryAction::Restored) {
                shared.doubts.raise(&mails.index);
            }
            mailbox.deleted = recovered.state.as_ref().is_some_and(|state| state.deletion() == Deletion::Done);
            if recovered.needs_rebuild && !mailbox.deleted {
                shared.doubts.raise(&mails.index);
                return Ok(None);
            }
            Ok(recovered.state.filter(|_| !mailbox.deleted))
        }
        Err(IndexError::Deleted { .. }) => {
            mailbox.deleted = true;
            Ok(None)
        }
        Err(IndexError::NotFound { .. }) => {
            shared.doubts.raise(&mails.index);
            Ok(None)
        }
        Err(IndexError::NeedsRebuild { .. }) => {
            shared.doubts.raise(&mails.index);
            Ok(None)
        }
        Err(e) => Err(from_index(&mailbox.name, &e)),
    }
}

/// Puts counts right: those that are too low, for a program that takes the reference away first, as Dovecot does, was
/// stopped before the message went; and those that are too high, but only where all that may refer to messages could be
/// looked at. `found`: what was seen without a lock.
pub(super) fn put_counts_right(shared: &Arc<Shared>, found: &References, format: &dyn Format) -> Result<usize> {
    let map = shared.map.refresh(&shared.files).of_map()?;
    if found.uncounted(&map).is_empty() && found.overcounted(&map).is_empty() {
        return Ok(0);
    }
    let _list = ListLock::take_for_folders(format)?;
    let mut map = shared.map.lock(&shared.files, shared.env.options().lock_timeout, true).of_map()?;
    let (exact, is_all) = count(shared, format)?;
    let uncounted = exact.uncounted(&map.state());
    let overcounted = if is_all { exact.overcounted(&map.state()) } else { Vec::new() };
    if uncounted.is_empty() && overcounted.is_empty() {
        return Ok(0);
    }
    let less = overcounted.iter().map(|(uid, more)| (uid, -more));
    let all: Vec<(Uid, i32)> =
        uncounted.iter().map(|(uid, more)| (uid, *more)).chain(less).map(|(u, n)| (*u, n)).collect();
    let counted = |chunk: &[(Uid, i32)]| {
        let mut changes = MapChanges::new();
        chunk.iter().for_each(|(uid, diff)| changes.count(*uid, *diff));
        changes
    };
    let changes: Vec<MapChanges> = all.chunks(CHANGES_MAX).map(counted).collect();
    map.tell(&changes).of_map()?;
    tracing::warn!(
        too_low = uncounted.len(),
        too_high = overcounted.len(),
        "the map's counts of references were wrong; they are right now"
    );
    Ok(all.len())
}

/// Counts what the mailboxes refer to, the list and the map locked; tells whether all of them could be looked at.
fn count(shared: &Arc<Shared>, format: &dyn Format) -> Result<(References, bool)> {
    let (mut exact, mut is_all) = (References::default(), true);
    let mailboxes = match held(format) {
        Ok(mailboxes) => mailboxes,
        Err(e) => {
            tracing::warn!("counts of references stay as they are: {e}");
            return Ok((exact, false));
        }
    };
    for mailbox in mailboxes.iter().filter(|mailbox| !mailbox.is_again) {
        let store = Arc::new(Mails::new(shared, &mailbox.dirs, None));
        match MailboxIndex::open(&shared.env, &mailbox.dirs.index, PREFIX, store) {
            Ok(index) => exact.add(&index.refresh().map_err(|e| from_index(&mailbox.label(), &e))?),
            Err(IndexError::Deleted { .. }) => {}
            // Its index is lost and may come back, or it is elsewhere now.
            Err(IndexError::NotFound { .. }) => is_all = false,
            Err(e) => return Err(from_index(&mailbox.label(), &e)),
        }
    }
    Ok((exact, is_all))
}
