//! The one error of this crate: which call failed, on which path, and why.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// A file-system call that failed.
#[derive(Debug, thiserror::Error)]
pub struct FsError {
    /// The call, as one would say it: `open`, `append`, `sync`, `rename`.
    pub op: &'static str,
    /// The path it was about; of a call with two paths the first.
    pub path: PathBuf,
    /// The second, where there are two.
    pub to: Option<PathBuf>,
    /// What the system answered.
    #[source]
    pub source: io::Error,
}

impl fmt::Display for FsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { op, path, to, source } = self;
        match to {
            Some(to) => write!(f, "{op} {} to {}: {source}", path.display(), to.display()),
            None => write!(f, "{op} {}: {source}", path.display()),
        }
    }
}

/// Results of this crate.
pub type Result<T> = std::result::Result<T, FsError>;

impl FsError {
    /// Wraps the system's answer.
    pub fn new(op: &'static str, path: impl Into<PathBuf>, source: io::Error) -> Self {
        Self { op, path: path.into(), to: None, source }
    }

    /// Of a call with two paths.
    pub(crate) fn two_paths(op: &'static str, from: &Path, to: &Path, source: io::Error) -> Self {
        Self { to: Some(to.to_owned()), ..Self::new(op, from, source) }
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
