//! What the list must know of a format to make its mailboxes, unmake them and look them over.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use mailindex::engine::{Env, MessageStore};
use mailtypes::MailboxName;

use super::{Layout, MailboxDirs, RecoveredMailbox, Rights, Subscriptions};
use crate::{
    check::{Finding, Look, mend_index},
    indexed::{self, IndexedMailbox},
    traits::{Keeps, MailboxIdentity, Result},
};

/// A format's part of the list's work. The list is locked in all of it.
pub(crate) trait Format {
    /// Where it works.
    fn env(&self) -> &Env;

    /// Where its mailboxes lie.
    fn layout(&self) -> &Layout;

    /// What is subscribed to in it.
    fn subscriptions(&self) -> &Subscriptions;

    /// What clients see between the levels of a name.
    fn separator(&self) -> char {
        MailboxName::SEPARATOR
    }

    /// Opens the mailbox in folders of which that of the messages is there; makes what else is missing.
    fn open(&self, name: &MailboxName, dirs: &MailboxDirs) -> Result<IndexedMailbox>;

    /// Puts right what mailboxes share, where it is known to be damaged; to be called before a mailbox is opened. No lock is
    /// held.
    fn put_right(&self) -> Result<()> {
        Ok(())
    }

    /// Whether opening a mailbox has shown that there is something to be put right.
    fn is_in_doubt(&self) -> bool {
        false
    }

    /// What is asked of a mailbox's files when the index alone is opened.
    fn message_store(&self, dirs: &MailboxDirs) -> Arc<dyn MessageStore>;

    /// Fills folders that are there with what an empty mailbox consists of, durably but for the folders' own names. It
    /// gets GUID and UIDVALIDITY of its own unless it is to have those of another store.
    fn make(&self, dirs: &MailboxDirs, rights: Rights, identity: Option<&MailboxIdentity>) -> Result<()>;

    /// What of another store's mail can be kept in it.
    fn keeps(&self) -> Keeps {
        Keeps::ALL
    }

    /// Writes to the messages what only the index knows, before the two are parted for a moment. Nothing, where the index
    /// lies with them.
    fn settle(&self, _name: &MailboxName, _dirs: &MailboxDirs) -> Result<()> {
        Ok(())
    }

    /// Keeps out all who change messages, until it is dropped; for while messages and index have different names. Nothing,
    /// where the index lies with them.
    fn lock_messages(&self, _dirs: &MailboxDirs) -> Result<Option<Box<dyn fmt::Debug>>> {
        Ok(None)
    }

    /// Whether the mailbox in these folders is marked as deleted.
    fn is_deleted(&self, dirs: &MailboxDirs) -> Result<bool> {
        Ok(indexed::is_deleted(self.env(), &dirs.index, self.message_store(dirs)))
    }

    /// Tells everybody who has the mailbox open that it is deleted, durably.
    fn mark_deleted(&self, name: &MailboxName, dirs: &MailboxDirs) -> Result<()> {
        indexed::mark_deleted(self.env(), name, &dirs.index, self.message_store(dirs))
    }

    /// Messages that lie in a mailbox's folder, which was moved away, and of which nobody knew when it was marked as deleted:
    /// those of programs that deliver without locks.
    fn late(&self, _dirs: &MailboxDirs, _moved: &Path) -> Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }

    /// Looks over one mailbox after a crash and says what was done; sets `deleted` for one whose deletion somebody had
    /// begun, which the list then finishes. Tells how many files left behind were removed.
    fn recover(&self, dirs: &MailboxDirs, mailbox: &mut RecoveredMailbox) -> Result<u64>;

    /// Looks one mailbox over and tells what is wrong; changes nothing. The list is not locked.
    fn look(&self, _name: &MailboxName, dirs: &MailboxDirs, look: &mut Look<'_>) -> Result<()> {
        if let Some(state) = look.index(dirs)?.state {
            look.identity(dirs, &state, false);
            look.will_look_at(u64::from(state.message_count()));
        }
        Ok(())
    }

    /// Does what the findings of [`Format::look`] plan. The list is not locked. Whoever looks again afterwards finds what
    /// it could not do.
    fn mend(&self, name: &MailboxName, dirs: &MailboxDirs, _found: &[Finding]) -> Result<()> {
        mend_index(self.env(), name, dirs, &self.message_store(dirs))?;
        // Whoever opens it makes anew what cannot be had otherwise.
        self.open(name, dirs).map(|_| ())
    }

    /// Looks over what the mailboxes of the store share; changes nothing.
    fn look_at_storage(&self, _look: &mut Look<'_>) -> Result<()> {
        Ok(())
    }

    /// Does what the findings of [`Format::look_at_storage`] plan.
    fn mend_storage(&self) -> Result<()> {
        Ok(())
    }

    /// What a repair came to know that no look could tell, about the store as a whole. Told once.
    fn told_by_repair(&self) -> Vec<Finding> {
        Vec::new()
    }
}
