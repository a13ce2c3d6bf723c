//! Two files of one base name (`docs/formats/maildir.md`, "File names", Rules).

use std::time::Duration;

use super::{
    files::MaildirFiles,
    name,
    save::unique_base,
    table::{Folder, Place},
};

/// A second name of one file is left alone for so long: somebody may be moving it by link and unlink.
pub(super) const LINK_AGE_MIN: Duration = Duration::from_secs(30);

/// Decides which of two places of a base is the message's; the other is moved or removed where it can be. `None`: the
/// one that was known stays.
pub(super) fn resolve(
    files: &MaildirFiles,
    base: &[u8],
    known: &Place,
    found: &Place,
) -> mailfs::Result<Option<Place>> {
    let fs = files.fs();
    let (known_path, found_path) = (files.path(base, known), files.path(base, found));
    let Some(first) = fs.metadata(&known_path)? else { return Ok(Some(found.clone())) };
    let Some(second) = fs.metadata(&found_path)? else { return Ok(None) };
    if (first.device, first.inode) == (second.device, second.inode) {
        if fs.now().duration_since(second.changed).is_ok_and(|age| age > LINK_AGE_MIN) {
            tracing::warn!(path = %found_path.display(), "removed the second name of a message");
            ignore_missing(fs.unlink(&found_path))?;
        }
        return Ok(None);
    }
    // Two messages: the second gets a name of its own, and so a UID when it is found there.
    let other = name::path_in(files.folder(Folder::New), &unique_base(&**fs), &found.info);
    tracing::warn!(from = %found_path.display(), to = %other.display(), "renamed a message that bears another's name");
    ignore_missing(fs.rename_new(&found_path, &other))?;
    Ok(None)
}

/// What is gone already need not go.
pub(super) fn ignore_missing(result: mailfs::Result<()>) -> mailfs::Result<()> {
    match result {
        Err(e) if e.is_not_found() => Ok(()),
        other => other,
    }
}
