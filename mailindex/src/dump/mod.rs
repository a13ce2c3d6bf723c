//! Logs, snapshots and cache files as text or JSON, whatever state they are in: up to damage and behind it what can
//! be said, and where and why it could not be said better. For `culver dump`.
//!
//! JSON is one object a line, so that a damaged file still gives whole lines.

mod cache;
mod entry;
mod log;
mod snapshot;

use std::fmt;

use entry::Entry;

/// How to print.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// The index files.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FileKind {
    /// `dovecot.index.log` and its like.
    Log,
    /// `dovecot.index`.
    Index,
    /// `dovecot.index.cache`.
    Cache,
}

/// Tells which index file this is, by its name where that says it, else by its first bytes; `None`: none of them.
pub fn detect(name: &str, file: &[u8]) -> Option<FileKind> {
    let name = name.rsplit('/').next().unwrap_or(name);
    if name.ends_with(".log") || name.ends_with(".log.2") || name.ends_with(".log.newlock") {
        // `dovecot.mailbox.log` is another thing.
        if name != "dovecot.mailbox.log" {
            return Some(FileKind::Log);
        }
        return None;
    }
    if name.ends_with(".cache") {
        return Some(FileKind::Cache);
    }
    match file {
        [7, _, base, 0, ..] if *base >= 72 => Some(FileKind::Index),
        [1, 8, 1, 0, ..] => Some(FileKind::Cache),
        [1, _, 24..=40, 0, ..] => Some(FileKind::Log),
        _ if name.ends_with(".index") || name.ends_with(".index.backup") => Some(FileKind::Index),
        _ => None,
    }
}

/// Prints any index file.
pub fn dump(kind: FileKind, file: &[u8], format: Format, out: &mut impl fmt::Write) -> fmt::Result {
    match kind {
        FileKind::Log => dump_log(file, format, out),
        FileKind::Index => dump_index(file, format, out),
        FileKind::Cache => dump_cache(file, format, out),
    }
}

/// Prints a log.
pub fn dump_log(file: &[u8], format: Format, out: &mut impl fmt::Write) -> fmt::Result {
    log::dump(file, &mut |entry: Entry| entry.write(format, out))
}

/// Prints a snapshot.
pub fn dump_index(file: &[u8], format: Format, out: &mut impl fmt::Write) -> fmt::Result {
    snapshot::dump(file, &mut |entry: Entry| entry.write(format, out))
}

/// Prints a cache file.
pub fn dump_cache(file: &[u8], format: Format, out: &mut impl fmt::Write) -> fmt::Result {
    cache::dump(file, &mut |entry: Entry| entry.write(format, out))
}

#[cfg(test)]
mod tests;
