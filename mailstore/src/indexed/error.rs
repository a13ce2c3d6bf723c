//! Errors of the index, as the storage traits tell them.

use mailindex::engine::{CommitError, IndexError, OpError};
use mailtypes::{MailboxName, Uid};

use crate::{storage_error::from_fs, traits::StorageError};

/// About one mailbox.
pub(crate) fn from_index(name: &MailboxName, error: &IndexError) -> StorageError {
    match error {
        IndexError::NotFound { .. } | IndexError::Deleted { .. } => StorageError::Deleted(name.clone()),
        IndexError::Corrupt(damage) => {
            StorageError::Corrupt { path: damage.path.clone(), offset: damage.offset, what: damage.what.clone() }
        }
        IndexError::LockTimeout { .. } => StorageError::Unavailable(error.to_string()),
        IndexError::UidsExhausted { .. } => {
            StorageError::Limit { name: "uid_max", limit: u64::from(Uid::MAX_ON_DISK.value()) }
        }
        IndexError::Fs(e) => from_fs(e),
        other => StorageError::Io(other.to_string()),
    }
}

/// Why a commit of one mailbox failed.
pub(crate) fn from_commit(name: &MailboxName, error: &CommitError) -> StorageError {
    let cause = match &*error.source {
        OpError::Index(e) => from_index(name, e),
        OpError::Fs(e) => from_fs(e),
        OpError::Refused(e) if e.is::<StorageError>() => match e.downcast_ref() {
            Some(StorageError::Io(_)) | None => StorageError::Io(error.to_string()),
            Some(own) => StorageError::clone(own),
        },
        other => StorageError::Io(other.to_string()),
    };
    match cause {
        // With the stage, which is what an administrator needs to know.
        StorageError::Io(_) => StorageError::Io(error.to_string()),
        StorageError::NoSpace(_) => StorageError::NoSpace(error.to_string()),
        StorageError::Unavailable(_) => StorageError::Unavailable(error.to_string()),
        other => other,
    }
}
