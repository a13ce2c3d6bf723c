//! The calls that everything above is made of.

use std::{
    fmt,
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{Access, FsError, Result, host};

/// The bits of a mode that are permissions.
pub(crate) const MODE_BITS: u32 = 0o7777;

/// How to open a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OpenMode {
    /// Existing file, reading only.
    Read,
    /// Existing file, reading and writing.
    ReadWrite,
    /// Existing file, reading and adding: whatever is written goes to the end, wherever that is by then (`O_APPEND`). To be
    /// written at the length that was found.
    Append,
    /// New file, reading and writing; fails when the name exists (`O_EXCL`). The mode is subject to no umask.
    CreateNew {
        /// Permission bits of the new file, such as `0o600`.
        mode: u32,
    },
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link (only told by [`FileSystem::read_dir`]; other calls follow links).
    Symlink,
    /// Anything else.
    Other,
}

/// What `stat` tells, as far as a mail store cares.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Metadata {
    /// Device number; with `inode` the identity of the file.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Bytes.
    pub len: u64,
    /// What it is.
    pub kind: FileKind,
    /// Permission bits (`0o7777`).
    pub mode: u32,
    /// Owning user.
    pub uid: u32,
    /// Owning group.
    pub gid: u32,
    /// Hard links.
    pub links: u64,
    /// Time of last modification.
    pub modified: SystemTime,
    /// Time of last inode change.
    pub changed: SystemTime,
}

/// One name in a directory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DirEntry {
    /// The name, without the directory.
    pub name: std::ffi::OsString,
    /// What it stands for, links not followed.
    pub kind: FileKind,
}

/// Which record lock.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LockKind {
    /// Many at once.
    Shared,
    /// One alone.
    Exclusive,
}

/// An open file. Closing is dropping; a close releases the handle's lock.
pub trait File: Send + Sync + fmt::Debug {
    /// Reads up to `buf.len()` bytes at `offset`; fewer only at the end of the file. Never moves a position.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize>;
    /// Writes all of `data` at `offset`. On failure part of it may be there.
    fn write_at(&self, data: &[u8], offset: u64) -> Result<()>;
    /// Cuts or grows (with zeros) the file.
    fn set_len(&self, len: u64) -> Result<()>;
    /// Makes data (and what is needed to read it) durable: `fdatasync`.
    fn sync_data(&self) -> Result<()>;
    /// `fstat`.
    fn metadata(&self) -> Result<Metadata>;
    /// Tries to take a whole-file open-file-description lock; `false` when somebody else holds it. Never waits.
    fn try_lock(&self, kind: LockKind) -> Result<bool>;
    /// Takes that lock, waiting in the kernel for as long as it takes; `false` where that cannot be done.
    fn lock_waiting(&self, _kind: LockKind) -> Result<bool> {
        Ok(false)
    }
    /// Gives the lock back.
    fn unlock(&self) -> Result<()>;
    /// Tries to take the exclusive lock of the `flock` family, which Dovecot has on `m.<id>` files and which record locks
    /// know nothing of; `false` when another handle has it. Never waits.
    fn try_flock(&self) -> Result<bool>;
    /// Gives that lock back.
    fn unflock(&self) -> Result<()>;
    /// Sets permission bits and group, best effort for the group (`docs/formats/locking.md`, Permissions).
    fn set_permissions(&self, mode: u32, gid: Option<u32>) -> Result<()>;
    /// Sets the time of last modification, which the next write sets again.
    fn set_modified(&self, time: SystemTime) -> Result<()>;
    /// The descriptor, of a file that has one; for maps.
    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
    /// Length in bytes, by `fstat`.
    fn len(&self) -> Result<u64> {
        Ok(self.metadata()?.len)
    }
    /// Whether the file has no bytes.
    fn is_empty(&self) -> Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// A shared handle.
pub type FileHandle = Arc<dyn File>;

/// What a watcher calls when something happened; called from a thread of the file system, must not block.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// A watch in force; dropping it ends it.
pub trait Watch: Send + Sync + fmt::Debug {}

/// A file system: the real one or a simulated one.
pub trait FileSystem: Send + Sync + fmt::Debug {
    /// Opens or creates a file.
    fn open(&self, path: &Path, mode: OpenMode) -> Result<FileHandle>;
    /// Opens an existing file for reading if the last level of its path is no symbolic link, and fails if it is (`O_NOFOLLOW`).
    /// A file system without links opens it.
    fn open_no_link(&self, path: &Path) -> Result<FileHandle> {
        self.open(path, OpenMode::Read)
    }
    /// `stat`, links followed; `None` when there is nothing, be it that a directory on the way is missing or is a file.
    fn metadata(&self, path: &Path) -> Result<Option<Metadata>>;
    /// All names in a directory but `.` and `..`, in no order.
    fn read_dir(&self, path: &Path) -> Result<Vec<DirEntry>>;
    /// Makes one directory of the process's own group; fails when the name exists.
    fn create_dir(&self, path: &Path, mode: u32) -> Result<()> {
        self.create_dir_as(path, mode.into())
    }
    /// Makes one directory; fails when the name exists. A group that the process may not give away is passed over.
    fn create_dir_as(&self, path: &Path, access: Access) -> Result<()>;
    /// Renames, replacing a file that has the new name.
    fn rename(&self, from: &Path, to: &Path) -> Result<()>;
    /// Renames; fails with `AlreadyExists` rather than replace anything.
    fn rename_new(&self, from: &Path, to: &Path) -> Result<()>;
    /// Gives a file a second name; fails with `AlreadyExists` when it is taken.
    fn hard_link(&self, from: &Path, to: &Path) -> Result<()>;
    /// Makes a symbolic link, whose target need not be there; fails with `AlreadyExists` when its name is taken. A file
    /// system may have none, and say so.
    fn symlink(&self, _target: &Path, link: &Path) -> Result<()> {
        Err(FsError::new("make link", link, std::io::ErrorKind::Unsupported.into()))
    }
    /// Removes a name.
    fn unlink(&self, path: &Path) -> Result<()>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &Path) -> Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> Result<()>;
    /// Makes many files' data durable at once, whichever way is fastest; all are durable when it returns `Ok`.
    fn sync_many(&self, files: &[FileHandle]) -> Result<()>;
    /// Wall-clock time.
    fn now(&self) -> SystemTime;
    /// Time since an arbitrary start, which never goes back.
    fn monotonic(&self) -> Duration;
    /// Waits; the simulated disk only advances its clock.
    fn sleep(&self, duration: Duration);
    /// Fills `buf` with random bytes (GUIDs, temporary names).
    fn random(&self, buf: &mut [u8]);
    /// Calls `wake` after names or contents in the directory change. May call too often, never too rarely.
    fn watch_dir(&self, path: &Path, wake: Wake) -> Result<Box<dyn Watch>>;
    /// The path of what is there with links resolved; the same path where there are no links.
    fn real_path(&self, path: &Path) -> Result<PathBuf> {
        Ok(path.to_owned())
    }
    /// Whether [`File::lock_waiting`] can be used.
    fn waits_for_locks(&self) -> bool {
        false
    }
    /// The same disk, read so that times of access stay as they are where the system grants it (who owns a file may do
    /// so); `None` where there is no such way.
    fn keeping_atime(&self) -> Option<Arc<dyn FileSystem>> {
        None
    }
    /// Whether what is written reaches no disk: see [`Overlay`](crate::Overlay).
    fn is_overlay(&self) -> bool {
        false
    }
    /// Whether a process of this host exists, as far as one may know; for stale dotlocks.
    fn process_exists(&self, pid: u32) -> bool {
        host::process_exists(pid)
    }
    /// The number of this process, as it stands in dotlocks.
    fn process_id(&self) -> u32 {
        std::process::id()
    }
    /// The name of this host as it stands in dotlocks: `DOVECOT_HOSTNAME`, else the system's.
    fn host_name(&self) -> String {
        host::host_name()
    }
}
