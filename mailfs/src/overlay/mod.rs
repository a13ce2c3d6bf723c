//! A file system that is only read: whatever is written goes to memory and lies over what is on the disk.
//!
//! For looking at a store that must not change by a byte or a timestamp, of which one may have no right to change
//! anything, or that lies on a disk mounted read-only. Code above works as always, also where it must first put something
//! right or find something out to be able to read: a Maildir without a UID list gets one, in memory.
//!
//! # Invariants
//!
//! 1. Of the file system below only `open` for reading, `metadata`, `read_dir`, the clocks, random bytes and watches are
//!    called. It takes no lock there, unless it was made for that ([`Overlay::taking_locks`]): then files that are opened
//!    for writing are opened so below too, as locks want it, and not written. Where it can keep times of access as they are
//!    ([`FileSystem::keeping_atime`]), it does.
//! 2. What lies over a file or a free name holds as long as that stays as it was below; when somebody else changes it,
//!    all that was written is forgotten, since it was made of what is no more.
//! 3. What is held in memory is bounded; more is answered as a full disk.

mod file;
mod upper;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use rustix::io::Errno;

use self::{
    file::OverlayFile,
    upper::{Mark, Memory, Name, Upper},
};
use crate::{
    Access, DirEntry, FileHandle, FileKind, FileSystem, FsError, Metadata, OpenMode, Result, Wake, Watch,
    dotlock::dir_of,
};

/// Bytes held in memory at most, if nothing else is said.
pub const OVERLAY_LEN_MAX: u64 = 1 << 30;

/// See the module. Clones share what was written.
#[derive(Clone, Debug)]
pub struct Overlay {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    lower: Arc<dyn FileSystem>,
    upper: Mutex<Upper>,
    len_max: u64,
    /// Whether locks are taken below too.
    takes_locks: bool,
}

impl Shared {
    fn upper(&self) -> MutexGuard<'_, Upper> {
        self.upper.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a path leads to.
enum Found {
    Nothing,
    Memory(Arc<Memory>),
    /// A file or folder below, by its path there.
    Lower(PathBuf, Metadata),
    /// A folder that was made here.
    Dir(Metadata),
}

impl Found {
    fn is_dir(&self) -> bool {
        matches!(self, Self::Dir(_)) || matches!(self, Self::Lower(_, there) if there.kind == FileKind::Dir)
    }
}

impl Overlay {
    /// Over a file system, holding at most [`OVERLAY_LEN_MAX`] bytes.
    pub fn new(lower: Arc<dyn FileSystem>) -> Self {
        Self::with_len_max(lower, OVERLAY_LEN_MAX)
    }

    /// The same with another limit.
    pub fn with_len_max(lower: Arc<dyn FileSystem>, len_max: u64) -> Self {
        Self::made(lower, len_max, false)
    }

    /// The same with locks that others respect, for looking at what they are at work on. Files that may not be written are
    /// not locked; nor does a file that is made for a lock keep anybody out.
    pub fn taking_locks(lower: Arc<dyn FileSystem>) -> Self {
        Self::made(lower, OVERLAY_LEN_MAX, true)
    }

    fn made(lower: Arc<dyn FileSystem>, len_max: u64, takes_locks: bool) -> Self {
        let lower = lower.keeping_atime().unwrap_or(lower);
        Self { shared: Arc::new(Shared { lower, upper: Mutex::default(), len_max, takes_locks }) }
    }

    /// Opens a file below; tells whether its locks are to be taken there.
    fn open_lower(&self, path: &Path, writable: bool) -> Result<(FileHandle, bool)> {
        if self.shared.takes_locks && writable {
            match self.lower().open(path, OpenMode::ReadWrite) {
                Err(e) if matches!(e.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {}
                other => return other.map(|handle| (handle, true)),
            }
        }
        // The other family of locks asks for no right to write.
        Ok((self.lower().open(path, OpenMode::Read)?, self.shared.takes_locks && !writable))
    }

    /// Whether anything was written to names in this directory and is held.
    pub fn is_written_in(&self, dir: &Path) -> bool {
        self.shared.upper().is_written_in(dir)
    }

    fn lower(&self) -> &dyn FileSystem {
        &*self.shared.lower
    }

    /// What is at a path; what was written is forgotten first if it lies over something else by now (invariant 2).
    fn find(&self, path: &Path) -> Result<Found> {
        let there = self.lower().metadata(path)?;
        let mut upper = self.shared.upper();
        if upper.is_stale(path, there.as_ref()) {
            upper.forget();
        }
        let name = upper.names.get(path).map(|entry| entry.name.clone());
        drop(upper);
        Ok(match name {
            None => there.map_or(Found::Nothing, |there| Found::Lower(path.to_owned(), there)),
            Some(Name::Gone) => Found::Nothing,
            Some(Name::Memory(memory)) => Found::Memory(memory),
            Some(Name::Dir(metadata)) => Found::Dir(metadata),
            Some(Name::Lower(other)) => match self.lower().metadata(&other)? {
                Some(there) => Found::Lower(other, there),
                None => Found::Nothing,
            },
        })
    }

    /// The metadata of a file below as it looks from here.
    fn seen(&self, there: Metadata) -> Metadata {
        match self.shared.upper().copies.get(&(there.device, there.inode)) {
            Some(copy) => copy.metadata(),
            None => there,
        }
    }

    /// Fails where no name can be made.
    fn check_parent(&self, op: &'static str, path: &Path) -> Result<()> {
        let parent = dir_of(path);
        match self.find(parent)? {
            found if found.is_dir() => Ok(()),
            Found::Nothing => Err(self.why_nothing(op, parent).unwrap_or_else(|| failed(op, path, Errno::NOENT))),
            _ => Err(failed(op, path, Errno::NOTDIR)),
        }
    }

    /// That a path leads nowhere may be because a file is in the way.
    fn why_nothing(&self, op: &'static str, path: &Path) -> Option<FsError> {
        let parent = path.parent()?;
        match self.find(parent).ok()? {
            Found::Nothing => self.why_nothing(op, parent),
            found if found.is_dir() => None,
            _ => Some(failed(op, path, Errno::NOTDIR)),
        }
    }

    fn not_found(&self, op: &'static str, path: &Path) -> FsError {
        self.why_nothing(op, path).unwrap_or_else(|| failed(op, path, Errno::NOENT))
    }

    /// Puts something at a path; `None`: there is nothing any more.
    fn put(&self, path: &Path, name: Option<Name>) -> Result<()> {
        let over = self.lower().metadata(path)?.as_ref().map(Mark::of);
        self.shared.upper().put(path, name, over);
        Ok(())
    }

    fn names_in(&self, dir: &Path) -> Result<BTreeMap<OsString, FileKind>> {
        let failed = |errno| failed("read directory", dir, errno);
        let mut names = BTreeMap::new();
        match self.find(dir)? {
            Found::Nothing => return Err(self.not_found("read directory", dir)),
            Found::Memory(_) => return Err(failed(Errno::NOTDIR)),
            Found::Dir(_) => {}
            Found::Lower(path, _) => {
                names.extend(self.lower().read_dir(&path)?.into_iter().map(|entry| (entry.name, entry.kind)));
            }
        }
        let upper = self.shared.upper();
        for (path, entry) in upper.names.iter().filter(|(path, _)| path.parent() == Some(dir)) {
            let Some(name) = path.file_name() else { continue };
            match &entry.name {
                Name::Gone => names.remove(name),
                Name::Dir(_) => names.insert(name.to_owned(), FileKind::Dir),
                Name::Memory(_) | Name::Lower(_) => names.insert(name.to_owned(), FileKind::File),
            };
        }
        Ok(names)
    }

    fn rename_file(&self, from: &Path, to: &Path, found: Found) -> Result<()> {
        let name = match found {
            Found::Memory(memory) => Name::Memory(memory),
            Found::Lower(path, _) => Name::Lower(path),
            Found::Nothing | Found::Dir(_) => return Err(failed("rename", from, Errno::NOENT)),
        };
        self.put(to, Some(name))?;
        self.put(from, None)
    }

    /// Only of a folder that was made here: nothing of the disk has to move.
    fn rename_dir(&self, from: &Path, to: &Path, metadata: Metadata) -> Result<()> {
        self.put(to, Some(Name::Dir(metadata)))?;
        self.put(from, None)?;
        self.shared.upper().move_below(from, to);
        Ok(())
    }

    fn rename_to(&self, from: &Path, to: &Path, may_replace: bool) -> Result<()> {
        let failed = |errno| two(from, to, errno);
        self.check_parent("rename", from)?;
        self.check_parent("rename", to)?;
        let found = self.find(from)?;
        if matches!(found, Found::Nothing) {
            return Err(failed(Errno::NOENT));
        }
        let there = self.find(to)?;
        if !may_replace && !matches!(there, Found::Nothing) {
            return Err(failed(Errno::EXIST));
        }
        if found.is_dir() && to.starts_with(from) && to != from {
            return Err(failed(Errno::INVAL));
        }
        match (&there, found.is_dir()) {
            (Found::Nothing, _) => {}
            _ if from == to => return Ok(()),
            _ if from.starts_with(to) => return Err(failed(Errno::NOTEMPTY)),
            (there, true) if !there.is_dir() => return Err(failed(Errno::NOTDIR)),
            (there, false) if there.is_dir() => return Err(failed(Errno::ISDIR)),
            (_, true) if !self.names_in(to)?.is_empty() => return Err(failed(Errno::NOTEMPTY)),
            _ => {}
        }
        match found {
            Found::Dir(metadata) => self.rename_dir(from, to, metadata),
            found if found.is_dir() => Err(failed(Errno::ROFS)),
            found if same_file(&found, &there) => Ok(()),
            found => self.rename_file(from, to, found),
        }
    }
}

/// Two names of one file: renaming one to the other does nothing, as everywhere.
fn same_file(a: &Found, b: &Found) -> bool {
    match (a, b) {
        (Found::Memory(a), Found::Memory(b)) => Arc::ptr_eq(a, b),
        (Found::Lower(_, a), Found::Lower(_, b)) => (a.device, a.inode) == (b.device, b.inode),
        _ => false,
    }
}

fn failed(op: &'static str, path: &Path, errno: Errno) -> FsError {
    FsError::new(op, path, errno.into())
}

fn two(from: &Path, to: &Path, errno: Errno) -> FsError {
    FsError::two_paths("rename", from, to, errno.into())
}

impl FileSystem for Overlay {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<FileHandle> {
        let writable = mode != OpenMode::Read;
        if let OpenMode::CreateNew { mode } = mode {
            let failed = |errno| failed("create", path, errno);
            self.check_parent("create", path)?;
            if !matches!(self.find(path)?, Found::Nothing) {
                return Err(failed(Errno::EXIST));
            }
            let memory = self.shared.upper().new_memory(mode, self.lower().now());
            self.put(path, Some(Name::Memory(Arc::clone(&memory))))?;
            return Ok(Arc::new(OverlayFile::made(&self.shared, path, memory, writable)));
        }
        match self.find(path)? {
            Found::Memory(memory) => Ok(Arc::new(OverlayFile::made(&self.shared, path, memory, writable))),
            Found::Nothing => Err(self.not_found("open", path)),
            found if writable && found.is_dir() => Err(failed("open", path, Errno::ISDIR)),
            Found::Dir(metadata) => {
                let memory = Memory::new(Vec::new(), metadata);
                Ok(Arc::new(OverlayFile::made(&self.shared, path, memory, writable)))
            }
            Found::Lower(lower, there) => {
                let (handle, is_locked_below) = self.open_lower(&lower, writable)?;
                let file = OverlayFile::lower(&self.shared, &lower, handle, &there, writable);
                Ok(Arc::new(file.locked_below(is_locked_below)))
            }
        }
    }

    fn metadata(&self, path: &Path) -> Result<Option<Metadata>> {
        Ok(match self.find(path)? {
            Found::Nothing => None,
            Found::Memory(memory) => Some(memory.metadata()),
            Found::Lower(_, there) => Some(self.seen(there)),
            Found::Dir(metadata) => Some(metadata),
        })
    }

    fn read_dir(&self, path: &Path) -> Result<Vec<DirEntry>> {
        Ok(self.names_in(path)?.into_iter().map(|(name, kind)| DirEntry { name, kind }).collect())
    }

    fn create_dir_as(&self, path: &Path, access: Access) -> Result<()> {
        self.check_parent("create directory", path)?;
        if !matches!(self.find(path)?, Found::Nothing) {
            return Err(failed("create directory", path, Errno::EXIST));
        }
        let mut metadata = self.shared.upper().new_metadata(FileKind::Dir, access.mode, self.lower().now());
        metadata.gid = access.gid.unwrap_or(metadata.gid);
        self.put(path, Some(Name::Dir(metadata)))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.rename_to(from, to, true)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> Result<()> {
        self.rename_to(from, to, false)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> Result<()> {
        let failed = |errno| FsError::two_paths("link", from, to, Errno::into(errno));
        self.check_parent("link", from)?;
        let found = self.find(from)?;
        if matches!(found, Found::Nothing) {
            return Err(failed(Errno::NOENT));
        }
        self.check_parent("link", to)?;
        if !matches!(self.find(to)?, Found::Nothing) {
            return Err(failed(Errno::EXIST));
        }
        match found {
            Found::Memory(memory) => self.put(to, Some(Name::Memory(memory))),
            found if found.is_dir() => Err(failed(Errno::PERM)),
            Found::Lower(path, _) => self.put(to, Some(Name::Lower(path))),
            Found::Nothing | Found::Dir(_) => Err(failed(Errno::PERM)),
        }
    }

    fn unlink(&self, path: &Path) -> Result<()> {
        match self.find(path)? {
            Found::Nothing => Err(self.not_found("unlink", path)),
            found if found.is_dir() => Err(failed("unlink", path, Errno::ISDIR)),
            _ => self.put(path, None),
        }
    }

    fn remove_dir(&self, path: &Path) -> Result<()> {
        let failed = |errno| failed("remove directory", path, errno);
        match self.find(path)? {
            Found::Nothing => Err(self.not_found("remove directory", path)),
            found if !found.is_dir() => Err(failed(Errno::NOTDIR)),
            _ if !self.names_in(path)?.is_empty() => Err(failed(Errno::NOTEMPTY)),
            _ => self.put(path, None),
        }
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        match self.find(path)? {
            Found::Nothing => Err(self.not_found("sync directory", path)),
            found if found.is_dir() => Ok(()),
            _ => Err(failed("sync directory", path, Errno::NOTDIR)),
        }
    }

    fn sync_many(&self, _files: &[FileHandle]) -> Result<()> {
        Ok(())
    }

    fn now(&self) -> SystemTime {
        self.lower().now()
    }

    fn monotonic(&self) -> Duration {
        self.lower().monotonic()
    }

    fn sleep(&self, duration: Duration) {
        self.lower().sleep(duration);
    }

    fn random(&self, buf: &mut [u8]) {
        self.lower().random(buf);
    }

    fn real_path(&self, path: &Path) -> Result<PathBuf> {
        match self.find(path)? {
            Found::Dir(_) => Ok(path.to_owned()),
            _ => self.lower().real_path(path),
        }
    }

    fn watch_dir(&self, path: &Path, wake: Wake) -> Result<Box<dyn Watch>> {
        if matches!(self.find(path)?, Found::Dir(_)) {
            return Ok(Box::new(NothingHappens));
        }
        self.lower().watch_dir(path, wake)
    }

    fn is_overlay(&self) -> bool {
        true
    }

    fn process_exists(&self, pid: u32) -> bool {
        self.lower().process_exists(pid)
    }

    fn process_id(&self) -> u32 {
        self.lower().process_id()
    }

    fn host_name(&self) -> String {
        self.lower().host_name()
    }
}

/// Nobody else sees a folder that is in memory.
#[derive(Debug)]
struct NothingHappens;

impl Watch for NothingHappens {}
