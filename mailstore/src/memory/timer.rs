//! One thread that ends commits when their time has come.
//!
//! All commits of a storage take equally long, so that a queue in order of beginning is in order of ending too.

use std::{
    collections::VecDeque,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use super::state::State;
use crate::traits::{Failure, Result, StorageError};

pub(super) struct Timer {
    shared: Arc<Shared>,
}

struct Shared {
    delay: Duration,
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    due: VecDeque<(Instant, Arc<State>)>,
    running: bool,
    /// The storage is gone: what is under way is ended in its time, then the thread ends.
    closing: bool,
}

impl Timer {
    pub(super) fn new(delay: Duration) -> Self {
        Self { shared: Arc::new(Shared { delay, queue: Mutex::default(), changed: Condvar::new() }) }
    }

    /// Makes sure that the thread is there: before anything is queued that would wait for it.
    pub(super) fn start(&self) -> Result<()> {
        let mut queue = self.shared.lock();
        if !queue.running {
            let shared = Arc::clone(&self.shared);
            let thread = thread::Builder::new().name("memory-commits".to_owned());
            thread.spawn(move || shared.run()).map_err(|error| {
                StorageError::Unavailable(Failure::of_system(format!("starting the commit thread: {error}"), &error))
            })?;
            queue.running = true;
        }
        Ok(())
    }

    /// Ends the commit that `state` just began, when the delay is over.
    pub(super) fn schedule(&self, state: Arc<State>) {
        self.shared.schedule(state);
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn schedule(&self, state: Arc<State>) {
        self.lock().due.push_back((Instant::now() + self.delay, state));
        self.changed.notify_all();
    }

    fn run(&self) {
        while let Some(state) = self.next_due() {
            let done = state.end_commit();
            // The next commit begins before callbacks have their say.
            if done.began_another {
                self.schedule(state);
            }
            done.tell();
        }
    }

    /// Waits for the next commit that is due; `None` when there will be none any more.
    fn next_due(&self) -> Option<Arc<State>> {
        let mut queue = self.lock();
        loop {
            let now = Instant::now();
            let wait = match queue.due.front() {
                None if queue.closing => return None,
                None => None,
                Some(&(due, _)) if due <= now => return queue.due.pop_front().map(|(_, state)| state),
                Some(&(due, _)) => Some(due - now),
            };
            queue = match wait {
                None => self.changed.wait(queue).unwrap_or_else(PoisonError::into_inner),
                Some(wait) => self.changed.wait_timeout(queue, wait).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }
}
