//! The base header of the index (`docs/formats/index.md`, "Base header").

use std::sync::Arc;

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned, little_endian::U32};

/// The base header, byte for byte.
#[derive(Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq, Unaligned)]
#[repr(C)]
pub struct RawIndexHeader {
    /// 7; any other makes the file unusable.
    pub major_version: u8,
    /// 3; higher ones are kept, lower ones upgraded.
    pub minor_version: u8,
    /// Bytes of this header on disk; more than 120: fields of a later version.
    pub base_header_size: zerocopy::little_endian::U16,
    /// Bytes of this header and all extension headers.
    pub header_size: U32,
    /// Bytes of each record.
    pub record_size: U32,
    /// 0x01: little-endian.
    pub compat_flags: u8,
    /// Zero.
    pub unused: [u8; 3],
    /// The same number in index, log and cache.
    pub indexid: U32,
    /// 0x2: some record is dirty; 0x4: Dovecot's fsck was here.
    pub flags: U32,
    /// 0 until something was assigned.
    pub uid_validity: U32,
    /// Larger than every UID.
    pub next_uid: U32,
    /// Records in the file.
    pub messages_count: U32,
    /// Zero.
    pub old_recent_messages_count: U32,
    /// Records with `\Seen`.
    pub seen_messages_count: U32,
    /// Records with `\Deleted`.
    pub deleted_messages_count: U32,
    /// Mails from here on are `\Recent` to the next client.
    pub first_recent_uid: U32,
    /// Every mail below this is `\Seen`.
    pub first_unseen_uid_lowwater: U32,
    /// No mail below this is `\Deleted`.
    pub first_deleted_uid_lowwater: U32,
    /// The log file that the offsets belong to.
    pub log_file_seq: U32,
    /// Everything before is in the mail store too.
    pub log_file_tail_offset: U32,
    /// Everything before is in this snapshot.
    pub log_file_head_offset: U32,
    /// Zero.
    pub unused2: U32,
    /// When the log was last rotated.
    pub log2_rotate_time: U32,
    /// When leftover temporary files were last looked for.
    pub last_temp_file_scan: U32,
    /// Local midnight of the last day on which mail came.
    pub day_stamp: U32,
    /// First UIDs of that day and the days with mail before.
    pub day_first_uid: [U32; 8],
}

const _: () = assert!(size_of::<RawIndexHeader>() == RawIndexHeader::SIZE);

impl RawIndexHeader {
    /// Bytes of the header that is written.
    pub const SIZE: usize = 120;
    /// The major version.
    pub const MAJOR: u8 = 7;
    /// The minor version that is written.
    pub const MINOR: u8 = 3;
    /// `compat_flags` of a little-endian file.
    pub const LITTLE_ENDIAN: u8 = 0x01;
    /// Flag: some record has the dirty bit.
    pub const HAVE_DIRTY: u32 = 0x2;
    /// Flag: Dovecot's fsck ran; dbox has to be rebuilt from its files before it is cleared.
    pub const FSCKED: u32 = 0x4;
    /// Offset of `flags`, for header updates.
    pub const FLAGS: u16 = 20;
    /// Offset of `uid_validity`, for header updates.
    pub const UID_VALIDITY: u16 = 24;
    /// Offset of `next_uid`, for header updates.
    pub const NEXT_UID: u16 = 28;
    /// Offset of `first_recent_uid`, for header updates.
    pub const FIRST_RECENT_UID: u16 = 48;
    /// Offset of `log_file_tail_offset`, which only tail records touch.
    pub const LOG_FILE_TAIL_OFFSET: u16 = 64;
    /// Offset of `last_temp_file_scan`, for header updates.
    pub const LAST_TEMP_FILE_SCAN: u16 = 80;
    /// Offset of `day_stamp`, which `day_first_uid` follows, for header updates.
    pub const DAY_STAMP: u16 = 84;
}

/// The base header as it is carried from snapshot to snapshot: the known fields, and whatever a later version has
/// behind them.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct BaseHeader {
    pub(crate) raw: RawIndexHeader,
    pub(crate) unknown: Arc<[u8]>,
}

impl BaseHeader {
    /// That of the empty state.
    pub(crate) fn empty() -> Self {
        let mut raw = RawIndexHeader::new_zeroed();
        raw.major_version = RawIndexHeader::MAJOR;
        raw.minor_version = RawIndexHeader::MINOR;
        raw.base_header_size = (RawIndexHeader::SIZE as u16).into();
        raw.record_size = 8.into();
        raw.compat_flags = RawIndexHeader::LITTLE_ENDIAN;
        raw.next_uid = 1.into();
        raw.first_recent_uid = 1.into();
        Self { raw, unknown: Arc::new([]) }
    }

    /// Bytes on disk.
    pub(crate) fn size(&self) -> usize {
        RawIndexHeader::SIZE + self.unknown.len()
    }

    /// Writes bytes, if they lie inside.
    pub(crate) fn patch(&mut self, offset: usize, data: &[u8]) -> bool {
        if offset.checked_add(data.len()).is_none_or(|end| end > self.size()) {
            return false;
        }
        let known = self.raw.as_mut_bytes();
        let in_known = known.len().saturating_sub(offset).min(data.len());
        let (head, tail) = data.split_at(in_known);
        if let Some(to) = known.get_mut(offset..offset + in_known) {
            to.copy_from_slice(head);
        }
        let at = offset.saturating_sub(RawIndexHeader::SIZE);
        if !tail.is_empty() {
            let mut unknown = self.unknown.to_vec();
            if let Some(to) = unknown.get_mut(at..at + tail.len()) {
                to.copy_from_slice(tail);
            }
            self.unknown = unknown.into();
        }
        true
    }
}
