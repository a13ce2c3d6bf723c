//! An mbox file as messages with their flags, as an import reads it.

use std::{ops::Range, path::PathBuf};

use mailfs::{File, FileSystem, OpenMode, Result};

use super::{
    FromLine, Status,
    long_header::HEADER_LEN_MAX,
    meta::visible,
    scan::{RawMessage, Rules, Scanner},
};

/// Reads an mbox file from its beginning to its end. Never writes to it and takes no lock: it is for files that nobody
/// changes at the time.
#[derive(Debug)]
pub struct MboxReader {
    scanner: Scanner,
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

impl MboxReader {
    /// Opens a file.
    ///
    /// # Errors
    /// Those of the disk; and [`InvalidData`](std::io::ErrorKind::InvalidData) if the file is not empty and does not begin
    /// with a separator.
    pub fn open(fs: &dyn FileSystem, path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let file = fs.open(&path, OpenMode::Read)?;
        Ok(Self { scanner: Scanner::new(&path, file, Rules::WholeLines)? })
    }

    /// Bytes of the file.
    pub fn len(&self) -> u64 {
        self.scanner.len()
    }

    /// Whether there is nothing in the file.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The file, for reading bodies.
    pub fn file(&self) -> &dyn File {
        &**self.scanner.file()
    }

    /// The next message; `None` behind the last.
    ///
    /// # Errors
    /// Those of the disk.
    pub fn next_message(&mut self) -> Result<Option<MboxMessage>> {
        let Some(RawMessage { start, from, header, mut body, end, has_length, .. }) = self.scanner.next_message()?
        else {
            return Ok(None);
        };
        let mut status = Status::parse(&header.bytes);
        if header.long.is_some() {
            // Its beginning is shown as header, and the rest of it as it stands there.
            let at = header.range.start;
            status.header = visible(self.scanner.at(at, HEADER_LEN_MAX)?);
            body.start = at + HEADER_LEN_MAX as u64;
        }
        Ok(Some(MboxMessage { start, end, from, status, body, has_length }))
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, sync::Arc};

    use mailfs::{FileSystemExt as _, sim::SimDisk};

    use super::{super::scan::WINDOW_LEN, *};

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
    fn dovecots_messages() {
        let texts = |bytes: String| {
            let disk = Arc::new(SimDisk::new());
            disk.write_atomic(Path::new("/mbox"), bytes.as_bytes(), 0o600, false).unwrap();
            let file = disk.open(Path::new("/mbox"), OpenMode::Read).unwrap();
            let mut scanner = Scanner::new(Path::new("/mbox"), file, Rules::Dovecot).unwrap();
            let mut texts = Vec::new();
            while let Some(message) = scanner.next_message().unwrap() {
                let body = message.body.start as usize..message.body.end as usize;
                texts.push(String::from_utf8(message.header.bytes).unwrap() + &bytes[body]);
            }
            texts
        };
        let from = FROM.trim_end();
        assert_eq!(texts(format!("{FROM}{FROM}A: 1\n\nx\n")), [format!("{FROM}A: 1\n\nx")]);
        assert_eq!(texts(format!("{FROM}A: 1\n\nx\n{from}")), [format!("A: 1\n\nx\n{from}")]);
        assert_eq!(texts(format!("{FROM}\n{FROM}")), ["", ""]);
        // Measured with Dovecot 2.3.19.
        for (count, messages) in [(0, 2), (1, 1), (2, 2), (3, 1), (4, 2)] {
            let lines = "From \n".repeat(count);
            assert_eq!(texts(format!("{FROM}A: 1\n\n{lines}{FROM}A: 2\n\ny\n")).len(), messages, "{count}");
            assert_eq!(texts(format!("{FROM}A: 1\n{lines}{FROM}A: 2\n\ny\n")).len(), messages, "{count} in a header");
        }
        assert_eq!(texts(format!("{FROM}Content-Length: 5\n\nFrom \n{FROM}A: 2\n\ny\n")).len(), 2);
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
