//! Sizes in names of files that are not theirs are taken out of the names, and the messages keep their UIDs.
//!
//! A name and its line in the UID list cannot change at once. So the file has both names while the list is written: which of
//! them the list has is the message's, the other one is no message but for whoever does not know of this. What a power cut
//! has left of it is removed by the next synchronisation ([`MaildirFiles::is_second_name`]); a Dovecot that comes first gives
//! the other name a UID of its own, and the message is there twice.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsStr,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use mailfs::Metadata;
use mailindex::state::State;

use super::{
    duplicates::{LINK_AGE_MIN, ignore_missing},
    files::{Known, MaildirFiles},
    name,
    save::unique_base,
    table::{Entry, Place},
};

/// Files of messages by their names without sizes.
pub(super) type SizedFiles = HashMap<Vec<u8>, Vec<PathBuf>>;

impl MaildirFiles {
    /// Gives files names without sizes, where those that they tell are wrong, and writes the UID list, with its lock held.
    /// UIDs, flags and identities stay.
    pub(super) fn take_sizes_away(&self, known: &mut Known, state: &State, wrong: &[PathBuf]) -> mailfs::Result<()> {
        let mut old = Vec::new();
        for path in wrong {
            if self.name_without_sizes(known, path)? {
                old.push(path);
            }
        }
        self.sync_folders()?;
        self.rewrite_uidlist(known, state)?;
        old.into_iter().try_for_each(|path| ignore_missing(self.fs().unlink(path)))?;
        self.sync_folders()
    }

    fn sync_folders(&self) -> mailfs::Result<()> {
        if !self.shared.syncs() {
            return Ok(());
        }
        self.fs().sync_dir(&self.cur)?;
        self.fs().sync_dir(&self.new)
    }

    /// Gives the file of a message a further name; tells whether it did.
    fn name_without_sizes(&self, known: &mut Known, path: &Path) -> mailfs::Result<bool> {
        let (Some(name), Some(dir)) = (path.file_name().map(OsStr::as_bytes), path.parent()) else { return Ok(false) };
        let (base, info) = name::split(name);
        let Some(there) = self.fs().metadata(path)? else { return Ok(false) };
        if name::size_in(base, b'S') == Some(there.len) || known.table().uid_of(base).is_none() {
            return Ok(false);
        }
        let new_base = name::without_sizes(base);
        let is_free = name::is_message(&new_base) && known.table().uid_of(&new_base).is_none();
        if is_free && self.link(path, &name::path_in(dir, &new_base, info))? {
            known.table().rename(base, &new_base);
            return Ok(true);
        }
        // That name is another message's.
        let new_base = unique_base(&**self.fs());
        let linked = self.link(path, &name::path_in(dir, &new_base, info))?;
        if linked {
            known.table().rename(base, &new_base);
        }
        Ok(linked)
    }

    /// Tells whether the file has that name now.
    fn link(&self, path: &Path, to: &Path) -> mailfs::Result<bool> {
        match self.fs().hard_link(path, to) {
            Err(e) if e.is_already_exists() => self.is_one_file(path, to),
            Err(e) if e.is_not_found() => Ok(false),
            other => other.map(|()| true),
        }
    }

    /// Messages of the UID list that have sizes in their names, and without them would be called as one of these files is.
    /// Goes over the list once.
    pub(super) fn sized<'f>(&self, known: &mut Known, fresh: impl Iterator<Item = &'f [u8]>) -> SizedFiles {
        let stems: HashSet<&[u8]> = fresh.map(name::before_fields).collect();
        let mut sized = HashMap::new();
        if stems.is_empty() {
            return sized;
        }
        for entry in known.table().iter().filter(|entry| stems.contains(name::before_fields(&entry.base))) {
            let stem = name::without_sizes(&entry.base);
            if *stem != *entry.base {
                sized.entry(stem).or_insert_with(Vec::new).extend(self.path_known(entry));
            }
        }
        sized
    }

    /// Whether a file that the UID list does not know is a message under the name that it was to get or to lose: the same
    /// file, and the names differ in the sizes alone. Then the name goes, when nobody can be at work on it any more. What
    /// cannot be looked at is a message like any other.
    pub(super) fn is_second_name(
        &self,
        known: &mut Known,
        (base, place): (&[u8], &Place),
        sized: &SizedFiles,
    ) -> mailfs::Result<bool> {
        let path = self.path(base, place);
        let stem = name::without_sizes(base);
        let table = known.table();
        let without = || table.uid_of(&stem).and_then(|uid| self.path_known(table.get(uid)?));
        let alike: Vec<PathBuf> = match stem == base {
            true => sized.get(base).cloned().unwrap_or_default(),
            false => without().into_iter().collect(),
        };
        if !alike.iter().any(|known| self.is_one_file(known, &path).unwrap_or(false)) {
            return Ok(false);
        }
        self.remove_second_name(&path)?;
        Ok(true)
    }

    fn path_known(&self, entry: &Entry) -> Option<PathBuf> {
        Some(self.path(&entry.base, entry.place.as_ref()?))
    }

    fn remove_second_name(&self, path: &Path) -> mailfs::Result<()> {
        let fs = self.fs();
        let age = fs.metadata(path)?.and_then(|there| fs.now().duration_since(there.changed).ok());
        if age.is_some_and(|age| age > LINK_AGE_MIN) && !self.shared.env.is_read_only() {
            tracing::warn!(path = %path.display(), "removed the second name of a message");
            ignore_missing(fs.unlink(path))?;
        }
        Ok(())
    }

    fn is_one_file(&self, one: &Path, other: &Path) -> mailfs::Result<bool> {
        let file = |there: Metadata| (there.device, there.inode);
        let one = self.fs().metadata(one)?.map(file);
        Ok(one.is_some() && one == self.fs().metadata(other)?.map(file))
    }
}
