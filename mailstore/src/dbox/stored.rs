//! A message in a dbox file as the scans want it: its plain text, be it compressed, be parts of it elsewhere.

use std::{
    cell::OnceCell,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use mailfs::FileSystem;
use mailtypes::Guid;

use super::{Assembled, DboxError, DboxMessage, Metadata, MetadataKey, PlainBody, Told};
use crate::{
    indexed::StoredMessage,
    traits::{Result, StorageError},
};

/// A message of sdbox or mdbox, open.
pub(crate) struct DboxStored {
    body: PlainBody,
    metadata: OnceCell<Metadata>,
    /// The file; for errors.
    path: PathBuf,
    changed: SystemTime,
    attachments: Option<AttachmentFiles>,
    whole: OnceCell<Whole>,
}

/// Where the attachments of one message lie.
pub(crate) struct AttachmentFiles {
    pub(crate) fs: Arc<dyn FileSystem>,
    pub(crate) folder: Arc<Path>,
    /// What is added to the names of their files.
    pub(crate) suffix: String,
}

/// What was found when all of the text was asked for first.
struct Whole {
    len: u64,
    assembled: Option<Assembled>,
}

impl DboxStored {
    /// Of a message whose headers were read. `changed`: when it was put into its mailbox.
    pub(crate) fn new(
        message: DboxMessage,
        path: PathBuf,
        changed: SystemTime,
        attachments: Option<AttachmentFiles>,
    ) -> Result<Self> {
        let metadata = OnceCell::new();
        let body = PlainBody::of(message, |message| {
            let read = message.metadata()?;
            told_of_body(metadata.get_or_init(|| read), message)
        });
        let body = body.map_err(|e| e.at(&path))?;
        Ok(Self { body, metadata, path, changed, attachments, whole: OnceCell::new() })
    }

    /// The lines behind the body, read when they are asked for first.
    fn metadata(&self) -> Result<&Metadata> {
        if let Some(metadata) = self.metadata.get() {
            return Ok(metadata);
        }
        let read = self.body.message().metadata().map_err(|e| e.at(&self.path))?;
        Ok(self.metadata.get_or_init(|| read))
    }

    fn corrupt(&self, offset: u64, what: &str) -> StorageError {
        StorageError::Corrupt { path: self.path.clone(), offset, what: what.to_owned() }
    }

    fn check_readable(&self) -> Result<()> {
        if self.body.is_encrypted() {
            return Err(StorageError::Unsupported(format!("encrypted body of {}", self.path.display())));
        }
        Ok(())
    }

    /// Finds the attachments, and how long the message is with them.
    fn find_whole(&self) -> Result<Whole> {
        let metadata = self.metadata()?;
        let behind = self.body.message().metadata_offset();
        let list = metadata.attachments();
        let list = list.ok_or_else(|| self.corrupt(behind, "the list of attachments cannot be read"))?;
        self.check_readable()?;
        let assembled = match (&self.attachments, list.is_empty()) {
            (_, true) => None,
            (None, false) => {
                let file = self.path.display();
                let text = format!("detached attachment of {file}, and no folder of attachments is set,");
                return Err(StorageError::Unsupported(text));
            }
            (Some(AttachmentFiles { fs, folder, suffix }), false) => {
                let assembled = Assembled::open(&**fs, folder, &list, suffix, &self.body);
                Some(assembled.map_err(|e| e.at(&self.path))?)
            }
        };
        let len = match &assembled {
            Some(assembled) => assembled.len(),
            None => self.body.len().map_err(|e| e.at(&self.path))?,
        };
        if metadata.physical_size().is_some_and(|size| size != len) {
            return Err(self.corrupt(behind, "the message is not as long as its metadata say (Z)"));
        }
        Ok(Whole { len, assembled })
    }
}

/// What the metadata say of the plain text of the body: what they say of the whole message, less its attachments.
pub(super) fn told_of_body(metadata: &Metadata, message: &DboxMessage) -> std::result::Result<Told, DboxError> {
    let damaged = |what| DboxError::damaged(message.metadata_offset(), what);
    let list = metadata.attachments().ok_or_else(|| damaged("the list of attachments cannot be read"))?;
    let virtual_size = metadata.virtual_size().filter(|_| list.is_empty());
    let Some(whole) = metadata.physical_size() else { return Ok(Told { len: None, virtual_size }) };
    let outside = list.iter().try_fold(0u64, |sum, attachment| sum.checked_add(attachment.len));
    let inside = outside.and_then(|outside| whole.checked_sub(outside));
    let len = inside.ok_or_else(|| damaged("the attachments are longer than the whole message"))?;
    Ok(Told { len: Some(len), virtual_size })
}

impl StoredMessage for DboxStored {
    fn stored_len(&self) -> u64 {
        self.whole.get().map_or_else(|| self.body.message().body_len(), |whole| whole.len)
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.check_readable()?;
        let read = match self.whole.get() {
            Some(Whole { assembled: Some(assembled), .. }) => assembled.read(&self.body, offset, buf),
            _ => self.body.read(offset, buf),
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
        self.changed
    }

    fn guid(&self) -> Result<Option<Guid>> {
        Ok(self.metadata()?.guid())
    }

    fn saved_uidl(&self) -> Result<Option<Vec<u8>>> {
        let saved = self.metadata()?.value(MetadataKey::POP3_UIDL);
        Ok(saved.filter(|id| !id.is_empty()).map(<[u8]>::to_vec))
    }

    fn saved_pop3_order(&self) -> Result<Option<u32>> {
        let saved = self.metadata()?.value(MetadataKey::POP3_ORDER);
        Ok(saved.and_then(|order| std::str::from_utf8(order).ok()?.parse().ok()))
    }

    fn prepare(&self) -> Result<()> {
        if self.whole.get().is_none() {
            // Asked for once in a message's life at most; two at once would come to the same.
            let _ = self.whole.set(self.find_whole()?);
        }
        Ok(())
    }
}
