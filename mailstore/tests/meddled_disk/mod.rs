//! A disk on which somebody does something between two calls of the store's.

use std::{
    fmt::Debug,
    path::Path,
    time::{Duration, SystemTime},
};

use mailfs::{Access, DirEntry, FileHandle, FileSystem, Metadata, OpenMode, Wake, Watch};

/// Who does something, and to which disk.
pub(crate) trait Meddler: Debug + Send + Sync {
    fn disk(&self) -> &dyn FileSystem;

    /// A folder was read; what is left of the entries is what the store sees.
    fn has_read(&self, _dir: &Path, _entries: &mut Vec<DirEntry>) {}

    /// A name is about to be changed.
    fn renames(&self, _from: &Path, _to: &Path) -> mailfs::Result<()> {
        Ok(())
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct MeddledDisk<M>(pub(crate) M);

impl<M: Meddler> FileSystem for MeddledDisk<M> {
    fn open(&self, path: &Path, mode: OpenMode) -> mailfs::Result<FileHandle> {
        self.0.disk().open(path, mode)
    }
    fn metadata(&self, path: &Path) -> mailfs::Result<Option<Metadata>> {
        self.0.disk().metadata(path)
    }
    fn read_dir(&self, path: &Path) -> mailfs::Result<Vec<DirEntry>> {
        let mut entries = self.0.disk().read_dir(path)?;
        self.0.has_read(path, &mut entries);
        Ok(entries)
    }
    fn create_dir_as(&self, path: &Path, access: Access) -> mailfs::Result<()> {
        self.0.disk().create_dir_as(path, access)
    }
    fn rename(&self, from: &Path, to: &Path) -> mailfs::Result<()> {
        self.0.renames(from, to)?;
        self.0.disk().rename(from, to)
    }
    fn rename_new(&self, from: &Path, to: &Path) -> mailfs::Result<()> {
        self.0.disk().rename_new(from, to)
    }
    fn hard_link(&self, from: &Path, to: &Path) -> mailfs::Result<()> {
        self.0.disk().hard_link(from, to)
    }
    fn unlink(&self, path: &Path) -> mailfs::Result<()> {
        self.0.disk().unlink(path)
    }
    fn remove_dir(&self, path: &Path) -> mailfs::Result<()> {
        self.0.disk().remove_dir(path)
    }
    fn sync_dir(&self, path: &Path) -> mailfs::Result<()> {
        self.0.disk().sync_dir(path)
    }
    fn sync_many(&self, files: &[FileHandle]) -> mailfs::Result<()> {
        self.0.disk().sync_many(files)
    }
    fn now(&self) -> SystemTime {
        self.0.disk().now()
    }
    fn monotonic(&self) -> Duration {
        self.0.disk().monotonic()
    }
    fn sleep(&self, duration: Duration) {
        self.0.disk().sleep(duration);
    }
    fn random(&self, buf: &mut [u8]) {
        self.0.disk().random(buf);
    }
    fn watch_dir(&self, path: &Path, wake: Wake) -> mailfs::Result<Box<dyn Watch>> {
        self.0.disk().watch_dir(path, wake)
    }
}
