//! What a scan brings: one row a message, columns as asked for.

use std::ops::BitOr;

use mailmime::{Envelope, Fields};
use mailtypes::{Flags, Guid, InternalDate, Keyword, ModSeq, SeqNum, Uid};

/// Something a scan can bring. UID, sequence number and flags are always there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u16)]
#[non_exhaustive]
pub enum Column {
    /// RFC822.SIZE.
    Size = 0x01,
    /// When it arrived.
    InternalDate = 0x02,
    /// When it was put into this mailbox.
    SaveDate = 0x04,
    /// The ENVELOPE text with its parentheses.
    Envelope = 0x08,
    /// The BODY text with its parentheses.
    Body = 0x10,
    /// The BODYSTRUCTURE text with its parentheses.
    BodyStructure = 0x20,
    /// The encoded part tree (`mime.parts`, `docs/formats/cache.md`), which `mailmime` decodes.
    Parts = 0x40,
    /// The message's GUID.
    Guid = 0x80,
    /// The time in the Date header.
    SentDate = 0x100,
    /// The first words (RFC 8970).
    Preview = 0x200,
    /// The first words, if they can be had without reading the message.
    CachedPreview = 0x400,
}

/// Which columns, and which header fields.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Columns {
    bits: u16,
    /// Header fields by name, any case; each row gets their raw lines in this order of asking.
    pub headers: Vec<String>,
}

impl Columns {
    /// Flags, UIDs, sequence numbers and mod-sequences only.
    pub const fn flags() -> Self {
        Self { bits: 0, headers: Vec::new() }
    }

    /// The header fields that tell who wrote to whom about what; for those who want them one by one and not as
    /// [`Column::Envelope`].
    pub fn envelope() -> Self {
        Self { bits: 0, headers: Envelope::FIELDS.map(str::to_owned).to_vec() }
    }

    /// With one more column.
    pub fn with(mut self, column: Column) -> Self {
        self.bits |= column as u16;
        self
    }

    /// With one more header field.
    pub fn with_header(mut self, name: &str) -> Self {
        if !self.headers.iter().any(|have| have.eq_ignore_ascii_case(name)) {
            self.headers.push(name.to_owned());
        }
        self
    }

    /// Whether a column is asked for.
    pub const fn has(&self, column: Column) -> bool {
        self.bits & column as u16 != 0
    }

    /// Whether the index records alone can answer.
    pub fn only_flags(&self) -> bool {
        self.bits == 0 && self.headers.is_empty()
    }
}

impl BitOr<Column> for Columns {
    type Output = Self;
    fn bitor(self, column: Column) -> Self {
        self.with(column)
    }
}

/// A stretch of [`Rows::arena`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct ArenaRange {
    /// First byte.
    pub start: u32,
    /// Past the last byte.
    pub end: u32,
}

/// The fields of one name in one message's header.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct HeaderRange {
    /// Their text: a stretch of [`Rows::arena`].
    pub text: ArenaRange,
    /// Their lines: a stretch of [`Rows::header_lines`].
    pub lines: ArenaRange,
}

/// One message's values. Texts lie in [`Rows::arena`].
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Its place in the view.
    pub seq: SeqNum,
    /// Its identity.
    pub uid: Uid,
    /// Its system flags.
    pub flags: Flags,
    /// Whether `\Recent` for this view.
    pub recent: bool,
    /// Its keywords: a stretch of [`Rows::keywords`].
    pub keywords: ArenaRange,
    /// Its mod-sequence.
    pub modseq: ModSeq,
    /// The message is gone (expunged by somebody, or its body cannot be found): no column below is filled.
    pub expunged: bool,
    /// [`Column::Size`].
    pub size: Option<u64>,
    /// [`Column::InternalDate`].
    pub internal_date: Option<InternalDate>,
    /// [`Column::SaveDate`], Unix seconds.
    pub save_date: Option<i64>,
    /// [`Column::SentDate`]; `None` also where there is no valid Date header.
    pub sent_date: Option<InternalDate>,
    /// [`Column::Guid`].
    pub guid: Option<Guid>,
    /// [`Column::Envelope`].
    pub envelope: Option<ArenaRange>,
    /// [`Column::Body`].
    pub body: Option<ArenaRange>,
    /// [`Column::BodyStructure`].
    pub body_structure: Option<ArenaRange>,
    /// [`Column::Parts`].
    pub parts: Option<ArenaRange>,
    /// [`Column::Preview`], [`Column::CachedPreview`]: UTF-8, 200 characters at most; empty where there is no text.
    pub preview: Option<ArenaRange>,
    /// The raw header lines asked for, as in the message with LF line ends, one [`Rows::header_ranges`] entry a name
    /// of [`Columns::headers`]: this is the first.
    pub headers: Option<u32>,
}

impl Row {
    /// A row that has only what index records tell.
    pub fn new(seq: SeqNum, uid: Uid, flags: Flags, modseq: ModSeq) -> Self {
        Self {
            seq,
            uid,
            flags,
            recent: false,
            keywords: ArenaRange::default(),
            modseq,
            expunged: false,
            size: None,
            internal_date: None,
            save_date: None,
            sent_date: None,
            guid: None,
            envelope: None,
            body: None,
            body_structure: None,
            parts: None,
            preview: None,
            headers: None,
        }
    }
}

/// Rows of a scan. Made once and used again for every step, so that a scan of any length allocates a bounded amount.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// In order of sequence number.
    pub rows: Vec<Row>,
    /// What the rows' ranges point into.
    pub arena: Vec<u8>,
    /// Keyword runs of the rows.
    pub keywords: Vec<Keyword>,
    /// Header texts of the rows (see [`Row::headers`]).
    pub header_ranges: Vec<HeaderRange>,
    /// Line numbers of header fields, which the header ranges point into.
    pub header_lines: Vec<u32>,
}

impl Rows {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets the rows, keeps the memory.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.arena.clear();
        self.keywords.clear();
        self.header_ranges.clear();
        self.header_lines.clear();
    }

    /// A text of a row.
    pub fn text(&self, range: ArenaRange) -> &[u8] {
        self.arena.get(range.start as usize..range.end as usize).unwrap_or_default()
    }

    /// A row's keywords.
    pub fn keywords(&self, row: &Row) -> &[Keyword] {
        self.keywords.get(row.keywords.start as usize..row.keywords.end as usize).unwrap_or_default()
    }

    /// A row's text for the `n`-th name of [`Columns::headers`]; empty where the message has no such field.
    pub fn header(&self, row: &Row, n: usize) -> &[u8] {
        let range = row.headers.and_then(|first| self.header_ranges.get(first as usize + n));
        range.map_or(&[], |range| self.text(range.text))
    }

    /// The fields of a row's text for the `n`-th name of [`Columns::headers`], each with the line of the message's
    /// header on which it begins, from 1. Sorted by it, the fields of several names stand as in the message.
    pub fn header_fields(&self, row: &Row, n: usize) -> impl Iterator<Item = (u32, &[u8])> {
        let range =
            row.headers.and_then(|first| self.header_ranges.get(first as usize + n)).copied().unwrap_or_default();
        let lines = self.header_lines.get(range.lines.start as usize..range.lines.end as usize).unwrap_or_default();
        lines.iter().copied().zip(Fields::new(self.text(range.text)).map(|field| field.raw))
    }

    /// Adds the text for the next name of [`Columns::headers`] of the row that is made: its fields, with LF line ends,
    /// and the lines on which they begin.
    pub fn push_header(&mut self, lines: impl Iterator<Item = u32>, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.header_lines.len() as u32;
        self.header_lines.extend(lines);
        let lines = ArenaRange { start, end: self.header_lines.len() as u32 };
        let text = self.push_text(write);
        self.header_ranges.push(HeaderRange { text, lines });
    }

    /// Puts a text into the arena. Texts of one step stay below 4 GiB by the scan's budget.
    pub fn push_text(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> ArenaRange {
        let start = self.arena.len();
        write(&mut self.arena);
        ArenaRange { start: start as u32, end: self.arena.len() as u32 }
    }
}
