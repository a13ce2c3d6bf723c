//! What can be done with stores whose messages may lie in alternate storage.

use mailtypes::{MailboxName, UidSet};

use crate::{
    dbox::{MoveTo, Moved},
    sdbox::SdboxStorage,
    traits::Result,
};

/// A store in one of Dovecot's dbox formats.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DboxStorage {
    /// A file for each message.
    Sdbox(SdboxStorage),
}

impl DboxStorage {
    /// Moves messages to alternate storage or back; see [`SdboxStorage::move_messages`].
    pub fn move_messages(&self, mailbox: &MailboxName, uids: &UidSet, to: MoveTo) -> Result<Moved> {
        match self {
            Self::Sdbox(storage) => storage.move_messages(mailbox, uids, to),
        }
    }
}
