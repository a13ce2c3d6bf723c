//! Modes of files with which they cannot do what they are for: their own owner may not read or write them. Whoever looks them
//! over as another user, or as root, sees no error from them.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use mailfs::{FileKind, FileSystem, OpenMode};

use super::{Finding, FindingKind, Look};
use crate::{
    mailbox_list::{MailboxDirs, Rights},
    traits::Result,
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
    let folders: BTreeSet<&Path> = [&*dirs.mail, &*dirs.control, &*dirs.index].into_iter().collect();
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

/// Gives files the modes that new ones get in their folders.
pub(super) fn mend(fs: &dyn FileSystem, found: &[Finding]) -> Result<()> {
    for finding in found.iter().filter(|finding| finding.kind == FindingKind::Rights) {
        let Some(folder) = finding.path.parent() else { continue };
        let access = Rights::of(fs, folder)?.file_access();
        let file = match fs.open(&finding.path, OpenMode::Read) {
            Err(e) if e.is_not_found() => continue,
            other => other?,
        };
        file.set_permissions(access.mode | READ_WRITE, access.gid)?;
    }
    Ok(())
}
