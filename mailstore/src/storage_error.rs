//! Errors of the layers below, as the storage traits tell them.

use std::io::ErrorKind;

use mailfs::FsError;

use crate::traits::StorageError;

/// What a failing file-system call means to a store. The texts name operation and path, and are for the log.
pub(crate) fn from_fs(error: &FsError) -> StorageError {
    let text = error.to_string();
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => StorageError::NoSpace(text),
        ErrorKind::ReadOnlyFilesystem => StorageError::ReadOnly(text),
        ErrorKind::TimedOut | ErrorKind::WouldBlock => StorageError::Unavailable(text),
        _ => StorageError::Io(text),
    }
}

impl From<FsError> for StorageError {
    fn from(error: FsError) -> Self {
        from_fs(&error)
    }
}
