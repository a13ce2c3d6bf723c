//! An undo file as it stands on disk, and what it says of the mbox.

use std::{ops::Range, sync::Arc};

use mailfs::FileHandle;
use mailtypes::Uid;
use sha2::{Digest, Sha256};

use super::{
    Append, DUE_LEN_MAX, HEAD_LEN, MAGIC, RANGE_HEAD_LEN, REDO_MAGIC, SUM_LEN,
    copying::{COPY_LEN, copy, differs},
};
use crate::mbox::{
    meta::Meta,
    scan::{Rules, SMALL_WINDOW_LEN, Scanner},
    sync::separator_at,
};

/// Whether a change is taken back or brought to its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// The bytes are those before the change; of a range at the old end, those after it.
    Undo,
    /// The bytes up to the new length are those after it, the others those before.
    Redo,
}

/// An undo file that is being written.
pub(super) struct Writing<'a> {
    file: &'a FileHandle,
    sum: Sha256,
    at: u64,
    waiting: Vec<u8>,
}

impl<'a> Writing<'a> {
    /// Into an empty file.
    pub(super) fn new(file: &'a FileHandle) -> Self {
        Self { file, sum: Sha256::new(), at: 0, waiting: Vec::new() }
    }

    /// Rule and number of ranges; inode, old and new length.
    pub(super) fn head(&mut self, kind: Kind, words: [u32; 2], numbers: [u64; 3]) -> mailfs::Result<()> {
        self.put(match kind {
            Kind::Undo => MAGIC,
            Kind::Redo => REDO_MAGIC,
        })?;
        self.put(&words.map(u32::to_le_bytes).concat())?;
        self.put(&numbers.map(u64::to_le_bytes).concat())
    }

    pub(super) fn range(&mut self, start: u64, len: u64) -> mailfs::Result<()> {
        self.put(&[start, len].map(u64::to_le_bytes).concat())
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> mailfs::Result<()> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= COPY_LEN { self.flush() } else { Ok(()) }
    }

    /// A stretch of the mbox. What is behind its end reads as zeros, and is cut off when it is taken back.
    pub(super) fn copy(&mut self, mbox: &FileHandle, range: Range<u64>) -> mailfs::Result<()> {
        let (mut at, mut buffer) = (range.start, Vec::new());
        while at < range.end {
            let want = usize::try_from(range.end - at).unwrap_or(COPY_LEN).min(COPY_LEN);
            buffer.resize(want, 0);
            let read = mbox.read_at(&mut buffer, at)?;
            buffer.get_mut(read..).unwrap_or_default().fill(0);
            self.put(&buffer)?;
            at += want as u64;
        }
        Ok(())
    }

    fn flush(&mut self) -> mailfs::Result<()> {
        self.sum.update(&self.waiting);
        self.file.write_at(&self.waiting, self.at)?;
        self.at += self.waiting.len() as u64;
        self.waiting.clear();
        Ok(())
    }

    pub(super) fn finish(mut self) -> mailfs::Result<()> {
        self.flush()?;
        let sum = self.sum.finalize();
        self.file.write_at(sum.get(..SUM_LEN).unwrap_or_default(), self.at)
    }
}

/// An undo file that is whole.
pub(super) struct Saved {
    kind: Kind,
    pub(super) inode: u64,
    old_len: u64,
    new_len: u64,
    in_force_with: Option<Uid>,
    /// Where in the mbox, and where in the undo file its bytes are.
    ranges: Vec<(Range<u64>, u64)>,
}

impl Saved {
    /// `None` for what is no undo file, or not whole.
    pub(super) fn read(file: &FileHandle) -> mailfs::Result<Option<Self>> {
        let len = file.len()?;
        let mut head = [0; HEAD_LEN];
        let Some(data_len) = len.checked_sub(SUM_LEN as u64) else { return Ok(None) };
        if data_len < HEAD_LEN as u64 || file.read_at(&mut head, 0)? < HEAD_LEN {
            return Ok(None);
        }
        let kind = match &head {
            head if head.starts_with(MAGIC) => Kind::Undo,
            head if head.starts_with(REDO_MAGIC) => Kind::Redo,
            _ => return Ok(None),
        };
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
            kind,
            inode: u64_at(16),
            old_len: u64_at(24),
            new_len: u64_at(32),
            in_force_with: Uid::new(u32_at(8)),
            ranges,
        }))
    }

    pub(super) fn append(&self) -> Option<Append> {
        self.in_force_with.map(|first| Append { first, old_len: self.old_len })
    }

    /// A file is cut only when all else of its change is durable, and by nobody else before its end. Who appends to one
    /// that was cut does so where other bytes stood.
    pub(super) fn is_finished(&self, file: &FileHandle, mbox: &FileHandle, len: u64) -> mailfs::Result<bool> {
        if len < self.old_len {
            return Ok(true);
        }
        let Some((range, at)) = self.ranges.last().filter(|(range, _)| range.end > self.new_len) else {
            return Ok(false);
        };
        let start = range.start.max(self.new_len);
        differs(file, at + (start - range.start), mbox, start, range.end - start)
    }

    /// Puts the saved bytes into their places, in a file of that length. What is between the place that is told and mail
    /// that came from others since is still to go.
    pub(super) fn restore(&self, file: &FileHandle, mbox: &FileHandle, len: u64) -> mailfs::Result<Range<u64>> {
        if self.kind == Kind::Redo {
            for (range, at) in &self.ranges {
                copy(file, *at, mbox, range.start, self.new_len.saturating_sub(range.start))?;
            }
            return Ok(self.new_len..self.old_len);
        }
        for (range, at) in self.ranges.iter().filter(|(range, _)| range.start < self.old_len) {
            copy(file, *at, mbox, range.start, range.end - range.start)?;
        }
        let end = self.new_len.min(len);
        let is_longer = end > self.old_len && self.is_begun(file, mbox, len)?;
        Ok(self.old_len..if is_longer { end } else { self.old_len })
    }

    /// Whether what stands behind the old end is of the change, or nothing yet: the file is made longer first. A file that
    /// was not longer when somebody appended to it has other bytes there.
    fn is_begun(&self, file: &FileHandle, mbox: &FileHandle, len: u64) -> mailfs::Result<bool> {
        let Some((range, at)) = self.ranges.last().filter(|(range, _)| range.start >= self.old_len) else {
            return Ok(true);
        };
        let known = (range.end - range.start).min(len.saturating_sub(self.old_len));
        let known = usize::try_from(known).unwrap_or(DUE_LEN_MAX).min(DUE_LEN_MAX);
        let (mut due, mut there) = (vec![0; known], vec![0; known]);
        file.read_at(&mut due, *at)?;
        let read = mbox.read_at(&mut there, self.old_len)?;
        Ok(there.iter().zip(&due).take(read).all(|(there, due)| there == due || *there == 0))
    }

    /// Whether all that was to be appended stands there: messages with UIDs from the first on, whose lengths lead from one
    /// to the next and to the end, without the zeros that a power cut leaves.
    pub(super) fn is_whole(&self, mbox: &FileHandle, append: Append, len: u64) -> mailfs::Result<bool> {
        let has_no_zero = |piece: &[u8]| memchr::memchr(0, piece).is_none();
        if len < self.new_len || !all_pieces(mbox, self.old_len..self.new_len, has_no_zero)? {
            return Ok(false);
        }
        let mut scanner = Scanner::of_part(Arc::clone(mbox), self.new_len, Rules::Dovecot, SMALL_WINDOW_LEN);
        let start = separator_at(&mut scanner, self.old_len)?;
        scanner.seek(start);
        let mut least = Some(append.first);
        while let Some(message) = scanner.next_message()? {
            let uid = Meta::parse(&message.header.bytes).uid;
            let is_next = match least {
                Some(first) if first == append.first => uid == least,
                _ => uid >= least,
            };
            if !is_next || least.is_none() || !message.has_length {
                return Ok(false);
            }
            if message.end == self.new_len {
                return Ok(true);
            }
            least = uid.and_then(Uid::successor);
        }
        Ok(false)
    }

    /// The place that was made for an append of which nothing was written: a commit never has zeros alone there.
    pub(super) fn unwritten(&self, mbox: &FileHandle, len: u64) -> mailfs::Result<Option<Range<u64>>> {
        let range = self.old_len..self.new_len;
        let is_made = !range.is_empty() && len >= range.end;
        let is_it = is_made && all_pieces(mbox, range.clone(), |piece| piece.iter().all(|byte| *byte == 0))?;
        Ok(is_it.then_some(range))
    }
}

/// Whether the stretch is there, and each piece of it is as asked for.
fn all_pieces(mbox: &FileHandle, range: Range<u64>, is_so: impl Fn(&[u8]) -> bool) -> mailfs::Result<bool> {
    let (mut at, mut buffer) = (range.start, vec![0; COPY_LEN]);
    while at < range.end {
        let want = usize::try_from(range.end - at).unwrap_or(COPY_LEN).min(COPY_LEN);
        let read = mbox.read_at(buffer.get_mut(..want).unwrap_or_default(), at)?;
        if read < want || !is_so(buffer.get(..read).unwrap_or_default()) {
            return Ok(false);
        }
        at += read as u64;
    }
    Ok(true)
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
