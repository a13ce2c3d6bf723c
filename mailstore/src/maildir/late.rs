//! Messages that a program which takes no locks delivers into a folder while that is deleted.

use std::{
    collections::HashSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Shared,
    files::{Known, MaildirFiles},
    name,
    table::Folder,
};
use crate::{mailbox_list::MailboxDirs, traits::Result};

/// Messages in a folder that was moved away of which its UID list does not know; it was written when the folder was looked
/// at last, under the locks. Reads the list and the names of the files.
pub(super) fn late(shared: &Arc<Shared>, dirs: &MailboxDirs, moved: &Path) -> Result<Vec<PathBuf>> {
    let there = |dir: &PathBuf| if *dir == dirs.mail { moved.to_owned() } else { dir.clone() };
    let (control, index) = (there(&dirs.control), there(&dirs.index));
    let dirs = MailboxDirs { mail: moved.to_owned(), control, index, alt: None, private: None };
    let files = MaildirFiles::new(shared, &dirs);
    let mut known = Known::default();
    files.load(&mut known)?;
    let known: HashSet<&[u8]> = known.table().iter().map(|entry| &*entry.base).collect();
    let mut listed = Vec::new();
    for folder in [Folder::New, Folder::Cur] {
        files.list_only(folder, &mut listed)?;
    }
    let late = listed.iter().filter(|file| !known.contains(name::split(&file.name).0));
    Ok(late.map(|file| files.path_of(file)).collect())
}
