//! The files of detached attachments: each message that has them has names of its own for them (`docs/formats/dbox.md`,
//! Detached attachments).

use std::path::PathBuf;

use mailfs::FileSystem;
use mailindex::state::State;
use mailtypes::{Guid, Uid};

use super::files::Mails;
use crate::dbox::{attachment_path, remove_attachment};

/// What sdbox adds to the name of an attachment's file.
pub(super) fn suffix(mailbox: Guid, uid: Uid) -> String {
    format!("-{mailbox}-{uid}")
}

/// One attachment's file.
pub(super) struct AttachedFile {
    /// As the message's metadata has it, below the folder of attachments.
    common: PathBuf,
    /// As this message calls it.
    own: PathBuf,
}

/// The attachments of a message of a state; none where there is no folder of them, or the message cannot be read. Reads
/// the message's file where there is a folder of attachments.
pub(super) fn files_of(mails: &Mails, state: &State, uid: Uid) -> Vec<AttachedFile> {
    let (Some(folder), Some(header)) = (&mails.attachments, state.dbox_header()) else { return Vec::new() };
    let metadata = mails.open(uid).ok().and_then(|message| message.metadata().ok());
    let list = metadata.and_then(|metadata| metadata.attachments()).unwrap_or_default();
    let path = |suffix: &str| list.iter().map(|a| attachment_path(folder, a, suffix)).collect::<Option<Vec<_>>>();
    let (Some(common), Some(own)) = (path(""), path(&suffix(header.guid, uid))) else { return Vec::new() };
    common.into_iter().zip(own).map(|(common, own)| AttachedFile { common, own }).collect()
}

/// Gives a copy of the message its own names for them, durably.
pub(super) fn link(fs: &dyn FileSystem, files: &[AttachedFile], to: Option<Guid>, uid: Uid) -> mailfs::Result<()> {
    let Some(to) = to else { return Ok(()) };
    for AttachedFile { common, own } in files {
        let mut name = common.clone().into_os_string();
        name.push(suffix(to, uid));
        match fs.hard_link(own, name.as_ref()) {
            // The same content, for the name has its hash in it.
            Err(e) if e.is_already_exists() => {}
            other => other?,
        }
        if let Some(dir) = own.parent() {
            fs.sync_dir(dir)?;
        }
    }
    Ok(())
}

/// Removes a message's names for them, and the content with the last of them. What stays costs room and nothing else.
pub(super) fn remove(fs: &dyn FileSystem, files: &[AttachedFile]) {
    for AttachedFile { common, own } in files {
        if let Err(e) = remove_attachment(fs, common, own) {
            tracing::warn!("an attachment of an expunged message stays: {e}");
        }
    }
}
