//! Modes of files with which they cannot do what they are for: their own owner may not read or write them. Whoever looks them
//! over as another user, or as root, sees no error from them.
//!
//! # Invariants
//!
//! 1. A repair by root gives nobody a right to a file that is not the store's: the folders may be the user's, who can put
//!    links into them, and in their place, while they are looked over. What is opened is no link, a file, and of the owner
//!    of the store's folder, which is no link either.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use mailfs::{File, FileKind, FileSystem};

use super::{Finding, FindingKind, Look};
use crate::{
    mailbox_list::{MailboxDirs, Rights},
    traits::{Result, StorageError},
};

/// What an owner needs to read.
const READ: u32 = 0o400;

/// What an owner needs to change a file.
const READ_WRITE: u32 = 0o600;

/// What the names of files begin with that are written where they lie. (`dovecot-uidvalidity.*` are for reading alone.)
const WRITTEN_PREFIXES: [&str; 3] = ["dovecot.index", "dovecot-uidlist", "dovecot-keywords"];

/// Looks at the files in a mailbox's folders, and at the one that it is, if it is one.
pub(super) fn look(dirs: &MailboxDirs, look: &mut Look<'_>) -> Result<()> {
    let fs = &**look.env.fs();
    let mut findings = Vec::new();
    let folders: BTreeSet<&Path> =
        [&*dirs.mail, &*dirs.control, &*dirs.index].into_iter().chain(dirs.private.as_deref()).collect();
    for folder in folders {
        match fs.metadata(folder)? {
            Some(there) if there.kind == FileKind::Dir => {}
            Some(there) => {
                findings.extend(finding(folder.to_owned(), there.mode, READ_WRITE));
                continue;
            }
            None => continue,
        }
        let entries = match fs.read_dir(folder) {
            // Deleted since.
            Err(e) if e.is_not_found() => continue,
            other => other?,
        };
        for entry in entries.into_iter().filter(|entry| entry.kind == FileKind::File) {
            let path = folder.join(&entry.name);
            let name = entry.name.to_string_lossy();
            let is_written = WRITTEN_PREFIXES.iter().any(|prefix| name.starts_with(prefix));
            let needed = if is_written { READ_WRITE } else { READ };
            // What is gone since is nobody's any more.
            if let Some(there) = fs.metadata(&path)? {
                findings.extend(finding(path, there.mode, needed));
            }
        }
    }
    findings.into_iter().for_each(|finding| look.found(finding));
    Ok(())
}

fn finding(path: PathBuf, mode: u32, needed: u32) -> Option<Finding> {
    let what = match (mode & needed == needed, needed) {
        (true, _) => return None,
        (false, READ) => "read it",
        (false, _) => "read and write it",
    };
    let what = format!("its mode is {mode:04o}: its own owner may not {what}");
    Some(Finding::new(FindingKind::Rights, path, what).plan("give it the mode that its folder's files have"))
}

/// Why a file is left as it is.
const ANOTHERS: &str = "it, or the store's folder, is a link, or they are not of one owner";

/// Gives files the modes that new ones get in their folders. `root`: the store's.
pub(super) fn mend(fs: &dyn FileSystem, root: &Path, found: &[Finding]) -> Result<()> {
    let mut is_refused = false;
    for finding in found.iter().filter(|finding| finding.kind == FindingKind::Rights) {
        let Some(folder) = finding.path.parent() else { continue };
        let access = Rights::of(fs, folder)?.file_access();
        let file = match fs.open_no_link(&finding.path) {
            Err(e) if e.is_not_found() => continue,
            Err(e) => {
                tracing::warn!("its mode was not changed: {e}");
                is_refused = true;
                continue;
            }
            Ok(file) => file,
        };
        if !is_of_store(fs, root, &*file)? {
            tracing::warn!(path = %finding.path.display(), "its mode was not changed: {ANOTHERS}");
            is_refused = true;
            continue;
        }
        file.set_permissions(access.mode | READ_WRITE, access.gid)?;
    }
    if is_refused { Err(StorageError::NotPossible(ANOTHERS)) } else { Ok(()) }
}

fn is_of_store(fs: &dyn FileSystem, root: &Path, file: &dyn File) -> Result<bool> {
    let store = fs.open_no_link(root).and_then(|root| root.metadata());
    let there = file.metadata()?;
    Ok(there.kind == FileKind::File && store.is_ok_and(|store| store.uid == there.uid))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use mailfs::RealDisk;

    use super::*;

    #[test]
    fn a_link_in_the_place_of_a_file_or_the_store_gives_no_rights() {
        let dir = tempfile::tempdir().unwrap();
        let (root, secret, link) = (dir.path().join("mail"), dir.path().join("secret"), dir.path().join("link"));
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        fs::create_dir(&root).unwrap();
        set(&root, 0o777);
        for path in [&secret, &root.join("u.1"), &root.join("u.3")] {
            fs::write(path, "x").unwrap();
            set(path, 0o400);
        }
        std::os::unix::fs::symlink(&secret, root.join("u.2")).unwrap();
        std::os::unix::fs::symlink(&root, &link).unwrap();
        let found = ["u.1", "u.2", "u.3"].map(|name| Finding::new(FindingKind::Rights, root.join(name), "test"));
        assert!(mend(&RealDisk::new(), &link, &found).is_err());
        assert_eq!(["u.1", "u.3"].map(|name| mode(&root.join(name))), [0o400; 2]);
        assert!(mend(&RealDisk::new(), &root, &found).is_err(), "one of them is left");
        assert_eq!(["u.1", "u.3"].map(|name| mode(&root.join(name))), [0o666; 2]);
        assert_eq!(mode(&secret), 0o400);
        // A file of somebody else's, by another name of it or of its folder. Only root can make one.
        if std::os::unix::fs::chown(root.join("u.3"), Some(4711), None).is_ok() {
            set(&root.join("u.3"), 0);
            assert!(mend(&RealDisk::new(), &root, &found).is_err());
            assert_eq!(mode(&root.join("u.3")), 0);
        }
    }
}
