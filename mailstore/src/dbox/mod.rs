//! The dbox file format: `u.<uid>` of sdbox and `m.<id>` of mdbox (`docs/formats/dbox.md`).
//!
//! # Invariants
//!
//! 1. Nothing read is trusted: sizes are checked against the file's before a byte is read or allocated by them, and
//!    every line has a longest length.
//! 2. A published file is never changed in place. [`DboxWriter`] writes files that nobody knows of yet.
//! 3. What stands in the metadata and is not known here is kept and copied.

mod assembled;
mod attachments;
mod checksum;
mod dump;
mod error;
mod header;
mod identity;
mod metadata;
mod moved;
mod plain_body;
mod reader;
mod salvage;
mod saved_metadata;
mod stored;
mod writer;

pub(crate) use assembled::{Assembled, attachment_path, remove_attachment};
pub use attachments::Attachment;
pub(crate) use checksum::fits;
pub use checksum::{Verified, verify};
pub use dump::{Dump, dump};
pub use error::DboxError;
pub use header::{FileHeader, MessageHeader};
pub(crate) use header::{MAGIC_POST, MAGIC_PRE};
pub(crate) use identity::{Known, give_identity, new_identity, write_uid_validity};
pub use metadata::{Metadata, MetadataKey};
pub use moved::{MoveTo, Moved};
pub(crate) use plain_body::{PlainBody, Told};
pub use reader::{DboxMessage, MessagePlace};
pub(crate) use salvage::{complete as complete_metadata, salvage, virtual_size as stored_virtual_size};
pub(crate) use saved_metadata::{SavedAs, pop3_flags};
pub(crate) use stored::{AttachmentFiles, DboxStored};
pub use writer::{BodyLineEnds, DboxWriter, WriterOptions, Written, WrittenBody};

pub use crate::traits::NulPolicy;
