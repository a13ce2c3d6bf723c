//! The metadata of a message that is taken in, in Dovecot's order (`docs/formats/dbox.md`, Metadata).

use mailindex::state::DboxHeader;
use mailtypes::Guid;

use super::{Metadata, MetadataKey, WrittenBody};
use crate::{compressed::BodyCompression, traits::Pop3Identity};

/// What is known of a message beside its body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SavedAs<'a> {
    /// When it arrived, Unix seconds.
    pub(crate) received: u32,
    pub(crate) guid: Guid,
    /// The mailbox it is saved to, as its folder is called (mdbox).
    pub(crate) mailbox: Option<&'a [u8]>,
    /// What it was to POP3 clients of another store.
    pub(crate) pop3: &'a Pop3Identity,
}

impl Metadata {
    /// Of a message whose body was written so.
    pub(crate) fn of_saved(body: &WrittenBody, compression: BodyCompression, saved: &SavedAs<'_>) -> Self {
        let mut metadata = Self::default();
        if let Some(plain_len) = body.compressed_from(compression) {
            metadata.push(MetadataKey::PHYSICAL_SIZE, format!("{plain_len:x}").as_bytes());
        }
        metadata.push(MetadataKey::RECEIVED, format!("{:x}", saved.received).as_bytes());
        metadata.push(MetadataKey::VIRTUAL_SIZE, format!("{:x}", body.virtual_size).as_bytes());
        metadata.push(MetadataKey::GUID, saved.guid.to_string().as_bytes());
        if let Some(mailbox) = saved.mailbox {
            metadata.push(MetadataKey::ORIGINAL_MAILBOX, mailbox);
        }
        if let Some(uidl) = &saved.pop3.uidl {
            metadata.push(MetadataKey::POP3_UIDL, uidl);
        }
        if let Some(order) = saved.pop3.order {
            metadata.push(MetadataKey::POP3_ORDER, order.to_string().as_bytes());
        }
        metadata.push_checksum(body.crc32);
        metadata
    }
}

/// What of POP3 stands in the metadata of a message, as the header of its mailbox is to tell.
pub(crate) fn pop3_flags(pop3: &Pop3Identity) -> u8 {
    let of = |is_there: bool, flag: u8| if is_there { flag } else { 0 };
    of(pop3.uidl.is_some(), DboxHeader::HAS_POP3_UIDLS) | of(pop3.order.is_some(), DboxHeader::HAS_POP3_ORDERS)
}
