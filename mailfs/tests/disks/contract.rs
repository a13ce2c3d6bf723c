//! What `FileSystem` and `File` promise, asked of both disks.

use std::{
    collections::BTreeMap,
    io::ErrorKind,
    os::unix::fs::MetadataExt,
    path::Path,
    time::{Duration, SystemTime},
};

use mailfs::{
    Access, FileKind, FileSystem, FileSystemExt, FsError, LockKind, MapPolicy, OpenMode, Result, TEMP_PREFIX,
    open_bytes,
};

use crate::Place;

fn kind_of<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    result.expect_err("an error").kind()
}

fn names(fs: &dyn FileSystem, dir: &Path) -> BTreeMap<String, FileKind> {
    let entries = fs.read_dir(dir).expect("read_dir");
    entries.into_iter().map(|e| (e.name.into_string().expect("text"), e.kind)).collect()
}

#[test]
fn create_new_makes_a_file_with_the_mode_and_refuses_a_second() {
    for place in Place::both() {
        let path = place.path("f");
        let file = place.fs.open(&path, OpenMode::CreateNew { mode: 0o666 }).expect("create");
        assert_eq!(file.metadata().expect("stat").mode, 0o666, "no umask");
        assert!(file.is_empty().expect("stat"));
        let again = place.fs.open(&path, OpenMode::CreateNew { mode: 0o666 }).expect_err("taken");
        assert!(again.is_already_exists());
        assert!(again.to_string().contains(path.to_str().expect("text")), "{again}");
        assert!(place.fs.open(&place.path("none"), OpenMode::Read).expect_err("nothing").is_not_found());
        assert!(place.fs.open(&place.path("no/where"), OpenMode::CreateNew { mode: 0o600 }).is_err());
        assert_eq!(kind_of(place.fs.open(&place.path("f/g"), OpenMode::Read)), ErrorKind::NotADirectory);
        assert_eq!(kind_of(place.fs.open(&place.dir, OpenMode::ReadWrite)), ErrorKind::IsADirectory);
    }
}

#[test]
fn a_folder_gets_the_group_that_it_is_made_with() {
    for place in Place::both() {
        let own = place.fs.metadata(&place.dir).expect("stat").expect("a folder").gid;
        let access = Access { mode: 0o770, gid: Some(own + 1) };
        place.fs.create_dir_all(&place.path("a/b"), access).expect("made");
        for dir in ["a", "a/b"] {
            let made = place.fs.metadata(&place.path(dir)).expect("stat").expect("made");
            assert_eq!(made.mode, 0o770);
            // Nobody but root may give to a group that he is not in.
            let may = place.is_simulated() || std::fs::metadata("/proc/self").expect("stat").uid() == 0;
            assert_eq!(made.gid, own + u32::from(may), "{dir}");
        }
    }
}

#[test]
fn reads_stop_at_the_end_and_writes_beyond_it_fill_with_zeros() {
    for place in Place::both() {
        let file = place.create("f", b"hello");
        file.write_at(b"world", 8).expect("write");
        let mut buf = [b'x'; 20];
        assert_eq!(file.read_at(&mut buf, 0).expect("read"), 13);
        assert_eq!(&buf[..14], b"hello\0\0\0worldx");
        assert_eq!(file.read_at(&mut buf[..3], 2).expect("read"), 3);
        assert_eq!(&buf[..3], b"llo");
        assert_eq!(file.read_at(&mut buf, 13).expect("read"), 0);
        assert_eq!(file.read_at(&mut buf, 1 << 40).expect("read"), 0);
        file.set_len(3).expect("cut");
        file.set_len(5).expect("grow");
        assert_eq!(place.fs.read_all(&place.path("f"), 99).expect("read"), b"hel\0\0");
        assert_eq!(file.len().expect("stat"), 5);
    }
}

#[test]
fn a_handle_for_reading_does_not_write() {
    for place in Place::both() {
        drop(place.create("f", b"hello"));
        let file = place.fs.open(&place.path("f"), OpenMode::Read).expect("open");
        assert!(file.write_at(b"x", 0).is_err());
        assert!(file.set_len(0).is_err());
        assert!(file.try_lock(LockKind::Exclusive).is_err());
        assert!(file.try_lock(LockKind::Shared).expect("lock"));
        assert_eq!(place.fs.read_all(&place.path("f"), 99).expect("read"), b"hello");
    }
}

#[test]
fn metadata_tells_identity_links_and_kind() {
    for place in Place::both() {
        let (a, b) = (place.path("a"), place.path("b"));
        let file = place.create("a", b"1234");
        place.fs.hard_link(&a, &b).expect("link");
        let by_name = place.fs.metadata(&b).expect("stat").expect("there");
        let by_handle = file.metadata().expect("stat");
        assert_eq!(
            (by_name.device, by_name.inode, by_name.len, by_name.links),
            (by_handle.device, by_handle.inode, 4, 2)
        );
        assert_eq!(by_name.kind, FileKind::File);
        assert_eq!(place.fs.metadata(&place.dir).expect("stat").expect("there").kind, FileKind::Dir);
        assert!(place.fs.metadata(&place.path("none")).expect("stat").is_none());
        assert!(place.fs.metadata(&place.path("a/below")).expect("stat").is_none());
        let age = place.fs.now().duration_since(by_name.modified).unwrap_or_default();
        assert!(age < Duration::from_secs(60) && by_name.modified > SystemTime::UNIX_EPOCH);
        assert!(kind_of(place.fs.hard_link(&a, &b)) == ErrorKind::AlreadyExists);
        place.fs.unlink(&a).expect("unlink");
        assert_eq!(file.metadata().expect("stat").links, 1);
    }
}

#[test]
fn an_unlinked_file_lives_as_long_as_its_handle_and_the_name_is_free() {
    for place in Place::both() {
        let old = place.create("f", b"old");
        place.fs.unlink(&place.path("f")).expect("unlink");
        let new = place.create("f", b"new");
        let mut buf = [0; 3];
        assert_eq!(old.read_at(&mut buf, 0).expect("read"), 3);
        assert_eq!(&buf, b"old");
        let (old, new) = (old.metadata().expect("stat"), new.metadata().expect("stat"));
        assert_eq!(old.links, 0);
        assert_ne!(old.inode, new.inode);
        assert!(place.fs.unlink(&place.path("none")).expect_err("nothing").is_not_found());
    }
}

#[test]
fn rename_replaces_and_rename_new_does_not() {
    for place in Place::both() {
        let (a, b, c) = (place.path("a"), place.path("b"), place.path("c"));
        drop((place.create("a", b"a"), place.create("b", b"b")));
        let refused = place.fs.rename_new(&a, &b).expect_err("taken");
        assert!(refused.is_already_exists());
        assert_eq!((&refused.path, refused.to.as_ref()), (&a, Some(&b)), "{refused}");
        place.fs.rename(&a, &b).expect("rename");
        assert!(!place.fs.exists(&a).expect("stat"));
        place.fs.rename_new(&b, &c).expect("rename");
        assert_eq!(place.fs.read_all(&c, 9).expect("read"), b"a");
        assert!(place.fs.rename(&a, &b).expect_err("nothing").is_not_found());
        assert!(place.fs.rename_new(&a, &b).expect_err("nothing").is_not_found());
    }
}

#[test]
fn directories_rename_only_over_empty_ones_and_not_into_themselves() {
    for place in Place::both() {
        let (d, e, f) = (place.path("d"), place.path("e"), place.path("e/f"));
        place.fs.create_dir(&d, 0o700).expect("mkdir");
        place.fs.create_dir(&e, 0o700).expect("mkdir");
        drop((place.create("e/f", b""), place.create("file", b"")));
        assert_eq!(kind_of(place.fs.rename(&d, &e)), ErrorKind::DirectoryNotEmpty);
        assert_eq!(kind_of(place.fs.rename(&e, &f)), ErrorKind::InvalidInput);
        assert_eq!(kind_of(place.fs.rename(&f, &d)), ErrorKind::IsADirectory);
        assert_eq!(kind_of(place.fs.rename(&d, &place.path("file"))), ErrorKind::NotADirectory);
        assert_eq!(kind_of(place.fs.rename_new(&e, &d)), ErrorKind::AlreadyExists);
        place.fs.rename(&e, &d).expect("over an empty one");
        assert!(place.fs.exists(&place.path("d/f")).expect("stat"));
        place.fs.rename_new(&d, &e).expect("rename");
    }
}

#[test]
fn directories_are_made_listed_and_removed() {
    for place in Place::both() {
        let d = place.path("d");
        place.fs.create_dir(&d, 0o770).expect("mkdir");
        assert_eq!(place.fs.metadata(&d).expect("stat").expect("there").mode & 0o777, 0o770, "no umask");
        assert!(place.fs.create_dir(&d, 0o770).expect_err("taken").is_already_exists());
        drop(place.create("d/f", b""));
        place.fs.create_dir(&place.path("d/e"), 0o700).expect("mkdir");
        assert_eq!(names(&*place.fs, &d), [("e".into(), FileKind::Dir), ("f".into(), FileKind::File)].into());
        assert_eq!(kind_of(place.fs.remove_dir(&d)), ErrorKind::DirectoryNotEmpty);
        assert_eq!(kind_of(place.fs.unlink(&place.path("d/e"))), ErrorKind::IsADirectory);
        assert_eq!(kind_of(place.fs.remove_dir(&place.path("d/f"))), ErrorKind::NotADirectory);
        assert_eq!(kind_of(place.fs.read_dir(&place.path("d/f"))), ErrorKind::NotADirectory);
        place.fs.sync_dir(&d).expect("sync");
        assert_eq!(kind_of(place.fs.sync_dir(&place.path("d/f"))), ErrorKind::NotADirectory);
        assert_eq!(place.fs.remove_tree(&d, 100).expect("remove"), 3);
        assert!(place.fs.read_dir(&d).expect_err("nothing").is_not_found());
    }
}

#[test]
fn locks_exclude_between_handles_and_end_with_them() {
    for place in Place::both() {
        let a = place.create("f", b"");
        let b = place.fs.open(&place.path("f"), OpenMode::ReadWrite).expect("open");
        let bystander = place.fs.open(&place.path("f"), OpenMode::ReadWrite).expect("open");
        assert!(a.try_lock(LockKind::Exclusive).expect("lock"));
        assert!(a.try_lock(LockKind::Exclusive).expect("lock"), "one's own does not hinder");
        assert!(!b.try_lock(LockKind::Shared).expect("lock"));
        drop(bystander);
        assert!(!b.try_lock(LockKind::Exclusive).expect("lock"), "closing another handle releases nothing");
        assert!(a.try_lock(LockKind::Shared).expect("downgrade"));
        assert!(b.try_lock(LockKind::Shared).expect("lock"));
        assert!(!a.try_lock(LockKind::Exclusive).expect("upgrade"));
        b.unlock().expect("unlock");
        assert!(a.try_lock(LockKind::Exclusive).expect("upgrade"));
        drop(a);
        assert!(b.try_lock(LockKind::Exclusive).expect("lock"));
        let other = place.fs.clone();
        let path = place.path("f");
        let from_thread = std::thread::spawn(move || {
            other.open(&path, OpenMode::ReadWrite).expect("open").try_lock(LockKind::Exclusive).expect("lock")
        });
        assert!(!from_thread.join().expect("thread"));
    }
}

#[test]
fn permissions_are_set() {
    for place in Place::both() {
        let file = place.create("f", b"");
        let gid = file.metadata().expect("stat").gid;
        file.set_permissions(0o660, Some(gid)).expect("chmod");
        assert_eq!(file.metadata().expect("stat").mode, 0o660);
        file.set_permissions(0o600, None).expect("chmod");
        assert_eq!(file.metadata().expect("stat").mode, 0o600);
    }
}

#[test]
fn many_files_are_synced_at_once() {
    for place in Place::both() {
        let files: Vec<_> = (0..20).map(|n| place.create(&format!("f{n}"), b"data")).collect();
        place.fs.sync_many(&files).expect("sync");
        place.fs.sync_many(&files[..1]).expect("sync");
        place.fs.sync_many(&[]).expect("sync");
    }
}

#[test]
fn the_clock_goes_on_and_randomness_varies() {
    for place in Place::both() {
        let before = (place.fs.monotonic(), place.fs.now());
        place.fs.sleep(Duration::from_millis(5));
        assert!(place.fs.monotonic() >= before.0 + Duration::from_millis(5));
        assert!(place.fs.now() > before.1);
        let (mut a, mut b) = ([0; 33], [0; 33]);
        place.fs.random(&mut a);
        place.fs.random(&mut b);
        assert_ne!(a, b);
        assert!(a.iter().any(|x| *x != 0) && a[25..].iter().any(|x| *x != 0));
    }
}

#[test]
fn conveniences_read_within_limits_and_replace_whole_files() {
    for place in Place::both() {
        let path = place.path("f");
        place.fs.write_atomic(&path, b"0123456789", 0o640, true).expect("write");
        place.fs.write_atomic(&path, b"abcdefghij", 0o640, false).expect("write");
        assert_eq!(place.fs.metadata(&path).expect("stat").expect("there").mode, 0o640);
        assert_eq!(place.fs.read_all(&path, 10).expect("read"), b"abcdefghij");
        assert_eq!(kind_of(place.fs.read_all(&path, 9)), ErrorKind::FileTooLarge);
        assert_eq!(place.fs.read_range(&path, 8, usize::MAX).expect("read"), b"ij");
        assert_eq!(place.fs.read_range(&path, 99, 5).expect("read"), b"");
        assert_eq!(place.fs.read_range(&path, 2, 3).expect("read"), b"cde");
        place.fs.create_dir(&place.path("d"), 0o700).expect("mkdir");
        let failed: FsError = place.fs.write_atomic(&place.path("d"), b"x", 0o600, true).expect_err("a directory");
        assert_eq!(failed.kind(), ErrorKind::IsADirectory);
        assert!(names(&*place.fs, &place.dir).iter().all(|(name, _)| !name.starts_with(TEMP_PREFIX)));
    }
}

#[test]
fn conveniences_make_and_remove_trees() {
    for place in Place::both() {
        place.fs.create_dir_all(&place.path("a/b/c"), 0o700).expect("mkdir");
        place.fs.create_dir_all(&place.path("a/b/c"), 0o700).expect("there already");
        assert!(place.fs.is_dir(&place.path("a/b/c")).expect("stat"));
        drop((place.create("a/b/f", b""), place.create("a/g", b"")));
        assert!(!place.fs.is_dir(&place.path("a/g")).expect("stat"));
        assert!(place.fs.create_dir_all(&place.path("a/g/h"), 0o700).is_err());
        assert_eq!(kind_of(place.fs.remove_tree(&place.path("a"), 2)), ErrorKind::QuotaExceeded);
        assert!(place.fs.exists(&place.path("a")).expect("stat"));
        place.fs.remove_tree(&place.path("a"), 100).expect("remove");
        assert!(!place.fs.exists(&place.path("a")).expect("stat"));
        assert_eq!(place.fs.remove_tree(&place.path("a"), 100).expect("nothing"), 0);
    }
}

#[test]
fn links_in_a_tree_are_removed_and_not_followed() {
    let place = Place::real();
    place.fs.create_dir_all(&place.path("kept"), 0o700).expect("mkdir");
    drop(place.create("kept/f", b""));
    place.fs.create_dir_all(&place.path("tree"), 0o700).expect("mkdir");
    std::os::unix::fs::symlink(place.path("kept"), place.path("tree/link")).expect("symlink");
    assert_eq!(names(&*place.fs, &place.path("tree")), [("link".into(), FileKind::Symlink)].into());
    place.fs.remove_tree(&place.path("tree"), 100).expect("remove");
    assert!(place.fs.exists(&place.path("kept/f")).expect("stat"));
    std::os::unix::fs::symlink(place.path("kept"), place.path("top")).expect("symlink");
    assert_eq!(place.fs.remove_tree(&place.path("top"), 100).expect("remove"), 1);
    assert!(place.fs.exists(&place.path("kept/f")).expect("stat"));
    assert!(!names(&*place.fs, &place.dir).contains_key("top"));
}

#[test]
fn a_pipe_in_the_place_of_a_file_does_not_stop_us() {
    let place = Place::real();
    let path = place.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&path).status().expect("mkfifo").success());
    let file = place.fs.open(&path, OpenMode::Read).expect("opens at once");
    assert_eq!(file.metadata().expect("stat").kind, FileKind::Other);
}

#[test]
fn a_map_and_a_buffer_are_the_same_to_the_reader() {
    for place in Place::both() {
        drop((place.create("f", b"some content"), place.create("empty", b"")));
        for policy in [MapPolicy::Buffer, MapPolicy::DangerousMap] {
            assert_eq!(&*open_bytes(&*place.fs, &place.path("f"), policy, 99).expect("open"), b"some content");
            assert_eq!(&*open_bytes(&*place.fs, &place.path("empty"), policy, 99).expect("open"), b"");
        }
        assert_eq!(kind_of(open_bytes(&*place.fs, &place.path("f"), MapPolicy::Buffer, 3)), ErrorKind::FileTooLarge);
    }
}
