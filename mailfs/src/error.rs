//! The one error of this crate: which call failed, on which path, and why.

use std::{
    io,
    path::{Path, PathBuf},
};

/// A file-system call that failed.
#[derive(Debug, thiserror::Error)]
#[error("{op} {}: {source}", path.display())]
pub struct FsError {
    /// The call, as one would say it: `open`, `append`, `sync`, `rename`.
    pub op: &'static str,
    /// The path it was about; of a call with two paths both, with ` to ` between, so not for opening but for people.
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

    /// Of a call with two paths; names both.
    pub(crate) fn two_paths(op: &'static str, from: &Path, to: &Path, source: io::Error) -> Self {
        let mut both = from.as_os_str().to_owned();
        both.push(" to ");
        both.push(to.as_os_str());
        Self::new(op, both, source)
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

    /// Whether there was no room, be it on the disk or in the user's quota of it.
    pub fn is_no_space(&self) -> bool {
        matches!(self.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
    }

    /// Whether a lock was waited for in vain.
    pub fn is_timeout(&self) -> bool {
        self.kind() == io::ErrorKind::TimedOut
    }
}
