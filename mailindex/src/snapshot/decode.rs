//! From an index file to a state.

use std::sync::Arc;

use zerocopy::{FromZeros, IntoBytes};

use super::{
    extension_headers,
    layout::{ExtensionHeader, FIELDS_START},
};
use crate::state::{
    BaseHeader, CHUNK_LEN_MAX, Chunk, Column, Extension, Inner, KEYWORDS_MAX, KeywordTable, LogPosition,
    RawIndexHeader, RecordFlags, State, names,
};

/// Why a snapshot is of no use: the state has to come from the logs alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The file ends inside the headers.
    #[error("the index ends inside its headers, at {len} bytes")]
    Truncated {
        /// Bytes that are there.
        len: usize,
    },
    /// Another major version.
    #[error("index major version {0} is not supported")]
    MajorVersion(u8),
    /// Written on a big-endian host.
    #[error("the index is not little-endian (compat flags {0:#04x})")]
    ByteOrder(u8),
    /// Sizes in the base header that contradict each other.
    #[error("index header sizes make no sense: base {base}, all {all}, record {record}")]
    Sizes {
        /// base_header_size.
        base: u16,
        /// header_size.
        all: u32,
        /// record_size.
        record: u32,
    },
    /// indexid 0.
    #[error("the index has no id")]
    IndexId,
    /// An extension header that does not parse.
    #[error("index extension header at offset {offset}: {what}")]
    Extension {
        /// Where.
        offset: usize,
        /// What is wrong.
        what: &'static str,
    },
    /// The keyword table does not parse.
    #[error("the index's keyword table: {0}")]
    Keywords(&'static str),
    /// The last record has no UID.
    #[error("the last index record has UID 0")]
    LastUid,
}

/// Something wrong in a snapshot that was put right; Dovecot would run its fsck.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotProblem {
    /// The file is shorter than it says: records are missing. The state is not what the log's head made it.
    #[error("{missing} records are missing at the end")]
    MissingRecords {
        /// How many.
        missing: u32,
    },
    /// Records whose UIDs do not ascend were dropped.
    #[error("{dropped} records with wrong UIDs were dropped")]
    Order {
        /// How many.
        dropped: u32,
    },
    /// A field of the base header was out of its range.
    #[error("the header field {field} was {found}")]
    Header {
        /// Its name.
        field: &'static str,
        /// What it was.
        found: u32,
    },
    /// The name of an extension differs by one bit from one that is always there, and that is missing.
    #[error("the name of the extension {meant} is another by one bit")]
    ExtensionName {
        /// What it was taken for.
        meant: &'static str,
    },
}

impl SnapshotProblem {
    /// Whether messages may be missing, so that the logs behind the snapshot lead to a wrong state.
    pub fn loses_messages(&self) -> bool {
        matches!(self, Self::MissingRecords { .. } | Self::Order { .. })
    }
}

/// A decoded snapshot.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The state at [`State::position`].
    pub state: State,
    /// What was put right on the way.
    pub problems: Vec<SnapshotProblem>,
}

/// Smallest base header accepted: up to the log's head offset.
const BASE_HEADER_SIZE_MIN: u16 = 72;
/// The old `\Recent` bit.
const OLD_RECENT: u8 = 0x20;

/// Decodes a whole index file. Linear in its size.
pub fn decode(file: &[u8]) -> Result<Decoded, SnapshotError> {
    let (header, header_size) = base_header(file)?;
    let headers = file.get(..header_size).ok_or(SnapshotError::Truncated { len: file.len() })?;
    let base_size = usize::from(header.raw.base_header_size.get());
    let mut extensions = extension_headers(headers, base_size, header.raw.record_size.get())?;
    let mut problems = Vec::new();
    put_names_right(&mut extensions, &mut problems);
    let mut inner = Inner::empty();
    inner.header = header;
    for extension in &extensions {
        inner.push_extension(Extension {
            name: extension.name.into(),
            reset_id: extension.raw.reset_id.get(),
            hdr_size: extension.raw.hdr_size.get(),
            hdr: Arc::new(extension.hdr.to_vec()),
            record_size: extension.raw.record_size.get(),
            record_align: record_align(extension.raw.record_align.get()),
        });
        if extension.name == names::KEYWORDS {
            inner.keywords = Arc::new(keyword_table(extension.hdr)?);
        }
    }
    let records = file.get(header_size..).unwrap_or(&[]);
    read_records(&mut inner, &extensions, records, &mut problems)?;
    check_header(&mut inner, &mut problems);
    place(&mut inner);
    inner.header.raw.minor_version = inner.header.raw.minor_version.max(RawIndexHeader::MINOR);
    Ok(Decoded { state: inner.finish(), problems })
}

/// Extensions without which what a mailbox knows is lost, by names that are long enough to be told from others.
const KNOWN_NAMES: [&str; 8] =
    ["keywords", "modseq", "cache", "dbox-hdr", "mdbox-hdr", "mdbox", "hdr-pop3-uidl", "box-name"];

/// Gives extensions their names back of which one bit is another: nobody would know them, and their content would be lost
/// at the next change, though it is there. What holds no keyword table does not become one: it would take the whole file
/// with it.
fn put_names_right(extensions: &mut [ExtensionHeader<'_>], problems: &mut Vec<SnapshotProblem>) {
    for meant in KNOWN_NAMES {
        let is_near = |name: &[u8]| {
            let differ = meant.bytes().zip(name).map(|(a, b)| (a ^ b).count_ones()).sum::<u32>();
            meant.len() == name.len() && differ == 1
        };
        let fits = |extension: &ExtensionHeader<'_>| {
            is_near(extension.name) && (meant.as_bytes() != names::KEYWORDS || keyword_table(extension.hdr).is_ok())
        };
        if extensions.iter().any(|extension| extension.name == meant.as_bytes()) {
            continue;
        }
        if let Some(extension) = extensions.iter_mut().find(|extension| fits(extension)) {
            extension.name = meant.as_bytes();
            problems.push(SnapshotProblem::ExtensionName { meant });
        }
    }
}

/// The alignment of an extension without a field may be anything; it must not stay so when a field is added.
fn record_align(on_disk: u16) -> u16 {
    if matches!(on_disk, 1 | 2 | 4 | 8) { on_disk } else { 0 }
}

fn base_header(file: &[u8]) -> Result<(BaseHeader, usize), SnapshotError> {
    let truncated = SnapshotError::Truncated { len: file.len() };
    let &[major, _, low, high] = file.first_chunk::<4>().ok_or(truncated)?;
    if major != RawIndexHeader::MAJOR {
        return Err(SnapshotError::MajorVersion(major));
    }
    let base = u16::from_le_bytes([low, high]);
    let on_disk = file.get(..usize::from(base)).ok_or(truncated)?;
    let mut raw = RawIndexHeader::new_zeroed();
    raw.as_mut_bytes().iter_mut().zip(on_disk).for_each(|(to, from)| *to = *from);
    let (all, record) = (raw.header_size.get(), raw.record_size.get());
    if base < BASE_HEADER_SIZE_MIN || all < u32::from(base) || record < 8 {
        return Err(SnapshotError::Sizes { base, all, record });
    }
    if raw.compat_flags != RawIndexHeader::LITTLE_ENDIAN {
        return Err(SnapshotError::ByteOrder(raw.compat_flags));
    }
    if raw.indexid.get() == 0 {
        return Err(SnapshotError::IndexId);
    }
    let unknown = on_disk.get(RawIndexHeader::SIZE..).unwrap_or(&[]).into();
    Ok((BaseHeader { raw, unknown }, all as usize))
}

/// `{u32 count; count x {u32 unused; u32 name_offset}; names}`.
fn keyword_table(hdr: &[u8]) -> Result<KeywordTable, SnapshotError> {
    let mut table = KeywordTable::default();
    let Some((count, rest)) = hdr.split_first_chunk::<4>() else { return Ok(table) };
    let count = u32::from_le_bytes(*count) as usize;
    if count > KEYWORDS_MAX {
        return Err(SnapshotError::Keywords("too many keywords"));
    }
    let (entries, names) =
        rest.split_at_checked(count * 8).ok_or(SnapshotError::Keywords("it is longer than its header"))?;
    for (i, entry) in entries.as_chunks::<8>().0.iter().enumerate() {
        let [.., a, b, c, d] = *entry;
        let at = u32::from_le_bytes([a, b, c, d]) as usize;
        let name = names.get(at..).and_then(|rest| rest.split(|&byte| byte == 0).next());
        match name.filter(|name| !name.is_empty() && name.len() <= usize::from(u16::MAX)) {
            Some(name) => table.push(name),
            // As Dovecot's fsck names them.
            None => table.push(format!("unknown-{i}").as_bytes()),
        };
    }
    Ok(table)
}

fn read_records(
    inner: &mut Inner,
    extensions: &[ExtensionHeader<'_>],
    bytes: &[u8],
    problems: &mut Vec<SnapshotProblem>,
) -> Result<(), SnapshotError> {
    let size = inner.header.raw.record_size.get() as usize;
    let announced = inner.header.raw.messages_count.get();
    let there = u32::try_from(bytes.len() / size).unwrap_or(u32::MAX);
    if there < announced {
        problems.push(SnapshotProblem::MissingRecords { missing: announced - there });
    }
    let records = bytes.get(..announced.min(there) as usize * size).unwrap_or(&[]);
    if records.len() >= size && records.get(records.len() - size..).is_some_and(|last| uid_of(last) == 0) {
        return Err(SnapshotError::LastUid);
    }
    let mut dropped = 0;
    let mut last = 0;
    // Zero was refused as the last UID; elsewhere such records are dropped like others that do not ascend.
    let ascending = records.chunks_exact(size).filter(|record| {
        let uid = uid_of(record);
        let good = uid > last && uid != u32::MAX;
        if good {
            last = uid
        } else {
            dropped += 1
        }
        good
    });
    let clear = if inner.header.raw.minor_version <= 1 { OLD_RECENT } else { 0 };
    let masks = Masks { flags: RecordFlags::ALL.0 & !clear, keywords: inner.keywords.names().len() };
    let mut batch: Vec<&[u8]> = Vec::with_capacity(CHUNK_LEN_MAX);
    for record in ascending {
        batch.push(record);
        if batch.len() == CHUNK_LEN_MAX {
            inner.chunks.push(Arc::new(chunk(&batch, extensions, &masks)));
            batch.clear();
        }
    }
    if !batch.is_empty() {
        inner.chunks.push(Arc::new(chunk(&batch, extensions, &masks)));
    }
    if dropped > 0 {
        problems.push(SnapshotProblem::Order { dropped });
    }
    Ok(())
}

fn uid_of(record: &[u8]) -> u32 {
    record.first_chunk::<4>().map_or(0, |uid| u32::from_le_bytes(*uid))
}

/// What of a record is taken.
struct Masks {
    flags: u8,
    /// How many keyword bits mean something. In the others Dovecot leaves rubbish when it widens the field, which
    /// must not turn into keywords when there are more names one day.
    keywords: usize,
}

fn chunk(records: &[&[u8]], extensions: &[ExtensionHeader<'_>], masks: &Masks) -> Chunk {
    let mut chunk = Chunk::default();
    chunk.uids.reserve_exact(records.len());
    chunk.flags.reserve_exact(records.len());
    for record in records {
        let flags = record.get(FIELDS_START - 1).copied().unwrap_or(0);
        chunk.push(uid_of(record), flags & masks.flags);
    }
    for extension in extensions {
        let (at, width) =
            (usize::from(extension.raw.record_offset.get()), usize::from(extension.raw.record_size.get()));
        let fields = records.iter().map(|record| record.get(at..at + width).unwrap_or(&[]));
        let mut column = Column::default();
        if fields.clone().any(|field| field.iter().any(|&byte| byte != 0)) {
            column.width = width;
            column.data.reserve_exact(records.len() * width);
            fields.for_each(|field| column.data.extend_from_slice(field));
            if extension.name == names::KEYWORDS {
                mask_bits(&mut column, masks.keywords);
            }
        }
        chunk.columns.push(column);
    }
    chunk
}

/// Clears all bits from `count` on in each field.
fn mask_bits(column: &mut Column, count: usize) {
    for field in column.data.chunks_exact_mut(column.width) {
        for (i, byte) in field.iter_mut().enumerate() {
            let bits = count.saturating_sub(i * 8).min(8);
            *byte &= ((1u16 << bits) - 1) as u8;
        }
    }
}

/// Puts header fields right that can be.
fn check_header(inner: &mut Inner, problems: &mut Vec<SnapshotProblem>) {
    let last_uid = inner.chunks.last().map_or(0, |chunk| chunk.last_uid());
    let (seen, deleted): (u32, u32) =
        inner.chunks.iter().fold((0, 0), |(seen, deleted), c| (seen + c.seen, deleted + c.deleted));
    let header = &mut inner.header.raw;
    let mut wrong = |field, found| problems.push(SnapshotProblem::Header { field, found });
    let minor = header.minor_version;
    if minor == 0 && header.first_recent_uid.get() == 0 {
        header.first_recent_uid = 1.into();
    }
    if minor <= 2 {
        header.unused2 = 0.into();
        header.log2_rotate_time = 0.into();
        header.last_temp_file_scan = 0.into();
    }
    let next_uid = header.next_uid.get();
    if next_uid == 0 || next_uid <= last_uid {
        wrong("next_uid", next_uid);
        header.next_uid = last_uid.saturating_add(1).into();
    }
    let next_uid = header.next_uid.get();
    if header.uid_validity.get() == 0 && next_uid != 1 {
        wrong("uid_validity", 0);
    }
    if header.seen_messages_count.get() != seen {
        wrong("seen_messages_count", header.seen_messages_count.get());
    }
    if header.deleted_messages_count.get() != deleted {
        wrong("deleted_messages_count", header.deleted_messages_count.get());
    }
    let first_recent = header.first_recent_uid.get();
    if first_recent == 0 || first_recent > next_uid {
        wrong("first_recent_uid", first_recent);
        header.first_recent_uid = first_recent.clamp(1, next_uid).into();
    }
    if header.first_unseen_uid_lowwater.get() > next_uid {
        wrong("first_unseen_uid_lowwater", header.first_unseen_uid_lowwater.get());
        header.first_unseen_uid_lowwater = 0.into();
    }
    if header.first_deleted_uid_lowwater.get() > next_uid {
        wrong("first_deleted_uid_lowwater", header.first_deleted_uid_lowwater.get());
        header.first_deleted_uid_lowwater = 0.into();
    }
    if header.log_file_tail_offset.get() > header.log_file_head_offset.get() {
        wrong("log_file_tail_offset", header.log_file_tail_offset.get());
        header.log_file_tail_offset = header.log_file_head_offset;
    }
}

/// Sets log position and modseq counter.
fn place(inner: &mut Inner) {
    let header = &inner.header.raw;
    let head = LogPosition { file_seq: header.log_file_seq.get(), offset: header.log_file_head_offset.get() };
    inner.position = (head.file_seq != 0).then_some(head);
    inner.tail = header.log_file_tail_offset.get();
    if inner.tail < head.offset {
        // What stands between them is not known here: until the log is asked, something has to be done.
        let pending = Arc::make_mut(&mut inner.pending);
        pending.note(inner.tail);
        pending.note(head.offset - 1);
    }
    let modseq_hdr = inner.modseq_ext.and_then(|i| inner.extensions.get(i));
    let highest = modseq_hdr.and_then(|ext| ext.hdr_bytes(0)).map_or(0, u64::from_le_bytes);
    let counted_at = modseq_hdr
        .and_then(|ext| Some((u32::from_le_bytes(ext.hdr_bytes(8)?), u32::from_le_bytes(ext.hdr_bytes(12)?))));
    // In no log there is nothing that it could have been counted in, whatever the zeros say.
    inner.modseq_known = inner.position.is_some() && counted_at == Some((head.file_seq, head.offset)) && highest != 0;
    let largest = if inner.modseq_known { 0 } else { largest_modseq(inner) };
    inner.modseq = highest.max(largest).max(1);
}

fn largest_modseq(inner: &Inner) -> u64 {
    let Some(field) = inner.modseq_field() else { return 0 };
    let columns = inner.chunks.iter().filter_map(|chunk| chunk.columns.get(field));
    let fields = columns.flat_map(|column| column.data.as_chunks::<8>().0);
    fields.map(|field| u64::from_le_bytes(*field)).max().unwrap_or(0)
}
