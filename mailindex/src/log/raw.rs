//! Entries of log records, byte for byte (`docs/formats/log.md`, "Record types").

use zerocopy::{
    FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned,
    little_endian::{I32, U16, U32},
};

/// An inclusive range of UIDs.
#[derive(Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq, Unaligned)]
#[repr(C)]
pub struct RawUidRange {
    /// First.
    pub uid1: U32,
    /// Last.
    pub uid2: U32,
}

/// A new message.
#[derive(Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq, Unaligned)]
#[repr(C)]
pub struct RawAppend {
    /// Its UID.
    pub uid: U32,
    /// Its flags, as in an index record.
    pub flags: u8,
    /// Zero.
    pub unused: [u8; 3],
}

/// A change of flags: new = (old & !remove) | add.
#[derive(Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq, Unaligned)]
#[repr(C)]
pub struct RawFlagUpdate {
    /// First UID.
    pub uid1: U32,
    /// Last UID.
    pub uid2: U32,
    /// Flags set.
    pub add: u8,
    /// Flags removed.
    pub remove: u8,
    /// 1: counts as a modseq change whatever the flags.
    pub modseq_inc: u8,
    /// Zero.
    pub unused: u8,
}

/// The fixed part of an extension introduction; the name follows.
#[derive(Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq, Unaligned)]
#[repr(C)]
pub struct RawExtIntro {
    /// Position in the extension list, or 0xffffffff: by name.
    pub ext_id: U32,
    /// Generation that the following data belongs to.
    pub reset_id: U32,
    /// Bytes of header data.
    pub hdr_size: U32,
    /// Bytes in each record.
    pub record_size: U16,
    /// Alignment in each record.
    pub record_align: U16,
    /// 0x1: sizes are minimums.
    pub flags: U16,
    /// Bytes of the name.
    pub name_size: U16,
}

/// An addition to an extension's field.
#[derive(Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq, Unaligned)]
#[repr(C)]
pub struct RawIncrement {
    /// Of which message.
    pub uid: U32,
    /// What is added.
    pub diff: I32,
}

/// A message expunged, or asked to be.
#[derive(Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq, Unaligned)]
#[repr(C)]
pub struct RawExpungeGuid {
    /// Its UID.
    pub uid: U32,
    /// Its GUID; zero: unknown.
    pub guid: [u8; 16],
}

/// A message's modseq, given outright.
#[derive(Clone, Copy, Debug, Eq, FromBytes, Immutable, IntoBytes, KnownLayout, PartialEq, Unaligned)]
#[repr(C)]
pub struct RawModseqUpdate {
    /// Its UID; 0: only raises the counter.
    pub uid: U32,
    /// Low half.
    pub low: U32,
    /// High half.
    pub high: U32,
}

impl RawModseqUpdate {
    /// The value.
    pub fn modseq(&self) -> u64 {
        u64::from(self.high.get()) << 32 | u64::from(self.low.get())
    }
}
