//! Changing an mbox in its place: the file that is to be, as stretches of the file that is and new bytes, in order.
//!
//! # Invariants
//!
//! 1. Every byte that will be overwritten or cut off is in the undo file, durable, before the first changes.
//! 2. Stretches that move down are copied front to back and those that move up back to front, so that none overwrites what
//!    is still to be copied; new bytes come last.
//! 3. A file that gets shorter is cut when all else is durable: then the change is complete. One that gets longer is made
//!    so first.

use std::{ops::Range, sync::PoisonError};

use mailfs::{FileHandle, Metadata, OpenMode};

use super::{
    files::MboxFiles,
    locks::LockedFile,
    undo::{Change, DUE_LEN_MAX, copy, copy_up},
};

/// A file that is to be.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pieces: Vec<Piece>,
    /// Bytes of it so far.
    len: u64,
}

#[derive(Debug)]
enum Piece {
    /// A stretch of the old file, and where it will be.
    Keep(Range<u64>, u64),
    /// New bytes, and where they will be.
    Put(Vec<u8>, u64),
}

impl Plan {
    /// Bytes of the file so far.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Goes on with a stretch of the old file.
    pub(super) fn keep(&mut self, range: Range<u64>) {
        let len = range.end.saturating_sub(range.start);
        if len == 0 {
            return;
        }
        match self.pieces.last_mut() {
            Some(Piece::Keep(before, _)) if before.end == range.start => before.end = range.end,
            _ => self.pieces.push(Piece::Keep(range, self.len)),
        }
        self.len += len;
    }

    /// Goes on with a stretch of the old file in which some bytes are replaced by as many others.
    pub(super) fn keep_patched(&mut self, range: Range<u64>, patch: Option<(u64, Vec<u8>)>) {
        let end = |(at, bytes): &(u64, Vec<u8>)| at + bytes.len() as u64;
        match patch.filter(|patch| patch.0 >= range.start && end(patch) <= range.end) {
            None => self.keep(range),
            Some(patch) => {
                let behind = end(&patch)..range.end;
                self.keep(range.start..patch.0);
                self.put(patch.1);
                self.keep(behind);
            }
        }
    }

    /// Goes on with new bytes.
    pub(super) fn put(&mut self, bytes: Vec<u8>) {
        let len = bytes.len() as u64;
        if len > 0 {
            self.pieces.push(Piece::Put(bytes, self.len));
            self.len += len;
        }
    }

    /// What of the old file will be overwritten or cut off.
    fn overwritten(&self, old_len: u64) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = Vec::new();
        let mut add = |range: Range<u64>| {
            let range = range.start..range.end.min(old_len);
            match ranges.last_mut() {
                _ if range.start >= range.end => {}
                Some(before) if before.end >= range.start => before.end = range.end,
                _ => ranges.push(range),
            }
        };
        for piece in &self.pieces {
            match piece {
                Piece::Keep(from, at) if from.start == *at => {}
                Piece::Keep(from, at) => add(*at..*at + (from.end - from.start)),
                Piece::Put(bytes, at) => add(*at..*at + bytes.len() as u64),
            }
        }
        add(self.len..old_len);
        ranges
    }

    /// The first bytes that will be behind the old end.
    fn due(&self, file: &FileHandle, old_len: u64) -> mailfs::Result<Vec<u8>> {
        let end = self.len.min(old_len + DUE_LEN_MAX as u64);
        let mut due = vec![0; usize::try_from(end.saturating_sub(old_len)).unwrap_or(0)];
        for piece in &self.pieces {
            let (at, len) = match piece {
                Piece::Keep(from, at) => (*at, from.end - from.start),
                Piece::Put(bytes, at) => (*at, bytes.len() as u64),
            };
            let (from, to) = (at.max(old_len), (at + len).min(end));
            if from >= to {
                continue;
            }
            let place = |offset: u64| usize::try_from(offset).unwrap_or(usize::MAX);
            let room = due.get_mut(place(from - old_len)..place(to - old_len)).unwrap_or_default();
            match piece {
                Piece::Keep(range, _) => {
                    file.read_at(room, range.start + (from - at))?;
                }
                Piece::Put(bytes, _) => {
                    let bytes = bytes.get(place(from - at)..place(to - at)).unwrap_or_default();
                    room.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
                }
            }
        }
        Ok(due)
    }

    /// Makes the file what it is to be.
    fn carry_out(&self, file: &FileHandle) -> mailfs::Result<()> {
        let mut up = Vec::new();
        for piece in &self.pieces {
            let Piece::Keep(from, at) = piece else { continue };
            if *at > from.start {
                up.push((from, *at));
                continue;
            }
            // What moves down behind them does not reach them, but they may reach it.
            move_up(file, &mut up)?;
            if *at < from.start {
                copy(file, from.start, file, *at, from.end - from.start)?;
            }
        }
        move_up(file, &mut up)?;
        for piece in &self.pieces {
            if let Piece::Put(bytes, at) = piece {
                file.write_at(bytes, *at)?;
            }
        }
        Ok(())
    }
}

fn move_up(file: &FileHandle, pieces: &mut Vec<(&Range<u64>, u64)>) -> mailfs::Result<()> {
    while let Some((from, at)) = pieces.pop() {
        copy_up(file, from.start, at, from.end - from.start)?;
    }
    Ok(())
}

impl MboxFiles {
    /// Makes a planned change, durably; when it fails, the file is what it was, or the undo file says so. Tells how the
    /// file looks then.
    pub(super) fn change_file(&self, held: &LockedFile, plan: &Plan) -> mailfs::Result<Metadata> {
        let file = &held.file;
        let before = file.metadata()?;
        let change = Change {
            old_len: before.len,
            new_len: plan.len(),
            ranges: plan.overwritten(before.len),
            due: plan.due(file, before.len)?,
            in_force_with: None,
        };
        self.undo.prepare(file, &change)?;
        *self.appending.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.owes_clear.store(false, std::sync::atomic::Ordering::Release);
        let done = self.carry_out(plan, file, &before);
        if let Err(e) = done {
            self.forget();
            // A handle on which a call has failed is not trusted again.
            let undone =
                self.fs().open(self.path(), OpenMode::ReadWrite).and_then(|file| self.undo.recover(&file, |_| None));
            if let Err(again) = undone {
                tracing::error!(path = %self.path().display(), "a change of the file is not taken back yet: {again}");
            }
            return Err(e);
        }
        self.undo.clear(true)?;
        file.metadata()
    }

    fn carry_out(&self, plan: &Plan, file: &FileHandle, before: &Metadata) -> mailfs::Result<()> {
        let syncs = self.shared.syncs();
        if plan.len() > before.len {
            // What others append when this is stopped half-way comes behind it all, and can be told from it.
            file.set_len(plan.len())?;
        }
        plan.carry_out(file)?;
        let now = file.metadata()?;
        let same_second = super::files::seconds(now.modified) == super::files::seconds(before.modified);
        if plan.len() == before.len && same_second {
            // Others look at length and seconds alone.
            file.set_modified(before.modified + std::time::Duration::from_secs(1))?;
        }
        if syncs {
            file.sync_data()?;
        }
        if plan.len() < before.len {
            file.set_len(plan.len())?;
            if syncs {
                file.sync_data()?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mailfs::{FileSystemExt, sim::SimDisk};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever is kept and put, the file becomes what the plan says, and only what the plan says is overwritten.
        #[test]
        fn a_file_becomes_what_is_planned(
            len in 0usize..60,
            pieces in proptest::collection::vec((0usize..12, 0usize..12, 0usize..12), 0..8),
        ) {
            let old: Vec<u8> = (0..len).map(|n| b'a' + (n % 26) as u8).collect();
            let (mut plan, mut expect, mut at) = (Plan::default(), Vec::new(), 0);
            for (skip, keep, put) in pieces {
                let start = (at + skip).min(len);
                let end = (start + keep).min(len);
                plan.keep(start as u64..end as u64);
                expect.extend_from_slice(&old[start..end]);
                at = end;
                let new = vec![b'0' + (put % 10) as u8; put];
                expect.extend_from_slice(&new);
                plan.put(new);
            }
            let fs = SimDisk::new().as_file_system();
            let path = Path::new("/mbox");
            fs.write_atomic(path, &old, 0o600, false).unwrap();
            let file = fs.open(path, OpenMode::ReadWrite).unwrap();
            let due = plan.due(&file, len as u64).unwrap();
            plan.carry_out(&file).unwrap();
            file.set_len(plan.len()).unwrap();
            let new = fs.read_all(path, 1 << 20).unwrap();
            prop_assert_eq!(&new, &expect);
            let overwritten = plan.overwritten(len as u64);
            prop_assert_eq!(&due[..], new.get(len..).unwrap_or_default());
            for at in (0..len).filter(|at| old.get(*at) != new.get(*at)) {
                prop_assert!(overwritten.iter().any(|range| range.contains(&(at as u64))), "{}", at);
            }
        }
    }
}
