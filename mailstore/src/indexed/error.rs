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
        IndexError::LockTimeout { .. } => StorageError::Unavailable(error.into()),
        IndexError::UidsExhausted { .. } => {
            StorageError::Limit { name: "uid_max", limit: u64::from(Uid::MAX_ON_DISK.value()) }
        }
        IndexError::Fs(e) => from_fs(e),
        other => StorageError::Io(other.into()),
    }
}

/// Why a commit of one mailbox failed.
pub(crate) fn from_commit(name: &MailboxName, error: &CommitError) -> StorageError {
    let cause = match &*error.source {
        OpError::Index(e) => from_index(name, e),
        OpError::Fs(e) => from_fs(e),
        OpError::Refused(e) if e.is::<StorageError>() => match e.downcast_ref() {
            None => StorageError::Io(error.to_string().into()),
            Some(own) => StorageError::clone(own),
        },
        other => StorageError::Io(other.into()),
    };
    match cause {
        // With the stage, which is what an administrator needs to know.
        StorageError::Io(failure) => StorageError::Io(failure.saying(error.to_string())),
        StorageError::NoSpace(failure) => StorageError::NoSpace(failure.saying(error.to_string())),
        StorageError::Unavailable(failure) => StorageError::Unavailable(failure.saying(error.to_string())),
        other => other,
    }
}
