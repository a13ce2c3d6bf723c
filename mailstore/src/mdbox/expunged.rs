//! Messages that were expunged and not purged yet: what they are, and bringing them back.
//!
//! Their bodies lie where they lay, and the map counts no reference to them. Which mailbox they were in last nobody knows;
//! the metadata name the one that they were saved to first (`docs/formats/dbox.md`, Metadata, `B`).

use std::sync::Arc;

use mailindex::engine::OpError;
use mailmime::Fields;
use mailtypes::{Guid, MailboxName, Uid};

use super::{
    Shared,
    files::Mails,
    map::MapResult,
    map_state::{MapRecord, MapState},
    place::{of_map, refer},
};
use crate::{
    dbox::{DboxMessage, DboxStored, Metadata, MetadataKey},
    indexed::{Backend as _, Indexed, StoredMessage as _, change_messages},
    traits::{Result, StorageError},
};

/// How much of a message is read for its subject.
const HEADER_LEN: usize = 8 << 10;

/// A message that no mailbox has any more.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Expunged {
    /// Its number in the map of the store.
    pub number: Uid,
    /// The mailbox that it was saved to first, as its folder is called.
    pub mailbox: Option<String>,
    /// Its identity.
    pub guid: Option<Guid>,
    /// When it arrived, Unix seconds.
    pub received: Option<u32>,
    /// Bytes with CRLF line ends.
    pub size: Option<u64>,
    /// Its subject, decoded.
    pub subject: Option<String>,
}

/// All of them, in the order of their numbers; those that cannot be read are told of with their number alone.
pub(super) fn list(shared: &Arc<Shared>) -> Result<Vec<Expunged>> {
    let map = shared.map.refresh(&shared.files).of_map()?;
    let expunged = map.records().filter(|record| record.refs == 0);
    Ok(expunged.map(|record| of_record(shared, &map, &record)).collect())
}

fn of_record(shared: &Arc<Shared>, map: &MapState, record: &MapRecord) -> Expunged {
    let unknown = Expunged { number: record.uid, mailbox: None, guid: None, received: None, size: None, subject: None };
    match read(shared, map, record) {
        Ok((metadata, subject)) => Expunged {
            mailbox: metadata.value(MetadataKey::ORIGINAL_MAILBOX).map(|b| String::from_utf8_lossy(b).into_owned()),
            guid: metadata.guid(),
            received: metadata.received(),
            size: metadata.virtual_size(),
            subject,
            ..unknown
        },
        Err(e) => {
            tracing::warn!(number = %record.uid, "an expunged message cannot be read: {e}");
            unknown
        }
    }
}

fn read(shared: &Arc<Shared>, map: &MapState, record: &MapRecord) -> Result<(Metadata, Option<String>)> {
    let file = shared.files.open(record.place.file, map.rebuild_count());
    let file = file.map_err(|e| e.at(&shared.files.path(record.place.file)))?;
    let message = DboxMessage::read_at(Arc::clone(&file.handle), file.header, record.place.in_file());
    let message = message.map_err(|e| e.at(&file.path))?;
    let metadata = message.metadata().map_err(|e| e.at(&file.path))?;
    let now = shared.env.fs().now();
    let stored = DboxStored::new(message, file.path.clone(), now, None)?;
    let mut header = vec![0; HEADER_LEN];
    let len = stored.read(0, &mut header)?;
    header.truncate(len);
    header.truncate(mailmime::header_len(&header));
    let subject = Fields::new(&header).find(|field| field.name.eq_ignore_ascii_case(b"subject"));
    let text = subject.map(|field| mailmime::decode_header_text(field.raw_value).trim().to_owned());
    Ok((metadata, text))
}

/// Brings messages back into a mailbox, without flags, as new ones that were put there now. Those that have been purged
/// meanwhile, or brought back, are passed over. Tells the numbers of those that are there, with their UIDs.
pub(super) fn restore(mailbox: &Indexed, mails: &Arc<Mails>, messages: &[(Uid, Guid)]) -> Result<Vec<(Uid, Uid)>> {
    let (mails, known) = (Arc::clone(mails), messages.to_vec());
    let (outcome, _) = change_messages(&mailbox.name, &mailbox.index, move |at| {
        let mut back = Vec::new();
        mails.begin(at, &mut ())?;
        for (number, guid) in &known {
            let commit = of_map(at)?;
            let Some(record) = commit.map().record(*number).filter(|record| record.refs == 0) else { continue };
            if !commit.link(&record) {
                continue;
            }
            let uid = refer(&mails, at, *number, *guid, None)?;
            at.transaction().append(uid, mailindex::state::RecordFlags::NONE);
            back.push((*number, uid));
        }
        if !back.is_empty() {
            at.require_sync();
        }
        Ok::<_, OpError>(back)
    })?;
    outcome.map_err(|e| StorageError::Io((&e).into()))
}

/// The mailbox that a message is to go to where none is named: that which its metadata name, else INBOX.
pub(super) fn home_of(expunged: &Expunged, name_of: impl Fn(&str) -> Option<MailboxName>) -> MailboxName {
    expunged.mailbox.as_deref().and_then(name_of).unwrap_or_else(MailboxName::inbox)
}
