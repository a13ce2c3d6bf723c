//! Writing a message's body into a new file while it arrives, and parsing it on its way.

use mailfs::{FileHandle, FsError};
use mailmime::{Limits, Scanner, Structure};

use crate::{
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
    /// Not yet written; lies at `flushed_len` of the file.
    buffer: Vec<u8>,
    flushed_len: u64,
    body_offset: u64,
    last: Option<u8>,
    cr_pending: bool,
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
        Self { file, options, scanner, buffer: head, flushed_len: 0, body_offset, last: None, cr_pending: false }
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
        self.buffer.capacity() + self.scanner.held_len()
    }

    fn flush(&mut self) -> Result<(), BodyWriteError> {
        self.file.write_at(&self.buffer, self.flushed_len)?;
        self.flushed_len += self.buffer.len() as u64;
        self.buffer.clear();
        Ok(())
    }

    /// The message is whole: `close` is given its sizes as stored and with CRLF line ends.
    pub(crate) fn finish(mut self, close: impl FnOnce(u64, u64) -> Closing) -> Result<Written, BodyWriteError> {
        if std::mem::take(&mut self.cr_pending) {
            self.store(b"\r")?;
        }
        let body_len = self.flushed_len + self.buffer.len() as u64 - self.body_offset;
        let structure = self.scanner.finish();
        let virtual_size = structure.virtual_len();
        let Closing { patch, tail } = close(body_len, virtual_size);
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
        let wants_preview = self.options.preview;
        let preview = wants_preview.then(|| preview_of(&self.file, self.body_offset, body_len, &structure)).flatten();
        Ok(Written { file: self.file, body_len, virtual_size, structure, preview })
    }
}

/// The first words, read from the file; what cannot be read has none yet.
fn preview_of(file: &FileHandle, body_offset: u64, body_len: u64, structure: &Structure) -> Option<String> {
    let read = |offset: u64, buf: &mut [u8]| {
        let left = usize::try_from(body_len.saturating_sub(offset)).unwrap_or(usize::MAX).min(buf.len());
        Ok(file.read_at(buf.get_mut(..left).unwrap_or_default(), body_offset + offset)?)
    };
    preview(structure, read).ok()
}
