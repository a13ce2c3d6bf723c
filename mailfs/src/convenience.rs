//! What is made of several calls of a [`FileSystem`] and needed by many.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{File, FileKind, FileSystem, FsError, OpenMode, Result, dotlock::dir_of};

/// What names of half-written files begin with. One left by a crash may be removed by whoever owns the directory.
pub const TEMP_PREFIX: &str = "culver.tmp.";

/// How many random names are tried before giving up; a second is next to impossible.
const TEMP_NAME_TRIES_MAX: usize = 8;

/// Who may use a new file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Access {
    /// Permission bits.
    pub mode: u32,
    /// The group, where it is not the process's; given if the process may.
    pub gid: Option<u32>,
}

/// Permission bits alone.
impl From<u32> for Access {
    fn from(mode: u32) -> Self {
        Self { mode, gid: None }
    }
}

/// Calls of every file system, made of its own.
pub trait FileSystemExt: FileSystem {
    /// The whole file. Fails with `FileTooLarge` when it has more than `limit` bytes.
    fn read_all(&self, path: &Path, limit: u64) -> Result<Vec<u8>> {
        let file = self.open(path, OpenMode::Read)?;
        read_file(&*file, path, limit)
    }

    /// Up to `len` bytes from `offset`; fewer only at the end of the file.
    fn read_range(&self, path: &Path, offset: u64, len: usize) -> Result<Vec<u8>> {
        let file = self.open(path, OpenMode::Read)?;
        let there = file.len()?.saturating_sub(offset);
        let mut data = vec![0; usize::try_from(there).unwrap_or(usize::MAX).min(len)];
        let read = file.read_at(&mut data, offset)?;
        data.truncate(read);
        Ok(data)
    }

    /// Makes a directory and those above it that are missing. Those made are durable when it returns.
    fn create_dir_all(&self, path: &Path, access: impl Into<Access>) -> Result<()> {
        let access = access.into();
        let mut missing = Vec::new();
        let mut at = path;
        while !self.is_dir(at)? {
            missing.push(at);
            match at.parent() {
                Some(parent) if !parent.as_os_str().is_empty() => at = parent,
                _ => break,
            }
        }
        for dir in missing.into_iter().rev() {
            match self.create_dir_as(dir, access) {
                // Somebody was faster, or a file is in the way.
                Err(e) if e.is_already_exists() && self.is_dir(dir)? => {}
                other => other?,
            }
            self.sync_dir(dir_of(dir))?;
        }
        Ok(())
    }

    /// Puts a file with this content in the place of `path`: everybody sees the old or the new one, whole. With `sync`
    /// the new one is durable when it returns, and after a crash before that the old or the new one is there; without,
    /// a crash may leave an empty or cut file.
    fn write_atomic(&self, path: &Path, data: &[u8], access: impl Into<Access>, sync: bool) -> Result<()> {
        let access = access.into();
        let (temp, file) = create_temp(self, dir_of(path), access.mode)?;
        if access.gid.is_some() {
            // Best effort: a user who is not in the group cannot give files to it.
            let _ = file.set_permissions(access.mode, access.gid);
        }
        let written = file
            .write_at(data, 0)
            .and_then(|()| if sync { file.sync_data() } else { Ok(()) })
            .and_then(|()| self.rename(&temp, path));
        if written.is_err() {
            // What matters is the first failure; a file that stays bears the prefix.
            let _ = self.unlink(&temp);
            return written;
        }
        if sync { self.sync_dir(dir_of(path)) } else { Ok(()) }
    }

    /// Whether a directory is there.
    fn is_dir(&self, path: &Path) -> Result<bool> {
        Ok(self.metadata(path)?.is_some_and(|m| m.kind == FileKind::Dir))
    }

    /// Whether anything is there.
    fn exists(&self, path: &Path) -> Result<bool> {
        Ok(self.metadata(path)?.is_some())
    }

    /// Removes a name with everything below it and tells how many names were removed; none when it is not there. Links
    /// are not followed: of one only the link goes, be it `path` itself. Fails when there are more than `limit` names, of
    /// which some may be gone by then. Not synced.
    fn remove_tree(&self, path: &Path, limit: u64) -> Result<u64> {
        // A directory is the one thing that this leaves alone.
        match self.unlink(path) {
            Err(e) if e.kind() == io::ErrorKind::IsADirectory => {}
            other => return count_removed(other),
        }
        let mut removed = 0;
        // Directories to be removed, after what was pushed behind them.
        let mut dirs = vec![path.to_owned()];
        let mut listed: Vec<PathBuf> = Vec::new();
        while let Some(dir) = dirs.last().cloned() {
            if listed.last() == Some(&dir) {
                listed.pop();
                dirs.pop();
                removed += count_removed(self.remove_dir(&dir))?;
                continue;
            }
            let entries = match self.read_dir(&dir) {
                Err(e) if e.is_not_found() => Vec::new(),
                other => other?,
            };
            for entry in entries {
                if removed + dirs.len() as u64 > limit {
                    let many = io::Error::new(io::ErrorKind::QuotaExceeded, format!("more than {limit} names"));
                    return Err(FsError::new("remove tree", path, many));
                }
                let name = dir.join(&entry.name);
                match entry.kind {
                    FileKind::Dir => dirs.push(name),
                    FileKind::File | FileKind::Symlink | FileKind::Other => {
                        removed += count_removed(self.unlink(&name))?;
                    }
                }
            }
            listed.push(dir);
        }
        Ok(removed)
    }
}

impl<T: FileSystem + ?Sized> FileSystemExt for T {}

/// One; none when somebody else has removed it already.
fn count_removed(result: Result<()>) -> Result<u64> {
    match result {
        Ok(()) => Ok(1),
        Err(e) if e.is_not_found() => Ok(0),
        Err(e) => Err(e),
    }
}

pub(crate) fn read_file(file: &dyn File, path: &Path, limit: u64) -> Result<Vec<u8>> {
    let len = file.len()?;
    let room = usize::try_from(len).ok().filter(|_| len <= limit).ok_or_else(|| {
        let text = format!("{len} bytes, of which at most {limit} are read");
        FsError::new("read", path, io::Error::new(io::ErrorKind::FileTooLarge, text))
    })?;
    // What is appended meanwhile is not seen, which is as good as having come earlier.
    let mut data = vec![0; room];
    let read = file.read_at(&mut data, 0)?;
    data.truncate(read);
    Ok(data)
}

fn create_temp<F: FileSystem + ?Sized>(fs: &F, dir: &Path, mode: u32) -> Result<(PathBuf, crate::FileHandle)> {
    let mut tries = 0;
    loop {
        let mut random = [0; 8];
        fs.random(&mut random);
        let path = dir.join(format!("{TEMP_PREFIX}{:016x}", u64::from_le_bytes(random)));
        tries += 1;
        match fs.open(&path, OpenMode::CreateNew { mode }) {
            Err(e) if e.is_already_exists() && tries < TEMP_NAME_TRIES_MAX => {}
            other => return Ok((path, other?)),
        }
    }
}
