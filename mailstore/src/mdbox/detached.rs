//! Attachments that Dovecot has detached from messages (`docs/formats/dbox.md`, Attachments): they go with the last message that
//! names them.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use super::{Shared, map::MapResult, rewrite::by_file};
use crate::{
    dbox::{DboxError, DboxMessage, attachment_path, remove_attachment},
    traits::Result,
};

/// Removes attachments of messages that are gone, but for those that a message names which is there still: a second copy to
/// the byte names the same. What cannot be read may name any.
pub(super) fn remove_attachments(shared: &Shared, mut attachments: BTreeSet<PathBuf>) {
    if attachments.is_empty() {
        return;
    }
    if let Err(e) = keep_named(shared, &mut attachments) {
        tracing::warn!(count = attachments.len(), "attachments of purged messages stay: {e}");
        return;
    }
    for path in &attachments {
        if let Err(e) = remove_attachment(shared.fs(), path, path) {
            tracing::warn!("an attachment of a purged message stays: {e}");
        }
    }
}

/// Takes those out that a message of the map names. Each message that is saved has attachments of its own, and a purge tells
/// the map of messages' new places and of what is gone in one: a second copy comes into a map only where the store is
/// rebuilt, which the map counts. So nothing is read of a store that never was; else the metadata of all messages are.
fn keep_named(shared: &Shared, attachments: &mut BTreeSet<PathBuf>) -> Result<()> {
    let Some(folder) = &shared.attachments else { return Ok(()) };
    let map = shared.map.refresh(&shared.files).of_map()?;
    if map.rebuild_count() == 0 {
        return Ok(());
    }
    for (id, records) in by_file(&map) {
        let failed = |e: DboxError| e.at(&shared.files.path(id));
        let file = shared.files.open(id, map.rebuild_count()).map_err(failed)?;
        for record in records {
            let message = DboxMessage::read_at(Arc::clone(&file.handle), file.header, record.place.in_file());
            let metadata = message.and_then(|message| message.metadata()).map_err(failed)?;
            let unreadable = DboxError::damaged(record.place.offset.into(), "its list of attachments cannot be read");
            for named in metadata.attachments().ok_or(unreadable).map_err(failed)? {
                attachment_path(folder, &named, "").map(|path| attachments.remove(&path));
            }
        }
    }
    Ok(())
}
