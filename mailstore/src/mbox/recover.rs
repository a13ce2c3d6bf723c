//! Looking over an mbox after a crash: a change of the file that was left half done is taken back, and the index's log cut.

use std::sync::Arc;

use mailfs::{FileKind, FileSystemExt, TEMP_PREFIX};
use mailindex::{
    engine::{self, IndexError, MessageStore},
    state::Deletion,
};

use super::{Shared, files::MboxFiles, index};
use crate::{
    indexed::{PREFIX, from_index},
    mailbox_list::{MailboxDirs, RecoveredMailbox},
    traits::Result,
};

/// Tells how many files left behind were removed. An index that cannot be read is made anew when the mailbox is opened.
pub(super) fn recover_mailbox(shared: &Arc<Shared>, dirs: &MailboxDirs, mailbox: &mut RecoveredMailbox) -> Result<u64> {
    let fs = &**shared.env.fs();
    if !fs.is_dir(&dirs.index)? {
        return Ok(0);
    }
    let files = MboxFiles::new(shared, dirs);
    let mut is_unfinished = files.undo.is_pending()?;
    match engine::recover(&shared.env, &dirs.index, PREFIX, Arc::clone(&files) as Arc<dyn MessageStore>) {
        Ok(recovered) => {
            mailbox.reports = recovered.reports;
            mailbox.deleted = recovered.state.is_some_and(|state| state.deletion() == Deletion::Done);
        }
        Err(IndexError::Deleted { .. }) => mailbox.deleted = true,
        Err(IndexError::NotFound { .. } | IndexError::NeedsRebuild { .. }) => {}
        // An expunge, and the file is not what the index says: it is looked at first.
        Err(IndexError::Store { .. }) => is_unfinished = true,
        Err(e) => return Err(from_index(&mailbox.name, &e)),
    }
    if mailbox.deleted {
        return Ok(0);
    }
    if is_unfinished {
        drop(index::open(shared, &mailbox.name, dirs)?);
    }
    remove_waiting(shared, dirs)
}

/// Messages that waited for their places when a process died.
fn remove_waiting(shared: &Shared, dirs: &MailboxDirs) -> Result<u64> {
    let (fs, mut removed) = (&**shared.env.fs(), 0);
    for entry in fs.read_dir(&dirs.index)? {
        let is_temp = entry.name.to_str().is_some_and(|name| name.starts_with(TEMP_PREFIX));
        if is_temp && entry.kind == FileKind::File {
            fs.unlink(&dirs.index.join(&entry.name))?;
            removed += 1;
        }
    }
    Ok(removed)
}
