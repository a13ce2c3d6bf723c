//! One mailbox's state, shared by all its handles: what is committed, what is under way, who waits.

use std::{
    collections::BTreeMap,
    fmt, mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use mailtypes::{Guid, MailboxName, ModSeq, Uid, UidValidity};

use super::{commit::Work, history::History, snapshot::Snapshot};
use crate::traits::{Batch, Committed, Completer, Judged, MailboxIdentity, Result, Stamp, StorageError, Ticket, Wake};

pub(super) struct State {
    pub(super) guid: Guid,
    pub(super) uid_validity: UidValidity,
    /// The published snapshot's mod-sequence, which every change of a mailbox raises.
    visible: AtomicU64,
    deleted: AtomicBool,
    inner: Mutex<Inner>,
}

struct Inner {
    snapshot: Snapshot,
    history: History,
    /// Messages from here on are `\Recent` for the next session that selects the mailbox.
    recent_from: Uid,
    queue: Vec<Queued>,
    commit: Commit,
    watchers: BTreeMap<u64, Wake>,
    watchers_made: u64,
}

/// A batch and who waits for it.
struct Queued {
    /// As which it was opened, for errors.
    name: MailboxName,
    batch: Batch,
    completer: Completer,
}

enum Commit {
    None,
    /// Begun with these.
    UnderWay(Vec<Queued>),
    /// Being carried out right now.
    Ending,
}

/// What a view starts from.
pub(super) struct Look {
    pub(super) snapshot: Snapshot,
    pub(super) recent_from: Uid,
}

/// A commit that was published and not yet told of.
#[must_use]
pub(super) struct Done {
    /// More had been queued, and the next commit has begun with it.
    pub(super) began_another: bool,
    outcomes: Vec<(Completer, Result<Committed>)>,
    wakes: Vec<Wake>,
}

impl Done {
    /// Completes the tickets and wakes the watchers.
    pub(super) fn tell(self) {
        for (completer, outcome) in self.outcomes {
            completer.complete(outcome);
        }
        self.wakes.iter().for_each(|wake| wake());
    }
}

impl State {
    pub(super) fn new(guid: Guid, uid_validity: UidValidity) -> Self {
        let inner = Inner {
            snapshot: Snapshot::empty(),
            history: History::new(),
            recent_from: Uid::MIN,
            queue: Vec::new(),
            commit: Commit::None,
            watchers: BTreeMap::new(),
            watchers_made: 0,
        };
        Self {
            guid,
            uid_validity,
            visible: AtomicU64::new(ModSeq::MIN.value()),
            deleted: AtomicBool::new(false),
            inner: Mutex::new(inner),
        }
    }

    /// Held for moments only, never while a commit is carried out.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails if the mailbox was deleted; `name` is for the error.
    pub(super) fn check(&self, name: &MailboxName) -> Result<()> {
        if self.deleted.load(Ordering::Acquire) { Err(StorageError::Deleted(name.clone())) } else { Ok(()) }
    }

    pub(super) fn visible(&self) -> u64 {
        self.visible.load(Ordering::Acquire)
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        self.lock().snapshot.clone()
    }

    /// The state of now. With `takes_recent` no later look has these messages as recent.
    pub(super) fn look(&self, takes_recent: bool) -> Look {
        let mut inner = self.lock();
        let look = Look { snapshot: inner.snapshot.clone(), recent_from: inner.recent_from };
        if takes_recent {
            inner.recent_from = look.snapshot.uid_next;
        }
        look
    }

    pub(super) fn with_history<T>(&self, read: impl FnOnce(&History, &Snapshot) -> T) -> T {
        let inner = self.lock();
        read(&inner.history, &inner.snapshot)
    }

    /// Queues a batch. True if a commit began with it, which the caller must see ended.
    pub(super) fn queue(&self, name: &MailboxName, batch: Batch) -> (Ticket, bool) {
        let (ticket, completer) = Ticket::new();
        let mut inner = self.lock();
        inner.queue.push(Queued { name: name.clone(), batch, completer });
        (ticket, matches!(inner.commit, Commit::None) && inner.begin_commit())
    }

    /// Carries out the commit under way, makes it visible, and begins the next if there is something to commit.
    pub(super) fn end_commit(&self) -> Done {
        let (batches, snapshot) = {
            let mut inner = self.lock();
            let batches = match mem::replace(&mut inner.commit, Commit::Ending) {
                Commit::UnderWay(batches) => batches,
                Commit::None | Commit::Ending => Vec::new(),
            };
            (batches, inner.snapshot.clone())
        };
        let mut work = Work::new(snapshot, self);
        let mut outcomes = Vec::with_capacity(batches.len());
        for Queued { name, batch, completer } in batches {
            let outcome = self.check(&name).and_then(|()| work.apply(batch));
            outcomes.push((completer, outcome));
        }
        let (snapshot, events) = work.finish();
        let mut inner = self.lock();
        let changed = !events.is_empty();
        events.into_iter().for_each(|event| inner.history.push(event));
        self.visible.store(snapshot.highest_modseq.value(), Ordering::Release);
        inner.snapshot = snapshot;
        inner.commit = Commit::None;
        let began_another = inner.begin_commit();
        let wakes = if changed { inner.watchers.values().cloned().collect() } else { Vec::new() };
        Done { began_another, outcomes, wakes }
    }

    /// See [`crate::Mailbox::stamp`].
    pub(super) fn stamp(&self, stamp: &Stamp) {
        let mut inner = self.lock();
        inner.snapshot.stamp(stamp);
        inner.recent_from = stamp.recent_from;
        // What was counted otherwise is no history any more.
        inner.history = History::from(stamp.highest_modseq);
        self.visible.store(stamp.highest_modseq.value(), Ordering::Release);
    }

    /// Whatever is queued or comes later fails.
    pub(super) fn delete(&self) {
        self.deleted.store(true, Ordering::Release);
        let wakes: Vec<Wake> = self.lock().watchers.values().cloned().collect();
        wakes.iter().for_each(|wake| wake());
    }

    /// The same, if it is as somebody has judged it and nothing is under way; tells whether it was.
    pub(super) fn delete_if(&self, judged: &Judged) -> bool {
        let inner = self.lock();
        let there = Judged {
            identity: MailboxIdentity { guid: self.guid, uid_validity: self.uid_validity },
            uid_next: inner.snapshot.uid_next,
            highest_modseq: inner.snapshot.highest_modseq,
            messages: u32::try_from(inner.snapshot.mails.len()).unwrap_or(u32::MAX),
        };
        if there != *judged || !inner.queue.is_empty() || !matches!(inner.commit, Commit::None) {
            return false;
        }
        self.deleted.store(true, Ordering::Release);
        drop(inner);
        self.delete();
        true
    }

    pub(super) fn watch(&self, wake: Wake) -> u64 {
        let mut inner = self.lock();
        inner.watchers_made += 1;
        let id = inner.watchers_made;
        inner.watchers.insert(id, wake);
        id
    }

    pub(super) fn unwatch(&self, id: u64) {
        let wake = self.lock().watchers.remove(&id);
        // What the callback owns may lead back here when it is dropped: not under the lock.
        drop(wake);
    }
}

impl Inner {
    fn begin_commit(&mut self) -> bool {
        if self.queue.is_empty() {
            return false;
        }
        self.commit = Commit::UnderWay(mem::take(&mut self.queue));
        true
    }
}

impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State")
            .field("guid", &self.guid)
            .field("uid_validity", &self.uid_validity)
            .finish_non_exhaustive()
    }
}

/// The committed state of a copy's source.
pub(super) fn source_snapshot(state: &Arc<State>, name: &MailboxName) -> Result<Snapshot> {
    state.check(name)?;
    Ok(state.snapshot())
}
