//! Writing a message's body into a new file while it arrives, and parsing it on its way.

use std::{io, path::Path, sync::Arc};

use mailfs::{FileHandle, FsError};
use mailmime::{Limits, Scanner, Structure};

use crate::{
    compressed::{BodyCompression, CodecError, Compression, Encoder, PlainText, StoredBytes},
    preview::preview,
    traits::{NulPolicy, StorageError},
};

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
    /// Whether the body is compressed.
    pub compression: BodyCompression,
    /// NUL bytes.
    pub nuls: NulPolicy,
    /// What parsing may hold in memory.
    pub limits: Limits,
    /// Whether the preview is made too; it costs reading the beginning of the text again.
    pub preview: bool,
}

/// Why a body could not be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyWriteError {
    /// The message cannot be stored as it is.
    #[error("message refused: {0}")]
    Refused(&'static str),
    /// The file system refused.
    #[error(transparent)]
    Fs(#[from] FsError),
}

impl From<BodyWriteError> for StorageError {
    fn from(error: BodyWriteError) -> Self {
        match error {
            BodyWriteError::Refused(why) => Self::MessageRefused(why),
            BodyWriteError::Fs(e) => Self::from(e),
        }
    }
}

/// Writes one message into a new file that nobody else knows of yet: what stands before the body, and the body as it
/// comes; at the end what stands behind it.
#[derive(Debug)]
pub(crate) struct BodyWriter {
    file: FileHandle,
    options: WriterOptions,
    scanner: Scanner,
    /// What a compressed body goes through.
    encoder: Option<Encoder>,
    /// Not yet written; lies at `flushed_len` of the file.
    buffer: Vec<u8>,
    flushed_len: u64,
    body_offset: u64,
    /// Bytes of the body before it is compressed.
    plain_len: u64,
    checksum: crc32fast::Hasher,
    last: Option<u8>,
    cr_pending: bool,
}

/// What is known of a body that was written whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WrittenBody {
    /// Bytes as stored.
    pub stored_len: u64,
    /// Bytes as plain text, line ends as stored.
    pub plain_len: u64,
    /// Bytes as plain text with CRLF line ends.
    pub virtual_size: u64,
    /// CRC-32 (IEEE 802.3) of the bytes as stored.
    pub crc32: u32,
}

impl WrittenBody {
    /// The plain length of a body that is stored compressed.
    pub fn compressed_from(&self, options: BodyCompression) -> Option<u64> {
        (options != BodyCompression::None).then_some(self.plain_len)
    }
}

/// What is written when the sizes are known.
#[derive(Debug, Default)]
pub(crate) struct Closing {
    /// At an offset before the body.
    pub(crate) patch: Option<(u64, Vec<u8>)>,
    /// Behind the body.
    pub(crate) tail: Vec<u8>,
}

/// A message that was written whole; not synced.
#[derive(Debug)]
pub struct Written {
    /// The file.
    pub file: FileHandle,
    /// Bytes of the body as stored.
    pub body_len: u64,
    /// Bytes of the body as plain text, line ends as stored.
    pub plain_len: u64,
    /// Bytes with CRLF line ends.
    pub virtual_size: u64,
    /// What parsing found.
    pub structure: Structure,
    /// The preview, where it was asked for.
    pub preview: Option<String>,
}

impl BodyWriter {
    /// Begins a file with `head`.
    pub(crate) fn new(file: FileHandle, head: Vec<u8>, options: WriterOptions) -> Self {
        let scanner = Scanner::new(options.limits.clone());
        let body_offset = head.len() as u64;
        Self {
            file,
            scanner,
            encoder: Encoder::of(options.compression),
            options,
            buffer: head,
            flushed_len: 0,
            body_offset,
            plain_len: 0,
            checksum: crc32fast::Hasher::new(),
            last: None,
            cr_pending: false,
        }
    }

    /// How it writes.
    pub(crate) fn compression(&self) -> BodyCompression {
        self.options.compression
    }

    /// The next bytes of the message, with LF or CRLF line ends, cut anywhere.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), BodyWriteError> {
        match (memchr::memchr(0, bytes), self.options.nuls) {
            (None, _) | (_, NulPolicy::Keep) => self.write_lines(bytes),
            (Some(_), NulPolicy::Refuse) => Err(BodyWriteError::Refused("Message contains NUL bytes")),
            (Some(_), NulPolicy::Replace) => {
                let replaced: Vec<u8> = bytes.iter().map(|&b| if b == 0 { NUL_REPLACEMENT } else { b }).collect();
                self.write_lines(&replaced)
            }
        }
    }

    fn write_lines(&mut self, bytes: &[u8]) -> Result<(), BodyWriteError> {
        match self.options.line_ends {
            BodyLineEnds::Lf => self.write_as_lf(bytes),
            BodyLineEnds::CrLf => self.write_as_crlf(bytes),
        }
    }

    /// Drops each CR that an LF follows.
    fn write_as_lf(&mut self, bytes: &[u8]) -> Result<(), BodyWriteError> {
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
    fn write_as_crlf(&mut self, bytes: &[u8]) -> Result<(), BodyWriteError> {
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

    fn store(&mut self, bytes: &[u8]) -> Result<(), BodyWriteError> {
        self.scanner.write(bytes);
        self.plain_len += bytes.len() as u64;
        let Some(encoder) = &mut self.encoder else { return self.put(bytes) };
        encoder.write(bytes).map_err(cannot_compress)?;
        match encoder.gathered() {
            Some(gathered) if gathered.len() >= BUFFER_LEN => {
                let gathered = std::mem::take(gathered);
                self.put(&gathered)
            }
            _ => Ok(()),
        }
    }

    /// The next bytes of the body as they are to lie in the file.
    fn put(&mut self, bytes: &[u8]) -> Result<(), BodyWriteError> {
        self.checksum.update(bytes);
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

    /// About how many bytes of memory it holds.
    pub(crate) fn held_len(&self) -> usize {
        let encoder = self.encoder.as_ref().map_or(0, Encoder::held_len);
        self.buffer.capacity() + encoder + self.scanner.held_len()
    }

    fn flush(&mut self) -> Result<(), BodyWriteError> {
        self.file.write_at(&self.buffer, self.flushed_len)?;
        self.flushed_len += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// The message is whole: `close` is told what was written.
    pub(crate) fn finish(mut self, close: impl FnOnce(&WrittenBody) -> Closing) -> Result<Written, BodyWriteError> {
        if std::mem::take(&mut self.cr_pending) {
            self.store(b"\r")?;
        }
        if let Some(encoder) = self.encoder.take() {
            let rest = encoder.finish().map_err(cannot_compress)?;
            self.put(&rest)?;
        }
        let structure = self.scanner.finish();
        let body = WrittenBody {
            stored_len: self.flushed_len + self.buffer.len() as u64 - self.body_offset,
            plain_len: self.plain_len,
            virtual_size: structure.virtual_len(),
            crc32: self.checksum.finalize(),
        };
        let Closing { patch, tail } = close(&body);
        self.buffer.extend_from_slice(&tail);
        let unwritten = self.flushed_len == 0;
        if let Some((offset, bytes)) = patch.as_ref().filter(|_| unwritten) {
            let from = usize::try_from(*offset).unwrap_or(usize::MAX);
            if let Some(place) = self.buffer.get_mut(from..from.saturating_add(bytes.len())) {
                place.copy_from_slice(bytes);
            }
        }
        self.file.write_at(&self.buffer, self.flushed_len)?;
        if let Some((offset, bytes)) = patch.filter(|_| !unwritten) {
            self.file.write_at(&bytes, offset)?;
        }
        let in_file = InFile { file: Arc::clone(&self.file), offset: self.body_offset, len: body.stored_len };
        let preview = if self.options.preview { in_file.preview(&structure) } else { None };
        let WrittenBody { stored_len: body_len, plain_len, virtual_size, .. } = body;
        Ok(Written { file: self.file, body_len, plain_len, virtual_size, structure, preview })
    }
}

fn cannot_compress(error: io::Error) -> BodyWriteError {
    BodyWriteError::Fs(FsError::new("compress the body of", "a new message", error))
}

/// A body where it was written.
#[derive(Debug)]
struct InFile {
    file: FileHandle,
    offset: u64,
    len: u64,
}

impl StoredBytes for InFile {
    fn len(&self) -> u64 {
        self.len
    }

    fn file_offset(&self) -> u64 {
        self.offset
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize, CodecError> {
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX).min(buf.len());
        Ok(self.file.read_at(buf.get_mut(..left).unwrap_or_default(), self.offset + offset)?)
    }
}

impl InFile {
    /// The first words, read from the file; what cannot be read has none yet.
    fn preview(self, structure: &Structure) -> Option<String> {
        let mut start = [0; Compression::MAGIC_LEN];
        let read = self.read(0, &mut start).ok()?;
        let Some(compression) = Compression::of(start.get(..read).unwrap_or_default()) else {
            return preview(structure, |offset, buf| self.read(offset, buf).map_err(|e| e.at(Path::new("")))).ok();
        };
        let mut text = PlainText::new(Arc::new(self), compression, None);
        preview(structure, |offset, buf| text.read(offset, buf).map_err(|e| e.at(Path::new("")))).ok()
    }
}
