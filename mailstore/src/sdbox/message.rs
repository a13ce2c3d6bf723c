//! One message's file as the scans want it.

use std::{
    cell::OnceCell,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use mailfs::FileSystem;
use mailindex::state::State;
use mailtypes::{Guid, Uid};

use super::{attached, files::Mails};
use crate::{
    dbox::{Assembled, DboxMessage, Metadata, MetadataKey},
    indexed::{MessageFiles, StoredMessage},
    traits::{Result, StorageError},
};

struct SdboxMessage {
    message: DboxMessage,
    metadata: OnceCell<Metadata>,
    path: PathBuf,
    attachments: Option<Attachments>,
    /// The message with its attachments, when it has some and they were looked for.
    assembled: OnceCell<Assembled>,
}

/// Where the attachments of one message lie.
struct Attachments {
    fs: Arc<dyn FileSystem>,
    folder: Arc<Path>,
    suffix: String,
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
        self.assembled.get().map_or_else(|| self.message.body_len(), Assembled::len)
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        let read = match self.assembled.get() {
            Some(assembled) => assembled.read(&self.message, offset, buf),
            None => self.message.read_body(offset, buf),
        };
        read.map_err(|e| e.at(&self.path))
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

    fn saved_uidl(&self) -> Result<Option<Vec<u8>>> {
        let saved = self.metadata()?.value(MetadataKey::POP3_UIDL);
        Ok(saved.filter(|id| !id.is_empty()).map(<[u8]>::to_vec))
    }

    fn check_plain(&self) -> Result<()> {
        let metadata = self.metadata()?;
        let corrupt = || StorageError::Corrupt {
            path: self.path.clone(),
            offset: self.message.body_len(),
            what: "the list of attachments cannot be read".to_owned(),
        };
        let list = metadata.attachments().ok_or_else(corrupt)?;
        if !list.is_empty() && self.assembled.get().is_none() {
            let Some(Attachments { fs, folder, suffix }) = &self.attachments else {
                let text =
                    format!("detached attachment of {}, and no folder of attachments is set,", self.path.display());
                return Err(StorageError::Unsupported(text));
            };
            let assembled = Assembled::open(&**fs, folder, &list, suffix, &self.message);
            // Asked for once in a message's life at most; two at once would come to the same.
            let _ = self.assembled.set(assembled.map_err(|e| e.at(&self.path))?);
        }
        if metadata.physical_size().is_some_and(|size| size != self.stored_len()) {
            return Err(StorageError::Unsupported(format!("compressed body of {}", self.path.display())));
        }
        Ok(())
    }
}

impl MessageFiles for Mails {
    fn open(&self, state: &State, uid: Uid) -> Result<Box<dyn StoredMessage>> {
        let message = Mails::open(self, uid)?;
        let attachments = self.attachments.as_ref().zip(state.dbox_header()).map(|(folder, header)| Attachments {
            fs: Arc::clone(self.fs()),
            folder: Arc::clone(folder),
            suffix: attached::suffix(header.guid, uid),
        });
        let (metadata, assembled) = (OnceCell::new(), OnceCell::new());
        Ok(Box::new(SdboxMessage { message, metadata, path: self.path(uid), attachments, assembled }))
    }
}
