//! The undo file: what an mbox was before a change in place, written and synced before the first byte changes
//! (`docs/formats/mbox.md`, Undo file). Whoever locks the mbox next and finds one takes the change back.
//!
//! ```text
//! culver.mbox.undo   magic 8 · rule u32 · ranges u32 · inode u64 · old length u64 · new length u64
//!                    then for each range: offset u64 · length u64 · its bytes
//!                    then the first 16 bytes of the SHA-256 of all before
//! ```
//!
//! All numbers little-endian. (A device's number may change with a restart; an inode's does not.) An empty file, and one that is cut or does not agree with its sum, stands for no change:
//! the mbox is not touched before the whole of it is on disk.
//!
//! # Invariants
//!
//! 1. An undo file in force is taken back, or found to be of no use, under the mbox's write locks, before anything else
//!    is done with the mbox.
//! 2. Mail that somebody appended behind what a dead process left is kept, also where taking back is stopped half-way.
//! 3. One in force is replaced by one rename, never overwritten.
//! 4. What bears its name and is a link, or has another name as well, is never written to.

mod copying;
mod saved;
#[cfg(test)]
mod tests;

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mailfs::{FileHandle, FileKind, FileSystem, OpenMode};
use mailtypes::Uid;

pub(super) use self::copying::{copy, copy_up};
pub(crate) use self::saved::sum_of;
use self::saved::{Kind, Saved, Writing};
use crate::mailbox_list::Rights;

/// The file's name, in the folder of the index.
pub(crate) const UNDO_FILE: &str = "culver.mbox.undo";

/// What it is called until it takes the place of another.
const TEMP_FILE: &str = "culver.tmp.mbox.undo";

/// Of a change that is taken back.
pub(crate) const MAGIC: &[u8; 8] = b"CulvMbU1";
/// Of one that is brought to its end: a gap is closed that a change has left in front of mail of others.
pub(crate) const REDO_MAGIC: &[u8; 8] = b"CulvMbR1";
pub(crate) const HEAD_LEN: usize = 40;
pub(crate) const RANGE_HEAD_LEN: usize = 16;
pub(crate) const SUM_LEN: usize = 16;

/// So much of what is due behind the old end is saved, to be known again there.
pub(super) const DUE_LEN_MAX: usize = 4096;

/// A change of an mbox that is about to be made.
#[derive(Clone, Debug, Default)]
pub(super) struct Change {
    /// Bytes of the file before.
    pub(super) old_len: u64,
    /// Bytes of the file after.
    pub(super) new_len: u64,
    /// What will be overwritten or cut off, ascending, all below `old_len`.
    pub(super) ranges: Vec<Range<u64>>,
    /// What a file that gets longer will have from `old_len` on, [`DUE_LEN_MAX`] bytes at most.
    pub(super) due: Vec<u8>,
    /// The first message appended: where the index has it, the change is in force. `None`: the change is undone whenever it
    /// is found.
    pub(super) in_force_with: Option<Uid>,
}

/// What the index says of an append.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Witness {
    /// It has the message.
    Has,
    /// It is as it was before the append.
    HasNot,
    /// It has been made since, or is older, and cannot know.
    Silent,
}

/// An append that somebody has left, and may have finished.
#[derive(Clone, Copy, Debug)]
pub(super) struct Append {
    /// The first message's UID.
    pub(super) first: Uid,
    /// Bytes of the file before.
    pub(super) old_len: u64,
}

/// The undo file of one mbox.
#[derive(Debug)]
pub(super) struct Undo {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    syncs: bool,
    /// That of the change under way: its folder may get another name meanwhile.
    open: Mutex<Option<FileHandle>>,
}

impl Undo {
    pub(super) fn new(fs: &Arc<dyn FileSystem>, dir: &Path, syncs: bool) -> Self {
        Self { fs: Arc::clone(fs), dir: dir.to_owned(), syncs, open: Mutex::default() }
    }

    fn path(&self) -> PathBuf {
        self.dir.join(UNDO_FILE)
    }

    fn open(&self) -> MutexGuard<'_, Option<FileHandle>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there may be something to take back. Costs a `stat`.
    pub(super) fn is_pending(&self) -> mailfs::Result<bool> {
        Ok(self.fs.metadata(&self.path())?.is_some_and(|there| there.len > 0))
    }

    /// Saves what a change will overwrite; durable when it returns.
    pub(super) fn prepare(&self, mbox: &FileHandle, change: &Change) -> mailfs::Result<()> {
        let (file, is_new) = match self.to_write()? {
            None => (Rights::of(&*self.fs, &self.dir)?.create(&*self.fs, &self.path())?, true),
            Some(file) => (file, false),
        };
        let written = file.set_len(0).and_then(|()| write(&file, mbox, change));
        if written.is_err() {
            // It has no sum yet and counts for nothing; without it there is more room.
            let _ = file.set_len(0);
            return written;
        }
        if self.syncs {
            file.sync_data()?;
            if is_new {
                self.fs.sync_dir(&self.dir)?;
            }
        }
        *self.open() = Some(file);
        Ok(())
    }

    /// The same for a change that goes on: its file is in force, and must be so until the next one is.
    pub(super) fn extend(&self, mbox: &FileHandle, change: &Change) -> mailfs::Result<()> {
        self.replace(|file| write(file, mbox, change))
    }

    fn replace(&self, write: impl FnOnce(&FileHandle) -> mailfs::Result<()>) -> mailfs::Result<()> {
        let temp = self.dir.join(TEMP_FILE);
        match self.fs.unlink(&temp) {
            Err(e) if !e.is_not_found() => return Err(e),
            _ => {}
        }
        let file = Rights::of(&*self.fs, &self.dir)?.create(&*self.fs, &temp)?;
        let placed = write(&file)
            .and_then(|()| if self.syncs { file.sync_data() } else { Ok(()) })
            .and_then(|()| self.fs.rename(&temp, &self.path()));
        if placed.is_err() {
            let _ = self.fs.unlink(&temp);
            return placed;
        }
        *self.open() = Some(file);
        if self.syncs { self.fs.sync_dir(&self.dir) } else { Ok(()) }
    }

    /// The change is complete, or taken back. `durable`: it must not come back after a power cut.
    pub(super) fn clear(&self, durable: bool) -> mailfs::Result<()> {
        let of_change = self.open().take();
        let file = match of_change {
            Some(file) => file,
            None => match self.to_write()? {
                Some(file) => file,
                None => return Ok(()),
            },
        };
        file.set_len(0)?;
        if durable && self.syncs {
            file.sync_data()?;
        }
        Ok(())
    }

    /// What bears the name, if it is a file; a link goes.
    fn to_read(&self) -> mailfs::Result<Option<FileHandle>> {
        match self.fs.open_no_link(&self.path()) {
            Err(e) if e.is_not_found() => Ok(None),
            Err(_) if self.is_link()? => self.remove().map(|()| None),
            other => other.map(Some),
        }
    }

    /// The file, if it is there and has this name alone. Another one would be changed with it: only its name goes.
    fn to_write(&self) -> mailfs::Result<Option<FileHandle>> {
        let Some(found) = self.to_read()? else { return Ok(None) };
        let found = found.metadata()?;
        let file = self.fs.open(&self.path(), OpenMode::ReadWrite)?;
        let there = file.metadata()?;
        // Not a link that has come in between.
        let is_it = (there.device, there.inode) == (found.device, found.inode);
        if is_it && there.links <= 1 {
            return Ok(Some(file));
        }
        self.remove().map(|()| None)
    }

    fn is_link(&self) -> mailfs::Result<bool> {
        let entries = self.fs.read_dir(&self.dir)?;
        Ok(entries.iter().any(|entry| entry.name == *UNDO_FILE && entry.kind == FileKind::Symlink))
    }

    fn remove(&self) -> mailfs::Result<()> {
        tracing::warn!(path = %self.path().display(), "removed: a link, or another name of a file, is no undo file");
        match self.fs.unlink(&self.path()) {
            Err(e) if !e.is_not_found() => Err(e),
            _ if self.syncs => self.fs.sync_dir(&self.dir),
            _ => Ok(()),
        }
    }

    /// Takes a change back that somebody has left unfinished; `witness` asks the index, and nothing is done where nobody
    /// can be asked. The mbox is locked for writing. Tells whether the mbox was changed.
    pub(super) fn recover(
        &self,
        mbox: &FileHandle,
        witness: impl FnOnce(Append) -> Option<Witness>,
    ) -> mailfs::Result<bool> {
        if !self.is_pending()? {
            return Ok(false);
        }
        *self.open() = None;
        let mut undone = false;
        if let Some(file) = self.to_read()? {
            let there = mbox.metadata()?;
            // One of a file that is not there any more, or never finished, and then nothing was changed.
            if let Some(saved) = Saved::read(&file)?.filter(|saved| saved.inode == there.inode) {
                undone = match saved.append() {
                    None => self.end(&saved, &file, mbox, there.len)?,
                    Some(append) => match witness(append) {
                        None => return Ok(false),
                        // Somebody else has given its UID to mail behind the place that was made for it.
                        Some(Witness::Has) => match saved.unwritten(mbox, there.len)? {
                            Some(gap) => self.close_gap(saved.inode, mbox, gap, there.len).map(|()| true)?,
                            None => false,
                        },
                        // It may have been acknowledged.
                        Some(Witness::Silent) if saved.is_whole(mbox, append, there.len)? => false,
                        Some(Witness::Silent | Witness::HasNot) => self.end(&saved, &file, mbox, there.len)?,
                    },
                };
            }
        }
        // Not what may have been put into its place.
        self.clear(true)?;
        Ok(undone)
    }

    /// Takes a change back, or brings it to its end. Tells whether that changed the mbox.
    fn end(&self, saved: &Saved, file: &FileHandle, mbox: &FileHandle, len: u64) -> mailfs::Result<bool> {
        if saved.is_finished(file, mbox, len)? {
            // The cut may not be durable: a sync that failed is not made good by another, without a change.
            mbox.set_len(len)?;
            return self.sync(mbox).map(|()| false);
        }
        tracing::warn!(dir = %self.dir.display(), "an unfinished change of the mbox file is taken back");
        let gap = saved.restore(file, mbox, len)?;
        if gap.is_empty() {
            mbox.set_len(len)?;
            self.sync(mbox)?;
        } else {
            self.close_gap(saved.inode, mbox, gap, len)?;
        }
        Ok(true)
    }

    /// Takes a stretch out of the mbox in front of mail that others have appended; all else of it is right.
    fn close_gap(&self, inode: u64, mbox: &FileHandle, gap: Range<u64>, len: u64) -> mailfs::Result<()> {
        let new_len = gap.start + len.saturating_sub(gap.end);
        if new_len > gap.start {
            self.sync(mbox)?;
            // Stopped from here on, it is done again: what goes down is in the undo file.
            self.replace(|file| {
                let mut out = Writing::new(file);
                out.head(Kind::Redo, [0, 1], [inode, len, new_len])?;
                out.range(gap.start, len - gap.start)?;
                out.copy(mbox, gap.end..len)?;
                out.copy(mbox, new_len..len)?;
                out.finish()
            })?;
            copy(mbox, gap.end, mbox, gap.start, len - gap.end)?;
            self.sync(mbox)?;
        }
        mbox.set_len(new_len)?;
        self.sync(mbox)
    }

    fn sync(&self, mbox: &FileHandle) -> mailfs::Result<()> {
        if self.syncs { mbox.sync_data() } else { Ok(()) }
    }
}

/// Writes an undo file from its beginning.
fn write(file: &FileHandle, mbox: &FileHandle, change: &Change) -> mailfs::Result<()> {
    let there = mbox.metadata()?;
    let mut out = Writing::new(file);
    let count = change.ranges.len() + usize::from(!change.due.is_empty());
    let rule = change.in_force_with.map_or(0, Uid::value);
    out.head(
        Kind::Undo,
        [rule, u32::try_from(count).unwrap_or(u32::MAX)],
        [there.inode, change.old_len, change.new_len],
    )?;
    for range in &change.ranges {
        out.range(range.start, range.end - range.start)?;
        out.copy(mbox, range.clone())?;
    }
    if !change.due.is_empty() {
        out.range(change.old_len, change.due.len() as u64)?;
        out.put(&change.due)?;
    }
    out.finish()
}
