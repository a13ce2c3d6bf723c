//! Who waits before one log, and who leads.
//!
//! # Invariants
//!
//! 1. At most one thread leads a log.
//! 2. While the queue is not empty and nobody leads, somebody is on the way to lead: a thread that was woken as heir, or
//!    a commit thread, or one that has enqueued and has not yet begun to wait (and must wait, hand over or drop).
//! 3. An heir that needs not wait any more passes the lead on.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use super::CommitOp;

/// One thread's place to sleep. Waking it before it sleeps is not lost.
pub(in crate::engine) struct Parker {
    woken: Mutex<bool>,
    wake: Condvar,
}

impl Parker {
    pub(in crate::engine) fn new() -> Arc<Self> {
        Arc::new(Self { woken: Mutex::new(false), wake: Condvar::new() })
    }

    pub(in crate::engine) fn park(&self) {
        let woken = self.woken.lock().unwrap_or_else(PoisonError::into_inner);
        let woken = self.wake.wait_while(woken, |woken| !*woken);
        drop(woken.unwrap_or_else(PoisonError::into_inner));
    }

    pub(in crate::engine) fn unpark(&self) {
        *self.woken.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.wake.notify_one();
    }
}

#[derive(Default)]
struct Waiting {
    ops: VecDeque<Box<dyn CommitOp>>,
    led: bool,
    /// Threads that would lead if the present leader left.
    heirs: VecDeque<Arc<Parker>>,
    /// A commit thread was asked to come.
    scheduled: bool,
}

/// The queue of one log.
#[derive(Default)]
pub(in crate::engine) struct Queue {
    waiting: Mutex<Waiting>,
}

/// Who is to lead next.
pub(in crate::engine) enum Next {
    /// Nobody is needed.
    Nobody,
    /// A waiting thread, to be woken.
    Heir(Arc<Parker>),
    /// A commit thread, to be scheduled.
    Committer,
}

impl Queue {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::engine) fn push(&self, op: Box<dyn CommitOp>) {
        self.waiting().ops.push_back(op);
    }

    /// Becomes leader if there is work and no leader.
    pub(in crate::engine) fn try_lead(&self) -> bool {
        let mut waiting = self.waiting();
        let leads = !waiting.led && !waiting.ops.is_empty();
        waiting.led |= leads;
        leads
    }

    /// Becomes leader, or takes a place among the heirs.
    pub(in crate::engine) fn try_lead_or_inherit(&self, parker: &Arc<Parker>) -> bool {
        let mut waiting = self.waiting();
        let leads = !waiting.led && !waiting.ops.is_empty();
        waiting.led |= leads;
        if !leads {
            waiting.heirs.push_back(Arc::clone(parker));
        }
        leads
    }

    /// A thread that was parked needs no place any more.
    pub(in crate::engine) fn leave(&self, parker: &Arc<Parker>) {
        self.waiting().heirs.retain(|heir| !Arc::ptr_eq(heir, parker));
    }

    /// The leader takes what has gathered, at most `max`.
    pub(in crate::engine) fn take(&self, max: usize) -> Vec<Box<dyn CommitOp>> {
        let mut waiting = self.waiting();
        let count = waiting.ops.len().min(max);
        waiting.ops.drain(..count).collect()
    }

    /// The leader leaves.
    pub(in crate::engine) fn resign(&self) -> Next {
        let mut waiting = self.waiting();
        waiting.led = false;
        waiting.next()
    }

    /// Somebody who might have been woken as heir goes without leading.
    pub(in crate::engine) fn pass_on(&self) -> Next {
        self.waiting().next()
    }

    /// Whether a commit thread must be asked to come; remembers that it was.
    pub(in crate::engine) fn schedule(&self) -> bool {
        let mut waiting = self.waiting();
        let needed = !waiting.scheduled && !waiting.led && !waiting.ops.is_empty();
        waiting.scheduled |= needed;
        needed
    }

    /// The commit thread has come.
    pub(in crate::engine) fn arrived(&self) {
        self.waiting().scheduled = false;
    }
}

impl Waiting {
    fn next(&mut self) -> Next {
        if self.led || self.ops.is_empty() || self.scheduled {
            return Next::Nobody;
        }
        if let Some(heir) = self.heirs.pop_front() {
            return Next::Heir(heir);
        }
        self.scheduled = true;
        Next::Committer
    }
}
