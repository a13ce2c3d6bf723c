//! One user's mail as the storage traits have it, over a list of folders.

use std::{fmt, sync::Arc};

use mailtypes::MailboxName;

use super::{
    Format, create, delete, find, follow, list,
    mailbox_log::{MailboxLogKind, note},
    rename, replace, status, status_and_size,
};
use crate::traits::{
    ForeignSpelling, Judged, Keeps, ListPattern, MailStorage, Mailbox, MailboxIdentity, MailboxInfo, OnlyIf, Result,
    Status, StorageError,
};

/// Fails where the store was opened for reading alone.
pub(super) fn check_writable(format: &dyn Format) -> Result<()> {
    if format.env().is_read_only() {
        return Err(StorageError::ReadOnly(format!("the store {}", format.layout().root().display()).into()));
    }
    Ok(())
}

/// A storage whose mailboxes stand in a list of folders.
pub(crate) trait Listed: fmt::Debug + Send + Sync {
    /// What its format is.
    fn format(&self) -> &dyn Format;
}

/// How often a mailbox is opened whose files cannot be.
const OPEN_TRIES_MAX: usize = 3;

impl<S: Listed> MailStorage for S {
    fn list(&self, pattern: &ListPattern) -> Result<Vec<MailboxInfo>> {
        list(self.format(), pattern)
    }

    fn separator(&self) -> char {
        self.format().separator()
    }

    fn mailbox(&self, name: &MailboxName) -> Result<Arc<dyn Mailbox>> {
        let format = self.format();
        format.put_right()?;
        let open = || find(format, name).and_then(|dirs| format.open(name, &dirs));
        let mut opened = open();
        if format.is_in_doubt() {
            drop(opened);
            format.put_right()?;
            opened = open();
        }
        for _ in 1..OPEN_TRIES_MAX {
            // Whoever deletes or renames a mailbox takes its files away from those who are opening it.
            let Err(StorageError::Io(why)) = &opened else { break };
            tracing::debug!(mailbox = %name, "opened once more: {why}");
            opened = open();
        }
        match opened {
            Err(StorageError::Deleted(name)) => Err(StorageError::NotFound(name)),
            other => Ok(Arc::new(other?)),
        }
    }

    fn has_root(&self) -> Result<Option<bool>> {
        let (format, root) = (self.format(), MailboxName::storage_root());
        let can_be = format.layout().can_be_mailbox();
        can_be.then(|| format.layout().is_mailbox(&**format.env().fs(), &root)).transpose()
    }

    fn status(&self, name: &MailboxName) -> Result<Status> {
        status(self, self.format(), name)
    }

    fn status_and_size(&self, name: &MailboxName) -> Result<(Status, u64)> {
        status_and_size(self, self.format(), name)
    }

    fn create(&self, name: &MailboxName) -> Result<()> {
        check_writable(self.format())?;
        create(self.format(), name)
    }

    fn replace(&self, name: &MailboxName, identity: &MailboxIdentity, only_if: OnlyIf) -> Result<()> {
        check_writable(self.format())?;
        replace(self.format(), name, identity, only_if)
    }

    fn keeps(&self) -> Keeps {
        self.format().keeps()
    }

    fn check_name(&self, name: &MailboxName) -> Result<()> {
        self.format().layout().check_new(name)
    }

    fn delete(&self, name: &MailboxName) -> Result<()> {
        check_writable(self.format())?;
        delete(self.format(), name, OnlyIf::Anything)
    }

    fn delete_only_if(&self, name: &MailboxName, judged: &Judged) -> Result<()> {
        check_writable(self.format())?;
        delete(self.format(), name, OnlyIf::As(*judged))
    }

    fn rename(&self, from: &MailboxName, to: &MailboxName) -> Result<()> {
        check_writable(self.format())?;
        rename(self, self.format(), from, to)
    }

    fn follow(&self, mailbox: &dyn Mailbox) -> Result<Option<Arc<dyn Mailbox>>> {
        follow(self, self.format(), mailbox)
    }

    fn subscribe(&self, name: &MailboxName) -> Result<()> {
        check_writable(self.format())?;
        if self.format().subscriptions().change(name, true)? {
            note(self.format(), MailboxLogKind::Subscribed, name);
        }
        Ok(())
    }

    fn unsubscribe(&self, name: &MailboxName) -> Result<()> {
        check_writable(self.format())?;
        if self.format().subscriptions().change(name, false)? {
            note(self.format(), MailboxLogKind::Unsubscribed, name);
        }
        Ok(())
    }

    fn subscribe_for(&self, name: &MailboxName, spelled: &ForeignSpelling) -> Result<()> {
        check_writable(self.format())?;
        if self.format().subscriptions().add_foreign(name, spelled)? {
            note(self.format(), MailboxLogKind::Subscribed, name);
        }
        Ok(())
    }

    fn subscriptions(&self) -> Result<Vec<MailboxName>> {
        self.format().subscriptions().read()
    }

    fn subscriptions_kept(&self) -> Result<Vec<MailboxName>> {
        self.format().subscriptions().read_kept()
    }

    fn list_separator(&self) -> char {
        self.format().layout().storage_separator()
    }
}
