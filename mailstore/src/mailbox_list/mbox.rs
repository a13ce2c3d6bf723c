//! Mailboxes that are files (`docs/formats/mbox.md`, Layout): each name is a folder that leads to others or a file that
//! holds messages, never both. Its index lies in a folder of its own, in `.imap` beside the file.
//!
//! # Invariants
//!
//! 1. A file makes a mailbox, an index alone does not: the file comes last and goes first.
//! 2. Levels above are made as folders, and stay when what led to them goes, as Dovecot 2.3 leaves them.

use std::{
    io::ErrorKind,
    path::{Path, PathBuf},
};

use mailfs::{FileKind, FileSystem, FileSystemExt};
use mailtypes::MailboxName;

use super::{
    Format, Layout, MailboxDirs, Rights,
    change::mark_deleted,
    condemned::{self, Standing},
    layout::MBOX_INDEX_DIR,
    private,
    trash::{clear_leftover, move_to_trash},
    walk::{Found, LEVEL_COUNT_MAX, linked_dir, read_dir, too_many},
};
use crate::traits::{MailboxIdentity, OnlyIf, Result, StorageError};

/// A level is in the way, or a mailbox.
const NO_CHILDREN: &str = "A mailbox of this store can't have both messages and children";

/// What lies at a path, links followed. `None` also where a file stands in the way.
fn kind(fs: &dyn FileSystem, path: &Path) -> Result<Option<FileKind>> {
    Ok(fs.metadata(path)?.map(|there| there.kind))
}

struct Level {
    storage_name: String,
    dir: PathBuf,
    above: Vec<(u64, u64)>,
}

/// All levels but INBOX, in no order. Reads each folder once.
pub(super) fn walk(fs: &dyn FileSystem, layout: &Layout) -> Result<Vec<Found>> {
    let mut found = Vec::new();
    let mut open = vec![Level { storage_name: String::new(), dir: layout.mailboxes(), above: Vec::new() }];
    while let Some(level) = open.pop() {
        let mut has_children = false;
        for entry in read_dir(fs, &level.dir)? {
            let Some(name) = entry.name.to_str() else { continue };
            let path = level.dir.join(name);
            let separator = if level.storage_name.is_empty() { "" } else { "/" };
            let storage_name = format!("{}{separator}{name}", level.storage_name);
            let Some(mailbox) = layout.name_of(&storage_name).filter(|mailbox| layout.level_dir(mailbox).is_ok())
            else {
                continue;
            };
            let identity = if entry.kind == FileKind::Symlink { linked_dir(fs, &path)? } else { None };
            let is_dir = entry.kind == FileKind::Dir || identity.is_some();
            if is_dir && identity.is_none_or(|id| !level.above.contains(&id)) {
                has_children = true;
                let above = level.above.iter().copied().chain(identity).collect();
                open.push(Level { storage_name, dir: path, above });
            } else if !is_dir && is_file(fs, entry.kind, &path)? {
                has_children = true;
                if path != layout.level_in(layout.root(), &MailboxName::inbox()) && !mailbox.is_inbox() {
                    found.push(Found { name: mailbox, selectable: true, has_children: false });
                }
            }
            if open.len() + found.len() > LEVEL_COUNT_MAX {
                return Err(too_many());
            }
        }
        if let Some(name) = layout.name_of(&level.storage_name).filter(|_| !level.storage_name.is_empty()) {
            found.push(Found { name, selectable: false, has_children });
        }
    }
    Ok(found)
}

fn is_file(fs: &dyn FileSystem, listed: FileKind, path: &Path) -> Result<bool> {
    Ok(match listed {
        FileKind::File => true,
        FileKind::Symlink => match kind(fs, path) {
            Ok(kind) => kind == Some(FileKind::File),
            // What may not be looked at is nobody's here.
            Err(_) => false,
        },
        FileKind::Dir | FileKind::Other => false,
    })
}

/// Makes an empty mailbox. The list is locked.
pub(super) fn create(format: &dyn Format, name: &MailboxName, identity: Option<&MailboxIdentity>) -> Result<()> {
    let (fs, layout) = (&**format.env().fs(), format.layout());
    let dirs = layout.dirs(name)?;
    match kind(fs, &dirs.mail)? {
        Some(FileKind::Dir) => return Err(StorageError::NotPossible(NO_CHILDREN)),
        Some(_) => {
            if !format.is_deleted(&dirs)? {
                return Err(StorageError::AlreadyExists(name.clone()));
            }
            // Somebody was stopped while deleting it.
            finish_deletion(format, &dirs)?;
            if kind(fs, &dirs.mail)?.is_some() {
                return Err(StorageError::AlreadyExists(name.clone()));
            }
        }
        None => {}
    }
    check_above(fs, layout, &dirs.mail)?;
    clear_index(fs, layout, &dirs)?;
    let rights = Rights::of(fs, layout.root())?;
    let parent = dirs.mail.parent().unwrap_or(&dirs.mail);
    rights.create_dirs(fs, parent)?;
    if identity.is_some() {
        // Else it gets one when it is opened.
        format.make(&dirs, rights, identity)?;
    }
    match rights.create(fs, &dirs.mail) {
        Err(e) if e.is_already_exists() => return Err(StorageError::AlreadyExists(name.clone())),
        other => drop(other?),
    }
    Ok(fs.sync_dir(parent)?)
}

/// No mailbox may stand where a level is to be.
fn check_above(fs: &dyn FileSystem, layout: &Layout, mail: &Path) -> Result<()> {
    let mailboxes = layout.mailboxes();
    for above in mail.ancestors().skip(1).take_while(|above| above.starts_with(&mailboxes) && **above != mailboxes) {
        if kind(fs, above)?.is_some_and(|kind| kind != FileKind::Dir) {
            return Err(StorageError::NotPossible(NO_CHILDREN));
        }
    }
    Ok(())
}

/// The index of a mailbox that had this name once.
fn clear_index(fs: &dyn FileSystem, layout: &Layout, dirs: &MailboxDirs) -> Result<()> {
    for dir in dirs.beside_mail() {
        clear_leftover(fs, layout, layout.index(), dir)?;
    }
    Ok(())
}

/// Deletes a mailbox, or a level that leads nowhere. The list is locked.
pub(super) fn delete(format: &dyn Format, name: &MailboxName, only_if: OnlyIf) -> Result<()> {
    let (fs, layout) = (&**format.env().fs(), format.layout());
    let dirs = layout.dirs(name)?;
    match kind(fs, &dirs.mail)? {
        None => Err(StorageError::NotFound(name.clone())),
        Some(FileKind::Dir) => remove_level(fs, &dirs.mail),
        Some(_) => {
            condemned::note(fs, &dirs)?;
            mark_deleted(format, name, &dirs, only_if)?;
            match only_if.judged() {
                // The file went with the mark: one that is there now is a new one.
                Some(_) => finish_deletion(format, &dirs),
                None => remove(format, &dirs),
            }
        }
    }
}

/// Goes on with a deletion in which somebody was stopped: what the mark was meant for goes, and where that has gone already
/// the index alone.
pub(super) fn finish_deletion(format: &dyn Format, dirs: &MailboxDirs) -> Result<()> {
    let (fs, layout) = (&**format.env().fs(), format.layout());
    match condemned::standing(fs, dirs)? {
        Standing::Condemned => remove(format, dirs),
        Standing::Nothing | Standing::Another | Standing::Unknown => clear_index(fs, layout, dirs),
    }
}

/// Takes a mailbox out of the list, durably, and removes its index.
fn remove(format: &dyn Format, dirs: &MailboxDirs) -> Result<()> {
    let (fs, layout) = (&**format.env().fs(), format.layout());
    match fs.unlink(&dirs.mail) {
        Err(e) if !e.is_not_found() => return Err(e.into()),
        _ => {}
    }
    if let Some(parent) = dirs.mail.parent() {
        fs.sync_dir(parent)?;
    }
    clear_index(fs, layout, dirs)
}

/// A folder in which there is nothing but an index folder that is empty too.
fn remove_level(fs: &dyn FileSystem, dir: &Path) -> Result<()> {
    let in_use = |e: &mailfs::FsError| e.kind() == ErrorKind::DirectoryNotEmpty || e.is_already_exists();
    for dir in [&dir.join(MBOX_INDEX_DIR), dir] {
        match fs.remove_dir(dir) {
            Err(e) if in_use(&e) => {
                return Err(StorageError::NotPossible("Mailbox has children, delete them first"));
            }
            Err(e) if !e.is_not_found() => return Err(e.into()),
            _ => {}
        }
    }
    dir.parent().map_or(Ok(()), |parent| Ok(fs.sync_dir(parent)?))
}

/// Renames a mailbox, or a level with all below it. The list is locked.
pub(super) fn rename(format: &dyn Format, from: &MailboxName, to: &MailboxName) -> Result<()> {
    let (fs, layout) = (&**format.env().fs(), format.layout());
    let (old, new) = (layout.dirs(from)?, layout.dirs(to)?);
    let Some(old_kind) = kind(fs, &old.mail)? else { return Err(StorageError::NotFound(from.clone())) };
    check_above(fs, layout, &new.mail)?;
    match kind(fs, &new.mail)? {
        None => {}
        // An empty level may be replaced; anything else is in the way.
        Some(FileKind::Dir) if remove_level(fs, &new.mail).is_ok() => {}
        Some(_) => return Err(StorageError::AlreadyExists(to.clone())),
    }
    let rights = Rights::of(fs, layout.root())?;
    if let Some(parent) = new.mail.parent() {
        rights.create_dirs(fs, parent)?;
    }
    if old_kind == FileKind::Dir {
        let below: Vec<Found> = walk(fs, layout)?.into_iter().filter(|found| found.name.is_below(from)).collect();
        for name in below.iter().filter_map(|found| found.name.rebased(from, to)) {
            layout.level_dir(&name)?;
        }
        let index = layout.mbox_index_tree(from).zip(layout.mbox_index_tree(to));
        if index.is_some() {
            below.iter().filter(|found| found.selectable).try_for_each(|found| settle(format, &found.name))?;
        }
        return private::rename(fs, layout, (from, to), || {
            move_level(fs, layout, (&old.mail, &new.mail), index.as_ref(), rights)
        });
    }
    // What only the index knows is written first: should a crash come between the two renames, the file tells it all.
    format.settle(from, &old)?;
    // Nor may anybody be about to change the file then.
    let _locked = format.lock_messages(&old)?;
    private::rename(fs, layout, (from, to), || move_file(fs, layout, &old, &new, rights))
}

/// The same for one of many. What is no mailbox, or cannot be written, is no reason not to rename the others.
fn settle(format: &dyn Format, name: &MailboxName) -> Result<()> {
    let dirs = format.layout().dirs(name)?;
    if format.env().fs().is_dir(&dirs.index)?
        && let Err(e) = format.settle(name, &dirs)
    {
        tracing::warn!(mailbox = %name, "what its index alone knows is not in the file: {e}");
    }
    Ok(())
}

/// Moves the indexes below a level, if they lie in a tree of their own, and then the files; the indexes back where that
/// fails.
fn move_level(
    fs: &dyn FileSystem,
    layout: &Layout,
    (old, new): (&Path, &Path),
    index: Option<&(PathBuf, PathBuf)>,
    rights: Rights,
) -> Result<()> {
    let index = match index {
        Some((old, new)) if fs.is_dir(old)? => Some((old, new)),
        _ => None,
    };
    if let Some((old, new)) = index {
        make_way(fs, layout, new, rights)?;
        fs.rename_new(old, new)?;
    }
    if let Err(e) = fs.rename_new(old, new) {
        if let Some((old, new)) = index {
            // What matters is the first failure; the files tell all but mod-sequences.
            let _ = fs.rename_new(new, old);
        }
        return Err(e.into());
    }
    // First durable where they are now: after a crash in between they may have two names, but not none.
    let indexes = index.map(|(old, new)| [new.parent(), old.parent()]).into_iter().flatten();
    for parent in [new.parent(), old.parent()].into_iter().chain(indexes).flatten() {
        fs.sync_dir(parent)?;
    }
    Ok(())
}

/// Moves a mailbox's index and then its file, with nothing in between: a Dovecot that finds a file without an index makes one,
/// and under the new name that would be in the way. What it has made meanwhile under the old one goes.
fn move_file(fs: &dyn FileSystem, layout: &Layout, old: &MailboxDirs, new: &MailboxDirs, rights: Rights) -> Result<()> {
    let has_index = fs.is_dir(&old.index)?;
    if has_index {
        make_way(fs, layout, &new.index, rights)?;
        fs.rename_new(&old.index, &new.index)?;
    }
    if let Err(e) = fs.rename_new(&old.mail, &new.mail) {
        if has_index {
            // What matters is the first failure; the file tells all but mod-sequences.
            let _ = fs.rename_new(&new.index, &old.index);
        }
        return Err(e.into());
    }
    // First durable where they are now: after a crash in between they may have two names, but not none.
    let indexes = has_index.then_some([new.index.parent(), old.index.parent()]).into_iter().flatten();
    for parent in [new.mail.parent(), old.mail.parent()].into_iter().chain(indexes).flatten() {
        fs.sync_dir(parent)?;
    }
    if has_index && fs.is_dir(&old.index)? && !fs.exists(&old.mail)? {
        move_to_trash(fs, layout, layout.index(), &old.index)?.empty(fs);
    }
    Ok(())
}

/// Takes what is left of an index out of the place where another is to be.
fn make_way(fs: &dyn FileSystem, layout: &Layout, new: &Path, rights: Rights) -> Result<()> {
    if fs.is_dir(new)? {
        move_to_trash(fs, layout, layout.index(), new)?.empty(fs);
    }
    if let Some(parent) = new.parent() {
        rights.create_dirs(fs, parent)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use mailfs::RealDisk;

    use super::{
        super::{ListOptions, Shape},
        *,
    };

    #[test]
    fn files_are_mailboxes_and_folders_lead_to_them() {
        let dir = tempfile::tempdir().unwrap();
        for folder in [".imap/INBOX", "a/b/.imap/c", "empty", "..DOVECOT-TrasH/x"] {
            std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        }
        for file in ["inbox", "Sent", "Sent.lock", "a/b/c", ".subscriptions", ".hidden", "&AGE-", "a/x y"] {
            std::fs::write(dir.path().join(file), "").unwrap();
        }
        std::os::unix::fs::symlink("../..", dir.path().join("a/b/loop")).unwrap();
        std::os::unix::fs::symlink("Sent", dir.path().join("link")).unwrap();
        let layout = Layout::mbox(dir.path(), None, None, ListOptions::default());
        assert_eq!(layout.shape(), Shape::Mbox);
        let found = super::super::walk::walk(&RealDisk::new(), &layout).unwrap();
        let found: Vec<_> = found.iter().map(|f| (f.name.as_str(), f.selectable, f.has_children)).collect();
        let found: Vec<_> = found.into_iter().filter(|f| !f.0.contains("loop")).collect();
        let expect = [
            ("INBOX", true, false),
            (".hidden", true, false),
            ("Sent", true, false),
            ("a", false, true),
            ("a/b", false, true),
            ("a/b/c", true, false),
            ("a/x y", true, false),
            ("empty", false, false),
            ("link", true, false),
        ];
        assert_eq!(found, expect);
    }
}
