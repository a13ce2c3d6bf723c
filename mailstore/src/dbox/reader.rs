//! One message in a dbox file: where its body lies, and its metadata.

use std::{path::Path, time::SystemTime};

use mailfs::{FileHandle, FileSystem, OpenMode};

use super::{
    DboxError, FileHeader, MessageHeader, Metadata,
    header::{MAGIC_POST, MAGIC_PRE},
};

/// A file up to this length is read whole when it is opened: most messages with all that belongs to them.
const WHOLE_LEN_MAX: usize = 32 << 10;

/// Read of a longer one when it is opened: most headers.
const FIRST_READ_LEN: usize = 16 << 10;

/// A message whose headers have been read. Costs one read, and one `fstat` where the file's end is the message's; small
/// messages are whole in memory then.
#[derive(Debug)]
pub struct DboxMessage {
    file: FileHandle,
    /// Where the message ends with its metadata; the file's end for the only message of a file.
    end: u64,
    /// The file goes on behind it, or may do so.
    is_one_of_many: bool,
    changed: SystemTime,
    /// The beginning of the file, or of the message.
    start: Vec<u8>,
    /// Where in the file that is.
    start_offset: u64,
    header: MessageHeader,
    body_offset: u64,
}

/// Where in a file of many messages one lies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MessagePlace {
    /// Of the message header, in bytes.
    pub offset: u64,
    /// Bytes of message header, body and metadata; `None`: it ends with the file.
    pub len: Option<u64>,
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
        let (end, changed) = (there.len, there.changed);
        let message = Self { file, end, is_one_of_many: false, changed, start, start_offset: 0, header, body_offset };
        message.check_len()?;
        Ok(message)
    }

    /// Reads the headers of one message of an mdbox file whose file header is known.
    pub fn read_at(file: FileHandle, file_header: FileHeader, place: MessagePlace) -> Result<Self, DboxError> {
        let offset = place.offset;
        let (end, changed) = match place.len {
            Some(len) => (offset.checked_add(len), SystemTime::UNIX_EPOCH),
            None => file.metadata().map(|there| (Some(there.len), there.changed))?,
        };
        let end = end.ok_or(DboxError::damaged(offset, "the message would end past any file's end"))?;
        let len = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut start = vec![0; if len <= WHOLE_LEN_MAX { len } else { FIRST_READ_LEN }];
        let read = file.read_at(&mut start, offset)?;
        if read < start.len() {
            return Err(DboxError::damaged(offset + read as u64, "the file ends before the message does"));
        }
        let header = MessageHeader::parse(&start, offset)?;
        let body_offset = offset + u64::from(file_header.message_header_len);
        let message =
            Self { file, end, is_one_of_many: true, changed, start, start_offset: offset, header, body_offset };
        message.check_len()?;
        Ok(message)
    }

    fn check_len(&self) -> Result<(), DboxError> {
        if self.body_end().is_none_or(|end| end > self.end) {
            let what = if self.is_one_of_many {
                "the message ends before its body does"
            } else {
                "the file ends before the body does"
            };
            return Err(DboxError::damaged(self.end, what));
        }
        Ok(())
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
    pub fn changed(&self) -> SystemTime {
        self.changed
    }

    /// Where in the file the body begins.
    pub fn body_offset(&self) -> u64 {
        self.body_offset
    }

    /// Where in the file the separator before the metadata should be.
    pub fn metadata_offset(&self) -> u64 {
        self.body_end().unwrap_or(self.end)
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
        let from = offset.checked_sub(self.start_offset).and_then(|from| usize::try_from(from).ok());
        let is_whole = self.start_offset + self.start.len() as u64 == self.end;
        if let Some(there) = from.and_then(|from| self.start.get(from..))
            && (there.len() >= buf.len() || is_whole)
        {
            let len = there.len().min(buf.len());
            buf.get_mut(..len).unwrap_or_default().copy_from_slice(there.get(..len).unwrap_or_default());
            return Ok(len);
        }
        Ok(self.file.read_at(buf, offset)?)
    }

    /// Reads the metadata behind the body.
    pub fn metadata(&self) -> Result<Metadata, DboxError> {
        let at = self.metadata_offset();
        let there = self.end.saturating_sub(at);
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
            Some(rest) if !self.is_one_of_many && rest.starts_with(&MAGIC_PRE) => Ok(metadata),
            Some(_) if self.is_one_of_many => {
                Err(DboxError::damaged(lines_offset + len as u64, "the message is shorter than the map says"))
            }
            Some(_) => Err(DboxError::damaged(lines_offset + len as u64, "the file goes on after the message")),
        }
    }
}
