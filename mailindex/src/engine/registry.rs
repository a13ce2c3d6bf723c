//! Which mailboxes are open in an `Env`, and the states of some that were.
//!
//! # Invariants
//!
//! 1. Sharing is for speed; nothing is wrong when two handles to one mailbox do not share (two `Env`s never do).
//! 2. What is parked holds no handle of the `Env`: the `Env` can end while states are parked.
//! 3. Parked states are bounded in bytes and in number; the one that was not used for longest goes first.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use super::{MailboxIndex, live::Live};

/// How many states are parked at most: each keeps a descriptor.
const PARKED_MAX: usize = 256;

/// What identifies an index within a file system.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Key {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) prefix: String,
}

struct Parked {
    key: Key,
    live: Live,
    len: usize,
}

#[derive(Default)]
struct Tables {
    open: HashMap<Key, Weak<MailboxIndex>>,
    /// Least recently used first.
    parked: VecDeque<Parked>,
    parked_len: usize,
}

/// See the module.
pub(super) struct Registry {
    len_max: usize,
    tables: Mutex<Tables>,
}

impl Registry {
    pub(super) fn new(len_max: usize) -> Self {
        Self { len_max, tables: Mutex::default() }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn find(&self, key: &Key) -> Option<Arc<MailboxIndex>> {
        self.tables().open.get(key).and_then(Weak::upgrade)
    }

    /// Enters a mailbox, unless another thread has just entered it: then that one counts.
    pub(super) fn enter(&self, key: &Key, index: Arc<MailboxIndex>) -> Arc<MailboxIndex> {
        let mut tables = self.tables();
        if let Some(other) = tables.open.get(key).and_then(Weak::upgrade) {
            return other;
        }
        tables.open.insert(key.clone(), Arc::downgrade(&index));
        index
    }

    /// Puts a mailbox in the place of one that was deleted and made anew.
    pub(super) fn replace(&self, key: &Key, index: &Arc<MailboxIndex>) {
        self.tables().open.insert(key.clone(), Arc::downgrade(index));
    }

    /// The last handle of a mailbox is gone: keeps what is known of it for the next who opens it.
    pub(super) fn park(&self, key: &Key, live: Option<Live>) {
        let mut tables = self.tables();
        if tables.open.get(key).is_some_and(|weak| weak.strong_count() == 0) {
            tables.open.remove(key);
        }
        let Some(live) = live else { return };
        let len = live.memory_len();
        if len > self.len_max {
            return;
        }
        let old = tables.take(key);
        tables.parked_len += len;
        tables.parked.push_back(Parked { key: key.clone(), live, len });
        let mut dropped = Vec::new();
        while tables.parked_len > self.len_max || tables.parked.len() > PARKED_MAX {
            let Some(parked) = tables.parked.pop_front() else { break };
            tables.parked_len -= parked.len;
            dropped.push(parked);
        }
        drop(tables);
        drop((old, dropped)); // closes files: not under the mutex
    }

    pub(super) fn unpark(&self, key: &Key) -> Option<Live> {
        self.tables().take(key).map(|parked| parked.live)
    }
}

impl Tables {
    fn take(&mut self, key: &Key) -> Option<Parked> {
        let at = self.parked.iter().position(|parked| parked.key == *key)?;
        let parked = self.parked.remove(at)?;
        self.parked_len -= parked.len;
        Some(parked)
    }
}
