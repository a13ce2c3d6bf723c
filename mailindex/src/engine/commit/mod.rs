//! Commits: many operations, one append, one sync (`docs/formats/log.md`, "Appending").
//!
//! An operation is enqueued, and done when its `done` was called; between lie the stages of a batch, which one leader a
//! log carries out for everybody who waits: bodies synced, lock, read to the end, prepare, names synced, append, log
//! synced, what was asked for carried out in the store, unlock, done.
//!
//! # Invariants
//!
//! 1. What `done` reports as committed is durable as [`Fsync`](super::Fsync) promises.
//! 2. What is appended is on disk whole when it is published to views; until then nobody of this process reads past the
//!    place where the append began.
//! 3. A failed append or sync is cut off again before the lock is given up, and only then are operations undone. When it
//!    cannot be cut off, nothing is undone: a record that may be in force must find its message.
//! 4. An operation that fails or panics in `prepare` is undone and leaves no record; the others go on.

mod append;
mod exclusive;
mod leader;
mod point;
mod queue;

use std::sync::Arc;

use mailfs::FileHandle;

pub(super) use self::{
    append::Locked,
    leader::{carry_out, drive_many, heal, settle, with_lock},
    queue::{Next, Parker, Queue},
};
pub use self::{
    exclusive::Exclusive,
    point::{CommitPoint, Durability},
};
use super::{CommitError, MailboxIndex, OpError};
use crate::state::State;

/// How many operations one batch takes.
const BATCH_OPS_MAX: usize = 1024;

/// A change on its way into the log. What belongs together is one operation: it is there whole or not at all.
pub trait CommitOp: Send {
    /// Files whose data must be durable before anything refers to them. Synced together, without a lock.
    fn files_to_sync(&self) -> Vec<FileHandle> {
        Vec::new()
    }

    /// Whether messages may come or go by it, so that the store's own lock is needed.
    fn touches_messages(&self) -> bool {
        true
    }

    /// Whether it looks at messages, where none may come or go by it.
    fn reads_messages(&self) -> bool {
        false
    }

    /// Says what is to be appended, under the log's lock: moves files to their names, adds records, names the folders to
    /// be synced. Must not wait for anything. A refusal is undone by [`CommitOp::undo`].
    fn prepare(&mut self, at: &mut CommitPoint<'_>) -> Result<(), OpError>;

    /// Takes back what [`CommitOp::prepare`] did to files, still under the lock. Also called when it failed half way.
    fn undo(&mut self) {}

    /// How it went; no lock is held. Must not block.
    fn done(self: Box<Self>, outcome: Result<&CommitOutcome, Arc<CommitError>>);
}

/// A commit that is in force.
#[derive(Clone, Debug)]
pub struct CommitOutcome {
    /// The mailbox after the whole batch.
    pub state: State,
    /// Whether it is on disk for good, not only in force: flag changes are flushed later.
    pub durable: bool,
}

impl MailboxIndex {
    /// Queues an operation. Nothing happens until somebody waits ([`Completion`](super::Completion)) or
    /// [`MailboxIndex::drive_soon`] is called.
    pub fn enqueue(&self, op: Box<dyn CommitOp>) {
        self.queue().push(op);
    }

    /// Queues an operation and has the `Env`'s threads carry it.
    pub fn submit(self: &Arc<Self>, op: Box<dyn CommitOp>) {
        self.enqueue(op);
        self.drive_soon();
    }

    /// Has the `Env`'s threads carry what is queued. Costs nothing when somebody does already.
    pub fn drive_soon(self: &Arc<Self>) {
        if self.queue().schedule() {
            self.env().pool().schedule_drive(Arc::clone(self));
        }
    }

    /// Carries what is queued on this thread, unless somebody does already. Tells whether it did.
    pub fn drive(self: &Arc<Self>) -> bool {
        if !self.queue().try_lead() {
            return false;
        }
        leader::lead(self);
        true
    }

    /// Leads, or sleeps until woken as heir or because the wait is over.
    pub(super) fn lead_or_park(self: &Arc<Self>, parker: &Arc<Parker>) {
        if self.queue().try_lead_or_inherit(parker) {
            leader::lead(self);
        } else {
            parker.park();
            self.queue().leave(parker);
        }
    }

    /// To be called by one that was among the heirs and goes.
    pub(super) fn pass_on_lead(self: &Arc<Self>) {
        self.hand_over(self.queue().pass_on());
    }

    pub(super) fn hand_over(self: &Arc<Self>, next: Next) {
        match next {
            Next::Nobody => {}
            Next::Heir(parker) => parker.unpark(),
            Next::Committer => self.env().pool().schedule_drive(Arc::clone(self)),
        }
    }
}
