//! Texts of a message: which bytes they are, and their reading piece by piece.

use std::num::NonZeroU32;

use imap_proto::{Partial, write::FetchWriter};
use mailmime::{HeaderEnding, HeaderSelection, PartTree, decode_mime_parts, write_header_fields};
use mailstore::{Body, Row, Rows, Section, StorageError};

use super::{
    binary::{BinaryFailure, BinaryText},
    plan::{Binary, Label, Source, Text, What},
};

/// Longest header from which fields are picked (`HEADER.FIELDS.NOT`, or fields of a part), in bytes; fields behind it
/// are not seen. `mailmime` looks no further into one either.
const HEADER_LEN_MAX: u64 = 1 << 20;

/// A message that is being written.
pub(super) struct Message {
    pub(super) row: Row,
    /// Something of its line is written.
    pub(super) begun: bool,
    /// The item that is next.
    pub(super) item: usize,
    pub(super) body: Option<Box<dyn Body>>,
    pub(super) tree: Option<PartTree>,
    /// Bytes of a literal that are still to come.
    pub(super) stream: Option<Stream>,
}

/// Bytes of a literal that are still to come.
pub(super) struct Stream {
    origin: Origin,
    left: u64,
}

/// Where they come from.
enum Origin {
    /// A stretch of the message, from an offset in it.
    Stretch(Section, u64),
    /// A text that is decoded, of which so many bytes are passed over.
    Binary(BinaryText, u64),
}

/// What an item's bytes turned out to be.
pub(super) enum Found {
    /// It cannot be had.
    Nothing,
    /// A stretch of the message, with its length as told.
    Stretch(Section, u64),
    /// These bytes.
    Bytes(Vec<u8>),
}

impl Found {
    /// There is no such part: as from Dovecot, its text is empty.
    const ABSENT: Self = Self::Bytes(Vec::new());
}

impl Message {
    /// For the next item of its line.
    pub(super) fn writer<'o>(&self, out: &'o mut Vec<u8>) -> FetchWriter<'o> {
        if self.begun { FetchWriter::resume(out) } else { FetchWriter::begin(out, self.row.seq) }
    }

    /// Finds the bytes of a text.
    pub(super) fn find(&mut self, source: &Source, rows: &Rows) -> Result<Found, StorageError> {
        match source {
            Source::Whole => Ok(Found::Stretch(Section::WHOLE, self.body()?.size())),
            Source::Scanned(places) => Ok(Found::Bytes(self.scanned(places, rows))),
            Source::Part { path, what } => {
                let Some(ranges) = self.tree(rows)?.ranges(path) else { return Ok(Found::ABSENT) };
                let section = match what {
                    What::Body => Some(ranges.body),
                    What::Header => ranges.header,
                    What::Text => ranges.text,
                    What::Mime => Some(ranges.mime),
                };
                Ok(section.map_or(Found::ABSENT, |section| {
                    Found::Stretch(Section { start: section.offset, len: section.physical_len }, section.virtual_len)
                }))
            }
            Source::Fields { path, names, not } => {
                let ranges = self.tree(rows)?.ranges(path);
                let Some(header) = ranges.and_then(|ranges| ranges.header) else { return Ok(Found::ABSENT) };
                let section = Section { start: header.offset, len: header.physical_len };
                let header = self.read(section, header.virtual_len.min(HEADER_LEN_MAX))?;
                let names: Vec<&[u8]> = names.iter().map(String::as_bytes).collect();
                let selection = match not {
                    false => HeaderSelection::Fields(&names),
                    true => HeaderSelection::FieldsNot(&names),
                };
                let mut fields = Vec::new();
                write_header_fields(&mut fields, &header, selection, HeaderEnding::AsStored);
                Ok(Found::Bytes(fields))
            }
        }
    }

    /// Fields that the scan brought, in the order of the message, with CRLF line ends, and the empty line that ends a header.
    fn scanned(&self, places: &[usize], rows: &Rows) -> Vec<u8> {
        let mut fields: Vec<_> = places.iter().flat_map(|&place| rows.header_fields(&self.row, place)).collect();
        fields.sort_unstable_by_key(|&(line, _)| line);
        let mut text = Vec::new();
        for line in fields.into_iter().flat_map(|(_, field)| field.split_inclusive(|&b| b == b'\n')) {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            text.extend_from_slice(line.strip_suffix(b"\r").unwrap_or(line));
            text.extend_from_slice(b"\r\n");
        }
        text.extend_from_slice(b"\r\n");
        text
    }

    /// The part tree, decoded once a message.
    fn tree(&mut self, rows: &Rows) -> Result<&PartTree, StorageError> {
        if self.tree.is_none() {
            let parts = self.row.parts.map(|range| rows.text(range)).unwrap_or_default();
            let tree = decode_mime_parts(parts).map_err(|error| {
                StorageError::Io(format!("parts of message {} cannot be used: {error}", self.row.uid).into())
            })?;
            self.tree = Some(tree);
        }
        self.tree.as_ref().ok_or_else(|| not_open(&self.row))
    }

    fn body(&mut self) -> Result<&mut dyn Body, StorageError> {
        match &mut self.body {
            Some(body) => Ok(&mut **body),
            None => Err(not_open(&self.row)),
        }
    }

    fn read(&mut self, section: Section, len: u64) -> Result<Vec<u8>, StorageError> {
        let mut bytes = vec![0; usize::try_from(len).unwrap_or(usize::MAX).min(HEADER_LEN_MAX as usize)];
        let mut filled = 0;
        let body = self.body()?;
        while let Some(room) = bytes.get_mut(filled..).filter(|room| !room.is_empty()) {
            match body.read_at(section, filled as u64, room)? {
                0 => break,
                read => filled += read,
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// Writes an item's name and, of its value, what is there already; the rest is to be streamed.
    pub(super) fn begin(&mut self, text: &Text, found: &Found, fetch: &mut FetchWriter<'_>) {
        let origin = text.partial.map(|partial| partial.offset);
        let (section, len) = match found {
            Found::Nothing => {
                return match &text.label {
                    Label::Section(section) => fetch.section_nil(section, origin),
                    Label::Rfc822(name) => fetch.nil(name),
                };
            }
            Found::Stretch(section, len) => (Some(*section), *len),
            Found::Bytes(bytes) => (None, bytes.len() as u64),
        };
        let (offset, left) = cut(len, text.partial);
        match &text.label {
            Label::Section(section) => fetch.section_head(section, origin, left),
            Label::Rfc822(name) => fetch.literal_head(name, left),
        }
        match (section, found) {
            (Some(section), _) => self.stream = Some(Stream { origin: Origin::Stretch(section, offset), left }),
            (None, Found::Bytes(bytes)) => {
                let (from, to) = (offset as usize, (offset + left) as usize);
                let mut shown = bytes.get(from..to).unwrap_or_default().to_vec();
                mask_nuls(&mut shown);
                fetch.raw(&shown);
            }
            _ => {}
        }
    }

    /// Writes BINARY's name and head; its text is to be streamed.
    pub(super) fn begin_binary(&mut self, item: &Binary, rows: &Rows, out: &mut Vec<u8>) -> Result<(), BinaryFailure> {
        let origin = item.partial.map(|partial| partial.offset);
        let mut found = self.binary(&item.part, rows)?;
        let len = match &mut found {
            Some(text) => text.len(self.body()?)?,
            None => 0,
        };
        let (offset, left) = cut(len, item.partial);
        let is_binary = found.as_ref().is_some_and(|text| text.is_binary);
        self.writer(out).binary_head(&item.part, origin, left, is_binary);
        self.begun = true;
        self.stream = found.map(|text| Stream { origin: Origin::Binary(text, offset), left });
        Ok(())
    }

    /// Writes BINARY.SIZE.
    pub(super) fn binary_size(
        &mut self,
        part: &[NonZeroU32],
        rows: &Rows,
        out: &mut Vec<u8>,
    ) -> Result<(), BinaryFailure> {
        let len = match self.binary(part, rows)? {
            Some(mut text) => text.len(self.body()?)?,
            None => 0,
        };
        self.writer(out).binary_size(part, len);
        self.begun = true;
        Ok(())
    }

    fn binary(&mut self, part: &[NonZeroU32], rows: &Rows) -> Result<Option<BinaryText>, BinaryFailure> {
        let path: Vec<u32> = part.iter().map(|number| number.get()).collect();
        let tree = self.tree(rows)?.clone();
        BinaryText::find(self.body()?, &tree, &path)
    }

    /// Reads on into the output until that has `len_max` bytes or the literal is whole; says which.
    pub(super) fn stream(&mut self, out: &mut Vec<u8>, len_max: usize) -> Result<bool, StorageError> {
        let Some(mut stream) = self.stream.take() else { return Ok(true) };
        let uid = self.row.uid;
        let body = self.body()?;
        while stream.left > 0 && out.len() < len_max {
            let filled = out.len();
            let room = (len_max - filled).min(usize::try_from(stream.left).unwrap_or(usize::MAX));
            let goes_on = match &mut stream.origin {
                Origin::Stretch(section, offset) => {
                    out.resize(filled + room, 0);
                    let read = match out.get_mut(filled..) {
                        Some(buf) => body.read_at(*section, *offset, buf)?,
                        None => 0,
                    };
                    out.truncate(filled + read);
                    mask_nuls(out.get_mut(filled..).unwrap_or_default());
                    *offset += read as u64;
                    read > 0
                }
                Origin::Binary(text, skip) => read_binary(text, skip, stream.left, body, out)?,
            };
            if !goes_on {
                return Err(StorageError::Io(format!("message {uid} ends early").into()));
            }
            stream.left -= (out.len() - filled) as u64;
        }
        let is_whole = stream.left == 0;
        self.stream = (!is_whole).then_some(stream);
        Ok(is_whole)
    }
}

/// Appends more of a decoded text, `left` bytes at most, without those that are to be passed over. False at its end.
fn read_binary(
    text: &mut BinaryText,
    skip: &mut u64,
    left: u64,
    body: &mut dyn Body,
    out: &mut Vec<u8>,
) -> Result<bool, StorageError> {
    let mut piece = Vec::new();
    let goes_on = text.read(body, &mut piece).map_err(|failure| match failure {
        BinaryFailure::Storage(error) => error,
        // It was read to its end a moment ago.
        failure => StorageError::Io(format!("a part changed while it was read: {failure:?}").into()),
    })?;
    let skipped = usize::try_from(*skip).unwrap_or(usize::MAX).min(piece.len());
    *skip -= skipped as u64;
    let rest = piece.get(skipped..).unwrap_or_default();
    let len = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
    out.extend_from_slice(rest.get(..len).unwrap_or_default());
    Ok(goes_on)
}

/// No literal may hold a NUL (RFC 9051 §4.3). Delivered mail sometimes does, and is shown as Dovecot shows it.
fn mask_nuls(bytes: &mut [u8]) {
    for byte in bytes {
        *byte = if *byte == 0 { 0x80 } else { *byte };
    }
}

/// The first byte, and how many, of a text of `len` bytes.
fn cut(len: u64, partial: Option<Partial>) -> (u64, u64) {
    match partial {
        None => (0, len),
        Some(partial) => {
            let offset = partial.offset.min(len);
            (offset, partial.len.get().min(len - offset))
        }
    }
}

fn not_open(row: &Row) -> StorageError {
    StorageError::Io(format!("message {} is not open", row.uid).into())
}
