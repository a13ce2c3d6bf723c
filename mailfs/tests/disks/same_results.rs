//! Any sequence of calls has the same visible results on the real disk and on the simulated one.

use std::{io::ErrorKind, path::PathBuf, sync::Arc};

use mailfs::{FileHandle, FileKind, FileSystem, FileSystemExt, LockKind, OpenMode, Overlay, Result, sim::SimDisk};
use proptest::prelude::*;

use crate::Place;

/// A few names that meet often, at three depths.
const PATHS: [&str; 10] = ["a", "b", "d", "e", "d/a", "d/b", "d/e", "e/a", "d/e/a", "none/a"];

#[derive(Clone, Debug)]
enum Call {
    Create(usize),
    Open(usize, bool),
    Close(usize),
    Write(usize, Vec<u8>, u64),
    SetLen(usize, u64),
    Read(usize, u64, usize),
    Lock(usize, bool),
    Unlock(usize),
    SyncData(usize),
    CreateDir(usize),
    RemoveDir(usize),
    Unlink(usize),
    Rename(usize, usize),
    RenameNew(usize, usize),
    Link(usize, usize),
    SyncDir(usize),
    List(usize),
    Stat(usize),
    WriteAtomic(usize, Vec<u8>),
    RemoveTree(usize),
}

fn any_call() -> impl Strategy<Value = Call> {
    let path = || 0..PATHS.len();
    let handle = || 0..4_usize;
    let data = || proptest::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        3 => path().prop_map(Call::Create),
        2 => (path(), any::<bool>()).prop_map(|(p, w)| Call::Open(p, w)),
        1 => handle().prop_map(Call::Close),
        3 => (handle(), data(), 0..60_u64).prop_map(|(h, d, o)| Call::Write(h, d, o)),
        1 => (handle(), 0..80_u64).prop_map(|(h, l)| Call::SetLen(h, l)),
        2 => (handle(), 0..80_u64, 0..80_usize).prop_map(|(h, o, l)| Call::Read(h, o, l)),
        2 => (handle(), any::<bool>()).prop_map(|(h, e)| Call::Lock(h, e)),
        1 => handle().prop_map(Call::Unlock),
        1 => handle().prop_map(Call::SyncData),
        3 => path().prop_map(Call::CreateDir),
        1 => path().prop_map(Call::RemoveDir),
        2 => path().prop_map(Call::Unlink),
        3 => (path(), path()).prop_map(|(a, b)| Call::Rename(a, b)),
        2 => (path(), path()).prop_map(|(a, b)| Call::RenameNew(a, b)),
        2 => (path(), path()).prop_map(|(a, b)| Call::Link(a, b)),
        1 => path().prop_map(Call::SyncDir),
        1 => path().prop_map(Call::List),
        1 => path().prop_map(Call::Stat),
        1 => (path(), data()).prop_map(|(p, d)| Call::WriteAtomic(p, d)),
        1 => path().prop_map(Call::RemoveTree),
    ]
}

/// What the caller gets to see, with nothing in it that may differ.
#[derive(Debug, PartialEq)]
enum Seen {
    Done,
    Failed(ErrorKind),
    Bool(bool),
    Bytes(Vec<u8>),
    Names(Vec<(std::ffi::OsString, FileKind)>),
    /// Kind, length and links of a file.
    Stat(Option<(FileKind, u64, u64)>),
    Count(u64),
    NoHandle,
}

fn seen<T>(result: Result<T>, then: impl FnOnce(T) -> Seen) -> Seen {
    result.map_or_else(|e| Seen::Failed(e.kind()), then)
}

struct Run {
    place: Place,
    /// The last four that were opened.
    handles: Vec<Option<FileHandle>>,
    next: usize,
    /// Links are counted.
    links: bool,
}

impl Run {
    fn new(place: Place) -> Self {
        Self { place, handles: vec![None; 4], next: 0, links: true }
    }

    fn without_links(fs: Arc<dyn FileSystem>) -> Self {
        Self { links: false, ..Self::new(Place { fs, dir: PathBuf::from("/"), _temp: None }) }
    }

    fn path(&self, index: usize) -> PathBuf {
        self.place.path(PATHS[index])
    }

    fn keep(&mut self, file: FileHandle) -> Seen {
        let slot = self.next % self.handles.len();
        self.handles[slot] = Some(file);
        self.next += 1;
        Seen::Done
    }

    fn with(&self, handle: usize, call: impl FnOnce(&FileHandle) -> Seen) -> Seen {
        self.handles[handle].as_ref().map_or(Seen::NoHandle, call)
    }

    fn run(&mut self, call: &Call) -> Seen {
        let fs = self.place.fs.clone();
        let done = |()| Seen::Done;
        match call {
            Call::Create(p) => match fs.open(&self.path(*p), OpenMode::CreateNew { mode: 0o600 }) {
                Ok(file) => self.keep(file),
                Err(e) => Seen::Failed(e.kind()),
            },
            Call::Open(p, writable) => {
                let mode = if *writable { OpenMode::ReadWrite } else { OpenMode::Read };
                match fs.open(&self.path(*p), mode) {
                    Ok(file) => self.keep(file),
                    Err(e) => Seen::Failed(e.kind()),
                }
            }
            Call::Close(h) => {
                self.handles[*h] = None;
                Seen::Done
            }
            Call::Write(h, data, offset) => self.with(*h, |f| seen(f.write_at(data, *offset), done)),
            Call::SetLen(h, len) => self.with(*h, |f| seen(f.set_len(*len), done)),
            Call::Read(h, offset, len) => self.with(*h, |f| {
                let mut buf = vec![0; *len];
                seen(f.read_at(&mut buf, *offset), |n| Seen::Bytes(buf[..n].to_vec()))
            }),
            Call::Lock(h, exclusive) => {
                let kind = if *exclusive { LockKind::Exclusive } else { LockKind::Shared };
                self.with(*h, |f| seen(f.try_lock(kind), Seen::Bool))
            }
            Call::Unlock(h) => self.with(*h, |f| seen(f.unlock(), done)),
            Call::SyncData(h) => self.with(*h, |f| seen(f.sync_data(), done)),
            Call::CreateDir(p) => seen(fs.create_dir(&self.path(*p), 0o700), done),
            Call::RemoveDir(p) => seen(fs.remove_dir(&self.path(*p)), done),
            Call::Unlink(p) => seen(fs.unlink(&self.path(*p)), done),
            Call::Rename(a, b) => seen(fs.rename(&self.path(*a), &self.path(*b)), done),
            Call::RenameNew(a, b) => seen(fs.rename_new(&self.path(*a), &self.path(*b)), done),
            Call::Link(a, b) => seen(fs.hard_link(&self.path(*a), &self.path(*b)), done),
            Call::SyncDir(p) => seen(fs.sync_dir(&self.path(*p)), done),
            Call::List(p) => self.list(*p),
            Call::Stat(p) => self.stat(*p),
            Call::WriteAtomic(p, data) => seen(fs.write_atomic(&self.path(*p), data, 0o600, true), done),
            Call::RemoveTree(p) => seen(fs.remove_tree(&self.path(*p), 1000), Seen::Count),
        }
    }

    fn list(&self, path: usize) -> Seen {
        seen(self.place.fs.read_dir(&self.path(path)), |entries| {
            let mut names: Vec<_> = entries.into_iter().map(|e| (e.name, e.kind)).collect();
            names.sort_by(|a, b| a.0.cmp(&b.0));
            Seen::Names(names)
        })
    }

    fn stat(&self, path: usize) -> Seen {
        seen(self.place.fs.metadata(&self.path(path)), |metadata| {
            let only_of_files = |m: mailfs::Metadata| match m.kind {
                FileKind::File => (m.kind, m.len, if self.links { m.links } else { 1 }),
                other => (other, 0, 0),
            };
            Seen::Stat(metadata.map(only_of_files))
        })
    }

    /// Everything there is, by every path.
    fn whole(&self) -> Vec<(Seen, Seen, Seen)> {
        let read = |p: usize| seen(self.place.fs.read_all(&self.path(p), 9999), Seen::Bytes);
        (0..PATHS.len()).map(|p| (self.stat(p), self.list(p), read(p))).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(1),
        ..ProptestConfig::default()
    })]
    #[test]
    fn real_and_simulated_disk_agree(calls in proptest::collection::vec(any_call(), 1..60)) {
        let (mut real, mut simulated) = (Run::new(Place::real()), Run::new(Place::simulated()));
        for (n, call) in calls.iter().enumerate() {
            prop_assert_eq!(real.run(call), simulated.run(call), "call {}: {:?}", n, call);
        }
        prop_assert_eq!(real.whole(), simulated.whole());
    }

    /// What came before lies on the disk; what comes after goes over it, and changes nothing there.
    #[test]
    fn an_overlay_and_a_disk_agree(
        before in proptest::collection::vec(any_call(), 0..40),
        after in proptest::collection::vec(any_call(), 1..40),
    ) {
        let below = SimDisk::new();
        let mut run = Run::without_links(below.as_file_system());
        for call in &before {
            run.run(call);
        }
        drop(run);
        below.sync_all();
        let other = below.fork();
        below.crash_after(1);
        let overlay: Arc<dyn FileSystem> = Arc::new(Overlay::new(below.as_file_system()));
        let (mut over, mut disk) = (Run::without_links(overlay), Run::without_links(other.as_file_system()));
        for (n, call) in after.iter().enumerate() {
            let seen = over.run(call);
            // Folders of the disk are not moved.
            if seen != Seen::Failed(ErrorKind::ReadOnlyFilesystem) {
                prop_assert_eq!(seen, disk.run(call), "call {}: {:?}", n, call);
            }
        }
        prop_assert_eq!(over.whole(), disk.whole());
        prop_assert!(!below.is_crashed(), "{:?}", below.crashed_during());
    }
}
