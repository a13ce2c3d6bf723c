//! Listing a folder without leaving a trace in its time of access.

use std::{ffi::OsStr, fs, io, os::unix::ffi::OsStrExt, path::Path};

use rustix::{
    fs::{CWD, Dir, FileType, Mode, OFlags, openat},
    io::Errno,
};

use super::kind_of;
use crate::{DirEntry, FileKind};

/// The names in a folder; `None` where the system does not grant it, and the folder is to be read like any other.
pub(super) fn read_dir(path: &Path) -> io::Result<Option<Vec<DirEntry>>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOATIME;
    let folder = match super::retry(|| Ok(openat(CWD, path, flags, Mode::empty())?)) {
        Err(e) if e.raw_os_error() == Some(Errno::PERM.raw_os_error()) => return Ok(None),
        other => other?,
    };
    let mut entries = Vec::new();
    let mut folder = Dir::new(folder)?;
    while let Some(entry) = folder.read() {
        let entry = match entry {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name == "." || name == ".." {
            continue;
        }
        let kind = match entry.file_type() {
            FileType::RegularFile => FileKind::File,
            FileType::Directory => FileKind::Dir,
            FileType::Symlink => FileKind::Symlink,
            // Some file systems do not tell it here.
            FileType::Unknown => match fs::symlink_metadata(path.join(name)) {
                Ok(there) => kind_of(there.file_type()),
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(e),
            },
            _ => FileKind::Other,
        };
        entries.push(DirEntry { name: name.to_owned(), kind });
    }
    Ok(Some(entries))
}
