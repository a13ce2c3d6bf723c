//! EXT_* records: selecting, resizing, resetting and filling extensions.

use std::sync::Arc;

use super::{Halt, ProblemKind, Replay};
use crate::{
    log::{ExtIntro, Patches, RawIncrement, ext_records},
    state::{
        EXT_HDR_SIZE_MAX, EXT_HDR_SIZE_SUM_MAX, EXT_RECORD_SIZE_MAX, EXTENSIONS_MAX, Extension, Inner, RawIndexHeader,
        Selected, names,
    },
};

impl Replay {
    pub(super) fn ext_intro(&mut self, offset: u32, intro: ExtIntro<'_>) -> Result<(), Halt> {
        self.inner.selected = Selected::Skip;
        match self.select(intro) {
            Ok(Some((index, stale))) => {
                if !stale {
                    self.resize(index, intro)?;
                }
                let record_size = intro.raw.record_size.get();
                self.inner.selected = Selected::Extension { index, record_size, stale };
            }
            Ok(None) => {}
            Err(kind) => self.problem(offset, kind),
        }
        Ok(())
    }

    /// Finds or creates the extension; tells whether the intro is of another generation than the data.
    fn select(&mut self, intro: ExtIntro<'_>) -> Result<Option<(usize, bool)>, ProblemKind> {
        let raw = intro.raw;
        let (record_size, align) = (raw.record_size.get(), raw.record_align.get());
        if raw.hdr_size.get() > EXT_HDR_SIZE_MAX || record_size > EXT_RECORD_SIZE_MAX {
            return Err(ProblemKind::Intro("sizes out of range"));
        }
        if !matches!(align, 0 | 1 | 2 | 4 | 8) || (record_size > 0 && align == 0) {
            return Err(ProblemKind::Intro("no valid alignment"));
        }
        let found = match raw.ext_id.get() {
            ExtIntro::BY_NAME => {
                if intro.name.is_empty() || intro.name.contains(&0) {
                    return Err(ProblemKind::Intro("no valid name"));
                }
                self.inner.find_extension(intro.name)
            }
            id => match self.inner.extensions.get(id as usize) {
                Some(_) => Some(id as usize),
                None => return Err(ProblemKind::Intro("no extension has this number")),
            },
        };
        if intro.name == names::KEYWORDS || (found.is_some() && found == self.inner.keywords_ext) {
            return Err(ProblemKind::Intro("keywords are not introduced"));
        }
        if !self.has_room_for_header(found, raw.hdr_size.get()) {
            return Err(ProblemKind::TooMany("bytes of extension headers"));
        }
        let Some(index) = found else {
            if raw.hdr_size.get() == 0 && record_size == 0 {
                return Err(ProblemKind::Intro("a new extension without any size"));
            }
            if self.inner.extensions.len() >= EXTENSIONS_MAX {
                return Err(ProblemKind::TooMany("extensions"));
            }
            let index = self.inner.push_extension(Extension {
                name: intro.name.into(),
                reset_id: raw.reset_id.get(),
                hdr_size: raw.hdr_size.get(),
                hdr: Arc::default(),
                record_size,
                record_align: align,
            });
            return Ok(Some((index, false)));
        };
        let stale = self.inner.extensions.get(index).is_none_or(|ext| ext.reset_id != raw.reset_id.get());
        Ok(Some((index, stale)))
    }

    /// Whether an extension, or a new one, may have a header of this size beside those of the others. What a snapshot
    /// brought along stays, and grows no further.
    fn has_room_for_header(&self, index: Option<usize>, wanted: u32) -> bool {
        let sizes = || self.inner.extensions.iter().map(|ext| ext.hdr_size);
        let now = index.and_then(|index| sizes().nth(index)).unwrap_or(0);
        let all: u64 = sizes().map(u64::from).sum();
        wanted <= now || all + u64::from(wanted - now) <= u64::from(EXT_HDR_SIZE_SUM_MAX)
    }

    fn resize(&mut self, index: usize, intro: ExtIntro<'_>) -> Result<(), Halt> {
        let no_shrink = intro.raw.flags.get() & ExtIntro::NO_SHRINK != 0;
        let Some(ext) = self.inner.extensions.get_mut(index) else { return Ok(()) };
        let wanted = intro.raw.hdr_size.get();
        let size = intro.raw.record_size.get();
        // Without any size it could not stand in a snapshot: then the header data stays.
        let sizeless = wanted == 0 && size == 0 && ext.record_size == 0;
        if wanted > ext.hdr_size || !(no_shrink || sizeless) {
            ext.hdr_size = wanted;
            if ext.hdr.len() > wanted as usize {
                Arc::make_mut(&mut ext.hdr).truncate(wanted as usize);
            }
        }
        let align = intro.raw.record_align.get();
        if align > ext.record_align || (align != 0 && !no_shrink) {
            ext.record_align = align;
        }
        let shrinks = size != 0 && size < ext.record_size && !no_shrink;
        if size > ext.record_size || shrinks {
            ext.record_size = size;
        }
        // Columns grow when they are next written; what is cut off must not come back, so it is cut now.
        if shrinks { self.cut_column(index, usize::from(size)) } else { Ok(()) }
    }

    /// Cuts an extension's fields to a width; 0 drops them.
    fn cut_column(&mut self, index: usize, width: usize) -> Result<(), Halt> {
        self.work(self.inner.chunks.len() as u64)?;
        for at in 0..self.inner.chunks.len() {
            let wide = |inner: &Inner| {
                let column = inner.chunks.get(at).and_then(|chunk| chunk.columns.get(index));
                column.filter(|column| column.width > width && !column.data.is_empty()).map(|column| column.data.len())
            };
            let Some(bytes) = wide(&self.inner) else { continue };
            self.work(bytes as u64)?;
            if let Some(column) =
                self.inner.chunks.get_mut(at).and_then(|chunk| Arc::make_mut(chunk).columns.get_mut(index))
            {
                let before = column.data.capacity();
                column.rewiden(width);
                self.memory = self.memory.saturating_sub(before.saturating_sub(column.data.capacity()));
            }
        }
        Ok(())
    }

    /// The selected extension, if its records are to be taken.
    fn selected(&mut self, offset: u32) -> Option<(usize, u16)> {
        match self.inner.selected {
            Selected::Extension { index, record_size, stale: false } => Some((index, record_size)),
            Selected::Extension { .. } | Selected::Skip => None,
            Selected::None => {
                self.problem(offset, ProblemKind::NoIntro);
                None
            }
        }
    }

    pub(super) fn ext_reset(&mut self, offset: u32, new_reset_id: u32, preserve: bool) -> Result<(), Halt> {
        let (index, record_size) = match self.inner.selected {
            Selected::Extension { index, record_size, .. } => (index, record_size),
            Selected::Skip => return Ok(()),
            Selected::None => {
                self.problem(offset, ProblemKind::NoIntro);
                return Ok(());
            }
        };
        let Some(ext) = self.inner.extensions.get_mut(index) else { return Ok(()) };
        ext.reset_id = new_reset_id;
        self.inner.selected = Selected::Extension { index, record_size, stale: false };
        if preserve {
            return Ok(());
        }
        ext.hdr = Arc::default();
        self.cut_column(index, 0)
    }

    pub(super) fn ext_header(&mut self, offset: u32, patches: Patches<'_>) -> Result<(), Halt> {
        let Some((index, _)) = self.selected(offset) else { return Ok(()) };
        let is_modseq = self.inner.modseq_ext == Some(index);
        if is_modseq {
            self.settle_modseqs()?;
        }
        for (at, data) in patches {
            let Some(ext) = self.inner.extensions.get_mut(index) else { return Ok(()) };
            let end = at as usize + data.len();
            if end > ext.hdr_size as usize {
                self.problem(offset, ProblemKind::ExtensionData("header data past the header's size"));
                continue;
            }
            let grown = end.saturating_sub(ext.hdr.len());
            let cost = if Arc::strong_count(&ext.hdr) > 1 { ext.hdr.len() } else { 0 } + grown;
            self.work(cost as u64 / 8 + 1)?;
            self.grow_memory(grown)?;
            let Some(ext) = self.inner.extensions.get_mut(index) else { return Ok(()) };
            let hdr = Arc::make_mut(&mut ext.hdr);
            if hdr.len() < end {
                hdr.resize(end, 0);
            }
            if let Some(to) = hdr.get_mut(at as usize..end) {
                to.copy_from_slice(data);
            }
        }
        if is_modseq {
            self.inner.raise_modseq_of_zero();
        }
        Ok(())
    }

    pub(super) fn ext_records(&mut self, offset: u32, payload: &[u8]) -> Result<(), Halt> {
        let Some((index, size)) = self.selected(offset) else { return Ok(()) };
        let Some(width) = self.inner.extensions.get(index).map(|ext| usize::from(ext.record_size)) else {
            return Ok(());
        };
        let Some(entries) = ext_records(payload, size) else {
            self.problem(offset, ProblemKind::ExtensionData("records of another size"));
            return Ok(());
        };
        for (uid, data) in entries {
            if let Some(field) = self.field_mut(index, width, uid)? {
                field.fill(0);
                field.iter_mut().zip(data).for_each(|(to, from)| *to = *from);
            }
        }
        Ok(())
    }

    pub(super) fn ext_increments(&mut self, offset: u32, increments: &[RawIncrement]) -> Result<(), Halt> {
        let Some((index, _)) = self.selected(offset) else { return Ok(()) };
        let width = self.inner.extensions.get(index).map_or(0, |ext| usize::from(ext.record_size));
        if !matches!(width, 1 | 2 | 4 | 8) {
            self.problem(offset, ProblemKind::ExtensionData("only numbers can be incremented"));
            return Ok(());
        }
        let max = u64::MAX >> (64 - 8 * width);
        for increment in increments {
            let uid = increment.uid.get();
            let Some(field) = self.field_mut(index, width, uid)? else { continue };
            let mut bytes = [0; 8];
            bytes.iter_mut().zip(&*field).for_each(|(to, from)| *to = *from);
            let sum = u64::from_le_bytes(bytes).checked_add_signed(increment.diff.get().into());
            match sum.filter(|&sum| sum <= max) {
                Some(sum) => field.iter_mut().zip(sum.to_le_bytes()).for_each(|(to, from)| *to = from),
                None => self.problem(offset, ProblemKind::Increment { uid }),
            }
        }
        Ok(())
    }

    /// A message's field, made writable at the extension's full width.
    fn field_mut(&mut self, index: usize, width: usize, uid: u32) -> Result<Option<&mut [u8]>, Halt> {
        self.work(1)?;
        let at = self.inner.chunk_of(uid);
        let Some(chunk) = self.inner.chunks.get(at) else { return Ok(None) };
        let Ok(position) = chunk.uids.binary_search(&uid) else { return Ok(None) };
        self.grow_column(at, index, width)?;
        let Some(chunk) = self.inner.chunks.get_mut(at) else { return Ok(None) };
        let column = Arc::make_mut(chunk).column_mut(index, width);
        let width = column.width;
        Ok(column.data.get_mut(position * width..(position + 1) * width))
    }

    /// Accounts for what writing a column of a chunk at this width will cost.
    pub(super) fn grow_column(&mut self, chunk: usize, index: usize, width: usize) -> Result<(), Halt> {
        let Some(growth) = self.inner.chunks.get(chunk).map(|c| c.column_growth(index, width)) else { return Ok(()) };
        if growth > 0 {
            self.work(growth as u64 / 8)?;
            self.grow_memory(growth)?;
        }
        Ok(())
    }

    pub(super) fn header_update(&mut self, offset: u32, patches: Patches<'_>) {
        for (at, data) in patches {
            let kept = self.inner.header.raw;
            if !self.inner.header.patch(at as usize, data) {
                self.problem(offset, ProblemKind::HeaderUpdate { offset: at, size: data.len() });
                continue;
            }
            restore_own_fields(&mut self.inner.header.raw, &kept);
        }
    }
}

/// Fields that describe the snapshot file itself, or that the state computes, are not taken from header updates;
/// next_uid never sinks.
fn restore_own_fields(header: &mut RawIndexHeader, kept: &RawIndexHeader) {
    let next_uid = header.next_uid.get().max(kept.next_uid.get());
    *header = RawIndexHeader {
        flags: header.flags,
        uid_validity: header.uid_validity,
        next_uid: next_uid.into(),
        first_recent_uid: header.first_recent_uid,
        first_unseen_uid_lowwater: header.first_unseen_uid_lowwater,
        first_deleted_uid_lowwater: header.first_deleted_uid_lowwater,
        log2_rotate_time: header.log2_rotate_time,
        last_temp_file_scan: header.last_temp_file_scan,
        day_stamp: header.day_stamp,
        day_first_uid: header.day_first_uid,
        ..*kept
    };
}
