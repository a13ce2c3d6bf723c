//! The folders of mailboxes in alternate storage (`docs/formats/dbox.md`, Alternate storage): as those of the messages,
//! below another root, and there only once something was moved.

use mailfs::{FileSystem, FileSystemExt};
use mailtypes::MailboxName;

use super::{Layout, MailboxDirs, Rights, change::move_dir};
use crate::traits::{Result, StorageError};

/// In the root of alternate storage while a mailbox that has messages there is renamed: the old name and the new one, a
/// line each.
const NOTE: &str = "culver-renaming";

/// Two of the longest names.
const NOTE_LEN_MAX: u64 = 64 << 10;

/// Names removed of one mailbox.
const NAME_COUNT_MAX: u64 = 100_000_000;

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
