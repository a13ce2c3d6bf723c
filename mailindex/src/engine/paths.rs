//! The names of one mailbox's index files, and the rights they get.

use std::path::{Path, PathBuf};

use mailfs::{FileHandle, FileSystem, OpenMode, Result};

/// Rights of files where the folder's cannot be read.
const MODE_DEFAULT: u32 = 0o600;

/// The bits of a folder's mode that its files take over: those for reading and writing.
const MODE_MASK: u32 = 0o666;

/// The file names of an index, all in one folder.
#[derive(Clone, Debug)]
pub(super) struct Paths {
    pub(super) dir: PathBuf,
    /// The live log.
    pub(super) log: PathBuf,
    /// The log before it.
    pub(super) log2: PathBuf,
    /// The next log while it is being made; a lock at the same time.
    pub(super) newlock: PathBuf,
    /// The snapshot.
    pub(super) index: PathBuf,
    pub(super) backup: PathBuf,
    pub(super) backup_tmp: PathBuf,
    pub(super) cache: PathBuf,
}

impl Paths {
    pub(super) fn new(dir: &Path, prefix: &str) -> Self {
        let name = |suffix: &str| dir.join(format!("{prefix}{suffix}"));
        Self {
            dir: dir.to_owned(),
            log: name(".log"),
            log2: name(".log.2"),
            newlock: name(".log.newlock"),
            index: dir.join(prefix),
            backup: name(".backup"),
            backup_tmp: name(".backup.tmp"),
            cache: name(".cache"),
        }
    }

    /// A temporary name of ours, for something that becomes `what`.
    pub(super) fn temp(&self, what: &str, random: u64) -> PathBuf {
        self.dir.join(format!("culver.{what}.{random:016x}.tmp"))
    }

    /// Makes a new file with the rights of the folder (`docs/formats/locking.md`, Permissions).
    pub(super) fn create(&self, fs: &dyn FileSystem, path: &Path) -> Result<FileHandle> {
        let folder = fs.metadata(&self.dir)?;
        let mode = folder.map_or(MODE_DEFAULT, |m| m.mode & MODE_MASK);
        let file = fs.open(path, OpenMode::CreateNew { mode })?;
        if let Some(folder) = folder
            && folder.mode & 0o070 != 0
        {
            // Best effort: a user who is not in the folder's group cannot give files to it.
            let _ = file.set_permissions(mode, Some(folder.gid));
        }
        Ok(file)
    }
}
