//! What a power cut leaves on the simulated disk.

use std::{collections::BTreeSet, path::Path};

use mailfs::{
    FileHandle, FileSystem, FileSystemExt, OpenMode,
    sim::{CrashChoice, SimDisk},
};

use crate::create;

const ALL: CrashChoice = CrashChoice::KeepAll;
const NONE: CrashChoice = CrashChoice::DropAll;

fn read(disk: &SimDisk, path: &str) -> Option<Vec<u8>> {
    disk.read_all(Path::new(path), 1 << 20).ok()
}

fn names(disk: &SimDisk) -> BTreeSet<String> {
    let entries = disk.read_dir(Path::new("/")).expect("read_dir");
    entries.into_iter().map(|e| e.name.into_string().expect("text")).collect()
}

fn sync_root(disk: &SimDisk) {
    disk.sync_dir(Path::new("/")).expect("sync");
}

/// A file whose name and content are durable.
fn durable(disk: &SimDisk, path: &str, data: &[u8]) -> FileHandle {
    let file = create(disk, Path::new(path), data);
    file.sync_data().expect("sync");
    sync_root(disk);
    file
}

fn random_states<T: Ord>(disk: &SimDisk, look: impl Fn(&SimDisk) -> T) -> BTreeSet<T> {
    (0..300).map(|seed| look(&disk.crash(CrashChoice::Random(seed)))).collect()
}

#[test]
fn data_and_name_are_durable_each_by_its_own_sync() {
    let disk = SimDisk::new();
    let file = create(&disk, Path::new("/f"), b"data");
    assert_eq!(read(&disk.crash(ALL), "/f").as_deref(), Some(&b"data"[..]));
    assert_eq!(read(&disk.crash(NONE), "/f"), None);
    assert_eq!(read(&disk.crash(CrashChoice::NamesOnly), "/f").as_deref(), Some(&b""[..]));
    assert_eq!(read(&disk.crash(CrashChoice::DataOnly), "/f"), None);
    file.sync_data().expect("sync");
    assert_eq!(read(&disk.crash(NONE), "/f"), None, "a file's sync is not its name's");
    sync_root(&disk);
    assert_eq!(read(&disk.crash(NONE), "/f").as_deref(), Some(&b"data"[..]));
    assert_eq!(read(&disk, "/f").as_deref(), Some(&b"data"[..]), "the disk itself goes on");
}

#[test]
fn what_was_written_after_the_sync_may_be_torn() {
    let disk = SimDisk::new();
    let file = durable(&disk, "/f", b"0123456789");
    file.write_at(b"abcdef", 10).expect("write");
    assert_eq!(read(&disk.crash(NONE), "/f").as_deref(), Some(&b"0123456789"[..]));
    assert_eq!(read(&disk.crash(CrashChoice::TornLast), "/f").as_deref(), Some(&b"0123456789abc"[..]));
    let states = random_states(&disk, |d| read(d, "/f").expect("there"));
    assert!(states.contains(&b"0123456789"[..]), "dropped");
    assert!(states.contains(&b"0123456789abcdef"[..]), "kept");
    assert!(states.contains(&b"0123456789\0\0\0\0\0\0"[..]), "zeros");
    assert!(states.contains(&b"0123456789ab"[..]), "cut");
    assert!(states.iter().all(|s| s.starts_with(b"0123456789") && s.len() <= 16));
}

#[test]
fn unsynced_writes_are_independent_of_their_order() {
    let disk = SimDisk::new();
    let file = durable(&disk, "/f", b"....");
    file.write_at(b"a", 0).expect("write");
    file.write_at(b"b", 1).expect("write");
    file.set_len(3).expect("cut");
    let states = random_states(&disk, |d| read(d, "/f").expect("there"));
    for expected in ["....", "a...", ".b..", "ab..", "...", "a..", ".b.", "ab."] {
        assert!(states.contains(expected.as_bytes()), "{expected} is missing in {states:?}");
    }
    assert_eq!(states.len(), 8);
}

#[test]
fn names_come_in_either_order_but_not_without_what_they_stand_on() {
    let disk = SimDisk::new();
    durable(&disk, "/a", b"a");
    durable(&disk, "/b", b"b");
    disk.rename(Path::new("/a"), Path::new("/c")).expect("rename");
    disk.rename(Path::new("/b"), Path::new("/d")).expect("rename");
    disk.rename(Path::new("/c"), Path::new("/e")).expect("rename");
    let states = random_states(&disk, names);
    let expect = |names: &str| names.split(' ').map(str::to_owned).collect::<BTreeSet<_>>();
    let possible = BTreeSet::from(["a b", "b c", "b e", "a d", "c d", "d e"].map(expect));
    assert_eq!(states, possible);
}

#[test]
fn replacing_by_rename_leaves_the_old_or_the_new() {
    let disk = SimDisk::new();
    durable(&disk, "/index", b"old");
    disk.write_atomic(Path::new("/index"), b"new", 0o600, false).expect("write");
    let unsynced = random_states(&disk, |d| read(d, "/index").expect("never gone"));
    assert!(unsynced.contains(&b""[..]), "the name before the data");
    let disk = SimDisk::new();
    durable(&disk, "/index", b"old");
    let k = 1 + {
        let counted = disk.fork();
        counted.clear_plan();
        counted.write_atomic(Path::new("/index"), b"new", 0o600, true).expect("write");
        counted.changing_calls()
    };
    for k in 1..k {
        let run = disk.fork();
        run.crash_after(k);
        run.write_atomic(Path::new("/index"), b"new", 0o600, true).expect_err("crashed");
        let states = random_states(&run, |d| read(d, "/index").expect("never gone"));
        assert!(states.iter().all(|s| s == b"old" || s == b"new"), "{k}: {states:?}");
    }
}

#[test]
fn a_rename_between_directories_is_whole_when_either_is_synced() {
    for synced in ["/d", "/"] {
        let disk = SimDisk::new();
        disk.create_dir_all(Path::new("/d"), 0o700).expect("mkdir");
        durable(&disk, "/f", b"x");
        disk.rename(Path::new("/f"), Path::new("/d/f")).expect("rename");
        let before = disk.crash(NONE);
        assert!(read(&before, "/f").is_some() && read(&before, "/d/f").is_none());
        let both = random_states(&disk, |d| (read(d, "/f").is_some(), read(d, "/d/f").is_some()));
        assert_eq!(both, BTreeSet::from([(true, false), (false, true)]), "never both, never none");
        disk.sync_dir(Path::new(synced)).expect("sync");
        let after = disk.crash(NONE);
        assert!(read(&after, "/f").is_none() && read(&after, "/d/f").is_some(), "{synced}");
    }
}

#[test]
fn names_in_a_directory_whose_own_name_is_not_synced_are_lost_with_it() {
    let disk = SimDisk::new();
    disk.create_dir(Path::new("/d"), 0o700).expect("mkdir");
    create(&disk, Path::new("/d/f"), b"x").sync_data().expect("sync");
    disk.sync_dir(Path::new("/d")).expect("sync");
    assert!(names(&disk.crash(NONE)).is_empty());
    sync_root(&disk);
    assert_eq!(read(&disk.crash(NONE), "/d/f").as_deref(), Some(&b"x"[..]));
}

#[test]
fn a_removed_directory_comes_back_with_its_files_or_not_at_all() {
    let disk = SimDisk::new();
    disk.create_dir_all(Path::new("/d"), 0o700).expect("mkdir");
    create(&disk, Path::new("/d/f"), b"x").sync_data().expect("sync");
    disk.sync_dir(Path::new("/d")).expect("sync");
    disk.rename(Path::new("/d/f"), Path::new("/f")).expect("rename");
    disk.remove_dir(Path::new("/d")).expect("rmdir");
    let states = random_states(&disk, |d| (names(d).contains("d"), read(d, "/f").is_some(), read(d, "/d/f").is_some()));
    let possible = [(true, false, true), (true, true, false), (false, true, false)];
    assert_eq!(states, BTreeSet::from(possible), "the file is never lost");
    sync_root(&disk);
    assert_eq!(names(&disk.crash(NONE)), BTreeSet::from(["f".to_owned()]));
}

#[test]
fn an_unsynced_unlink_may_come_back_and_its_inode_is_not_used_meanwhile() {
    let disk = SimDisk::new();
    let inode = durable(&disk, "/old", b"old").metadata().expect("stat").inode;
    disk.unlink(Path::new("/old")).expect("unlink");
    let fresh = durable_name_of(&disk, "/new");
    assert_ne!(fresh, inode);
    sync_root(&disk);
    assert_eq!(durable_name_of(&disk, "/newer"), inode, "used again when nothing can bring the old file back");
}

fn durable_name_of(disk: &SimDisk, path: &str) -> u64 {
    create(disk, Path::new(path), b"").metadata().expect("stat").inode
}

#[test]
fn inode_numbers_and_links_survive_and_locks_do_not() {
    let disk = SimDisk::new();
    let file = durable(&disk, "/a", b"x");
    disk.hard_link(Path::new("/a"), Path::new("/b")).expect("link");
    assert!(file.try_lock(mailfs::LockKind::Exclusive).expect("lock"));
    let after = disk.crash(ALL);
    let reopened = after.open(Path::new("/b"), OpenMode::ReadWrite).expect("open");
    let (old, new) = (file.metadata().expect("stat"), reopened.metadata().expect("stat"));
    assert_eq!((old.inode, old.links), (new.inode, new.links));
    assert_ne!(old.device, new.device);
    assert!(reopened.try_lock(mailfs::LockKind::Exclusive).expect("lock"));
    reopened.write_at(b"y", 0).expect("write");
    assert_eq!(read(&after, "/a").as_deref(), Some(&b"y"[..]), "still one file");
}

#[test]
fn from_the_planned_call_on_everything_fails() {
    let disk = SimDisk::new();
    let file = durable(&disk, "/f", b"");
    disk.crash_after(3);
    file.write_at(b"one", 0).expect("first");
    assert_eq!(file.len().expect("looking does not count"), 3);
    file.sync_data().expect("second");
    assert!(!disk.is_crashed());
    file.write_at(b"three", 3).expect_err("third");
    assert!(disk.is_crashed());
    assert_eq!(disk.crashed_during().as_deref(), Some("write /f"));
    file.write_at(b"four", 8).expect_err("dead");
    file.len().expect_err("dead");
    disk.read_dir(Path::new("/")).expect_err("dead");
    assert_eq!(read(&disk.crash(NONE), "/f").as_deref(), Some(&b"one"[..]));
    assert_eq!(read(&disk.crash(ALL), "/f").as_deref(), Some(&b"onethree"[..]), "the call may have happened");
    assert_eq!(read(&disk.crash(CrashChoice::TornLast), "/f").as_deref(), Some(&b"oneth"[..]), "or by half");
    disk.open(Path::new("/g"), OpenMode::CreateNew { mode: 0o600 }).expect_err("dead");
}

#[test]
fn a_sync_during_which_the_power_is_cut_promises_nothing() {
    let disk = SimDisk::new();
    let file = durable(&disk, "/f", b"");
    file.write_at(b"data", 0).expect("write");
    disk.crash_after(1);
    file.sync_data().expect_err("crash");
    assert_eq!(read(&disk.crash(NONE), "/f").as_deref(), Some(&b""[..]));
}

#[test]
fn creating_during_the_cut_does_not_hang() {
    let disk = SimDisk::new();
    disk.crash_after(1);
    disk.open(Path::new("/f"), OpenMode::CreateNew { mode: 0o600 }).expect_err("crash");
    assert!(read(&disk.crash(ALL), "/f").is_some());
    assert!(read(&disk.crash(NONE), "/f").is_none());
}

#[test]
fn the_same_seed_gives_the_same_state_and_forks_are_apart() {
    let disk = SimDisk::new();
    for n in 0..20 {
        create(&disk, Path::new(&format!("/f{n}")), &[n; 700]);
    }
    let hash = |seed| disk.crash(CrashChoice::Random(seed)).content_hash();
    assert_eq!(hash(7), hash(7));
    assert!((0..20).map(hash).collect::<BTreeSet<_>>().len() > 15);
    let fork = disk.fork();
    assert_eq!(fork.content_hash(), disk.content_hash());
    fork.unlink(Path::new("/f3")).expect("unlink");
    assert_ne!(fork.content_hash(), disk.content_hash());
    assert!(read(&disk, "/f3").is_some());
}

#[test]
fn directories_that_change_places_never_contain_each_other() {
    let disk = SimDisk::new();
    disk.create_dir_all(Path::new("/a/b"), 0o700).expect("mkdir");
    create(&disk, Path::new("/a/b/f"), b"x").sync_data().expect("sync");
    disk.sync_dir(Path::new("/a/b")).expect("sync");
    disk.rename(Path::new("/a/b"), Path::new("/b")).expect("rename");
    disk.rename(Path::new("/a"), Path::new("/b/a")).expect("rename");
    let states = random_states(&disk, |d| {
        ["/a/b/f", "/b/f"].map(|path| read(d, path).is_some()).iter().filter(|there| **there).count()
    });
    assert_eq!(states, BTreeSet::from([1]), "always in one place");
}

#[test]
fn a_synced_directory_takes_along_what_its_names_stand_on() {
    let disk = SimDisk::new();
    disk.create_dir_all(Path::new("/tmp"), 0o700).expect("mkdir");
    disk.create_dir_all(Path::new("/new"), 0o700).expect("mkdir");
    create(&disk, Path::new("/tmp/f"), b"x").sync_data().expect("sync");
    disk.rename(Path::new("/tmp/f"), Path::new("/new/f")).expect("rename");
    disk.sync_dir(Path::new("/new")).expect("sync");
    let states = random_states(&disk, |d| (read(d, "/tmp/f").is_some(), read(d, "/new/f").is_some()));
    assert_eq!(states, BTreeSet::from([(false, true)]), "the old name does not come back");
}

#[test]
fn a_fork_has_nothing_open() {
    let disk = SimDisk::new();
    let open = durable(&disk, "/f", b"x");
    let inode = open.metadata().expect("stat").inode;
    disk.unlink(Path::new("/f")).expect("unlink");
    sync_root(&disk);
    assert_ne!(durable_name_of(&disk.clone(), "/g"), inode, "still open here");
    assert_eq!(durable_name_of(&disk.fork(), "/h"), inode, "not there");
}
