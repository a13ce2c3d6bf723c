//! What an operation sees and says while it is prepared.

use std::{
    any::Any,
    path::{Path, PathBuf},
    sync::Arc,
};

use mailfs::FileHandle;
use mailtypes::{Uid, UidSet};

use crate::{
    engine::{IndexError, OpError, StoreLock, cache_file::CacheValues},
    log::Transaction,
    state::State,
};

/// When an operation counts as done.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Durability {
    /// When it is in force; flushed soon after. For flag changes.
    #[default]
    Lazy,
    /// When it is on disk for good. For appends and expunges.
    Synced,
}

/// The place in the log where an operation is to be appended: the state there, and what it adds.
#[derive(Debug)]
pub struct CommitPoint<'a> {
    state: &'a State,
    dir: &'a Path,
    store_lock: Option<&'a mut dyn StoreLock>,
    next_uid: Option<Uid>,
    transaction: Transaction,
    durability: Durability,
    dirs: Vec<PathBuf>,
    files: Vec<FileHandle>,
    expunges: UidSet,
    cached: Vec<(Uid, CacheValues)>,
}

/// What an operation has said.
pub(super) struct Prepared {
    pub(super) transaction: Transaction,
    pub(super) durability: Durability,
    pub(super) dirs: Vec<PathBuf>,
    pub(super) files: Vec<FileHandle>,
    pub(super) expunges: UidSet,
    pub(super) cached: Vec<(Uid, CacheValues)>,
}

impl<'a> CommitPoint<'a> {
    pub(super) fn new(state: &'a State, dir: &'a Path, store_lock: Option<&'a mut dyn StoreLock>) -> Self {
        let next_uid = Some(state.next_uid()).filter(|uid| *uid <= Uid::MAX_ON_DISK);
        Self {
            state,
            dir,
            store_lock,
            next_uid,
            transaction: Transaction::default(),
            durability: Durability::default(),
            dirs: Vec::new(),
            files: Vec::new(),
            expunges: UidSet::new(),
            cached: Vec::new(),
        }
    }

    pub(super) fn finish(self) -> Prepared {
        let Self { transaction, durability, dirs, files, expunges, cached, .. } = self;
        Prepared { transaction, durability, dirs, files, expunges, cached }
    }

    /// The mailbox at the log's end, with what earlier operations of the batch added.
    pub fn state(&self) -> &'a State {
        self.state
    }

    /// Where the index lies: tells one mailbox from another.
    pub fn dir(&self) -> &'a Path {
        self.dir
    }

    /// What [`MessageStore::lock`](crate::engine::MessageStore::lock) gave, if it is of this type.
    pub fn store_lock<T: StoreLock>(&mut self) -> Option<&mut T> {
        let lock: &mut dyn Any = self.store_lock.as_deref_mut()?;
        lock.downcast_mut()
    }

    /// The UID for the next message that this operation appends; the record is the operation's to add.
    pub fn next_uid(&mut self) -> Result<Uid, OpError> {
        let uid = self.next_uid.ok_or_else(|| IndexError::UidsExhausted { dir: self.dir.to_owned() })?;
        self.next_uid = uid.successor().filter(|next| *next <= Uid::MAX_ON_DISK);
        Ok(uid)
    }

    /// UIDs below this one are not to be given any more, whatever the log says.
    pub fn raise_next_uid(&mut self, next: Uid) {
        self.next_uid = self.next_uid.map(|uid| uid.max(next)).filter(|uid| *uid <= Uid::MAX_ON_DISK);
    }

    /// The records to be appended.
    pub fn transaction(&mut self) -> &mut Transaction {
        &mut self.transaction
    }

    /// Expunges messages: asked for in the append, carried out in the store when that is durable, then recorded. UIDs
    /// that are not there (any more) are passed over.
    pub fn expunge(&mut self, uids: &UidSet) {
        self.expunges = self.expunges.union(&uids.intersection(&self.state.uids()));
        if !self.expunges.is_empty() {
            self.require_sync();
        }
    }

    /// A folder whose names must be durable before the append; synced once for the batch.
    pub fn sync_dir(&mut self, dir: &Path) {
        if !self.dirs.iter().any(|there| there == dir) {
            self.dirs.push(dir.to_owned());
        }
    }

    /// A file whose data must be durable before the append, such as a list of names that was added to under the lock.
    /// Given twice it is synced once.
    pub fn sync_file(&mut self, file: &FileHandle) {
        if !self.files.iter().any(|there| Arc::ptr_eq(there, file)) {
            self.files.push(Arc::clone(file));
        }
    }

    /// The operation is done only when the log is durable.
    pub fn require_sync(&mut self) {
        self.durability = Durability::Synced;
    }

    /// Values to be cached for a message, present or appended here. Best effort.
    pub fn cache(&mut self, uid: Uid, values: CacheValues) {
        if !values.is_empty() {
            self.cached.push((uid, values));
        }
    }
}
