//! One mailbox's index, as all handles of an `Env` share it.

use std::{
    any::Any,
    fmt,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use mailfs::Wake;

use super::{
    Env, Freshness, IndexError, IndexWatch, MessageStore, Result,
    cache_file::{CacheSlot, Fills},
    commit::Queue,
    live::Live,
    log_file::LogFile,
    paths::Paths,
    registry::Key,
    watch::Bell,
};
use crate::{
    replay::Stop,
    state::{Deletion, LogPosition, State},
};

/// A mailbox's index: its log, and the state that views see. One per mailbox and [`Env`], shared by all who open it.
///
/// Opened by [`MailboxIndex::open`], made by [`MailboxIndex::create`]. Never holds a mutex while it waits for a lock or
/// a sync, so [`MailboxIndex::state`] and [`MailboxIndex::refresh`] do not wait for commits.
pub struct MailboxIndex {
    env: Env,
    pub(super) paths: Paths,
    key: Key,
    pub(super) store: Arc<dyn MessageStore>,
    queue: Queue,
    live: Mutex<Slot>,
    published: RwLock<State>,
    bell: Arc<Bell>,
    gone: AtomicBool,
    pub(super) snapshot_scheduled: AtomicBool,
    pub(super) purge_scheduled: AtomicBool,
    fills: Mutex<Fills>,
    cache: Mutex<CacheSlot>,
    /// Number of a log and the place in it up to which this process has had flags written to the store.
    carried_out: Mutex<(u32, u32)>,
    /// Inode of the log that has a second name.
    pub(super) kept: AtomicU64,
}

/// What is known of the log, and whether a commit is between its append and its sync.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) live: Live,
    /// A commit of ours holds the log's lock: nobody else can append, and what it has appended is not to be seen yet.
    pub(super) committing: bool,
}

impl MailboxIndex {
    pub(super) fn new(env: Env, paths: Paths, key: Key, store: Arc<dyn MessageStore>, live: Live) -> Self {
        let published = RwLock::new(live.state.clone());
        Self {
            env,
            paths,
            key,
            store,
            queue: Queue::default(),
            live: Mutex::new(Slot { live, committing: false }),
            published,
            bell: Arc::default(),
            gone: AtomicBool::new(false),
            snapshot_scheduled: AtomicBool::new(false),
            purge_scheduled: AtomicBool::new(false),
            fills: Mutex::default(),
            cache: Mutex::default(),
            carried_out: Mutex::default(),
            kept: AtomicU64::new(0),
        }
    }

    /// The store of whoever opened it first, as [`MessageStore::as_any`] gives it.
    pub fn store(&self) -> Option<Arc<dyn Any + Send + Sync>> {
        Arc::clone(&self.store).as_any()
    }

    /// From where on in the log of `state` flags are still to be written to the store, as far as this process knows.
    /// [`MessageStore::counts_references`](super::MessageStore::counts_references) of its store.
    pub fn counts_references(&self) -> bool {
        self.store.counts_references()
    }

    pub(super) fn carried_out(&self, state: &State) -> u32 {
        let (file_seq, offset) = *self.carried_out.lock().unwrap_or_else(PoisonError::into_inner);
        if state.position().is_some_and(|position| position.file_seq == file_seq) { offset } else { 0 }
    }

    pub(super) fn set_carried_out(&self, state: &State) {
        let at = state.position().map_or((0, 0), |position| (position.file_seq, position.offset));
        *self.carried_out.lock().unwrap_or_else(PoisonError::into_inner) = at;
    }

    /// The `Env` it was opened in.
    pub fn env(&self) -> &Env {
        &self.env
    }

    /// The index folder.
    pub fn dir(&self) -> &Path {
        &self.paths.dir
    }

    /// The state as last seen; no system call. Never holds what is not durable of our own appends.
    pub fn state(&self) -> State {
        self.published.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where [`MailboxIndex::state`] is in the log; no system call.
    pub fn log_position(&self) -> Option<LogPosition> {
        self.state().position()
    }

    /// Whether a view at `position` is up to date; no system call.
    pub fn freshness(&self, position: LogPosition) -> Freshness {
        if self.is_deleted() || self.log_position() != Some(position) {
            return Freshness::Changed;
        }
        match self.bell.may_have_changed() {
            Some(false) => Freshness::Same,
            Some(true) | None => Freshness::Unknown,
        }
    }

    /// Calls `wake` after changes by anyone, and often without; from any thread, so it must not block. Until the watch is
    /// dropped, [`MailboxIndex::freshness`] can say [`Freshness::Same`].
    pub fn watch(&self, wake: Wake) -> Result<IndexWatch> {
        Ok(self.bell.listen(&**self.env.fs(), &self.paths.dir, wake)?)
    }

    /// Whether the mailbox is known to be deleted. Every operation on it fails with [`IndexError::Deleted`].
    pub fn is_deleted(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    pub(super) fn deleted_error(&self) -> IndexError {
        IndexError::Deleted { dir: self.paths.dir.clone() }
    }

    pub(super) fn check_not_deleted(&self) -> Result<()> {
        if self.is_deleted() { Err(self.deleted_error()) } else { Ok(()) }
    }

    pub(super) fn set_deleted(&self) {
        if !self.gone.swap(true, Ordering::AcqRel) {
            self.bell.ring();
        }
    }

    pub(super) fn fills(&self) -> MutexGuard<'_, Fills> {
        self.fills.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn cache_slot(&self) -> MutexGuard<'_, CacheSlot> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn queue(&self) -> &Queue {
        &self.queue
    }

    pub(super) fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    pub(super) fn slot(&self) -> MutexGuard<'_, Slot> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn log_file(&self) -> Arc<LogFile> {
        Arc::clone(&self.slot().live.log)
    }

    /// Goes on to the end of the log ([`Live::catch_up`]). Another folder, or another index in it, means that the mailbox
    /// was renamed or made anew: for those who have it open it is deleted.
    pub(super) fn catch_up(&self, slot: &mut Slot) -> Result<Stop> {
        let (log, index_id) = (Arc::clone(&slot.live.log), slot.live.state.index_id());
        let stop = slot.live.catch_up(&**self.env.fs(), &self.paths)?;
        let is_same = Arc::ptr_eq(&log, &slot.live.log);
        if !is_same && (slot.live.state.index_id() != index_id || !self.is_in_its_folder()?) {
            return Err(self.deleted_error());
        }
        Ok(stop)
    }

    /// Device and inode of the folder that was opened: what stays of it when it is renamed.
    pub fn folder(&self) -> (u64, u64) {
        (self.key.device, self.key.inode)
    }

    /// Fails with [`IndexError::Deleted`] if the path does not lead to the folder any more that was opened. Else whatever was
    /// opened below the path before is the mailbox's own. Costs a `stat`.
    pub fn check_place(&self) -> Result<()> {
        if self.is_in_its_folder()? { Ok(()) } else { Err(self.deleted_error()) }
    }

    /// Whether the path still leads to the folder that was opened.
    pub(super) fn is_in_its_folder(&self) -> Result<bool> {
        let there = self.env.fs().metadata(&self.paths.dir)?;
        Ok(there.is_some_and(|there| (there.device, there.inode) == (self.key.device, self.key.inode)))
    }

    /// Lets views see the slot's state; the slot is proof that nobody publishes an older one after it. Tells whether it is
    /// another one: then [`MailboxIndex::announce`] is to be called, the slot being released.
    pub(super) fn publish(&self, slot: &Slot) -> bool {
        let state = &slot.live.state;
        let mut published = self.published.write().unwrap_or_else(PoisonError::into_inner);
        let changed = published.position() != state.position();
        *published = state.clone();
        changed
    }

    /// Wakes whoever waits for changes.
    pub(super) fn announce(&self, changed: bool) {
        if changed {
            if self.state().deletion() == Deletion::Done {
                self.set_deleted();
            }
            self.bell.changed();
        }
    }
}

impl Drop for MailboxIndex {
    fn drop(&mut self) {
        let deleted = self.is_deleted();
        let live = self.live.get_mut().unwrap_or_else(PoisonError::into_inner).live.clone();
        self.env.registry().park(&self.key, (!deleted).then_some(live));
    }
}

impl fmt::Debug for MailboxIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MailboxIndex").field("dir", &self.paths.dir).finish_non_exhaustive()
    }
}
