//! The one error of this crate: which call failed, on which path, and why.

use std::{io, path::PathBuf};

/// A file-system call that failed.
#[derive(Debug, thiserror::Error)]
#[error("{op} {}: {source}", path.display())]
pub struct FsError {
    /// The call, as one would say it: `open`, `append`, `sync`, `rename`.
    pub op: &'static str,
    /// The path it was about.
    pub path: PathBuf,
    /// What the system answered.
    #[source]
    pub source: io::Error,
}

/// Results of this crate.
pub type Result<T> = std::result::Result<T, FsError>;

impl FsError {
    /// Wraps the system's answer.
    pub fn new(op: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self { op, path: path.into(), source }
    }

    /// The kind of the system's answer, for callers that branch on it.
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    /// Whether the path (or a directory on the way to it) does not exist.
    pub fn is_not_found(&self) -> bool {
        self.kind() == io::ErrorKind::NotFound
    }

    /// Whether the name is taken already.
    pub fn is_already_exists(&self) -> bool {
        self.kind() == io::ErrorKind::AlreadyExists
    }

    /// Whether a lock was waited for in vain.
    pub fn is_timeout(&self) -> bool {
        self.kind() == io::ErrorKind::TimedOut
    }
}
