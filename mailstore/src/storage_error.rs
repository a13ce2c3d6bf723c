//! Errors of the layers below, as the storage traits tell them.

use std::io::ErrorKind;

use mailfs::FsError;
use mailindex::engine::{IndexError, OpError};

use crate::traits::{Failure, StorageError};

/// What a failing file-system call means to a store. The texts name operation and path, and are for the log.
pub(crate) fn from_fs(error: &FsError) -> StorageError {
    let failure = Failure::from(error);
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StorageError::NoSpace(failure),
        ErrorKind::ReadOnlyFilesystem => StorageError::ReadOnly(failure),
        ErrorKind::TimedOut | ErrorKind::WouldBlock => StorageError::Unavailable(failure),
        _ => StorageError::Io(failure),
    }
}

impl From<&FsError> for Failure {
    fn from(error: &FsError) -> Self {
        Self::of_file(error.to_string(), &error.path, &error.source)
    }
}

impl From<&IndexError> for Failure {
    fn from(error: &IndexError) -> Self {
        match error {
            IndexError::Fs(error) => error.into(),
            IndexError::LockTimeout { path, .. } => Self::about(error.to_string(), path, ErrorKind::TimedOut),
            IndexError::NotFound { dir } => Self::about(error.to_string(), dir, ErrorKind::NotFound),
            IndexError::Store { dir, .. } | IndexError::Unwritable { dir, .. } => {
                Self::about(error.to_string(), dir, ErrorKind::Other)
            }
            other => other.to_string().into(),
        }
    }
}

impl From<&OpError> for Failure {
    fn from(error: &OpError) -> Self {
        match error {
            OpError::Index(error) => error.into(),
            OpError::Fs(error) => error.into(),
            other => other.to_string().into(),
        }
    }
}

impl From<FsError> for StorageError {
    fn from(error: FsError) -> Self {
        from_fs(&error)
    }
}
