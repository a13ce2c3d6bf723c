//! About a thousand records in columns: the unit that states share and copy.

use std::ops::Range;

/// Records in a full chunk.
pub(crate) const CHUNK_LEN_MAX: usize = 1024;

/// One extension's fields in a chunk, `width` bytes each. Missing bytes (a column that was never written, or written
/// when the field was smaller) are zero.
#[derive(Clone, Debug, Default)]
pub(crate) struct Column {
    pub(crate) width: usize,
    pub(crate) data: Vec<u8>,
}

/// Records in ascending UID order. Never empty inside a state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chunk {
    pub(crate) uids: Vec<u32>,
    pub(crate) flags: Vec<u8>,
    /// By extension number; may end early.
    pub(crate) columns: Vec<Column>,
    pub(crate) seen: u32,
    pub(crate) deleted: u32,
}

const SEEN: u8 = 0x08;
const DELETED: u8 = 0x04;

impl Chunk {
    pub(crate) fn len(&self) -> usize {
        self.uids.len()
    }

    pub(crate) fn first_uid(&self) -> u32 {
        self.uids.first().copied().unwrap_or(0)
    }

    pub(crate) fn last_uid(&self) -> u32 {
        self.uids.last().copied().unwrap_or(0)
    }

    /// Approximate memory, in bytes.
    pub(crate) fn byte_size(&self) -> usize {
        let columns: usize = self.columns.iter().map(|c| c.data.capacity() + size_of::<Column>()).sum();
        self.uids.capacity() * 4 + self.flags.capacity() + columns + size_of::<Self>()
    }

    /// Positions of the UIDs in a range.
    pub(crate) fn positions(&self, uid1: u32, uid2: u32) -> Range<usize> {
        let from = self.uids.partition_point(|&uid| uid < uid1);
        let more = self.uids.get(from..).unwrap_or(&[]);
        from..from + more.partition_point(|&uid| uid <= uid2)
    }

    /// An extension's field; empty or short where nothing was written.
    pub(crate) fn field(&self, extension: usize, at: usize) -> &[u8] {
        match self.columns.get(extension) {
            Some(column) => column.data.get(at * column.width..(at + 1) * column.width).unwrap_or(&[]),
            None => &[],
        }
    }

    /// The column, at least `width` wide and as long as the chunk.
    pub(crate) fn column_mut(&mut self, extension: usize, width: usize) -> &mut Column {
        if self.columns.len() <= extension {
            self.columns.resize_with(extension + 1, Column::default);
        }
        let len = self.uids.len();
        let column = &mut self.columns[extension];
        if column.width < width {
            column.rewiden(width);
        }
        // A new column, or one that appended records have outgrown.
        column.data.resize(len * column.width, 0);
        column
    }

    /// Bytes that [`Self::column_mut`] would add.
    pub(crate) fn column_growth(&self, extension: usize, width: usize) -> usize {
        let have = self.columns.get(extension).map_or(0, |column| column.data.len());
        (self.len() * width).saturating_sub(have)
    }

    /// Adds a record; its fields are zero.
    pub(crate) fn push(&mut self, uid: u32, flags: u8) {
        self.uids.push(uid);
        self.flags.push(flags);
        self.count(0, flags);
    }

    fn count(&mut self, old: u8, new: u8) {
        self.seen = self.seen + u32::from(new & SEEN != 0) - u32::from(old & SEEN != 0);
        self.deleted = self.deleted + u32::from(new & DELETED != 0) - u32::from(old & DELETED != 0);
    }

    /// Flags of some records := (old & !remove) | add.
    pub(crate) fn update_flags(&mut self, range: Range<usize>, add: u8, remove: u8) {
        for at in range {
            let Some(flags) = self.flags.get_mut(at) else { return };
            let old = *flags;
            let new = (old & !remove) | add;
            *flags = new;
            self.count(old, new);
        }
    }

    /// Sets an 8-byte field of some records.
    pub(crate) fn fill_u64(&mut self, extension: usize, range: Range<usize>, value: u64) {
        let column = self.column_mut(extension, 8);
        let width = column.width;
        if let Some(fields) = column.data.get_mut(range.start * width..range.end * width) {
            for field in fields.chunks_exact_mut(width) {
                field.fill(0);
                field.iter_mut().zip(value.to_le_bytes()).for_each(|(to, from)| *to = from);
            }
        }
    }

    /// Takes out records; the ranges ascend and do not overlap.
    pub(crate) fn remove(&mut self, ranges: &[Range<usize>]) {
        for range in ranges {
            for at in range.clone() {
                let flags = self.flags.get(at).copied().unwrap_or(0);
                self.count(flags, 0);
            }
        }
        compact(&mut self.uids, 1, ranges);
        compact(&mut self.flags, 1, ranges);
        for column in &mut self.columns {
            compact(&mut column.data, column.width, ranges);
        }
    }

    /// Adds all records of another chunk behind its own.
    pub(crate) fn extend(&mut self, other: &Self) {
        let (len, more) = (self.len(), other.len());
        self.uids.extend_from_slice(&other.uids);
        self.flags.extend_from_slice(&other.flags);
        self.seen += other.seen;
        self.deleted += other.deleted;
        for (extension, from) in other.columns.iter().enumerate() {
            if from.data.is_empty() {
                continue;
            }
            let to = self.column_mut(extension, from.width);
            for at in 0..more {
                let field = from.data.get(at * from.width..(at + 1) * from.width).unwrap_or(&[]);
                if let Some(room) = to.data.get_mut((len + at) * to.width..) {
                    room.iter_mut().zip(field).for_each(|(to, from)| *to = *from);
                }
            }
        }
    }
}

impl Column {
    /// Changes the width; fields are cut or filled with zeros.
    pub(crate) fn rewiden(&mut self, width: usize) {
        if self.width == width {
            return;
        }
        if self.width > 0 && width > 0 && !self.data.is_empty() {
            let mut data = vec![0; self.data.len() / self.width * width];
            for (to, from) in data.chunks_exact_mut(width).zip(self.data.chunks_exact(self.width)) {
                to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            }
            self.data = data;
        } else {
            self.data = Vec::new();
        }
        self.width = width;
    }
}

fn compact<T: Copy>(values: &mut Vec<T>, width: usize, removed: &[Range<usize>]) {
    // Columns may end early: positions past their end are not there to be removed.
    let len = values.len();
    let mut to = removed.first().map_or(len, |range| range.start * width).min(len);
    for (i, range) in removed.iter().enumerate() {
        let from = (range.end * width).min(len);
        let until = removed.get(i + 1).map_or(len, |next| next.start * width).min(len);
        if from < until {
            values.copy_within(from..until, to);
            to += until - from;
        }
    }
    values.truncate(to);
}
