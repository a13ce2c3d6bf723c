//! The body of a message in a dbox file as plain text, whether it is compressed or not (`docs/formats/dbox.md`,
//! Compression).

use std::{cell::RefCell, sync::Arc};

use super::{DboxError, DboxMessage};
use crate::compressed::{CodecError, Compression, PlainText, StoredBytes, is_encrypted};

/// A body that can be read anywhere.
#[derive(Debug)]
pub(crate) struct PlainBody {
    message: Arc<DboxMessage>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Plain,
    Encrypted,
    Compressed(RefCell<PlainText>),
}

/// What the metadata say of the plain text of a body.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Told {
    /// Its length, line ends as stored.
    pub(crate) len: Option<u64>,
    /// Its length with CRLF line ends, all of the message's.
    pub(crate) virtual_size: Option<u64>,
}

/// The plain text of a body that looks compressed; `None` if that is all it does. Where metadata say that there is
/// another length than the stored one it is compressed, whatever comes of it; else it must be whole, and as long as is
/// said.
fn compressed(
    message: &Arc<DboxMessage>,
    compression: Compression,
    told: Told,
) -> Result<Option<PlainText>, DboxError> {
    let stored: Arc<dyn StoredBytes> = Arc::clone(message) as _;
    let mut text = PlainText::new(Arc::clone(&stored), compression, told.len.filter(|len| *len != stored.len()));
    if told.len.is_some_and(|len| len != stored.len()) {
        return Ok(Some(text));
    }
    match text.len() {
        Err(CodecError::Fs(e)) => Err(e.into()),
        Err(CodecError::Damaged { .. }) => Ok(None),
        Ok(len) => {
            let fits = |size| len <= size && size <= len.saturating_mul(2);
            let is_it = told.len.is_none_or(|told| told == len) && told.virtual_size.is_none_or(fits);
            Ok(is_it.then_some(text))
        }
    }
}

impl PlainBody {
    /// Looks at the first bytes of the body. `told`: how long its plain text is by the metadata, and with CRLF line ends;
    /// they are not asked where the body does not look compressed.
    pub(crate) fn of(
        message: DboxMessage,
        told: impl FnOnce(&DboxMessage) -> Result<Told, DboxError>,
    ) -> Result<Self, DboxError> {
        let mut start = [0; Compression::MAGIC_LEN];
        let read = message.read_body(0, &mut start)?;
        let start = start.get(..read).unwrap_or_default();
        let message = Arc::new(message);
        let kind = match Compression::of(start) {
            Some(compression) => {
                let told = told(&message)?;
                compressed(&message, compression, told)?
                    .map_or(Kind::Plain, |text| Kind::Compressed(RefCell::new(text)))
            }
            None if is_encrypted(start) => Kind::Encrypted,
            None => Kind::Plain,
        };
        Ok(Self { message, kind })
    }

    /// The message that it is the body of.
    pub(crate) fn message(&self) -> &DboxMessage {
        &self.message
    }

    /// Whether nobody here can read it.
    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self.kind, Kind::Encrypted)
    }

    /// What it is compressed by.
    pub(crate) fn compression(&self) -> Option<Compression> {
        match &self.kind {
            Kind::Plain | Kind::Encrypted => None,
            Kind::Compressed(text) => Some(text.borrow().compression()),
        }
    }

    /// Bytes of plain text. Decodes a compressed body whose metadata do not say.
    pub(crate) fn len(&self) -> Result<u64, DboxError> {
        match &self.kind {
            Kind::Plain | Kind::Encrypted => Ok(self.message.body_len()),
            Kind::Compressed(text) => Ok(text.borrow_mut().len()?),
        }
    }

    /// Reads plain text from `offset` in it; fewer bytes than asked for only at its end.
    pub(crate) fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize, DboxError> {
        match &self.kind {
            Kind::Plain | Kind::Encrypted => self.message.read_body(offset, buf),
            Kind::Compressed(text) => Ok(text.borrow_mut().read(offset, buf)?),
        }
    }
}

impl StoredBytes for DboxMessage {
    fn len(&self) -> u64 {
        self.body_len()
    }

    fn file_offset(&self) -> u64 {
        self.body_offset()
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize, CodecError> {
        self.read_body(offset, buf).map_err(|e| match e {
            DboxError::Fs(e) => CodecError::Fs(e),
            DboxError::Damaged { offset, what } => CodecError::Damaged { offset, what },
            // Said of messages on their way in only.
            DboxError::Refused(what) => CodecError::Damaged { offset: self.body_offset(), what },
        })
    }
}

impl From<CodecError> for DboxError {
    fn from(error: CodecError) -> Self {
        match error {
            CodecError::Damaged { offset, what } => Self::Damaged { offset, what },
            CodecError::Fs(e) => Self::Fs(e),
        }
    }
}
