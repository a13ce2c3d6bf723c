//! From a state to an index file.

use zerocopy::IntoBytes;

use super::layout::{RawExtensionHeader, place_fields};
use crate::{
    offset_encoding::{align4, align8},
    state::{Chunk, Extension, Inner, RawIndexHeader, State},
};

/// Largest index file that is written, in bytes.
pub const SNAPSHOT_SIZE_MAX: u64 = 4 << 30;

/// The state does not fit an index file; its log has to be kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("an index of {messages} records of {record_size} bytes is too large")]
pub struct SnapshotTooLarge {
    /// Messages.
    pub messages: u32,
    /// Bytes in each record.
    pub record_size: usize,
}

/// What a snapshot says that the state does not know.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SnapshotStamp {
    /// When the log was last rotated: 0 keeps what the header has, 0xffffffff: there is no `.log.2`.
    pub log2_rotate_time: u32,
}

/// An extension as it will stand in the file.
struct Prepared<'a> {
    extension: &'a Extension,
    hdr: Vec<u8>,
    hdr_size: usize,
    record_size: u16,
}

/// Encodes the state as an index file whose head is the state's position. The modseq counter should be known
/// ([`State::modseq_is_known`]); else the old value stays, for the log position that it was true at.
pub fn encode(state: &State, stamp: &SnapshotStamp) -> Result<Vec<u8>, SnapshotTooLarge> {
    let inner = &*state.0;
    let prepared: Vec<_> = inner.extensions.iter().enumerate().map(|(i, ext)| prepare(inner, i, ext)).collect();
    let fields: Vec<_> = prepared.iter().map(|p| (p.record_size, p.extension.record_align)).collect();
    let (offsets, record_size) = place_fields(&fields);
    let extensions_size: usize = prepared.iter().map(Prepared::size).sum();
    let header_size = align8(inner.header.size()) + extensions_size;
    let size = header_size as u64 + u64::from(inner.messages) * record_size as u64;
    if record_size > usize::from(u16::MAX) || size > SNAPSHOT_SIZE_MAX {
        return Err(SnapshotTooLarge { messages: inner.messages, record_size });
    }
    let mut out = Vec::with_capacity(size as usize);
    write_base_header(state, stamp, header_size, record_size, &mut out);
    for (prepared, &offset) in prepared.iter().zip(&offsets) {
        prepared.write(offset, &mut out);
    }
    let zero = inner.modseq_of_zero().to_le_bytes();
    let modseq_at = inner.modseq_field().and_then(|field| offsets.get(field)).copied();
    for chunk in &inner.chunks {
        write_chunk(chunk, &prepared, &offsets, record_size, &mut out);
        if let Some(at) = modseq_at {
            let start = out.len() - chunk.len() * record_size;
            let records = out.get_mut(start..).into_iter().flat_map(|records| records.chunks_exact_mut(record_size));
            for field in records.filter_map(|record| record.get_mut(at..at + 8)) {
                if field == [0; 8] {
                    field.copy_from_slice(&zero);
                }
            }
        }
    }
    Ok(out)
}

fn prepare<'a>(inner: &Inner, index: usize, extension: &'a Extension) -> Prepared<'a> {
    let index = Some(index);
    let mut record_size = extension.record_size;
    let hdr = if index == inner.keywords_ext {
        let names = inner.keywords.names();
        record_size = record_size.max(names.len().div_ceil(8) as u16);
        keyword_table(inner)
    } else if index == inner.modseq_ext && inner.modseq_known {
        let position = inner.position.map_or((0, 0), |p| (p.file_seq, p.offset));
        let mut hdr = extension.hdr.to_vec();
        hdr.resize(hdr.len().max(16), 0);
        let values = inner.modseq.max(1).to_le_bytes().into_iter();
        let values = values.chain(position.0.to_le_bytes()).chain(position.1.to_le_bytes());
        hdr.iter_mut().zip(values).for_each(|(to, from)| *to = from);
        hdr
    } else {
        extension.hdr.to_vec()
    };
    let hdr_size = hdr.len().max(extension.hdr_size as usize);
    Prepared { extension, hdr, hdr_size, record_size }
}

fn keyword_table(inner: &Inner) -> Vec<u8> {
    let names = inner.keywords.names();
    let mut hdr = (names.len() as u32).to_le_bytes().to_vec();
    let mut at: u32 = 0;
    for name in names {
        hdr.extend([0; 4]);
        hdr.extend(at.to_le_bytes());
        at = at.saturating_add(name.as_bytes().len() as u32 + 1);
    }
    for name in names {
        hdr.extend(name.as_bytes());
        hdr.push(0);
    }
    hdr.resize(align4(hdr.len()), 0);
    hdr
}

impl Prepared<'_> {
    fn size(&self) -> usize {
        align8(size_of::<RawExtensionHeader>() + self.extension.name.len()) + align8(self.hdr_size)
    }

    /// A keyword field may have grown out of an extension that had none, nor an alignment.
    fn record_align(&self) -> u16 {
        if self.record_size > 0 { self.extension.record_align.max(1) } else { self.extension.record_align }
    }

    fn write(&self, record_offset: usize, out: &mut Vec<u8>) {
        let start = out.len();
        let raw = RawExtensionHeader {
            hdr_size: (self.hdr_size as u32).into(),
            reset_id: self.extension.reset_id.into(),
            record_offset: (record_offset as u16).into(),
            record_size: self.record_size.into(),
            record_align: self.record_align().into(),
            name_size: (self.extension.name.len() as u16).into(),
        };
        out.extend(raw.as_bytes());
        out.extend(&*self.extension.name);
        out.resize(start + align8(out.len() - start), 0);
        out.extend(&self.hdr);
        out.resize(start + self.size(), 0);
    }
}

fn write_base_header(state: &State, stamp: &SnapshotStamp, header_size: usize, record_size: usize, out: &mut Vec<u8>) {
    let inner = &*state.0;
    let next_uid = state.next_uid().value();
    let mut raw = inner.header.raw;
    raw.base_header_size = (inner.header.size() as u16).into();
    raw.header_size = (header_size as u32).into();
    raw.record_size = (record_size as u32).into();
    raw.messages_count = inner.messages.into();
    raw.old_recent_messages_count = 0.into();
    raw.seen_messages_count = inner.seen.into();
    raw.deleted_messages_count = inner.deleted.into();
    raw.first_recent_uid = raw.first_recent_uid.get().clamp(1, next_uid).into();
    raw.first_unseen_uid_lowwater =
        first_uid(inner, next_uid, |chunk| (chunk.seen as usize) < chunk.len(), 0x08, 0).into();
    raw.first_deleted_uid_lowwater = first_uid(inner, next_uid, |chunk| chunk.deleted > 0, 0x04, 0x04).into();
    let position = inner.position.map_or((0, 0), |p| (p.file_seq, p.offset));
    raw.log_file_seq = position.0.into();
    raw.log_file_head_offset = position.1.into();
    raw.log_file_tail_offset = state.tail_offset().into();
    let dirty = inner.chunks.iter().any(|chunk| chunk.flags.iter().any(|flags| flags & 0x80 != 0));
    let flags = raw.flags.get() & !RawIndexHeader::HAVE_DIRTY;
    raw.flags = if dirty { flags | RawIndexHeader::HAVE_DIRTY } else { flags }.into();
    if stamp.log2_rotate_time != 0 {
        raw.log2_rotate_time = stamp.log2_rotate_time.into();
    }
    out.extend(raw.as_bytes());
    out.extend(&*inner.header.unknown);
    out.resize(align8(out.len()), 0);
}

/// The first UID whose flags are `wanted` under `mask`, or next_uid: a lowwater mark, exact.
fn first_uid(inner: &Inner, next_uid: u32, may_have: impl Fn(&Chunk) -> bool, mask: u8, wanted: u8) -> u32 {
    let Some(chunk) = inner.chunks.iter().find(|chunk| may_have(chunk)) else { return next_uid };
    let at = chunk.flags.iter().position(|flags| flags & mask == wanted);
    at.and_then(|at| chunk.uids.get(at)).copied().unwrap_or(next_uid)
}

fn write_chunk(chunk: &Chunk, prepared: &[Prepared<'_>], offsets: &[usize], record_size: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + chunk.len() * record_size, 0);
    let Some(records) = out.get_mut(start..) else { return };
    for ((record, uid), flags) in records.chunks_exact_mut(record_size).zip(&chunk.uids).zip(&chunk.flags) {
        record.iter_mut().zip(uid.to_le_bytes().into_iter().chain([*flags])).for_each(|(to, from)| *to = from);
    }
    for ((column, prepared), &offset) in chunk.columns.iter().zip(prepared).zip(offsets) {
        let width = column.width.min(usize::from(prepared.record_size));
        if width == 0 || column.data.is_empty() {
            continue;
        }
        for (record, field) in records.chunks_exact_mut(record_size).zip(column.data.chunks_exact(column.width)) {
            if let (Some(to), Some(from)) = (record.get_mut(offset..offset + width), field.get(..width)) {
                to.copy_from_slice(from);
            }
        }
    }
}
