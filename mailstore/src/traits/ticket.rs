//! A commit under way.

use std::{
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use super::{Committed, Result};

type Callback = Box<dyn FnOnce(Result<Committed>) + Send>;

/// A submitted batch. [`Ticket::wait`] lends the waiting thread to the commit; with [`Ticket::on_done`] a thousand
/// commits are in flight without a thread each. Dropping a ticket does not stop the commit.
#[must_use = "it alone tells whether the commit succeeded"]
pub struct Ticket {
    shared: Arc<Shared>,
    drive: Option<Box<dyn Drive>>,
}

/// How a ticket's commit is moved on.
pub(crate) trait Drive: Send {
    /// Called by a thread that waits and may do the work itself; returns when the ticket is complete or when somebody
    /// else is sure to complete it.
    fn drive(self: Box<Self>);
    /// Hands the work to the background.
    fn kick(self: Box<Self>);
}

/// The other end of a [`Ticket`]: completes it, once. Dropping it unused fails the ticket.
pub struct Completer {
    shared: Option<Arc<Shared>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    completed: Condvar,
}

#[derive(Default)]
enum State {
    #[default]
    Pending,
    Awaited(Callback),
    Done(Result<Committed>),
    Taken,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn complete(&self, outcome: Result<Committed>) {
        let mut state = self.lock();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Awaited(callback) => {
                drop(state);
                callback(outcome);
            }
            _ => {
                *state = State::Done(outcome);
                drop(state);
                self.completed.notify_all();
            }
        }
    }
}

impl Ticket {
    /// A ticket that nobody needs to drive, and its other end.
    pub fn new() -> (Self, Completer) {
        let shared = Arc::new(Shared::default());
        (Self { shared: Arc::clone(&shared), drive: None }, Completer { shared: Some(shared) })
    }

    /// A ticket whose waiter can do the work itself; what drives it is given its other end.
    pub(crate) fn driven(drive: impl FnOnce(Completer) -> Box<dyn Drive>) -> Self {
        let (mut ticket, completer) = Self::new();
        ticket.drive = Some(drive(completer));
        ticket
    }

    /// Waits for the commit, doing its work on this thread where nobody else does it yet.
    pub fn wait(mut self) -> Result<Committed> {
        if let Some(drive) = self.drive.take() {
            drive.drive();
        }
        let mut state = self.shared.lock();
        loop {
            match std::mem::replace(&mut *state, State::Taken) {
                State::Done(outcome) => return outcome,
                pending => *state = pending,
            }
            state = self.shared.completed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Calls `callback` when the commit is done: at once if it is already, else from the thread that completes it. It
    /// must not block.
    pub fn on_done(mut self, callback: impl FnOnce(Result<Committed>) + Send + 'static) {
        let mut state = self.shared.lock();
        match std::mem::replace(&mut *state, State::Taken) {
            State::Done(outcome) => {
                drop(state);
                callback(outcome);
            }
            _ => {
                *state = State::Awaited(Box::new(callback));
                drop(state);
                if let Some(drive) = self.drive.take() {
                    drive.kick();
                }
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(drive) = self.drive.take() {
            drive.kick();
        }
    }
}

impl Completer {
    /// Completes the ticket.
    pub fn complete(mut self, outcome: Result<Committed>) {
        if let Some(shared) = self.shared.take() {
            shared.complete(outcome);
        }
    }
}

impl Drop for Completer {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.complete(Err(super::StorageError::Unavailable("the commit was given up".into())));
        }
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").finish_non_exhaustive()
    }
}

impl fmt::Debug for Completer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Completer").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::{super::StorageError, *};

    fn failed() -> Result<Committed> {
        Err(StorageError::NoSpace("test".into()))
    }

    #[test]
    fn waits_for_another_thread() {
        let (ticket, completer) = Ticket::new();
        let other = std::thread::spawn(move || completer.complete(failed()));
        assert!(matches!(ticket.wait(), Err(StorageError::NoSpace(_))));
        other.join().unwrap();
    }

    #[test]
    fn calls_back_whether_done_before_or_after() {
        for before in [true, false] {
            let (ticket, completer) = Ticket::new();
            let (tell, told) = std::sync::mpsc::channel();
            let mut completer = Some(completer);
            if before {
                completer.take().unwrap().complete(failed());
            }
            ticket.on_done(move |outcome| tell.send(outcome.is_err()).unwrap());
            if let Some(completer) = completer {
                completer.complete(failed());
            }
            assert_eq!(told.recv(), Ok(true));
        }
    }

    #[test]
    fn a_lost_commit_fails_its_ticket() {
        let (ticket, completer) = Ticket::new();
        drop(completer);
        assert!(matches!(ticket.wait(), Err(StorageError::Unavailable(_))));
    }
}
