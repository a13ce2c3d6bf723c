//! One open cache file and its fields.

use std::{path::Path, sync::Arc};

use mailfs::{FileHandle, FileSystem, OpenMode};

use super::window::FileWindow;
use crate::{
    cache::{CacheError, Fields, RawCacheHeader, Window as _, read_record},
    engine::MailboxIndex,
    state::State,
};

/// A file whose offsets the index speaks of.
#[derive(Debug)]
pub(in crate::engine) struct OpenCache {
    pub(super) handle: FileHandle,
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) file_seq: u32,
    pub(super) fields: Fields,
}

impl OpenCache {
    /// Opens the file if it is the one that `state` speaks of; the text says what is wrong with it.
    pub(super) fn open(fs: &dyn FileSystem, path: &Path, state: &State) -> Result<Option<Self>, String> {
        let Some(file_seq) = state.cache_file_seq() else { return Ok(None) };
        let handle = match fs.open(path, OpenMode::ReadWrite) {
            Err(e) if e.is_not_found() => return Ok(None),
            other => other.map_err(|e| e.to_string())?,
        };
        let metadata = handle.metadata().map_err(|e| e.to_string())?;
        let mut window = FileWindow::new(Arc::clone(&handle));
        let header = RawCacheHeader::read(&mut window).map_err(text)?;
        if header.indexid.get() != state.index_id() || header.file_seq.get() != file_seq {
            // Of another index, or purged a moment ago: not what this state means.
            return Ok(None);
        }
        let fields = Fields::read(&mut window, &header).map_err(text)?;
        Ok(Some(Self { handle, device: metadata.device, inode: metadata.inode, file_seq, fields }))
    }

    /// The same file with the fields that it has by now. One short read when they have not changed.
    pub(super) fn refreshed(self: &Arc<Self>) -> Result<Arc<Self>, String> {
        let mut window = FileWindow::new(Arc::clone(&self.handle));
        let known = self.fields.block();
        if !known.is_empty() {
            let there = window.read(self.fields.offset().into(), known.len());
            if there.map_err(|e| e.to_string())? == known {
                return Ok(Arc::clone(self));
            }
        }
        let fields = match self.fields.offset() {
            0 => RawCacheHeader::read(&mut window).and_then(|header| Fields::read(&mut window, &header)),
            known => Fields::read_from(&mut window, known),
        };
        let fields = fields.map_err(text)?;
        Ok(Arc::new(Self { handle: Arc::clone(&self.handle), fields, ..**self }))
    }

    /// Whether the record at `offset`, the last one that is spoken of, is there whole.
    pub(super) fn has_record(&self, offset: u32) -> bool {
        let mut window = FileWindow::new(Arc::clone(&self.handle));
        read_record(&mut window, offset).is_ok_and(|record| record.values(&self.fields).all(|value| value.is_ok()))
    }

    /// Whether the name still leads to this file.
    pub(super) fn is_at(&self, fs: &dyn FileSystem, path: &Path) -> bool {
        let there = fs.metadata(path).ok().flatten();
        there.is_some_and(|there| (there.device, there.inode) == (self.device, self.inode))
    }
}

fn text(error: CacheError<mailfs::FsError>) -> String {
    match error {
        CacheError::Read(e) => e.to_string(),
        CacheError::Damage(damage) => damage.to_string(),
    }
}

impl MailboxIndex {
    /// As [`open_cache`](Self::open_cache), with the fields as they were last seen: for one who locks the file next.
    pub(super) fn known_cache(&self, state: &State) -> Option<Arc<OpenCache>> {
        let seq = state.cache_file_seq()?;
        let known = self.cache_slot().open.clone().filter(|open| open.file_seq == seq);
        known.or_else(|| self.open_cache(state))
    }

    /// The cache that `state` speaks of, opened once for all; `None` when there is none that can be used.
    pub(super) fn open_cache(&self, state: &State) -> Option<Arc<OpenCache>> {
        let seq = state.cache_file_seq()?;
        let mut slot = self.cache_slot();
        if slot.damaged == Some(seq) {
            return None;
        }
        let opened = match &slot.open {
            Some(open) if open.file_seq == seq => open.refreshed().map(Some),
            _ => OpenCache::open(&**self.env().fs(), &self.paths.cache, state).map(|open| open.map(Arc::new)),
        };
        match opened {
            Ok(open) => {
                slot.open.clone_from(&open);
                open
            }
            Err(what) => {
                slot.open = None;
                slot.damaged = Some(seq);
                drop(slot);
                tracing::warn!(path = %self.paths.cache.display(), "cache not used: {what}");
                None
            }
        }
    }

    /// Something in the file cannot be right: nobody reads it any more, and the next writer replaces it.
    pub(super) fn give_up_cache(&self, file_seq: u32, what: &dyn std::fmt::Display) {
        tracing::warn!(path = %self.paths.cache.display(), "cache given up: {what}");
        let mut slot = self.cache_slot();
        slot.damaged = Some(file_seq);
        slot.open = None;
    }
}
