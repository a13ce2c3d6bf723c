//! What was written: names and contents in memory.

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::SystemTime,
};

use crate::{FileKind, LockKind, Metadata, file_system::MODE_BITS};

/// The device number of what is in memory: no disk has it.
const DEVICE: u64 = u64::MAX;

/// What a folder's length is said to be: a block's, as on disks.
const DIR_LEN: u64 = 4096;

/// Device and inode.
pub(super) type Identity = (u64, u64);

/// A file or folder below as it was when something was put over it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Mark {
    identity: Identity,
    /// Of a file.
    content: Option<(u64, SystemTime, SystemTime)>,
}

impl Mark {
    pub(super) fn of(there: &Metadata) -> Self {
        // A folder is the same whatever comes and goes in it.
        let is_file = there.kind != FileKind::Dir;
        Self {
            identity: (there.device, there.inode),
            content: is_file.then_some((there.len, there.modified, there.changed)),
        }
    }
}

/// What a name stands for that was changed here.
#[derive(Clone, Debug)]
pub(super) enum Name {
    Gone,
    Memory(Arc<Memory>),
    /// A file below that has another name there.
    Lower(PathBuf),
    Dir(Metadata),
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) name: Name,
    /// What the name stands for below.
    over: Option<Mark>,
}

/// A file in memory.
pub(super) struct Memory {
    content: Mutex<Content>,
}

pub(super) struct Content {
    pub(super) bytes: Vec<u8>,
    /// All but the length.
    pub(super) metadata: Metadata,
}

impl Memory {
    pub(super) fn new(bytes: Vec<u8>, metadata: Metadata) -> Arc<Self> {
        Arc::new(Self { content: Mutex::new(Content { bytes, metadata }) })
    }

    pub(super) fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn metadata(&self) -> Metadata {
        let content = self.content();
        let is_dir = content.metadata.kind == FileKind::Dir;
        Metadata { len: if is_dir { DIR_LEN } else { content.bytes.len() as u64 }, ..content.metadata }
    }
}

impl fmt::Debug for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("metadata", &self.metadata()).finish()
    }
}

/// Which handles hold locks.
#[derive(Debug, Default)]
pub(super) struct Locks(HashMap<Identity, Vec<(u64, LockKind)>>);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Upper {
    pub(super) names: HashMap<PathBuf, Entry>,
    /// Files below that were written to, whatever names they have.
    pub(super) copies: HashMap<Identity, Arc<Memory>>,
    /// The names by which they were opened, and how they looked.
    copied: HashMap<PathBuf, Mark>,
    pub(super) locks: Locks,
    /// Those of the other kind (`flock`), which know nothing of these.
    pub(super) flocks: Locks,
    next_inode: u64,
    next_handle: u64,
    /// Bytes held.
    pub(super) len: u64,
}

impl Upper {
    pub(super) fn is_written_in(&self, dir: &Path) -> bool {
        let mut paths = self.names.keys().chain(self.copied.keys());
        paths.any(|path| path.parent() == Some(dir))
    }

    /// Whether what lies over this path was made of something else than is there now.
    pub(super) fn is_stale(&self, path: &Path, there: Option<&Metadata>) -> bool {
        if self.names.is_empty() && self.copied.is_empty() {
            return false;
        }
        let now = there.map(Mark::of);
        let over = self.names.get(path).is_some_and(|entry| entry.over != now);
        over || self.copied.get(path).is_some_and(|mark| Some(*mark) != now)
    }

    /// Forgets all that was written. Who has a file open keeps it.
    pub(super) fn forget(&mut self) {
        self.names.clear();
        self.copies.clear();
        self.copied.clear();
        self.len = 0;
    }

    pub(super) fn put(&mut self, path: &Path, name: Option<Name>, over: Option<Mark>) {
        match name {
            None if over.is_none() => {
                self.names.remove(path);
            }
            name => {
                self.names.insert(path.to_owned(), Entry { name: name.unwrap_or(Name::Gone), over });
            }
        }
    }

    /// A folder has moved, and with it what was put below it. What of that lies over the disk goes on hiding what is there.
    pub(super) fn move_below(&mut self, from: &Path, to: &Path) {
        let below: Vec<PathBuf> = self.names.keys().filter(|p| p.starts_with(from) && *p != from).cloned().collect();
        for old in below {
            let Ok(rest) = old.strip_prefix(from) else { continue };
            let new = to.join(rest);
            let Some(Entry { name, over }) = self.names.remove(&old) else { continue };
            if over.is_some() {
                self.names.insert(old, Entry { name: Name::Gone, over });
            }
            let over = self.names.get(&new).and_then(|entry| entry.over);
            if over.is_some() || !matches!(name, Name::Gone) {
                self.names.insert(new, Entry { name, over });
            }
        }
    }

    pub(super) fn new_metadata(&mut self, kind: FileKind, mode: u32, now: SystemTime) -> Metadata {
        self.next_inode += 1;
        Metadata {
            device: DEVICE,
            inode: self.next_inode,
            len: 0,
            kind,
            mode: mode & MODE_BITS,
            uid: 0,
            gid: 0,
            links: 1,
            modified: now,
            changed: now,
        }
    }

    pub(super) fn new_memory(&mut self, mode: u32, now: SystemTime) -> Arc<Memory> {
        let metadata = self.new_metadata(FileKind::File, mode, now);
        Memory::new(Vec::new(), metadata)
    }

    pub(super) fn new_handle(&mut self) -> u64 {
        self.next_handle += 1;
        self.next_handle
    }

    /// Notes that a file below is written to from here on.
    pub(super) fn copy(&mut self, path: &Path, there: &Metadata, memory: &Arc<Memory>) {
        self.copies.insert((there.device, there.inode), Arc::clone(memory));
        self.copied.insert(path.to_owned(), Mark::of(there));
    }
}

impl Locks {
    pub(super) fn try_lock(&mut self, file: Identity, handle: u64, kind: LockKind) -> bool {
        let holders = self.0.entry(file).or_default();
        let in_the_way = |(other, held): &(u64, LockKind)| {
            *other != handle && (kind == LockKind::Exclusive || *held == LockKind::Exclusive)
        };
        if holders.iter().any(in_the_way) {
            return false;
        }
        holders.retain(|(other, _)| *other != handle);
        holders.push((handle, kind));
        true
    }

    pub(super) fn unlock(&mut self, file: Identity, handle: u64) {
        if let Some(holders) = self.0.get_mut(&file) {
            holders.retain(|(other, _)| *other != handle);
            if holders.is_empty() {
                self.0.remove(&file);
            }
        }
    }
}
