//! Calls of the simulated disk that fail.

use std::{io::ErrorKind, path::Path, time::Duration};

use mailfs::{
    FileSystem, FileSystemExt, LockKind, OpenMode, lock_with_timeout,
    sim::{CrashChoice, Fault, SimDisk},
};

use crate::create;

fn disk_with_file() -> (SimDisk, mailfs::FileHandle) {
    let disk = SimDisk::new();
    let file = create(&disk, Path::new("/f"), b"0123");
    disk.sync_all();
    (disk, file)
}

fn content(disk: &SimDisk) -> Vec<u8> {
    disk.read_all(Path::new("/f"), 99).expect("read")
}

#[test]
fn a_call_fails_once_or_from_then_on() {
    let (disk, file) = disk_with_file();
    disk.fail_call(2, Fault::NoSpace);
    file.write_at(b"a", 4).expect("first");
    assert_eq!(file.write_at(b"b", 5).expect_err("second").kind(), ErrorKind::StorageFull);
    file.write_at(b"c", 5).expect("third");
    assert_eq!(disk.faults_delivered(), 1);
    assert_eq!(disk.failed_call().as_deref(), Some("write /f"));
    assert_eq!(content(&disk), b"0123ac");
    disk.fail_calls_from(1, Fault::NoSpace);
    file.write_at(b"d", 6).expect_err("full");
    file.sync_data().expect("what is there can be synced");
    assert_eq!(content(&disk), b"0123ac");
    disk.open(Path::new("/g"), OpenMode::CreateNew { mode: 0o600 }).expect_err("full");
    disk.unlink(Path::new("/f")).expect("removing needs no space");
    disk.clear_plan();
    disk.open(Path::new("/g"), OpenMode::CreateNew { mode: 0o600 }).expect("space again");
}

#[test]
fn a_short_write_leaves_half() {
    let (disk, file) = disk_with_file();
    disk.fail_call(1, Fault::ShortWrite);
    assert_eq!(file.write_at(b"abcdef", 4).expect_err("short").kind(), ErrorKind::StorageFull);
    assert_eq!(content(&disk), b"0123abc");
}

#[test]
fn descriptors_run_out_for_opens_only() {
    let (disk, file) = disk_with_file();
    disk.fail_calls_from(1, Fault::TooManyFiles);
    disk.open(Path::new("/f"), OpenMode::Read).expect_err("no descriptor");
    disk.sync_dir(Path::new("/")).expect_err("no descriptor");
    disk.read_dir(Path::new("/")).expect_err("no descriptor");
    file.write_at(b"x", 0).expect("open already");
}

#[test]
fn a_failed_sync_loses_the_data_whatever_is_synced_later() {
    let (disk, file) = disk_with_file();
    file.write_at(b"abcd", 4).expect("write");
    disk.fail_call(1, Fault::Io);
    file.sync_data().expect_err("failed");
    file.sync_data().expect("nothing left to do, it says");
    assert_eq!(content(&disk), b"0123abcd");
    assert_eq!(content(&disk.crash(CrashChoice::DropAll)), b"0123");
    file.write_at(b"ABCD", 4).expect("written again");
    file.sync_data().expect("sync");
    assert_eq!(content(&disk.crash(CrashChoice::DropAll)), b"0123ABCD");
    assert_eq!(content(&disk.crash(CrashChoice::KeepAll)), b"0123ABCD");
}

#[test]
fn a_lock_held_elsewhere_is_got_by_waiting_unless_it_lasts() {
    let (disk, file) = disk_with_file();
    let lock = |timeout| lock_with_timeout(&disk, &file, Path::new("/f"), LockKind::Exclusive, timeout);
    disk.fail_call(1, Fault::LockHeld);
    assert!(!file.try_lock(LockKind::Exclusive).expect("no error"));
    drop(lock(Duration::from_secs(1)).expect("after a while"));
    disk.fail_calls_from(1, Fault::LockHeld);
    assert!(lock(Duration::from_secs(1)).expect_err("for ever").is_timeout());
}
