//! A message on its way in: held in memory while it is small, in a file of its own from then on.
//!
//! Where it will lie is known when it is committed: what messages have come until then is written behind each other into
//! one file. One that is large becomes a file of messages itself.

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use mailfs::{File, FileHandle, FsError, LockKind, Metadata, Result};

use super::{Shared, m_files::OpenFile};
use crate::{dbox::MessagePlace, indexed::TempFile};

/// Longest message that is kept in memory.
const MEMORY_LEN_MAX: usize = 64 << 10;

/// All messages of a store that wait in memory together have no more bytes.
const HELD_LEN_MAX: u64 = 16 << 20;

/// What [`DraftFile`] is called in errors.
const NO_PATH: &str = "a message in memory";

/// A new file of messages that begins in memory.
pub(super) struct DraftFile {
    shared: Arc<Shared>,
    memory: Mutex<Vec<u8>>,
    /// Bytes of `memory`, as `Shared::held` counts them.
    counted: AtomicU64,
    file: OnceLock<(TempFile, FileHandle)>,
}

impl DraftFile {
    pub(super) fn new(shared: &Arc<Shared>) -> Arc<Self> {
        let (memory, counted, file) = (Mutex::default(), AtomicU64::new(0), OnceLock::new());
        Arc::new(Self { shared: Arc::clone(shared), memory, counted, file })
    }

    fn memory(&self) -> MutexGuard<'_, Vec<u8>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, len: usize) -> u64 {
        let before = self.counted.swap(len as u64, Ordering::Relaxed);
        self.shared.held.fetch_sub(before, Ordering::Relaxed);
        self.shared.held.fetch_add(len as u64, Ordering::Relaxed) + len as u64
    }

    /// Bytes of memory it holds.
    pub(super) fn held_len(&self) -> usize {
        self.memory().capacity()
    }

    /// The file on disk, made if it is not there yet.
    fn spill(&self) -> Result<&FileHandle> {
        if let Some((_, handle)) = self.file.get() {
            return Ok(handle);
        }
        let (path, handle) = self.shared.files.create_temp()?;
        let temp = TempFile::new(self.shared.env.fs(), path);
        let bytes = std::mem::take(&mut *self.memory());
        self.count(0);
        handle.write_at(&bytes, 0)?;
        let (_, handle) = self.file.get_or_init(|| (temp, handle));
        Ok(handle)
    }

    /// The draft, written whole.
    pub(super) fn finish(self: Arc<Self>) -> Draft {
        Draft(self)
    }
}

impl Drop for DraftFile {
    fn drop(&mut self) {
        self.count(0);
    }
}

impl fmt::Debug for DraftFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DraftFile").field("held", &self.counted).finish_non_exhaustive()
    }
}

fn refused(op: &'static str) -> FsError {
    FsError::new(op, NO_PATH, io::ErrorKind::Unsupported.into())
}

impl File for DraftFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        if let Some((_, handle)) = self.file.get() {
            return handle.read_at(buf, offset);
        }
        let memory = self.memory();
        let there = usize::try_from(offset).ok().and_then(|from| memory.get(from..)).unwrap_or_default();
        let len = there.len().min(buf.len());
        buf.get_mut(..len).unwrap_or_default().copy_from_slice(there.get(..len).unwrap_or_default());
        Ok(len)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        if self.file.get().is_none() {
            let end = usize::try_from(offset).unwrap_or(usize::MAX).saturating_add(data.len());
            let others = self.shared.held.load(Ordering::Relaxed);
            if end <= MEMORY_LEN_MAX && others + data.len() as u64 <= HELD_LEN_MAX {
                let mut memory = self.memory();
                let len = memory.len().max(end);
                memory.resize(len, 0);
                if let Some(place) = memory.get_mut(end - data.len()..end) {
                    place.copy_from_slice(data);
                }
                self.count(len);
                return Ok(());
            }
        }
        self.spill()?.write_at(data, offset)
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.spill()?.set_len(len)
    }

    fn sync_data(&self) -> Result<()> {
        self.file.get().map_or(Ok(()), |(_, handle)| handle.sync_data())
    }

    fn metadata(&self) -> Result<Metadata> {
        self.spill()?.metadata()
    }

    fn try_lock(&self, _kind: LockKind) -> Result<bool> {
        Err(refused("lock"))
    }

    fn unlock(&self) -> Result<()> {
        Err(refused("unlock"))
    }

    fn try_flock(&self) -> Result<bool> {
        Err(refused("lock"))
    }

    fn unflock(&self) -> Result<()> {
        Err(refused("unlock"))
    }

    fn set_permissions(&self, _mode: u32, _gid: Option<u32>) -> Result<()> {
        Err(refused("set permissions of"))
    }

    fn set_modified(&self, _time: SystemTime) -> Result<()> {
        Err(refused("set the time of"))
    }

    fn len(&self) -> Result<u64> {
        match self.file.get() {
            Some((_, handle)) => handle.len(),
            None => Ok(self.memory().len() as u64),
        }
    }
}

/// A message that was taken in whole.
pub(super) struct Draft(Arc<DraftFile>);

impl Draft {
    /// Bytes of its file.
    pub(super) fn len(&self) -> Result<u64> {
        self.0.len()
    }

    /// The file it has on disk, if it has one.
    pub(super) fn file(&self) -> Option<&FileHandle> {
        self.0.file.get().map(|(_, handle)| handle)
    }

    /// Where it lies on disk, for giving that file a name.
    pub(super) fn into_temp(self) -> std::result::Result<(TempFile, FileHandle), Self> {
        match Arc::try_unwrap(self.0) {
            Ok(mut draft) => match draft.file.take() {
                Some(file) => Ok(file),
                None => Err(Self(Arc::new(draft))),
            },
            Err(shared) => Err(Self(shared)),
        }
    }
}

/// Where the bytes of a message are that is to be stored: header, body and metadata.
pub(super) enum NewBody {
    /// In a draft, behind the header of its file.
    Draft { draft: Draft, from: u64, len: u64 },
    /// In a file of messages, from where it is copied because no more can refer to it.
    Stored { file: Arc<OpenFile>, place: MessagePlace, len: u64 },
}

impl NewBody {
    /// Bytes of header, body and metadata.
    pub(super) fn len(&self) -> u64 {
        match self {
            Self::Draft { len, .. } | Self::Stored { len, .. } => *len,
        }
    }

    /// Reads from an offset in it.
    pub(super) fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let left = usize::try_from(self.len().saturating_sub(offset)).unwrap_or(usize::MAX).min(buf.len());
        let buf = buf.get_mut(..left).unwrap_or_default();
        match self {
            Self::Draft { draft, from, .. } => draft.0.read_at(buf, from + offset),
            Self::Stored { file, place, .. } => file.handle.read_at(buf, place.offset + offset),
        }
    }
}
