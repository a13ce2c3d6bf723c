//! Finding all mailboxes by reading folders.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use mailfs::{DirEntry, FileKind, FileSystem};
use mailtypes::MailboxName;

use super::{
    Format, Layout, Shape, mbox,
    noted::{Mark, Noted, is_at_rest},
};
use crate::traits::{Result, StorageError};

/// Levels listed at most.
pub(super) const LEVEL_COUNT_MAX: usize = 100_000;

/// A level of the hierarchy.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Found {
    pub(crate) name: MailboxName,
    /// Whether it holds messages.
    pub(crate) selectable: bool,
    /// Whether there are levels below it.
    pub(crate) has_children: bool,
}

/// All levels, sorted by name, INBOX first. Names that nobody could have made by a mailbox name (not canonical, too
/// long) are passed over, as is what lies too deep. Reads each folder once; of Maildir++ only the root.
pub(crate) fn walk(fs: &dyn FileSystem, layout: &Layout) -> Result<Vec<Found>> {
    walk_with(fs, layout, None)
}

/// The same, passing over folders that look as they did when they were read last. Costs a `stat` for each of them.
pub(crate) fn walk_noted(format: &dyn Format) -> Result<Vec<Found>> {
    let env = format.env();
    walk_with(&**env.fs(), format.layout(), Some(&*env.companion::<Folders>()))
}

fn walk_with(fs: &dyn FileSystem, layout: &Layout, folders: Option<&Folders>) -> Result<Vec<Found>> {
    let mut found = match layout.shape() {
        Shape::Dbox | Shape::MaildirFs => walk_tree(fs, layout, folders)?,
        Shape::MaildirPlusPlus => walk_flat(fs, layout)?,
        Shape::Mbox => mbox::walk(fs, layout)?,
    };
    if layout.has_inbox() && (layout.shape() != Shape::Dbox || layout.has_inbox_apart()) {
        put_inbox(&mut found, layout.is_mailbox(fs, &MailboxName::inbox())?);
    }
    found.sort_by(|a, b| (!a.name.is_inbox(), &a.name).cmp(&(!b.name.is_inbox(), &b.name)));
    Ok(found)
}

/// INBOX lies in the root, and what bears its name only leads to its children.
fn put_inbox(found: &mut Vec<Found>, is_there: bool) {
    match found.iter_mut().find(|found| found.name.is_inbox()) {
        Some(inbox) => inbox.selectable = is_there,
        None if is_there => found.push(Found { name: MailboxName::inbox(), selectable: true, has_children: false }),
        None => {}
    }
}

pub(super) fn too_many() -> StorageError {
    StorageError::Limit { name: "mailbox_list_count_max", limit: LEVEL_COUNT_MAX as u64 }
}

/// The folders of a root whose names are those of Maildir++ mailboxes.
pub(super) fn flat_names(fs: &dyn FileSystem, layout: &Layout, root: &Path) -> Result<Vec<MailboxName>> {
    let mut names = Vec::new();
    for entry in read_dir(fs, root)? {
        let Some(name) = entry.name.to_str().and_then(|entry| layout.name_of_flat(entry)) else { continue };
        let is_dir = match entry.kind {
            FileKind::Dir => true,
            FileKind::Symlink => linked_dir(fs, &root.join(&entry.name))?.is_some(),
            FileKind::File | FileKind::Other => false,
        };
        if is_dir {
            names.push(name);
        }
        if names.len() > LEVEL_COUNT_MAX {
            return Err(too_many());
        }
    }
    Ok(names)
}

/// The levels above a Maildir++ mailbox are there because it is.
fn walk_flat(fs: &dyn FileSystem, layout: &Layout) -> Result<Vec<Found>> {
    let mut levels: BTreeMap<MailboxName, (bool, bool)> = BTreeMap::new();
    for name in flat_names(fs, layout, layout.root())? {
        let mut above = name.parent();
        while let Some(parent) = above {
            above = parent.parent();
            let level = levels.entry(parent).or_default();
            if std::mem::replace(&mut level.1, true) {
                // Those above it know already.
                break;
            }
        }
        levels.entry(name).or_default().0 = true;
        if levels.len() > LEVEL_COUNT_MAX {
            return Err(too_many());
        }
    }
    let found = |(name, (selectable, has_children))| Found { name, selectable, has_children };
    Ok(levels.into_iter().map(found).collect())
}

struct Level {
    /// As on disk, from the outermost level on.
    storage_name: String,
    dir: PathBuf,
    depth: usize,
    /// Folders above that were come to by links: where a loop would lead back to.
    above: Vec<(u64, u64)>,
}

/// The folders in folders without links, by path.
type Folders = Noted<Mark, Arc<[DirEntry]>>;

/// Folders in a folder that is noted.
const FOLDERS_MAX: usize = 16;

/// The folders and links in a folder.
fn folders_in(fs: &dyn FileSystem, dir: &Path, folders: Option<&Folders>) -> Result<Arc<[DirEntry]>> {
    let now = fs.now();
    let noted = match folders {
        Some(folders) => fs.metadata(dir)?.map(|there| (folders, Mark::of(&there))),
        None => None,
    };
    if let Some((folders, mark)) = &noted
        && let Some(entries) = folders.find(dir, mark)
    {
        return Ok(entries);
    }
    let mut entries = read_dir(fs, dir)?;
    entries.retain(|entry| matches!(entry.kind, FileKind::Dir | FileKind::Symlink));
    let entries: Arc<[DirEntry]> = entries.into();
    // What a link leads to may change without the folder.
    let is_plain = entries.len() <= FOLDERS_MAX && entries.iter().all(|entry| entry.kind == FileKind::Dir);
    if let Some((folders, mark)) = noted.filter(|(_, mark)| is_plain && is_at_rest(mark.modified, now)) {
        folders.note(dir, mark, Arc::clone(&entries));
    }
    Ok(entries)
}

fn walk_tree(fs: &dyn FileSystem, layout: &Layout, folders: Option<&Folders>) -> Result<Vec<Found>> {
    let root = Level { storage_name: String::new(), dir: layout.mailboxes(), depth: 0, above: Vec::new() };
    let mut found = Vec::new();
    let mut open = vec![root];
    while let Some(level) = open.pop() {
        let (mut selectable, mut has_children) = (false, false);
        for entry in folders_in(fs, &level.dir, folders)?.iter() {
            let Some(name) = entry.name.to_str() else { continue };
            let linked = entry.kind == FileKind::Symlink;
            let dir = level.dir.join(name);
            let identity = if linked { linked_dir(fs, &dir)? } else { None };
            if linked && identity.is_none_or(|id| level.above.contains(&id)) {
                continue;
            }
            if layout.is_own(name) {
                selectable |= name == layout.marker();
            } else if let Some(child) = child(layout, &level, name, dir, identity) {
                has_children = true;
                open.push(child);
            }
            if open.len() + found.len() > LEVEL_COUNT_MAX {
                return Err(too_many());
            }
        }
        if level.depth > 0
            && let Some(name) = layout.name_of(&level.storage_name)
        {
            found.push(Found { name, selectable, has_children });
        }
    }
    Ok(found)
}

fn child(layout: &Layout, level: &Level, name: &str, dir: PathBuf, identity: Option<(u64, u64)>) -> Option<Level> {
    let separator = if level.depth == 0 { "" } else { "/" };
    let storage_name = format!("{}{separator}{name}", level.storage_name);
    layout.level_dir(&layout.name_of(&storage_name)?).ok()?;
    let above = level.above.iter().copied().chain(identity).collect();
    Some(Level { storage_name, dir, depth: level.depth + 1, above })
}

/// What is not there is empty, and so is what may not be looked into, such as a `lost+found`.
pub(super) fn read_dir(fs: &dyn FileSystem, dir: &Path) -> Result<Vec<DirEntry>> {
    match fs.read_dir(dir) {
        Err(e) if e.is_not_found() => Ok(Vec::new()),
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            tracing::warn!("mailboxes in it are not listed: {e}");
            Ok(Vec::new())
        }
        other => Ok(other?),
    }
}

pub(super) fn linked_dir(fs: &dyn FileSystem, path: &Path) -> Result<Option<(u64, u64)>> {
    let there = match fs.metadata(path) {
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => None,
        other => other?,
    };
    Ok(there.filter(|m| m.kind == FileKind::Dir).map(|m| (m.device, m.inode)))
}

#[cfg(test)]
mod tests {
    use mailfs::RealDisk;

    use super::*;

    fn layout(shape: Shape, root: &Path) -> Layout {
        Layout::shaped(shape, root, None, None)
    }

    fn seen(shape: Shape, root: &Path) -> Vec<(String, bool, bool)> {
        let found = walk(&RealDisk::new(), &layout(shape, root)).unwrap();
        assert!(found.len() < 20, "a loop of links ends");
        let names = found.into_iter().map(|f| (f.name.to_string(), f.selectable, f.has_children));
        names.filter(|f| !f.0.contains("loop")).collect()
    }

    fn make(root: &Path, dirs: &[&str]) {
        for dir in dirs {
            std::fs::create_dir_all(root.join(dir)).unwrap();
        }
    }

    fn expect(list: &[(&str, bool, bool)]) -> Vec<(String, bool, bool)> {
        list.iter().map(|(name, selectable, children)| ((*name).to_owned(), *selectable, *children)).collect()
    }

    #[test]
    fn what_is_there_is_found_and_what_cannot_be_named_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("mailboxes");
        let dirs =
            ["INBOX/dbox-Mails", "b/c/dbox-Mails", "inbox/dbox-Mails", "&AGE-/dbox-Mails", "empty", "a/dbox-Mails"];
        make(&root, &dirs);
        std::fs::write(root.join("file"), "").unwrap();
        std::os::unix::fs::symlink("..", root.join("b/loop")).unwrap();
        let levels = [
            ("INBOX", true, false),
            ("a", true, false),
            ("b", false, true),
            ("b/c", true, false),
            ("empty", false, false),
        ];
        assert_eq!(seen(Shape::Dbox, dir.path()), expect(&levels));
    }

    /// As Dovecot 2.3.19 lists it, but for names that it lists and cannot open.
    #[test]
    fn flat_folders_make_the_levels_above_them() {
        let dir = tempfile::tempdir().unwrap();
        let dirs =
            ["cur", "new", "tmp", ".a.b.c/cur", ".a/cur", ".bare", "..DOVECOT-TRASHED/x/cur", ".x./cur", ".INBOX.k"];
        make(dir.path(), &dirs);
        make(dir.path(), &["no-dot/cur", ".inbox/cur", ".&AGE-/cur", "culver.tmp.1/cur"]);
        std::fs::write(dir.path().join(".file"), "").unwrap();
        std::os::unix::fs::symlink(".a", dir.path().join(".link")).unwrap();
        let levels = [
            ("INBOX", true, true),
            ("INBOX/k", true, false),
            ("a", true, true),
            ("a/b", false, true),
            ("a/b/c", true, false),
            ("bare", true, false),
            ("link", true, false),
        ];
        assert_eq!(seen(Shape::MaildirPlusPlus, dir.path()), expect(&levels));
    }

    #[test]
    fn a_maildir_tree_has_inbox_for_its_root() {
        let dir = tempfile::tempdir().unwrap();
        make(
            dir.path(),
            &["cur", "new", "tmp/culver.tmp.1/cur", "a/b/cur", "a/new", ".h/cur", "INBOX/k/cur", "INBOX/cur"],
        );
        make(dir.path(), &["..DOVECOT-TrasH/x/cur", "inbox/cur", "empty", "x.y/cur", "dovecot-x/cur"]);
        std::os::unix::fs::symlink("..", dir.path().join("a/loop")).unwrap();
        let levels = [
            ("INBOX", true, true),
            (".h", true, false),
            ("INBOX/k", true, false),
            ("a", false, true),
            ("a/b", true, false),
            ("empty", false, false),
            ("x.y", true, false),
        ];
        assert_eq!(seen(Shape::MaildirFs, dir.path()), expect(&levels));
    }

    #[test]
    fn what_is_noted_is_as_it_is() {
        let (dir, fs, folders) = (tempfile::tempdir().unwrap(), RealDisk::new(), Folders::default());
        let layout = layout(Shape::Dbox, dir.path());
        let all = |folders| walk_with(&fs, &layout, folders).unwrap();
        make(dir.path(), &["mailboxes/a/dbox-Mails", "mailboxes/b/dbox-Mails"]);
        assert_eq!((all(Some(&folders)), folders.count()), (all(None), 0), "not at rest yet");
        let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(100);
        for level in ["", "a", "b"] {
            let level = std::fs::File::open(dir.path().join("mailboxes").join(level)).unwrap();
            level.set_modified(long_ago).unwrap();
        }
        assert_eq!((all(Some(&folders)), folders.count()), (all(None), 3));
        make(dir.path(), &["mailboxes/a/c/dbox-Mails", "mailboxes/d/dbox-Mails"]);
        std::fs::remove_dir(dir.path().join("mailboxes/b/dbox-Mails")).unwrap();
        let found = all(Some(&folders));
        assert_eq!(found, all(None));
        assert_eq!(found.iter().filter(|found| found.selectable).count(), 3);
    }

    #[test]
    fn no_folder_no_mailboxes() {
        let dir = tempfile::tempdir().unwrap();
        for shape in [Shape::Dbox, Shape::MaildirFs, Shape::MaildirPlusPlus] {
            assert_eq!(walk(&RealDisk::new(), &layout(shape, dir.path())).unwrap(), Vec::new());
        }
    }
}
