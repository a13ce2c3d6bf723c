//! Writing a message file while it arrives, and parsing the message on its way.

use mailfs::FileHandle;
use mailmime::{Limits, Scanner, Structure};

use super::{DboxError, FileHeader, MessageHeader, Metadata};
use crate::traits::NulPolicy;

/// Bytes gathered before they are written. A message that is smaller costs a single write.
const BUFFER_LEN: usize = 64 << 10;

/// What a NUL becomes under [`NulPolicy::Replace`], and what Dovecot shows IMAP clients in its place.
const NUL_REPLACEMENT: u8 = 0x80;

/// How line ends are stored.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum BodyLineEnds {
    /// LF, as Dovecot does.
    #[default]
    Lf,
    /// CRLF, which Dovecot reads as well: a range of a message is then a range of its file.
    CrLf,
}

/// How to write a message.
#[derive(Clone, Debug, Default)]
pub struct WriterOptions {
    /// Line ends of the body.
    pub line_ends: BodyLineEnds,
    /// NUL bytes.
    pub nuls: NulPolicy,
    /// What parsing may hold in memory.
    pub limits: Limits,
}

/// Writes one message into a new file that nobody else knows of yet: file header, a message header with size 0, the
/// body as it comes; at the end the metadata, and the size into its place.
#[derive(Debug)]
pub struct DboxWriter {
    file: FileHandle,
    options: WriterOptions,
    scanner: Scanner,
    /// Not yet written; lies at `flushed_len` of the file.
    buffer: Vec<u8>,
    flushed_len: u64,
    header_offset: u64,
    body_offset: u64,
    last: Option<u8>,
    cr_pending: bool,
}

/// A message that was written whole; not synced.
#[derive(Debug)]
pub struct Written {
    /// The file.
    pub file: FileHandle,
    /// Bytes of the body as stored.
    pub body_len: u64,
    /// Bytes with CRLF line ends.
    pub virtual_size: u64,
    /// What parsing found.
    pub structure: Structure,
}

impl DboxWriter {
    /// Begins a file made at `created` (Unix seconds).
    pub fn new(file: FileHandle, created: u32, options: WriterOptions) -> Self {
        let mut buffer = Vec::new();
        FileHeader::new(created).write(&mut buffer);
        let header_offset = buffer.len() as u64;
        MessageHeader::new(0).write(&mut buffer);
        let body_offset = buffer.len() as u64;
        let scanner = Scanner::new(options.limits.clone());
        Self {
            file,
            options,
            scanner,
            buffer,
            flushed_len: 0,
            header_offset,
            body_offset,
            last: None,
            cr_pending: false,
        }
    }

    /// The next bytes of the message, with LF or CRLF line ends, cut anywhere.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), DboxError> {
        match (memchr::memchr(0, bytes), self.options.nuls) {
            (None, _) | (_, NulPolicy::Keep) => self.write_lines(bytes),
            (Some(_), NulPolicy::Refuse) => Err(DboxError::Refused("Message contains NUL bytes")),
            (Some(_), NulPolicy::Replace) => {
                let replaced: Vec<u8> = bytes.iter().map(|&b| if b == 0 { NUL_REPLACEMENT } else { b }).collect();
                self.write_lines(&replaced)
            }
        }
    }

    fn write_lines(&mut self, bytes: &[u8]) -> Result<(), DboxError> {
        match self.options.line_ends {
            BodyLineEnds::Lf => self.write_as_lf(bytes),
            BodyLineEnds::CrLf => self.write_as_crlf(bytes),
        }
    }

    /// Drops each CR that an LF follows.
    fn write_as_lf(&mut self, bytes: &[u8]) -> Result<(), DboxError> {
        let Some(&first) = bytes.first() else { return Ok(()) };
        if std::mem::take(&mut self.cr_pending) && first != b'\n' {
            self.store(b"\r")?;
        }
        let mut from = 0;
        for at in memchr::memchr_iter(b'\r', bytes) {
            match bytes.get(at + 1) {
                Some(b'\n') => {
                    self.store(bytes.get(from..at).unwrap_or_default())?;
                    from = at + 1;
                }
                Some(_) => {}
                None => {
                    self.store(bytes.get(from..at).unwrap_or_default())?;
                    from = at + 1;
                    self.cr_pending = true;
                }
            }
        }
        self.store(bytes.get(from..).unwrap_or_default())
    }

    /// Puts a CR before each LF that has none.
    fn write_as_crlf(&mut self, bytes: &[u8]) -> Result<(), DboxError> {
        let mut from = 0;
        for at in memchr::memchr_iter(b'\n', bytes) {
            let before = if at == 0 { self.last } else { bytes.get(at - 1).copied() };
            if before != Some(b'\r') {
                self.store(bytes.get(from..at).unwrap_or_default())?;
                self.store(b"\r")?;
                from = at;
            }
        }
        self.store(bytes.get(from..).unwrap_or_default())?;
        self.last = bytes.last().copied().or(self.last);
        Ok(())
    }

    fn store(&mut self, bytes: &[u8]) -> Result<(), DboxError> {
        self.scanner.write(bytes);
        if self.buffer.len() + bytes.len() <= BUFFER_LEN {
            self.buffer.extend_from_slice(bytes);
            return Ok(());
        }
        self.flush()?;
        if bytes.len() >= BUFFER_LEN {
            self.file.write_at(bytes, self.flushed_len)?;
            self.flushed_len += bytes.len() as u64;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), DboxError> {
        self.file.write_at(&self.buffer, self.flushed_len)?;
        self.flushed_len += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// The message is whole: `metadata` is given its virtual size and makes the lines.
    pub fn finish(mut self, metadata: impl FnOnce(u64) -> Metadata) -> Result<Written, DboxError> {
        if std::mem::take(&mut self.cr_pending) {
            self.store(b"\r")?;
        }
        let body_len = self.flushed_len + self.buffer.len() as u64 - self.body_offset;
        let structure = self.scanner.finish();
        let virtual_size = structure.virtual_len();
        let mut header = Vec::with_capacity(MessageHeader::LEN);
        MessageHeader::new(body_len).write(&mut header);
        metadata(virtual_size).write(&mut self.buffer);
        if self.flushed_len == 0 {
            let place = self.header_offset as usize..self.body_offset as usize;
            if let Some(place) = self.buffer.get_mut(place) {
                place.copy_from_slice(&header);
            }
            self.file.write_at(&self.buffer, 0)?;
        } else {
            self.file.write_at(&self.buffer, self.flushed_len)?;
            self.file.write_at(&header, self.header_offset)?;
        }
        Ok(Written { file: self.file, body_len, virtual_size, structure })
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mailfs::{FileSystem, OpenMode, RealDisk};
    use proptest::prelude::*;

    use super::{super::*, *};

    fn write(dir: &Path, pieces: &[&[u8]], options: WriterOptions) -> Result<(Written, std::path::PathBuf), DboxError> {
        let path = dir.join("u.1");
        let _ = std::fs::remove_file(&path);
        let file = RealDisk::new().open(&path, OpenMode::CreateNew { mode: 0o600 })?;
        let mut writer = DboxWriter::new(file, 0x6b02_77ab, options);
        for piece in pieces {
            writer.write(piece)?;
        }
        let written = writer.finish(|virtual_size| {
            let mut metadata = Metadata::default();
            metadata.push(MetadataKey::RECEIVED, b"6b0277ab");
            metadata.push(MetadataKey::VIRTUAL_SIZE, format!("{virtual_size:x}").as_bytes());
            metadata.push(MetadataKey::GUID, b"b1a2ac0aab77026b59260000c17ffdbc");
            metadata
        })?;
        Ok((written, path))
    }

    #[test]
    fn the_known_file() {
        let dir = tempfile::tempdir().unwrap();
        let (written, path) = write(dir.path(), &[b"Subject: two\r\n\r\nbody2\r\n"], WriterOptions::default()).unwrap();
        assert_eq!((written.body_len, written.virtual_size), (0x14, 0x17));
        let expect = b"2 M1e C6b0277ab\n\x01\x02N          0000000000000014\nSubject: two\n\nbody2\n\
            \n\x01\x03\nR6b0277ab\nV17\nGb1a2ac0aab77026b59260000c17ffdbc\n\n";
        assert_eq!(std::fs::read(&path).unwrap(), expect);
    }

    #[test]
    fn nuls_are_refused_or_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let refused = write(dir.path(), &[b"a\n", b"\0b"], WriterOptions::default());
        assert!(matches!(refused, Err(DboxError::Refused(_))));
        let options = WriterOptions { nuls: NulPolicy::Replace, ..WriterOptions::default() };
        let (_, path) = write(dir.path(), &[b"a\n\0b"], options).unwrap();
        let message = DboxMessage::open(&RealDisk::new(), &path).unwrap();
        let mut body = [0; 8];
        assert_eq!(message.read_body(0, &mut body).unwrap(), 4);
        assert_eq!(&body[..4], b"a\n\x80b");
        let options = WriterOptions { nuls: NulPolicy::Keep, ..WriterOptions::default() };
        let (_, path) = write(dir.path(), &[b"a\n\0b"], options).unwrap();
        let message = DboxMessage::open(&RealDisk::new(), &path).unwrap();
        assert_eq!(message.read_body(0, &mut body).unwrap(), 4);
        assert_eq!(&body[..4], b"a\n\0b");
    }

    #[test]
    fn a_file_cut_anywhere_is_told_and_dumped() {
        let dir = tempfile::tempdir().unwrap();
        let (_, path) = write(dir.path(), &[b"Subject: x\n\nbody\n"], WriterOptions::default()).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for len in 0..whole.len() {
            std::fs::write(&path, &whole[..len]).unwrap();
            let read = DboxMessage::open(&RealDisk::new(), &path).and_then(|m| m.metadata());
            assert!(matches!(read, Err(DboxError::Damaged { .. })), "{len}");
            let file = RealDisk::new().open(&path, OpenMode::Read).unwrap();
            let dump = dump(&*file).unwrap();
            assert!(dump.text.contains("DAMAGE") || len == 16, "{len}: {}", dump.text);
        }
    }

    #[test]
    fn files_of_many_messages_are_dumped_around_damage() {
        let dir = tempfile::tempdir().unwrap();
        let (_, path) = write(dir.path(), &[b"Subject: x\n\nbody\n"], WriterOptions::default()).unwrap();
        let one = std::fs::read(&path).unwrap();
        let mut many = one.clone();
        many.extend_from_slice(b"rubbish\x01\x02");
        many.extend_from_slice(&one[16..]);
        std::fs::write(&path, &many).unwrap();
        let dump = dump(&*RealDisk::new().open(&path, OpenMode::Read).unwrap()).unwrap();
        assert_eq!(dump.json["messages"].as_array().unwrap().len(), 2);
        assert_eq!(dump.json["damage"][0]["offset"], one.len());
        assert_eq!(dump.json["messages"][1]["body_len"], 17);
    }

    /// Each CR that an LF follows is dropped.
    fn as_lf(bytes: &[u8]) -> Vec<u8> {
        let keep = |i: usize| !(bytes[i] == b'\r' && bytes.get(i + 1) == Some(&b'\n'));
        (0..bytes.len()).filter(|&i| keep(i)).map(|i| bytes[i]).collect()
    }

    fn as_crlf(bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for &b in bytes {
            if b == b'\n' && out.last() != Some(&b'\r') {
                out.push(b'\r');
            }
            out.push(b);
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_cut_gives_the_same_file(
            pieces in prop::collection::vec(
                prop::collection::vec(prop::sample::select(b"\r\na:".to_vec()), 0..12), 0..8),
            long in any::<bool>(),
        ) {
            let dir = tempfile::tempdir().unwrap();
            let mut pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let filler = b"0123456789\r\n".repeat(8000);
            if long {
                pieces.insert(pieces.len() / 2, &filler);
            }
            let whole = pieces.concat();
            for line_ends in [BodyLineEnds::Lf, BodyLineEnds::CrLf] {
                let options = WriterOptions { line_ends, ..WriterOptions::default() };
                let (written, path) = write(dir.path(), &pieces, options).unwrap();
                let expect = if line_ends == BodyLineEnds::Lf { as_lf(&whole) } else { as_crlf(&whole) };
                let message = DboxMessage::open(&RealDisk::new(), &path).unwrap();
                let mut body = vec![0; expect.len() + 1];
                let read = message.read_body(0, &mut body).unwrap();
                prop_assert_eq!(&body[..read], &expect[..]);
                prop_assert_eq!(written.body_len, expect.len() as u64);
                prop_assert_eq!(written.virtual_size, as_crlf(&expect).len() as u64);
                prop_assert_eq!(message.metadata().unwrap().virtual_size(), Some(written.virtual_size));
            }
        }
    }
}
