//! Taking folders out of the list: by one rename, durably, before their files go.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use mailfs::{FileKind, FileSystem, FileSystemExt};

use super::{Layout, Rights};
use crate::traits::Result;

/// Names removed in one go.
const NAME_COUNT_MAX: u64 = 100_000_000;

/// What is younger may be somebody's work.
const LEFTOVER_AGE_MIN: Duration = Duration::from_secs(3600);

/// What names of files begin with that belong to INBOX where it shares its folder with the store.
const MAILBOX_FILES: [&str; 3] = ["dovecot.index", "dovecot-uidlist", "dovecot-keywords"];

/// A new folder in the trash of one of the store's roots: of that on whose file system the folder to be moved lies.
#[must_use = "what is in it goes when it is emptied"]
pub(super) struct Bag {
    trash: PathBuf,
    dir: PathBuf,
}

impl Bag {
    fn path_in(fs: &dyn FileSystem, layout: &Layout, root: &Path) -> Result<Self> {
        let trash = root.join(layout.trash_name());
        match Rights::of(fs, root)?.create_dir(fs, &trash) {
            Err(e) if !e.is_already_exists() => return Err(e.into()),
            _ => {}
        }
        let mut random = [0; 8];
        fs.random(&mut random);
        let dir = trash.join(format!("{:016x}", u64::from_le_bytes(random)));
        Ok(Self { trash, dir })
    }

    /// What was moved away lies in it.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What lies in it has left the list. What cannot be removed is removed another time.
    pub(super) fn empty(self, fs: &dyn FileSystem) {
        let removed = fs.remove_tree(&self.dir, NAME_COUNT_MAX).and_then(|_| fs.remove_dir(&self.trash));
        if let Err(e) = removed {
            tracing::debug!("a deleted mailbox stays in the trash: {e}");
        }
    }
}

/// Moves a folder with all in it away, durably. `root` is the one that it lies below.
pub(super) fn move_to_trash(fs: &dyn FileSystem, layout: &Layout, root: &Path, dir: &Path) -> Result<Bag> {
    let bag = Bag::path_in(fs, layout, root)?;
    fs.rename(dir, &bag.dir)?;
    if let Some(parent) = dir.parent() {
        fs.sync_dir(parent)?;
    }
    Ok(bag)
}

/// Moves what belongs to the mailbox itself out of a level's folder, that which makes it a mailbox first. Folders of
/// levels below stay, and what belongs to the store. Durable when it returns.
pub(super) fn strip_to_trash(fs: &dyn FileSystem, layout: &Layout, root: &Path, level: &Path) -> Result<Option<Bag>> {
    let mut own: Vec<_> = fs.read_dir(level)?;
    let is_mailboxes = |name: &str| level != root || MAILBOX_FILES.iter().any(|start| name.starts_with(start));
    own.retain(|entry| {
        let Some(name) = entry.name.to_str() else { return false };
        layout.is_mail_dir(name) || entry.kind == FileKind::File && is_mailboxes(name)
    });
    own.sort_by_key(|entry| entry.name != layout.marker());
    if own.is_empty() {
        return Ok(None);
    }
    let bag = Bag::path_in(fs, layout, root)?;
    Rights::of(fs, root)?.create_dir(fs, &bag.dir)?;
    for (at, entry) in own.iter().enumerate() {
        match fs.rename(&level.join(&entry.name), &bag.dir.join(&entry.name)) {
            Err(e) if !e.is_not_found() => return Err(e.into()),
            _ => {}
        }
        if at == 0 {
            // The rest is nobody's from here on, whatever happens.
            fs.sync_dir(level)?;
        }
    }
    fs.sync_dir(level)?;
    Ok(Some(bag))
}

/// Removes a folder of one of the roots that was left without its mailbox.
pub(super) fn clear_leftover(fs: &dyn FileSystem, layout: &Layout, root: &Path, dir: &Path) -> Result<()> {
    if !fs.is_dir(dir)? {
        return Ok(());
    }
    let bag = match has_levels(fs, layout, dir)? {
        true => strip_to_trash(fs, layout, root, dir)?,
        false => Some(move_to_trash(fs, layout, root, dir)?),
    };
    if let Some(bag) = bag {
        bag.empty(fs);
    }
    Ok(())
}

/// Whether there are folders of other levels in a level's folder.
pub(super) fn has_levels(fs: &dyn FileSystem, layout: &Layout, level: &Path) -> Result<bool> {
    let is_level = |name: &str| !layout.is_own(name);
    let entries = fs.read_dir(level)?.into_iter().filter(|entry| entry.kind != FileKind::File);
    Ok(layout.has_tree() && entries.map(|entry| entry.name).any(|name| name.to_str().is_none_or(is_level)))
}

/// What a crash left in the store's folders, and is old enough that nobody can be at work on it.
pub(crate) fn leftovers(fs: &dyn FileSystem, layout: &Layout) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut look = |dir: &Path, is_one: &dyn Fn(&str) -> bool| -> Result<()> {
        let entries = match fs.read_dir(dir) {
            Err(e) if e.is_not_found() => return Ok(()),
            other => other?,
        };
        for entry in entries.iter().filter(|entry| entry.kind == FileKind::Dir) {
            let path = dir.join(&entry.name);
            let Some(there) = fs.metadata(&path)? else { continue };
            let is_old = fs.now().duration_since(there.changed).is_ok_and(|age| age > LEFTOVER_AGE_MIN);
            if is_old && entry.name.to_str().is_some_and(is_one) {
                found.push(path);
            }
        }
        Ok(())
    };
    for root in layout.roots() {
        look(&root.join(layout.trash_name()), &|_| true)?;
    }
    let is_half_made = |name: &str| name.starts_with(mailfs::TEMP_PREFIX);
    match layout.is_by_guid() {
        // Index and control files are made aside too, for nobody knows yet where they will belong.
        true => layout.roots().into_iter().try_for_each(|root| look(root, &is_half_made))?,
        false => look(&layout.workshop(), &is_half_made)?,
    }
    Ok(found)
}

/// Removes what a crash left in the store's folders: half-made mailboxes, half-removed ones. Nobody works on them while
/// the list is locked; in a store by GUID, whose list has no such lock, only what is old goes. Tells how many names went.
pub(super) fn clean(fs: &dyn FileSystem, layout: &Layout) -> Result<u64> {
    let mut removed = 0;
    if layout.is_by_guid() {
        for path in leftovers(fs, layout)? {
            removed += fs.remove_tree(&path, NAME_COUNT_MAX)?;
        }
        return Ok(removed);
    }
    for root in layout.roots() {
        removed += fs.remove_tree(&root.join(layout.trash_name()), NAME_COUNT_MAX)?;
    }
    Ok(removed + clean_workshop(fs, &layout.workshop())?)
}

fn clean_workshop(fs: &dyn FileSystem, workshop: &Path) -> Result<u64> {
    let mut removed = 0;
    let entries = match fs.read_dir(workshop) {
        Err(e) if e.is_not_found() => return Ok(removed),
        other => other?,
    };
    for entry in entries {
        let half_made = entry.name.to_str().is_some_and(|name| name.starts_with(mailfs::TEMP_PREFIX));
        if half_made && entry.kind == FileKind::Dir {
            removed += fs.remove_tree(&workshop.join(&entry.name), NAME_COUNT_MAX)?;
        }
    }
    Ok(removed)
}
