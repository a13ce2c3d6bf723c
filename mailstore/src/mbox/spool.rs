//! Where a message waits that is taken in and not in the mbox yet: in memory as long as there are few bytes of such, else
//! in a file without a future beside the index.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use mailfs::{File, FileHandle, FileKind, FileSystem, LockKind, Metadata, Result, TEMP_PREFIX};

use crate::{indexed::TempFile, mailbox_list::Rights};

/// Bytes of messages that wait in memory, of all that wait in a store.
const MEMORY_MAX: usize = 8 << 20;

/// A file that is written once, front to back as a rule.
pub(super) struct Spool {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    /// Of the whole store.
    in_memory: Arc<AtomicUsize>,
    content: Mutex<Content>,
}

struct Content {
    bytes: Vec<u8>,
    counted: usize,
    /// Dropped with the name first.
    file: Option<(TempFile, FileHandle)>,
}

impl Spool {
    pub(super) fn new(fs: &Arc<dyn FileSystem>, dir: PathBuf, in_memory: &Arc<AtomicUsize>) -> Self {
        let content = Mutex::new(Content { bytes: Vec::new(), counted: 0, file: None });
        Self { fs: Arc::clone(fs), dir, in_memory: Arc::clone(in_memory), content }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it takes in memory is one more for the store, if there is room.
    fn count(&self, content: &mut Content, len: usize) -> bool {
        let more = len.saturating_sub(content.counted);
        if self.in_memory.fetch_add(more, Ordering::Relaxed) + more <= MEMORY_MAX {
            content.counted += more;
            return true;
        }
        self.in_memory.fetch_sub(more, Ordering::Relaxed);
        false
    }

    fn to_disk(&self, content: &mut Content) -> Result<()> {
        let mut random = [0; 8];
        self.fs.random(&mut random);
        let path = self.dir.join(format!("{TEMP_PREFIX}{:016x}", u64::from_le_bytes(random)));
        let file = Rights::of(&*self.fs, &self.dir)?.create(&*self.fs, &path)?;
        let temp = TempFile::new(&self.fs, path);
        file.write_at(&content.bytes, 0)?;
        content.bytes = Vec::new();
        self.in_memory.fetch_sub(std::mem::take(&mut content.counted), Ordering::Relaxed);
        content.file = Some((temp, file));
        Ok(())
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        let counted = self.content().counted;
        self.in_memory.fetch_sub(counted, Ordering::Relaxed);
    }
}

impl File for Spool {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let content = self.content();
        if let Some((_, file)) = &content.file {
            return file.read_at(buf, offset);
        }
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = content.bytes.get(from..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        buf.get_mut(..len).unwrap_or_default().copy_from_slice(rest.get(..len).unwrap_or_default());
        Ok(len)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        let mut content = self.content();
        if content.file.is_none() {
            let end = usize::try_from(offset).unwrap_or(usize::MAX).saturating_add(data.len());
            if self.count(&mut content, end) {
                let from = end - data.len();
                if content.bytes.len() < end {
                    content.bytes.resize(end, 0);
                }
                content.bytes.get_mut(from..end).unwrap_or_default().copy_from_slice(data);
                return Ok(());
            }
            self.to_disk(&mut content)?;
        }
        match &content.file {
            Some((_, file)) => file.write_at(data, offset),
            None => Ok(()),
        }
    }

    fn set_len(&self, len: u64) -> Result<()> {
        let mut content = self.content();
        match &content.file {
            Some((_, file)) => file.set_len(len),
            None => {
                content.bytes.truncate(usize::try_from(len).unwrap_or(usize::MAX));
                Ok(())
            }
        }
    }

    fn sync_data(&self) -> Result<()> {
        // Nothing in it is ever promised.
        Ok(())
    }

    fn metadata(&self) -> Result<Metadata> {
        let content = self.content();
        if let Some((_, file)) = &content.file {
            return file.metadata();
        }
        Ok(Metadata {
            device: 0,
            inode: 0,
            len: content.bytes.len() as u64,
            kind: FileKind::File,
            mode: 0o600,
            uid: 0,
            gid: 0,
            links: 0,
            modified: SystemTime::UNIX_EPOCH,
            changed: SystemTime::UNIX_EPOCH,
        })
    }

    fn try_lock(&self, _: LockKind) -> Result<bool> {
        Ok(true)
    }

    fn unlock(&self) -> Result<()> {
        Ok(())
    }

    fn try_flock(&self) -> Result<bool> {
        Ok(true)
    }

    fn unflock(&self) -> Result<()> {
        Ok(())
    }

    fn set_permissions(&self, _: u32, _: Option<u32>) -> Result<()> {
        Ok(())
    }

    fn set_modified(&self, _: SystemTime) -> Result<()> {
        Ok(())
    }
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spool").field("dir", &self.dir).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use mailfs::sim::SimDisk;

    use super::*;

    #[test]
    fn what_memory_has_no_room_for_is_on_disk_while_it_waits() {
        let fs = SimDisk::new().as_file_system();
        let in_memory = Arc::new(AtomicUsize::new(MEMORY_MAX - 10));
        let names = || fs.read_dir(std::path::Path::new("/")).unwrap().len();
        let (small, large) = (|| Spool::new(&fs, "/".into(), &in_memory), b"0123456789abcdef");
        let first = small();
        first.write_at(&large[..10], 0).unwrap();
        assert_eq!((names(), in_memory.load(Ordering::Relaxed)), (0, MEMORY_MAX));
        let second = small();
        second.write_at(large, 0).unwrap();
        second.write_at(b"X", 3).unwrap();
        assert_eq!(names(), 1);
        for (spool, expect) in [(&first, &b"0123456789"[..]), (&second, b"012X456789abcdef")] {
            let mut read = [0; 32];
            let len = spool.read_at(&mut read, 0).unwrap();
            assert_eq!((&read[..len], spool.len().unwrap()), (expect, expect.len() as u64));
        }
        drop((first, second));
        assert_eq!((names(), in_memory.load(Ordering::Relaxed)), (0, MEMORY_MAX - 10));
    }
}
