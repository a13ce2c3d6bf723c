//! A folder and all in it, to be compared with what becomes of it: not a byte and no time of any file may change where mail
//! is only read.

use std::{
    collections::BTreeMap,
    fs::{self, File, FileTimes},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use crate::observe::sha256;

/// All that can be known of a file from outside without touching it.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Seen {
    inode: u64,
    mode: u32,
    owner: (u32, u32),
    links: u64,
    len: u64,
    /// Of access, modification and change.
    times: [(i64, i64); 3],
}

impl Seen {
    fn of(path: &Path) -> anyhow::Result<Self> {
        let there = fs::symlink_metadata(path)?;
        let times = [
            (there.atime(), there.atime_nsec()),
            (there.mtime(), there.mtime_nsec()),
            (there.ctime(), there.ctime_nsec()),
        ];
        let owner = (there.uid(), there.gid());
        Ok(Self { inode: there.ino(), mode: there.mode(), owner, links: there.nlink(), len: there.len(), times })
    }
}

/// How a folder and all in it were.
#[derive(Clone, Debug)]
pub struct Tree {
    root: PathBuf,
    seen: BTreeMap<PathBuf, Seen>,
    contents: BTreeMap<PathBuf, String>,
}

impl Tree {
    /// Notes how everything is. Times of access are set to long ago: whoever reads a file in the usual way would change
    /// them, also where a disk is mounted with `relatime`.
    pub fn note(root: &Path) -> anyhow::Result<Self> {
        let paths = walk(root)?;
        let contents = contents(&paths)?;
        let long_ago = FileTimes::new().set_accessed(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000));
        for path in paths.iter().filter(|path| !path.is_symlink()) {
            File::open(path)?.set_times(long_ago)?;
        }
        Ok(Self { root: root.to_owned(), seen: look(&paths)?, contents })
    }

    /// How many files and folders there are.
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether there is nothing, not even the folder.
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    /// What is another now, a line each.
    pub fn changes(&self) -> anyhow::Result<Vec<String>> {
        self.changes_in(|seen| seen.clone())
    }

    /// The same, whatever the times of access are.
    pub fn changes_but_access(&self) -> anyhow::Result<Vec<String>> {
        self.changes_in(|seen| {
            let [_, modified, changed] = seen.times;
            Seen { times: [(0, 0), modified, changed], ..seen.clone() }
        })
    }

    fn changes_in(&self, what_counts: impl Fn(&Seen) -> Seen) -> anyhow::Result<Vec<String>> {
        // Times first: reading files and folders changes them.
        let there: Vec<PathBuf> = self.seen.keys().filter(|path| path.symlink_metadata().is_ok()).cloned().collect();
        let seen = look(&there)?;
        let mut changes = Vec::new();
        for (path, before) in &self.seen {
            match seen.get(path) {
                None => changes.push(format!("{}: gone", path.display())),
                Some(now) if what_counts(now) != what_counts(before) => {
                    changes.push(format!("{}: {before:?} is {now:?}", path.display()))
                }
                Some(_) => {}
            }
        }
        let paths = walk(&self.root)?;
        let new = paths.iter().filter(|path| !self.seen.contains_key(*path));
        changes.extend(new.map(|path| format!("{}: new", path.display())));
        for (path, now) in contents(&paths)? {
            if self.contents.get(&path).is_some_and(|before| *before != now) {
                changes.push(format!("{}: other bytes", path.display()));
            }
        }
        Ok(changes)
    }
}

/// Everything in a folder, and the folder.
pub fn walk(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = vec![root.to_owned()];
    let mut at = 0;
    while let Some(path) = found.get(at).cloned() {
        if path.is_dir() && !path.is_symlink() {
            for entry in fs::read_dir(&path)? {
                found.push(entry?.path());
            }
        }
        at += 1;
    }
    found.sort();
    Ok(found)
}

fn look(paths: &[PathBuf]) -> anyhow::Result<BTreeMap<PathBuf, Seen>> {
    paths.iter().map(|path| Ok((path.clone(), Seen::of(path)?))).collect()
}

fn contents(paths: &[PathBuf]) -> anyhow::Result<BTreeMap<PathBuf, String>> {
    let files = paths.iter().filter(|path| path.is_file() && !path.is_symlink());
    files.map(|path| Ok((path.clone(), sha256(&fs::read(path)?)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::place::Place;

    #[test]
    fn whatever_changes_is_told() {
        let place = Place::new("tree").unwrap();
        let dir = place.path();
        let file = dir.join("file");
        fs::write(&file, "one").unwrap();
        let told = |work: &dyn Fn()| {
            let tree = Tree::note(dir).unwrap();
            work();
            tree.changes().unwrap().len()
        };
        assert_eq!(told(&|| {}), 0);
        // Bytes and times of the file.
        assert_eq!(told(&|| fs::write(&file, "two").unwrap()), 2);
        // The folder's times, and what is new.
        assert_eq!(told(&|| fs::write(dir.join("new"), "").unwrap()), 2);
        assert_eq!(told(&|| fs::remove_file(&file).unwrap()), 2);
    }
}
