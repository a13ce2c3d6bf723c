//! The header of a message as it lies in an mbox: whole where it is short, and of a long one what is worth knowing, read
//! piece by piece (`docs/formats/mbox.md`, Metadata headers).
//!
//! # Invariants
//!
//! 1. Where a header ends, and the length of the body that it tells, are known however long it is; in memory is never more
//!    than the limits here allow.
//! 2. Which of the fields that clients see are kept of a long one does not depend on fields of ours: its hash stays when
//!    those change.

use std::ops::Range;

use mailfs::Result;
use mailmime::Fields;

use super::{
    meta::is_hidden,
    plan::Plan,
    scan::{Rules, Scanner, Seen},
    status::content_length,
};

/// Longest header that is held whole, and most bytes of what clients see of a longer one.
pub(super) const HEADER_LEN_MAX: usize = mailmime::Limits::HEADER_LEN_MAX;

/// Most bytes of fields of ours that are held of a longer one. What is more of them is text.
const HIDDEN_LEN_MAX: usize = 256 << 10;

/// Most of such fields.
const HIDDEN_COUNT_MAX: usize = 1024;

/// Bytes looked at at once: more than a separator has.
const CHUNK_LEN: usize = 16 << 10;

/// A header, as much of it as is known.
#[derive(Clone, Debug, Default)]
pub(super) struct RawHeader {
    /// All of it, its empty line included. Of a long one: the first fields that clients see, those of ours among them, and
    /// the empty line.
    pub(super) bytes: Vec<u8>,
    /// Where it begins and ends in the file.
    pub(super) range: Range<u64>,
    /// What its body's length is, as it says.
    pub(super) content_length: Option<u64>,
    /// It is too long to be held.
    pub(super) long: Option<Long>,
}

/// Where the parts of a long header lie.
#[derive(Clone, Debug, Default)]
pub(super) struct Long {
    /// Fields of ours: where they are in the bytes that are held, and where in the file.
    hidden: Vec<(usize, Range<u64>)>,
    /// Where the empty line begins in the file; fields of ours are put there. `None` if there is none.
    empty_line: Option<u64>,
}

impl RawHeader {
    pub(super) fn short(start: u64, bytes: Vec<u8>) -> Self {
        let content_length = content_length(&bytes);
        Self { range: start..start + bytes.len() as u64, bytes, content_length, long: None }
    }

    /// It is known to end earlier.
    pub(super) fn cut(&mut self, end: u64) {
        if end >= self.range.end {
            return;
        }
        self.range.end = end.max(self.range.start);
        match &mut self.long {
            Some(long) => {
                long.empty_line = None;
                long.hidden.retain(|(_, range)| range.end <= end);
            }
            None => self.bytes.truncate(usize::try_from(self.range.end - self.range.start).unwrap_or(usize::MAX)),
        }
    }

    /// Where in the file a byte is that is held.
    pub(super) fn place_of(&self, at: usize) -> Option<u64> {
        let Some(long) = &self.long else { return Some(self.range.start + at as u64) };
        let (from, range) = long.hidden.iter().rev().find(|(from, _)| *from <= at)?;
        Some(range.start + (at - from) as u64).filter(|place| range.contains(place))
    }

    /// Of a long header: the stretches of the file that clients see, up to the end of the body.
    pub(super) fn seen_with_body(&self, end: u64) -> Option<Vec<Range<u64>>> {
        let (mut seen, mut at) = (Vec::new(), self.range.start);
        for (_, range) in &self.long.as_ref()?.hidden {
            seen.push(at..range.start);
            at = range.end;
        }
        seen.push(at..end.max(at));
        seen.retain(|range| !range.is_empty());
        Some(seen)
    }

    /// What of the header fields of ours are put into and what may be overwritten with them: of a long one, the empty line
    /// alone, and the bytes of those that it has.
    pub(super) fn to_rewrite(&self) -> (Vec<u8>, usize) {
        let Some(long) = &self.long else { return (super::meta::visible(&self.bytes), self.bytes.len()) };
        let empty_line: &[u8] = if self.bytes.ends_with(b"\r\n") { b"\r\n" } else { b"\n" };
        let hidden: u64 = long.hidden.iter().map(|(_, range)| range.end - range.start).sum();
        (empty_line.to_vec(), usize::try_from(hidden).unwrap_or(usize::MAX).saturating_add(empty_line.len()))
    }

    /// Whether fields of ours can be put there. Of a header that is long and has no end nobody could tell them.
    pub(super) fn can_be_rewritten(&self) -> bool {
        self.long.as_ref().is_none_or(|long| long.empty_line.is_some())
    }

    /// Puts the file from `from` on to the header's end into a plan, with what was written of [`Self::to_rewrite`].
    pub(super) fn put(&self, plan: &mut Plan, from: u64, written: Vec<u8>) {
        let Some((long, empty_line)) = self.long.as_ref().and_then(|long| Some((long, long.empty_line?))) else {
            plan.keep(from..self.range.start);
            return plan.put(written);
        };
        let mut at = from;
        for (_, range) in &long.hidden {
            plan.keep(at..range.start);
            at = range.end;
        }
        plan.keep(at..empty_line);
        plan.put(written);
    }

    /// Of a long header: all of it up to its empty line.
    pub(super) fn fields(&self) -> Option<Range<u64>> {
        Some(self.range.start..self.long.as_ref()?.empty_line?)
    }
}

/// A long header on its way.
#[derive(Default)]
struct Reading {
    header: RawHeader,
    long: Long,
    /// The field that is being read, as much of it as may be held, and where it begins.
    field: Vec<u8>,
    field_start: u64,
    /// Bytes held of what clients see, and of the rest.
    seen_len: usize,
    hidden_len: usize,
    /// The next field that clients see is not held, nor any behind it.
    is_full: bool,
}

impl Reading {
    fn add(&mut self, bytes: &[u8]) {
        let room = (HEADER_LEN_MAX + 1).saturating_sub(self.field.len());
        self.field.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
    }

    fn end_field(&mut self, end: u64) {
        let (start, bytes) = (self.field_start, std::mem::take(&mut self.field));
        self.field_start = end;
        let Some(field) = Fields::new(&bytes).next() else { return };
        if is_hidden(field.name) {
            // Of several the last that is a number counts.
            self.header.content_length = content_length(&bytes).or(self.header.content_length);
            if bytes.len() + self.hidden_len <= HIDDEN_LEN_MAX && self.long.hidden.len() < HIDDEN_COUNT_MAX {
                self.hidden_len += bytes.len();
                self.long.hidden.push((self.header.bytes.len(), start..end));
                self.header.bytes.extend_from_slice(&bytes);
            }
            return;
        }
        self.is_full |= bytes.len() + self.seen_len > HEADER_LEN_MAX;
        if !self.is_full {
            self.seen_len += bytes.len();
            self.header.bytes.extend_from_slice(&bytes);
        }
    }
}

/// Reads the long header that begins at an offset.
pub(super) fn read(scanner: &mut Scanner, rules: Rules, start: u64) -> Result<RawHeader> {
    let mut reading = Reading { field_start: start, ..Reading::default() };
    let (mut at, mut is_line_start, mut looked_at) = (start, true, Seen::default());
    loop {
        let chunk = scanner.at(at, CHUNK_LEN)?;
        let Some(first) = chunk.first() else { break };
        if is_line_start {
            let empty_line = [&b"\n"[..], b"\r\n"].into_iter().find(|line| chunk.starts_with(line));
            let is_continued = at == start || matches!(first, b' ' | b'\t');
            let is_sign = at > start && chunk.starts_with(b"From ");
            if empty_line.is_some() || !is_continued {
                reading.end_field(at);
            }
            if let Some(empty_line) = empty_line {
                reading.long.empty_line = Some(at);
                reading.header.bytes.extend_from_slice(empty_line);
                at += empty_line.len() as u64;
                break;
            }
            if is_sign && looked_at.is_looked_at(rules, at) && rules.separator(chunk).is_some() {
                break;
            }
        }
        let len = memchr::memchr(b'\n', chunk).map_or(chunk.len(), |line_end| line_end + 1);
        let piece = chunk.get(..len).unwrap_or(chunk);
        is_line_start = piece.ends_with(b"\n");
        reading.add(piece);
        at += len as u64;
    }
    reading.end_field(at);
    let Reading { mut header, long, .. } = reading;
    (header.range, header.long) = (start..at, Some(long));
    Ok(header)
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use mailfs::{FileSystemExt, OpenMode, sim::SimDisk};

    use super::*;

    const FROM: &str = "From a@b Thu Nov 29 22:33:52 2001\n";

    fn scanner(text: &str) -> Scanner {
        let fs = SimDisk::new().as_file_system();
        fs.write_atomic(Path::new("/mbox"), text.as_bytes(), 0o600, false).unwrap();
        let file = fs.open(Path::new("/mbox"), OpenMode::Read).unwrap();
        Scanner::new(Path::new("/mbox"), Arc::clone(&file), Rules::Dovecot).unwrap()
    }

    fn filler(len: usize) -> String {
        let line = format!("X-Filler: {}\n", "y".repeat(100));
        line.repeat(len / line.len() + 1)
    }

    #[test]
    fn what_counts_of_a_long_header_is_found_wherever_it_stands() {
        for (long, is_folded) in [(filler(1 << 20), false), (filler(3 << 20), false), (filler(2 << 20), true)] {
            // The same as one field of many lines.
            let long = if is_folded { long.replace("\nX-", "\n X-") } else { long };
            let fields =
                ["Date: d\nX-UID: 7\n", &long, "Content-Length: 12\n", &long, "X-Keywords: a\n b\n", "Last: l\n"];
            let header = fields.concat();
            let body = format!("{FROM}A: 1\n\nx\n");
            let text =
                format!("{FROM}{}\n{body}\n{FROM}A: 2\n\ny\n", header.replace("h: 12", &format!("h: {}", body.len())));
            let mut scanner = scanner(&text);
            let first = scanner.next_message().unwrap().unwrap();
            assert!(first.has_length && first.header.content_length == Some(body.len() as u64));
            assert_eq!(text[..first.body.start as usize].find("Last: l\n\n"), Some(first.body.start as usize - 9));
            assert_eq!(&text[first.body.start as usize..first.body.end as usize], body);
            assert_eq!(scanner.next_message().unwrap().unwrap().header.bytes, b"A: 2\n\n");
            let held = String::from_utf8(first.header.bytes.clone()).unwrap();
            assert!(held.len() < (1 << 20) + 1000 && held.starts_with("Date: d\nX-UID: 7\n") && held.ends_with("\n\n"));
            for field in ["X-UID: 7\n", "X-Keywords: a\n b\n"] {
                let at = held.find(field).unwrap();
                assert_eq!(first.header.place_of(at + 2), Some(text.find(field).unwrap() as u64 + 2));
            }
            let seen = first.header.seen_with_body(first.body.end).unwrap();
            let seen: String = seen.iter().map(|range| &text[range.start as usize..range.end as usize]).collect();
            assert_eq!(seen.len(), long.len() * 2 + "Date: d\nLast: l\n\n".len() + body.len());
            assert!(!seen.contains("X-UID") && !seen.contains("Content-Length"));
        }
    }

    #[test]
    fn a_long_header_ends_at_a_separator_too() {
        let long = filler(2 << 20);
        for (between, messages) in [("", 2), ("From \n", 1), ("From \nFrom \n", 2), ("From here on\n", 2)] {
            let text = format!("{FROM}{long}{between}{FROM}A: 2\n\ny\n");
            let mut scanner = scanner(&text);
            let first = scanner.next_message().unwrap().unwrap();
            assert!(!first.header.can_be_rewritten() || messages == 1);
            let count = 1 + std::iter::from_fn(|| scanner.next_message().unwrap()).count();
            assert_eq!(count, messages, "{between:?}");
        }
        let text = format!("{FROM}{long}");
        let mut scanner = scanner(&text);
        assert_eq!(scanner.next_message().unwrap().unwrap().body, text.len() as u64 - 1..text.len() as u64 - 1);
        assert!(scanner.next_message().unwrap().is_none());
    }
}
