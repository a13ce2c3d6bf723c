//! Waiting for a commit, by thread or by callback.
//!
//! # Invariants
//!
//! 1. Exactly one of value and callback is handed over, once.
//! 2. A completer that is dropped unused (its operation was lost to a panic) yields `None`, so nobody waits for ever.
//! 3. Callbacks run without any lock of the engine held.

use std::{
    fmt, mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{MailboxIndex, commit::Parker};

type Callback<T> = Box<dyn FnOnce(Option<T>) + Send>;

enum Slot<T> {
    Empty,
    Called(Callback<T>),
    Parked(Arc<Parker>),
    Full(Option<T>),
    Taken,
}

struct Shared<T> {
    slot: Mutex<Slot<T>>,
}

impl<T> Shared<T> {
    fn slot(&self) -> MutexGuard<'_, Slot<T>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fill(&self, value: Option<T>) {
        let mut slot = self.slot();
        match mem::replace(&mut *slot, Slot::Taken) {
            Slot::Called(callback) => {
                drop(slot);
                callback(value);
            }
            Slot::Parked(parker) => {
                *slot = Slot::Full(value);
                drop(slot);
                parker.unpark();
            }
            Slot::Empty => *slot = Slot::Full(value),
            kept @ (Slot::Full(_) | Slot::Taken) => *slot = kept,
        }
    }
}

/// The operation's end: says how it went.
pub struct Completer<T> {
    shared: Option<Arc<Shared<T>>>,
}

/// The waiter's end.
#[must_use = "dropping it leaves the commit to the Env's threads, unheard of"]
pub struct Completion<T> {
    index: Arc<MailboxIndex>,
    shared: Option<Arc<Shared<T>>>,
}

/// Two ends for one operation on `index`, to be made before [`MailboxIndex::enqueue`].
pub fn completion<T: Send>(index: &Arc<MailboxIndex>) -> (Completer<T>, Completion<T>) {
    let shared = Arc::new(Shared { slot: Mutex::new(Slot::Empty) });
    (Completer { shared: Some(Arc::clone(&shared)) }, Completion { index: Arc::clone(index), shared: Some(shared) })
}

impl<T> Completer<T> {
    /// Hands the result over.
    pub fn complete(mut self, value: T) {
        if let Some(shared) = self.shared.take() {
            shared.fill(Some(value));
        }
    }
}

impl<T> Drop for Completer<T> {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.fill(None);
        }
    }
}

impl<T: Send> Completion<T> {
    /// Waits, carrying the commit on this thread when nobody else does. `None` when the operation was lost to a bug.
    pub fn wait(mut self) -> Option<T> {
        let shared = self.shared.take()?;
        let index = Arc::clone(&self.index);
        let value = loop {
            let parker = Parker::new();
            {
                let mut slot = shared.slot();
                match mem::replace(&mut *slot, Slot::Parked(Arc::clone(&parker))) {
                    Slot::Full(value) => {
                        *slot = Slot::Taken;
                        break value;
                    }
                    Slot::Taken => break None,
                    Slot::Empty | Slot::Parked(_) | Slot::Called(_) => {}
                }
            }
            index.lead_or_park(&parker);
        };
        index.pass_on_lead();
        value
    }

    /// The result, if it is there already.
    pub fn try_take(&mut self) -> Option<Option<T>> {
        let shared = self.shared.as_ref()?;
        let mut slot = shared.slot();
        match mem::replace(&mut *slot, Slot::Taken) {
            Slot::Full(value) => {
                drop(slot);
                self.shared = None;
                Some(value)
            }
            other => {
                *slot = other;
                None
            }
        }
    }

    /// Has `callback` called with the result: at once if it is there, else by whoever carries the commit.
    pub fn on_done(mut self, callback: impl FnOnce(Option<T>) + Send + 'static) {
        let Some(shared) = self.shared.take() else { return };
        let mut slot = shared.slot();
        match mem::replace(&mut *slot, Slot::Taken) {
            Slot::Full(value) => {
                drop(slot);
                callback(value);
            }
            _ => {
                *slot = Slot::Called(Box::new(callback));
                drop(slot);
                self.index.drive_soon();
            }
        }
    }
}

impl<T> Drop for Completion<T> {
    fn drop(&mut self) {
        if self.shared.take().is_some() {
            self.index.drive_soon();
        }
    }
}

impl<T> fmt::Debug for Completer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completer").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Completion<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completion").field("index", &self.index).finish_non_exhaustive()
    }
}
