//! Looking over a store after a crash.

use std::{path::Path, sync::Arc};

use mailfs::{FileKind, FileSystemExt};
use mailindex::{
    engine::{self, IndexError},
    state::Deletion,
};
use mailtypes::MailboxName;

use super::{Shared, files::Mails, rebuild};
use crate::{
    indexed::{PREFIX, from_index},
    mailbox_list::{Rights, walk},
    traits::{Result, StorageError},
};

/// Names removed in one go from where deleted mailboxes lie.
const TRASH_COUNT_MAX: u64 = 100_000_000;

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
    /// Why it could not be put right.
    pub failed: Option<StorageError>,
}

/// Looks over everything; the list is locked.
pub(super) fn recover(shared: &Shared) -> Result<RecoveryReport> {
    let mut report = RecoveryReport::default();
    for found in walk(shared.fs(), &shared.layout)?.into_iter().filter(|found| found.selectable) {
        report.mailboxes += 1;
        let mails = Arc::new(Mails::new(shared.env.fs(), &shared.layout.mails_dir(&found.name)?));
        let mut mailbox =
            RecoveredMailbox { name: found.name, reports: Vec::new(), rebuilt: None, deleted: false, failed: None };
        if let Err(e) = recover_mailbox(shared, &mails, &mut mailbox) {
            tracing::error!(mailbox = %mailbox.name, "not recovered: {e}");
            mailbox.failed = Some(e);
        }
        if !mailbox.deleted {
            report.leftovers_removed += mails.clean_temps()?;
        }
        if !mailbox.reports.is_empty() || mailbox.rebuilt.is_some() || mailbox.deleted || mailbox.failed.is_some() {
            report.repaired.push(mailbox);
        }
    }
    report.leftovers_removed += clean_root(shared)?;
    Ok(report)
}

fn recover_mailbox(shared: &Shared, mails: &Arc<Mails>, mailbox: &mut RecoveredMailbox) -> Result<()> {
    let needs_rebuild = match engine::recover(&shared.env, &mails.dir, PREFIX, Arc::clone(mails) as _) {
        Ok(recovered) => {
            mailbox.reports = recovered.reports;
            if recovered.state.is_some_and(|state| state.deletion() == Deletion::Done) {
                move_to_trash(shared, &mails.dir)?;
                mailbox.deleted = true;
                return Ok(());
            }
            recovered.needs_rebuild
        }
        Err(IndexError::Deleted { .. }) => {
            move_to_trash(shared, &mails.dir)?;
            mailbox.deleted = true;
            return Ok(());
        }
        // Opening it makes an index, which is soon enough.
        Err(IndexError::NotFound { .. }) => !mails.uids()?.is_empty(),
        Err(IndexError::NeedsRebuild { .. }) => true,
        Err(e) => return Err(from_index(&mailbox.name, &e)),
    };
    if needs_rebuild {
        mailbox.rebuilt = Some(rebuild::rebuild(shared, &mailbox.name, mails)?);
    }
    Ok(())
}

/// Takes a mailbox's folder out of the list by one rename, durably, and removes it with what is in it.
pub(super) fn move_to_trash(shared: &Shared, dir: &Path) -> Result<()> {
    let (fs, trash) = (shared.fs(), shared.layout.trash());
    let rights = Rights::of(fs, shared.layout.root())?;
    match fs.create_dir(&trash, rights.dir_mode()) {
        Err(e) if !e.is_already_exists() => return Err(e.into()),
        _ => {}
    }
    let mut random = [0; 8];
    fs.random(&mut random);
    let away = trash.join(format!("{:016x}", u64::from_le_bytes(random)));
    fs.rename(dir, &away)?;
    if let Some(level) = dir.parent() {
        fs.sync_dir(level)?;
    }
    // It is gone by now. What cannot be removed is removed another time.
    let removed = fs.remove_tree(&away, TRASH_COUNT_MAX).and_then(|_| fs.remove_dir(&trash));
    if let Err(e) = removed {
        tracing::debug!("a deleted mailbox stays in the trash: {e}");
    }
    Ok(())
}

/// Removes what a crash left in the store's folder: half-made mailboxes, half-removed ones. Nobody works on them while
/// the list is locked.
fn clean_root(shared: &Shared) -> Result<u64> {
    let (fs, root) = (shared.fs(), shared.layout.root());
    let mut removed = fs.remove_tree(&shared.layout.trash(), TRASH_COUNT_MAX)?;
    for entry in fs.read_dir(root)? {
        let half_made = entry.name.to_str().is_some_and(|name| name.starts_with(mailfs::TEMP_PREFIX));
        if half_made && entry.kind == FileKind::Dir {
            removed += fs.remove_tree(&root.join(&entry.name), TRASH_COUNT_MAX)?;
        }
    }
    Ok(removed)
}
