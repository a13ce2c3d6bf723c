//! Which files are about to take the places of which (`culver-purging` in the folder of files), and what is done about those
//! that a crash left.
//!
//! ```text
//! map <UIDVALIDITY> <rebuild count> <next number>     the map that the step was about
//! purged 1,2,3 7,8                                    files written anew, and those that take their places; "-" is none
//! damaged 4 9                                         the same of files that a rebuild writes anew
//! ```
//!
//! # Invariants
//!
//! 1. The note is durable before a new file has its name, and goes when all of it is done.
//! 2. A file is removed only on the word of the map that the note is about, which has gone further since and is not marked
//!    as damaged: a new file that this map does not know while all old ones are there, or an old one that it does not know
//!    while it knows what has taken its place. On the word of a marked map files are put aside at most; another map says
//!    nothing.
//! 3. The note is durably gone before another map takes the place of one that cannot be used.

use std::collections::HashSet;

use mailfs::{FileSystem, FileSystemExt};
use mailindex::engine::aside;
use mailtypes::Uid;

use super::{
    Shared,
    m_files::MFiles,
    map::MapResult,
    map_state::{FileId, MapState},
    rewrite::sync_dirs,
};
use crate::{
    mailbox_list::Rights,
    traits::{Result, StorageError},
};

/// See the module.
const NOTE: &str = "culver-purging";

/// The note is not made longer than this: a line of some 30 bytes for each damaged file, for two million of them.
const NOTE_LEN_MAX: u64 = 64 << 20;

/// Why files are written anew.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Why {
    /// Something in them is to go, or to lie elsewhere. The new files hold all that stays.
    Purged,
    /// They are damaged, and stay under another name.
    Damaged,
}

/// Files that are written anew together, and those that take their places.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Going {
    pub(super) why: Why,
    pub(super) old: Vec<FileId>,
    pub(super) new: Vec<FileId>,
}

/// Which map it is, and how far it has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Which {
    uid_validity: u32,
    rebuild_count: u32,
    next_uid: Uid,
}

impl Which {
    fn of(map: &MapState) -> Self {
        Self { uid_validity: map.uid_validity(), rebuild_count: map.rebuild_count(), next_uid: map.next_uid() }
    }

    /// Whether it is the same map, and none that has forgotten something.
    fn has_become(&self, now: &Self) -> bool {
        (self.uid_validity, self.rebuild_count) == (now.uid_validity, now.rebuild_count)
            && self.next_uid <= now.next_uid
    }
}

/// Notes what is about to be done, durably. `map`: as it is before.
pub(super) fn note(shared: &Shared, map: &MapState, all: &[Going]) -> Result<()> {
    let (dir, fs) = (shared.files.dir(), shared.fs());
    let text = write(Which::of(map), all);
    if text.len() as u64 > NOTE_LEN_MAX {
        return Err(StorageError::Limit { name: "mdbox_note_len_max", limit: NOTE_LEN_MAX });
    }
    Ok(fs.write_atomic(&dir.join(NOTE), text.as_bytes(), Rights::of(fs, dir)?.file_access(), true)?)
}

/// Forgets what was noted, durably: it is done, or the map is to be another one.
pub(super) fn forget(fs: &dyn FileSystem, files: &MFiles) -> mailfs::Result<()> {
    match fs.unlink(&files.dir().join(NOTE)) {
        Err(e) if e.is_not_found() => Ok(()),
        Err(e) => Err(e),
        Ok(()) => fs.sync_dir(files.dir()),
    }
}

/// Settles what a step left that a crash stopped.
pub(super) fn settle(shared: &Shared) -> Result<()> {
    if !shared.fs().exists(&shared.files.dir().join(NOTE))? {
        return Ok(());
    }
    let map = shared.map.lock(&shared.files, shared.env.options().lock_timeout, true).of_map()?;
    settle_noted(shared, &map.state())
}

/// The same for one who has the map locked.
pub(super) fn settle_noted(shared: &Shared, map: &MapState) -> Result<()> {
    let noted = match shared.fs().read_all(&shared.files.dir().join(NOTE), NOTE_LEN_MAX) {
        Err(e) if e.is_not_found() => return Ok(()),
        other => other?,
    };
    let (which, all) = read(&String::from_utf8_lossy(&noted));
    if which.is_some_and(|which| which.has_become(&Which::of(map))) {
        let known: HashSet<FileId> = map.records().map(|record| record.place.file).collect();
        all.iter().try_for_each(|going| going.settle(shared, map.has_fsck_mark(), &known))?;
        sync_dirs(shared)?;
    }
    Ok(forget(shared.fs(), &shared.files)?)
}

impl Going {
    fn settle(&self, shared: &Shared, is_marked: bool, known: &HashSet<FileId>) -> Result<()> {
        let is_told = match self.new.is_empty() {
            true => self.why == Why::Purged,
            false => self.new.iter().any(|id| known.contains(id)),
        };
        let unknown = |ids: &[FileId]| ids.iter().filter(|id| !known.contains(id)).copied().collect::<Vec<_>>();
        let mut are_all_old_there = true;
        for id in &self.old {
            are_all_old_there &= shared.files.is_taken(*id)?;
        }
        for id in unknown(&self.new).into_iter().filter(|_| are_all_old_there) {
            if is_marked { put_aside(shared, id)? } else { remove(shared, id)? }
        }
        for id in unknown(&self.old).into_iter().filter(|_| is_told) {
            match self.why {
                Why::Damaged => put_aside(shared, id)?,
                // What stays may be in it alone, if a map that is damaged has lost that.
                Why::Purged if is_marked => {}
                Why::Purged => remove(shared, id)?,
            }
        }
        Ok(())
    }
}

fn remove(shared: &Shared, id: FileId) -> Result<()> {
    if let Some((path, _)) = shared.files.find(id)? {
        shared.fs().unlink(&path)?;
    }
    shared.files.forget(id);
    Ok(())
}

fn put_aside(shared: &Shared, id: FileId) -> Result<()> {
    if let Some((path, _)) = shared.files.find(id)? {
        let copy = aside::put(shared.fs(), &path, |copy| shared.fs().rename_new(&path, copy))?;
        tracing::warn!(path = %path.display(), copy = %copy.display(), "a file that another has taken the place of was put aside");
    }
    shared.files.forget(id);
    Ok(())
}

fn write(which: Which, all: &[Going]) -> String {
    let mut text = format!("map {} {} {}\n", which.uid_validity, which.rebuild_count, which.next_uid.value());
    for going in all {
        let why = match going.why {
            Why::Purged => "purged",
            Why::Damaged => "damaged",
        };
        text += &format!("{why} {} {}\n", written(&going.old), written(&going.new));
    }
    text
}

fn written(ids: &[FileId]) -> String {
    let ids: Vec<String> = ids.iter().map(|id| id.0.to_string()).collect();
    if ids.is_empty() { "-".to_owned() } else { ids.join(",") }
}

/// What cannot be read says nothing.
fn read(text: &str) -> (Option<Which>, Vec<Going>) {
    let (mut which, mut all) = (None, Vec::new());
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').collect();
        match *words {
            ["map", uid_validity, rebuild_count, next_uid] => which = read_map(uid_validity, rebuild_count, next_uid),
            ["purged", old, new] => all.extend(read_going(Why::Purged, old, new)),
            ["damaged", old, new] => all.extend(read_going(Why::Damaged, old, new)),
            _ => {}
        }
    }
    (which, all)
}

fn read_map(uid_validity: &str, rebuild_count: &str, next_uid: &str) -> Option<Which> {
    let next_uid = next_uid.parse().ok().and_then(Uid::new)?;
    Some(Which { uid_validity: uid_validity.parse().ok()?, rebuild_count: rebuild_count.parse().ok()?, next_uid })
}

fn read_going(why: Why, old: &str, new: &str) -> Option<Going> {
    let ids = |text: &str| match text {
        "-" => Some(Vec::new()),
        text => text.split(',').map(|id| id.parse().ok().map(FileId)).collect(),
    };
    Some(Going { why, old: ids(old)?, new: ids(new)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(ids: &[u32]) -> Vec<FileId> {
        ids.iter().copied().map(FileId).collect()
    }

    #[test]
    fn what_is_noted_is_read_and_nothing_else() {
        let which = Which { uid_validity: 7, rebuild_count: 2, next_uid: Uid::MIN };
        let all = [
            Going { why: Why::Purged, old: ids(&[1, 2]), new: ids(&[7]) },
            Going { why: Why::Damaged, old: ids(&[4]), new: ids(&[]) },
        ];
        assert_eq!(read(&write(which, &all)), (Some(which), all.to_vec()));
        for text in ["", "1\n2\n3\n", "purged 1\n", "purged 1,x 2\n", "map 1 2\n", "damaged 1 2 3\n", "purged  1 2\n"] {
            assert_eq!(read(text), (None, Vec::new()), "{text}");
        }
    }

    #[test]
    fn a_map_that_has_forgotten_something_is_another() {
        let which = |uid_validity, rebuild_count, next_uid| Which {
            uid_validity,
            rebuild_count,
            next_uid: Uid::new(next_uid).unwrap(),
        };
        let before = which(7, 2, 5);
        assert!(before.has_become(&which(7, 2, 5)) && before.has_become(&which(7, 2, 9)));
        for other in [which(7, 2, 4), which(7, 3, 5), which(8, 2, 5)] {
            assert!(!before.has_become(&other), "{other:?}");
        }
    }
}
