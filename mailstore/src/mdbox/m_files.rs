//! The files of messages, `m.<id>`, wherever they lie.

use std::{
    collections::VecDeque,
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use mailfs::{FileHandle, FileSystem, FileSystemExt, OpenMode};

use super::map_state::FileId;
use crate::{
    dbox::{DboxError, FileHeader},
    mailbox_list::Rights,
};

/// What stands before the number in a file's name.
const NAME_PREFIX: &str = "m.";

/// What names of files on their way in begin with; Dovecot cleans up after us if we do not.
const TEMP_PREFIX: &str = ".temp.";

/// Temporary files of that age belong to nobody any more.
const TEMP_AGE_MAX: Duration = Duration::from_secs(36 * 3600);

/// Files kept open for reading.
const OPEN_MAX: usize = 8;

/// A file of messages, open for reading, its header read.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) handle: FileHandle,
    pub(crate) header: FileHeader,
    pub(crate) path: PathBuf,
}

/// Which files are open, and since when: a rebuild makes files anew under their old names.
#[derive(Default)]
struct Opened {
    rebuild_count: u32,
    files: VecDeque<(FileId, Arc<OpenFile>)>,
}

/// Where a file of messages is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Storage {
    /// Where new files are made.
    Primary,
    /// In alternate storage.
    Alternate,
}

/// All files of a store.
pub(crate) struct MFiles {
    fs: Arc<dyn FileSystem>,
    primary: PathBuf,
    alt: Option<PathBuf>,
    opened: Mutex<Opened>,
}

impl MFiles {
    pub(super) fn new(fs: &Arc<dyn FileSystem>, primary: PathBuf, alt: Option<PathBuf>) -> Self {
        Self { fs: Arc::clone(fs), primary, alt, opened: Mutex::default() }
    }

    /// Where new files are made.
    pub(crate) fn dir(&self) -> &Path {
        &self.primary
    }

    /// The folders that files lie in, the one that is looked into first, first.
    pub(crate) fn dirs(&self) -> impl Iterator<Item = &Path> {
        std::iter::once(&*self.primary).chain(self.alt.as_deref())
    }

    /// A file's path where new ones are made.
    pub(crate) fn path(&self, id: FileId) -> PathBuf {
        path_in(&self.primary, id)
    }

    /// The folder of one of the storages, if there is one.
    pub(crate) fn dir_of(&self, storage: Storage) -> Option<&Path> {
        match storage {
            Storage::Primary => Some(&self.primary),
            Storage::Alternate => self.alt.as_deref(),
        }
    }

    /// A file's path in one of the storages.
    pub(crate) fn path_of(&self, storage: Storage, id: FileId) -> Option<PathBuf> {
        Some(path_in(self.dir_of(storage)?, id))
    }

    /// Where a file is.
    pub(crate) fn find(&self, id: FileId) -> mailfs::Result<Option<(PathBuf, Storage)>> {
        for storage in [Storage::Primary, Storage::Alternate] {
            let Some(path) = self.path_of(storage, id) else { continue };
            if self.fs.exists(&path)? {
                return Ok(Some((path, storage)));
            }
        }
        Ok(None)
    }

    /// Opens a file wherever it lies, or has it open. `rebuild_count`: the map's.
    pub(crate) fn open(&self, id: FileId, rebuild_count: u32) -> Result<Arc<OpenFile>, DboxError> {
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if opened.rebuild_count != rebuild_count {
            *opened = Opened { rebuild_count, files: VecDeque::new() };
        }
        if let Some((_, file)) = opened.files.iter().find(|(there, _)| *there == id) {
            return Ok(Arc::clone(file));
        }
        drop(opened);
        let file = Arc::new(self.open_anew(id)?);
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if opened.rebuild_count == rebuild_count && opened.files.iter().all(|(there, _)| *there != id) {
            opened.files.truncate(OPEN_MAX - 1);
            opened.files.push_front((id, Arc::clone(&file)));
        }
        Ok(file)
    }

    fn open_anew(&self, id: FileId) -> Result<OpenFile, DboxError> {
        let mut missing = None;
        for dir in self.dirs() {
            let path = path_in(dir, id);
            match self.fs.open(&path, OpenMode::Read) {
                Ok(handle) => {
                    let header = read_header(&handle)?;
                    return Ok(OpenFile { handle, header, path });
                }
                Err(e) if e.is_not_found() => missing = missing.or(Some(e)),
                Err(e) => return Err(e.into()),
            }
        }
        Err(missing.map_or(DboxError::damaged(0, "there is no place for files"), DboxError::from))
    }

    /// A file whose name has gone is not to be read any more by who asks for its number.
    pub(crate) fn forget(&self, id: FileId) {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).files.retain(|(there, _)| *there != id);
    }

    /// The numbers of all files, ascending. One folder read for each place.
    pub(crate) fn ids(&self) -> mailfs::Result<Vec<FileId>> {
        let mut ids = Vec::new();
        for dir in self.dirs() {
            let entries = match self.fs.read_dir(dir) {
                Err(e) if e.is_not_found() => continue,
                other => other?,
            };
            ids.extend(entries.iter().filter_map(|entry| id_of(entry.name.to_str()?)));
        }
        ids.sort_unstable();
        ids.dedup();
        Ok(ids)
    }

    /// Whether some file has this number.
    pub(crate) fn is_taken(&self, id: FileId) -> mailfs::Result<bool> {
        for dir in self.dirs() {
            if self.fs.exists(&path_in(dir, id))? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Makes a new file under a name that says that it is on its way in.
    pub(crate) fn create_temp(&self) -> mailfs::Result<(PathBuf, FileHandle)> {
        self.create_temp_in(&self.primary)
    }

    /// The same in the folder of either storage, which must be there.
    pub(crate) fn create_temp_in(&self, dir: &Path) -> mailfs::Result<(PathBuf, FileHandle)> {
        let now = self.fs.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut random = [0; 4];
        self.fs.random(&mut random);
        let name = format!(
            "{TEMP_PREFIX}{}.P{}Q{}M{}.{}",
            now.as_secs(),
            self.fs.process_id(),
            u32::from_le_bytes(random),
            now.subsec_micros(),
            self.fs.host_name()
        );
        let path = dir.join(name);
        let file = Rights::of(&*self.fs, dir)?.create(&*self.fs, &path)?;
        Ok((path, file))
    }

    /// Removes temporary files that were left behind; tells how many.
    pub(crate) fn clean_temps(&self) -> mailfs::Result<u64> {
        let mut removed = 0;
        for dir in self.dirs() {
            removed += match self.clean_temps_in(dir) {
                Err(e) if e.is_not_found() => 0,
                other => other?,
            };
        }
        Ok(removed)
    }

    fn clean_temps_in(&self, dir: &Path) -> mailfs::Result<u64> {
        let mut removed = 0;
        for entry in self.fs.read_dir(dir)? {
            if !entry.name.to_str().is_some_and(|name| name.starts_with(TEMP_PREFIX)) {
                continue;
            }
            let path = dir.join(&entry.name);
            let age = self.fs.metadata(&path)?.and_then(|m| self.fs.now().duration_since(m.modified).ok());
            if age.is_some_and(|age| age > TEMP_AGE_MAX) {
                match self.fs.unlink(&path) {
                    Err(e) if !e.is_not_found() => return Err(e),
                    _ => removed += 1,
                }
            }
        }
        Ok(removed)
    }
}

impl fmt::Debug for MFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MFiles").field("primary", &self.primary).field("alt", &self.alt).finish_non_exhaustive()
    }
}

fn path_in(dir: &Path, id: FileId) -> PathBuf {
    dir.join(format!("{NAME_PREFIX}{}", id.0))
}

/// The number in a name, if it is written as we write numbers.
fn id_of(name: &str) -> Option<FileId> {
    let number = name.strip_prefix(NAME_PREFIX)?;
    number.parse().ok().filter(|id: &u32| id.to_string() == number).map(FileId)
}

/// Reads the header of a file that is open.
pub(crate) fn read_header(file: &FileHandle) -> Result<FileHeader, DboxError> {
    let mut bytes = [0; FileHeader::LEN_MAX];
    let read = file.read_at(&mut bytes, 0)?;
    Ok(FileHeader::parse(bytes.get(..read).unwrap_or_default())?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_in_names_as_dovecot_writes_them() {
        assert_eq!(id_of("m.12"), Some(FileId(12)));
        for name in ["m.012", "m.", "m.1.broken", "u.1", "m.4294967296", "m.-1", "dovecot.map.index"] {
            assert_eq!(id_of(name), None, "{name}");
        }
    }
}
