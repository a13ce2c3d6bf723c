//! Folders of a source, links followed.

use std::path::Path;

use mailfs::{DirEntry, FileKind, FileSystem};
use mailtypes::MailboxName;

use super::ImportFailure;
use crate::traits::{Result, StorageError};

/// Folders looked into at most: links can make many of few.
const FOLDER_COUNT_MAX: u64 = 100_000;

/// How deep folders are looked into.
const DEPTH_MAX: usize = MailboxName::LEVELS_MAX;

/// Goes down into folders.
pub(super) struct Folders<'a> {
    fs: &'a dyn FileSystem,
    count: u64,
}

/// A folder and those above it by device and inode, to know a link that leads back to one.
#[derive(Clone, Default)]
pub(super) struct Descent(Vec<(u64, u64)>);

impl<'a> Folders<'a> {
    pub(super) fn new(fs: &'a dyn FileSystem) -> Self {
        Self { fs, count: 0 }
    }

    /// What is in a folder below another, in the order of names, so that every run meets the messages in the same order;
    /// `None` where that leads back to where the descent was. Kinds are those of what links lead to: what is still a link
    /// leads nowhere.
    pub(super) fn enter(&mut self, dir: &Path, above: &Descent) -> Result<Option<(Vec<DirEntry>, Descent)>> {
        let identity = self.fs.metadata(dir)?.map(|there| (there.device, there.inode));
        if identity.is_some_and(|identity| above.0.contains(&identity)) {
            return Ok(None);
        }
        if above.0.len() > DEPTH_MAX {
            return Err(StorageError::NotPossible("it lies too deep for a mailbox"));
        }
        self.count += 1;
        if self.count > FOLDER_COUNT_MAX {
            return Err(StorageError::Limit { name: "import_folder_count_max", limit: FOLDER_COUNT_MAX });
        }
        let here = Descent(above.0.iter().copied().chain(identity).collect());
        let mut entries = read_dir(self.fs, dir)?;
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Some((entries, here)))
    }
}

/// What is in a folder, in no order, with the kinds of what links lead to: what is still a link leads nowhere.
pub(super) fn read_dir(fs: &dyn FileSystem, dir: &Path) -> mailfs::Result<Vec<DirEntry>> {
    let mut entries = fs.read_dir(dir)?;
    for entry in entries.iter_mut().filter(|entry| entry.kind == FileKind::Symlink) {
        if let Ok(Some(there)) = fs.metadata(&dir.join(&entry.name)) {
            entry.kind = there.kind;
        }
    }
    Ok(entries)
}

/// What is wrong with a folder costs no other, unless it is that there are too many.
pub(super) fn note(failures: &mut Vec<ImportFailure>, path: &Path, outcome: Result<()>) -> Result<()> {
    match outcome {
        Err(error @ StorageError::Limit { .. }) => return Err(error),
        Err(error) => failures.push(ImportFailure { what: path.display().to_string(), error }),
        Ok(()) => {}
    }
    Ok(())
}

/// What is told of a link that leads nowhere.
pub(super) fn leads_nowhere() -> StorageError {
    StorageError::Io("the link leads nowhere".into())
}
