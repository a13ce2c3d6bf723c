//! Seeing what others did, without a lock.

use std::sync::Arc;

use super::{IndexError, MailboxIndex, Result, live::stop_damage, recover};
use crate::state::State;

impl MailboxIndex {
    /// Looks at the log (one `stat` when nothing is new) and returns the state there. Does not wait for commits: while one
    /// of this process is between its append and its sync, nobody else can have appended, and its own is not shown.
    ///
    /// Damage is repaired under the log's lock; when that needs the messages, fails with [`IndexError::NeedsRebuild`].
    pub fn refresh(self: &Arc<Self>) -> Result<State> {
        self.check_not_deleted()?;
        match self.refresh_once() {
            Err(IndexError::Corrupt(damage)) => {
                recover::repair(self.env(), &self.paths, &*self.store, damage)?;
                self.refresh_once()
            }
            other => other,
        }
    }

    /// Whether a commit of this process is under way, whose changes [`MailboxIndex::refresh`] does not show yet.
    pub fn is_committing(&self) -> bool {
        self.slot().committing
    }

    fn refresh_once(&self) -> Result<State> {
        let generation = self.bell().generation();
        let mut slot = self.slot();
        if slot.committing {
            return Ok(self.state());
        }
        let stop = match self.catch_up(&mut slot) {
            Err(e @ IndexError::Deleted { .. }) => {
                drop(slot);
                self.set_deleted();
                return Err(e);
            }
            other => other?,
        };
        let changed = self.publish(&slot);
        let log = Arc::clone(&slot.live.log);
        drop(slot);
        self.bell().looked(generation);
        self.announce(changed);
        // A torn end may be being written: whoever holds the lock next will know.
        if let Some(damage) = stop_damage(&log, &stop) {
            return Err(damage.into());
        }
        self.check_not_deleted()?;
        Ok(self.state())
    }
}
