//! All folders of a dbox that hold a mailbox, for those who count what mailboxes refer to.
//!
//! # Invariants
//!
//! 1. Every folder with the marker is told of, whatever it is called and however deep it lies: names that nobody can open
//!    here may be mailboxes to Dovecot.
//! 2. What cannot be looked into is an error, but for a `lost+found` in the root, which no mailbox is in.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
};

use mailfs::{FileKind, FileSystem, FileSystemExt};
use mailtypes::MailboxName;

use super::{
    Layout,
    seen::Held,
    walk::{LEVEL_COUNT_MAX, too_many},
};
use crate::traits::{Result, StorageError};

/// The folder of the file system's own in the root of one.
const LOST_AND_FOUND: &str = "lost+found";

/// How often it is begun anew where folders go meanwhile.
const TRIES_MAX: usize = 4;

struct Level {
    /// From the folder of mailboxes on; empty: that one.
    path: PathBuf,
    is_linked: bool,
    /// Folders above that were come to by links: where a loop would lead back to.
    above: Vec<(u64, u64)>,
}

/// Folders before links, and sorted.
pub(super) fn walk(fs: &dyn FileSystem, layout: &Layout) -> Result<Vec<Held>> {
    for _ in 0..TRIES_MAX {
        if let Some(found) = walk_once(fs, layout)? {
            return Ok(found);
        }
    }
    Err(StorageError::Unavailable("the mailboxes change faster than they can be listed".into()))
}

/// `None`: a folder went meanwhile.
fn walk_once(fs: &dyn FileSystem, layout: &Layout) -> Result<Option<Vec<Held>>> {
    let (root, marker) = (layout.mailboxes(), OsStr::new(layout.marker()));
    let mut open = vec![Level { path: PathBuf::new(), is_linked: false, above: Vec::new() }];
    let mut found: Vec<(bool, PathBuf)> = Vec::new();
    while let Some(level) = open.pop() {
        let is_root = level.path.as_os_str().is_empty();
        let dir = if is_root { root.clone() } else { root.join(&level.path) };
        let entries = match fs.read_dir(&dir) {
            Err(e) if e.is_not_found() && is_root => Vec::new(),
            Err(e) if e.is_not_found() => return Ok(None),
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied && level.path == Path::new(LOST_AND_FOUND) => {
                continue;
            }
            other => other?,
        };
        for entry in entries.into_iter().filter(|entry| matches!(entry.kind, FileKind::Dir | FileKind::Symlink)) {
            let is_link = entry.kind == FileKind::Symlink;
            let leads_to = if is_link { fs.metadata(&dir.join(&entry.name))? } else { None };
            let leads_to =
                leads_to.filter(|there| there.kind == FileKind::Dir).map(|there| (there.device, there.inode));
            if is_link && leads_to.is_none_or(|id| level.above.contains(&id)) {
                continue;
            }
            if entry.name == marker {
                found.push((level.is_linked, level.path.clone()));
            } else {
                let above = level.above.iter().copied().chain(leads_to).collect();
                open.push(Level { path: level.path.join(&entry.name), is_linked: level.is_linked || is_link, above });
            }
        }
        if open.len() + found.len() > LEVEL_COUNT_MAX {
            return Err(too_many());
        }
    }
    found.sort();
    let mut all: Vec<Held> = found.into_iter().map(|(_, path)| held(layout, &path)).collect();
    let inbox = MailboxName::inbox();
    if layout.has_inbox_apart() {
        let dirs = layout.dirs(&inbox)?;
        if fs.is_dir(&dirs.mail)? {
            all.insert(0, Held::new(Some(inbox), dirs));
        }
    }
    Ok(Some(all))
}

/// The mailbox of a level. It has the name that leads to it, if any does.
fn held(layout: &Layout, path: &Path) -> Held {
    let dirs = layout.dirs_of_level(path);
    let name = path.to_str().and_then(|path| layout.name_of(path));
    let name = name.filter(|name| layout.dirs(name).is_ok_and(|named| named.mail == dirs.mail));
    Held::new(name, dirs)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use mailfs::RealDisk;

    use super::*;
    use crate::mailbox_list::Shape;

    fn found(root: &Path) -> Vec<(Option<String>, PathBuf)> {
        let layout = Layout::shaped(Shape::Dbox, root, None, None);
        let found = walk(&RealDisk::new(), &layout).unwrap();
        let mails = root.join("mailboxes");
        let told = |held: Held| {
            let name = held.name.map(|name| name.to_string());
            (name, held.dirs.mail.strip_prefix(&mails).unwrap().to_owned())
        };
        found.into_iter().map(told).collect()
    }

    #[test]
    fn every_folder_with_the_marker_is_told_of() {
        let dir = tempfile::tempdir().unwrap();
        let mails = dir.path().join("mailboxes");
        let deep = vec!["d"; 80].join("/");
        let levels = ["INBOX", "a/b", "c1\u{85}x", "&AGE-", "inbox", &deep];
        for level in levels {
            fs::create_dir_all(mails.join(level).join("dbox-Mails")).unwrap();
        }
        fs::create_dir_all(mails.join("empty")).unwrap();
        symlink("a", mails.join("Alias")).unwrap();
        symlink("nowhere", mails.join("dangling")).unwrap();
        let found = found(dir.path());
        let of = |level: &str| {
            let at = found.iter().position(|(_, path)| *path == Path::new(level).join("dbox-Mails"));
            at.map(|at| (at, found[at].0.as_deref()))
        };
        assert_eq!(found.len(), levels.len() + 1);
        assert_eq!(of("a/b").map(|found| found.1), Some(Some("a/b")));
        assert_eq!(of("Alias/b"), Some((levels.len(), Some("Alias/b"))), "links come last");
        for nameless in ["c1\u{85}x", "&AGE-", "inbox", &deep] {
            assert_eq!(of(nameless).map(|found| found.1), Some(None), "{nameless}");
        }
    }

    #[test]
    fn loops_of_links_end() {
        let dir = tempfile::tempdir().unwrap();
        let mails = dir.path().join("mailboxes");
        fs::create_dir_all(mails.join("a/dbox-Mails")).unwrap();
        symlink("..", mails.join("a/loop")).unwrap();
        assert!((1..10).contains(&found(dir.path()).len()));
    }
}
