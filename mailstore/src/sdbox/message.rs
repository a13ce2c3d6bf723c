//! One message's file as the scans want it.

use std::sync::Arc;

use mailindex::state::{DboxHeader, State};
use mailtypes::Uid;

use super::{attached, files::Mails};
use crate::{
    dbox::{AttachmentFiles, DboxStored},
    indexed::{MessageFiles, StoredMessage},
    traits::Result,
};

impl Mails {
    /// Whether the mailbox's header says that some message has this of POP3; where there is none, it may be.
    fn has_pop3(state: &State, flag: u8) -> bool {
        state.dbox_header().is_none_or(|header| header.flags & flag != 0)
    }
}

impl MessageFiles for Mails {
    fn saved_uidl(&self, state: &State, uid: Uid) -> Result<Option<Vec<u8>>> {
        if !Self::has_pop3(state, DboxHeader::HAS_POP3_UIDLS) {
            return Ok(None);
        }
        MessageFiles::open(self, state, uid)?.saved_uidl()
    }

    fn saved_pop3_order(&self, state: &State, uid: Uid) -> Result<Option<u32>> {
        if !Self::has_pop3(state, DboxHeader::HAS_POP3_ORDERS) {
            return Ok(None);
        }
        MessageFiles::open(self, state, uid)?.saved_pop3_order()
    }

    fn open(&self, state: &State, uid: Uid) -> Result<Box<dyn StoredMessage>> {
        let (message, path) = self.open_placed(uid)?;
        let attachments = self.attachments.as_ref().zip(state.dbox_header()).map(|(folder, header)| AttachmentFiles {
            fs: Arc::clone(self.fs()),
            folder: Arc::clone(folder),
            suffix: attached::suffix(header.guid, uid),
        });
        let changed = message.changed();
        Ok(Box::new(DboxStored::new(message, path, changed, attachments)?))
    }
}
