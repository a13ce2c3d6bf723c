//! The threads of an `Env`: committers for those who do not wait themselves, and one for background work.
//!
//! # Invariants
//!
//! 1. The pool's mutex is never held while a mailbox is worked on or dropped.
//! 2. A mailbox that is in a list is kept alive by it, so that acknowledged flag changes are flushed even when every
//!    handle is gone.
//! 3. With [`Background::Manual`] there is no thread; [`Pool::drain`] does the same work.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, atomic::Ordering},
    thread::{self, JoinHandle},
    time::Duration,
};

use mailfs::FileSystem;

use super::{Background, EnvOptions, MailboxIndex, Result, commit, flusher};

/// How many commit threads more than asked for there may be when so many wait for locks of other processes.
const BLOCKED_THREADS_MAX: usize = 32;

/// Work that nobody waits for.
pub(super) enum Job {
    /// Write a snapshot if one is due.
    Snapshot(Arc<MailboxIndex>),
    /// Rewrite the cache if that is due.
    PurgeCache(Arc<MailboxIndex>),
}

struct DirtyLog {
    index: Arc<MailboxIndex>,
    /// On the file system's monotonic clock.
    due: Duration,
}

#[derive(Default)]
struct State {
    drives: VecDeque<Arc<MailboxIndex>>,
    jobs: VecDeque<Job>,
    dirty: Vec<DirtyLog>,
    committers: usize,
    committers_idle: usize,
    /// Those that wait for locks of other processes: others do the work meanwhile.
    committers_blocked: usize,
    background_runs: bool,
    stopping: bool,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    fs: Arc<dyn FileSystem>,
    background: Background,
    commit_threads: usize,
    gather_max: usize,
    flush_interval: Duration,
    state: Mutex<State>,
    /// Held while logs are flushed: who asks for a flush must not return before one that has begun is done.
    flushing: Mutex<()>,
    drives_changed: Condvar,
    jobs_changed: Condvar,
}

/// A committer waits for locks; see [`Pool::blocked`].
pub(super) struct Blocked<'a>(&'a Shared);

impl Drop for Blocked<'_> {
    fn drop(&mut self) {
        self.0.state().committers_blocked -= 1;
    }
}

/// See the module.
pub(super) struct Pool {
    shared: Arc<Shared>,
}

impl Pool {
    pub(super) fn new(fs: Arc<dyn FileSystem>, options: &EnvOptions) -> Self {
        let shared = Shared {
            fs,
            background: options.background,
            commit_threads: options.commit_threads.max(1),
            gather_max: options.commit_gather_max.max(1),
            flush_interval: options.flag_flush_interval,
            state: Mutex::default(),
            flushing: Mutex::default(),
            drives_changed: Condvar::new(),
            jobs_changed: Condvar::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Has somebody carry this mailbox's queue.
    pub(super) fn schedule_drive(&self, index: Arc<MailboxIndex>) {
        let mut state = self.shared.state();
        state.drives.push_back(index);
        if self.shared.background == Background::Manual {
            return;
        }
        self.shared.start_committer_if_needed(&mut state);
        self.shared.drives_changed.notify_one();
    }

    /// To be held by a committer while all it could do is wait for locks: another takes its place.
    pub(super) fn blocked(&self) -> Blocked<'_> {
        let mut state = self.shared.state();
        state.committers_blocked += 1;
        if self.shared.background == Background::Threads {
            self.shared.start_committer_if_needed(&mut state);
        }
        Blocked(&self.shared)
    }

    pub(super) fn schedule_job(&self, job: Job) {
        let mut state = self.shared.state();
        state.jobs.push_back(job);
        self.shared.wake_background(&mut state);
    }

    /// Remembers that the log has acknowledged bytes that are not durable.
    pub(super) fn schedule_flush(&self, index: Arc<MailboxIndex>) {
        let due = self.shared.fs.monotonic() + self.shared.flush_interval;
        let mut state = self.shared.state();
        state.dirty.push(DirtyLog { index, due });
        self.shared.wake_background(&mut state);
    }

    pub(super) fn drain(&self) -> bool {
        self.shared.drain()
    }

    pub(super) fn flush_all(&self) -> Result<()> {
        let dirty = std::mem::take(&mut self.shared.state().dirty);
        self.shared.flush(dirty.into_iter().map(|d| d.index).collect())
    }

    /// Makes durable what these mailboxes have acknowledged.
    pub(super) fn flush(&self, indexes: Vec<Arc<MailboxIndex>>) -> Result<()> {
        self.shared.flush(indexes)
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flush(&self, indexes: Vec<Arc<MailboxIndex>>) -> Result<()> {
        let _flushing = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        flusher::flush_logs(&*self.fs, indexes)
    }

    fn start_committer_if_needed(self: &Arc<Self>, state: &mut State) {
        let working = state.committers.saturating_sub(state.committers_blocked);
        let wanted = state.committers_idle < state.drives.len() && working < self.commit_threads;
        if !wanted || state.committers >= self.commit_threads + BLOCKED_THREADS_MAX {
            return;
        }
        let shared = Arc::clone(self);
        match thread::Builder::new().name("mailindex-commit".into()).spawn(move || shared.run_committer()) {
            Ok(thread) => {
                state.committers += 1;
                state.threads.push(thread);
            }
            Err(e) => tracing::error!("cannot start a commit thread: {e}"),
        }
    }

    fn wake_background(self: &Arc<Self>, state: &mut State) {
        if self.background == Background::Manual {
            return;
        }
        if !state.background_runs {
            let shared = Arc::clone(self);
            let spawned = thread::Builder::new().name("mailindex-work".into()).spawn(move || shared.run_background());
            match spawned {
                Ok(thread) => {
                    state.background_runs = true;
                    state.threads.push(thread);
                }
                Err(e) => tracing::error!("cannot start the background thread: {e}"),
            }
        }
        self.jobs_changed.notify_one();
    }

    fn take_drives(&self, state: &mut State) -> Vec<Arc<MailboxIndex>> {
        let count = state.drives.len().min(self.gather_max);
        state.drives.drain(..count).collect()
    }

    fn take_due(&self, state: &mut State) -> Vec<Arc<MailboxIndex>> {
        let now = self.fs.monotonic();
        // One sync for all: those that are nearly due come along, for a sync of many costs little more than of one.
        if !state.dirty.iter().any(|d| d.due <= now) {
            return Vec::new();
        }
        std::mem::take(&mut state.dirty).into_iter().map(|d| d.index).collect()
    }

    fn run_committer(self: Arc<Self>) {
        let mut state = self.state();
        loop {
            if !state.drives.is_empty() {
                let drives = self.take_drives(&mut state);
                drop(state);
                contained("committing", || commit::drive_many(drives));
                state = self.state();
            } else if state.stopping {
                return;
            } else {
                state.committers_idle += 1;
                state = self.drives_changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.committers_idle -= 1;
            }
        }
    }

    fn run_background(self: Arc<Self>) {
        let mut state = self.state();
        loop {
            let due = self.take_due(&mut state);
            let job = state.jobs.pop_front();
            if !due.is_empty() || job.is_some() {
                drop(state);
                self.work(due, job);
                state = self.state();
            } else if state.stopping {
                return;
            } else if let Some(next) = state.dirty.iter().map(|d| d.due).min() {
                let pause = next.saturating_sub(self.fs.monotonic()).max(Duration::from_millis(1));
                let waited = self.jobs_changed.wait_timeout(state, pause);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            } else {
                state = self.jobs_changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn work(&self, due: Vec<Arc<MailboxIndex>>, job: Option<Job>) {
        if !due.is_empty() {
            contained("flushing", || {
                // Each mailbox remembers its failure and tells the next commit.
                if let Err(e) = self.flush(due) {
                    tracing::error!("flag changes are not durable: {e}");
                }
            });
        }
        match job {
            Some(Job::Snapshot(index)) => contained("writing a snapshot", || {
                if let Err(e) = index.write_snapshot_if_due() {
                    tracing::warn!(dir = %index.dir().display(), "no snapshot written: {e}");
                }
            }),
            Some(Job::PurgeCache(index)) => contained("purging a cache", || {
                index.purge_scheduled.store(false, Ordering::Release);
                if let Err(e) = index.purge_cache_if_due() {
                    tracing::debug!(dir = %index.dir().display(), "the cache was not purged: {e}");
                }
            }),
            None => {}
        }
    }

    fn drain(&self) -> bool {
        let mut worked = false;
        loop {
            let mut state = self.state();
            let drives = self.take_drives(&mut state);
            let due = self.take_due(&mut state);
            let job = state.jobs.pop_front();
            drop(state);
            if drives.is_empty() && due.is_empty() && job.is_none() {
                return worked;
            }
            worked = true;
            if !drives.is_empty() {
                commit::drive_many(drives);
            }
            self.work(due, job);
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let threads = {
            let mut state = self.shared.state();
            state.stopping = true;
            std::mem::take(&mut state.threads)
        };
        self.shared.drives_changed.notify_all();
        self.shared.jobs_changed.notify_all();
        for thread in threads {
            // The last handle may have been dropped by one of the threads; that one ends by itself.
            if thread.thread().id() != thread::current().id() {
                // A panic of theirs was contained and told already.
                let _ = thread.join();
            }
        }
    }
}

/// A bug in one mailbox's work must not take the thread from all others.
fn contained(what: &str, work: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        tracing::error!("panic while {what}");
    }
}
