//! One record, and the values in it.

use std::fmt;

use mailtypes::{Flags, ModSeq, Uid};

use super::{Chunk, Inner};

/// The flag byte of a record: the five flags that clients know and two that stores use among themselves.
#[derive(Clone, Copy, Default, Eq, Hash, PartialEq)]
pub struct RecordFlags(pub u8);

impl RecordFlags {
    /// None.
    pub const NONE: Self = Self(0);
    /// dbox: the body should be in alternate storage.
    pub const ALT: Self = Self(0x40);
    /// Maildir and mbox: the flags have not been written to the store yet.
    pub const DIRTY: Self = Self(0x80);
    /// Every bit that is in use.
    pub const ALL: Self = Self(0xdf);

    /// What clients see.
    pub const fn flags(self) -> Flags {
        Flags::from_bits(self.0)
    }

    /// Both.
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all bits of `other` are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

impl From<Flags> for RecordFlags {
    fn from(flags: Flags) -> Self {
        Self(flags.bits())
    }
}

impl fmt::Debug for RecordFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#04x}", self.0)
    }
}

/// The keyword bits of a record.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct KeywordBits<'a>(pub &'a [u8]);

impl<'a> KeywordBits<'a> {
    /// Whether the bit is set.
    pub fn contains(self, bit: u16) -> bool {
        self.0.get(usize::from(bit / 8)).is_some_and(|byte| byte & (1 << (bit % 8)) != 0)
    }

    /// Whether none is.
    pub fn is_empty(self) -> bool {
        self.0.iter().all(|&byte| byte == 0)
    }

    /// The bits that are set, ascending.
    pub fn iter(self) -> impl Iterator<Item = u16> + use<'a> {
        self.0.iter().enumerate().flat_map(|(i, &byte)| {
            (0..8u16).filter(move |bit| byte & (1 << bit) != 0).map(move |bit| (i * 8) as u16 + bit)
        })
    }
}

/// One message of a state.
#[derive(Clone, Copy, Debug)]
pub struct RecordRef<'a> {
    pub(super) inner: &'a Inner,
    pub(super) chunk: &'a Chunk,
    pub(super) at: usize,
}

impl<'a> RecordRef<'a> {
    /// Its UID.
    pub fn uid(&self) -> Uid {
        self.chunk.uids.get(self.at).and_then(|&uid| Uid::new(uid)).unwrap_or(Uid::MIN)
    }

    /// What clients see of its flags.
    pub fn flags(&self) -> Flags {
        self.record_flags().flags()
    }

    /// The whole flag byte.
    pub fn record_flags(&self) -> RecordFlags {
        RecordFlags(self.chunk.flags.get(self.at).copied().unwrap_or(0))
    }

    /// Its keywords; names by [`State::keyword`](super::State::keyword).
    pub fn keyword_bits(&self) -> KeywordBits<'a> {
        KeywordBits(self.inner.keywords_ext.map_or(&[], |ext| self.chunk.field(ext, self.at)))
    }

    /// Its mod-sequence, as clients are told.
    pub fn modseq(&self) -> ModSeq {
        let own = self.stored_modseq();
        ModSeq::new(if own == 0 { self.inner.modseq_of_zero() } else { own }).unwrap_or(ModSeq::MIN)
    }

    /// The modseq field as it is; 0: none of its own.
    pub(crate) fn stored_modseq(&self) -> u64 {
        let field = self.inner.modseq_field().map_or(&[][..], |ext| self.chunk.field(ext, self.at));
        field.first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    /// Where its newest cache record is, in the cache file whose `file_seq` is
    /// [`State::cache_file_seq`](super::State::cache_file_seq) and in no other; `None`: nothing is cached.
    pub fn cache_offset(&self) -> Option<u32> {
        let field = self.chunk.field(self.inner.cache_field()?, self.at);
        field.first_chunk::<4>().map(|bytes| u32::from_le_bytes(*bytes)).filter(|&offset| offset != 0)
    }

    /// An extension's field by its number ([`State::extension_index`](super::State::extension_index)). May be
    /// shorter than the extension's record size, then it goes on with zeros.
    pub fn field(&self, extension: usize) -> &'a [u8] {
        self.chunk.field(extension, self.at)
    }

    /// An extension's field as a number; 0 if there is none or it is not four bytes.
    pub fn field_u32(&self, extension: usize) -> u32 {
        self.field(extension).first_chunk::<4>().map_or(0, |bytes| u32::from_le_bytes(*bytes))
    }

    /// Whether flags, keywords and modseq are the same in another state's record.
    pub(super) fn same_flags(&self, other: &RecordRef<'_>) -> bool {
        self.record_flags() == other.record_flags()
            && self.stored_modseq() == other.stored_modseq()
            && same_bits(self.keyword_bits().0, other.keyword_bits().0)
    }
}

fn same_bits(a: &[u8], b: &[u8]) -> bool {
    let shared = a.len().min(b.len());
    let (a, a_rest) = a.split_at(shared);
    let (b, b_rest) = b.split_at(shared);
    a == b && a_rest.iter().chain(b_rest).all(|&byte| byte == 0)
}

/// A run of records in columns.
#[derive(Clone, Copy, Debug)]
pub struct ChunkRef<'a> {
    pub(super) inner: &'a Inner,
    pub(super) chunk: &'a Chunk,
    pub(super) start: u32,
}

impl<'a> ChunkRef<'a> {
    /// Index of its first record in the state.
    pub fn start(&self) -> u32 {
        self.start
    }

    /// UIDs, ascending; never empty.
    pub fn uids(&self) -> &'a [u32] {
        &self.chunk.uids
    }

    /// Flag bytes, one for each UID.
    pub fn flags(&self) -> &'a [u8] {
        &self.chunk.flags
    }

    /// Records with `\Seen`.
    pub fn seen_count(&self) -> u32 {
        self.chunk.seen
    }

    /// Records with `\Deleted`.
    pub fn deleted_count(&self) -> u32 {
        self.chunk.deleted
    }

    /// The records.
    pub fn records(&self) -> impl Iterator<Item = RecordRef<'a>> + use<'a> {
        let (inner, chunk) = (self.inner, self.chunk);
        (0..chunk.len()).map(move |at| RecordRef { inner, chunk, at })
    }
}
