//! Which file a mark in an index's log condemns (`docs/formats/mbox.md`, Deleting): who deletes a mailbox marks its log first,
//! and may be stopped before all is gone. What stands in its place later may be another mailbox, made by a program that knows
//! nothing of indexes, with mail that must not go with the old one.
//!
//! ```text
//! culver.deleting   magic 8 · inode u64 · length u64 · first 16 bytes of the SHA-256 of the file's beginning
//! ```

use std::path::{Path, PathBuf};

use mailfs::{FileKind, FileSystem, FileSystemExt, OpenMode};
use sha2::{Digest, Sha256};

use super::MailboxDirs;
use crate::traits::Result;

/// The name, in the folder of the index.
const NOTE_FILE: &str = "culver.deleting";

const MAGIC: &[u8; 8] = b"CulvDel1";

/// Bytes of a note.
const NOTE_LEN: usize = 40;

/// Bytes from a file's beginning that tell it from another of the same length.
const BEGINNING_LEN: usize = 64 << 10;

/// Only the store's owner has to read it.
const NOTE_MODE: u32 = 0o600;

/// What stands where a mailbox was that its log calls deleted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Standing {
    /// Nothing.
    Nothing,
    /// The mailbox that was to go.
    Condemned,
    /// Another one.
    Another,
    /// Nobody has told which mailbox was meant: another program has set the mark.
    Unknown,
}

fn note_path(dirs: &MailboxDirs) -> PathBuf {
    dirs.index.join(NOTE_FILE)
}

fn note_of(fs: &dyn FileSystem, mail: &Path) -> Result<Option<Vec<u8>>> {
    let file = match fs.open(mail, OpenMode::Read) {
        Err(e) if e.is_not_found() => return Ok(None),
        other => other?,
    };
    let there = file.metadata()?;
    if there.kind != FileKind::File {
        return Ok(None);
    }
    let mut beginning = vec![0; BEGINNING_LEN];
    let read = file.read_at(&mut beginning, 0)?;
    let sum = Sha256::digest(beginning.get(..read).unwrap_or_default());
    let mut note = Vec::with_capacity(NOTE_LEN);
    note.extend_from_slice(MAGIC);
    note.extend_from_slice(&there.inode.to_le_bytes());
    note.extend_from_slice(&there.len.to_le_bytes());
    note.extend_from_slice(sum.get(..16).unwrap_or_default());
    Ok(Some(note))
}

/// Notes which file is about to be deleted, durably. To be done before the mark.
pub(crate) fn note(fs: &dyn FileSystem, dirs: &MailboxDirs) -> Result<()> {
    if !fs.is_dir(&dirs.index)? {
        // Without an index there is no mark.
        return Ok(());
    }
    match note_of(fs, &dirs.mail)? {
        Some(note) => Ok(fs.write_atomic(&note_path(dirs), &note, NOTE_MODE, true)?),
        None => Ok(()),
    }
}

/// What stands there; asked of a mailbox whose log calls it deleted.
pub(crate) fn standing(fs: &dyn FileSystem, dirs: &MailboxDirs) -> Result<Standing> {
    let Some(now) = note_of(fs, &dirs.mail)? else { return Ok(Standing::Nothing) };
    let noted = match fs.read_all(&note_path(dirs), NOTE_LEN as u64) {
        Err(e) if e.is_not_found() => return Ok(Standing::Unknown),
        // It is longer than any of ours, or may not be read.
        Err(e) => {
            tracing::warn!(dir = %dirs.index.display(), "which mailbox was to be deleted cannot be told: {e}");
            return Ok(Standing::Unknown);
        }
        Ok(noted) => noted,
    };
    Ok(match noted.starts_with(MAGIC) && noted.len() == NOTE_LEN {
        true if noted == now => Standing::Condemned,
        true => Standing::Another,
        false => Standing::Unknown,
    })
}

/// The mark is gone, and what the note says with it.
pub(crate) fn forget(fs: &dyn FileSystem, dirs: &MailboxDirs) {
    if let Err(e) = fs.unlink(&note_path(dirs))
        && !e.is_not_found()
    {
        tracing::warn!(dir = %dirs.index.display(), "a note of a deletion stays: {e}");
    }
}
