//! The mailboxes as one sees them who only looks: nothing is made, mended or written.

use mailtypes::MailboxName;

use super::{Format, MailboxDirs, by_guid, walk::walk};
use crate::traits::Result;

/// A mailbox, and where its files lie.
pub(crate) struct Placed {
    pub(crate) name: MailboxName,
    pub(crate) dirs: MailboxDirs,
    /// No name leads to it: it is one that it would be given.
    pub(crate) is_unlisted: bool,
}

/// All mailboxes, INBOX first.
pub(crate) fn seen(format: &dyn Format) -> Result<Vec<Placed>> {
    let layout = format.layout();
    if layout.is_by_guid() {
        return by_guid::seen(format);
    }
    let found = walk(&**format.env().fs(), layout)?.into_iter().filter(|found| found.selectable);
    found.map(|found| Ok(Placed { dirs: layout.dirs(&found.name)?, name: found.name, is_unlisted: false })).collect()
}
