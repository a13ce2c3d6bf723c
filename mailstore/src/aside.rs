//! Keeping files that are replaced because of damage: `culver.damaged.<file>.<n>` beside them, as the index engine has it.

use std::{
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use mailfs::{FileSystem, FsError, Result};

/// Copies of one file that are kept.
const COPIES_MAX: u32 = 1000;

/// What names of kept files begin with.
pub(crate) const PREFIX: &str = "culver.damaged.";

/// Gives a file a second name, under which it stays when the first is replaced.
pub(crate) fn link(fs: &dyn FileSystem, path: &Path) -> Result<PathBuf> {
    put(fs, path, |copy| fs.hard_link(path, copy))
}

/// Puts something under the first free name for this file.
pub(crate) fn put(fs: &dyn FileSystem, path: &Path, put: impl Fn(&Path) -> Result<()>) -> Result<PathBuf> {
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
