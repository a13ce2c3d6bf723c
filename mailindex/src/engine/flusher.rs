//! Making acknowledged flag changes durable: one sync for all logs that owe the disk something.

use std::sync::Arc;

use mailfs::{FileHandle, FileSystem};

use super::{MailboxIndex, Result, commit};

/// Syncs the logs of these mailboxes, those that were synced meanwhile excepted. Where that fails, or a write has failed
/// before, the log is written again.
pub(super) fn flush_logs(fs: &dyn FileSystem, indexes: Vec<Arc<MailboxIndex>>) -> Result<()> {
    let logs = indexes.into_iter().map(|index| (index.log_file(), index));
    let due: Vec<_> = logs.filter(|(log, _)| log.take_dirty() || log.is_distrusted()).collect();
    for (_, index) in &due {
        // The log has what was to be in the names, and asks for it until they are durable.
        match index.store.sync_names() {
            // Renamed or deleted since: whoever opens it where it is now carries out what the log asks for.
            Err(e) if e.is_not_found() => tracing::debug!(dir = %index.dir().display(), "it is elsewhere now: {e}"),
            Err(e) => tracing::warn!(dir = %index.dir().display(), "names are not durable: {e}"),
            Ok(()) => {}
        }
    }
    let sound: Vec<_> = due.iter().map(|(log, _)| log).filter(|log| !log.is_distrusted()).collect();
    let handles: Vec<FileHandle> = sound.iter().map(|log| Arc::clone(&log.handle)).collect();
    if !handles.is_empty() && fs.sync_many(&handles).is_err() {
        // Which of them failed is not known.
        sound.iter().for_each(|log| log.distrust());
    }
    let mut outcome = Ok(());
    for (_, index) in due.iter().filter(|(log, _)| log.is_distrusted()) {
        if let Err(e) = commit::heal(index) {
            tracing::error!(dir = %index.dir().display(), "flag changes may not be durable: {e}");
            outcome = Err(e);
        }
    }
    outcome
}
