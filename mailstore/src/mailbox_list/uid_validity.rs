//! The next UIDVALIDITY of an account (`docs/formats/list.md`, `dovecot-uidvalidity`).
//!
//! The name of an empty file holds the last value given; taking the next is renaming it, which one of several
//! processes succeeds in.

use std::{
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use mailfs::{FileSystem, FileSystemExt, OpenMode, Result};
use mailtypes::UidValidity;

use super::Rights;

const MAIN: &str = "dovecot-uidvalidity";

/// Mode of the numbered file.
const NUMBERED_MODE: u32 = 0o444;

/// How often a faster process is yielded to.
const TRIES_MAX: usize = 100;

/// Takes the next value, for good: no other mailbox of this account gets it.
pub(crate) fn next_uid_validity(fs: &dyn FileSystem, root: &Path) -> Result<UidValidity> {
    for _ in 0..TRIES_MAX {
        let numbers = numbered(fs, root)?;
        let taken = match numbers.last() {
            Some(&last) => advance(fs, root, last, &numbers)?,
            None => begin(fs, root)?,
        };
        if let Some(value) = taken {
            write_main(fs, root, value)?;
            return Ok(value);
        }
    }
    Ok(now(fs))
}

/// Sees to it that the next value taken is larger than this one, which a mailbox of this account has already.
pub(crate) fn note_uid_validity(fs: &dyn FileSystem, root: &Path, value: UidValidity) -> Result<()> {
    for _ in 0..TRIES_MAX {
        let numbers = numbered(fs, root)?;
        let Some(&last) = numbers.last() else {
            // Whether by us or by somebody who was faster: now there is one.
            begin(fs, root)?;
            continue;
        };
        if last >= value.value() {
            return Ok(());
        }
        match fs.rename(&numbered_path(root, last), &numbered_path(root, value.value())) {
            Ok(()) => return write_main(fs, root, value),
            Err(e) if e.is_not_found() => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

fn now(fs: &dyn FileSystem) -> UidValidity {
    let seconds = fs.now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    u32::try_from(seconds).ok().and_then(UidValidity::new).unwrap_or(UidValidity::MIN)
}

/// Where a value stands.
pub(crate) fn numbered_path(root: &Path, value: u32) -> PathBuf {
    root.join(format!("{MAIN}.{value:08x}"))
}

/// The last value that was given, as the name of the numbered file has it; `None` where there is none.
pub(crate) fn last_given(fs: &dyn FileSystem, root: &Path) -> Result<Option<u32>> {
    match numbered(fs, root) {
        Err(e) if e.is_not_found() => Ok(None),
        other => Ok(other?.last().copied()),
    }
}

/// Sees to it that no value up to this one is given any more, for good.
pub(crate) fn raise(fs: &dyn FileSystem, root: &Path, to: UidValidity) -> Result<()> {
    let numbers = numbered(fs, root)?;
    if let Some(&last) = numbers.last().filter(|&&last| last < to.value()) {
        match fs.rename(&numbered_path(root, last), &numbered_path(root, to.value())) {
            // Somebody has just taken the next.
            Err(e) if e.is_not_found() => return Ok(()),
            other => other?,
        }
        write_main(fs, root, to)?;
    }
    Ok(())
}

/// The values of the numbered files, ascending.
fn numbered(fs: &dyn FileSystem, root: &Path) -> Result<Vec<u32>> {
    let mut values: Vec<u32> = Vec::new();
    for entry in fs.read_dir(root)? {
        let digits = entry.name.to_str().and_then(|name| name.strip_prefix(MAIN)?.strip_prefix('.'));
        values.extend(digits.filter(|d| d.len() == 8).and_then(|d| u32::from_str_radix(d, 16).ok()));
    }
    values.sort_unstable();
    Ok(values)
}

/// `None` when another process was faster.
fn advance(fs: &dyn FileSystem, root: &Path, last: u32, all: &[u32]) -> Result<Option<UidValidity>> {
    let Some(value) = last.checked_add(1).and_then(UidValidity::new) else { return Ok(Some(now(fs))) };
    match fs.rename(&numbered_path(root, last), &numbered_path(root, value.value())) {
        Ok(()) => {}
        Err(e) if e.is_not_found() => return Ok(None),
        Err(e) => return Err(e),
    }
    for &older in all.iter().filter(|&&n| n < last) {
        // Left by a race; the largest counts.
        let _ = fs.unlink(&numbered_path(root, older));
    }
    Ok(Some(value))
}

fn begin(fs: &dyn FileSystem, root: &Path) -> Result<Option<UidValidity>> {
    let value = now(fs).max(main_value(fs, root).and_then(UidValidity::successor).unwrap_or(UidValidity::MIN));
    match fs.open(&numbered_path(root, value.value()), OpenMode::CreateNew { mode: NUMBERED_MODE }) {
        Ok(_) => Ok(Some(value)),
        Err(e) if e.is_already_exists() => Ok(None),
        Err(e) => Err(e),
    }
}

/// What the main file says, where the numbered one is lost.
fn main_value(fs: &dyn FileSystem, root: &Path) -> Option<UidValidity> {
    let text = fs.read_all(&root.join(MAIN), 8).ok()?;
    UidValidity::new(u32::from_str_radix(std::str::from_utf8(&text).ok()?, 16).ok()?)
}

fn write_main(fs: &dyn FileSystem, root: &Path, value: UidValidity) -> Result<()> {
    let access = Rights::of(fs, root)?.file_access();
    // Syncs the folder, and with it the numbered file's name.
    fs.write_atomic(&root.join(MAIN), format!("{:08x}", value.value()).as_bytes(), access, true)
}

#[cfg(test)]
mod tests {
    use mailfs::RealDisk;

    use super::*;

    #[test]
    fn values_go_up_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let fs = RealDisk::new();
        let first = next_uid_validity(&fs, dir.path()).unwrap();
        let second = next_uid_validity(&fs, dir.path()).unwrap();
        assert_eq!(second, first.successor().unwrap());
        assert_eq!(std::fs::read_to_string(dir.path().join(MAIN)).unwrap(), format!("{:08x}", second.value()));
        assert!(dir.path().join(format!("{MAIN}.{:08x}", second.value())).exists());
    }

    #[test]
    fn what_is_noted_is_not_given_again() {
        let (dir, fs) = (tempfile::tempdir().unwrap(), RealDisk::new());
        let far = UidValidity::new(0xf000_0000).unwrap();
        note_uid_validity(&fs, dir.path(), far).unwrap();
        note_uid_validity(&fs, dir.path(), UidValidity::MIN).unwrap();
        assert_eq!(next_uid_validity(&fs, dir.path()).unwrap(), far.successor().unwrap());
    }

    #[test]
    fn the_largest_counts_and_older_ones_go() {
        let dir = tempfile::tempdir().unwrap();
        for value in ["00000005", "00000010"] {
            std::fs::write(dir.path().join(format!("{MAIN}.{value}")), "").unwrap();
        }
        let fs = RealDisk::new();
        assert_eq!(next_uid_validity(&fs, dir.path()).unwrap().value(), 0x11);
        assert_eq!(numbered(&fs, dir.path()).unwrap(), [0x11]);
    }

    #[test]
    fn threads_never_get_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let take = || (0..20).map(|_| next_uid_validity(&RealDisk::new(), dir.path()).unwrap()).collect::<Vec<_>>();
        let mut all: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            threads.into_iter().flat_map(|t| t.join().unwrap()).collect()
        });
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 80);
    }
}
