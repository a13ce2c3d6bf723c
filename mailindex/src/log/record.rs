//! The frame around each record (`docs/formats/log.md`, "Record frame").
//!
//! Reading a frame has three outcomes, and they are kept apart everywhere: a complete record; a torn end, which a
//! reader waits for and a writer cuts off ([`LogStop::Torn`]); and bytes that no interrupted writer could have left
//! ([`LogStop::Corrupt`]).

use super::{Change, Damage, DamageKind};
use crate::offset_encoding::decode_offset;

/// Bytes of size and type word before each payload.
pub const RECORD_HEADER_SIZE: usize = 8;

const TYPE_MASK: u32 = 0x0fff_ffff;
const EXTERNAL: u32 = 0x1000_0000;
const SYNC: u32 = 0x2000_0000;
/// Or-ed into both types of expunge, so that no single flipped bit makes one.
const EXPUNGE_PROTECTION: u32 = 0x0000_cd90;

/// Whether a record says what is already so, or asks for it.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub enum Origin {
    /// Already true in the mail store, or about the index only.
    #[default]
    External,
    /// The next sync of the mailbox has to carry it out in the mail store, and moves the tail behind it.
    Internal,
}

/// The type of a record.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[repr(u32)]
#[expect(missing_docs, reason = "named after the format page's table")]
#[non_exhaustive]
pub enum RecordType {
    Expunge = 0x1,
    Append = 0x2,
    FlagUpdate = 0x4,
    HeaderUpdate = 0x20,
    ExtIntro = 0x40,
    ExtReset = 0x80,
    ExtHdrUpdate = 0x100,
    ExtRecUpdate = 0x200,
    KeywordUpdate = 0x400,
    KeywordReset = 0x800,
    ExtAtomicInc = 0x1000,
    ExpungeGuid = 0x2000,
    ModseqUpdate = 0x8000,
    ExtHdrUpdate32 = 0x1_0000,
    IndexDeleted = 0x2_0000,
    IndexUndeleted = 0x4_0000,
    Boundary = 0x8_0000,
    AttributeUpdate = 0x10_0000,
}

impl RecordType {
    /// All.
    pub const ALL: [Self; 18] = [
        Self::Expunge,
        Self::Append,
        Self::FlagUpdate,
        Self::HeaderUpdate,
        Self::ExtIntro,
        Self::ExtReset,
        Self::ExtHdrUpdate,
        Self::ExtRecUpdate,
        Self::KeywordUpdate,
        Self::KeywordReset,
        Self::ExtAtomicInc,
        Self::ExpungeGuid,
        Self::ModseqUpdate,
        Self::ExtHdrUpdate32,
        Self::IndexDeleted,
        Self::IndexUndeleted,
        Self::Boundary,
        Self::AttributeUpdate,
    ];

    /// The name that dumps print, the format page's in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expunge => "expunge",
            Self::Append => "append",
            Self::FlagUpdate => "flag-update",
            Self::HeaderUpdate => "header-update",
            Self::ExtIntro => "ext-intro",
            Self::ExtReset => "ext-reset",
            Self::ExtHdrUpdate => "ext-hdr",
            Self::ExtRecUpdate => "ext-rec",
            Self::KeywordUpdate => "keyword-update",
            Self::KeywordReset => "keyword-reset",
            Self::ExtAtomicInc => "ext-atomic-inc",
            Self::ExpungeGuid => "expunge-guid",
            Self::ModseqUpdate => "modseq-update",
            Self::ExtHdrUpdate32 => "ext-hdr32",
            Self::IndexDeleted => "index-deleted",
            Self::IndexUndeleted => "index-undeleted",
            Self::Boundary => "boundary",
            Self::AttributeUpdate => "attribute-update",
        }
    }
}

/// The second word of a record.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct TypeWord(pub u32);

impl TypeWord {
    /// The word for a record of this type.
    pub const fn new(record_type: RecordType, origin: Origin) -> Self {
        let protection = match record_type {
            RecordType::Expunge | RecordType::ExpungeGuid => EXPUNGE_PROTECTION,
            _ => 0,
        };
        let external = match origin {
            Origin::External => EXTERNAL,
            Origin::Internal => 0,
        };
        Self(record_type as u32 | protection | external)
    }

    /// The type; `None` if this version knows no such type.
    pub fn record_type(self) -> Option<RecordType> {
        let bits = self.0 & TYPE_MASK;
        RecordType::ALL.into_iter().find(|&t| Self::new(t, Origin::Internal).0 == bits)
    }

    /// Whether this is an expunge whose protection is missing: damage that must not be taken for an expunge.
    pub fn is_unprotected_expunge(self) -> bool {
        let bits = self.0 & TYPE_MASK;
        bits == RecordType::Expunge as u32 || bits == RecordType::ExpungeGuid as u32
    }

    /// Statement or request.
    pub fn origin(self) -> Origin {
        if self.0 & EXTERNAL != 0 { Origin::External } else { Origin::Internal }
    }

    /// Written while syncing; says nothing that a reader needs.
    pub fn is_sync(self) -> bool {
        self.0 & SYNC != 0
    }
}

/// One complete record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Record<'a> {
    /// Where it begins in the file.
    pub offset: u32,
    /// Type and flags.
    pub type_word: TypeWord,
    /// What follows them, a multiple of 4 bytes.
    pub payload: &'a [u8],
}

impl<'a> Record<'a> {
    /// Bytes of the whole record.
    pub fn size(&self) -> u32 {
        // A record's size is decoded from 30 bits.
        (RECORD_HEADER_SIZE + self.payload.len()) as u32
    }

    /// Where the next one begins.
    pub fn end(&self) -> u32 {
        self.offset.saturating_add(self.size())
    }

    /// Statement or request.
    pub fn origin(&self) -> Origin {
        self.type_word.origin()
    }

    /// What it says, checked.
    pub fn change(&self) -> Result<Change<'a>, Damage> {
        Change::decode(self.type_word, self.payload).map_err(|kind| Damage { offset: self.offset, kind })
    }
}

/// Why reading a log stopped before the end of the bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum LogStop {
    /// What begins here is not all there, or not yet: read again later, or, holding the log's lock, cut the file
    /// here before anything is appended or Dovecot sees it.
    #[error("the log is torn at offset {offset}")]
    Torn {
        /// Where the incomplete record or transaction begins.
        offset: u32,
    },
    /// What stands here was never valid.
    #[error(transparent)]
    Corrupt(#[from] Damage),
}

impl LogStop {
    /// Where.
    pub fn offset(&self) -> u32 {
        match self {
            Self::Torn { offset } => *offset,
            Self::Corrupt(damage) => damage.offset,
        }
    }
}

/// The records in a piece of a log, in file order. Ends with `None` at a clean end, or with one error.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
    offset: u32,
}

impl<'a> Records<'a> {
    /// `bytes` begin at `offset` of the file, at a record. Bytes past 4 GiB of the file are not looked at.
    pub fn new(bytes: &'a [u8], offset: u32) -> Self {
        let room = (u32::MAX - offset) as usize;
        Self { rest: bytes.get(..room).unwrap_or(bytes), offset }
    }

    /// Where the next record begins.
    pub fn offset(&self) -> u32 {
        self.offset
    }

    /// Bytes not looked at yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    fn frame(&self) -> Result<(Record<'a>, &'a [u8]), LogStop> {
        let torn = LogStop::Torn { offset: self.offset };
        let corrupt = |kind| LogStop::Corrupt(Damage { offset: self.offset, kind });
        let (&[s0, s1, s2, s3, t0, t1, t2, t3], _) = self.rest.split_first_chunk::<8>().ok_or(torn)?;
        let size = decode_offset([s0, s1, s2, s3]).ok_or(torn)?;
        if size as usize <= RECORD_HEADER_SIZE {
            return Err(corrupt(DamageKind::RecordSize(size)));
        }
        let (record, rest) = self.rest.split_at_checked(size as usize).ok_or(torn)?;
        let payload = record.get(RECORD_HEADER_SIZE..).ok_or(torn)?;
        let type_word = TypeWord(u32::from_le_bytes([t0, t1, t2, t3]));
        Ok((Record { offset: self.offset, type_word, payload }, rest))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>, LogStop>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match self.frame() {
            Ok((record, rest)) => {
                self.rest = rest;
                self.offset = record.end();
                Some(Ok(record))
            }
            Err(stop) => {
                self.rest = &[];
                Some(Err(stop))
            }
        }
    }
}
