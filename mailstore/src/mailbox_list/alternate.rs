//! The folders of mailboxes in alternate storage (`docs/formats/dbox.md`, Alternate storage): as those of the messages,
//! below another root, and there only once something was moved.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use mailfs::{FileKind, FileSystem, FileSystemExt};
use mailtypes::MailboxName;

use super::{Layout, MailboxDirs, Rights, Shape, change::move_dir};
use crate::traits::{Result, StorageError};

/// In the root of alternate storage while a mailbox that has messages there is renamed: the old name and the new one, a
/// line each.
const NOTE: &str = "culver-renaming";

/// Two of the longest names.
const NOTE_LEN_MAX: u64 = 64 << 10;

/// Names removed of one mailbox.
const NAME_COUNT_MAX: u64 = 100_000_000;

/// In the store's root: leads to the alternate storage that the store has, or had. Dovecot makes it, and whoever moves
/// messages there.
const LINK: &str = "dbox-alt-root";

/// What a file system that is empty may have in its root.
const LOST_AND_FOUND: &str = "lost+found";

/// Alternate storage that cannot be looked into.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Away {
    /// Where it should be, or what leads to it.
    pub(crate) path: PathBuf,
    /// What is known of it.
    pub(crate) what: String,
    /// What the administrator can do.
    pub(crate) advice: &'static str,
}

/// The store's alternate storage, if there should be one and nothing can be said of the messages in it: a message that is
/// not found may be there, and must not be taken for lost.
pub(crate) fn away(fs: &dyn FileSystem, layout: &Layout) -> Result<Option<Away>> {
    if layout.shape() != Shape::Dbox || !has_link(fs, layout.root())? {
        return Ok(None);
    }
    Ok(match layout.alt_root() {
        Some(root) if is_there(fs, root)? => None,
        Some(root) => Some(Away {
            path: root.to_owned(),
            what: "the alternate storage is missing or empty: most likely it is not mounted".to_owned(),
            advice: "mount it, and check again; if it is lost for good, make a folder \"mailboxes\" in it first",
        }),
        None => Some(Away {
            path: layout.root().join(LINK),
            what: "the store has had alternate storage where this link leads, and none is configured".to_owned(),
            advice: "say where it is (storage.alt, or ALT= in a location), and check again; if nothing lies there any \
                     more, remove the link first",
        }),
    })
}

/// Notes for Dovecot, and for [`away`], where alternate storage is.
pub(crate) fn note(fs: &dyn FileSystem, layout: &Layout) -> mailfs::Result<()> {
    let Some(root) = layout.alt_root() else { return Ok(()) };
    match fs.symlink(root, &layout.root().join(LINK)) {
        Err(e) if e.is_already_exists() => Ok(()),
        // Not every file system has links.
        Err(e) if e.kind() == ErrorKind::Unsupported => Ok(()),
        Err(e) => Err(e),
        Ok(()) => fs.sync_dir(layout.root()),
    }
}

/// Whether there is something in it: where a file system is to be mounted, there is nothing until it is.
pub(crate) fn is_there(fs: &dyn FileSystem, root: &Path) -> mailfs::Result<bool> {
    match fs.read_dir(root) {
        Err(e) if e.is_not_found() => Ok(false),
        Ok(entries) => Ok(entries.iter().any(|entry| entry.name != LOST_AND_FOUND)),
        Err(e) => Err(e),
    }
}

fn has_link(fs: &dyn FileSystem, root: &Path) -> mailfs::Result<bool> {
    let entries = match fs.read_dir(root) {
        Err(e) if e.is_not_found() => return Ok(false),
        other => other?,
    };
    Ok(entries.iter().any(|entry| entry.name == LINK && entry.kind == FileKind::Symlink))
}

/// Removes the messages of a mailbox that is marked as deleted.
pub(super) fn remove(fs: &dyn FileSystem, layout: &Layout, dirs: &MailboxDirs) -> Result<()> {
    let (Some(root), Some(dir)) = (layout.alt_root(), &dirs.alt) else { return Ok(()) };
    if !fs.is_dir(dir)? {
        return Ok(());
    }
    fs.remove_tree(dir, NAME_COUNT_MAX)?;
    // The levels above it, as far as nothing else lies below them.
    let mailboxes = layout.mailboxes_in(root);
    for above in dir.ancestors().skip(1).take_while(|above| **above != mailboxes) {
        if fs.remove_dir(above).is_err() {
            break;
        }
    }
    Ok(())
}

/// Has them follow a mailbox, and all below it, to its new name, which `rest` then gives to the mailbox itself. What a crash
/// leaves in between is put right by [`settle`].
pub(super) fn rename(
    fs: &dyn FileSystem,
    layout: &Layout,
    (from, to): (&MailboxName, &MailboxName),
    rest: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let Some(root) = layout.alt_root() else { return rest() };
    settle(fs, layout)?;
    let (old, new) = (layout.level_in(root, from), layout.level_in(root, to));
    if !fs.is_dir(&old)? {
        return rest();
    }
    // Whose messages lie there nobody can say: they are not to be mixed with others.
    if fs.exists(&new)? && fs.remove_dir(&new).is_err() {
        return Err(StorageError::AlreadyExists(to.clone()));
    }
    let rights = Rights::of(fs, root)?;
    fs.write_atomic(&root.join(NOTE), format!("{from}\n{to}\n").as_bytes(), rights.file_access(), true)?;
    // After a failure nobody can say what is durable: the note stays for who comes next.
    move_dir(fs, &old, &new, rights)
        .and_then(|()| rest())
        .inspect_err(|_| drop(put_together(fs, layout, (from, to))))?;
    settle(fs, layout)
}

/// Finishes or takes back a rename that was stopped: the messages in alternate storage belong where the mailbox is. The
/// list is locked.
pub(super) fn settle(fs: &dyn FileSystem, layout: &Layout) -> Result<()> {
    let Some(root) = layout.alt_root() else { return Ok(()) };
    let note = root.join(NOTE);
    let names = match fs.read_all(&note, NOTE_LEN_MAX) {
        Err(e) if e.is_not_found() => return Ok(()),
        other => String::from_utf8(other?).unwrap_or_default(),
    };
    let mut names = names.lines().map(MailboxName::new);
    if let (Some(Ok(from)), Some(Ok(to))) = (names.next(), names.next()) {
        put_together(fs, layout, (&from, &to))?;
        // What is seen must be durable before the note goes.
        for name in [&from, &to] {
            for level in [layout.level_dir(name)?, layout.level_in(root, name)] {
                match level.parent().map(|parent| fs.sync_dir(parent)) {
                    Some(Err(e)) if !e.is_not_found() => return Err(e.into()),
                    _ => {}
                }
            }
        }
    }
    match fs.unlink(&note) {
        Err(e) if !e.is_not_found() => Err(e.into()),
        _ => Ok(fs.sync_dir(root)?),
    }
}

/// Gives the messages in alternate storage their old name back if the mailbox has it still.
fn put_together(fs: &dyn FileSystem, layout: &Layout, (from, to): (&MailboxName, &MailboxName)) -> Result<()> {
    let Some(root) = layout.alt_root() else { return Ok(()) };
    let (old, new) = (layout.level_in(root, from), layout.level_in(root, to));
    let was_not_moved = fs.is_dir(&layout.level_dir(from)?)? && !fs.is_dir(&layout.level_dir(to)?)?;
    if was_not_moved && fs.is_dir(&new)? && !fs.exists(&old)? {
        move_dir(fs, &new, &old, Rights::of(fs, root)?)?;
    }
    Ok(())
}
