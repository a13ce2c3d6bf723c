//! Tests of the disks, the real and the simulated one, from outside.
#![allow(missing_docs, reason = "tests")]

mod contract;
mod crashes;
mod dotlocks;
mod faults;
mod foreign_locks;
mod lock_waiting;
mod overlays;
mod runners;
mod same_results;
mod transfers;
mod watches;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use mailfs::{FileHandle, FileSystem, OpenMode, RealDisk, sim::SimDisk};

/// A disk and a directory on it that is there and empty.
struct Place {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    _temp: Option<tempfile::TempDir>,
}

impl Place {
    fn real() -> Self {
        let temp = tempfile::tempdir().expect("temporary directory");
        Self { fs: Arc::new(RealDisk::new()), dir: temp.path().to_owned(), _temp: Some(temp) }
    }

    fn simulated() -> Self {
        Self { fs: SimDisk::new().as_file_system(), dir: PathBuf::from("/"), _temp: None }
    }

    fn both() -> [Self; 2] {
        [Self::real(), Self::simulated()]
    }

    fn is_simulated(&self) -> bool {
        self._temp.is_none()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn create(&self, name: &str, data: &[u8]) -> FileHandle {
        create(&*self.fs, &self.path(name), data)
    }
}

fn create(fs: &dyn FileSystem, path: &Path, data: &[u8]) -> FileHandle {
    let file = fs.open(path, OpenMode::CreateNew { mode: 0o600 }).expect("create");
    file.write_at(data, 0).expect("write");
    file
}
