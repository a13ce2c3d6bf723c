//! An mbox file as messages, one after the other, as they lie in it (`docs/formats/mbox.md`, Messages and separators).
//!
//! # Invariants
//!
//! 1. A file is read in windows: memory does not grow with it, nor with its messages but for their headers.
//! 2. Every byte belongs to a separator or to exactly one message.

use std::{io, ops::Range, path::Path};

use mailfs::{FileHandle, FsError, Result};
use memchr::memmem;

use super::{
    FromLine,
    long_header::{self, HEADER_LEN_MAX, RawHeader},
};

/// Bytes read at once where messages are looked for.
pub(super) const WINDOW_LEN: usize = 256 << 10;
/// Bytes read at once where one message is.
pub(super) const SMALL_WINDOW_LEN: usize = 16 << 10;

/// Whose rules say where a message ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Rules {
    /// Dovecot's: a line end goes with the separator behind it, or with the end of the file, whatever is before it.
    Dovecot,
    /// A text keeps the end of its last line, where that is not an empty line of its own.
    WholeLines,
}

impl Rules {
    /// The separator that a text begins with. To Dovecot one without a line end is text.
    pub(super) fn separator(self, text: &[u8]) -> Option<FromLine> {
        let from = FromLine::parse(text)?;
        (self == Self::WholeLines || memchr::memchr(b'\n', text).is_some()).then_some(from)
    }
}

/// How a separator begins, with the line end before it.
const SIGN: &[u8] = b"\nFrom ";

/// Which signs of separators were looked at. Of a line `From ` without more, Dovecot takes the line end for its own and
/// does not see what begins with that.
#[derive(Debug, Default)]
pub(super) struct Seen {
    last: Option<u64>,
    passed_over: Option<u64>,
}

impl Seen {
    /// Signs come in order; one may come twice, where two windows meet.
    pub(super) fn is_looked_at(&mut self, rules: Rules, at: u64) -> bool {
        if self.passed_over == Some(at) {
            return false;
        }
        if rules == Rules::Dovecot && self.last.is_some_and(|last| at == last + SIGN.len() as u64) {
            (self.last, self.passed_over) = (None, Some(at));
            return false;
        }
        self.last = Some(at);
        true
    }
}

/// Finds messages in a file.
#[derive(Debug)]
pub(super) struct Scanner {
    file: FileHandle,
    len: u64,
    rules: Rules,
    /// Where the next separator is.
    next: u64,
    window_len: usize,
    window: Window,
}

/// One message as it lies in the file.
#[derive(Clone, Debug)]
pub(super) struct RawMessage {
    /// Where its separator begins, in bytes.
    pub(super) start: u64,
    /// Its separator.
    pub(super) from: FromLine,
    /// Its header, with the empty line if there is one.
    pub(super) header: RawHeader,
    /// Its body, in bytes of the file.
    pub(super) body: Range<u64>,
    /// Where the next separator begins.
    pub(super) end: u64,
    /// Whether its length was known from its header.
    pub(super) has_length: bool,
}

/// A stretch of a file in memory.
#[derive(Debug, Default)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl Scanner {
    /// Fails with [`io::ErrorKind::InvalidData`] if the file is not empty and does not begin with a separator.
    pub(super) fn new(path: &Path, file: FileHandle, rules: Rules) -> Result<Self> {
        let len = file.len()?;
        let mut scanner = Self::of_part(file, len, rules, WINDOW_LEN);
        if len > 0 && scanner.separator_at(0)?.is_none() {
            let text = "it does not begin with a line \"From sender date\", so it is no mbox file";
            return Err(FsError::new("read", path, io::Error::new(io::ErrorKind::InvalidData, text)));
        }
        Ok(scanner)
    }

    /// The first `len` bytes of a file that is known to be one.
    pub(super) fn of_part(file: FileHandle, len: u64, rules: Rules, window_len: usize) -> Self {
        Self { file, len, rules, next: 0, window_len, window: Window::default() }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn file(&self) -> &FileHandle {
        &self.file
    }

    /// Goes on with the separator that begins at an offset.
    pub(super) fn seek(&mut self, start: u64) {
        self.next = start;
    }

    /// The next message; `None` behind the last, and where there is no separator.
    pub(super) fn next_message(&mut self) -> Result<Option<RawMessage>> {
        let start = self.next;
        let Some((from, header_start)) = self.separator_at(start)? else { return Ok(None) };
        let mut header = self.header_at(header_start)?;
        let body_start = header.range.end;
        let by_length = match header.content_length.and_then(|length| body_start.checked_add(length)) {
            Some(end) => self.end_by_length(end)?.map(|next| (end, next)),
            None => None,
        };
        let has_length = by_length.is_some();
        let (end, next) = match by_length {
            Some(ends) => ends,
            // A body of nothing has its separator right behind the header's last line end; that of the separator is no such.
            None => self.end_by_search(body_start.saturating_sub(1).max(header_start))?,
        };
        if self.rules == Rules::Dovecot && end < body_start {
            // Without a body, the line end that goes with the separator is the header's last.
            header.cut(end);
        }
        let body_start = header.range.end;
        self.next = next;
        Ok(Some(RawMessage { start, from, header, body: body_start..end.max(body_start), end: next, has_length }))
    }

    /// The message whose separator begins at an offset, without a look at where it ends.
    pub(super) fn header_of(&mut self, start: u64) -> Result<Option<(FromLine, RawHeader)>> {
        let Some((from, header_start)) = self.separator_at(start)? else { return Ok(None) };
        Ok(Some((from, self.header_at(header_start)?)))
    }

    /// Whether a separator begins at an offset.
    pub(super) fn is_separator(&mut self, offset: u64) -> Result<bool> {
        Ok(self.separator_at(offset)?.is_some())
    }

    /// The separator that begins at an offset, and what is behind it.
    fn separator_at(&mut self, offset: u64) -> Result<Option<(FromLine, u64)>> {
        let rules = self.rules;
        let bytes = self.at(offset, FromLine::LEN_MAX + 8)?;
        let Some(from) = rules.separator(bytes) else { return Ok(None) };
        let line_len = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
        Ok(Some((from, offset + line_len as u64)))
    }

    /// The header that begins at an offset.
    pub(super) fn header_at(&mut self, offset: u64) -> Result<RawHeader> {
        let (mut want, rules) = (16 << 10, self.rules);
        loop {
            let bytes = self.at(offset, want)?;
            let header_len = mailmime::header_len(bytes);
            // A header without an empty line ends at the next separator.
            let header = bytes.get(..header_len).unwrap_or_default();
            let mut seen = Seen::default();
            let cut = memmem::find_iter(header, SIGN)
                .filter(|&at| seen.is_looked_at(rules, at as u64))
                .map(|at| at + 1)
                .find(|&at| header.get(at..).is_some_and(|line| rules.separator(line).is_some()));
            if header_len < bytes.len() || cut.is_some() || bytes.len() < want {
                let bytes = header.get(..cut.unwrap_or(header_len)).unwrap_or_default().to_vec();
                return Ok(RawHeader::short(offset, bytes));
            }
            if want >= HEADER_LEN_MAX {
                return long_header::read(self, rules, offset);
            }
            want = (want * 4).min(HEADER_LEN_MAX);
        }
    }

    /// Where the next message begins, if a body that is said to end at `end` does: a separator or the end of the file
    /// must be there, behind an empty line or not.
    fn end_by_length(&mut self, end: u64) -> Result<Option<u64>> {
        if end > self.len {
            return Ok(None);
        }
        let behind = self.at(end, 2)?;
        let next = end + if behind.starts_with(b"\r\n") { 2 } else { u64::from(behind.starts_with(b"\n")) };
        let is_apart = self.rules == Rules::WholeLines || next > end;
        let ends = next >= self.len || is_apart && self.separator_at(next)?.is_some();
        Ok(ends.then_some(next))
    }

    /// Where a body ends and the next message begins.
    fn end_by_search(&mut self, mut at: u64) -> Result<(u64, u64)> {
        let mut seen = Seen::default();
        loop {
            let window_len = self.window_len;
            let bytes = self.at(at, window_len)?;
            let (read, is_last) = (bytes.len(), bytes.len() < window_len);
            let found: Vec<usize> = memmem::find_iter(bytes, SIGN).collect();
            for hit in found {
                let next = at + hit as u64 + 1;
                if seen.is_looked_at(self.rules, next) && self.separator_at(next)?.is_some() {
                    return Ok((self.before_line_end(next)?, next));
                }
            }
            if is_last {
                return Ok((self.end_of_last()?, self.len));
            }
            // A separator may begin where this window ends.
            at += (read - SIGN.len()) as u64;
        }
    }

    /// Without the line end in front of a separator, which belongs to the separator.
    fn before_line_end(&mut self, next: u64) -> Result<u64> {
        let before = self.at(next.saturating_sub(2), 2)?;
        Ok(next - if before == b"\r\n" { 2 } else { 1 })
    }

    /// The empty line behind the last message is not its own.
    fn end_of_last(&mut self) -> Result<u64> {
        let rules = self.rules;
        let tail = self.at(self.len.saturating_sub(4), 4)?;
        let extra = match rules {
            Rules::Dovecot if tail.ends_with(b"\r\n") => 2,
            Rules::Dovecot => u64::from(tail.ends_with(b"\n")),
            Rules::WholeLines if tail.ends_with(b"\r\n\r\n") => 2,
            Rules::WholeLines => u64::from(tail.ends_with(b"\n\n")),
        };
        Ok(self.len - extra)
    }

    /// So many bytes of the file from an offset on, fewer at its end.
    pub(super) fn at(&mut self, offset: u64, len: usize) -> Result<&[u8]> {
        let window_end = self.window.start + self.window.bytes.len() as u64;
        let end = offset.saturating_add(len as u64).min(self.len);
        if offset < self.window.start || end > window_end {
            let mut bytes = std::mem::take(&mut self.window.bytes);
            bytes.resize(len.max(self.window_len * 2), 0);
            let read = self.file.read_at(&mut bytes, offset)?;
            bytes.truncate(read);
            self.window = Window { start: offset, bytes };
        }
        let from = usize::try_from(offset - self.window.start).unwrap_or(usize::MAX);
        let there = self.window.bytes.get(from..).unwrap_or_default();
        Ok(there.get(..len).unwrap_or(there))
    }
}
