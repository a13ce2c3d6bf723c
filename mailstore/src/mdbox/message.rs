//! Where a message's body is found: by its number in the map, in a file of messages.

use std::{
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use mailindex::state::State;
use mailtypes::Uid;

use super::{
    Shared,
    files::{Mails, Referred},
    m_files::OpenFile,
    map::MapResult,
    map_state::{BodyPlace, MapState},
};
use crate::{
    dbox::{AttachmentFiles, DboxError, DboxMessage, DboxStored, MessagePlace},
    indexed::{MessageFiles, StoredMessage},
    traits::{Result, StorageError},
};

impl BodyPlace {
    /// As the reader wants it.
    pub(super) fn in_file(self) -> MessagePlace {
        MessagePlace { offset: self.offset.into(), len: (self.len != 0).then_some(self.len.into()) }
    }
}

impl Shared {
    /// The message at a place, and the file that it lies in.
    pub(super) fn dbox_message(&self, map: &MapState, place: BodyPlace) -> Result<(DboxMessage, Arc<OpenFile>)> {
        let file = self.files.open(place.file, map.rebuild_count());
        let file = file.map_err(|e| e.at(&self.files.path(place.file)))?;
        let message = DboxMessage::read_at(Arc::clone(&file.handle), file.header, place.in_file());
        Ok((message.map_err(|e| e.at(&file.path))?, file))
    }
}

impl Mails {
    /// Fails if the numbers of a mailbox are another map's.
    pub(super) fn check_map(&self, state: &State, map: &MapState) -> Result<()> {
        let said = state.mdbox_header().map_or(0, |header| header.map_uid_validity);
        if said == 0 || said == map.uid_validity() {
            return Ok(());
        }
        let theirs = map.uid_validity();
        let what = format!("its messages are those of a map with UIDVALIDITY {said}, and the map's is {theirs}");
        Err(self.damaged(what))
    }

    pub(super) fn damaged(&self, what: String) -> StorageError {
        let what = format!("{what}; the store has to be rebuilt from its files of messages");
        StorageError::Corrupt { path: self.index.join(format!("{}.log", crate::indexed::PREFIX)), offset: 0, what }
    }

    fn read(&self, map: &MapState, place: BodyPlace, saved: u32) -> Result<DboxStored> {
        let shared = &self.shared;
        let (message, file) = shared.dbox_message(map, place)?;
        let changed = match saved {
            0 => file.handle.metadata()?.changed,
            saved => UNIX_EPOCH + Duration::from_secs(saved.into()),
        };
        let attachments = shared.attachments.as_ref().map(|folder| AttachmentFiles {
            fs: Arc::clone(shared.env.fs()),
            folder: Arc::clone(folder),
            suffix: String::new(),
        });
        DboxStored::new(message, file.path.clone(), changed, attachments)
    }

    /// A body that was not found, or not whole, where the map last was known to have it.
    fn read_again(&self, state: &State, uid: Uid, map_uid: Uid, saved: u32) -> Result<DboxStored> {
        let map = self.shared.map.refresh(&self.shared.files).of_map()?;
        self.check_map(state, &map)?;
        let read = match map.record(map_uid) {
            Some(record) => {
                self.shared.files.forget(record.place.file);
                self.read(&map, record.place, saved)
            }
            None => {
                Err(self.damaged(format!("message {uid} is number {map_uid} of the map, which has no such number")))
            }
        };
        // What nothing refers to any more may have been purged.
        read.map_err(|e| if self.is_gone(uid) { StorageError::Expunged { uid } } else { e })
    }
}

impl MessageFiles for Mails {
    fn open(&self, state: &State, uid: Uid) -> Result<Box<dyn StoredMessage>> {
        let record = state.record_of(uid).ok_or(StorageError::Expunged { uid })?;
        let Referred { map_uid, saved, .. } = Referred::of(state, &record);
        let no_number = || self.damaged(format!("message {uid} has no number in the map"));
        let map_uid = map_uid.ok_or_else(no_number)?;
        let map = self.shared.map.state(&self.shared.files).of_map()?;
        let known = map.record(map_uid).filter(|_| self.check_map(state, &map).is_ok());
        let message = match known.map(|known| self.read(&map, known.place, saved)) {
            Some(Ok(message)) => message,
            Some(Err(_)) | None => self.read_again(state, uid, map_uid, saved)?,
        };
        Ok(Box::new(message))
    }
}

/// For reading a whole body as it lies there.
pub(super) fn stored_len(
    place: BodyPlace,
    file_len: impl FnOnce() -> mailfs::Result<u64>,
) -> std::result::Result<u64, DboxError> {
    if place.len != 0 {
        return Ok(place.len.into());
    }
    let end = file_len()?;
    end.checked_sub(place.offset.into()).ok_or(DboxError::damaged(end, "the file ends before the message begins"))
}
