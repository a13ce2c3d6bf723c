//! Names out of the way for files that are damaged: `culver.damaged.<file>.<n>`, the first that is free.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use mailfs::FileSystem;

use super::{Damage, Env, Result, paths::Paths};

/// Copies of one file that are kept.
const COPIES_MAX: u32 = 1000;

/// Gives a file a name out of the way, durably.
pub(super) fn move_aside(env: &Env, paths: &Paths, path: &Path) -> Result<PathBuf> {
    let fs = &**env.fs();
    let copy = put_aside(fs, path, |copy| fs.rename_new(path, copy))?;
    if env.syncs() {
        fs.sync_dir(&paths.dir)?;
    }
    Ok(copy)
}

/// Gives a file a second name, under which it stays when the first is replaced.
pub(super) fn link_aside(fs: &dyn FileSystem, path: &Path) -> Result<PathBuf> {
    put_aside(fs, path, |copy| fs.hard_link(path, copy))
}

/// Gives a file the name that a copy of `path` would get.
pub(super) fn move_aside_as(fs: &dyn FileSystem, file: &Path, path: &Path) -> Result<()> {
    put_aside(fs, path, |copy| fs.rename_new(file, copy)).map(|_| ())
}

/// The first free name of `culver.damaged.<file>.<n>`.
pub(super) fn put_aside(
    fs: &dyn FileSystem,
    path: &Path,
    put: impl Fn(&Path) -> mailfs::Result<()>,
) -> Result<PathBuf> {
    for number in 1..=COPIES_MAX {
        let mut name = OsString::from("culver.damaged.");
        name.push(path.file_name().unwrap_or_default());
        name.push(format!(".{number}"));
        let copy = path.with_file_name(name);
        if fs.metadata(&copy)?.is_some() {
            continue;
        }
        match put(&copy) {
            Err(e) if e.is_already_exists() => {}
            other => {
                other?;
                return Ok(copy);
            }
        }
    }
    Err(Damage { path: path.to_owned(), offset: 0, what: format!("{COPIES_MAX} damaged copies are kept already") }
        .into())
}
