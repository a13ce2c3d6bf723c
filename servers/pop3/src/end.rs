//! How a session ends.

use culver_runtime::Gone;
use mailstore::StorageError;

use crate::reply::Refusal;

/// Why a session ends. Commands return it where they cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    /// The client said QUIT and was answered.
    #[error("logged out")]
    Quit,
    /// The stream's matter, or the server's.
    #[error(transparent)]
    Gone(#[from] Gone),
    /// The same within a multi-line answer, where no other can stand.
    #[error("{0} within an answer")]
    Midway(Gone),
    /// A limit that ends the connection.
    #[error("{0}")]
    Refused(&'static str, Refusal),
    /// A message could not be read on within an answer: the client can no longer follow.
    #[error("message cannot be read on: {0}")]
    BrokenOff(StorageError),
    /// A storage step panicked or could not be run.
    #[error("internal error: {0}")]
    Internal(String),
}

impl End {
    /// What the client is told, where it should still be told something.
    pub(crate) fn last_words(&self) -> Option<Refusal> {
        match self {
            Self::Gone(Gone::Stopping) => Some(Refusal::STOPPING),
            Self::Gone(Gone::Silent) => Some(Refusal::INACTIVE),
            Self::Refused(_, refusal) => Some(*refusal),
            Self::Internal(_) => Some(Refusal::INTERNAL),
            Self::Quit | Self::Gone(_) | Self::Midway(_) | Self::BrokenOff(_) => None,
        }
    }
}
