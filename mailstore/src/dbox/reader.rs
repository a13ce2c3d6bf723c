//! One message in a dbox file: where its body lies, and its metadata.

use std::path::Path;

use mailfs::{FileHandle, FileSystem, OpenMode};

use super::{
    DboxError, FileHeader, MessageHeader, Metadata,
    header::{MAGIC_POST, MAGIC_PRE},
};

/// A file up to this length is read whole when it is opened: most messages with all that belongs to them.
const WHOLE_LEN_MAX: usize = 32 << 10;

/// Read of a longer one when it is opened: most headers.
const FIRST_READ_LEN: usize = 16 << 10;

/// A message whose headers have been read. Costs one read and one `fstat`; small messages are whole in memory then.
#[derive(Debug)]
pub struct DboxMessage {
    file: FileHandle,
    file_len: u64,
    changed: std::time::SystemTime,
    /// The beginning of the file.
    start: Vec<u8>,
    header: MessageHeader,
    body_offset: u64,
}

impl DboxMessage {
    /// Opens the only message of an sdbox file.
    pub fn open(fs: &dyn FileSystem, path: &Path) -> Result<Self, DboxError> {
        Self::read(fs.open(path, OpenMode::Read)?)
    }

    /// Reads the headers of the first message of an open file.
    pub fn read(file: FileHandle) -> Result<Self, DboxError> {
        let there = file.metadata()?;
        let file_len = usize::try_from(there.len).unwrap_or(usize::MAX);
        let mut start = vec![0; if file_len <= WHOLE_LEN_MAX { file_len } else { FIRST_READ_LEN }];
        let read = file.read_at(&mut start, 0)?;
        start.truncate(read);
        let (file_header, at) = FileHeader::parse(&start)?;
        let header = MessageHeader::parse(start.get(at..).unwrap_or_default(), at as u64)?;
        let body_offset = at as u64 + u64::from(file_header.message_header_len);
        let message = Self { file, file_len: there.len, changed: there.changed, start, header, body_offset };
        if message.body_end().is_none_or(|end| end > there.len) {
            return Err(DboxError::damaged(there.len, "the file ends before the body does"));
        }
        Ok(message)
    }

    /// Bytes of the body as stored.
    pub fn body_len(&self) -> u64 {
        self.header.body_len
    }

    /// The header before the body.
    pub fn header(&self) -> MessageHeader {
        self.header
    }

    /// When the file's inode changed last: sdbox's save date.
    pub fn changed(&self) -> std::time::SystemTime {
        self.changed
    }

    fn body_end(&self) -> Option<u64> {
        self.body_offset.checked_add(self.header.body_len)
    }

    /// Reads bytes of the body as stored, from `offset` in it; fewer than asked for only at its end.
    pub fn read_body(&self, offset: u64, buf: &mut [u8]) -> Result<usize, DboxError> {
        let left = self.header.body_len.saturating_sub(offset);
        let want = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        let read = self
            .read_raw(self.body_offset + offset.min(self.header.body_len), buf.get_mut(..want).unwrap_or_default())?;
        if read < want {
            return Err(DboxError::damaged(
                self.body_offset + offset + read as u64,
                "the file was cut while it was read",
            ));
        }
        Ok(read)
    }

    fn read_raw(&self, offset: u64, buf: &mut [u8]) -> Result<usize, DboxError> {
        let in_memory = usize::try_from(offset).ok().and_then(|from| self.start.get(from..));
        if let Some(there) = in_memory
            && (there.len() >= buf.len() || self.start.len() as u64 == self.file_len)
        {
            let len = there.len().min(buf.len());
            buf.get_mut(..len).unwrap_or_default().copy_from_slice(there.get(..len).unwrap_or_default());
            return Ok(len);
        }
        Ok(self.file.read_at(buf, offset)?)
    }

    /// Reads the metadata behind the body.
    pub fn metadata(&self) -> Result<Metadata, DboxError> {
        let at = self.body_end().unwrap_or(self.file_len);
        let there = self.file_len.saturating_sub(at);
        if there > (Metadata::LEN_MAX + MAGIC_POST.len()) as u64 {
            return Err(DboxError::damaged(at, "the metadata is longer than any can be"));
        }
        let mut bytes = vec![0; there as usize];
        let read = self.read_raw(at, &mut bytes)?;
        bytes.truncate(read);
        let lines = bytes.strip_prefix(&MAGIC_POST).ok_or(DboxError::damaged(at, "no metadata after the body"))?;
        let lines_offset = at + MAGIC_POST.len() as u64;
        let (metadata, len) = Metadata::parse(lines, lines_offset)?;
        // Only mdbox files go on with another message.
        match lines.get(len..) {
            None | Some([]) => Ok(metadata),
            Some(rest) if rest.starts_with(&MAGIC_PRE) => Ok(metadata),
            Some(_) => Err(DboxError::damaged(lines_offset + len as u64, "the file goes on after the message")),
        }
    }
}
