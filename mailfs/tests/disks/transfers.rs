//! Between the simulated disk and the real one.

use std::{
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
};

use mailfs::{
    FileSystem, FileSystemExt,
    sim::{CrashChoice, SimDisk},
};

use crate::create;

#[test]
fn what_is_dumped_can_be_loaded_again_and_is_durable() {
    let disk = SimDisk::new();
    disk.create_dir_all(Path::new("/mail/INBOX"), 0o750).expect("mkdir");
    create(&disk, Path::new("/mail/INBOX/u.1"), b"body").set_permissions(0o640, None).expect("chmod");
    disk.hard_link(Path::new("/mail/INBOX/u.1"), Path::new("/mail/u.2")).expect("link");
    create(&disk, Path::new("/mail/empty"), b"");

    let temp = tempfile::tempdir().expect("temporary directory");
    disk.dump_to(temp.path()).expect("dump");
    let real = std::fs::metadata(temp.path().join("mail/INBOX/u.1")).expect("there");
    assert_eq!((real.nlink(), real.mode() & 0o777), (2, 0o640));
    assert_eq!(std::fs::read(temp.path().join("mail/u.2")).expect("there"), b"body");

    let loaded = SimDisk::new();
    loaded.load_from(&temp.path().join("mail"), Path::new("/mail")).expect("load");
    assert_eq!(loaded.crash(CrashChoice::DropAll).content_hash(), loaded.content_hash());
    let inode = |path: &str| loaded.metadata(Path::new(path)).expect("stat").expect("there").inode;
    assert_eq!(inode("/mail/INBOX/u.1"), inode("/mail/u.2"));
    assert_eq!(loaded.read_all(Path::new("/mail/u.2"), 9).expect("read"), b"body");
    assert!(loaded.load_from(&temp.path().join("none"), Path::new("/x")).is_err());
}

#[test]
fn a_directory_without_rights_can_be_dumped() {
    let disk = SimDisk::new();
    disk.create_dir(Path::new("/d"), 0o000).expect("mkdir");
    create(&disk, Path::new("/d/f"), b"x");
    let temp = tempfile::tempdir().expect("temporary directory");
    disk.dump_to(temp.path()).expect("dump");
    let mode = std::fs::metadata(temp.path().join("d")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}
