//! The 32 bytes at the start of a cache file (`docs/formats/cache.md`, "Header").

use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned, little_endian::U32};

use super::{CacheDamageKind, CacheError, Window, window::read_exact};
use crate::offset_encoding::{decode_offset, encode_offset};

/// The cache file's header, byte for byte.
#[derive(Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq, Unaligned)]
#[repr(C)]
pub struct RawCacheHeader {
    /// 1.
    pub major_version: u8,
    /// Bytes of a file offset: 8.
    pub offset_size: u8,
    /// 1.
    pub minor_version: u8,
    /// Zero.
    pub unused: u8,
    /// The index's.
    pub indexid: U32,
    /// This file's number; equals the `reset_id` of the index's `cache` extension.
    pub file_seq: U32,
    /// Records that have one before them.
    pub continued_record_count: U32,
    /// Messages that have records.
    pub record_count: U32,
    /// Obsolete.
    pub used_file_size: U32,
    /// Messages with records that were expunged.
    pub deleted_record_count: U32,
    /// Where the first block of fields is, in offset encoding.
    pub field_header_offset: [u8; 4],
}

const _: () = assert!(size_of::<RawCacheHeader>() == RawCacheHeader::SIZE);

impl RawCacheHeader {
    /// Bytes of the header.
    pub const SIZE: usize = 32;
    /// The major version.
    pub const MAJOR: u8 = 1;
    /// The minor version that is written.
    pub const MINOR: u8 = 1;
    /// The only size of offsets.
    pub const OFFSET_SIZE: u8 = 8;

    /// The header of a new file, with its first block of fields directly behind.
    pub fn new(index_id: u32, file_seq: u32) -> Self {
        let mut header = Self::new_zeroed();
        header.major_version = Self::MAJOR;
        header.offset_size = Self::OFFSET_SIZE;
        header.minor_version = Self::MINOR;
        header.indexid = index_id.into();
        header.file_seq = file_seq.into();
        header.field_header_offset = encode_offset(Self::SIZE as u32).unwrap_or_default();
        header
    }

    /// Reads and checks the header.
    pub fn read<W: Window + ?Sized>(window: &mut W) -> Result<Self, CacheError<W::Error>> {
        let bytes = read_exact(window, 0, Self::SIZE)?;
        let header = Self::read_from_bytes(bytes).map_err(|_| CacheDamageKind::Truncated.at(0))?;
        if header.major_version != Self::MAJOR || header.offset_size != Self::OFFSET_SIZE {
            let (major, minor, offset_size) = (header.major_version, header.minor_version, header.offset_size);
            return Err(CacheDamageKind::Version { major, minor, offset_size }.at(0));
        }
        Ok(header)
    }

    /// Where the first known block of fields is.
    pub fn fields_offset(&self) -> Option<u32> {
        decode_offset(self.field_header_offset).filter(|&offset| offset != 0)
    }
}
