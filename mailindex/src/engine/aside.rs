//! Names out of the way for files that are damaged: `culver.damaged.<file>.<n>` beside them, the first that is free.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use mailfs::{FileSystem, FsError};

use super::{Env, Result, paths::Paths};

/// What names of kept files begin with.
pub const PREFIX: &str = "culver.damaged.";

/// Copies of one file that are kept.
const COPIES_MAX: u32 = 1000;

/// Gives a file a name out of the way, durably.
pub(super) fn move_aside(env: &Env, paths: &Paths, path: &Path) -> Result<PathBuf> {
    let fs = &**env.fs();
    let copy = put(fs, path, |copy| fs.rename_new(path, copy))?;
    if env.syncs() {
        fs.sync_dir(&paths.dir)?;
    }
    Ok(copy)
}

/// Gives a file the name that a copy of `path` would get.
pub(super) fn move_aside_as(fs: &dyn FileSystem, file: &Path, path: &Path) -> Result<()> {
    put(fs, path, |copy| fs.rename_new(file, copy)).map(|_| ()).map_err(Into::into)
}

/// Gives a file a second name, under which it stays when the first is replaced, and tells it. Not durable by itself.
///
/// # Errors
///
/// Those of the disk, and when a thousand copies are kept already.
pub fn link(fs: &dyn FileSystem, path: &Path) -> mailfs::Result<PathBuf> {
    put(fs, path, |copy| fs.hard_link(path, copy))
}

/// Puts something under the first free name for this file, and tells that; `put` may find it taken by then.
///
/// # Errors
///
/// Those of the disk and of `put`, and when a thousand copies are kept already.
pub fn put(fs: &dyn FileSystem, path: &Path, put: impl Fn(&Path) -> mailfs::Result<()>) -> mailfs::Result<PathBuf> {
    for number in 1..=COPIES_MAX {
        let mut name = OsString::from(PREFIX);
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{number}"));
        let copy = path.with_file_name(name);
        if fs.metadata(&copy)?.is_some() {
            continue;
        }
        match put(&copy) {
            Err(e) if e.is_already_exists() => {}
            other => return other.map(|()| copy),
        }
    }
    let many = io::Error::other(format!("{COPIES_MAX} damaged copies are kept already"));
    Err(FsError::new("keep a damaged file", path, many))
}
