//! An index whose log is locked for longer than one commit: the map of an mdbox store, under whose lock the mailboxes that
//! refer to it are changed.

use std::{sync::Arc, time::Duration};

use mailfs::FileHandle;

use super::append::{Locked, lock};
use crate::{
    engine::{IndexError, LockFor, MailboxIndex, Result, rotate},
    log::Transaction,
    state::State,
};

/// An index that nobody else can change while this exists. Views stay where they were until [`Exclusive::publish`].
#[derive(Debug)]
#[must_use = "the lock is held as long as this"]
pub struct Exclusive {
    locked: Locked,
    /// Where the log ended when it was locked, or when views were last told.
    base: u32,
    owes_sync: bool,
}

impl MailboxIndex {
    /// Takes the log's lock, for others to be kept out as long as the guard lives; zero tries once. `ranked`: the order of
    /// locks is checked. Reads to the log's end.
    pub fn lock_exclusively(self: &Arc<Self>, timeout: Duration, ranked: bool) -> Result<Exclusive> {
        self.lock_exclusively_for(timeout, ranked, LockFor::Messages)
    }

    /// The same, saying what the lock is wanted for: one who holds the store's own lock already says
    /// [`LockFor::Flags`], whatever is to be appended, and sees to what the store is to be told.
    pub fn lock_exclusively_for(
        self: &Arc<Self>,
        timeout: Duration,
        ranked: bool,
        what_for: LockFor,
    ) -> Result<Exclusive> {
        let locked = lock(self, timeout, ranked, what_for)?;
        let base = locked.written();
        Ok(Exclusive { locked, base, owes_sync: false })
    }
}

impl Exclusive {
    /// The state at the log's end, with what was appended here.
    pub fn state(&self) -> &State {
        &self.locked.state
    }

    /// Appends; not synced. When that fails nothing of it is in the log, and the log is to be locked anew.
    pub fn append(&mut self, transaction: &Transaction) -> Result<()> {
        self.check_sound()?;
        let before = self.locked.written();
        self.locked.add(transaction)?;
        self.owes_sync |= self.locked.has_pieces();
        self.locked.write().inspect_err(|_| {
            self.locked.cut_back(before);
        })
    }

    fn check_sound(&self) -> Result<()> {
        if !self.locked.log.is_distrusted() {
            return Ok(());
        }
        Err(IndexError::Unwritable {
            dir: self.locked.index.dir().to_owned(),
            what: "a write of its log has failed under this lock".to_owned(),
        })
    }

    /// The file that has to be synced for what was appended to be durable. Whoever asks does so, or takes it back.
    pub fn file_to_sync(&mut self) -> FileHandle {
        self.owes_sync = false;
        Arc::clone(&self.locked.log.handle)
    }

    /// Makes durable what was appended.
    pub fn sync(&mut self) -> Result<()> {
        if std::mem::take(&mut self.owes_sync) && self.locked.index.env().syncs() {
            self.locked.log.handle.sync_data().inspect_err(|_| self.locked.log.distrust())?;
            self.locked.log.take_dirty();
        }
        Ok(())
    }

    /// Takes back all that was appended since the lock was taken or views were last told; nothing more can be appended
    /// then. `false` when that failed: it may be in force.
    pub fn take_back(&mut self) -> bool {
        self.locked.written() == self.base || self.locked.cut_back(self.base)
    }

    /// Lets views see what was appended; what is not synced yet will be soon. Rotates the log if that is due.
    pub fn publish(&mut self) {
        let index = Arc::clone(&self.locked.index);
        if self.locked.log.is_distrusted() {
            // What is in force is read from the file again.
            index.env().pool().schedule_flush(Arc::clone(&index));
            return;
        }
        let rotated = rotate::rotate_if_due(&mut self.locked);
        self.base = self.locked.written();
        let changed = self.locked.publish();
        if std::mem::take(&mut self.owes_sync) && !rotated && index.env().syncs() && self.locked.log.set_dirty() {
            index.env().pool().schedule_flush(Arc::clone(&index));
        }
        index.announce(changed);
        index.schedule_snapshot_if_due();
    }
}
