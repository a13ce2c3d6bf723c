//! How a session ends.

use std::io;

use mailstore::StorageError;

/// Why a session ends. Commands return it where they cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum End {
    /// The client said LOGOUT.
    #[error("logged out")]
    Logout,
    /// The client closed the connection.
    #[error("disconnected")]
    Disconnected,
    /// The stream failed.
    #[error("connection lost: {0}")]
    Lost(#[from] io::Error),
    /// The client took or sent nothing for too long in the middle of something.
    #[error("stalled")]
    Stalled,
    /// The server stops.
    #[error("server stops")]
    Stopping,
    /// The server stops, and the client is in the middle of a response where no BYE can stand.
    #[error("server stops within a response")]
    StoppingMidway,
    /// The client did nothing for too long.
    #[error("inactive for too long")]
    Inactive,
    /// A limit that ends the connection, or input that cannot be followed; the client has been told or is told now.
    #[error("{0}")]
    Refused(&'static str),
    /// The selected mailbox is not what it was.
    #[error("{0}")]
    Mailbox(StorageError),
    /// A storage step panicked or could not be run, or a message broke off within a literal: what is known of the
    /// session cannot be trusted.
    #[error("internal error: {0}")]
    Internal(String),
}

impl End {
    /// The same, within a response.
    pub(crate) fn midway(self) -> Self {
        match self {
            Self::Stopping => Self::StoppingMidway,
            end => end,
        }
    }

    /// What BYE says, where the client should still be told.
    pub(crate) fn bye(&self) -> Option<&'static str> {
        match self {
            Self::Logout | Self::Disconnected | Self::Lost(_) | Self::Stalled | Self::StoppingMidway => None,
            Self::Stopping => Some("Server is shutting down."),
            Self::Inactive => Some("Disconnected for inactivity."),
            Self::Refused(text) => Some(text),
            Self::Mailbox(error) => Some(error.client_text()),
            Self::Internal(_) => Some("Internal error, see the server log"),
        }
    }
}
