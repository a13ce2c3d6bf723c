//! What a [`State`](super::State) is made of, as replay and snapshots build it.

use std::sync::Arc;

use super::{BaseHeader, Chunk, Deletion, Extension, KeywordTable, LogPosition, Pending, State, names};

/// The extension that the last EXT_INTRO selected.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Selected {
    /// There was no intro yet.
    #[default]
    None,
    /// The intro was not valid, or is of another generation: skip what follows.
    Skip,
    /// This one.
    Extension {
        index: usize,
        /// As the intro gave it: what EXT_REC_UPDATE entries measure.
        record_size: u16,
        /// Of another generation: only a reset is taken.
        stale: bool,
    },
}

/// See [`State`](super::State).
#[derive(Clone, Debug)]
pub(crate) struct Inner {
    pub(crate) header: BaseHeader,
    pub(crate) extensions: Vec<Extension>,
    pub(crate) keywords: Arc<KeywordTable>,
    pub(crate) chunks: Vec<Arc<Chunk>>,
    /// Index of each chunk's first record; made by [`Self::finish`].
    pub(crate) starts: Vec<u32>,
    pub(crate) messages: u32,
    pub(crate) seen: u32,
    pub(crate) deleted: u32,
    /// Approximate memory; made by [`Self::finish`].
    pub(crate) byte_size: usize,
    /// The log's running counter; 0: unknown to the log itself.
    pub(crate) modseq: u64,
    /// Whether the counter was read, not guessed from the snapshot.
    pub(crate) modseq_known: bool,
    pub(crate) position: Option<LogPosition>,
    pub(crate) log_minor: u8,
    pub(crate) tail: u32,
    pub(crate) pending: Arc<Pending>,
    pub(crate) selected: Selected,
    pub(crate) deletion: Deletion,
    pub(crate) keywords_ext: Option<usize>,
    pub(crate) modseq_ext: Option<usize>,
    pub(crate) cache_ext: Option<usize>,
}

/// Neighbours whose records together are no more than this are made one.
const MERGE_LEN_MAX: usize = super::CHUNK_LEN_MAX * 3 / 4;

impl Inner {
    pub(crate) fn empty() -> Self {
        Self {
            header: BaseHeader::empty(),
            extensions: Vec::new(),
            keywords: Arc::default(),
            chunks: Vec::new(),
            starts: Vec::new(),
            messages: 0,
            seen: 0,
            deleted: 0,
            byte_size: 0,
            modseq: 1,
            modseq_known: true,
            position: None,
            log_minor: crate::log::RawLogHeader::MINOR,
            tail: 0,
            pending: Arc::default(),
            selected: Selected::None,
            deletion: Deletion::No,
            keywords_ext: None,
            modseq_ext: None,
            cache_ext: None,
        }
    }

    pub(crate) fn find_extension(&self, name: &[u8]) -> Option<usize> {
        self.extensions.iter().position(|extension| *extension.name == *name)
    }

    /// Adds an extension at the end of the list and returns its number.
    pub(crate) fn push_extension(&mut self, extension: Extension) -> usize {
        let index = self.extensions.len();
        match &*extension.name {
            names::KEYWORDS => self.keywords_ext = Some(index),
            names::CACHE => self.cache_ext = Some(index),
            names::MODSEQ => self.modseq_ext = Some(index),
            _ => {}
        }
        self.extensions.push(extension);
        index
    }

    /// What a zero in the modseq field stands for: H of the extension's header, or without the extension the
    /// counter. Never 0.
    pub(crate) fn modseq_of_zero(&self) -> u64 {
        let header = self.modseq_ext.and_then(|i| self.extensions.get(i)).map(|ext| ext.hdr_bytes::<8>(0));
        match header {
            Some(bytes) => bytes.map_or(0, u64::from_le_bytes).max(1),
            None => self.modseq.max(1),
        }
    }

    /// Whether somebody has said what a zero stands for.
    pub(crate) fn has_modseq_of_zero(&self) -> bool {
        let header = self.modseq_ext.and_then(|i| self.extensions.get(i)).and_then(|ext| ext.hdr_bytes::<8>(0));
        header.is_some_and(|bytes| bytes != [0; 8])
    }

    /// Dovecot writes H as it was before it waited for the log's lock: what was changed meanwhile must not seem older than
    /// it is, so that a zero stands for the counter at least.
    pub(crate) fn raise_modseq_of_zero(&mut self) {
        let counter = self.modseq;
        let Some(ext) = self.modseq_ext.and_then(|i| self.extensions.get_mut(i)) else { return };
        if let Some(highest) = Arc::make_mut(&mut ext.hdr).first_chunk_mut::<8>()
            && u64::from_le_bytes(*highest) < counter
        {
            *highest = counter.to_le_bytes();
        }
    }

    /// Number of the modseq extension, if its field has the size that it must have.
    pub(crate) fn modseq_field(&self) -> Option<usize> {
        self.modseq_ext.filter(|&i| self.extensions.get(i).is_some_and(|ext| ext.record_size == 8))
    }

    /// Number of the cache extension, if its field has the size that it must have.
    pub(crate) fn cache_field(&self) -> Option<usize> {
        self.cache_ext.filter(|&i| self.extensions.get(i).is_some_and(|ext| ext.record_size == 4))
    }

    /// Which chunk holds the UID, or would; `chunks.len()` if it is past all.
    pub(crate) fn chunk_of(&self, uid: u32) -> usize {
        self.chunks.partition_point(|chunk| chunk.last_uid() < uid)
    }

    /// Joins small neighbours, brings counts and positions up to date, and seals.
    pub(crate) fn finish(mut self) -> State {
        self.merge_small_chunks();
        let mut messages: u32 = 0;
        (self.seen, self.deleted, self.byte_size) = (0, 0, size_of::<Self>());
        self.starts.clear();
        for chunk in &self.chunks {
            self.starts.push(messages);
            messages = messages.saturating_add(chunk.len() as u32);
            self.seen += chunk.seen;
            self.deleted += chunk.deleted;
            self.byte_size += chunk.byte_size();
        }
        self.messages = messages;
        self.byte_size += self.extensions.iter().map(|ext| ext.hdr.capacity() + size_of::<Extension>()).sum::<usize>();
        State(Arc::new(self))
    }

    fn merge_small_chunks(&mut self) {
        let mut at = 0;
        while let (Some(a), Some(b)) = (self.chunks.get(at), self.chunks.get(at + 1)) {
            if a.len() + b.len() <= MERGE_LEN_MAX {
                let other = self.chunks.remove(at + 1);
                if let Some(chunk) = self.chunks.get_mut(at) {
                    Arc::make_mut(chunk).extend(&other);
                }
            } else {
                at += 1;
            }
        }
    }
}
