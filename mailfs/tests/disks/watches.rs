//! Watches wake on change, of both disks.

use std::{
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    time::Duration,
};

use mailfs::{FileSystem, OpenMode, RealDisk, RealDiskOptions, Wake, Watch};

use crate::{Place, create};

const LONG: Duration = Duration::from_secs(10);

/// Long enough for a wake that should not come.
const SHORT: Duration = Duration::from_millis(100);

fn watch(place: &Place, name: &str) -> (Box<dyn Watch>, Receiver<()>) {
    let (tx, rx) = channel();
    let wake: Wake = Arc::new(move || tx.send(()).unwrap_or_default());
    (place.fs.watch_dir(&place.path(name), wake).expect("watch"), rx)
}

/// Whether it was woken; the rest of a burst is swallowed.
fn woken(rx: &Receiver<()>) -> bool {
    let woken = rx.recv_timeout(LONG).is_ok();
    while rx.recv_timeout(SHORT / 4).is_ok() {}
    woken
}

#[test]
fn every_kind_of_change_wakes() {
    for place in Place::both() {
        place.fs.create_dir(&place.path("d"), 0o700).expect("mkdir");
        place.fs.create_dir(&place.path("other"), 0o700).expect("mkdir");
        let (_watch, rx) = watch(&place, "d");
        let file = place.create("d/f", b"");
        assert!(woken(&rx), "create");
        file.write_at(b"x", 0).expect("write");
        assert!(woken(&rx), "write");
        file.set_len(0).expect("cut");
        assert!(woken(&rx), "cut");
        place.fs.rename(&place.path("d/f"), &place.path("other/f")).expect("rename");
        assert!(woken(&rx), "moved away");
        place.fs.rename(&place.path("other/f"), &place.path("d/f")).expect("rename");
        assert!(woken(&rx), "moved here");
        place.fs.hard_link(&place.path("d/f"), &place.path("d/g")).expect("link");
        assert!(woken(&rx), "link");
        place.fs.unlink(&place.path("d/f")).expect("unlink");
        assert!(woken(&rx), "unlink");
        drop(place.create("other/f", b"x"));
        assert_eq!(rx.recv_timeout(SHORT), Err(RecvTimeoutError::Timeout), "elsewhere");
    }
}

#[test]
fn all_watches_of_a_directory_wake_until_each_is_dropped() {
    for place in Place::both() {
        place.fs.create_dir(&place.path("d"), 0o700).expect("mkdir");
        let (first, first_rx) = watch(&place, "d");
        let (_second, second_rx) = watch(&place, "d/../d");
        drop(place.create("d/f", b""));
        assert!(woken(&first_rx) && woken(&second_rx));
        drop(first);
        drop(place.create("d/g", b""));
        assert!(woken(&second_rx));
        assert!(matches!(first_rx.recv_timeout(SHORT), Err(RecvTimeoutError::Disconnected)), "nothing is kept");
    }
}

#[test]
fn a_directory_that_is_removed_and_made_again_is_still_watched() {
    for place in Place::both() {
        place.fs.create_dir(&place.path("d"), 0o700).expect("mkdir");
        let (_watch, rx) = watch(&place, "d");
        place.fs.remove_dir(&place.path("d")).expect("rmdir");
        assert!(woken(&rx));
        place.fs.create_dir(&place.path("d"), 0o700).expect("mkdir");
        drop(place.create("d/f", b""));
        assert!(woken(&rx));
        place.fs.rename(&place.path("d"), &place.path("e")).expect("rename");
        assert!(woken(&rx));
        place.fs.create_dir(&place.path("d"), 0o700).expect("mkdir");
        drop(place.create("d/g", b""));
        assert!(woken(&rx));
    }
}

#[test]
fn only_directories_that_are_there_can_be_watched() {
    for place in Place::both() {
        drop(place.create("f", b""));
        let wake: Wake = Arc::new(|| {});
        assert!(place.fs.watch_dir(&place.path("none"), Arc::clone(&wake)).expect_err("nothing").is_not_found());
        assert!(place.fs.watch_dir(&place.path("f"), wake).is_err());
    }
}

#[test]
fn a_wake_may_use_the_disk_and_drop_its_own_watch() {
    for place in Place::both() {
        let (tx, rx) = channel();
        let slot: Arc<std::sync::Mutex<Option<Box<dyn Watch>>>> = Arc::default();
        let (fs, path, inner) = (Arc::clone(&place.fs), place.path("f"), Arc::clone(&slot));
        let wake: Wake = Arc::new(move || {
            let len = fs.open(&path, OpenMode::Read).and_then(|f| f.len());
            let mine = inner.lock().expect("lock").take();
            drop(mine);
            let _ = tx.send(len.is_ok());
        });
        let watch = place.fs.watch_dir(&place.dir, wake).expect("watch");
        *slot.lock().expect("lock") = Some(watch);
        drop(place.create("f", b""));
        assert!(rx.recv_timeout(LONG).expect("woken"));
    }
}

#[test]
fn the_thread_ends_with_the_disk_and_the_last_watch() {
    let temp = tempfile::tempdir().expect("temporary directory");
    let fs = RealDisk::new();
    let (tx, rx) = channel();
    let wake: Wake = Arc::new(move || tx.send(()).unwrap_or_default());
    let watch = fs.watch_dir(temp.path(), wake).expect("watch");
    drop(fs);
    drop(create(&RealDisk::new(), &temp.path().join("f"), b""));
    assert!(rx.recv_timeout(LONG).is_ok(), "the watch outlives the disk's handle");
    drop(watch);
    while rx.try_recv().is_ok() {}
    // The thread held the closure; with both gone, the channel is closed.
    assert!(matches!(rx.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected)));
}

#[test]
fn a_vanished_directory_is_polled_by_the_named_interval() {
    let temp = tempfile::tempdir().expect("temporary directory");
    let dir = temp.path().join("d");
    let options = RealDiskOptions { watch_poll_interval: Duration::from_millis(20), ..RealDiskOptions::default() };
    let fs = RealDisk::with_options(options);
    fs.create_dir(&dir, 0o700).expect("mkdir");
    let (tx, rx) = channel();
    let _watch = fs.watch_dir(&dir, Arc::new(move || tx.send(()).unwrap_or_default())).expect("watch");
    fs.remove_dir(&dir).expect("rmdir");
    for _ in 0..3 {
        rx.recv_timeout(LONG).expect("polled");
    }
}
