//! Finding all mailboxes by reading folders.

use std::path::{Path, PathBuf};

use mailfs::{FileKind, FileSystem};
use mailtypes::{MailboxName, mutf7};

use super::{Layout, MAILS_DIR};
use crate::traits::{Result, StorageError};

/// Levels listed at most.
const LEVEL_COUNT_MAX: usize = 100_000;

/// A level of the hierarchy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Found {
    pub(crate) name: MailboxName,
    /// Whether it holds messages.
    pub(crate) selectable: bool,
    /// Whether there are levels below it.
    pub(crate) has_children: bool,
}

struct Level {
    /// As on disk, from the outermost level on.
    storage_name: String,
    dir: PathBuf,
    depth: usize,
    /// Folders above that were come to by links: where a loop would lead back to.
    above: Vec<(u64, u64)>,
}

/// All levels below a folder, sorted by name, INBOX first. Names that nobody could have made by a mailbox name (not
/// canonical, too long) are passed over, as is what lies too deep. Reads each folder once.
pub(crate) fn walk(fs: &dyn FileSystem, layout: &Layout) -> Result<Vec<Found>> {
    let root = Level { storage_name: String::new(), dir: layout.mailboxes().to_owned(), depth: 0, above: Vec::new() };
    let mut found = Vec::new();
    let mut open = vec![root];
    while let Some(level) = open.pop() {
        let (mut selectable, mut has_children) = (false, false);
        let entries = match fs.read_dir(&level.dir) {
            Err(e) if e.is_not_found() => continue,
            other => other?,
        };
        for entry in entries {
            let Some(name) = entry.name.to_str() else { continue };
            let linked = entry.kind == FileKind::Symlink;
            if !linked && entry.kind != FileKind::Dir {
                continue;
            }
            let dir = level.dir.join(name);
            let identity = if linked { linked_dir(fs, &dir)? } else { None };
            if linked && identity.is_none_or(|id| level.above.contains(&id)) {
                continue;
            }
            if name == MAILS_DIR {
                selectable = level.depth > 0;
            } else if let Some(child) = child(&level, name, dir, identity) {
                has_children = true;
                open.push(child);
            }
            if open.len() + found.len() > LEVEL_COUNT_MAX {
                return Err(StorageError::Limit { name: "mailbox_list_count_max", limit: LEVEL_COUNT_MAX as u64 });
            }
        }
        if level.depth > 0
            && let Some(name) = name_of(&level.storage_name)
        {
            found.push(Found { name, selectable, has_children });
        }
    }
    found.sort_by(|a, b| (!a.name.is_inbox(), &a.name).cmp(&(!b.name.is_inbox(), &b.name)));
    Ok(found)
}

fn child(level: &Level, name: &str, dir: PathBuf, identity: Option<(u64, u64)>) -> Option<Level> {
    let separator = if level.depth == 0 { "" } else { "/" };
    let storage_name = format!("{}{separator}{name}", level.storage_name);
    name_of(&storage_name)?;
    let above = level.above.iter().copied().chain(identity).collect();
    Some(Level { storage_name, dir, depth: level.depth + 1, above })
}

fn linked_dir(fs: &dyn FileSystem, path: &Path) -> Result<Option<(u64, u64)>> {
    let there = fs.metadata(path)?;
    Ok(there.filter(|m| m.kind == FileKind::Dir).map(|m| (m.device, m.inode)))
}

/// The name whose folder this is; `None` for a folder that no name leads to, such as `inbox`.
pub(super) fn name_of(storage_name: &str) -> Option<MailboxName> {
    let decoded = mutf7::decode(storage_name.as_bytes()).ok()?;
    MailboxName::new(&decoded).ok().filter(|name| name.as_str() == decoded)
}

#[cfg(test)]
mod tests {
    use mailfs::RealDisk;

    use super::*;

    #[test]
    fn what_is_there_is_found_and_what_cannot_be_named_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let make = |path: &str| std::fs::create_dir_all(dir.path().join("mailboxes").join(path)).unwrap();
        for path in
            ["INBOX/dbox-Mails", "b/c/dbox-Mails", "inbox/dbox-Mails", "&AGE-/dbox-Mails", "empty", "a/dbox-Mails"]
        {
            make(path);
        }
        std::fs::write(dir.path().join("mailboxes/file"), "").unwrap();
        std::os::unix::fs::symlink("..", dir.path().join("mailboxes/b/loop")).unwrap();
        let found = walk(&RealDisk::new(), &Layout::new(dir.path())).unwrap();
        let seen: Vec<_> = found
            .iter()
            .map(|f| (f.name.as_str(), f.selectable, f.has_children))
            .filter(|f| !f.0.contains("loop"))
            .collect();
        let expect = [
            ("INBOX", true, false),
            ("a", true, false),
            ("b", false, true),
            ("b/c", true, false),
            ("empty", false, false),
        ];
        assert_eq!(seen, expect);
        assert!(found.len() < 20, "a loop of links ends");
    }

    #[test]
    fn no_folder_no_mailboxes() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(walk(&RealDisk::new(), &Layout::new(dir.path())).unwrap(), Vec::new());
    }
}
