//! What lies at a path: a store that can be opened, or something that can at least be named.

use std::{io::ErrorKind, path::Path};

use mailfs::{FileKind, FileSystem, FileSystemExt};

use crate::traits::{Result, StorageError};

/// Whether a store can be opened here; else an error that says what was found instead.
pub(super) fn detect(fs: &dyn FileSystem, path: &Path) -> Result<()> {
    match found(fs, path)? {
        Found::Sdbox => Ok(()),
        Found::Empty => Err(not_a_store(path, "it is an empty folder; a store can be made in it")),
        Found::Other(what) => Err(not_a_store(path, what)),
    }
}

/// Whether a store can be made here, or is here.
pub(super) fn check_free(fs: &dyn FileSystem, path: &Path) -> Result<()> {
    if !fs.exists(path)? {
        return Ok(());
    }
    match found(fs, path)? {
        Found::Sdbox | Found::Empty => Ok(()),
        Found::Other(what) => Err(not_a_store(path, what)),
    }
}

enum Found {
    Sdbox,
    Empty,
    Other(&'static str),
}

fn not_a_store(path: &Path, what: &str) -> StorageError {
    StorageError::NotAStore { path: path.to_owned(), what: what.to_owned() }
}

fn found(fs: &dyn FileSystem, path: &Path) -> Result<Found> {
    let there = match fs.metadata(path) {
        Ok(Some(there)) => there,
        Ok(None) => return Ok(Found::Other("there is nothing")),
        Err(e) if e.kind() == ErrorKind::PermissionDenied => {
            return Ok(Found::Other("a folder on the way to it may not be entered"));
        }
        Err(e) => return Err(e.into()),
    };
    if there.kind != FileKind::Dir {
        let mbox = fs.read_range(path, 0, 5).is_ok_and(|start| start == b"From ");
        return Ok(Found::Other(if mbox { "it is an mbox file" } else { "it is a file, not a folder" }));
    }
    let entries = match fs.read_dir(path) {
        Err(e) if e.kind() == ErrorKind::PermissionDenied => {
            return Ok(Found::Other("it is a folder that may not be read"));
        }
        other => other?,
    };
    let has = |name: &str| entries.iter().any(|e| e.name == name && e.kind != FileKind::File);
    Ok(if has("mailboxes") && has("storage") {
        Found::Other("it is an mdbox store, which is not supported yet")
    } else if has("mailboxes") {
        dbox_layout(fs, path)?
    } else if has("cur") && has("new") {
        Found::Other("it is a Maildir, which is not supported yet")
    } else if entries.is_empty() {
        Found::Empty
    } else {
        Found::Other("it is a folder without any mail store that is known")
    })
}

fn dbox_layout(fs: &dyn FileSystem, path: &Path) -> Result<Found> {
    let mailboxes = path.join("mailboxes");
    let levels = match fs.read_dir(&mailboxes) {
        Err(e) if e.kind() == ErrorKind::PermissionDenied => {
            return Ok(Found::Other("its folder \"mailboxes\" may not be read"));
        }
        other => other?,
    };
    for level in levels {
        let by_guid =
            level.name.len() == 32 && level.name.to_str().is_some_and(|n| n.bytes().all(|b| b.is_ascii_hexdigit()));
        if by_guid && fs.exists(&mailboxes.join(&level.name).join("dovecot.index.log"))? {
            return Ok(Found::Other("it is a store with LAYOUT=index, which is not supported yet"));
        }
    }
    Ok(Found::Sdbox)
}
