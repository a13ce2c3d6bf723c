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
//! 2. Mail that somebody appended behind what a dead process left is kept.

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use mailfs::{FileHandle, FileSystem, OpenMode};
use mailtypes::Uid;
use sha2::{Digest, Sha256};

use crate::mailbox_list::Rights;

/// The file's name, in the folder of the index.
pub(crate) const UNDO_FILE: &str = "culver.mbox.undo";

pub(crate) const MAGIC: &[u8; 8] = b"CulvMbU1";
pub(crate) const HEAD_LEN: usize = 40;
pub(crate) const RANGE_HEAD_LEN: usize = 16;
pub(crate) const SUM_LEN: usize = 16;

/// Bytes copied at once.
const COPY_LEN: usize = 256 << 10;

/// A change of an mbox that is about to be made.
#[derive(Clone, Debug, Default)]
pub(super) struct Change {
    /// Bytes of the file before.
    pub(super) old_len: u64,
    /// Bytes of the file after.
    pub(super) new_len: u64,
    /// What will be overwritten or cut off, ascending, all below `old_len`.
    pub(super) ranges: Vec<Range<u64>>,
    /// The first message appended: where the index has it, the change is in force. `None`: the change is undone whenever it
    /// is found.
    pub(super) in_force_with: Option<Uid>,
}

/// The undo file of one mbox.
#[derive(Debug)]
pub(super) struct Undo {
    fs: Arc<dyn FileSystem>,
    dir: PathBuf,
    syncs: bool,
}

impl Undo {
    pub(super) fn new(fs: &Arc<dyn FileSystem>, dir: &Path, syncs: bool) -> Self {
        Self { fs: Arc::clone(fs), dir: dir.to_owned(), syncs }
    }

    fn path(&self) -> PathBuf {
        self.dir.join(UNDO_FILE)
    }

    /// Whether there may be something to take back. Costs a `stat`.
    pub(super) fn is_pending(&self) -> mailfs::Result<bool> {
        Ok(self.fs.metadata(&self.path())?.is_some_and(|there| there.len > 0))
    }

    /// Saves what a change will overwrite; durable when it returns.
    pub(super) fn prepare(&self, mbox: &FileHandle, change: &Change) -> mailfs::Result<()> {
        let path = self.path();
        let (file, is_new) = match self.fs.open(&path, OpenMode::ReadWrite) {
            Err(e) if e.is_not_found() => (Rights::of(&*self.fs, &self.dir)?.create(&*self.fs, &path)?, true),
            other => (other?, false),
        };
        let written = self.write(&file, mbox, change);
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
        Ok(())
    }

    fn write(&self, file: &FileHandle, mbox: &FileHandle, change: &Change) -> mailfs::Result<()> {
        let there = mbox.metadata()?;
        let mut head = Vec::with_capacity(HEAD_LEN);
        head.extend_from_slice(MAGIC);
        head.extend_from_slice(&change.in_force_with.map_or(0, Uid::value).to_le_bytes());
        head.extend_from_slice(&u32::try_from(change.ranges.len()).unwrap_or(u32::MAX).to_le_bytes());
        for number in [there.inode, change.old_len, change.new_len] {
            head.extend_from_slice(&number.to_le_bytes());
        }
        let (mut sum, mut at) = (Sha256::new(), 0);
        let mut put = |bytes: &[u8]| {
            sum.update(bytes);
            file.write_at(bytes, at)?;
            at += bytes.len() as u64;
            Ok::<(), mailfs::FsError>(())
        };
        file.set_len(0)?;
        let mut buffer = Vec::new();
        for range in &change.ranges {
            let len = range.end - range.start;
            head.extend_from_slice(&range.start.to_le_bytes());
            head.extend_from_slice(&len.to_le_bytes());
            let mut offset = range.start;
            while offset < range.end {
                let want = usize::try_from(range.end - offset).unwrap_or(COPY_LEN).min(COPY_LEN);
                buffer.resize(want, 0);
                let read = mbox.read_at(&mut buffer, offset)?;
                // What is behind the end reads as zeros, and is cut off when it is taken back.
                buffer.get_mut(read..).unwrap_or_default().fill(0);
                head.extend_from_slice(&buffer);
                offset += want as u64;
                if head.len() >= COPY_LEN {
                    put(&head)?;
                    head.clear();
                }
            }
        }
        put(&head)?;
        let sum = sum.finalize();
        file.write_at(sum.get(..SUM_LEN).unwrap_or_default(), at)
    }

    /// The change is complete, or taken back. `durable`: it must not come back after a power cut.
    pub(super) fn clear(&self, durable: bool) -> mailfs::Result<()> {
        let file = match self.fs.open(&self.path(), OpenMode::ReadWrite) {
            Err(e) if e.is_not_found() => return Ok(()),
            other => other?,
        };
        file.set_len(0)?;
        if durable && self.syncs {
            file.sync_data()?;
        }
        Ok(())
    }

    /// Takes a change back that somebody has left unfinished; `is_in_force` tells whether the index has a message, and
    /// nothing is done where nobody can tell. The mbox is locked for writing. Tells whether the mbox was changed.
    pub(super) fn recover(
        &self,
        mbox: &FileHandle,
        is_in_force: impl FnOnce(Uid) -> Option<bool>,
    ) -> mailfs::Result<bool> {
        if !self.is_pending()? {
            return Ok(false);
        }
        let file = self.fs.open(&self.path(), OpenMode::Read)?;
        let saved = Saved::read(&file)?;
        let there = mbox.metadata()?;
        let mut undone = false;
        match saved {
            Some(saved) if saved.inode == there.inode => {
                let in_force = match saved.in_force_with {
                    None => false,
                    Some(uid) => match is_in_force(uid) {
                        Some(in_force) => in_force,
                        None => return Ok(false),
                    },
                };
                if !in_force && saved.is_finished(&file, mbox, there.len)? {
                    // The cut may not be durable: a sync that failed is not made good by another, without a change.
                    mbox.set_len(there.len)?;
                    if self.syncs {
                        mbox.sync_data()?;
                    }
                } else if !in_force {
                    tracing::warn!(dir = %self.dir.display(), "an unfinished change of the mbox file is taken back");
                    saved.take_back(&file, mbox, there.len)?;
                    if self.syncs {
                        mbox.sync_data()?;
                    }
                    undone = true;
                }
            }
            // Of a file that is not there any more; or never finished, and then nothing was changed.
            Some(_) | None => {}
        }
        self.clear(true)?;
        Ok(undone)
    }
}

/// An undo file that is whole.
struct Saved {
    inode: u64,
    old_len: u64,
    new_len: u64,
    in_force_with: Option<Uid>,
    /// Where in the mbox, and where in the undo file its bytes are.
    ranges: Vec<(Range<u64>, u64)>,
}

impl Saved {
    /// `None` for what is no undo file, or not whole.
    fn read(file: &FileHandle) -> mailfs::Result<Option<Self>> {
        let len = file.len()?;
        let mut head = [0; HEAD_LEN];
        let Some(data_len) = len.checked_sub(SUM_LEN as u64) else { return Ok(None) };
        if data_len < HEAD_LEN as u64 || file.read_at(&mut head, 0)? < HEAD_LEN || !head.starts_with(MAGIC) {
            return Ok(None);
        }
        let mut sum = [0; SUM_LEN];
        file.read_at(&mut sum, data_len)?;
        if *sum_of(file, data_len)? != sum {
            return Ok(None);
        }
        let u32_at = |at: usize| head.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |b| u32::from_le_bytes(*b));
        let u64_at = |at: usize| head.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |b| u64::from_le_bytes(*b));
        let (mut ranges, mut at) = (Vec::new(), HEAD_LEN as u64);
        for _ in 0..u32_at(12) {
            let mut range = [0; RANGE_HEAD_LEN];
            if file.read_at(&mut range, at)? < RANGE_HEAD_LEN {
                return Ok(None);
            }
            let [start, range_len] =
                [0, 8].map(|at| range.get(at..).and_then(<[u8]>::first_chunk).map_or(0, |b| u64::from_le_bytes(*b)));
            at += RANGE_HEAD_LEN as u64;
            let Some(end) = start.checked_add(range_len).filter(|_| range_len <= data_len.saturating_sub(at)) else {
                return Ok(None);
            };
            ranges.push((start..end, at));
            at += range_len;
        }
        Ok(Some(Self {
            inode: u64_at(16),
            old_len: u64_at(24),
            new_len: u64_at(32),
            in_force_with: Uid::new(u32_at(8)),
            ranges,
        }))
    }

    /// A file is cut only when all else of its change is durable, and by nobody else before its end. Who appends to one
    /// that was cut does so where other bytes stood.
    fn is_finished(&self, file: &FileHandle, mbox: &FileHandle, len: u64) -> mailfs::Result<bool> {
        if len < self.old_len {
            return Ok(true);
        }
        let Some((range, at)) = self.ranges.last().filter(|(range, _)| range.end > self.new_len) else {
            return Ok(false);
        };
        let start = range.start.max(self.new_len);
        differs(file, at + (start - range.start), mbox, start, range.end - start)
    }

    fn take_back(&self, file: &FileHandle, mbox: &FileHandle, len: u64) -> mailfs::Result<()> {
        for (range, at) in &self.ranges {
            copy(file, *at, mbox, range.start, range.end - range.start)?;
        }
        // What is behind the place where the change would have ended came from somebody else since.
        let changed_to = self.old_len.max(self.new_len);
        let more = len.saturating_sub(changed_to);
        if more > 0 && changed_to > self.old_len {
            copy(mbox, changed_to, mbox, self.old_len, more)?;
        }
        mbox.set_len(self.old_len + more)
    }
}

/// The sum of so many bytes from the beginning.
pub(crate) fn sum_of(file: &FileHandle, len: u64) -> mailfs::Result<Box<[u8; SUM_LEN]>> {
    let (mut sum, mut at, mut buffer) = (Sha256::new(), 0, vec![0; COPY_LEN]);
    while at < len {
        let want = usize::try_from(len - at).unwrap_or(COPY_LEN).min(COPY_LEN);
        let read = file.read_at(buffer.get_mut(..want).unwrap_or_default(), at)?;
        if read == 0 {
            break;
        }
        sum.update(buffer.get(..read).unwrap_or_default());
        at += read as u64;
    }
    Ok(Box::new(sum.finalize().first_chunk().copied().unwrap_or_default()))
}

/// Whether two stretches differ.
fn differs(a: &FileHandle, a_at: u64, b: &FileHandle, b_at: u64, len: u64) -> mailfs::Result<bool> {
    let room = usize::try_from(len).unwrap_or(COPY_LEN).min(COPY_LEN);
    let (mut left, mut right, mut done) = (vec![0; room], vec![0; room], 0);
    while done < len {
        let want = usize::try_from(len - done).unwrap_or(room).min(room);
        let (left, right) = (left.get_mut(..want).unwrap_or_default(), right.get_mut(..want).unwrap_or_default());
        let read = (a.read_at(left, a_at + done)?, b.read_at(right, b_at + done)?);
        if read != (want, want) || left != right {
            return Ok(true);
        }
        done += want as u64;
    }
    Ok(false)
}

/// Copies a stretch to a place that is not behind its own, ascending.
pub(super) fn copy(from: &FileHandle, at: u64, to: &FileHandle, to_at: u64, len: u64) -> mailfs::Result<()> {
    let mut buffer = vec![0; usize::try_from(len).unwrap_or(COPY_LEN).min(COPY_LEN)];
    let mut done = 0;
    while done < len {
        let want = usize::try_from(len - done).unwrap_or(COPY_LEN).min(COPY_LEN);
        let read = from.read_at(buffer.get_mut(..want).unwrap_or_default(), at + done)?;
        if read == 0 {
            break;
        }
        to.write_at(buffer.get(..read).unwrap_or_default(), to_at + done)?;
        done += read as u64;
    }
    Ok(())
}

/// Copies a stretch to a place behind its own, descending.
pub(super) fn copy_up(file: &FileHandle, at: u64, to_at: u64, len: u64) -> mailfs::Result<()> {
    let mut buffer = vec![0; usize::try_from(len).unwrap_or(COPY_LEN).min(COPY_LEN)];
    let mut left = len;
    while left > 0 {
        let want = usize::try_from(left).unwrap_or(COPY_LEN).min(COPY_LEN);
        left -= want as u64;
        let piece = buffer.get_mut(..want).unwrap_or_default();
        let read = file.read_at(piece, at + left)?;
        file.write_at(piece.get(..read).unwrap_or_default(), to_at + left)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use mailfs::{FileSystemExt, sim::SimDisk};

    use super::*;

    fn start(content: &[u8]) -> (Arc<dyn FileSystem>, FileHandle, Undo) {
        let fs = SimDisk::new().as_file_system();
        fs.write_atomic(Path::new("/mbox"), content, 0o600, false).unwrap();
        let file = fs.open(Path::new("/mbox"), OpenMode::ReadWrite).unwrap();
        let undo = Undo::new(&fs, Path::new("/"), true);
        (fs, file, undo)
    }

    fn content(fs: &Arc<dyn FileSystem>) -> Vec<u8> {
        fs.read_all(Path::new("/mbox"), 1 << 20).unwrap()
    }

    #[test]
    fn a_change_left_half_done_is_taken_back() {
        let (fs, file, undo) = start(b"0123456789");
        let change = Change { old_len: 10, new_len: 13, ranges: vec![2..4, 7..10], in_force_with: None };
        undo.prepare(&file, &change).unwrap();
        file.write_at(b"xx", 2).unwrap();
        file.write_at(b"yyyyyy", 7).unwrap();
        assert!(undo.is_pending().unwrap());
        assert!(undo.recover(&file, |_| None).unwrap());
        assert_eq!(content(&fs), b"0123456789");
        assert!(!undo.is_pending().unwrap() && !undo.recover(&file, |_| Some(false)).unwrap());
    }

    #[test]
    fn what_came_behind_it_is_kept() {
        for (new_len, then) in [(6, &b"ab56786789"[..]), (13, b"01234567yyyyy")] {
            let (fs, file, undo) = start(b"0123456789");
            let change = Change { old_len: 10, new_len, ranges: vec![0..4, 4..10], in_force_with: None };
            undo.prepare(&file, &change).unwrap();
            file.write_at(then, 0).unwrap();
            let len = file.len().unwrap();
            file.write_at(b"more", len).unwrap();
            assert!(undo.recover(&file, |_| Some(false)).unwrap());
            assert_eq!(content(&fs), b"0123456789more", "{new_len}");
        }
    }

    #[test]
    fn what_is_finished_or_in_force_stays() {
        let (fs, file, undo) = start(b"0123456789");
        undo.prepare(&file, &Change { old_len: 10, new_len: 6, ranges: vec![0..4, 4..10], in_force_with: None })
            .unwrap();
        file.write_at(b"456789", 0).unwrap();
        file.set_len(6).unwrap();
        assert!(!undo.recover(&file, |_| Some(false)).unwrap());
        assert_eq!(content(&fs), b"456789");
        let change = Change { old_len: 6, new_len: 8, ranges: vec![], in_force_with: Uid::new(4) };
        undo.prepare(&file, &change).unwrap();
        assert!(!undo.recover(&file, |_| None).unwrap() && undo.is_pending().unwrap());
        for in_force in [true, false] {
            let change = Change { old_len: 6, new_len: 8, ranges: vec![], in_force_with: Uid::new(4) };
            undo.prepare(&file, &change).unwrap();
            file.write_at(b"ab", 6).unwrap();
            assert_eq!(undo.recover(&file, |uid| Some(uid.value() == 4 && in_force)).unwrap(), !in_force);
            assert_eq!(content(&fs), if in_force { &b"456789ab"[..] } else { b"456789" });
            file.set_len(6).unwrap();
        }
    }

    #[test]
    fn one_that_is_not_whole_changes_nothing() {
        let (fs, file, undo) = start(b"0123456789");
        let change = Change { old_len: 10, new_len: 10, ranges: vec![0..4, 4..10], in_force_with: None };
        undo.prepare(&file, &change).unwrap();
        let path = Path::new("/").join(UNDO_FILE);
        let whole = fs.read_all(&path, 1 << 20).unwrap();
        file.write_at(b"abc", 0).unwrap();
        for len in 0..whole.len() {
            fs.write_atomic(&path, &whole[..len], 0o600, false).unwrap();
            assert!(!undo.recover(&file, |_| Some(false)).unwrap());
        }
        for at in 0..whole.len() {
            let mut bad = whole.clone();
            bad[at] ^= 1;
            fs.write_atomic(&path, &bad, 0o600, false).unwrap();
            assert!(!undo.recover(&file, |_| Some(false)).unwrap(), "{at}");
        }
        assert_eq!(content(&fs), b"abc3456789");
        fs.write_atomic(&path, &whole, 0o600, false).unwrap();
        assert!(undo.recover(&file, |_| Some(false)).unwrap());
        assert_eq!(content(&fs), b"0123456789");
    }
}
