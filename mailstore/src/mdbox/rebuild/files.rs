//! Going over the files of messages, and writing those anew in which something is damaged.
//!
//! # Invariants
//!
//! 1. A damaged file stays as `culver.damaged.m.<id>.<n>`; what is to be told of it goes into a new one with a number that no
//!    file has. Readers that know the old map go on with the old file until it is put aside.
//! 2. What somebody is adding to a file at this moment is none of this.

use std::{path::PathBuf, time::UNIX_EPOCH};

use mailfs::{FileHandle, FlockGuard, OpenMode};
use mailindex::engine::aside;
use mailtypes::Guid;

use super::{
    super::{
        Shared,
        m_files::Storage,
        map_state::{BodyPlace, FileId, MapRecord},
        rewrite::{Output, no_alternate},
    },
    inventory::{Inventory, Stored},
    scan::{Hint, Piece, scan},
};
use crate::{
    dbox::{DboxError, MessageHeader, MetadataKey, complete_metadata, stored_virtual_size},
    indexed::new_guid,
    traits::{Result, StorageError},
};

/// Bytes copied at a time.
const COPY_LEN: usize = 256 << 10;

/// A file that was looked over.
#[derive(Debug)]
pub(super) struct Looked {
    pub(super) id: FileId,
    pub(super) path: PathBuf,
    storage: Storage,
    len: u64,
    /// Nobody was adding to it.
    pub(super) is_free: bool,
    /// Something in it is not as it must be.
    pub(super) is_damaged: bool,
}

/// Takes the messages of a file into the inventory. `known`: what the map says of it, by offset. `None`: it is not there.
pub(super) fn look(
    shared: &Shared,
    id: FileId,
    known: &[MapRecord],
    inventory: &mut Inventory,
) -> Result<Option<Looked>> {
    let Some((path, storage)) = shared.files.find(id)? else { return Ok(None) };
    let only_reads = shared.env.is_read_only();
    let mode = if only_reads { OpenMode::Read } else { OpenMode::ReadWrite };
    let handle = match shared.fs().open(&path, mode) {
        Err(e) if e.is_not_found() => return Ok(None),
        // Alternate storage may be there for reading alone.
        Err(_) => shared.fs().open(&path, OpenMode::Read)?,
        Ok(handle) => handle,
    };
    // Held until all was read: nobody begins to add to it meanwhile. Who only reads locks nothing.
    let lock = if only_reads { None } else { FlockGuard::try_take(&handle)? };
    let is_free = lock.is_some();
    let len = handle.len()?;
    let hints = hints(known);
    let told_end = known.iter().filter_map(|record| record.place.end()).max();
    let end = told_end.filter(|_| !is_free && !only_reads).map_or(len, |end| end.min(len));
    let scanned = scan(&*handle, end, &hints, &mut |piece| {
        if let Some(stored) = stored(id, &piece, inventory) {
            inventory.add(stored);
        }
        Ok(())
    });
    drop(lock);
    let scanned = scanned.map_err(|e| e.at(&path))?;
    if scanned.is_damaged {
        tracing::warn!(path = %path.display(), is_free, "something in it is damaged");
    }
    Ok(Some(Looked { id, path, storage, len, is_free, is_damaged: scanned.is_damaged }))
}

fn hints(known: &[MapRecord]) -> Vec<Hint> {
    known.iter().map(|record| (record.place.offset.into(), record.place.end())).collect()
}

fn stored(file: FileId, piece: &Piece, inventory: &mut Inventory) -> Option<Stored> {
    // The map cannot speak of what lies further back.
    let offset = u32::try_from(piece.offset).ok()?;
    // One that is longer than can be said goes to the file's end.
    let len = u32::try_from(piece.end - piece.offset).unwrap_or(0);
    let home = piece.metadata.value(MetadataKey::ORIGINAL_MAILBOX).and_then(|home| std::str::from_utf8(home).ok());
    Some(Stored {
        place: BodyPlace { file, offset, len },
        moved: None,
        guid: piece.metadata.guid().unwrap_or(Guid::ZERO),
        number: None,
        counted: None,
        refs: 0,
        home: home.map(|home| inventory.home(home)),
        is_broken: !piece.is_whole,
        is_double: false,
    })
}

impl Looked {
    /// Whether it is to be written anew, and somebody else is writing to it.
    pub(super) fn is_to_wait_for(&self) -> bool {
        self.is_damaged && !self.is_free
    }

    /// Writes what it holds into a new file, which has no name yet, but for second copies. The inventory knows then where all
    /// lies in it.
    pub(super) fn write_anew(
        &self,
        shared: &Shared,
        known: &[MapRecord],
        new: FileId,
        inventory: &mut Inventory,
    ) -> Result<Output> {
        let handle = shared.fs().open(&self.path, OpenMode::ReadWrite)?;
        let _lock = self.lock_as_it_was(&handle)?;
        let modified = handle.metadata()?.modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let mut output = Output::make(shared, self.storage)?;
        let messages = inventory.of_file(self.id);
        let copied = scan(&*handle, self.len, &hints(known), &mut |piece| {
            let at = messages.binary_search_by_key(&piece.offset, |stored| stored.place.offset.into());
            let stored = at.ok().and_then(|at| messages.get_mut(at)).filter(|stored| !stored.is_double);
            let Some(stored) = stored else { return Ok(()) };
            let offset = output.end;
            put(shared, &handle, &mut output, stored, piece, modified)?;
            let fits = |n: u64| u32::try_from(n).map_err(|_| DboxError::Refused("a file of messages gets too long"));
            let len = u32::try_from(output.end - offset).unwrap_or(0);
            stored.moved = Some(BodyPlace { file: new, offset: fits(offset)?, len });
            Ok(())
        });
        copied.map_err(|e| e.at(&self.path))?;
        Ok(output)
    }

    /// Keeps others from adding to it; fails where somebody has, or is about to.
    fn lock_as_it_was(&self, handle: &FileHandle) -> Result<FlockGuard> {
        let lock = FlockGuard::try_take(handle)?;
        match lock {
            Some(lock) if handle.len()? == self.len => Ok(lock),
            _ => Err(StorageError::Unavailable(format!("{} is being written to", self.path.display()).into())),
        }
    }

    /// Gives it its other name, for the map knows all of it elsewhere. Not synced.
    pub(super) fn put_aside(&self, shared: &Shared) -> Result<()> {
        let handle = shared.fs().open(&self.path, OpenMode::ReadWrite)?;
        let _lock = self.lock_as_it_was(&handle)?;
        let copy = aside::put(shared.fs(), &self.path, |copy| shared.fs().rename_new(&self.path, copy))?;
        tracing::warn!(path = %self.path.display(), copy = %copy.display(), "a damaged file was put aside");
        shared.files.forget(self.id);
        Ok(())
    }

    /// Where it is to be named that takes its place.
    pub(super) fn path_of(&self, shared: &Shared, new: FileId) -> Result<PathBuf> {
        shared.files.path_of(self.storage, new).ok_or_else(no_alternate)
    }
}

/// Writes a message behind the others: as it is, or put right.
fn put(
    shared: &Shared,
    from: &FileHandle,
    to: &mut Output,
    stored: &mut Stored,
    piece: Piece,
    modified: u64,
) -> std::result::Result<(), DboxError> {
    if piece.is_whole && !stored.is_broken {
        return copy(from, to, piece.offset, piece.end);
    }
    if stored.guid.is_zero() {
        stored.guid = new_guid(shared.fs());
    }
    let mut metadata = piece.metadata;
    metadata.drop_rubbish();
    metadata.set(MetadataKey::GUID, stored.guid.to_string().as_bytes());
    let size = stored_virtual_size(&**from, &piece.body)?;
    complete_metadata(shared.fs(), &mut metadata, size, modified);
    let mut header = Vec::new();
    MessageHeader::new(piece.body.end - piece.body.start).write(&mut header);
    to.write(&header)?;
    copy(from, to, piece.body.start, piece.body.end)?;
    let mut lines = Vec::new();
    metadata.write(&mut lines);
    Ok(to.write(&lines)?)
}

fn copy(from: &FileHandle, to: &mut Output, mut at: u64, end: u64) -> std::result::Result<(), DboxError> {
    let mut buffer = vec![0; usize::try_from(end.saturating_sub(at)).unwrap_or(COPY_LEN).min(COPY_LEN)];
    while at < end {
        let want = usize::try_from(end - at).unwrap_or(COPY_LEN).min(buffer.len());
        let bytes = buffer.get_mut(..want).unwrap_or_default();
        let read = from.read_at(bytes, at)?;
        let bytes = bytes.get(..read).filter(|bytes| !bytes.is_empty());
        let bytes = bytes.ok_or(DboxError::damaged(at, "the file was cut while it was read"))?;
        to.write(bytes)?;
        at += bytes.len() as u64;
    }
    Ok(())
}

/// Whether two messages are the same to the byte, but for their headers.
pub(super) fn are_equal(shared: &Shared, one: &Stored, other: &Stored) -> Result<bool> {
    if one.place.len != other.place.len || one.place.len == 0 {
        return Ok(false);
    }
    let open = |stored: &Stored| match shared.files.find(stored.place.file)? {
        Some((path, _)) => shared.fs().open(&path, OpenMode::Read).map(Some),
        None => Ok(None),
    };
    let (Some(first), Some(second)) = (open(one)?, open(other)?) else { return Ok(false) };
    let (mut left, mut right) = (vec![0; COPY_LEN], vec![0; COPY_LEN]);
    let mut at = MessageHeader::LEN as u64;
    while at < one.place.len.into() {
        let want = usize::try_from(u64::from(one.place.len) - at).unwrap_or(COPY_LEN).min(COPY_LEN);
        let (a, b) = (left.get_mut(..want).unwrap_or_default(), right.get_mut(..want).unwrap_or_default());
        let read = first.read_at(a, u64::from(one.place.offset) + at)?;
        if read < want || second.read_at(b, u64::from(other.place.offset) + at)? < want || a != b {
            return Ok(false);
        }
        at += want as u64;
    }
    Ok(true)
}
