//! The real disk: Linux system calls behind [`FileSystem`].
//!
//! Every descriptor is close-on-exec. Interrupted and short calls are continued here, so that nobody above knows of them.
//! Nothing is cached, so any number of `RealDisk`s in a process are as good as one; one shares the watch thread.

mod file;
mod quiet;
mod watch;

use std::{
    fs,
    hash::{BuildHasher, Hasher, RandomState},
    io,
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt, lchown},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use rustix::{
    fs::{CWD, OFlags, RenameFlags, renameat_with},
    rand::{GetRandomFlags, getrandom},
};

use self::{file::RealFile, watch::Watcher};
use crate::{
    Access, DirEntry, FileHandle, FileKind, FileSystem, FsError, Metadata, OpenMode, Result, Wake, Watch,
    file_system::MODE_BITS,
};

/// Numbers one may want otherwise.
#[derive(Clone, Copy, Debug)]
pub struct RealDiskOptions {
    /// How many threads at most [`FileSystem::sync_many`] uses, the caller's included.
    pub sync_thread_count_max: usize,
    /// How often a watch wakes its owner where the kernel cannot tell of changes (no inotify, or its limits reached).
    pub watch_poll_interval: Duration,
    /// Whether reading leaves the times of access of files and folders as they are, where the system grants it: who owns
    /// them, or is root, may ask for that.
    pub keep_atime: bool,
}

impl Default for RealDiskOptions {
    fn default() -> Self {
        Self { sync_thread_count_max: 8, watch_poll_interval: Duration::from_secs(1), keep_atime: false }
    }
}

/// The file system of the machine.
#[derive(Debug)]
pub struct RealDisk {
    options: RealDiskOptions,
    start: Instant,
    watcher: OnceLock<Arc<Watcher>>,
}

impl Default for RealDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl RealDisk {
    /// With default numbers. Costs nothing until used.
    pub fn new() -> Self {
        Self::with_options(RealDiskOptions::default())
    }

    /// With the numbers given.
    pub fn with_options(options: RealDiskOptions) -> Self {
        Self { options, start: Instant::now(), watcher: OnceLock::new() }
    }
}

impl FileSystem for RealDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<FileHandle> {
        let mut options = fs::OpenOptions::new();
        options.read(true);
        // A pipe or a terminal that lies where a file should must not stop us; regular files do not care.
        let flags = OFlags::NOCTTY | OFlags::NONBLOCK;
        match mode {
            OpenMode::Read => {}
            OpenMode::ReadWrite => {
                options.write(true);
            }
            OpenMode::Append => {
                options.append(true);
            }
            OpenMode::CreateNew { mode } => {
                options.write(true).create_new(true).mode(mode & MODE_BITS);
            }
        }
        let mut open = |flags: OFlags| {
            options.custom_flags(flags.bits().cast_signed());
            retry(|| options.open(path))
        };
        let (op, file) = match mode {
            OpenMode::CreateNew { .. } => ("create", open(flags)),
            OpenMode::Read | OpenMode::ReadWrite if self.options.keep_atime => {
                // Refused to who does not own the file; whether it is that, or may not be opened at all, tells the second.
                let kept = open(flags | OFlags::NOATIME);
                let refused = kept.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::PermissionDenied);
                ("open", if refused { open(flags) } else { kept })
            }
            OpenMode::Read | OpenMode::ReadWrite | OpenMode::Append => ("open", open(flags)),
        };
        let file = file.map_err(|e| FsError::new(op, path, e))?;
        if let OpenMode::CreateNew { mode } = mode {
            undo_umask(&file, mode).map_err(|e| FsError::new("set permissions of", path, e))?;
        }
        Ok(Arc::new(RealFile::new(file, path)))
    }

    fn open_no_link(&self, path: &Path) -> Result<FileHandle> {
        let mut options = fs::OpenOptions::new();
        let flags = OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::NOFOLLOW;
        options.read(true).custom_flags(flags.bits().cast_signed());
        let file = retry(|| options.open(path)).map_err(|e| FsError::new("open", path, e))?;
        Ok(Arc::new(RealFile::new(file, path)))
    }

    fn metadata(&self, path: &Path) -> Result<Option<Metadata>> {
        match retry(|| fs::metadata(path)) {
            Ok(metadata) => Ok(Some(metadata_of(&metadata))),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(FsError::new("stat", path, e)),
        }
    }

    fn read_dir(&self, path: &Path) -> Result<Vec<DirEntry>> {
        let failed = |e| FsError::new("read directory", path, e);
        if self.options.keep_atime
            && let Some(entries) = quiet::read_dir(path).map_err(failed)?
        {
            return Ok(entries);
        }
        let mut entries = Vec::new();
        for entry in retry(|| fs::read_dir(path)).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            match entry.file_type() {
                Ok(kind) => entries.push(DirEntry { name: entry.file_name(), kind: kind_of(kind) }),
                // Removed between being listed and being looked at.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(failed(e)),
            }
        }
        Ok(entries)
    }

    fn create_dir_as(&self, path: &Path, access: Access) -> Result<()> {
        let failed = |e| FsError::new("create directory", path, e);
        let mode = access.mode & MODE_BITS;
        fs::DirBuilder::new().mode(mode).create(path).map_err(failed)?;
        let made = fs::metadata(path).map_err(failed)?;
        let gid = access.gid.filter(|gid| *gid != u32::MAX && *gid != made.gid());
        if gid.is_some() {
            // A process may give directories only to groups it is in; Dovecot goes on without, and so do we.
            let _ = lchown(path, None, gid);
        }
        let now = made.mode() & MODE_BITS;
        // What the parent's setgid bit gave stays. The change of group may have cleared bits.
        let wanted = mode | (now & SETGID);
        if now != wanted || gid.is_some() {
            fs::set_permissions(path, fs::Permissions::from_mode(wanted)).map_err(failed)?;
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        retry(|| fs::rename(from, to)).map_err(|e| FsError::two_paths("rename", from, to, e))
    }

    fn rename_new(&self, from: &Path, to: &Path) -> Result<()> {
        let renamed = retry(|| Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?));
        match renamed {
            // EINVAL is the answer of file systems without the flag, and of a directory moved into itself, which
            // fails the second way too.
            Err(e) if is_unsupported(&e) => rename_new_in_two_steps(from, to),
            other => other,
        }
        .map_err(|e| FsError::two_paths("rename", from, to, e))
    }

    fn hard_link(&self, from: &Path, to: &Path) -> Result<()> {
        retry(|| fs::hard_link(from, to)).map_err(|e| FsError::two_paths("link", from, to, e))
    }

    fn symlink(&self, target: &Path, link: &Path) -> Result<()> {
        std::os::unix::fs::symlink(target, link).map_err(|e| FsError::new("make link", link, e))
    }

    fn unlink(&self, path: &Path) -> Result<()> {
        retry(|| fs::remove_file(path)).map_err(|e| FsError::new("unlink", path, e))
    }

    fn remove_dir(&self, path: &Path) -> Result<()> {
        retry(|| fs::remove_dir(path)).map_err(|e| FsError::new("remove directory", path, e))
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        let failed = |e| FsError::new("sync directory", path, e);
        let mut options = fs::OpenOptions::new();
        options.read(true).custom_flags(OFlags::DIRECTORY.bits().cast_signed());
        let dir = retry(|| options.open(path)).map_err(failed)?;
        match retry(|| dir.sync_all()) {
            // Some network file systems have no such thing as syncing a directory: names are the server's matter.
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => Ok(()),
            other => other.map_err(failed),
        }
    }

    fn sync_many(&self, files: &[FileHandle]) -> Result<()> {
        match files {
            [] => Ok(()),
            [file] => file.sync_data(),
            many => sync_parallel(many, self.options.sync_thread_count_max),
        }
    }

    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, duration: Duration) {
        thread::sleep(duration);
    }

    fn random(&self, buf: &mut [u8]) {
        fill_random(buf);
    }

    fn watch_dir(&self, path: &Path, wake: Wake) -> Result<Box<dyn Watch>> {
        let watcher = self.watcher.get_or_init(|| Watcher::new(self.options.watch_poll_interval));
        watcher.watch(path, wake)
    }

    fn real_path(&self, path: &Path) -> Result<PathBuf> {
        retry(|| std::fs::canonicalize(path)).map_err(|e| FsError::new("resolve", path, e))
    }

    fn waits_for_locks(&self) -> bool {
        true
    }

    fn keeping_atime(&self) -> Option<Arc<dyn FileSystem>> {
        Some(Arc::new(Self::with_options(RealDiskOptions { keep_atime: true, ..self.options })))
    }
}

/// The set-group-id bit of a mode.
const SETGID: u32 = 0o2000;

fn retry<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            other => return other,
        }
    }
}

fn undo_umask(file: &fs::File, mode: u32) -> io::Result<()> {
    let mode = mode & MODE_BITS;
    if file.metadata()?.mode() & MODE_BITS != mode {
        file.set_permissions(fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

fn is_unsupported(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported)
}

/// Without `RENAME_NOREPLACE`: a link or a new directory claims the name, as both fail where it is taken.
fn rename_new_in_two_steps(from: &Path, to: &Path) -> io::Result<()> {
    if fs::symlink_metadata(from)?.is_dir() {
        fs::create_dir(to)?;
        return fs::rename(from, to).inspect_err(|_| {
            // Ours and empty; left behind it would only be an empty folder.
            let _ = fs::remove_dir(to);
        });
    }
    fs::hard_link(from, to)?;
    fs::remove_file(from)
}

/// Syncs on up to `thread_count_max` threads. Tries all, and tells the first failure.
fn sync_parallel(files: &[FileHandle], thread_count_max: usize) -> Result<()> {
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let work = || {
        while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
            if let Err(e) = file.sync_data() {
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(e);
            }
        }
    };
    thread::scope(|scope| {
        for _ in 1..files.len().min(thread_count_max) {
            if thread::Builder::new().name("mailfs-sync".into()).spawn_scoped(scope, work).is_err() {
                break; // no thread to be had: those there are, and this one, do it
            }
        }
        work();
    });
    match failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(e) => Err(e),
        None => Ok(()),
    }
}

fn fill_random(buf: &mut [u8]) {
    let mut rest = buf;
    while !rest.is_empty() {
        match getrandom(&mut *rest, GetRandomFlags::empty()) {
            Ok(filled) => rest = rest.get_mut(filled..).unwrap_or_default(),
            Err(rustix::io::Errno::INTR) => {}
            // Forbidden by a sandbox: the standard library's hash keys come from the system too, by other ways.
            Err(_) => {
                for chunk in rest.chunks_mut(8) {
                    let bytes = RandomState::new().build_hasher().finish().to_le_bytes();
                    for (to, from) in chunk.iter_mut().zip(bytes) {
                        *to = from;
                    }
                }
                return;
            }
        }
    }
}

fn kind_of(kind: fs::FileType) -> FileKind {
    if kind.is_file() {
        FileKind::File
    } else if kind.is_dir() {
        FileKind::Dir
    } else if kind.is_symlink() {
        FileKind::Symlink
    } else {
        debug_assert!(kind.is_fifo() || kind.is_socket() || kind.is_block_device() || kind.is_char_device());
        FileKind::Other
    }
}

fn metadata_of(metadata: &fs::Metadata) -> Metadata {
    Metadata {
        device: metadata.dev(),
        inode: metadata.ino(),
        len: metadata.size(),
        kind: kind_of(metadata.file_type()),
        mode: metadata.mode() & MODE_BITS,
        uid: metadata.uid(),
        gid: metadata.gid(),
        links: metadata.nlink(),
        modified: time_of(metadata.mtime(), metadata.mtime_nsec()),
        changed: time_of(metadata.ctime(), metadata.ctime_nsec()),
    }
}

fn time_of(seconds: i64, nanoseconds: i64) -> SystemTime {
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let base =
        if seconds < 0 { SystemTime::UNIX_EPOCH.checked_sub(whole) } else { SystemTime::UNIX_EPOCH.checked_add(whole) };
    let fraction = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(0));
    base.and_then(|t| t.checked_add(fraction)).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        FileSystemExt,
        sim::{CrashChoice, Fault, SimDisk},
    };

    #[test]
    fn interrupted_calls_are_continued() {
        let mut left = 3;
        let result = retry(|| {
            left -= 1;
            if left > 0 { Err(io::ErrorKind::Interrupted.into()) } else { Ok(left) }
        });
        assert_eq!(result.expect("continued"), 0);
    }

    #[test]
    fn without_the_flag_a_rename_still_replaces_nothing() {
        let temp = tempfile::tempdir().expect("temporary directory");
        let path = |name: &str| temp.path().join(name);
        fs::write(path("f"), "f").expect("write");
        fs::write(path("g"), "g").expect("write");
        fs::create_dir_all(path("d/below")).expect("mkdir");
        fs::create_dir(path("e")).expect("mkdir");
        let taken = |from: &str, to: &str| {
            let error = rename_new_in_two_steps(&path(from), &path(to)).expect_err("taken");
            assert_eq!(error.kind(), io::ErrorKind::AlreadyExists, "{from} to {to}");
        };
        taken("f", "g");
        taken("f", "e");
        taken("d", "e");
        taken("d", "g");
        assert_eq!(fs::read(path("g")).expect("read"), b"g");
        rename_new_in_two_steps(&path("f"), &path("h")).expect("free");
        rename_new_in_two_steps(&path("d"), &path("i")).expect("free");
        assert!(!path("f").exists() && !path("d").exists());
        assert_eq!(fs::read(path("h")).expect("read"), b"f");
        assert!(path("i/below").exists());
        assert!(rename_new_in_two_steps(&path("i"), &path("i/below/j")).is_err());
        assert!(!path("i/below/j").exists(), "what it made it removes");
    }

    #[test]
    fn a_failed_sync_among_many_is_told_and_the_others_are_synced() {
        let disk = SimDisk::new();
        let create = |n: usize| {
            let path = format!("/f{n}");
            let file = disk.open(Path::new(&path), OpenMode::CreateNew { mode: 0o600 }).expect("create");
            file.write_at(b"data", 0).expect("write");
            file
        };
        let files: Vec<FileHandle> = (0..9).map(create).collect();
        disk.sync_dir(Path::new("/")).expect("sync");
        disk.fail_call(3, Fault::Io);
        assert_eq!(sync_parallel(&files, 3).expect_err("one failed").op, "sync");
        let after = disk.crash(CrashChoice::DropAll);
        let whole = |n: &usize| after.read_all(Path::new(&format!("/f{n}")), 9).expect("read") == b"data";
        assert_eq!((0..9).filter(whole).count(), 8);
    }

    #[test]
    fn times_before_the_epoch_are_times() {
        let before = SystemTime::UNIX_EPOCH - Duration::from_millis(1500);
        assert_eq!(time_of(-2, 500_000_000), before);
        assert_eq!(time_of(1, 5), SystemTime::UNIX_EPOCH + Duration::new(1, 5));
        assert_eq!(time_of(i64::MIN, 0), time_of(i64::MIN, 0), "whatever it is, no panic");
    }
}
