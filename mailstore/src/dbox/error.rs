//! What is wrong with a dbox file, and where.

use std::path::Path;

use mailfs::FsError;

use crate::traits::StorageError;

/// Why a dbox file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DboxError {
    /// The bytes are not those of a dbox file.
    #[error("damaged at offset {offset}: {what}")]
    Damaged {
        /// Where in the file, in bytes.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// The message cannot be stored as it is.
    #[error("message refused: {0}")]
    Refused(&'static str),
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] FsError),
}

impl DboxError {
    pub(crate) fn damaged(offset: u64, what: &'static str) -> Self {
        Self::Damaged { offset, what }
    }

    /// As an error of the storage traits, about this file.
    pub(crate) fn at(self, path: &Path) -> StorageError {
        match self {
            Self::Damaged { offset, what } => {
                StorageError::Corrupt { path: path.to_owned(), offset, what: what.to_owned() }
            }
            Self::Refused(why) => StorageError::MessageRefused(why),
            Self::Fs(e) => crate::storage_error::from_fs(&e),
        }
    }
}
