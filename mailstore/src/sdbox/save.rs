//! A message on its way in: a temporary file in the mailbox's folder, written and parsed as the bytes come.

use std::{
    any::Any,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::UNIX_EPOCH,
};

use mailfs::{FileHandle, FileSystem};
use mailindex::engine::Fsync;
use mailmime::Structure;
use mailtypes::Guid;

use super::{Shared, files::Mails};
use crate::{
    dbox::{DboxWriter, Metadata, MetadataKey, WriterOptions},
    traits::{Result, Save, SaveMeta, Saved, SavedMessage},
};

/// Seconds since 1970 as the files hold them.
pub(super) fn unix_now(fs: &dyn FileSystem) -> u32 {
    let since = fs.now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
}

/// A file that is removed when nobody has given it a name for good.
pub(super) struct TempFile {
    fs: Arc<dyn FileSystem>,
    path: PathBuf,
    named: bool,
}

impl TempFile {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the file its name for good; fails if that is taken.
    pub(super) fn rename_new(&mut self, to: &Path) -> mailfs::Result<()> {
        self.fs.rename_new(&self.path, to)?;
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

/// Messages taken in whose files are kept open for the commit to sync all at once. What comes beyond is synced one by
/// one and closed: a batch may have more messages than a process may have files open.
const OPEN_SAVED_MAX: usize = 256;

/// A file that is still to be synced, counted.
pub(super) struct Unsynced {
    pub(super) file: FileHandle,
    open: Arc<AtomicUsize>,
}

impl Unsynced {
    /// Keeps the file open, or makes its data durable now.
    fn keep_or_sync(file: FileHandle, open: &Arc<AtomicUsize>, sync: bool) -> mailfs::Result<Option<Self>> {
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

/// A message that is being written.
pub(super) struct SdboxSave {
    writer: DboxWriter,
    temp: TempFile,
    received: u32,
    guid: Guid,
    open: Arc<AtomicUsize>,
    sync: bool,
}

impl SdboxSave {
    pub(super) fn begin(shared: &Shared, mails: &Mails, meta: &SaveMeta) -> Result<Self> {
        let fs = &mails.fs;
        let now = unix_now(&**fs);
        let (path, file) = mails.create_temp()?;
        let temp = TempFile { fs: Arc::clone(fs), path, named: false };
        let received = meta.internal_date.map_or(now, |date| u32::try_from(date.unix.max(0)).unwrap_or(u32::MAX));
        let guid = meta.guid.filter(|guid| !guid.is_zero()).unwrap_or_else(|| new_guid(&**fs));
        let sync = shared.env.options().fsync != Fsync::Never;
        let options = WriterOptions {
            line_ends: shared.options.line_ends,
            nuls: meta.nuls.unwrap_or(shared.options.nuls),
            limits: shared.options.limits.clone(),
        };
        Ok(Self {
            writer: DboxWriter::new(file, now, options),
            temp,
            received,
            guid,
            open: Arc::clone(&shared.open_saved),
            sync,
        })
    }
}

/// Sixteen random bytes that are not all zero.
pub(super) fn new_guid(fs: &dyn FileSystem) -> Guid {
    loop {
        let mut bytes = [0; 16];
        fs.random(&mut bytes);
        let guid = Guid(bytes);
        if !guid.is_zero() {
            return guid;
        }
    }
}

impl Save for SdboxSave {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.write(bytes).map_err(|e| e.at(self.temp.path()))
    }

    fn finish(self: Box<Self>) -> Result<Saved> {
        let Self { writer, temp, received, guid, open, sync } = *self;
        let written = writer.finish(|virtual_size| {
            let mut metadata = Metadata::default();
            metadata.push(MetadataKey::RECEIVED, format!("{received:x}").as_bytes());
            metadata.push(MetadataKey::VIRTUAL_SIZE, format!("{virtual_size:x}").as_bytes());
            metadata.push(MetadataKey::GUID, guid.to_string().as_bytes());
            metadata
        });
        let written = written.map_err(|e| e.at(temp.path()))?;
        Ok(Saved(Box::new(SdboxSaved {
            unsynced: Unsynced::keep_or_sync(written.file, &open, sync)?,
            structure: written.structure,
            size: written.virtual_size,
            received,
            temp,
        })))
    }
}

/// A message that is whole under a temporary name.
pub(super) struct SdboxSaved {
    /// `None` when the data is durable already.
    pub(super) unsynced: Option<Unsynced>,
    pub(super) structure: Structure,
    pub(super) size: u64,
    pub(super) received: u32,
    pub(super) temp: TempFile,
}

impl SavedMessage for SdboxSaved {
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }

    fn size(&self) -> u64 {
        self.size
    }
}

impl fmt::Debug for SdboxSaved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SdboxSaved").field("temp", &self.temp.path).field("size", &self.size).finish_non_exhaustive()
    }
}
