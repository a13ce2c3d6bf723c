//! A user's own index folders, when the mailboxes that they belong to go or get other names. They are his alone: what
//! fails here costs him which messages he has read, and never the change itself.

use std::path::Path;

use mailfs::{FileSystem, FileSystemExt};
use mailtypes::MailboxName;

use super::{Layout, MailboxDirs, Rights, change::move_dir};
use crate::indexed::PRIVATE_PREFIX;
use crate::traits::Result;

/// What stands before the names of an index's files where they have second names, or were damaged.
const OWN_PREFIXES: [&str; 2] = ["culver.kept.", "culver.damaged."];

/// Moves the folder of a level, with those below it where the layout is a tree, and then, by `rest`, the mailbox; back where
/// that fails and has left the mailbox where it was.
pub(super) fn rename(
    fs: &dyn FileSystem,
    layout: &Layout,
    (from, to): (&MailboxName, &MailboxName),
    rest: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let Some(root) = layout.private_root() else { return rest() };
    let (old, new) = (layout.level_in(root, from), layout.level_in(root, to));
    let moved = || -> Result<bool> {
        if !fs.is_dir(&old)? {
            return Ok(false);
        }
        // Of a mailbox that had this name once.
        remove_files(fs, &new)?;
        move_dir(fs, &old, &new, Rights::of(fs, root)?)?;
        Ok(true)
    };
    let is_moved = moved().unwrap_or_else(|e| {
        tracing::warn!(mailbox = %from, "what the user has read of it is not known under its new name: {e}");
        false
    });
    rest().inspect_err(|_| {
        let back = || -> Result<()> {
            if is_moved && fs.exists(&layout.level_dir(from)?)? {
                move_dir(fs, &new, &old, Rights::of(fs, root)?)?;
            }
            Ok(())
        };
        if let Err(e) = back() {
            tracing::warn!(mailbox = %from, "it was not renamed, and what the user has read of it is not known: {e}");
        }
    })
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
    let is_ours = |name: &str| {
        let before = OWN_PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix));
        before.unwrap_or(name).starts_with(PRIVATE_PREFIX)
    };
    for entry in entries {
        if entry.name.to_str().is_some_and(is_ours) {
            fs.unlink(&dir.join(entry.name))?;
        }
    }
    // Levels below may have theirs in it.
    let _ = fs.remove_dir(dir);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{path::PathBuf, sync::Arc};

    use mailfs::sim::SimDisk;

    use super::{
        super::{ListOptions, Shape},
        *,
    };
    use crate::traits::StorageError;

    #[test]
    fn all_of_it_goes_with_the_mailbox() {
        let fs: Arc<dyn FileSystem> = SimDisk::new().as_file_system();
        let dir = Path::new("/own/mailboxes/a");
        fs.create_dir_all(dir, 0o700).unwrap();
        let others = ["dovecot.index", "culver.kept.dovecot.index.log"];
        let ours = ["dovecot.index.pvt", "culver.kept.dovecot.index.pvt.log", "culver.damaged.dovecot.index.pvt.log.1"];
        for name in others.into_iter().chain(ours) {
            fs.write_atomic(&dir.join(name), b"x", 0o600, false).unwrap();
        }
        remove_files(&*fs, dir).unwrap();
        let mut left: Vec<_> = fs.read_dir(dir).unwrap().into_iter().map(|entry| entry.name).collect();
        left.sort();
        assert_eq!(left, ["culver.kept.dovecot.index.log", "dovecot.index"]);
    }

    #[test]
    fn it_goes_back_with_a_mailbox_that_was_not_renamed() {
        let fs: Arc<dyn FileSystem> = SimDisk::new().as_file_system();
        let private = Some(PathBuf::from("/own"));
        let options = ListOptions { private, ..ListOptions::default() };
        let layout = Layout::new(Shape::Dbox, Path::new("/mail"), None, None, options);
        let (from, to) = (MailboxName::new("a").unwrap(), MailboxName::new("b/c").unwrap());
        let file = |name: &MailboxName| layout.level_in(Path::new("/own"), name).join(PRIVATE_PREFIX);
        for dir in [&layout.level_dir(&from).unwrap(), file(&from).parent().unwrap()] {
            fs.create_dir_all(dir, 0o700).unwrap();
        }
        fs.write_atomic(&file(&from), b"x", 0o600, false).unwrap();
        let there = |name: &MailboxName| fs.exists(&file(name)).unwrap();
        let failed = rename(&*fs, &layout, (&from, &to), || Err(StorageError::NotPossible("test")));
        assert!(failed.is_err() && there(&from) && !there(&to));
        rename(&*fs, &layout, (&from, &to), || Ok(())).unwrap();
        assert!(!there(&from) && there(&to));
    }
}
