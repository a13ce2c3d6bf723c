//! Making acknowledged flag changes durable: one sync for all logs that owe the disk something.

use std::sync::Arc;

use mailfs::{FileHandle, FileSystem};

use super::{MailboxIndex, Result};

/// Syncs the logs of these mailboxes, those that were synced meanwhile excepted.
pub(super) fn flush_logs(fs: &dyn FileSystem, indexes: Vec<Arc<MailboxIndex>>) -> Result<()> {
    let logs: Vec<_> = indexes.iter().map(|index| index.log_file()).filter(|log| log.take_dirty()).collect();
    let handles: Vec<FileHandle> = logs.iter().map(|log| Arc::clone(&log.handle)).collect();
    if handles.is_empty() {
        return Ok(());
    }
    let synced = fs.sync_many(&handles);
    if synced.is_err() {
        // Which of them failed is not known. None is written through the old handle again.
        logs.iter().for_each(|log| log.distrust());
    }
    Ok(synced?)
}
