//! What can go wrong with a mailbox's index files, and who is to blame.

use std::{error::Error, fmt, path::PathBuf, sync::Arc, time::Duration};

use mailfs::FsError;

/// Bytes on disk that no working program leaves there.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{}: damaged at offset {offset}: {what}", path.display())]
pub struct Damage {
    /// The file.
    pub path: PathBuf,
    /// Where in it, in bytes from its start.
    pub offset: u64,
    /// What was found.
    pub what: String,
}

/// Why an operation on a mailbox's index failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The folder has neither a log nor a snapshot.
    #[error("{}: no index files here", dir.display())]
    NotFound {
        /// The index folder.
        dir: PathBuf,
    },
    /// The mailbox was deleted; its index files are not to be used any more.
    #[error("{}: the mailbox is deleted", dir.display())]
    Deleted {
        /// The index folder.
        dir: PathBuf,
    },
    /// Index files that cannot be trusted; see [`recover`](super::recover()).
    #[error(transparent)]
    Corrupt(#[from] Damage),
    /// The index files cannot be repaired from each other: the store has to go over its messages, with
    /// [`recover`](super::recover()) and [`rebuild`](super::rebuild()).
    #[error("{}: the index has to be rebuilt from the messages: {damage}", dir.display())]
    NeedsRebuild {
        /// The index folder.
        dir: PathBuf,
        /// The first thing that was found.
        damage: Damage,
    },
    /// Somebody else held the log's lock for too long.
    #[error("{}: the log's lock was not to be had within {} s", path.display(), waited.as_secs_f64())]
    LockTimeout {
        /// The log.
        path: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
    /// All UIDs of this UIDVALIDITY are used.
    #[error("{}: no UID is left", dir.display())]
    UidsExhausted {
        /// The index folder.
        dir: PathBuf,
    },
    /// The mail store did not do what the log asks for; it is asked again by whoever takes the lock next.
    #[error("{}: not carried out in the store: {what}", dir.display())]
    Store {
        /// The index folder.
        dir: PathBuf,
        /// Why.
        what: String,
    },
    /// A transaction that cannot be written.
    #[error("{}: {what}", dir.display())]
    Unwritable {
        /// The index folder.
        dir: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A file-system call failed.
    #[error(transparent)]
    Fs(#[from] FsError),
}

/// Results of the engine.
pub type Result<T> = std::result::Result<T, IndexError>;

impl IndexError {
    /// Whether the index files are damaged, so that [`recover`](super::recover()) may help.
    pub fn is_corrupt(&self) -> bool {
        matches!(self, Self::Corrupt(_) | Self::NeedsRebuild { .. })
    }

    /// Whether the mailbox is not there (any more).
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::NotFound { .. } | Self::Deleted { .. })
    }
}

/// Why one [`CommitOp`](super::CommitOp) could not take part in a commit. The others of its batch are not concerned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpError {
    /// The index refused.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] FsError),
    /// The operation's own reason.
    #[error("{0}")]
    Refused(#[source] Box<dyn Error + Send + Sync>),
    /// The operation panicked; a bug.
    #[error("the operation panicked: {0}")]
    Panicked(String),
}

impl OpError {
    /// Wraps an error of the operation's own.
    pub fn refused(error: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Refused(error.into())
    }
}

/// How far a batch had come when it failed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum CommitStage {
    /// Making the bodies durable.
    Bodies,
    /// Taking the log's lock and reading to its end.
    Lock,
    /// Preparing this operation.
    Prepare,
    /// Making the names durable.
    Names,
    /// Appending to the log.
    Append,
    /// Making the log durable.
    Sync,
}

impl fmt::Display for CommitStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bodies => "syncing the bodies",
            Self::Lock => "locking the log",
            Self::Prepare => "preparing the operation",
            Self::Names => "syncing the names",
            Self::Append => "appending to the log",
            Self::Sync => "syncing the log",
        })
    }
}

/// Why a commit was not acknowledged.
#[derive(Debug, thiserror::Error)]
#[error("commit failed while {stage}{}: {source}", if *uncertain { " (it may yet turn out to be in force)" } else { "" })]
pub struct CommitError {
    /// How far it came.
    pub stage: CommitStage,
    /// Whether the append could not be taken back: then nothing was undone, and the change is there whole or not at
    /// all.
    pub uncertain: bool,
    /// What went wrong; shared, since it concerns every operation of the batch.
    #[source]
    pub source: Arc<OpError>,
}
