//! What the system answered, as storage errors carry it.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// What the system answered, or what else was in the way. `Display` is for the log: it says what was being done, to which
/// file, and why that failed.
#[derive(Clone, Debug)]
pub struct Failure {
    what: String,
    path: Option<PathBuf>,
    kind: io::ErrorKind,
    os_code: Option<i32>,
}

impl Failure {
    /// Of an answer of the system's about a file. `what` names both.
    pub fn of_file(what: impl Into<String>, path: impl Into<PathBuf>, answer: &io::Error) -> Self {
        Self { path: Some(path.into()), ..Self::of_system(what, answer) }
    }

    /// Of an answer of the system's about no file, or one that is not known. `what` holds the answer too.
    pub fn of_system(what: impl Into<String>, answer: &io::Error) -> Self {
        Self { what: what.into(), path: None, kind: answer.kind(), os_code: answer.raw_os_error() }
    }

    /// Of a file, and no answer of the system's.
    pub(crate) fn about(what: impl Into<String>, path: impl Into<PathBuf>, kind: io::ErrorKind) -> Self {
        Self { what: what.into(), path: Some(path.into()), kind, os_code: None }
    }

    /// The same in words that say more.
    pub(crate) fn saying(self, what: impl Into<String>) -> Self {
        Self { what: what.into(), ..self }
    }

    /// The file or folder that it was about, where it was one; of a rename or link the old name.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The kind of the system's answer; [`io::ErrorKind::Other`] where it was none of the system's.
    pub fn kind(&self) -> io::ErrorKind {
        self.kind
    }

    /// The system's own number for it (`errno`), where there is one.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.os_code
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl From<String> for Failure {
    fn from(what: String) -> Self {
        Self { what, path: None, kind: io::ErrorKind::Other, os_code: None }
    }
}

impl From<&str> for Failure {
    fn from(what: &str) -> Self {
        what.to_owned().into()
    }
}
