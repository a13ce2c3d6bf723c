//! Messages on their way in: line ends become CRLF, the structure is found on the way.

use std::{any::Any, mem, sync::Arc};

use mailmime::Scanner;
use mailtypes::{Guid, InternalDate};

use super::snapshot::Content;
use crate::traits::{NulPolicy, Pop3Identity, Result, Save, Saved, SavedMessage, StorageError};

pub(super) struct MemorySave {
    pub(super) guid: Guid,
    pub(super) internal_date: InternalDate,
    pub(super) size_max: u64,
    pub(super) nuls: NulPolicy,
    pub(super) pop3: Pop3Identity,
    pub(super) bytes: Vec<u8>,
}

impl Save for MemorySave {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let replaced;
        let bytes = match self.nuls {
            NulPolicy::Keep => bytes,
            _ if memchr::memchr(0, bytes).is_none() => bytes,
            NulPolicy::Refuse => return Err(StorageError::MessageRefused("Messages with NUL bytes are not taken")),
            NulPolicy::Replace => {
                replaced = bytes.iter().map(|&b| if b == 0 { 0x80 } else { b }).collect::<Vec<u8>>();
                &replaced
            }
        };
        for line in bytes.split_inclusive(|&byte| byte == b'\n') {
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            self.bytes.extend_from_slice(text);
            if text.len() < line.len() {
                // A CR may have come at the end of the call before.
                let end: &[u8] = if self.bytes.ends_with(b"\r") { b"\n" } else { b"\r\n" };
                self.bytes.extend_from_slice(end);
            }
        }
        if self.bytes.len() as u64 > self.size_max {
            return Err(StorageError::Limit { name: "message_size_max", limit: self.size_max });
        }
        Ok(())
    }

    /// This memory is where messages lie: it is the store's.
    fn held_len(&self) -> usize {
        0
    }

    fn finish(mut self: Box<Self>) -> Result<Saved> {
        let bytes: Arc<[u8]> = mem::take(&mut self.bytes).into();
        let mut scanner = Scanner::new(mailmime::Limits::default());
        scanner.write(&bytes);
        let Self { guid, internal_date, pop3, .. } = *self;
        let content = Content { guid, internal_date, bytes, structure: scanner.finish(), pop3: pop3.checked() };
        Ok(Saved(Box::new(MemorySaved { content: Arc::new(content) })))
    }
}

#[derive(Debug)]
pub(super) struct MemorySaved {
    pub(super) content: Arc<Content>,
}

impl SavedMessage for MemorySaved {
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send> {
        self
    }

    fn size(&self) -> u64 {
        self.content.size()
    }

    /// As above.
    fn held_len(&self) -> usize {
        0
    }

    fn shrink(&mut self) {}
}
