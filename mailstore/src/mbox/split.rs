//! An mbox file as messages, one after the other.

use std::{io, ops::Range, path::PathBuf};

use mailfs::{File, FileHandle, FileSystem, FsError, OpenMode, Result};
use memchr::memmem;

use super::{FromLine, Status};

/// Bytes read at once.
const WINDOW_LEN: usize = 256 << 10;
/// Longest header that is read; what is behind is taken for body.
const HEADER_LEN_MAX: usize = mailmime::Limits::HEADER_LEN_MAX;

/// Reads an mbox file from its beginning to its end. Never writes to it and takes no lock: it is for files that nobody
/// changes at the time.
#[derive(Debug)]
pub struct MboxReader {
    path: PathBuf,
    file: FileHandle,
    len: u64,
    /// Where the next separator is.
    next: u64,
    window: Window,
}

/// One message of an mbox file.
#[derive(Clone, Debug)]
pub struct MboxMessage {
    /// Where its separator begins, in bytes.
    pub start: u64,
    /// Where the next one's does.
    pub end: u64,
    /// Its separator.
    pub from: FromLine,
    /// Its header, and what that says of flags.
    pub status: Status,
    /// Its body, in bytes of the file.
    pub body: Range<u64>,
    /// Whether its length was known from its header; else lines that look like separators are quoted in it.
    pub has_length: bool,
}

/// A stretch of a file in memory.
#[derive(Debug, Default)]
struct Window {
    start: u64,
    bytes: Vec<u8>,
}

impl MboxReader {
    /// Opens a file.
    ///
    /// # Errors
    /// Those of the disk; and [`io::ErrorKind::InvalidData`] if the file is not empty and does not begin with a
    /// separator.
    pub fn open(fs: &dyn FileSystem, path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let file = fs.open(&path, OpenMode::Read)?;
        let len = file.len()?;
        let mut reader = Self { path, file, len, next: 0, window: Window::default() };
        if len > 0 && reader.separator_at(0)?.is_none() {
            let text = "it does not begin with a line \"From sender date\", so it is no mbox file";
            return Err(FsError::new("read", &reader.path, io::Error::new(io::ErrorKind::InvalidData, text)));
        }
        Ok(reader)
    }

    /// Bytes of the file.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is nothing in the file.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The file, for reading bodies.
    pub fn file(&self) -> &dyn File {
        &*self.file
    }

    /// The next message; `None` behind the last.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn next_message(&mut self) -> Result<Option<MboxMessage>> {
        let start = self.next;
        let Some((from, header_start)) = self.separator_at(start)? else { return Ok(None) };
        let header = self.header_at(header_start)?;
        let body_start = header_start + header.len() as u64;
        let status = Status::parse(&header);
        let by_length = match status.content_length.and_then(|length| body_start.checked_add(length)) {
            Some(end) => self.end_by_length(end)?.map(|next| (end, next)),
            None => None,
        };
        let has_length = by_length.is_some();
        let (end, next) = match by_length {
            Some(ends) => ends,
            None => self.end_by_search(body_start)?,
        };
        self.next = next;
        Ok(Some(MboxMessage { start, end: next, from, status, body: body_start..end.max(body_start), has_length }))
    }

    /// The separator that begins at an offset, and what is behind it.
    fn separator_at(&mut self, offset: u64) -> Result<Option<(FromLine, u64)>> {
        let bytes = self.at(offset, FromLine::LEN_MAX + 2)?;
        let Some(from) = FromLine::parse(bytes) else { return Ok(None) };
        let line_len = memchr::memchr(b'\n', bytes).map_or(bytes.len(), |at| at + 1);
        Ok(Some((from, offset + line_len as u64)))
    }

    fn header_at(&mut self, offset: u64) -> Result<Vec<u8>> {
        let mut want = 16 << 10;
        loop {
            let bytes = self.at(offset, want)?;
            let header_len = mailmime::header_len(bytes);
            // A header without an empty line ends at the next separator.
            let header = bytes.get(..header_len).unwrap_or_default();
            let cut = memmem::find_iter(header, b"\nFrom ")
                .map(|at| at + 1)
                .find(|&at| header.get(at..).is_some_and(|line| FromLine::parse(line).is_some()));
            if header_len < bytes.len() || cut.is_some() || bytes.len() < want || want >= HEADER_LEN_MAX {
                return Ok(header.get(..cut.unwrap_or(header_len)).unwrap_or_default().to_vec());
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
        let ends = next >= self.len || self.separator_at(next)?.is_some();
        Ok(ends.then_some(next))
    }

    /// Where a body ends and the next message begins.
    fn end_by_search(&mut self, body_start: u64) -> Result<(u64, u64)> {
        // A body of nothing has its separator right behind the header.
        let mut at = body_start.saturating_sub(1);
        loop {
            let bytes = self.at(at, WINDOW_LEN)?;
            let (read, is_last) = (bytes.len(), bytes.len() < WINDOW_LEN);
            let found: Vec<usize> = memmem::find_iter(bytes, b"\nFrom ").collect();
            for hit in found {
                let next = at + hit as u64 + 1;
                if self.separator_at(next)?.is_some() {
                    return Ok((self.before_line_end(next)?, next));
                }
            }
            if is_last {
                return Ok((self.end_of_last()?, self.len));
            }
            // A separator may begin where this window ends.
            at += (read - b"\nFrom ".len()) as u64;
        }
    }

    /// Without the line end in front of a separator, which belongs to the separator.
    fn before_line_end(&mut self, next: u64) -> Result<u64> {
        let before = self.at(next.saturating_sub(2), 2)?;
        Ok(next - if before == b"\r\n" { 2 } else { 1 })
    }

    /// The empty line behind the last message is not its own.
    fn end_of_last(&mut self) -> Result<u64> {
        let tail = self.at(self.len.saturating_sub(4), 4)?;
        let extra = if tail.ends_with(b"\r\n\r\n") { 2 } else { u64::from(tail.ends_with(b"\n\n")) };
        Ok(self.len - extra)
    }

    /// So many bytes of the file from an offset on, fewer at its end.
    fn at(&mut self, offset: u64, len: usize) -> Result<&[u8]> {
        let window_end = self.window.start + self.window.bytes.len() as u64;
        let end = offset.saturating_add(len as u64).min(self.len);
        if offset < self.window.start || end > window_end {
            let mut bytes = std::mem::take(&mut self.window.bytes);
            bytes.resize(len.max(WINDOW_LEN * 2), 0);
            let read = self.file.read_at(&mut bytes, offset)?;
            bytes.truncate(read);
            self.window = Window { start: offset, bytes };
        }
        let from = usize::try_from(offset - self.window.start).unwrap_or(usize::MAX);
        let there = self.window.bytes.get(from..).unwrap_or_default();
        Ok(there.get(..len).unwrap_or(there))
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use mailfs::{FileSystemExt as _, sim::SimDisk};

    use super::*;

    fn reader(bytes: &[u8]) -> Result<MboxReader> {
        let disk = Arc::new(SimDisk::new());
        let path = Path::new("/mbox");
        disk.write_atomic(path, bytes, 0o600, false).unwrap();
        MboxReader::open(&*disk, path)
    }

    fn messages(bytes: &[u8]) -> Vec<(Vec<u8>, Vec<u8>, bool)> {
        let mut reader = reader(bytes).unwrap();
        let mut found = Vec::new();
        let mut at = 0;
        while let Some(message) = reader.next_message().unwrap() {
            assert_eq!(message.start, at, "no byte is nobody's");
            at = message.end;
            let mut body = vec![0; (message.body.end - message.body.start) as usize];
            reader.file().read_at(&mut body, message.body.start).unwrap();
            found.push((message.status.header, body, message.has_length));
        }
        assert_eq!(at, bytes.len() as u64);
        found
    }

    const FROM: &str = "From a Thu Nov 29 22:33:52 2001\n";

    fn expect(text: &str, expected: &[(&str, &str)]) {
        let found = messages(text.as_bytes());
        let found: Vec<_> =
            found.iter().map(|(h, b, _)| (str::from_utf8(h).unwrap(), str::from_utf8(b).unwrap())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn messages_end_where_a_separator_begins() {
        expect(
            &format!("{FROM}A: 1\n\nFrom here\nx\n\n{FROM}A: 2\n\n{FROM}A: 3\n\ny\n\n"),
            &[("A: 1\n\n", "From here\nx\n"), ("A: 2\n\n", ""), ("A: 3\n\n", "y\n")],
        );
    }

    #[test]
    fn odd_ends() {
        expect("", &[]);
        expect(FROM, &[("", "")]);
        expect(&format!("{FROM}A: 1"), &[("A: 1", "")]);
        expect(&format!("{FROM}A: 1\n{FROM}A: 2\n\nx"), &[("A: 1\n", ""), ("A: 2\n\n", "x")]);
        expect(
            &format!("{FROM}A: 1\r\n\r\nx\r\n\r\n{FROM}\r\ny\r\n\r\n"),
            &[("A: 1\r\n\r\n", "x\r\n"), ("\r\n", "y\r\n")],
        );
        assert!(reader(b"Subject: x\n\n").is_err());
    }

    #[test]
    fn a_length_is_trusted_only_if_it_leads_somewhere() {
        let inner = format!("x\n\n{FROM}B: 1\n\n");
        expect(
            &format!("{FROM}Content-Length: {}\n\n{inner}\n{FROM}A: 2\n\n", inner.len()),
            &[("\n", &inner), ("A: 2\n\n", "")],
        );
        expect(
            &format!("{FROM}Content-Length: {}\n\n{inner}\n{FROM}A: 2\n\n", inner.len() + 3),
            &[("\n", "x\n"), ("B: 1\n\n", ""), ("A: 2\n\n", "")],
        );
    }

    #[test]
    fn separators_are_found_wherever_windows_end() {
        for pad in (WINDOW_LEN - 80)..(WINDOW_LEN + 20) {
            let body = format!("{}\n", "x".repeat(pad));
            let text = format!("{FROM}A: 1\n\n{body}\n{FROM}A: 2\n\ny\n");
            let found = messages(text.as_bytes());
            assert_eq!(found.len(), 2, "{pad}");
            assert_eq!((found[0].1.len(), &found[1].1[..]), (body.len(), &b"y\n"[..]));
        }
    }

    #[test]
    fn no_bytes_break_it() {
        proptest::proptest!(|(lines in proptest::collection::vec("(From a Thu Nov 29 22:33:52 2001|From |A: b|Content-Length: [0-9]{1,3}|\r?|.{0,9})", 0..20))| {
            messages(format!("{FROM}{}", lines.join("\n")).as_bytes());
        });
    }
}
