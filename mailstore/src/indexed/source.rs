//! A message's file, opened and read only as far as something is asked that the cache does not know.

use std::time::UNIX_EPOCH;

use mailindex::state::State;
use mailmime::{Scanner, Structure};
use mailtypes::{Guid, Uid};

use super::{MessageFiles, StoredMessage};
use crate::{
    preview::preview,
    traits::{Result, StorageError},
};

/// Read at first when a header is wanted; twice as much each time it does not suffice.
const HEADER_FIRST_LEN: usize = 8 << 10;

/// Longest header read; what is behind is as if it were not there, as everywhere where messages are parsed.
const HEADER_LEN_MAX: usize = mailmime::Limits::HEADER_LEN_MAX;

/// Bytes read at once when a whole message is parsed.
const READ_LEN: usize = 128 << 10;

/// See the module.
pub(super) struct Source<'a> {
    files: &'a dyn MessageFiles,
    state: &'a State,
    limits: &'a mailmime::Limits,
    uid: Uid,
    message: Option<Box<dyn StoredMessage>>,
    header: Option<Vec<u8>>,
    structure: Option<Structure>,
}

impl<'a> Source<'a> {
    pub(super) fn new(files: &'a dyn MessageFiles, state: &'a State, limits: &'a mailmime::Limits, uid: Uid) -> Self {
        Self { files, state, limits, uid, message: None, header: None, structure: None }
    }

    /// Whether the file had to be looked at.
    pub(super) fn was_used(&self) -> bool {
        self.message.is_some()
    }

    fn message(&mut self) -> Result<&dyn StoredMessage> {
        if self.message.is_none() {
            self.message = Some(self.files.open(self.state, self.uid)?);
        }
        // It has just been put there.
        self.message.as_deref().ok_or(StorageError::Expunged { uid: self.uid })
    }

    /// When the message arrived, Unix seconds.
    pub(super) fn received(&mut self) -> Result<Option<u32>> {
        self.message()?.received()
    }

    /// Its global identity.
    pub(super) fn guid(&mut self) -> Result<Option<Guid>> {
        self.message()?.guid()
    }

    /// When the message was put here: the file's ctime, Unix seconds.
    pub(super) fn changed(&mut self) -> Result<i64> {
        let since = self.message()?.changed().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }

    /// Size with CRLF line ends.
    pub(super) fn size(&mut self) -> Result<u64> {
        match self.message()?.virtual_size()? {
            Some(size) => Ok(size),
            None => Ok(self.structure()?.virtual_len()),
        }
    }

    /// The message's header as stored. No attachment is detached from it.
    pub(super) fn header(&mut self) -> Result<&[u8]> {
        if self.header.is_none() {
            self.header = Some(self.read_header()?);
        }
        Ok(self.header.as_deref().unwrap_or_default())
    }

    fn read_header(&mut self) -> Result<Vec<u8>> {
        let message = self.message()?;
        let mut header = Vec::new();
        loop {
            let have = header.len();
            header.resize((have * 2).clamp(HEADER_FIRST_LEN, HEADER_LEN_MAX), 0);
            let want = header.len();
            let rest = header.get_mut(have..).unwrap_or_default();
            let read = message.read(have as u64, rest)?;
            header.truncate(have + read);
            let len = mailmime::header_len(&header);
            if len < header.len() || header.len() < want || want == HEADER_LEN_MAX {
                header.truncate(len);
                return Ok(header);
            }
        }
    }

    /// The whole message, parsed.
    pub(super) fn structure(&mut self) -> Result<&Structure> {
        if self.structure.is_none() {
            self.structure = Some(self.parse()?);
        }
        self.structure.as_ref().ok_or(StorageError::Expunged { uid: self.uid })
    }

    /// The first words.
    pub(super) fn preview(&mut self) -> Result<String> {
        self.structure()?;
        self.message()?;
        match (&self.structure, &self.message) {
            (Some(structure), Some(message)) => preview(structure, |offset, buf| message.read(offset, buf)),
            _ => Err(StorageError::Expunged { uid: self.uid }),
        }
    }

    fn parse(&mut self) -> Result<Structure> {
        let limits = self.limits.clone();
        let message = self.message()?;
        message.prepare()?;
        let mut scanner = Scanner::new(limits);
        let mut buffer = vec![0; READ_LEN.min(usize::try_from(message.stored_len()).unwrap_or(READ_LEN))];
        let mut offset = 0;
        while offset < message.stored_len() {
            let read = message.read(offset, &mut buffer)?;
            scanner.write(buffer.get(..read).unwrap_or_default());
            offset += read as u64;
        }
        Ok(scanner.finish())
    }
}
