//! What saving and copying have in common: temporary files, links, files still to be synced, new identities.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::UNIX_EPOCH,
};

use mailfs::{FileHandle, FileSystem, OpenMode};
use mailtypes::Guid;

/// Seconds since 1970 as the files hold them.
pub(crate) fn unix_now(fs: &dyn FileSystem) -> u32 {
    let since = fs.now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

/// Sixteen random bytes that are not all zero.
pub(crate) fn new_guid(fs: &dyn FileSystem) -> Guid {
    loop {
        let mut bytes = [0; 16];
        fs.random(&mut bytes);
        let guid = Guid(bytes);
        if !guid.is_zero() {
            return guid;
        }
    }
}

/// A file that is removed when nobody has given it a name for good.
pub(crate) struct TempFile {
    fs: Arc<dyn FileSystem>,
    path: PathBuf,
    named: bool,
}

impl TempFile {
    pub(crate) fn new(fs: &Arc<dyn FileSystem>, path: PathBuf) -> Self {
        Self { fs: Arc::clone(fs), path, named: false }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file its name for good; fails if that is taken.
    pub(crate) fn rename_new(&mut self, to: &Path) -> mailfs::Result<()> {
        self.fs.rename_new(&self.path, to)?;
        self.named = true;
        Ok(())
    }

    /// Gives the file its name for good in the place of another file.
    pub(crate) fn replace(&mut self, to: &Path) -> mailfs::Result<()> {
        self.fs.rename(&self.path, to)?;
        self.named = true;
        Ok(())
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.named {
            // One that cannot be removed is cleaned up after 36 hours.
            let _ = self.fs.unlink(&self.path);
        }
    }
}

/// Bytes copied at once where a link cannot be made.
const COPY_LEN: usize = 256 << 10;

/// Gives a file that is not changed any more a further name, which must be free; where links cannot be made, a copy,
/// durable as far as its data goes, that `create_temp` makes the file for.
pub(crate) fn link_or_copy(
    fs: &dyn FileSystem,
    from: &Path,
    to: &Path,
    create_temp: impl FnOnce() -> mailfs::Result<(PathBuf, FileHandle)>,
) -> mailfs::Result<()> {
    match fs.hard_link(from, to) {
        Err(e) if e.is_already_exists() || e.is_not_found() => Err(e),
        // Another file system, too many links, or no links at all.
        Err(_) => copy_file(fs, from, to, create_temp),
        Ok(()) => Ok(()),
    }
}

fn copy_file(
    fs: &dyn FileSystem,
    from: &Path,
    to: &Path,
    create_temp: impl FnOnce() -> mailfs::Result<(PathBuf, FileHandle)>,
) -> mailfs::Result<()> {
    let source = fs.open(from, OpenMode::Read)?;
    let modified = source.metadata()?.modified;
    let (temp, target) = create_temp()?;
    let copied = (|| {
        let mut buffer = vec![0; COPY_LEN];
        let mut offset = 0;
        loop {
            let read = source.read_at(&mut buffer, offset)?;
            if read == 0 {
                break;
            }
            target.write_at(buffer.get(..read).unwrap_or_default(), offset)?;
            offset += read as u64;
        }
        target.set_modified(modified)?;
        target.sync_data()?;
        fs.rename_new(&temp, to)
    })();
    if copied.is_err() {
        // The first failure is what matters; what stays is cleaned up in time.
        let _ = fs.unlink(&temp);
    }
    copied
}

/// Messages taken in whose files are kept open for the commit to sync all at once. What comes beyond is synced one by
/// one and closed: a batch may have more messages than a process may have files open.
const OPEN_SAVED_MAX: usize = 256;

/// A file that is still to be synced, counted.
pub(crate) struct Unsynced {
    pub(crate) file: FileHandle,
    open: Arc<AtomicUsize>,
}

impl Unsynced {
    /// Keeps the file open, or makes its data durable now.
    pub(crate) fn keep_or_sync(file: FileHandle, open: &Arc<AtomicUsize>, sync: bool) -> mailfs::Result<Option<Self>> {
        if open.fetch_add(1, Ordering::Relaxed) < OPEN_SAVED_MAX {
            return Ok(Some(Self { file, open: Arc::clone(open) }));
        }
        open.fetch_sub(1, Ordering::Relaxed);
        if sync {
            file.sync_data()?;
        }
        Ok(None)
    }
}

impl Drop for Unsynced {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::Relaxed);
    }
}
