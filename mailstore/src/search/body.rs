//! Looking for texts in one message, piece by piece: memory is bounded whatever the message's size.
//!
//! For each part its header, which says how to decode the body and in which TEXT looks too, then its body, if it is
//! text. Pieces overlap by the longest text less one byte.

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
    buf: Box<[u8]>,
}

/// Where in the message the search is.
enum Place {
    BetweenParts,
    Header { part: Part, offset: u64, content: Box<ContentReader>, rest: Vec<u8> },
    Body { section: Section, offset: u64, decoder: TextDecoder, folded: Vec<u8> },
}

impl BodySearch {
    pub(super) fn new(body: Box<dyn Body>, tree: &PartTree, hits: Hits) -> Self {
        let parts: Vec<Part> = tree.iter().map(|(_, &part)| part).collect();
        // One byte more than there is, so that the first read of a small message finds its end.
        let piece_len = usize::try_from(body.size()).map_or(PIECE_LEN, |size| PIECE_LEN.min(size.saturating_add(1)));
        Self { body, parts: parts.into_iter(), place: Place::BetweenParts, hits, buf: vec![0; piece_len].into() }
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
            Place::Header { part, offset, content, rest } => self.step_header(part, offset, content, rest, needles),
            Place::Body { section, offset, decoder, folded } => {
                self.step_body(section, offset, decoder, folded, needles)
            }
        }
    }

    fn begin_part(&mut self, part: Part, needles: &[Needle]) {
        let holds_parts = part.flags.has(PartFlags::MULTIPART | PartFlags::MESSAGE_RFC822);
        if holds_parts && !self.hits.wants_headers(needles) {
            return;
        }
        self.place = Place::Header { part, offset: 0, content: Box::default(), rest: Vec::new() };
    }

    fn step_header(
        &mut self,
        part: Part,
        offset: u64,
        mut content: Box<ContentReader>,
        mut rest: Vec<u8>,
        needles: &[Needle],
    ) -> Result<usize> {
        let section = Section { start: part.header_offset, len: part.header.physical_len };
        let len = self.body.read_at(section, offset, &mut self.buf)?;
        let read = self.buf.get(..len).unwrap_or_default();
        rest.extend_from_slice(read);
        let last = len < self.buf.len();
        let cut = if last { rest.len() } else { field_cut(&rest) };
        let wants_headers = self.hits.wants_headers(needles);
        let mut folded = Vec::new();
        for field in Fields::new(rest.get(..cut).unwrap_or_default()) {
            content.read(&field);
            if wants_headers {
                folded.clear();
                fold_header(field.name, &mut folded);
                folded.extend_from_slice(b": ");
                fold_header(&field.value(), &mut folded);
                self.hits.look(needles, &folded, true);
            }
        }
        rest.drain(..cut);
        if !last {
            self.place = Place::Header { part, offset: offset + len as u64, content, rest };
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
            self.place = Place::Body { section, offset: 0, decoder: TextDecoder::new(content), folded: Vec::new() };
        }
    }

    fn step_body(
        &mut self,
        section: Section,
        offset: u64,
        mut decoder: TextDecoder,
        mut folded: Vec<u8>,
        needles: &[Needle],
    ) -> Result<usize> {
        let len = self.body.read_at(section, offset, &mut self.buf)?;
        let last = len < self.buf.len();
        decoder.push(self.buf.get(..len).unwrap_or_default(), last, |text| fold_into(text, &mut folded));
        self.hits.look(needles, &folded, false);
        if !last {
            let longest = needles.iter().map(|needle| needle.text.len()).max().unwrap_or(0);
            let overlap = folded.len().saturating_sub(longest.saturating_sub(1));
            folded.drain(..overlap);
            self.place = Place::Body { section, offset: offset + len as u64, decoder, folded };
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
