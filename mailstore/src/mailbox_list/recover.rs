//! Looking over a store after a crash.

use mailfs::FileSystemExt;
use mailindex::engine;
use mailtypes::MailboxName;

use super::{
    Format, MailboxDirs, Shape, alternate, by_guid,
    change::{ListLock, remove_mailbox},
    storage::check_writable,
    trash::clean,
    walk::walk,
};
use crate::traits::{Result, StorageError};

/// What a recovery found and did.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// How many mailboxes were looked at.
    pub mailboxes: usize,
    /// Those in which there was something to be done.
    pub repaired: Vec<RecoveredMailbox>,
    /// Files left behind by somebody who died that were removed.
    pub leftovers_removed: u64,
}

/// What was done about one mailbox.
#[derive(Debug)]
#[non_exhaustive]
pub struct RecoveredMailbox {
    /// Which.
    pub name: MailboxName,
    /// What was found in its index, where, and what was done about it.
    pub reports: Vec<engine::RecoveryReport>,
    /// How many messages the index has that was made anew; `None`: that was not needed.
    pub rebuilt: Option<usize>,
    /// Its deletion, which somebody had begun, was finished.
    pub deleted: bool,
    /// No name led to it any more, and it is in the list again.
    pub listed: bool,
    /// Why it could not be put right.
    pub failed: Option<StorageError>,
}

impl RecoveredMailbox {
    pub(super) fn new(name: MailboxName) -> Self {
        Self { name, reports: Vec::new(), rebuilt: None, deleted: false, listed: false, failed: None }
    }

    fn is_worth_telling(&self) -> bool {
        !self.reports.is_empty() || self.rebuilt.is_some() || self.deleted || self.listed || self.failed.is_some()
    }
}

/// Looks over everything, the list locked. What fails about one mailbox stands in the report and costs no other.
pub(crate) fn recover(format: &dyn Format) -> Result<RecoveryReport> {
    check_writable(format)?;
    let (fs, layout) = (&**format.env().fs(), format.layout());
    let mut report = RecoveryReport::default();
    let (_lock, found) = match layout.is_by_guid() {
        // Each change is one transaction of the list index, whose lock does not go together with the other.
        true => {
            by_guid::adopt(format, &mut report.repaired)?;
            (None, by_guid::walk(format)?)
        }
        false => {
            let lock = ListLock::take(format)?;
            alternate::settle(fs, layout)?;
            (Some(lock), walk(fs, layout)?)
        }
    };
    for found in found {
        let mut mailbox = RecoveredMailbox::new(found.name);
        let outcome = if found.selectable {
            report.mailboxes += 1;
            recover_mailbox(format, &mut mailbox)
        } else {
            finish_deletion(format, &mut mailbox).map(|()| 0)
        };
        match outcome {
            Ok(removed) => report.leftovers_removed += removed,
            Err(e) => {
                tracing::error!(mailbox = %mailbox.name, "not recovered: {e}");
                mailbox.failed = Some(e);
            }
        }
        if mailbox.is_worth_telling() {
            report.repaired.push(mailbox);
        }
    }
    report.leftovers_removed += clean(fs, layout)?;
    Ok(report)
}

/// Where the files of a mailbox lie that is there.
fn dirs_of(format: &dyn Format, name: &MailboxName) -> Result<MailboxDirs> {
    match format.layout().is_by_guid() {
        true => by_guid::find(format, name),
        false => format.layout().dirs(name),
    }
}

/// Removes what a crash left in the store's folders, the list locked.
pub(crate) fn clean_leftovers(format: &dyn Format) -> Result<u64> {
    let _lock = ListLock::take(format)?;
    clean(&**format.env().fs(), format.layout())
}

fn recover_mailbox(format: &dyn Format, mailbox: &mut RecoveredMailbox) -> Result<u64> {
    let by_guid = format.layout().is_by_guid();
    let dirs = dirs_of(format, &mailbox.name)?;
    let removed = format.recover(&dirs, mailbox)?;
    if mailbox.deleted && by_guid {
        by_guid::finish_deletion(format, &mailbox.name)?;
    } else if mailbox.deleted {
        remove_mailbox(format, &mailbox.name, &dirs)?;
        // A file that somebody has made since stays.
        let is_mbox = format.layout().shape() == Shape::Mbox;
        mailbox.deleted = !is_mbox || !format.layout().is_mailbox(&**format.env().fs(), &mailbox.name)?;
    }
    Ok(removed)
}

/// A mailbox whose folder has levels below it goes piece by piece; the first was that which made it a mailbox.
fn finish_deletion(format: &dyn Format, mailbox: &mut RecoveredMailbox) -> Result<()> {
    let (fs, layout) = (&**format.env().fs(), format.layout());
    if layout.shape() != Shape::MaildirFs || layout.is_by_guid() {
        return Ok(());
    }
    let dirs = layout.dirs(&mailbox.name)?;
    if fs.is_dir(&dirs.index)? && format.is_deleted(&dirs)? {
        remove_mailbox(format, &mailbox.name, &dirs)?;
        mailbox.deleted = true;
    }
    Ok(())
}
