//! What is wrong with a compressed body, and where.

use std::path::Path;

use mailfs::FsError;

use crate::traits::StorageError;

/// Why a body could not be read as plain text.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CodecError {
    /// The stream is not what it should be.
    #[error("damaged at offset {offset}: {what}")]
    Damaged {
        /// Where in the file, in bytes: up to there it was read.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] FsError),
}

impl CodecError {
    /// As an error of the storage traits, about this file.
    pub(crate) fn at(self, path: &Path) -> StorageError {
        match self {
            Self::Damaged { offset, what } => {
                StorageError::Corrupt { path: path.to_owned(), offset, what: what.to_owned() }
            }
            Self::Fs(e) => crate::storage_error::from_fs(&e),
        }
    }
}
