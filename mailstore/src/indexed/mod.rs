//! What backends share whose flags, UIDs and computed values are in Dovecot's index: handles, views, scans, batches, the
//! change feed, the application of flag changes. A backend adds where its messages lie ([`MessageFiles`]) and how they
//! get there ([`Backend`]).
//!
//! # Invariants
//!
//! 1. A view pins a state of the index. What it shows changes only when the session says so.
//! 2. Nothing here takes a lock but by way of the engine; views wait for none.
//! 3. What is read by a file's name counts only if the mailbox is still in its folder afterwards: another may have been put
//!    there since it was opened. It is asked once for many messages.
//! 4. A message's file is opened only for what neither the record nor the cache nor [`MessageFiles::known`] tells.

mod backend;
mod body;
mod body_writer;
mod cached;
mod change;
mod commit;
mod deletion;
mod error;
mod fill;
mod flags;
mod handle;
mod mailbox;
mod orders;
mod private;
mod saving;
mod scan;
mod source;
mod stamp;
mod view;
mod vsize;
mod watch;

use std::time::SystemTime;

use mailindex::state::State;
use mailtypes::{Guid, Uid};

pub use self::body_writer::{BodyLineEnds, WriterOptions, Written, WrittenBody};
use self::flags::{Applied, apply, effective};
pub(crate) use self::{
    backend::{AnyBackend, Backend, CopyFrom, First, Staged},
    body_writer::{BodyWriteError, BodyWriter, Closing},
    change::{change, change_messages},
    deletion::{is_deleted, mark_deleted},
    error::{from_commit, from_index},
    fill::values_of_saved,
    flags::records,
    handle::{IndexedMailbox, indexed_of},
    mailbox::{Indexed, lost},
    private::{PRIVATE_PREFIX, Private, look_at_private, mend_private},
    saving::{TempFile, Unsynced, link_or_copy, new_guid, unix_now},
    watch::{FolderWatch, Stir},
};
use crate::traits::{FileIdentity, Freshness, Result, Wake, Watch};

/// What the names of index files begin with.
pub(crate) const PREFIX: &str = "dovecot.index";

/// Where the messages of one mailbox lie.
pub(crate) trait MessageFiles: Send + Sync {
    /// Opens a message of a state; one whose file is not there (any more) is
    /// [`StorageError::Expunged`](crate::StorageError::Expunged).
    fn open(&self, state: &State, uid: Uid) -> Result<Box<dyn StoredMessage>>;

    /// What can be told of a message without opening it.
    fn known(&self, _uid: Uid) -> Known {
        Known::default()
    }

    /// [`View::saved_uidl`](crate::View::saved_uidl).
    fn saved_uidl(&self, state: &State, uid: Uid) -> Result<Option<Vec<u8>>> {
        self.open(state, uid)?.saved_uidl()
    }

    /// [`View::saved_pop3_order`](crate::View::saved_pop3_order).
    fn saved_pop3_order(&self, state: &State, uid: Uid) -> Result<Option<u32>> {
        self.open(state, uid)?.saved_pop3_order()
    }

    /// Has the files tell of the next UID, where they do, what the index says. Called without a lock.
    fn note_next_uid(&self, _mailbox: &Indexed) -> Result<()> {
        Ok(())
    }

    /// [`View::file_identity`](crate::View::file_identity).
    fn file_identity(&self, _uid: Uid) -> Option<FileIdentity> {
        None
    }

    /// Brings what others did to the files into the index. `takes_recent`: a session that takes the recent messages asks.
    fn look(&self, _mailbox: &Indexed, _takes_recent: bool) -> Result<()> {
        Ok(())
    }

    /// One who had the mailbox open is done with it: what was put off is done soon.
    fn close(&self) {}

    /// What was put off is done now.
    fn checkpoint(&self) {}

    /// Whether the files may have changed since they were looked at; no system call.
    fn freshness(&self) -> Freshness {
        Freshness::Same
    }

    /// The first UID that was given in memory alone, the store being opened for reading.
    fn made_up_from(&self) -> Option<Uid> {
        None
    }

    /// Calls `wake` after changes of the files that the index's own watch does not see.
    fn watch(&self, _wake: Wake) -> Result<Option<Box<dyn Watch>>> {
        Ok(None)
    }
}

/// See [`MessageFiles::known`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Known {
    /// Bytes with CRLF line ends.
    pub(crate) virtual_size: Option<u64>,
    /// Its global identity.
    pub(crate) guid: Option<Guid>,
}

/// A message's file, open.
pub(crate) trait StoredMessage: Send {
    /// Bytes of the plain text, line ends as stored.
    fn stored_len(&self) -> u64;
    /// Reads from `offset`; fewer bytes than asked for only at the end.
    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize>;
    /// Bytes with CRLF line ends, if the file tells.
    fn virtual_size(&self) -> Result<Option<u64>>;
    /// When it arrived, Unix seconds.
    fn received(&self) -> Result<Option<u32>>;
    /// When it was put here.
    fn changed(&self) -> SystemTime;
    /// Its global identity.
    fn guid(&self) -> Result<Option<Guid>>;
    /// The POP3 unique id that was saved with it.
    fn saved_uidl(&self) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }
    /// The place in a maildrop that was saved with it.
    fn saved_pop3_order(&self) -> Result<Option<u32>> {
        Ok(None)
    }
    /// To be called before [`StoredMessage::stored_len`], and before all of the text is read: finds out where all of it
    /// lies and how long it is. Fails if it is not all there, or cannot be read as plain text.
    fn prepare(&self) -> Result<()> {
        Ok(())
    }
}
