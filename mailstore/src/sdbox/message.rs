//! One message's file as the scans want it.

use std::sync::Arc;

use mailindex::state::State;
use mailtypes::Uid;

use super::{attached, files::Mails};
use crate::{
    dbox::{AttachmentFiles, DboxStored},
    indexed::{MessageFiles, StoredMessage},
    traits::Result,
};

impl MessageFiles for Mails {
    fn open(&self, state: &State, uid: Uid) -> Result<Box<dyn StoredMessage>> {
        let message = Mails::open(self, uid)?;
        let attachments = self.attachments.as_ref().zip(state.dbox_header()).map(|(folder, header)| AttachmentFiles {
            fs: Arc::clone(self.fs()),
            folder: Arc::clone(folder),
            suffix: attached::suffix(header.guid, uid),
        });
        let changed = message.changed();
        Ok(Box::new(DboxStored::new(message, self.path(uid), changed, attachments)?))
    }
}
