//! The bounded pool on which all blocking work runs, in steps, fair between users.
//!
//! Invariants: no more threads than [`PoolOptions::threads`]; of one user no more steps run at once than
//! [`PoolOptions::steps_per_user_max`]; users with waiting steps take turns, so that a thousand steps of one user delay
//! another's by one step. A started step runs to its end even if nobody waits for it any more; one that has not started
//! by then is dropped. A step that panics fails alone.

use std::{
    collections::{HashMap, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
};

use tokio::sync::oneshot;
use tracing::error;

use crate::UserName;

/// How large a pool is.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// What its threads are called in the system's tools.
    pub name: &'static str,
    /// Most threads; started when first needed.
    pub threads: usize,
    /// Most steps of one user that run at once.
    pub steps_per_user_max: usize,
    /// Most steps that wait.
    pub waiting_steps_max: usize,
}

impl PoolOptions {
    /// For storage: steps wait for disks more than they compute.
    pub fn storage() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self { name: "storage", threads: (cores * 4).clamp(8, 64), steps_per_user_max: 4, waiting_steps_max: 100_000 }
    }

    /// For password hashing: steps compute only; half of the cores may be kept busy by strangers.
    pub fn passwords() -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let threads = (cores / 2).max(1);
        Self { name: "passwords", threads, steps_per_user_max: 1, waiting_steps_max: 1_000 }
    }
}

/// Why a step brought nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PoolError {
    /// The step panicked (what it said is in the log); what it had taken along is gone.
    #[error("a storage step panicked")]
    Panicked,
    /// Too many steps wait.
    #[error("too many storage steps wait")]
    Full,
}

/// A pool of threads for blocking work. Cheap to clone; its threads end when the last clone is dropped and no step
/// waits.
#[derive(Clone, Debug)]
pub struct StoragePool {
    handle: Arc<Handle>,
}

#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    options: PoolOptions,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    users: HashMap<UserName, Queue>,
    /// Users who have a step waiting and may run one more, in the order of their turns; each at most once.
    turns: VecDeque<UserName>,
    waiting: usize,
    running: usize,
    threads: usize,
    idle_threads: usize,
    ending: bool,
}

#[derive(Default)]
struct Queue {
    steps: VecDeque<Step>,
    running: usize,
    has_turn: bool,
}

type Step = Box<dyn FnOnce() + Send>;

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("steps", &self.steps.len()).field("running", &self.running).finish()
    }
}

impl StoragePool {
    /// A pool without a thread yet.
    pub fn new(options: PoolOptions) -> Self {
        let shared = Shared { options, state: Mutex::default(), wake: Condvar::new() };
        Self { handle: Arc::new(Handle { shared: Arc::new(shared) }) }
    }

    /// Runs one step of a user's work on a thread of the pool. What the step needs travels with it and back in `T`, so
    /// that no lock guards it.
    pub async fn run<T: Send + 'static>(
        &self,
        user: &UserName,
        step: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PoolError> {
        let (tell, told) = oneshot::channel();
        let step = move || {
            if tell.is_closed() {
                return;
            }
            match catch_unwind(AssertUnwindSafe(step)) {
                // Nobody hears it when the session is gone.
                Ok(value) => drop(tell.send(value)),
                Err(panic) => {
                    error!(panic = panic_text(&*panic), "a storage step panicked");
                    // Whatever was thrown may panic again when it is dropped.
                    std::mem::forget(panic);
                }
            }
        };
        self.handle.shared.enqueue(user, Box::new(step))?;
        told.await.map_err(|_| PoolError::Panicked)
    }

    /// Threads that run a step now.
    pub fn busy_threads(&self) -> usize {
        self.handle.shared.lock().running
    }

    /// Steps that wait for a thread.
    pub fn waiting_steps(&self) -> usize {
        self.handle.shared.lock().waiting
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("?")
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.lock().ending = true;
        self.shared.wake.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enqueue(self: &Arc<Self>, user: &UserName, step: Step) -> Result<(), PoolError> {
        let mut state = self.lock();
        if state.waiting >= self.options.waiting_steps_max {
            return Err(PoolError::Full);
        }
        state.waiting += 1;
        let queue = state.users.entry(user.clone()).or_default();
        queue.steps.push_back(step);
        let has_new_turn = !queue.has_turn && queue.running < self.options.steps_per_user_max;
        if has_new_turn {
            queue.has_turn = true;
            state.turns.push_back(user.clone());
        }
        if state.turns.len() > state.idle_threads && state.threads < self.options.threads {
            return self.start_thread(state);
        }
        // Woken without the lock held, so that the thread need not wait for it.
        drop(state);
        if has_new_turn {
            self.wake.notify_one();
        }
        Ok(())
    }

    fn start_thread(self: &Arc<Self>, mut state: MutexGuard<'_, State>) -> Result<(), PoolError> {
        let shared = Arc::clone(self);
        match thread::Builder::new().name(self.options.name.to_owned()).spawn(move || shared.work()) {
            Ok(_) => state.threads += 1,
            // With other threads there, the step waits for one of them.
            Err(error) if state.threads > 0 => error!(%error, "cannot start a thread"),
            Err(error) => {
                error!(%error, "cannot start a thread");
                let dropped = std::mem::take(&mut *state);
                drop(state);
                drop(dropped);
                return Err(PoolError::Full);
            }
        }
        Ok(())
    }

    /// A thread's life.
    fn work(&self) {
        let mut state = self.lock();
        loop {
            let Some((user, step)) = self.take_step(&mut state) else {
                if state.ending {
                    state.threads -= 1;
                    return;
                }
                state.idle_threads += 1;
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle_threads -= 1;
                continue;
            };
            drop(state);
            // Steps contain their own panics; this holds the thread where dropping what a step captured panics.
            let _ = catch_unwind(AssertUnwindSafe(step));
            state = self.lock();
            state.running -= 1;
            self.give_back(&mut state, &user);
        }
    }

    fn take_step(&self, state: &mut State) -> Option<(UserName, Step)> {
        let user = state.turns.pop_front()?;
        let queue = state.users.get_mut(&user)?;
        let step = queue.steps.pop_front()?;
        queue.running += 1;
        queue.has_turn = !queue.steps.is_empty() && queue.running < self.options.steps_per_user_max;
        if queue.has_turn {
            state.turns.push_back(user.clone());
            if state.idle_threads > 0 {
                self.wake.notify_one();
            }
        }
        state.waiting -= 1;
        state.running += 1;
        Some((user, step))
    }

    fn give_back(&self, state: &mut State, user: &UserName) {
        let Some(queue) = state.users.get_mut(user) else { return };
        queue.running -= 1;
        if queue.steps.is_empty() {
            if queue.running == 0 {
                state.users.remove(user);
            }
        } else if !queue.has_turn {
            queue.has_turn = true;
            state.turns.push_back(user.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        time::Duration,
    };

    use super::*;

    fn pool(threads: usize, steps_per_user_max: usize) -> StoragePool {
        StoragePool::new(PoolOptions { name: "test", threads, steps_per_user_max, waiting_steps_max: 10_000 })
    }

    fn user(name: &str) -> UserName {
        UserName::new(name).unwrap()
    }

    #[tokio::test]
    async fn a_panic_fails_its_step_alone() {
        let pool = pool(1, 1);
        let panicked = pool.run(&user("ann"), || -> u32 { panic!("on purpose") }).await;
        assert_eq!(panicked, Err(PoolError::Panicked));
        assert_eq!(pool.run(&user("ann"), || 7).await, Ok(7));
    }

    #[tokio::test]
    async fn users_take_turns() {
        let pool = pool(1, 1);
        let (go, gate) = mpsc::channel::<()>();
        let order = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = vec![];
        let blocker = pool.clone();
        tasks.push(tokio::spawn(async move {
            blocker
                .run(&user("zoe"), move || {
                    let _ = gate.recv();
                })
                .await
                .unwrap()
        }));
        while pool.busy_threads() == 0 {
            tokio::task::yield_now().await;
        }
        for name in ["ann", "ann", "ann", "ann", "bob", "cyd"] {
            let (pool_of_task, order) = (pool.clone(), Arc::clone(&order));
            let waiting = pool.waiting_steps();
            tasks.push(tokio::spawn(async move {
                pool_of_task.run(&user(name), move || order.lock().unwrap().push(name)).await.unwrap();
            }));
            while pool.waiting_steps() == waiting {
                tokio::task::yield_now().await;
            }
        }
        go.send(()).unwrap();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*order.lock().unwrap(), ["ann", "bob", "cyd", "ann", "ann", "ann"]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn limits_hold_and_nothing_is_lost() {
        let pool = pool(4, 2);
        let (running, most, done) =
            (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..200)
            .map(|n| {
                let (pool, running, most, done) = (pool.clone(), running.clone(), most.clone(), done.clone());
                tokio::spawn(async move {
                    // One user's steps only, besides every tenth.
                    let name = if n % 10 == 0 { "bob" } else { "ann" };
                    let step = move || {
                        if name == "ann" {
                            let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                            most.fetch_max(now, Ordering::SeqCst);
                            thread::sleep(Duration::from_micros(200));
                            running.fetch_sub(1, Ordering::SeqCst);
                        }
                        done.fetch_add(1, Ordering::SeqCst);
                    };
                    pool.run(&user(name), step).await.unwrap();
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(done.load(Ordering::SeqCst), 200);
        assert!(most.load(Ordering::SeqCst) <= 2);
        // A step's outcome is told before its thread is free again.
        while pool.busy_threads() > 0 {
            tokio::task::yield_now().await;
        }
        assert!(pool.handle.shared.lock().users.is_empty(), "users without work cost nothing");
    }

    #[tokio::test]
    async fn a_step_nobody_waits_for_is_dropped_before_it_starts() {
        let pool = pool(1, 1);
        let (go, gate) = mpsc::channel::<()>();
        let blocker = pool.clone();
        let blocked = tokio::spawn(async move {
            blocker
                .run(&user("zoe"), move || {
                    let _ = gate.recv();
                })
                .await
        });
        while pool.busy_threads() == 0 {
            tokio::task::yield_now().await;
        }
        let ran = Arc::new(AtomicUsize::new(0));
        let (given_up, seen) = (pool.clone(), ran.clone());
        let task =
            tokio::spawn(async move { given_up.run(&user("ann"), move || seen.fetch_add(1, Ordering::SeqCst)).await });
        while pool.waiting_steps() == 0 {
            tokio::task::yield_now().await;
        }
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        go.send(()).unwrap();
        blocked.await.unwrap().unwrap();
        pool.run(&user("ann"), || ()).await.unwrap();
        assert_eq!(ran.load(Ordering::SeqCst), 0);
    }
}
