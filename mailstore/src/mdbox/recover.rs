//! Looking over a store after a crash: the map's log, each mailbox's, and whether the map counts enough references.
//!
//! A count that is too high is left alone. It may be what an append, or an expunge, left that a crash came into; it may also
//! be all that is left of a mailbox whose index was lost.

use std::{collections::HashMap, sync::Arc};

use mailindex::{
    engine::{self, IndexError, MailboxIndex},
    state::{Deletion, State},
};
use mailtypes::{MailboxName, Uid};

use super::{
    Shared,
    files::{Mails, Referred},
    map::MapResult,
    map_state::{MapChanges, MapState},
};
use crate::{
    indexed::{PREFIX, from_index},
    mailbox_list::{MailboxDirs, RecoveredMailbox},
    traits::Result,
};

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

    /// Numbers that the map does not have.
    fn unknown(&self, map: &MapState) -> usize {
        self.counts.keys().filter(|uid| map.record(**uid).is_none()).count()
    }
}

/// Puts the map's log right, and removes old temporary files; tells how many.
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
            mailbox.deleted = recovered.state.as_ref().is_some_and(|state| state.deletion() == Deletion::Done);
            if recovered.needs_rebuild && !mailbox.deleted {
                return Err(mails.damaged("the index cannot be put right from its own files".to_owned()));
            }
            Ok(recovered.state.filter(|_| !mailbox.deleted))
        }
        Err(IndexError::Deleted { .. }) => {
            mailbox.deleted = true;
            Ok(None)
        }
        // Opening it makes an index, which is soon enough.
        Err(IndexError::NotFound { .. }) => Ok(None),
        Err(e @ IndexError::NeedsRebuild { .. }) => Err(mails.damaged(e.to_string())),
        Err(e) => Err(from_index(&mailbox.name, &e)),
    }
}

/// Raises counts that are too low: a program that takes the reference away first, as Dovecot does, was stopped before the
/// message went. `found`: what was seen without a lock; `mailboxes`: where to look again with it.
pub(super) fn raise_counts(
    shared: &Arc<Shared>,
    found: &References,
    mailboxes: impl FnOnce() -> Result<Vec<(MailboxName, MailboxDirs)>>,
) -> Result<usize> {
    let map = shared.map.refresh(&shared.files).of_map()?;
    let unknown = found.unknown(&map);
    if unknown > 0 {
        let what = format!("{unknown} messages of mailboxes have numbers that the map does not have");
        return Err(shared.map.lost(what)).of_map();
    }
    if found.uncounted(&map).is_empty() {
        return Ok(0);
    }
    let mailboxes = mailboxes()?;
    let mut map = shared.map.lock(&shared.files, shared.env.options().lock_timeout, true).of_map()?;
    let mut exact = References::default();
    for (name, dirs) in mailboxes {
        let store = Arc::new(Mails::new(shared, &dirs, None));
        match MailboxIndex::open(&shared.env, &dirs.index, PREFIX, store) {
            Ok(index) => exact.add(&index.refresh().map_err(|e| from_index(&name, &e))?),
            Err(IndexError::NotFound { .. } | IndexError::Deleted { .. }) => {}
            Err(e) => return Err(from_index(&name, &e)),
        }
    }
    let uncounted = exact.uncounted(&map.state());
    if uncounted.is_empty() {
        return Ok(0);
    }
    let mut changes = MapChanges::new();
    uncounted.iter().for_each(|(uid, missing)| changes.count(*uid, *missing));
    map.append(&changes).of_map()?;
    map.file_to_sync().sync_data()?;
    map.publish();
    tracing::warn!(messages = uncounted.len(), "the map counted too few references; it counts all now");
    Ok(uncounted.len())
}
