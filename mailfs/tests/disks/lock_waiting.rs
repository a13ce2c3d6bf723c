//! Waiting for record locks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use mailfs::{CreatedLock, FileSystem, FileSystemExt, LockKind, LockPoller, OpenMode, lock_with_timeout, sim::SimDisk};

use crate::{Place, create};

#[test]
fn a_held_lock_is_waited_for_and_the_timeout_says_so() {
    let fs = SimDisk::new();
    let path = "/dovecot.index.log".as_ref();
    let holder = create(&fs, path, b"");
    let waiter = fs.open(path, OpenMode::ReadWrite).expect("open");
    let guard = lock_with_timeout(&fs, &holder, path, LockKind::Exclusive, Duration::ZERO).expect("free");
    let before = fs.monotonic();
    let error = lock_with_timeout(&fs, &waiter, path, LockKind::Exclusive, Duration::from_secs(3)).expect_err("held");
    assert!(error.is_timeout());
    assert_eq!(error.to_string(), "lock /dovecot.index.log: Timeout while waiting for lock for 3 s");
    let waited = fs.monotonic() - before;
    assert!(waited >= Duration::from_secs(3) && waited < Duration::from_secs(4), "{waited:?}");
    drop(guard);
    drop(lock_with_timeout(&fs, &waiter, path, LockKind::Exclusive, Duration::ZERO).expect("free again"));
}

#[test]
fn a_lock_that_is_given_back_is_got_soon() {
    let place = Place::real();
    let path = place.path("log");
    let holder = place.create("log", b"");
    let waiter = place.fs.open(&path, OpenMode::ReadWrite).expect("open");
    let guard = lock_with_timeout(&*place.fs, &holder, &path, LockKind::Exclusive, Duration::ZERO).expect("free");
    let thread = thread::spawn(move || {
        thread::sleep(Duration::from_millis(30));
        drop(guard);
    });
    let long = Duration::from_secs(20);
    drop(lock_with_timeout(&*place.fs, &waiter, &path, LockKind::Exclusive, long).expect("in time"));
    thread.join().expect("thread");
}

/// The kernel takes all threads on one handle for one owner; the poller does not.
#[test]
fn a_poller_lets_one_thread_in_at_a_time_through_one_handle() {
    let place = Place::real();
    let (fs, path, file) = (place.fs.clone(), place.path("log"), place.create("log", b""));
    let poller = LockPoller::new();
    let inside = Arc::new(AtomicU32::new(0));
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let guard =
                        poller.lock(&*fs, &file, &path, LockKind::Exclusive, Duration::from_secs(60)).expect("lock");
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(guard);
                }
            });
        }
    });
    let other = fs.open(&path, OpenMode::ReadWrite).expect("open");
    assert!(other.try_lock(LockKind::Exclusive).expect("lock"), "given back");
}

#[test]
fn who_gives_up_waiting_does_not_stop_the_queue() {
    let fs = SimDisk::new();
    let path = "/log".as_ref();
    let file = create(&fs, path, b"");
    let poller = LockPoller::new();
    let guard = poller.lock(&fs, &file, path, LockKind::Exclusive, Duration::ZERO).expect("free");
    let error = poller.lock(&fs, &file, path, LockKind::Exclusive, Duration::from_secs(1)).expect_err("held");
    assert!(error.is_timeout());
    drop(guard);
    drop(poller.lock(&fs, &file, path, LockKind::Exclusive, Duration::ZERO).expect("free"));
}

#[test]
fn a_created_lock_excludes_and_is_removed() {
    for place in Place::both() {
        let path = place.path("mailboxes.lock");
        let lock = CreatedLock::acquire(&place.fs, &path, 0o600, Duration::ZERO).expect("free");
        let error = CreatedLock::acquire(&place.fs, &path, 0o600, Duration::from_millis(20)).expect_err("held");
        assert!(error.is_timeout());
        assert!(place.fs.exists(&path).expect("stat"));
        drop(lock);
        assert!(!place.fs.exists(&path).expect("stat"));
        // One that a dead process left is locked by nobody.
        drop(place.create("mailboxes.lock", b""));
        drop(CreatedLock::acquire(&place.fs, &path, 0o600, Duration::ZERO).expect("free"));
        assert!(!place.fs.exists(&path).expect("stat"));
    }
}

#[test]
fn created_locks_exclude_threads_while_the_file_comes_and_goes() {
    let place = Place::real();
    let (fs, path) = (place.fs.clone(), place.path("mailboxes.lock"));
    let inside = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..300 {
                    let lock = CreatedLock::acquire(&fs, &path, 0o600, Duration::from_secs(60)).expect("lock");
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0);
                    thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    drop(lock);
                }
            });
        }
    });
}
