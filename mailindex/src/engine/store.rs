//! What the engine asks of the mail store.

use std::{any::Any, error::Error, fmt, sync::Arc, time::Duration};

use mailfs::FileHandle;
use mailtypes::UidSet;

use super::Result;
use crate::{
    log::Transaction,
    state::{FlagRequest, State},
};

/// Why a store did not do what it was asked for.
pub type StoreError = Box<dyn Error + Send + Sync>;

/// What a log's lock is wanted for.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum LockFor {
    /// Flags and what is about the index alone.
    Flags,
    /// The messages are looked at.
    Reading,
    /// Messages may come or go as well.
    Messages,
}

/// A lock of the store's own, held as long as a log's; and what the store records under it of a batch, in files of its own.
///
/// Called in this order: for each operation [`StoreLock::mark`], and [`StoreLock::back_to_mark`] where it fails; then
/// [`StoreLock::write`] and [`StoreLock::take_back`], or [`StoreLock::gone`] and [`StoreLock::publish`].
pub trait StoreLock: Any + fmt::Debug {
    /// Another operation of the batch is about to be prepared.
    fn mark(&mut self) {}

    /// Forgets what was asked for since the mark.
    fn back_to_mark(&mut self) {}

    /// All operations are prepared: writes what the log is about to refer to. Tells what is to be synced before the log is
    /// appended to; what must be durable before *that* is written, it syncs itself.
    fn write(&mut self) -> Result<Vec<FileHandle>> {
        Ok(Vec::new())
    }

    /// The batch is not in force: undoes what [`StoreLock::write`] did.
    fn take_back(&mut self) {}

    /// The log says durably that these messages are gone, which are still there in `state`.
    fn gone(&mut self, _state: &State, _uids: &UidSet) -> std::result::Result<(), StoreError> {
        Ok(())
    }

    /// The batch is in force, and views are about to see it.
    fn publish(&mut self) {}
}

/// What the engine asks of the mail store, under the log's lock.
pub trait MessageStore: Send + Sync {
    /// Removes messages' bodies, after the log says that the messages are gone; in `state` they are still there. One that
    /// is not there is fine. When it fails, a body stays that nothing refers to.
    fn remove(&self, state: &State, uids: &UidSet) -> std::result::Result<(), StoreError>;

    /// The same for a store that [keeps flags](Self::keeps_flags), adding to the transaction what is to be recorded along
    /// with it, such as where other messages lie now.
    fn remove_recording(
        &self,
        state: &State,
        uids: &UidSet,
        _more: &mut Transaction,
    ) -> std::result::Result<(), StoreError> {
        self.remove(state, uids)
    }

    /// Takes a lock of the store's own, which is held as long as the log's and taken before it. With a timeout of zero one
    /// try is made, and [`IndexError::LockTimeout`](super::IndexError::LockTimeout) or
    /// [`FsError::is_timeout`](mailfs::FsError::is_timeout) is the answer where somebody else has it. `ranked`: the lock
    /// order is to be checked.
    fn lock(&self, _timeout: Duration, _ranked: bool, _what_for: LockFor) -> Result<Option<Box<dyn StoreLock>>> {
        Ok(None)
    }

    /// Whether messages go when the log says so, and no body has to: then expunges are recorded at once, with the GUIDs of
    /// the messages, and [`StoreLock::gone`] is told instead of [`MessageStore::remove`].
    fn counts_references(&self) -> bool {
        false
    }

    /// Whether messages are removed under the lock for [`LockFor::Messages`] alone: then it is taken as well where requests to
    /// expunge are found in the log.
    fn removes_under_lock(&self) -> bool {
        self.counts_references()
    }

    /// Whether flags are kept in the store too, as in the names of Maildir. Then internal records of flags are carried
    /// out by [`MessageStore::write_flags`], and bodies are removed *before* the log says that messages are gone: a
    /// body that is found is a message.
    fn keeps_flags(&self) -> bool {
        false
    }

    /// Writes flags and keywords of messages to the store: what `asked` speaks of as `state` has it. Adds to the
    /// transaction what is to be recorded along with it: what the store says otherwise than `state` and nothing in
    /// `asked` speaks of; messages for which that was not possible get
    /// [`RecordFlags::DIRTY`](crate::state::RecordFlags::DIRTY).
    fn write_flags(
        &self,
        _state: &State,
        _asked: &[(FlagRequest, UidSet)],
        _more: &mut Transaction,
    ) -> std::result::Result<(), StoreError> {
        Ok(())
    }

    /// Makes durable what [`MessageStore::write_flags`] and [`MessageStore::remove`] have done. Cheap where they have not.
    fn sync_names(&self) -> mailfs::Result<()> {
        Ok(())
    }

    /// Whether [`MessageStore::sync_names`] has something to do.
    fn owes_names(&self) -> bool {
        false
    }

    /// Whether flags, keywords, UIDs and which messages there are stand in the index alone. Then its files get second names
    /// ([`kept_state`](super::kept_state)).
    fn index_is_sole_record(&self) -> bool {
        false
    }

    /// Whether a damaged index may be put right from its own files alone. Else opening it, locking it and looking at it fail
    /// with [`IndexError::NeedsRebuild`](super::IndexError::NeedsRebuild) (but for a torn end, which is no damage), and
    /// nothing is written: other files must not go on with what an older state of this one says.
    fn is_put_right_alone(&self) -> bool {
        true
    }

    /// For [`MailboxIndex::store`](super::MailboxIndex::store).
    fn as_any(self: Arc<Self>) -> Option<Arc<dyn Any + Send + Sync>> {
        None
    }
}
