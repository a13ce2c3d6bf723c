//! Which messages a file of messages holds, whatever became of it (`docs/formats/dbox.md`, File structure; Rebuild).
//!
//! # Invariants
//!
//! 1. A message that is whole is found as it is. What lies between is a stretch that ends where the next thing begins that
//!    looks like a message header, or where the map says that a message begins.
//! 2. Where a header leads to the beginning of metadata, header and body are whole, whatever has become of the metadata: the
//!    message reaches to the next thing behind them.
//! 3. Of a stretch a message is made only if something vouches for it: the map, metadata with a GUID behind a body, or, where
//!    header and body are whole, that something follows. What a writer had not finished when it was stopped is none: it is
//!    the last of its file.
//! 4. Read in windows; lengths in the file are checked against the file's before they are believed.
//! 5. What bodies hold that looks like headers costs a look at some hundred bytes each: what lies where such a thing says that
//!    it ends is parsed only if it is metadata to its end, and found out only once where that takes long.

use std::{collections::HashSet, ops::Range};

use mailfs::File;

use crate::dbox::{DboxError, FileHeader, MAGIC_POST, MAGIC_PRE, MessageHeader, Metadata};

/// Bytes read at once.
const WINDOW_LEN: usize = 256 << 10;

/// Metadata that is read with the first look behind a body; more only if it is longer.
const METADATA_FIRST_LEN: usize = 1 << 10;

/// Where the first message begins in every file written since 2009.
const USUAL_START: u64 = 16;

/// A message that was found.
#[derive(Debug)]
pub(super) struct Piece {
    /// Where its header is, or was.
    pub(super) offset: u64,
    /// Where what belongs to it ends.
    pub(super) end: u64,
    /// The body as stored.
    pub(super) body: Range<u64>,
    /// What stands behind it, as far as it can be read.
    pub(super) metadata: Metadata,
    /// Nothing of it is damaged.
    pub(super) is_whole: bool,
}

/// How a file looks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Scanned {
    /// When it was made, Unix seconds, if it says so.
    pub(super) created: Option<u32>,
    /// Something in it is not as it must be.
    pub(super) is_damaged: bool,
}

/// Where the map says that a message lies: its beginning, and its end if known.
pub(super) type Hint = (u64, Option<u64>);

/// Goes over a file up to `len` and tells of each message in the order of the file. `hints` ascend.
pub(super) fn scan(
    file: &dyn File,
    len: u64,
    hints: &[Hint],
    each: &mut dyn FnMut(Piece) -> Result<(), DboxError>,
) -> Result<Scanned, DboxError> {
    let window = |ahead| Window { file, len, start: 0, bytes: Vec::new(), ahead };
    let mut scan = Scan {
        window: window(WINDOW_LEN),
        behind: window(METADATA_FIRST_LEN + MAGIC_POST.len()),
        no_metadata: HashSet::new(),
        no_header_from: len,
        hints,
        header_len: MessageHeader::LEN as u64,
    };
    scan.run(each)
}

struct Scan<'f> {
    window: Window<'f>,
    /// Where messages end that reach beyond the other one.
    behind: Window<'f>,
    /// Places behind bodies that look like metadata for long, and are none.
    no_metadata: HashSet<u64>,
    /// From here on nothing looks like a header.
    no_header_from: u64,
    hints: &'f [Hint],
    /// Bytes of each message header.
    header_len: u64,
}

impl Scan<'_> {
    fn run(&mut self, each: &mut dyn FnMut(Piece) -> Result<(), DboxError>) -> Result<Scanned, DboxError> {
        let len = self.window.len;
        let mut scanned = Scanned::default();
        let mut at = match FileHeader::parse(self.window.get(0, FileHeader::LEN_MAX)?) {
            Ok((header, end)) => {
                self.header_len = header.message_header_len.into();
                scanned.created = Some(header.created);
                end as u64
            }
            Err(e) => {
                not_fs(e)?;
                scanned.is_damaged = true;
                // Nobody writes anything else there.
                let hinted = self.hints.first().map_or(USUAL_START, |(offset, _)| *offset);
                match self.next_header(0, USUAL_START)? {
                    Some(found) => found.min(hinted),
                    None => hinted,
                }
            }
        };
        while at < len {
            if let Some(piece) = self.whole(at)? {
                at = piece.end;
                each(piece)?;
                continue;
            }
            scanned.is_damaged = true;
            if let Some(piece) = self.with_bad_metadata(at)? {
                at = piece.end;
                each(piece)?;
                continue;
            }
            let next = self.next_start(at)?;
            if let Some(piece) = self.broken(at, next)? {
                each(piece)?;
            }
            at = next;
        }
        Ok(scanned)
    }

    /// The message that begins here, if nothing is wrong with it.
    fn whole(&mut self, at: u64) -> Result<Option<Piece>, DboxError> {
        let Some(header) = self.header(at)? else { return Ok(None) };
        let start = at + self.header_len;
        let body_end = start.checked_add(header.body_len).filter(|end| *end <= self.window.len);
        let Some(body_end) = body_end.filter(|end| !self.no_metadata.contains(end)) else { return Ok(None) };
        for want in [METADATA_FIRST_LEN, Metadata::LEN_MAX] {
            let bytes = self.behind(body_end, want + MAGIC_POST.len())?;
            let is_all = bytes.len() < want;
            let Some(lines) = bytes.strip_prefix(&MAGIC_POST) else { return Ok(None) };
            match are_metadata(lines) {
                Some(true) => {
                    let Ok((metadata, used)) = Metadata::parse(lines, body_end) else { return Ok(None) };
                    let end = body_end + (MAGIC_POST.len() + used) as u64;
                    return Ok(Some(Piece { offset: at, end, body: start..body_end, metadata, is_whole: true }));
                }
                None if !is_all => {}
                Some(false) | None => break,
            }
        }
        self.no_metadata.insert(body_end);
        Ok(None)
    }

    /// Bytes behind a body, without moving the window there.
    fn behind(&mut self, at: u64, want: usize) -> Result<&[u8], DboxError> {
        let window = if self.window.holds(at, want).is_some() { &mut self.window } else { &mut self.behind };
        window.get(at, want)
    }

    /// The message that begins here, if its header leads to metadata, of which something is damaged.
    fn with_bad_metadata(&mut self, at: u64) -> Result<Option<Piece>, DboxError> {
        let Some(header) = self.header(at)? else { return Ok(None) };
        let start = at + self.header_len;
        let body_end = start.checked_add(header.body_len).filter(|end| *end < self.window.len);
        let Some(body_end) = body_end else { return Ok(None) };
        let body = start..body_end;
        if self.behind(body_end, MAGIC_POST.len())? != MAGIC_POST || self.is_blank(&body)? {
            return Ok(None);
        }
        let next = self.next_start(body_end)?;
        if next == self.window.len && !self.is_hinted(at) {
            // Others may lead to the same.
            let first = self.metadata_from(body_end, METADATA_FIRST_LEN)?;
            if first.guid().is_none() {
                return Ok(None);
            }
        }
        let len = usize::try_from(next - body_end).unwrap_or(usize::MAX).saturating_sub(MAGIC_POST.len());
        let metadata = self.metadata_from(body_end, len.min(Metadata::LEN_MAX))?;
        Ok(Some(Piece { offset: at, end: next, body, metadata, is_whole: false }))
    }

    /// The lines behind a body, as far as they can be read, of so many bytes.
    fn metadata_from(&mut self, body_end: u64, len: usize) -> Result<Metadata, DboxError> {
        let lines = self.behind(body_end, MAGIC_POST.len() + len)?.get(MAGIC_POST.len()..).unwrap_or_default();
        Ok(parse_what_can_be(lines, body_end))
    }

    fn is_hinted(&self, at: u64) -> bool {
        self.hints.binary_search_by_key(&at, |(offset, _)| *offset).is_ok()
    }

    /// What can be told of a message of which something is damaged.
    fn broken(&mut self, at: u64, next: u64) -> Result<Option<Piece>, DboxError> {
        let start = at + self.header_len;
        if start >= next {
            return Ok(None);
        }
        let told = match self.header(at)? {
            Some(header) => start.checked_add(header.body_len).filter(|end| *end <= next),
            None => None,
        };
        let behind = self.last_metadata(start, next)?;
        let (body, metadata) = match behind {
            Some((end, metadata)) => (start..end, metadata),
            None => (start..told.unwrap_or(next), Metadata::default()),
        };
        let is_vouched_for = self.is_hinted(at) || metadata.guid().is_some();
        if !is_vouched_for || self.is_blank(&body)? {
            return Ok(None);
        }
        Ok(Some(Piece { offset: at, end: next, body, metadata, is_whole: false }))
    }

    fn header(&mut self, at: u64) -> Result<Option<MessageHeader>, DboxError> {
        let bytes = self.window.get(at, MessageHeader::LEN)?;
        Ok(MessageHeader::parse(bytes, at).ok())
    }

    /// Where the stretch ends that begins here.
    fn next_start(&mut self, at: u64) -> Result<u64, DboxError> {
        let behind = self.hints.partition_point(|(offset, _)| *offset <= at);
        let end = behind.checked_sub(1).and_then(|before| self.hints.get(before)?.1).filter(|end| *end > at);
        let next = self.hints.get(behind).map(|(offset, _)| *offset);
        let hinted = end.into_iter().chain(next).fold(self.window.len, u64::min);
        Ok(self.next_header(at + 1, hinted)?.unwrap_or(hinted))
    }

    /// The first thing that looks like a message header from here to there.
    fn next_header(&mut self, begin: u64, to: u64) -> Result<Option<u64>, DboxError> {
        let to = to.min(self.no_header_from);
        let mut from = begin;
        while from < to {
            let bytes = self.window.get(from, WINDOW_LEN / 2)?;
            let Some(last) = bytes.len().checked_sub(MessageHeader::LEN) else { break };
            for found in memchr::memmem::find_iter(bytes, &MAGIC_PRE) {
                let offset = from + found as u64;
                if offset >= to || found > last {
                    break;
                }
                if looks_like_header(bytes.get(found..).unwrap_or_default()) {
                    return Ok(Some(offset));
                }
            }
            from += (last + 1) as u64;
        }
        if to == self.no_header_from {
            self.no_header_from = to.min(begin);
        }
        Ok(None)
    }

    /// The last lines of metadata in a range, and where the body before them ends.
    fn last_metadata(&mut self, from: u64, to: u64) -> Result<Option<(u64, Metadata)>, DboxError> {
        let from = from.max(to.saturating_sub((Metadata::LEN_MAX + MAGIC_POST.len()) as u64));
        let tail = self.window.get(from, usize::try_from(to - from).unwrap_or(usize::MAX))?;
        let Some(at) = memchr::memmem::rfind(tail, &MAGIC_POST) else { return Ok(None) };
        let lines = tail.get(at + MAGIC_POST.len()..).unwrap_or_default();
        Ok(Some((from + at as u64, parse_what_can_be(lines, from))))
    }

    /// Whether nothing stands there but zeros.
    fn is_blank(&mut self, range: &Range<u64>) -> Result<bool, DboxError> {
        let mut at = range.start;
        while at < range.end {
            let want = usize::try_from(range.end - at).unwrap_or(WINDOW_LEN).min(WINDOW_LEN);
            let bytes = self.window.get(at, want)?;
            if bytes.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            if bytes.is_empty() {
                break;
            }
            at += bytes.len() as u64;
        }
        Ok(true)
    }
}

fn parse_what_can_be(lines: &[u8], offset: u64) -> Metadata {
    Metadata::parse(lines, offset).map_or_else(|_| Metadata::parse_rest(lines), |(known, _)| known)
}

/// Whether these are lines of metadata up to the empty one, without anything in them that nobody writes there: where a line
/// end is damaged, what follows is taken for more of the line. `None`: so far.
fn are_metadata(bytes: &[u8]) -> Option<bool> {
    let mut before = b'\n';
    for byte in bytes {
        match byte {
            b'\n' if before == b'\n' => return Some(true),
            b'\n' => {}
            control if control.is_ascii_control() => return Some(false),
            _ => {}
        }
        before = *byte;
    }
    None
}

/// Stricter than a reader is: what bodies hold must not be taken for it.
fn looks_like_header(bytes: &[u8]) -> bool {
    let blank = bytes.get(3..13).is_some_and(|bytes| bytes.iter().all(|byte| *byte == b' '));
    blank && MessageHeader::parse(bytes, 0).is_ok()
}

/// Damage is what is looked for here; a disk that fails is another matter.
fn not_fs(e: DboxError) -> Result<(), DboxError> {
    match e {
        DboxError::Damaged { .. } | DboxError::Refused(_) => Ok(()),
        fs @ DboxError::Fs(_) => Err(fs),
    }
}

/// A piece of a file in memory.
struct Window<'f> {
    file: &'f dyn File,
    /// Where the file is taken to end.
    len: u64,
    start: u64,
    bytes: Vec<u8>,
    /// Bytes read at once at least.
    ahead: usize,
}

impl Window<'_> {
    /// How many bytes there are from `at` on.
    fn there(&self, at: u64) -> usize {
        usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX)
    }

    /// Where in memory so many bytes from `at` on begin, if they are all here that there are.
    fn holds(&self, at: u64, want: usize) -> Option<usize> {
        let from = usize::try_from(at.checked_sub(self.start)?).ok()?;
        (from.checked_add(want.min(self.there(at)))? <= self.bytes.len()).then_some(from)
    }

    /// Bytes from `at` on, fewer only at the end.
    fn get(&mut self, at: u64, want: usize) -> Result<&[u8], DboxError> {
        let there = self.there(at);
        let want = want.min(there);
        if self.holds(at, want).is_none() {
            self.bytes.resize(want.max(self.ahead.min(there)), 0);
            let read = self.file.read_at(&mut self.bytes, at)?;
            self.bytes.truncate(read);
            self.start = at;
        }
        let from = usize::try_from(at.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let rest = self.bytes.get(from..).unwrap_or_default();
        Ok(rest.get(..want).unwrap_or(rest))
    }
}

#[cfg(test)]
mod tests;
