//! The 40 bytes at the start of a log file (`docs/formats/log.md`, "File header").

use zerocopy::{
    FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{U16, U32, U64},
};

/// The log's header, byte for byte.
#[derive(Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq, Unaligned)]
#[repr(C)]
pub struct RawLogHeader {
    /// 1; any other makes the file unusable.
    pub major_version: u8,
    /// 3; lower counts modseqs by another rule, higher is accepted.
    pub minor_version: u8,
    /// Where the records begin.
    pub hdr_size: U16,
    /// The same number in index, log and cache; 0 marks a log as corrupted.
    pub indexid: U32,
    /// This file's number in the chain, from 2 (1 in files of others).
    pub file_seq: U32,
    /// The file before; 0: whatever was before is void.
    pub prev_file_seq: U32,
    /// Where the file before ends.
    pub prev_file_offset: U32,
    /// When the file was made, Unix seconds.
    pub create_stamp: U32,
    /// The modseq counter before the first record; 0: unknown (old files).
    pub initial_modseq: U64,
    /// 0x01: little-endian.
    pub compat_flags: u8,
    /// Zero.
    pub unused: [u8; 3],
    /// Zero.
    pub unused2: U32,
}

const _: () = assert!(size_of::<RawLogHeader>() == 40);

/// Why a log's header cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum LogHeaderError {
    /// The file ends inside the header: it is being made, or was cut.
    #[error("the log header is incomplete: {len} bytes")]
    Incomplete {
        /// Bytes that are there.
        len: usize,
    },
    /// Another major version.
    #[error("log major version {0} is not supported")]
    MajorVersion(u8),
    /// Smaller than any version's header.
    #[error("log header size {0} is too small")]
    HeaderSize(u16),
    /// Written on a big-endian host.
    #[error("the log is not little-endian (compat flags {0:#04x})")]
    ByteOrder(u8),
    /// indexid 0: somebody found it corrupted and marked it.
    #[error("the log is marked as corrupted")]
    MarkedCorrupted,
    /// file_seq 0.
    #[error("the log has no file sequence number")]
    FileSeq,
}

impl RawLogHeader {
    /// The size of the header that is written.
    pub const SIZE: u16 = 40;
    /// The smallest `hdr_size` that is accepted.
    pub const SIZE_MIN: u16 = 24;
    /// The major version.
    pub const MAJOR: u8 = 1;
    /// The minor version that is written.
    pub const MINOR: u8 = 3;
    /// The first file's number, by Dovecot's custom.
    pub const FIRST_SEQ: u32 = 2;
    /// `compat_flags` of a little-endian file.
    pub const LITTLE_ENDIAN: u8 = 0x01;

    /// The header of a mailbox's first log, or of one after a reset: nothing before it counts.
    pub fn first(index_id: u32, file_seq: u32, create_stamp: u32, initial_modseq: u64) -> Self {
        let mut header = Self::new_zeroed();
        header.major_version = Self::MAJOR;
        header.minor_version = Self::MINOR;
        header.hdr_size = Self::SIZE.into();
        header.indexid = index_id.into();
        header.file_seq = file_seq.into();
        header.create_stamp = create_stamp.into();
        header.initial_modseq = initial_modseq.max(1).into();
        header.compat_flags = Self::LITTLE_ENDIAN;
        header
    }

    /// The header of the log that continues `previous`, which ends at `end` with the counter at `modseq`.
    pub fn next(previous: &Self, end: u32, create_stamp: u32, modseq: u64) -> Self {
        let seq = previous.file_seq.get();
        let mut header = Self::first(previous.indexid.get(), seq.saturating_add(1), create_stamp, modseq);
        header.prev_file_seq = seq.into();
        header.prev_file_offset = end.into();
        header
    }

    /// Reads the header at the start of a file, `hdr_size` bytes of which must be given. A shorter header of an old
    /// version reads as zero where it ends; the rest of a longer one is left alone. A file that is marked as
    /// corrupted is read as any other; see [`Self::check_usable`].
    pub fn parse(file: &[u8]) -> Result<Self, LogHeaderError> {
        let incomplete = LogHeaderError::Incomplete { len: file.len() };
        let &[major, _, low, high] = file.first_chunk::<4>().ok_or(incomplete)?;
        if major != Self::MAJOR {
            return Err(LogHeaderError::MajorVersion(major));
        }
        let hdr_size = u16::from_le_bytes([low, high]);
        if hdr_size < Self::SIZE_MIN {
            return Err(LogHeaderError::HeaderSize(hdr_size));
        }
        let on_disk = file.get(..usize::from(hdr_size)).ok_or(incomplete)?;
        let mut header = Self::new_zeroed();
        header.as_mut_bytes().iter_mut().zip(on_disk).for_each(|(to, from)| *to = *from);
        Ok(header)
    }

    /// Whether changes may be read from this file at all.
    pub fn check_usable(&self) -> Result<(), LogHeaderError> {
        if hdr_has_compat_flags(self) && self.compat_flags & Self::LITTLE_ENDIAN == 0 {
            return Err(LogHeaderError::ByteOrder(self.compat_flags));
        }
        if self.indexid.get() == 0 {
            return Err(LogHeaderError::MarkedCorrupted);
        }
        if self.file_seq.get() == 0 {
            return Err(LogHeaderError::FileSeq);
        }
        Ok(())
    }

    /// Whether the file was marked as corrupted.
    pub fn is_marked_corrupted(&self) -> bool {
        self.indexid.get() == 0
    }

    /// Where the records begin.
    pub fn records_start(&self) -> u32 {
        u32::from(self.hdr_size.get())
    }
}

fn hdr_has_compat_flags(header: &RawLogHeader) -> bool {
    usize::from(header.hdr_size.get()) > std::mem::offset_of!(RawLogHeader, compat_flags)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAL: [u8; 40] = [
        0x01, 0x03, 0x28, 0x00, 0xab, 0x77, 0x02, 0x6b, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xab, 0x77, 0x02, 0x6b, 1,
        0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,
    ];

    #[test]
    fn a_real_header() {
        let header = RawLogHeader::parse(&REAL).unwrap();
        assert_eq!(header, RawLogHeader::first(0x6b02_77ab, 2, 0x6b02_77ab, 1));
        assert_eq!(header.as_bytes(), REAL);
        assert_eq!(header.check_usable(), Ok(()));
        assert_eq!(header.records_start(), 40);
    }

    #[test]
    fn headers_that_are_refused() {
        let with = |at: usize, byte: u8| {
            let mut raw = REAL;
            raw[at] = byte;
            RawLogHeader::parse(&raw).and_then(|header| header.check_usable())
        };
        assert_eq!(with(0, 2), Err(LogHeaderError::MajorVersion(2)));
        assert_eq!(with(2, 23), Err(LogHeaderError::HeaderSize(23)));
        assert_eq!(with(2, 41), Err(LogHeaderError::Incomplete { len: 40 }));
        assert_eq!(with(8, 0), Err(LogHeaderError::FileSeq));
        assert_eq!(with(32, 0), Err(LogHeaderError::ByteOrder(0)));
        assert_eq!(with(1, 9), Ok(()), "a newer minor version is accepted");
        let mut marked = REAL;
        marked[4..8].fill(0);
        assert_eq!(RawLogHeader::parse(&marked).unwrap().check_usable(), Err(LogHeaderError::MarkedCorrupted));
    }

    #[test]
    fn a_short_header_reads_as_zero_where_it_ends() {
        let mut raw = REAL;
        raw[2] = 24;
        let header = RawLogHeader::parse(&raw).unwrap();
        assert_eq!(header.initial_modseq.get(), 0);
        assert_eq!(header.check_usable(), Ok(()));
    }
}
