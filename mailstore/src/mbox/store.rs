//! What the engine asks of an mbox under the log's lock.

use std::{any::Any, sync::Arc, time::Duration};

use mailindex::{
    engine::{self, LockFor, MessageStore, StoreError, StoreLock},
    log::{FlagChange, Origin, Transaction},
    state::{FlagRequest, RecordFlags, State},
};
use mailtypes::UidSet;

use super::files::MboxFiles;
use crate::indexed::records;

impl MessageStore for MboxFiles {
    fn lock(&self, timeout: Duration, ranked: bool, what_for: LockFor) -> engine::Result<Option<Box<dyn StoreLock>>> {
        Ok(self.lock_for_commit(what_for, timeout, ranked)?)
    }

    fn removes_under_lock(&self) -> bool {
        true
    }

    fn keeps_flags(&self) -> bool {
        true
    }

    /// The file is not touched: it is told later, and until then the index beats it.
    fn write_flags(
        &self,
        state: &State,
        asked: &[(FlagRequest, UidSet)],
        more: &mut Transaction,
    ) -> Result<(), StoreError> {
        let uids = asked.iter().fold(UidSet::new(), |all, (_, uids)| all.union(uids));
        let is_clean = |flags: RecordFlags| !flags.contains(RecordFlags::DIRTY);
        let clean = records(state, &uids).filter(|record| is_clean(record.record_flags())).map(|record| record.uid());
        more.flags(&clean.collect(), FlagChange::add(RecordFlags::DIRTY), Origin::External);
        Ok(())
    }

    fn remove(&self, state: &State, uids: &UidSet) -> Result<(), StoreError> {
        self.remove_messages(state, uids, &mut Transaction::new())
    }

    fn remove_recording(&self, state: &State, uids: &UidSet, more: &mut Transaction) -> Result<(), StoreError> {
        self.remove_messages(state, uids, more)
    }

    fn as_any(self: Arc<Self>) -> Option<Arc<dyn Any + Send + Sync>> {
        Some(self)
    }
}
