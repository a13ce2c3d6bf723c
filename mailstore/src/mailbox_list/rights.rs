//! Permissions of new files and folders (`docs/formats/locking.md`, Permissions): those of the folder they are made in.

use std::path::Path;

use mailfs::{Access, FileHandle, FileSystem, FileSystemExt, OpenMode, Result};

/// Of a folder in which nothing is known to take rights from.
const DIR_MODE_DEFAULT: u32 = 0o700;

/// The bits that files have in common with their folder.
const FILE_BITS: u32 = 0o666;

/// The bits that say that the group matters.
const GROUP_BITS: u32 = 0o070;

/// Bits that folders hand down to folders.
const DIR_BITS: u32 = 0o2777;

/// What new names in a folder get.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Rights {
    dir_mode: u32,
    gid: Option<u32>,
}

impl Rights {
    /// As the folder's own.
    pub(crate) fn of(fs: &dyn FileSystem, dir: &Path) -> Result<Self> {
        Ok(match fs.metadata(dir)? {
            Some(m) => Self { dir_mode: m.mode & DIR_BITS, gid: (m.mode & GROUP_BITS != 0).then_some(m.gid) },
            None => Self { dir_mode: DIR_MODE_DEFAULT, gid: None },
        })
    }

    /// Mode of a new file.
    pub(crate) fn file_mode(self) -> u32 {
        self.dir_mode & FILE_BITS
    }

    /// Mode and group of a new file.
    pub(crate) fn file_access(self) -> Access {
        Access { mode: self.file_mode(), gid: self.gid }
    }

    /// Makes a new file.
    pub(crate) fn create(self, fs: &dyn FileSystem, path: &Path) -> Result<FileHandle> {
        let file = fs.open(path, OpenMode::CreateNew { mode: self.file_mode() })?;
        if self.gid.is_some() {
            // Best effort: a user who is not in the folder's group cannot give files to it.
            let _ = file.set_permissions(self.file_mode(), self.gid);
        }
        Ok(file)
    }

    /// Makes a folder; not durably.
    pub(crate) fn create_dir(self, fs: &dyn FileSystem, path: &Path) -> Result<()> {
        fs.create_dir_as(path, Access { mode: self.dir_mode, gid: self.gid })
    }

    /// Makes a folder and those above it that are missing, durably.
    pub(crate) fn create_dirs(self, fs: &dyn FileSystem, path: &Path) -> Result<()> {
        fs.create_dir_all(path, Access { mode: self.dir_mode, gid: self.gid })
    }
}

#[cfg(test)]
mod tests {
    use mailfs::sim::SimDisk;

    use super::*;

    #[test]
    fn what_is_made_in_a_shared_folder_is_its_groups() {
        let fs = SimDisk::new();
        fs.create_dir_all(Path::new("/shared"), Access { mode: 0o2770, gid: Some(7) }).unwrap();
        fs.create_dir_all(Path::new("/own"), Access { mode: 0o700, gid: Some(7) }).unwrap();
        let gid_in = |dir: &str| {
            let dir = Path::new(dir);
            let rights = Rights::of(&fs, dir).unwrap();
            rights.create_dirs(&fs, &dir.join("a/b")).unwrap();
            rights.create_dir(&fs, &dir.join("c")).unwrap();
            rights.create(&fs, &dir.join("f")).unwrap();
            ["a", "a/b", "c", "f"].map(|name| fs.metadata(&dir.join(name)).unwrap().unwrap().gid)
        };
        assert_eq!(gid_in("/shared"), [7; 4]);
        assert_eq!(gid_in("/own"), [0; 4], "the group may do nothing there");
    }
}
