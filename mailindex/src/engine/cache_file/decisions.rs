//! Which values are worth their place: what clients ask for is kept longer, what nobody asks for goes (`docs/formats/cache.md`,
//! "Ageing").
//!
//! A value that is kept for a week (`temp`) is kept for good (`yes`) once somebody asks for one of an older message; whoever
//! reads that far back will again. Dovecot also does so when messages are asked for out of their order by one session; here
//! sessions share what is known of a mailbox, and the order in which they ask together tells nothing.
//!
//! # Invariants
//!
//! 1. Decisions and times are written over in place, under the cache's lock, in the newest block of fields.
//! 2. What configuration has forced is left as it is.

use std::{collections::BTreeMap, sync::Arc};

use mailtypes::Uid;

use super::{OpenCache, writer};
use crate::{
    cache::{Decision, Field},
    engine::MailboxIndex,
    state::State,
};

/// How often at most it is noted that a field was asked for, in seconds.
const NOTED_EVERY: u32 = 24 * 3600;

/// What nobody has asked for in so many seconds is not kept for good any more,
const UNUSED_TEMP: u32 = 30 * 24 * 3600;

/// and after so many not at all.
const UNUSED_NO: u32 = 60 * 24 * 3600;

/// What was asked for since it was written about last, in one file.
#[derive(Debug, Default)]
pub(in crate::engine) struct Uses {
    file_seq: u32,
    /// By field; whether of an older message.
    fields: BTreeMap<u32, bool>,
}

/// The first UID of those that `temp` values are kept for; `None`: of all.
pub(super) fn first_recent(state: &State) -> Option<Uid> {
    state.header().day_first_uid.last().and_then(|uid| Uid::new(uid.get()))
}

/// The decision about a field that was last used then, at a purge now.
pub(super) fn aged(field: &Field, now: u32) -> Decision {
    let unused = now.saturating_sub(field.last_used);
    match field.decision {
        Decision::YES | Decision::TEMP if unused > UNUSED_NO => Decision::NO,
        Decision::YES if unused > UNUSED_TEMP => Decision::TEMP,
        other => other,
    }
}

/// Whether a purge keeps a value.
pub(super) fn is_kept(decision: Decision, uid: Uid, first_recent: Option<Uid>) -> bool {
    match decision.base() {
        Decision::YES => true,
        Decision::TEMP => first_recent.is_none_or(|first| uid >= first),
        _ => false,
    }
}

impl MailboxIndex {
    /// Notes that fields were asked for, of messages from `lowest` on. Costs nothing where that is known.
    pub(super) fn note_uses(&self, cache: &OpenCache, numbers: &[u32], lowest: Uid, state: &State) {
        if self.env().is_read_only() {
            return;
        }
        let (now, is_old) = (self.env().unix_time(), first_recent(state).is_some_and(|first| lowest < first));
        let is_news = |field: &Field| {
            let learns = is_old && field.decision == Decision::TEMP;
            field.decision.stores() && (learns || now.saturating_sub(field.last_used) > NOTED_EVERY)
        };
        let news = numbers.iter().filter(|number| cache.fields.get(**number).is_some_and(is_news));
        let mut slot = None;
        for number in news {
            let slot = slot.get_or_insert_with(|| self.cache_slot());
            if slot.uses.file_seq != cache.file_seq {
                slot.uses = Uses { file_seq: cache.file_seq, fields: BTreeMap::new() };
            }
            *slot.uses.fields.entry(*number).or_default() |= is_old;
        }
    }

    /// Writes what was noted into the file, if its lock is free; else at another time.
    pub(super) fn write_uses(self: &Arc<Self>) {
        let file_seq = {
            let slot = self.cache_slot();
            if slot.uses.fields.is_empty() {
                return;
            }
            slot.uses.file_seq
        };
        let Some(cache) = self.open_cache(&self.state()).filter(|cache| cache.file_seq == file_seq) else {
            self.cache_slot().uses = Uses::default();
            return;
        };
        let written = writer::lock(self, &cache, writer::Wait::IfFree).and_then(|lock| match lock {
            Some(_lock) => self.write_uses_locked(&cache).map(|()| true),
            None => Ok(false),
        });
        match written {
            Ok(true) => self.cache_slot().uses = Uses::default(),
            Ok(false) => {}
            Err(what) => tracing::debug!(path = %self.paths.cache.display(), "uses not noted: {what}"),
        }
    }

    fn write_uses_locked(&self, cache: &Arc<OpenCache>) -> Result<(), String> {
        if !cache.is_at(&**self.env().fs(), &self.paths.cache) {
            return Ok(());
        }
        let (cache, now) = (cache.refreshed()?, self.env().unix_time());
        let uses: Vec<(u32, bool)> = self.cache_slot().uses.fields.iter().map(|(n, old)| (*n, *old)).collect();
        for (number, is_old) in uses {
            let Some(field) = cache.fields.get(number) else { continue };
            let text = |e: mailfs::FsError| e.to_string();
            if let Some(offset) = cache.fields.last_used_offset(number) {
                cache.handle.write_at(&now.to_le_bytes(), offset).map_err(text)?;
            }
            if let Some(offset) =
                cache.fields.decision_offset(number).filter(|_| is_old && field.decision == Decision::TEMP)
            {
                cache.handle.write_at(&[Decision::YES.0], offset).map_err(text)?;
            }
        }
        Ok(())
    }
}
