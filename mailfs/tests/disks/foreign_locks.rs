//! Our locks against the classic record locks of another process, which is what Dovecot takes.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
};

use mailfs::{LockKind, OpenMode};

use crate::Place;

/// Takes a lock with fcntl, tells how it went, and keeps it until its standard input ends.
const HOLDER: &str = r#"
import fcntl, sys
f = open(sys.argv[1], "r+b")
kind = fcntl.LOCK_SH if sys.argv[2] == "shared" else fcntl.LOCK_EX
try:
    length, start = (1, 1000) if sys.argv[2] == "a byte" else (0, 0)
    fcntl.lockf(f, kind | fcntl.LOCK_NB, length, start)
    print("held", flush=True)
except OSError:
    print("refused", flush=True)
sys.stdin.read()
"#;

struct Holder {
    child: Child,
    stdin: Option<ChildStdin>,
}

impl Holder {
    /// The process, and whether it got the lock; `None` when there is no Python.
    fn start(path: &Path, kind: &str) -> Option<(Self, bool)> {
        let mut command = Command::new("python3");
        command.args(["-c", HOLDER]).arg(path).arg(kind).stdin(Stdio::piped()).stdout(Stdio::piped());
        let Ok(mut child) = command.spawn() else {
            let _ = writeln!(std::io::stderr(), "SKIPPED: locks against another process, as there is no python3");
            return None;
        };
        let mut line = String::new();
        BufReader::new(child.stdout.take()?).read_line(&mut line).expect("an answer");
        let stdin = child.stdin.take();
        Some((Self { child, stdin }, line.trim() == "held"))
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.stdin.take());
        let _ = self.child.wait();
    }
}

#[test]
fn a_foreign_lock_is_seen_and_its_end_too() {
    let place = Place::real();
    let ours = place.create("log", b"x");
    let Some((holder, held)) = Holder::start(&place.path("log"), "exclusive") else { return };
    assert!(held);
    assert!(!ours.try_lock(LockKind::Exclusive).expect("lock"));
    assert!(!ours.try_lock(LockKind::Shared).expect("lock"));
    drop(holder);
    assert!(ours.try_lock(LockKind::Exclusive).expect("lock"));
}

#[test]
fn our_lock_holds_off_the_foreign_one_even_after_another_handle_was_closed() {
    let place = Place::real();
    let ours = place.create("log", b"x");
    assert!(ours.try_lock(LockKind::Exclusive).expect("lock"));
    drop(place.fs.open(&place.path("log"), OpenMode::ReadWrite).expect("open"));
    let Some((holder, held)) = Holder::start(&place.path("log"), "exclusive") else { return };
    assert!(!held);
    drop(holder);
    ours.unlock().expect("unlock");
    let Some((_holder, held)) = Holder::start(&place.path("log"), "exclusive") else { return };
    assert!(held);
}

#[test]
fn shared_locks_go_together() {
    let place = Place::real();
    let ours = place.create("log", b"x");
    let Some((_holder, held)) = Holder::start(&place.path("log"), "shared") else { return };
    assert!(held);
    assert!(ours.try_lock(LockKind::Shared).expect("lock"));
    assert!(!ours.try_lock(LockKind::Exclusive).expect("lock"));
}

#[test]
fn our_lock_is_on_the_whole_file_and_what_it_will_grow_to() {
    let place = Place::real();
    let ours = place.create("log", b"x");
    let Some((holder, held)) = Holder::start(&place.path("log"), "a byte") else { return };
    assert!(held);
    assert!(!ours.try_lock(LockKind::Exclusive).expect("lock"));
    drop(holder);
    assert!(ours.try_lock(LockKind::Exclusive).expect("lock"));
    let Some((_holder, held)) = Holder::start(&place.path("log"), "a byte") else { return };
    assert!(!held);
}

#[test]
fn the_two_families_of_locks_know_nothing_of_each_other() {
    let dir = tempfile::tempdir().expect("a folder");
    for (fs, root) in [
        (std::sync::Arc::new(mailfs::RealDisk::new()) as std::sync::Arc<dyn mailfs::FileSystem>, dir.path()),
        (mailfs::sim::SimDisk::new().as_file_system(), Path::new("/")),
    ] {
        let path = root.join("m.1");
        let first = fs.open(&path, OpenMode::CreateNew { mode: 0o600 }).expect("made");
        let second = fs.open(&path, OpenMode::ReadWrite).expect("opened");
        let held = mailfs::FlockGuard::try_take(&first).expect("flock").expect("nobody has it");
        assert!(second.try_lock(LockKind::Exclusive).expect("lock"));
        assert!(mailfs::FlockGuard::try_take(&second).expect("flock").is_none());
        drop(held);
        assert!(mailfs::FlockGuard::try_take(&second).expect("flock").is_some());
        drop(second);
        assert!(mailfs::FlockGuard::try_take(&first).expect("flock").is_some());
    }
}
