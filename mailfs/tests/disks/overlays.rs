//! An overlay looks like a disk that is written to, and nothing below it changes.

use std::{fs, os::unix::fs::MetadataExt, path::Path, sync::Arc};

use mailfs::{
    FileSystem, FileSystemExt, LockKind, OpenMode, Overlay, RealDisk, RealDiskOptions,
    sim::{CrashChoice, SimDisk},
};

use crate::{Place, create};

fn over(disk: &SimDisk) -> Overlay {
    Overlay::new(disk.as_file_system())
}

#[test]
fn what_is_written_is_seen_above_and_not_below() {
    let disk = SimDisk::new();
    drop(create(&disk, Path::new("/old"), b"old"));
    disk.create_dir(Path::new("/d"), 0o700).unwrap();
    disk.sync_all();
    disk.crash_after(1);
    let above = over(&disk);
    let held = above.open(Path::new("/old"), OpenMode::ReadWrite).unwrap();
    let reader = above.open(Path::new("/old"), OpenMode::Read).unwrap();
    assert!(held.try_lock(LockKind::Exclusive).unwrap());
    let before = held.metadata().unwrap();
    held.write_at(b"er", 3).unwrap();
    drop(create(&above, Path::new("/d/new"), b"new"));
    above.rename(Path::new("/old"), Path::new("/d/moved")).unwrap();
    assert_eq!(above.read_all(Path::new("/d/moved"), 99).unwrap(), b"older");
    let after = above.metadata(Path::new("/d/moved")).unwrap().unwrap();
    assert_eq!((after.device, after.inode, after.len), (before.device, before.inode, 5));
    let mut text = [0; 9];
    assert_eq!(reader.read_at(&mut text, 0).unwrap(), 5, "other handles see it too");
    assert!(above.is_written_in(Path::new("/d")) && !above.exists(Path::new("/old")).unwrap());
    assert!(!disk.is_crashed(), "{:?}", disk.crashed_during());
    assert_eq!(disk.crash(CrashChoice::DropAll).read_all(Path::new("/old"), 99).unwrap(), b"old");
}

#[test]
fn what_others_change_below_ends_what_was_made_of_it() {
    let disk = SimDisk::new();
    let log = create(&disk, Path::new("/log"), b"one");
    let above = over(&disk);
    let held = above.open(Path::new("/log"), OpenMode::ReadWrite).unwrap();
    held.write_at(b"?", 3).unwrap();
    drop(create(&above, Path::new("/list"), b"made up"));
    assert_eq!(above.read_all(Path::new("/log"), 99).unwrap(), b"one?");
    log.write_at(b"two", 3).unwrap();
    assert_eq!(above.read_all(Path::new("/log"), 99).unwrap(), b"onetwo");
    assert!(!above.exists(Path::new("/list")).unwrap());
    // A name that was free.
    drop(create(&above, Path::new("/list"), b"made up"));
    drop(create(&disk, Path::new("/list"), b"there"));
    assert_eq!(above.read_all(Path::new("/list"), 99).unwrap(), b"there");
}

#[test]
fn locks_are_taken_below_where_that_is_asked_for() {
    let disk = SimDisk::new();
    drop(create(&disk, Path::new("/log"), b"one"));
    disk.sync_all();
    let below = disk.open(Path::new("/log"), OpenMode::ReadWrite).unwrap();
    for takes_locks in [false, true] {
        let above = if takes_locks { Overlay::taking_locks(disk.as_file_system()) } else { over(&disk) };
        let held = above.open(Path::new("/log"), OpenMode::ReadWrite).unwrap();
        let free = |kind| {
            let is_free = below.try_lock(kind).unwrap();
            below.unlock().unwrap();
            is_free
        };
        assert!(held.try_lock(LockKind::Exclusive).unwrap());
        assert_eq!(free(LockKind::Shared), !takes_locks);
        held.unlock().unwrap();
        assert!(free(LockKind::Exclusive));
        assert!(below.try_lock(LockKind::Shared).unwrap());
        assert_eq!(held.try_lock(LockKind::Exclusive).unwrap(), !takes_locks);
        held.unlock().unwrap();
        below.unlock().unwrap();
        // The other family, of a file that is open for reading.
        let reader = above.open(Path::new("/log"), OpenMode::Read).unwrap();
        assert!(reader.try_flock().unwrap());
        assert_eq!(below.try_flock().unwrap(), !takes_locks);
        drop(reader);
        assert!(below.try_flock().unwrap());
        below.unflock().unwrap();
        // Nothing is written, whatever it was opened for.
        held.write_at(b"two", 0).unwrap();
        assert_eq!(disk.read_all(Path::new("/log"), 9).unwrap(), b"one");
    }
}

#[test]
fn memory_is_bounded() {
    let disk = SimDisk::new();
    drop(create(&disk, Path::new("/large"), &[b'x'; 100]));
    let above = Overlay::with_len_max(disk.as_file_system(), 64);
    let large = above.open(Path::new("/large"), OpenMode::ReadWrite).unwrap();
    large.write_at(b"y", 0).unwrap_err();
    let small = above.open(Path::new("/small"), OpenMode::CreateNew { mode: 0o600 }).unwrap();
    small.write_at(&[b'x'; 60], 0).unwrap();
    assert!(small.write_at(&[b'x'; 60], 30).unwrap_err().is_no_space());
    assert_eq!(small.len().unwrap(), 60);
}

#[test]
fn times_of_access_stay() {
    let place = Place::real();
    fs::create_dir(place.path("d")).unwrap();
    drop(place.create("d/f", b"text"));
    // Long ago, before the times of change: a reader of any kind would set them.
    let times = fs::FileTimes::new().set_accessed(std::time::SystemTime::UNIX_EPOCH);
    for name in ["d/f", "d"] {
        fs::File::open(place.path(name)).unwrap().set_times(times).unwrap();
    }
    let accessed = || ["d/f", "d"].map(|name| fs::metadata(place.path(name)).unwrap().atime());
    let quiet = Overlay::new(Arc::new(RealDisk::new()));
    assert_eq!(quiet.read_all(&place.path("d/f"), 99).unwrap(), b"text");
    let listed = quiet.read_dir(&place.path("d")).unwrap();
    assert_eq!(listed, RealDisk::new().read_dir(&place.path("d")).unwrap());
    // That listing has set the folder's, unless the disk is mounted without such times.
    let options = RealDiskOptions { keep_atime: true, ..RealDiskOptions::default() };
    fs::File::open(place.path("d")).unwrap().set_times(times).unwrap();
    let disk = RealDisk::with_options(options);
    disk.read_dir(&place.path("d")).unwrap();
    disk.read_all(&place.path("d/f"), 99).unwrap();
    assert_eq!(accessed(), [0, 0]);
}
