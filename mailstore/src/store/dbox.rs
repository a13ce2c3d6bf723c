//! What can be done with stores whose messages may lie in alternate storage.

use mailtypes::{MailboxName, Uid, UidSet};

use crate::{
    dbox::{MoveTo, Moved},
    mdbox::{Expunged, MdboxStorage, Purged},
    sdbox::SdboxStorage,
    traits::Result,
};

/// A store in one of Dovecot's dbox formats.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum DboxStorage {
    /// A file for each message.
    Sdbox(SdboxStorage),
    /// Many messages in a file.
    Mdbox(MdboxStorage),
}

impl DboxStorage {
    /// Moves messages to alternate storage or back; see [`SdboxStorage::move_messages`] and
    /// [`MdboxStorage::move_messages`].
    pub fn move_messages(&self, mailbox: &MailboxName, uids: &UidSet, to: MoveTo) -> Result<Moved> {
        match self {
            Self::Sdbox(storage) => storage.move_messages(mailbox, uids, to),
            Self::Mdbox(storage) => storage.move_messages(mailbox, uids, to),
        }
    }

    /// Removes what no mailbox refers to any more; see [`MdboxStorage::purge`]. In sdbox nothing waits for that.
    pub fn purge(&self) -> Result<Purged> {
        match self {
            Self::Sdbox(_) => Ok(Purged::default()),
            Self::Mdbox(storage) => storage.purge(),
        }
    }

    /// The messages that were expunged and can be brought back; see [`MdboxStorage::expunged`]. In sdbox there are none.
    pub fn expunged(&self) -> Result<Vec<Expunged>> {
        match self {
            Self::Sdbox(_) => Ok(Vec::new()),
            Self::Mdbox(storage) => storage.expunged(),
        }
    }

    /// Brings expunged messages back; see [`MdboxStorage::restore_expunged`].
    pub fn restore_expunged(
        &self,
        numbers: &[Uid],
        mailbox: Option<&MailboxName>,
    ) -> Result<Vec<(MailboxName, usize)>> {
        match self {
            Self::Sdbox(_) => Ok(Vec::new()),
            Self::Mdbox(storage) => storage.restore_expunged(numbers, mailbox),
        }
    }
}
