//! One message's file as the scans want it.

use std::{cell::OnceCell, path::PathBuf, time::SystemTime};

use mailindex::state::State;
use mailtypes::{Guid, Uid};

use super::files::Mails;
use crate::{
    dbox::{DboxMessage, Metadata},
    indexed::{MessageFiles, StoredMessage},
    traits::{Result, StorageError},
};

struct SdboxMessage {
    message: DboxMessage,
    metadata: OnceCell<Metadata>,
    path: PathBuf,
}

impl SdboxMessage {
    /// The lines behind the body, read when they are asked for first.
    fn metadata(&self) -> Result<&Metadata> {
        if let Some(metadata) = self.metadata.get() {
            return Ok(metadata);
        }
        let read = self.message.metadata().map_err(|e| e.at(&self.path))?;
        Ok(self.metadata.get_or_init(|| read))
    }
}

impl StoredMessage for SdboxMessage {
    fn stored_len(&self) -> u64 {
        self.message.body_len()
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.message.read_body(offset, buf).map_err(|e| e.at(&self.path))
    }

    fn virtual_size(&self) -> Result<Option<u64>> {
        Ok(self.metadata()?.virtual_size())
    }

    fn received(&self) -> Result<Option<u32>> {
        Ok(self.metadata()?.received())
    }

    fn changed(&self) -> SystemTime {
        self.message.changed()
    }

    fn guid(&self) -> Result<Option<Guid>> {
        Ok(self.metadata()?.guid())
    }

    fn check_plain(&self) -> Result<()> {
        let metadata = self.metadata()?;
        if metadata.attachments().is_none_or(|list| !list.is_empty()) {
            return Err(StorageError::Unsupported(format!("detached attachment of {}", self.path.display())));
        }
        if metadata.physical_size().is_some_and(|size| size != self.message.body_len()) {
            return Err(StorageError::Unsupported(format!("compressed body of {}", self.path.display())));
        }
        Ok(())
    }
}

impl MessageFiles for Mails {
    fn open(&self, _state: &State, uid: Uid) -> Result<Box<dyn StoredMessage>> {
        let message = Mails::open(self, uid)?;
        Ok(Box::new(SdboxMessage { message, metadata: OnceCell::new(), path: self.path(uid) }))
    }
}
