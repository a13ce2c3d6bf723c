//! Reading a stored message with CRLF line ends.
//!
//! A body whose size as stored equals its size with CRLF has nothing to convert: any range of it is a range of the file.
//! Else a cursor goes along: the place in the file and the place in what the reader sees.

use mailindex::state::State;
use mailtypes::Uid;

use super::{MessageFiles, StoredMessage};
use crate::traits::{Body, Result, Section};

/// Bytes read at once while line ends are converted.
const READ_LEN: usize = 32 << 10;

/// One message, open.
pub(super) struct IndexedBody {
    message: Box<dyn StoredMessage>,
    size: u64,
    cursor: Option<Cursor>,
    buffer: Vec<u8>,
}

/// How far a section has been read.
#[derive(Debug)]
struct Cursor {
    section: Section,
    /// Bytes of the section as stored that the reader has seen.
    stored: u64,
    /// The same with CRLF line ends.
    seen: u64,
    /// The last stored byte that was seen, for whether an LF has its CR.
    last: u8,
    /// The CR of a line end was seen, its LF not yet.
    half: bool,
}

impl IndexedBody {
    /// Opens a message.
    pub(super) fn open(files: &dyn MessageFiles, state: &State, uid: Uid) -> Result<Self> {
        let message = files.open(state, uid)?;
        message.prepare()?;
        let mut body = Self { message, size: 0, cursor: None, buffer: Vec::new() };
        body.size = match body.message.virtual_size()? {
            Some(size) if size >= body.message.stored_len() => size,
            _ => body.count_size()?,
        };
        Ok(body)
    }

    /// Goes over the whole body; for files that do not tell their size.
    fn count_size(&mut self) -> Result<u64> {
        let mut cursor = Cursor::new(Section::WHOLE);
        cursor.skip(self, u64::MAX)?;
        Ok(cursor.seen)
    }

    fn read_stored(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.message.read(offset, buf)
    }

    /// Bytes of a section that there are, as stored.
    fn section_len(&self, section: Section) -> u64 {
        self.message.stored_len().saturating_sub(section.start).min(section.len)
    }

    fn read_direct(&self, section: Section, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let left = self.section_len(section).saturating_sub(offset);
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        self.read_stored(section.start.saturating_add(offset), buf.get_mut(..want).unwrap_or_default())
    }
}

impl Body for IndexedBody {
    fn size(&self) -> u64 {
        self.size
    }

    fn stored_size(&self) -> u64 {
        self.message.stored_len()
    }

    fn read_at(&mut self, section: Section, offset: u64, buf: &mut [u8]) -> Result<usize> {
        if self.size == self.message.stored_len() {
            return self.read_direct(section, offset, buf);
        }
        let at_hand = self.cursor.take().filter(|c| c.section == section && c.seen <= offset);
        let mut cursor = at_hand.unwrap_or_else(|| Cursor::new(section));
        cursor.skip(self, offset)?;
        let read = if cursor.seen == offset { cursor.read(self, buf)? } else { 0 };
        self.cursor = Some(cursor);
        Ok(read)
    }

    fn read_stored_at(&mut self, section: Section, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.read_direct(section, offset, buf)
    }
}

impl Cursor {
    fn new(section: Section) -> Self {
        Self { section, stored: 0, seen: 0, last: 0, half: false }
    }

    /// Goes on to `offset`, or to the section's end if that comes first.
    fn skip(&mut self, body: &mut IndexedBody, offset: u64) -> Result<()> {
        let mut sink = Vec::new();
        while self.seen < offset {
            let want = usize::try_from(offset - self.seen).unwrap_or(usize::MAX).min(READ_LEN);
            sink.resize(want, 0);
            if self.read(body, &mut sink)? == 0 {
                break;
            }
        }
        Ok(())
    }

    fn read(&mut self, body: &mut IndexedBody, buf: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buf.len() {
            let rest = buf.get_mut(filled..).unwrap_or_default();
            let read = self.read_once(body, rest)?;
            if read == 0 {
                break;
            }
            filled += read;
        }
        Ok(filled)
    }

    /// Converts at most what one read brings.
    fn read_once(&mut self, body: &mut IndexedBody, out: &mut [u8]) -> Result<usize> {
        let left = body.section_len(self.section).saturating_sub(self.stored);
        // Never more than fits if every byte stays one.
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(READ_LEN).min(out.len());
        if want == 0 {
            return Ok(0);
        }
        let mut buffer = std::mem::take(&mut body.buffer);
        buffer.resize(want, 0);
        let read = body.read_stored(self.section.start.saturating_add(self.stored), &mut buffer);
        let converted = read.map(|read| self.convert(buffer.get(..read).unwrap_or_default(), out));
        body.buffer = buffer;
        converted
    }

    fn convert(&mut self, stored: &[u8], out: &mut [u8]) -> usize {
        let mut filled = 0;
        let mut rest = stored;
        while let (Some(&next), Some(room)) = (rest.first(), out.get_mut(filled..).filter(|room| !room.is_empty())) {
            if next == b'\n' && self.last != b'\r' && !self.half {
                room.fill_first(b'\r');
                self.half = true;
                filled += 1;
                continue;
            }
            // Up to the next line end that lacks its CR, at least one byte.
            let line = memchr::memchr(b'\n', rest.get(1..).unwrap_or_default()).map_or(rest.len(), |at| at + 1);
            let len = line.min(room.len());
            let (now, after) = rest.split_at(len);
            room.get_mut(..len).unwrap_or_default().copy_from_slice(now);
            self.last = now.last().copied().unwrap_or(self.last);
            self.half = false;
            self.stored += len as u64;
            filled += len;
            rest = after;
        }
        self.seen += filled as u64;
        filled
    }
}

trait FillFirst {
    fn fill_first(&mut self, byte: u8);
}

impl FillFirst for [u8] {
    fn fill_first(&mut self, byte: u8) {
        if let Some(first) = self.first_mut() {
            *first = byte;
        }
    }
}
