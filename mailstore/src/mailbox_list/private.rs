//! A user's own index folders, when the mailboxes that they belong to go or get other names. They are his alone: what
//! fails here costs him which messages he has read, and never the change itself.

use std::path::Path;

use mailfs::{FileSystem, FileSystemExt};
use mailtypes::MailboxName;

use super::{Layout, MailboxDirs, Rights, change::move_dir};
use crate::indexed::PRIVATE_PREFIX;
use crate::traits::Result;

/// Moves the folder of a level, with those below it where the layout is a tree.
pub(super) fn rename(fs: &dyn FileSystem, layout: &Layout, from: &MailboxName, to: &MailboxName) {
    let Some(root) = layout.private_root() else { return };
    let (old, new) = (layout.level_in(root, from), layout.level_in(root, to));
    let moved = || -> Result<()> {
        if !fs.is_dir(&old)? {
            return Ok(());
        }
        // Of a mailbox that had this name once.
        remove_files(fs, &new)?;
        move_dir(fs, &old, &new, Rights::of(fs, root)?)
    };
    if let Err(e) = moved() {
        tracing::warn!(mailbox = %from, "what the user has read of it is not known under its new name: {e}");
    }
}

/// Removes the user's own index of a mailbox that is deleted.
pub(super) fn remove(fs: &dyn FileSystem, dirs: &MailboxDirs) {
    if let Some(dir) = &dirs.private
        && let Err(e) = remove_files(fs, dir)
    {
        tracing::warn!(dir = %dir.display(), "the index of a deleted mailbox stays: {e}");
    }
}

fn remove_files(fs: &dyn FileSystem, dir: &Path) -> Result<()> {
    let entries = match fs.read_dir(dir) {
        Err(e) if e.is_not_found() => return Ok(()),
        other => other?,
    };
    for entry in entries {
        if entry.name.to_str().is_some_and(|name| name.starts_with(PRIVATE_PREFIX)) {
            fs.unlink(&dir.join(entry.name))?;
        }
    }
    // Levels below may have theirs in it.
    let _ = fs.remove_dir(dir);
    Ok(())
}
