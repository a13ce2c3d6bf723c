//! Where a message waits that is taken in and not in the mbox yet: in memory as long as there are few bytes of such in the
//! store, else with others in a file without a future beside the index; a long one in such a file of its own.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use mailfs::{File, FileHandle, FileKind, FileSystem, FsError, LockKind, Metadata, Result, TEMP_PREFIX};

use crate::{indexed::TempFile, mailbox_list::Rights};

/// Bytes of messages that wait in memory, of all that wait in a store.
const MEMORY_MAX: usize = 8 << 20;

/// A message that is longer before it is whole goes into a file of its own, when memory has no room for it.
const UNCOUNTED_MAX: usize = 256 << 10;

/// What waits in a store.
#[derive(Default)]
pub(super) struct WaitingRoom {
    in_memory: AtomicUsize,
    /// The file for those that memory has no room for, as long as one of them waits.
    overflow: Mutex<Weak<Overflow>>,
}

/// Whole messages, one behind the other.
struct Overflow {
    /// Dropped with the name first.
    _temp: TempFile,
    file: FileHandle,
    end: Mutex<u64>,
}

/// A temporary file in a folder.
fn temp_in(fs: &Arc<dyn FileSystem>, dir: &Path) -> Result<(TempFile, FileHandle)> {
    let mut random = [0; 8];
    fs.random(&mut random);
    let path = dir.join(format!("{TEMP_PREFIX}{:016x}", u64::from_le_bytes(random)));
    let file = Rights::of(&**fs, dir)?.create(&**fs, &path)?;
    Ok((TempFile::new(fs, path), file))
}

impl WaitingRoom {
    /// The common file, made in the folder given if there is none.
    fn overflow(&self, fs: &Arc<dyn FileSystem>, dir: &Path) -> Result<Arc<Overflow>> {
        let mut current = self.overflow.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(overflow) = current.upgrade() {
            return Ok(overflow);
        }
        let (temp, file) = temp_in(fs, dir)?;
        let overflow = Arc::new(Overflow { _temp: temp, file, end: Mutex::new(0) });
        *current = Arc::downgrade(&overflow);
        Ok(overflow)
    }
}

impl Overflow {
    /// Takes a message in; tells where it begins.
    fn put(&self, bytes: &[u8]) -> Result<u64> {
        let start = {
            let mut end = self.end.lock().unwrap_or_else(PoisonError::into_inner);
            let start = *end;
            *end += bytes.len() as u64;
            start
        };
        self.file.write_at(bytes, start)?;
        Ok(start)
    }
}

/// A file that is written once, front to back as a rule.
pub(super) struct Spool {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    room: Arc<WaitingRoom>,
    content: Mutex<Content>,
}

struct Content {
    /// Of them so many are counted in the store.
    counted: usize,
    place: Place,
}

/// Where the bytes are.
enum Place {
    Memory(Vec<u8>),
    /// In a file of its own; dropped with the name first.
    Own {
        _temp: TempFile,
        file: FileHandle,
    },
    /// In the common file, from an offset on, and so many.
    Common(Arc<Overflow>, u64, u64),
}

impl Spool {
    pub(super) fn new(fs: &Arc<dyn FileSystem>, dir: PathBuf, room: &Arc<WaitingRoom>) -> Self {
        let content = Mutex::new(Content { counted: 0, place: Place::Memory(Vec::new()) });
        Self { fs: Arc::clone(fs), dir, room: Arc::clone(room), content }
    }

    fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it takes in memory is one more for the store, if there is room.
    fn count(&self, content: &mut Content, len: usize) -> bool {
        let more = len.saturating_sub(content.counted);
        if self.room.in_memory.fetch_add(more, Ordering::Relaxed) + more <= MEMORY_MAX {
            content.counted += more;
            return true;
        }
        self.room.in_memory.fetch_sub(more, Ordering::Relaxed);
        false
    }

    fn uncount(&self, content: &mut Content) {
        self.room.in_memory.fetch_sub(std::mem::take(&mut content.counted), Ordering::Relaxed);
    }

    fn move_to_own_file(&self, content: &mut Content) -> Result<()> {
        let Place::Memory(bytes) = &content.place else { return Ok(()) };
        let (temp, file) = temp_in(&self.fs, &self.dir)?;
        file.write_at(bytes, 0)?;
        content.place = Place::Own { _temp: temp, file };
        self.uncount(content);
        Ok(())
    }

    /// It is whole: if memory has no room for it, it joins others in their file.
    pub(super) fn settle(&self) -> Result<()> {
        let mut content = self.content();
        let Place::Memory(bytes) = &content.place else { return Ok(()) };
        if bytes.len() <= content.counted {
            return Ok(());
        }
        let overflow = self.room.overflow(&self.fs, &self.dir)?;
        let (start, len) = (overflow.put(bytes)?, bytes.len() as u64);
        content.place = Place::Common(overflow, start, len);
        self.uncount(&mut content);
        Ok(())
    }
}

impl Spool {
    fn is_whole(&self) -> FsError {
        FsError::new("write", &self.dir, io::Error::new(io::ErrorKind::InvalidInput, "the message is whole already"))
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        let mut content = self.content();
        self.uncount(&mut content);
    }
}

impl File for Spool {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let content = self.content();
        match &content.place {
            Place::Own { file, .. } => file.read_at(buf, offset),
            Place::Common(overflow, start, len) => {
                let left = usize::try_from(len.saturating_sub(offset)).unwrap_or(usize::MAX);
                let want = left.min(buf.len());
                overflow.file.read_at(buf.get_mut(..want).unwrap_or_default(), start + offset)
            }
            Place::Memory(bytes) => {
                let from = usize::try_from(offset).unwrap_or(usize::MAX);
                let rest = bytes.get(from..).unwrap_or_default();
                let len = rest.len().min(buf.len());
                buf.get_mut(..len).unwrap_or_default().copy_from_slice(rest.get(..len).unwrap_or_default());
                Ok(len)
            }
        }
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        let mut content = self.content();
        if matches!(content.place, Place::Memory(_)) {
            let end = usize::try_from(offset).unwrap_or(usize::MAX).saturating_add(data.len());
            let stays = self.count(&mut content, end) || end <= UNCOUNTED_MAX;
            if let Place::Memory(bytes) = &mut content.place
                && stays
            {
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes.get_mut(end - data.len()..end).unwrap_or_default().copy_from_slice(data);
                return Ok(());
            }
            self.move_to_own_file(&mut content)?;
        }
        match &content.place {
            Place::Own { file, .. } => file.write_at(data, offset),
            Place::Common(..) | Place::Memory(_) => Err(self.is_whole()),
        }
    }

    fn set_len(&self, len: u64) -> Result<()> {
        let mut content = self.content();
        match &mut content.place {
            Place::Own { file, .. } => file.set_len(len),
            Place::Memory(bytes) => {
                bytes.truncate(usize::try_from(len).unwrap_or(usize::MAX));
                Ok(())
            }
            Place::Common(..) => Err(self.is_whole()),
        }
    }

    fn sync_data(&self) -> Result<()> {
        // Nothing in it is ever promised.
        Ok(())
    }

    fn metadata(&self) -> Result<Metadata> {
        let content = self.content();
        let len = match &content.place {
            Place::Own { file, .. } => return file.metadata(),
            Place::Common(_, _, len) => *len,
            Place::Memory(bytes) => bytes.len() as u64,
        };
        Ok(Metadata {
            device: 0,
            inode: 0,
            len,
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
        let room = Arc::new(WaitingRoom::default());
        room.in_memory.store(MEMORY_MAX - 10, Ordering::Relaxed);
        let names = || fs.read_dir(Path::new("/")).unwrap().len();
        let in_memory = || room.in_memory.load(Ordering::Relaxed);
        let new = || Spool::new(&fs, "/".into(), &room);
        let text = b"0123456789abcdef";
        let first = new();
        first.write_at(&text[..10], 0).unwrap();
        first.settle().unwrap();
        assert_eq!((names(), in_memory()), (0, MEMORY_MAX));
        let others: Vec<Spool> = (b'X'..b'Z').map(|_| new()).collect();
        for (spool, mark) in others.iter().zip([b"X", b"Y"]) {
            spool.write_at(text, 0).unwrap();
            spool.write_at(mark, 3).unwrap();
            spool.settle().unwrap();
        }
        assert_eq!(names(), 1, "one file for both");
        let long = new();
        long.write_at(&vec![b'z'; UNCOUNTED_MAX], 0).unwrap();
        long.write_at(text, UNCOUNTED_MAX as u64).unwrap();
        long.settle().unwrap();
        assert_eq!((names(), in_memory()), (2, MEMORY_MAX));
        assert_eq!(long.len().unwrap(), (UNCOUNTED_MAX + text.len()) as u64);
        let expect = [(&first, &text[..10]), (&others[0], b"012X456789abcdef"), (&others[1], b"012Y456789abcdef")];
        for (spool, expect) in expect {
            let mut read = [0; 32];
            let len = spool.read_at(&mut read, 0).unwrap();
            assert_eq!((&read[..len], spool.len().unwrap()), (expect, expect.len() as u64));
            assert_eq!(spool.read_at(&mut read, expect.len() as u64).unwrap(), 0);
        }
        drop((first, others, long));
        assert_eq!((names(), in_memory()), (0, MEMORY_MAX - 10));
    }
}
