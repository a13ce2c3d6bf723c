//! Records about messages: appends, flags, keywords, modseqs, expunges.

use std::{ops::Range, sync::Arc};

use mailtypes::UidSet;

use super::{Halt, ProblemKind, Replay};
use crate::{
    log::{KeywordUpdate, Origin, RawAppend, RawExpungeGuid, RawFlagUpdate, RawModseqUpdate, RawUidRange, is_counted},
    state::{CHUNK_LEN_MAX, Chunk, EXTENSIONS_MAX, Extension, KEYWORDS_MAX, RecordFlags, names},
};

/// The largest UID that a store can hold.
const UID_MAX: u32 = 0xffff_fffe;

impl Replay {
    pub(super) fn append(&mut self, offset: u32, appends: &[RawAppend]) -> Result<(), Halt> {
        let mut next_uid = self.inner.header.raw.next_uid.get();
        for append in appends {
            let uid = append.uid.get();
            if uid < next_uid || uid == 0 || uid > UID_MAX {
                self.problem(offset, ProblemKind::AppendUid { uid, next_uid });
                return Ok(());
            }
            next_uid = uid + 1;
        }
        self.work(appends.len() as u64)?;
        self.grow_memory(appends.len() * 5)?;
        for append in appends {
            // The last chunk is filled up, then a new one is begun.
            if self.inner.chunks.last().is_none_or(|chunk| chunk.len() >= CHUNK_LEN_MAX) {
                self.inner.chunks.push(Arc::default());
            }
            let Some(chunk) = self.inner.chunks.last_mut() else { return Ok(()) };
            Arc::make_mut(chunk).push(append.uid.get(), append.flags & RecordFlags::ALL.0);
        }
        self.inner.header.raw.next_uid = next_uid.into();
        let first = appends.first().map_or(0, |append| append.uid.get());
        self.touch_modseq(first, next_uid - 1)
    }

    /// Calls `change` with each chunk that holds messages of the range, and their positions in it.
    fn for_range(
        &mut self,
        uid1: u32,
        uid2: u32,
        mut change: impl FnMut(&mut Self, usize, Range<usize>) -> Result<(), Halt>,
    ) -> Result<(), Halt> {
        self.work(1)?;
        let mut at = self.inner.chunk_of(uid1);
        while let Some(chunk) = self.inner.chunks.get(at).filter(|chunk| chunk.first_uid() <= uid2) {
            let positions = chunk.positions(uid1, uid2);
            if !positions.is_empty() {
                self.work(positions.len() as u64)?;
                change(self, at, positions)?;
            }
            at += 1;
        }
        Ok(())
    }

    fn chunk_mut(&mut self, at: usize) -> Option<&mut Chunk> {
        self.inner.chunks.get_mut(at).map(Arc::make_mut)
    }

    /// Gives messages the counter's value, if messages have modseqs of their own.
    fn touch_modseq(&mut self, uid1: u32, uid2: u32) -> Result<(), Halt> {
        let (Some(field), modseq) = (self.inner.modseq_field(), self.inner.modseq) else { return Ok(()) };
        self.for_range(uid1, uid2, |replay, at, positions| {
            replay.grow_column(at, field, 8)?;
            if let Some(chunk) = replay.chunk_mut(at) {
                chunk.fill_u64(field, positions, modseq);
            }
            Ok(())
        })
    }

    /// What a zero means is about to change: messages that have one keep what it meant.
    pub(super) fn settle_modseqs(&mut self) -> Result<(), Halt> {
        let of_zero = self.inner.modseq_of_zero();
        let Some(field) = self.inner.modseq_field().filter(|_| self.inner.has_modseq_of_zero()) else { return Ok(()) };
        for at in 0..self.inner.chunks.len() {
            let Some(len) = self.inner.chunks.get(at).map(|chunk| chunk.len()) else { break };
            self.work(len as u64)?;
            let is_zero = |replay: &Self, position: usize| {
                replay.inner.chunks.get(at).is_some_and(|chunk| chunk.field(field, position).iter().all(|b| *b == 0))
            };
            for position in 0..len {
                if is_zero(self, position) {
                    self.grow_column(at, field, 8)?;
                    if let Some(chunk) = self.chunk_mut(at) {
                        chunk.fill_u64(field, position..position + 1, of_zero);
                    }
                }
            }
        }
        Ok(())
    }

    pub(super) fn flag_update(&mut self, updates: &[RawFlagUpdate]) -> Result<(), Halt> {
        for update in updates {
            let (uid1, uid2) = (update.uid1.get(), update.uid2.get());
            let (add, remove) = (update.add & RecordFlags::ALL.0, update.remove);
            self.for_range(uid1, uid2, |replay, at, positions| {
                if let Some(chunk) = replay.chunk_mut(at) {
                    chunk.update_flags(positions, add, remove);
                }
                Ok(())
            })?;
            if is_counted(update) {
                self.touch_modseq(uid1, uid2)?;
            }
            if add & RecordFlags::DIRTY.0 != 0 {
                let header = &mut self.inner.header.raw;
                header.flags = (header.flags.get() | crate::state::RawIndexHeader::HAVE_DIRTY).into();
            }
        }
        Ok(())
    }

    pub(super) fn keyword_update(&mut self, offset: u32, update: KeywordUpdate<'_>) -> Result<(), Halt> {
        let Some((field, bit)) = self.keyword_bit(update.name) else {
            self.problem(offset, ProblemKind::TooMany("keywords"));
            return Ok(());
        };
        let (byte, mask) = (usize::from(bit / 8), 1u8 << (bit % 8));
        let width = self.inner.extensions.get(field).map_or(0, |ext| usize::from(ext.record_size));
        for range in update.ranges {
            let (uid1, uid2) = (range.uid1.get(), range.uid2.get());
            self.for_range(uid1, uid2, |replay, at, positions| {
                replay.grow_column(at, field, width)?;
                let Some(chunk) = replay.chunk_mut(at) else { return Ok(()) };
                let column = chunk.column_mut(field, width);
                let width = column.width;
                let fields = column.data.get_mut(positions.start * width..positions.end * width);
                for bits in fields.into_iter().flat_map(|fields| fields.iter_mut().skip(byte).step_by(width)) {
                    *bits = if update.remove { *bits & !mask } else { *bits | mask };
                }
                Ok(())
            })?;
            self.touch_modseq(uid1, uid2)?;
        }
        Ok(())
    }

    /// The keyword's bit and the number of the extension that holds it, both made if they are not there; `None`: no
    /// room.
    fn keyword_bit(&mut self, name: &[u8]) -> Option<(usize, u16)> {
        let field = match self.inner.keywords_ext {
            Some(field) => field,
            None if self.inner.extensions.len() < EXTENSIONS_MAX => self.inner.push_extension(Extension {
                name: names::KEYWORDS.into(),
                reset_id: 0,
                hdr_size: 4,
                hdr: Arc::default(),
                record_size: 1,
                record_align: 1,
            }),
            None => return None,
        };
        let bit = match self.inner.keywords.find(name) {
            Some(bit) => bit,
            None if self.inner.keywords.names().len() >= KEYWORDS_MAX => return None,
            None => Arc::make_mut(&mut self.inner.keywords).push(name),
        };
        // The field of a snapshot may be too narrow for its own keywords.
        let ext = self.inner.extensions.get_mut(field)?;
        ext.record_size = ext.record_size.max(bit / 8 + 1);
        Some((field, bit))
    }

    pub(super) fn keyword_reset(&mut self, ranges: &[RawUidRange]) -> Result<(), Halt> {
        for range in ranges {
            let (uid1, uid2) = (range.uid1.get(), range.uid2.get());
            if let Some(field) = self.inner.keywords_ext {
                self.for_range(uid1, uid2, |replay, at, positions| {
                    let Some(chunk) = replay.chunk_mut(at) else { return Ok(()) };
                    if let Some(column) = chunk.columns.get_mut(field) {
                        let end = (positions.end * column.width).min(column.data.len());
                        let start = (positions.start * column.width).min(end);
                        column.data.get_mut(start..end).into_iter().for_each(|bits| bits.fill(0));
                    }
                    Ok(())
                })?;
            }
            self.touch_modseq(uid1, uid2)?;
        }
        Ok(())
    }

    pub(super) fn modseq_update(&mut self, updates: &[RawModseqUpdate]) -> Result<(), Halt> {
        let Some(field) = self.inner.modseq_field() else { return Ok(()) };
        // A message without a modseq of its own has the extension header's; it never sinks either.
        let of_zero = self.inner.modseq_of_zero();
        for update in updates {
            let (uid, modseq) = (update.uid.get(), update.modseq());
            self.for_range(uid, uid, |replay, at, positions| {
                replay.grow_column(at, field, 8)?;
                let Some(chunk) = replay.chunk_mut(at) else { return Ok(()) };
                let own = chunk.field(field, positions.start).first_chunk::<8>();
                let own = own.map_or(0, |own| u64::from_le_bytes(*own));
                if modseq >= if own == 0 { of_zero } else { own } {
                    chunk.fill_u64(field, positions, modseq);
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    pub(super) fn expunge_ranges(&mut self, offset: u32, origin: Origin, ranges: &[RawUidRange]) -> Result<(), Halt> {
        let pairs = ranges.iter().map(|range| (range.uid1.get(), range.uid2.get()));
        match origin {
            Origin::External => self.remove(pairs),
            Origin::Internal => {
                let mut uids = UidSet::new();
                ranges.iter().filter_map(RawUidRange::range).for_each(|range| uids.insert_range(range));
                self.request(offset, uids);
                Ok(())
            }
        }
    }

    pub(super) fn expunge_guids(&mut self, offset: u32, origin: Origin, guids: &[RawExpungeGuid]) -> Result<(), Halt> {
        // They need not be in order; ranges must.
        let mut uids: Vec<u32> = guids.iter().map(|expunge| expunge.uid.get()).collect();
        uids.sort_unstable();
        uids.dedup();
        match origin {
            Origin::External => self.remove(uids.into_iter().map(|uid| (uid, uid))),
            Origin::Internal => {
                self.request(offset, uids.into_iter().filter_map(mailtypes::Uid::new).collect());
                Ok(())
            }
        }
    }

    fn request(&mut self, offset: u32, uids: UidSet) {
        if offset >= self.inner.tail {
            Arc::make_mut(&mut self.inner.pending).request_expunge(offset, uids);
        }
    }

    /// Takes out the messages in ascending ranges, each chunk in one pass.
    fn remove(&mut self, ranges: impl Iterator<Item = (u32, u32)>) -> Result<(), Halt> {
        let mut batch: Option<(usize, Vec<Range<usize>>)> = None;
        let mut emptied = false;
        for (uid1, uid2) in ranges {
            let mut at = self.inner.chunk_of(uid1);
            self.work(1)?;
            while let Some(chunk) = self.inner.chunks.get(at).filter(|chunk| chunk.first_uid() <= uid2) {
                let positions = chunk.positions(uid1, uid2);
                self.work(positions.len() as u64)?;
                if !positions.is_empty() {
                    match &mut batch {
                        Some((chunk, list)) if *chunk == at => list.push(positions),
                        _ => {
                            emptied |= self.remove_batch(batch.replace((at, vec![positions])))?;
                        }
                    }
                }
                at += 1;
            }
        }
        emptied |= self.remove_batch(batch)?;
        if emptied {
            self.inner.chunks.retain(|chunk| chunk.len() > 0);
        }
        Ok(())
    }

    /// Tells whether the chunk is empty now. It stays in place until all batches are done, so that numbers hold;
    /// nothing looks up UIDs before it in the meantime.
    fn remove_batch(&mut self, batch: Option<(usize, Vec<Range<usize>>)>) -> Result<bool, Halt> {
        let Some((at, ranges)) = batch else { return Ok(false) };
        let Some(chunk) = self.inner.chunks.get_mut(at) else { return Ok(false) };
        let chunk = Arc::make_mut(chunk);
        chunk.remove(&ranges);
        let empty = chunk.len() == 0;
        let moved = chunk.len() as u64 / 8;
        self.work(moved)?;
        Ok(empty)
    }
}
