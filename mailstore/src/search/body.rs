//! Looking for texts in one message, piece by piece: memory is bounded whatever the message's size.
//!
//! For each part its header, which says how to decode the body and in which TEXT looks too, then its body, if it is
//! text. Pieces overlap by the longest text less one byte. Line ends are read as they are stored, unless a text to look
//! for has one.

use std::fmt;

use mailmime::{Content, ContentReader, Fields, Part, PartFlags, PartTree, TextDecoder};

use super::{
    fold::{fold_header, fold_into},
    judge::Hits,
    plan::Needle,
};
use crate::traits::{Body, Result, Section};

/// Bytes read at a time, at most.
const PIECE_LEN: usize = 64 * 1024;

/// Longest header field that is looked at as one; of a longer one the pieces are.
const FIELD_LEN_MAX: usize = 256 * 1024;

pub(super) struct BodySearch {
    body: Box<dyn Body>,
    parts: std::vec::IntoIter<Part>,
    place: Place,
    hits: Hits,
    /// Whether line ends must be CRLF.
    crlf: bool,
    scratch: Scratch,
}

/// Memory that goes from message to message, so that small ones cost none.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    piece: Vec<u8>,
    folded: Vec<u8>,
    /// A header's bytes whose field is not whole yet.
    rest: Vec<u8>,
}

/// Where in the message the search is.
enum Place {
    BetweenParts,
    Header { part: Part, offset: u64, content: Box<ContentReader> },
    Body { section: Section, offset: u64, decoder: TextDecoder },
}

impl BodySearch {
    pub(super) fn new(body: Box<dyn Body>, tree: &PartTree, hits: Hits, needles: &[Needle], scratch: Scratch) -> Self {
        let parts: Vec<Part> = tree.iter().map(|(_, &part)| part).collect();
        let crlf = needles.iter().any(|needle| needle.text.has_line_end());
        let mut search = Self { body, parts: parts.into_iter(), place: Place::BetweenParts, hits, crlf, scratch };
        let size = if crlf { search.body.size() } else { search.body.stored_size() };
        // One byte more than there is, so that the first read of a small message finds its end.
        let piece_len = usize::try_from(size).map_or(PIECE_LEN, |size| PIECE_LEN.min(size.saturating_add(1)));
        if search.scratch.piece.len() < piece_len {
            search.scratch.piece.resize(piece_len, 0);
        }
        search
    }

    /// The memory, for the next message.
    pub(super) fn into_scratch(self) -> Scratch {
        self.scratch
    }

    /// Reads the next piece of a section into the scratch memory; whether it was the last, too.
    fn read(&mut self, section: Section, offset: u64) -> Result<(usize, bool)> {
        let piece = &mut self.scratch.piece;
        let len = match self.crlf {
            true => self.body.read_at(section, offset, piece)?,
            false => self.body.read_stored_at(section, offset, piece)?,
        };
        Ok((len, len < piece.len()))
    }

    pub(super) fn hits(&self) -> &Hits {
        &self.hits
    }

    /// Looks at one more piece; returns how many bytes were read.
    pub(super) fn step(&mut self, needles: &[Needle]) -> Result<usize> {
        match std::mem::replace(&mut self.place, Place::BetweenParts) {
            Place::BetweenParts => {
                match self.parts.next() {
                    Some(part) => self.begin_part(part, needles),
                    None => self.hits.ended = true,
                }
                Ok(0)
            }
            Place::Header { part, offset, content } => self.step_header(part, offset, content, needles),
            Place::Body { section, offset, decoder } => self.step_body(section, offset, decoder, needles),
        }
    }

    fn begin_part(&mut self, part: Part, needles: &[Needle]) {
        let holds_parts = part.flags.has(PartFlags::MULTIPART | PartFlags::MESSAGE_RFC822);
        if holds_parts && !self.hits.wants_headers(needles) {
            return;
        }
        self.scratch.rest.clear();
        self.place = Place::Header { part, offset: 0, content: Box::default() };
    }

    fn step_header(
        &mut self,
        part: Part,
        offset: u64,
        mut content: Box<ContentReader>,
        needles: &[Needle],
    ) -> Result<usize> {
        let section = Section { start: part.header_offset, len: part.header.physical_len };
        let (len, last) = self.read(section, offset)?;
        let Scratch { piece, folded, rest } = &mut self.scratch;
        rest.extend_from_slice(piece.get(..len).unwrap_or_default());
        let cut = if last { rest.len() } else { field_cut(rest) };
        let wants_headers = self.hits.wants_headers(needles);
        for field in Fields::new(rest.get(..cut).unwrap_or_default()) {
            content.read(&field);
            if wants_headers {
                folded.clear();
                fold_header(field.name, folded);
                folded.extend_from_slice(b": ");
                fold_header(&field.value(), folded);
                self.hits.look(needles, folded, true);
            }
        }
        rest.drain(..cut);
        if !last {
            self.place = Place::Header { part, offset: offset + len as u64, content };
        } else {
            self.begin_body(part, &content.finish());
        }
        Ok(len)
    }

    fn begin_body(&mut self, part: Part, content: &Content) {
        let is_message = || {
            let main = content.media_type.as_ref().map(|(main, _)| main);
            main.is_some_and(|main| main.eq_ignore_ascii_case(b"message"))
        };
        let holds_parts = part.flags.has(PartFlags::MULTIPART | PartFlags::MESSAGE_RFC822);
        if part.flags.has(PartFlags::TEXT) || !holds_parts && is_message() {
            let section = Section { start: part.body_offset(), len: part.body.physical_len };
            self.scratch.folded.clear();
            self.place = Place::Body { section, offset: 0, decoder: TextDecoder::new(content) };
        }
    }

    fn step_body(
        &mut self,
        section: Section,
        offset: u64,
        mut decoder: TextDecoder,
        needles: &[Needle],
    ) -> Result<usize> {
        let (len, last) = self.read(section, offset)?;
        let Scratch { piece, folded, .. } = &mut self.scratch;
        decoder.push(piece.get(..len).unwrap_or_default(), last, |text| fold_into(text, folded));
        self.hits.look(needles, folded, false);
        if !last {
            let longest = needles.iter().map(|needle| needle.text.len()).max().unwrap_or(0);
            let overlap = folded.len().saturating_sub(longest.saturating_sub(1));
            folded.drain(..overlap);
            self.place = Place::Body { section, offset: offset + len as u64, decoder };
        }
        Ok(len)
    }
}

/// Behind the last field that is there with its end, that is with the beginning of the next.
fn field_cut(bytes: &[u8]) -> usize {
    let ends = memchr::memrchr_iter(b'\n', bytes).map(|at| at + 1);
    let mut whole = ends.filter(|&end| bytes.get(end).is_some_and(|first| !matches!(first, b' ' | b'\t')));
    match whole.next() {
        Some(end) => end,
        None if bytes.len() > FIELD_LEN_MAX => bytes.len(),
        None => 0,
    }
}

impl fmt::Debug for BodySearch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BodySearch").field("hits", &self.hits).finish_non_exhaustive()
    }
}
