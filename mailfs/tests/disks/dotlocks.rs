//! Dotlocks: waiting, stale ones, and not removing what is not ours.

use std::{path::Path, sync::Arc, thread, time::Duration};

use mailfs::{
    Dotlock, DotlockContent, DotlockOptions, FileSystem, FileSystemExt, OpenMode,
    sim::{Acks, CrashRunner, Fault, SimDisk},
};

use crate::{Place, create};

const LIST: &str = "/dovecot-uidlist";
const LOCK: &str = "/dovecot-uidlist.lock";

fn options(timeout: u64, stale: u64) -> DotlockOptions {
    let (timeout, stale) = (Duration::from_secs(timeout), Duration::from_secs(stale));
    DotlockOptions { timeout, stale, ..DotlockOptions::default() }
}

/// A disk on which somebody else has left a lock file with this text just now.
fn with_lock(text: &str) -> (SimDisk, Arc<dyn FileSystem>) {
    let disk = SimDisk::new();
    disk.set_identity(100, "here");
    drop(create(&disk, Path::new(LOCK), text.as_bytes()));
    let fs = disk.as_file_system();
    (disk, fs)
}

/// How long it took to get the lock.
fn time_to_acquire(fs: &Arc<dyn FileSystem>, options: DotlockOptions) -> mailfs::Result<Duration> {
    let before = fs.monotonic();
    Dotlock::acquire(fs, Path::new(LIST), options).map(|_| fs.monotonic() - before)
}

#[test]
fn the_lock_file_names_the_owner_and_goes_with_the_lock() {
    for place in Place::both() {
        let (path, lock_path) = (place.path("list"), place.path("list.lock"));
        let lock = Dotlock::acquire(&place.fs, &path, options(0, 120)).expect("free");
        let text = place.fs.read_all(&lock_path, 999).expect("read");
        assert_eq!(text, format!("{}:{}", place.fs.process_id(), place.fs.host_name()).into_bytes());
        let error = Dotlock::acquire(&place.fs, &path, options(0, 120)).expect_err("held");
        assert!(error.is_timeout() && error.to_string().contains("list.lock"), "{error}");
        drop(lock);
        assert!(!place.fs.exists(&lock_path).expect("stat"));
        drop(Dotlock::acquire(&place.fs, &path, options(0, 120)).expect("free again"));
    }
}

#[test]
fn on_a_full_disk_there_is_a_lock_without_a_text() {
    let disk = SimDisk::new();
    let fs = disk.as_file_system();
    // The first call makes the name, the second looks at it, the third writes the text.
    disk.fail_call(3, Fault::NoSpace);
    let lock = Dotlock::acquire(&fs, Path::new(LIST), options(0, 120)).expect("needed to remove something");
    assert_eq!((disk.faults_delivered(), disk.read_all(Path::new(LOCK), 99).expect("there")), (1, Vec::new()));
    assert!(Dotlock::acquire(&fs, Path::new(LIST), options(0, 120)).expect_err("held").is_timeout());
    drop(lock);
    assert!(!disk.exists(Path::new(LOCK)).expect("stat"));
}

#[test]
fn a_lock_held_by_a_thread_of_this_process_never_goes_stale() {
    let fs = SimDisk::new().as_file_system();
    let lock = Dotlock::acquire(&fs, Path::new(LIST), options(0, 1)).expect("free");
    let error = time_to_acquire(&fs, options(600, 1)).expect_err("held");
    assert!(error.is_timeout());
    drop(lock);
}

#[test]
fn a_dead_owner_on_this_host_is_overridden_after_two_seconds() {
    let (_disk, fs) = with_lock("77:here");
    let took = time_to_acquire(&fs, options(60, 120)).expect("overridden");
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(8), "{took:?}");
}

#[test]
fn our_own_pid_of_an_earlier_life_is_a_dead_owner() {
    let (_disk, fs) = with_lock("100:here");
    let took = time_to_acquire(&fs, options(60, 120)).expect("overridden");
    assert!(took < Duration::from_secs(8), "{took:?}");
}

#[test]
fn a_living_owner_on_this_host_is_never_overridden() {
    let (disk, fs) = with_lock("77:here");
    disk.set_processes([77]);
    assert!(time_to_acquire(&fs, options(600, 30)).expect_err("held").is_timeout());
    assert_eq!(fs.read_all(Path::new(LOCK), 99).expect("still there"), b"77:here");
}

#[test]
fn foreign_and_unreadable_locks_are_overridden_when_nothing_changed_for_the_stale_time() {
    for text in ["77:elsewhere", "", "no owner", "0:here", "x:here", "77:", &"9".repeat(5000)] {
        let (_disk, fs) = with_lock(text);
        let took = time_to_acquire(&fs, options(200, 120)).expect("overridden");
        assert!(took >= Duration::from_secs(120) && took < Duration::from_secs(127), "{text:?}: {took:?}");
    }
}

#[test]
fn a_foreign_owner_who_touches_the_lock_or_the_file_keeps_it() {
    for touched in [LOCK, LIST] {
        let (disk, fs) = with_lock("77:elsewhere");
        drop(fs.open(Path::new(LIST), OpenMode::CreateNew { mode: 0o600 }).expect("create"));
        // A simulated sleep takes no time: the owner is put between our attempts.
        for round in 0..20_u64 {
            let short = time_to_acquire(&fs, options(25, 30)).expect_err("kept");
            assert!(short.is_timeout());
            let file = disk.open(Path::new(touched), OpenMode::ReadWrite).expect("open");
            file.write_at(b"7", round).expect("touch");
        }
    }
}

#[test]
fn only_our_own_lock_is_removed_or_renamed() {
    let fs = SimDisk::new().as_file_system();
    let other = |text: &[u8]| {
        fs.unlink(Path::new(LOCK)).expect("overridden by somebody");
        create(&*fs, Path::new(LOCK), text);
    };
    let lock = Dotlock::acquire(&fs, Path::new(LIST), options(0, 120)).expect("free");
    other(b"77:elsewhere");
    drop(lock);
    assert_eq!(fs.read_all(Path::new(LOCK), 99).expect("still theirs"), b"77:elsewhere");

    fs.unlink(Path::new(LOCK)).expect("unlink");
    let lock = Dotlock::acquire(&fs, Path::new(LIST), options(0, 120)).expect("free");
    other(b"77:elsewhere");
    let error = lock.replace().expect_err("lost");
    assert!(error.to_string().contains("overridden"), "{error}");
    assert_eq!(fs.read_all(Path::new(LOCK), 99).expect("still theirs"), b"77:elsewhere");
    assert!(!fs.exists(Path::new(LIST)).expect("stat"));
}

#[test]
fn replacing_puts_the_new_content_in_place_and_releases() {
    for place in Place::both() {
        let path = place.path("subscriptions");
        drop(place.create("subscriptions", b"old"));
        let replacing =
            DotlockOptions { content: DotlockContent::Replacement, access: 0o640.into(), ..options(0, 120) };
        let lock = Dotlock::acquire(&place.fs, &path, replacing).expect("free");
        assert!(lock.file().is_empty().expect("stat"));
        lock.file().write_at(b"new", 0).expect("write");
        assert_eq!(place.fs.read_all(&path, 99).expect("read"), b"old");
        lock.replace().expect("replace");
        assert_eq!(place.fs.read_all(&path, 99).expect("read"), b"new");
        assert_eq!(place.fs.metadata(&path).expect("stat").expect("there").mode, 0o640);
        assert!(!place.fs.exists(&place.path("subscriptions.lock")).expect("stat"));
        drop(Dotlock::acquire(&place.fs, &path, replacing).expect("free"));
        assert_eq!(place.fs.read_all(&path, 99).expect("untouched"), b"new");
    }
}

#[test]
fn threads_of_one_process_exclude_each_other() {
    let place = Place::real();
    let path = place.path("counter");
    drop(place.create("counter", b"0"));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..3 {
                    let lock = Dotlock::acquire(&place.fs, &path, options(60, 120)).expect("lock");
                    let text = String::from_utf8(place.fs.read_all(&path, 99).expect("read")).expect("text");
                    let next = text.parse::<u32>().expect("number") + 1;
                    place.fs.write_atomic(&path, next.to_string().as_bytes(), 0o600, false).expect("write");
                    drop(lock);
                }
            });
        }
    });
    assert_eq!(place.fs.read_all(&path, 99).expect("read"), b"6");
}

#[test]
fn a_link_that_leads_nowhere_in_the_place_of_the_lock_only_times_out() {
    let place = Place::real();
    std::os::unix::fs::symlink("nowhere", place.path("list.lock")).expect("symlink");
    let short = DotlockOptions { timeout: Duration::from_millis(150), ..DotlockOptions::default() };
    assert!(Dotlock::acquire(&place.fs, &place.path("list"), short).expect_err("held").is_timeout());
}

#[test]
fn what_was_replaced_is_there_after_a_power_cut() {
    let replacing = DotlockOptions { content: DotlockContent::Replacement, ..options(0, 120) };
    let report = CrashRunner::default().run(
        |disk| drop(create(disk, Path::new(LIST), b"old")),
        |fs, acks: &Acks<&str>| {
            let lock = Dotlock::acquire(&fs, Path::new(LIST), replacing)?;
            lock.file().write_at(b"new", 0)?;
            lock.replace()?;
            acks.push("replaced");
            Ok(())
        },
        |disk, acks| {
            // The dead process's lock may lie there, and must not stop anybody for good.
            let wait = DotlockOptions { timeout: Duration::from_secs(300), ..replacing };
            drop(Dotlock::acquire(&disk.as_file_system(), Path::new(LIST), wait)?);
            match (&*disk.read_all(Path::new(LIST), 99)?, acks) {
                (b"new", _) | (b"old", []) => Ok(()),
                (other, _) => Err(format!("{other:?} after {acks:?}").into()),
            }
        },
    );
    assert!(report.is_sound(), "{report}");
}
