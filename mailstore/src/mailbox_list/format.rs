//! What the list must know of a format to make its mailboxes, unmake them and look them over.

use mailindex::engine::Env;
use mailtypes::MailboxName;

use super::{Layout, MailboxDirs, RecoveredMailbox, Rights};
use crate::traits::Result;

/// A format's part of the list's work. The list is locked in all of it.
pub(crate) trait Format {
    /// Where it works.
    fn env(&self) -> &Env;

    /// Where its mailboxes lie.
    fn layout(&self) -> &Layout;

    /// Fills folders that are there with what an empty mailbox consists of, durably but for the folders' own names.
    fn make(&self, dirs: &MailboxDirs, rights: Rights) -> Result<()>;

    /// Whether the mailbox in these folders is marked as deleted.
    fn is_deleted(&self, dirs: &MailboxDirs) -> Result<bool>;

    /// Tells everybody who has the mailbox open that it is deleted, durably.
    fn mark_deleted(&self, name: &MailboxName, dirs: &MailboxDirs) -> Result<()>;

    /// Looks over one mailbox after a crash and says what was done; sets `deleted` for one whose deletion somebody had
    /// begun, which the list then finishes. Tells how many files left behind were removed.
    fn recover(&self, dirs: &MailboxDirs, mailbox: &mut RecoveredMailbox) -> Result<u64>;
}
