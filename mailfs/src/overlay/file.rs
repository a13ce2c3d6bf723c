//! An open file of an overlay: in memory, or below until it is written to.

use std::{
    fmt,
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::SystemTime,
};

use rustix::io::Errno;

use super::{
    Shared, failed,
    upper::{Identity, Memory},
};
use crate::{File, FileHandle, FileKind, LockKind, Metadata, Result, convenience::read_file, file_system::MODE_BITS};

/// See the module.
pub(super) struct OverlayFile {
    shared: Arc<Shared>,
    path: PathBuf,
    base: Base,
    identity: Identity,
    number: u64,
    writable: bool,
    locked: AtomicBool,
    /// Locks are taken on the file below too.
    locked_below: bool,
}

enum Base {
    Memory(Arc<Memory>),
    Lower(FileHandle),
}

impl OverlayFile {
    pub(super) fn made(shared: &Arc<Shared>, path: &Path, memory: Arc<Memory>, writable: bool) -> Self {
        let metadata = memory.metadata();
        Self::new(shared, path, Base::Memory(memory), &metadata, writable)
    }

    pub(super) fn lower(
        shared: &Arc<Shared>,
        path: &Path,
        handle: FileHandle,
        there: &Metadata,
        writable: bool,
    ) -> Self {
        Self::new(shared, path, Base::Lower(handle), there, writable)
    }

    fn new(shared: &Arc<Shared>, path: &Path, base: Base, there: &Metadata, writable: bool) -> Self {
        let number = shared.upper().new_handle();
        Self {
            shared: Arc::clone(shared),
            path: path.to_owned(),
            base,
            identity: (there.device, there.inode),
            number,
            writable,
            locked: AtomicBool::new(false),
            locked_below: false,
        }
    }

    /// With locks that are taken on the file below too, or not.
    pub(super) fn locked_below(mut self, locked_below: bool) -> Self {
        self.locked_below = locked_below;
        self
    }

    fn below(&self) -> Option<&FileHandle> {
        match &self.base {
            Base::Lower(handle) if self.locked_below => Some(handle),
            _ => None,
        }
    }

    /// What is in memory of it, if anything.
    fn memory(&self) -> Option<Arc<Memory>> {
        match &self.base {
            Base::Memory(memory) => Some(Arc::clone(memory)),
            Base::Lower(_) => self.shared.upper().copies.get(&self.identity).cloned(),
        }
    }

    /// What is written to; the file below is copied first.
    fn memory_to_write(&self, op: &'static str) -> Result<Arc<Memory>> {
        if !self.writable {
            return Err(failed(op, &self.path, Errno::BADF));
        }
        if let Some(memory) = self.memory() {
            return Ok(memory);
        }
        let Base::Lower(handle) = &self.base else { return Err(failed(op, &self.path, Errno::BADF)) };
        let there = handle.metadata()?;
        let bytes = read_file(&**handle, &self.path, self.shared.len_max)?;
        self.take_room(op, bytes.len() as u64)?;
        let memory = Memory::new(bytes, there);
        let mut upper = self.shared.upper();
        // Another handle may have been faster.
        if let Some(other) = upper.copies.get(&self.identity) {
            return Ok(Arc::clone(other));
        }
        upper.copy(&self.path, &there, &memory);
        Ok(memory)
    }

    fn take_room(&self, op: &'static str, len: u64) -> Result<()> {
        let mut upper = self.shared.upper();
        let total = upper.len.saturating_add(len);
        if total > self.shared.len_max {
            return Err(failed(op, &self.path, Errno::NOSPC));
        }
        upper.len = total;
        Ok(())
    }

    fn resize(&self, op: &'static str, memory: &Memory, len: u64) -> Result<()> {
        let have = memory.content().bytes.len() as u64;
        if len > have {
            self.take_room(op, len - have)?;
        }
        let Ok(len) = usize::try_from(len) else { return Err(failed(op, &self.path, Errno::FBIG)) };
        memory.content().bytes.resize(len, 0);
        Ok(())
    }

    fn touch(&self, memory: &Memory) {
        let now = self.shared.lower.now();
        let mut content = memory.content();
        (content.metadata.modified, content.metadata.changed) = (now, now);
    }
}

impl File for OverlayFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> Result<usize> {
        let memory = match (&self.base, self.memory()) {
            (_, Some(memory)) => memory,
            (Base::Lower(handle), None) => return handle.read_at(buf, offset),
            (Base::Memory(memory), None) => Arc::clone(memory),
        };
        // Of a disk nothing is asked for nothing.
        if buf.is_empty() {
            return Ok(0);
        }
        let content = memory.content();
        if content.metadata.kind == FileKind::Dir {
            return Err(failed("read", &self.path, Errno::ISDIR));
        }
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = content.bytes.get(from..).unwrap_or_default();
        let len = rest.len().min(buf.len());
        if let (Some(to), Some(from)) = (buf.get_mut(..len), rest.get(..len)) {
            to.copy_from_slice(from);
        }
        Ok(len)
    }

    fn write_at(&self, data: &[u8], offset: u64) -> Result<()> {
        if data.is_empty() {
            return Ok(());
        }
        let memory = self.memory_to_write("write")?;
        let end = offset.saturating_add(data.len() as u64);
        if end > memory.metadata().len {
            self.resize("write", &memory, end)?;
        }
        let from = usize::try_from(offset).unwrap_or(usize::MAX);
        let mut content = memory.content();
        if let Some(to) = content.bytes.get_mut(from..).and_then(|rest| rest.get_mut(..data.len())) {
            to.copy_from_slice(data);
        }
        drop(content);
        self.touch(&memory);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<()> {
        if !self.writable {
            // As the system says it of this call.
            return Err(failed("set length of", &self.path, Errno::INVAL));
        }
        let memory = self.memory_to_write("set length of")?;
        self.resize("set length of", &memory, len)?;
        self.touch(&memory);
        Ok(())
    }

    fn sync_data(&self) -> Result<()> {
        Ok(())
    }

    fn metadata(&self) -> Result<Metadata> {
        match (&self.base, self.memory()) {
            (_, Some(memory)) => Ok(memory.metadata()),
            (Base::Lower(handle), None) => handle.metadata(),
            (Base::Memory(memory), None) => Ok(memory.metadata()),
        }
    }

    fn try_lock(&self, kind: LockKind) -> Result<bool> {
        if kind == LockKind::Exclusive && !self.writable {
            return Err(failed("lock", &self.path, Errno::BADF));
        }
        let taken = self.shared.upper().locks.try_lock(self.identity, self.number, kind);
        self.locked.fetch_or(taken, Ordering::AcqRel);
        match self.below().filter(|_| taken).map_or(Ok(true), |below| below.try_lock(kind)) {
            Ok(true) => Ok(taken),
            other => {
                self.shared.upper().locks.unlock(self.identity, self.number);
                other
            }
        }
    }

    fn unlock(&self) -> Result<()> {
        self.shared.upper().locks.unlock(self.identity, self.number);
        self.below().map_or(Ok(()), |below| below.unlock())
    }

    fn try_flock(&self) -> Result<bool> {
        let taken = self.shared.upper().flocks.try_lock(self.identity, self.number, LockKind::Exclusive);
        self.locked.fetch_or(taken, Ordering::AcqRel);
        match self.below().filter(|_| taken).map_or(Ok(true), |below| below.try_flock()) {
            Ok(true) => Ok(taken),
            other => {
                self.shared.upper().flocks.unlock(self.identity, self.number);
                other
            }
        }
    }

    fn unflock(&self) -> Result<()> {
        self.shared.upper().flocks.unlock(self.identity, self.number);
        self.below().map_or(Ok(()), |below| below.unflock())
    }

    fn set_permissions(&self, mode: u32, gid: Option<u32>) -> Result<()> {
        let memory = self.memory_to_write("set permissions of")?;
        let mut content = memory.content();
        content.metadata.mode = mode & MODE_BITS;
        content.metadata.gid = gid.unwrap_or(content.metadata.gid);
        Ok(())
    }

    fn set_modified(&self, time: SystemTime) -> Result<()> {
        self.memory_to_write("set the time of")?.content().metadata.modified = time;
        Ok(())
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        match &self.base {
            Base::Lower(handle) if self.memory().is_none() => handle.descriptor(),
            _ => None,
        }
    }
}

impl Drop for OverlayFile {
    fn drop(&mut self) {
        if *self.locked.get_mut() {
            let mut upper = self.shared.upper();
            upper.locks.unlock(self.identity, self.number);
            upper.flocks.unlock(self.identity, self.number);
        }
    }
}

impl fmt::Debug for OverlayFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OverlayFile").field("path", &self.path).finish_non_exhaustive()
    }
}
