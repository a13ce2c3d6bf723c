//! Questions to a state. Those by UID or index cost a logarithm, unless told otherwise.

use std::sync::Arc;

use mailtypes::{ModSeq, SeqNum, Uid, UidSet, UidValidity};

use super::{
    ChunkRef, DboxHeader, Deletion, Extension, ExtensionSpec, FlagRequest, Inner, KeywordName, LogPosition,
    MdboxHeader, RawIndexHeader, RecordRef, State, names,
};

impl State {
    /// The state before anything was written: no messages, no UID validity, no position in any log.
    pub fn empty() -> Self {
        Self(Arc::new(Inner::empty()))
    }

    /// Whether both are the same value; constant time, so `false` may be said of equal states.
    pub fn ptr_eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The number shared by index, log and cache; 0 before the first log.
    pub fn index_id(&self) -> u32 {
        self.0.header.raw.indexid.get()
    }

    /// `None` until one was assigned.
    pub fn uid_validity(&self) -> Option<UidValidity> {
        UidValidity::new(self.0.header.raw.uid_validity.get())
    }

    /// The UID that the next message gets at least.
    pub fn next_uid(&self) -> Uid {
        Uid::new(self.0.header.raw.next_uid.get()).unwrap_or(Uid::MIN)
    }

    /// How many messages there are.
    pub fn message_count(&self) -> u32 {
        self.0.messages
    }

    /// Messages from here on are `\Recent` to the next client that opens read-write.
    pub fn first_recent_uid(&self) -> Uid {
        Uid::new(self.0.header.raw.first_recent_uid.get()).unwrap_or(Uid::MIN)
    }

    /// HIGHESTMODSEQ: the log's counter, never 0.
    pub fn highest_modseq(&self) -> ModSeq {
        ModSeq::new(self.0.modseq).unwrap_or(ModSeq::MIN)
    }

    /// Whether the counter is exact. After [`crate::snapshot::decode`] of a snapshot that does not hold it for its own
    /// head, it is a lower bound until [`State::with_modseq`] is given what [`crate::log::modseq_at`] finds.
    pub fn modseq_is_known(&self) -> bool {
        self.0.modseq_known
    }

    /// The same state with the counter that its log has at its position.
    pub fn with_modseq(&self, counter: u64) -> Self {
        let mut inner = (*self.0).clone();
        inner.modseq = counter;
        inner.modseq_known = true;
        Self(Arc::new(inner))
    }

    /// Whether messages have modseqs of their own (the `modseq` extension exists).
    pub fn has_modseqs(&self) -> bool {
        self.0.modseq_ext.is_some()
    }

    /// Messages with `\Seen`.
    pub fn seen_count(&self) -> u32 {
        self.0.seen
    }

    /// Messages with `\Deleted`.
    pub fn deleted_count(&self) -> u32 {
        self.0.deleted
    }

    /// The first message without `\Seen`. Linear in the chunks before it.
    pub fn first_unseen(&self) -> Option<(SeqNum, Uid)> {
        let unseen = |chunk: &ChunkRef<'_>| (chunk.seen_count() as usize) < chunk.uids().len();
        let chunk = self.chunks().find(unseen)?;
        let at = chunk.flags().iter().position(|flags| flags & 0x08 == 0)?;
        Some((SeqNum::from_index(chunk.start() + at as u32)?, Uid::new(*chunk.uids().get(at)?)?))
    }

    /// Where in the chain of logs this state is; `None` before the first log.
    pub fn position(&self) -> Option<LogPosition> {
        self.0.position
    }

    /// Up to where all internal changes have been carried out in the mail store, in the log of
    /// [`State::position`]. External records directly at the recorded tail are passed over.
    pub fn tail_offset(&self) -> u32 {
        let head = self.0.position.map_or(0, |position| position.offset);
        self.0.pending.first_offset().unwrap_or(head).min(head).max(self.0.tail.min(head))
    }

    /// The tail as last recorded in the log.
    pub fn recorded_tail(&self) -> u32 {
        self.0.tail
    }

    /// Whether internal records are waiting to be carried out in the mail store.
    pub fn has_pending(&self) -> bool {
        !self.0.pending.is_empty()
    }

    /// Whether internal records other than expunge requests are waiting. Linear in the chunks and requests.
    pub fn has_pending_other_than_expunges(&self) -> bool {
        self.0.pending.has_others()
    }

    /// The messages that somebody asked to expunge and that are still there. Linear in the requests.
    pub fn requested_expunges(&self) -> UidSet {
        let requested = self.0.pending.requested_expunges();
        if requested.is_empty() { requested } else { requested.intersection(&self.uids()) }
    }

    /// What internal records at or after `offset` of the log, which nobody is known to have carried out in the mail
    /// store, ask about flags and keywords, and of which messages: each thing once, and a message with each thing that
    /// is asked of it. Linear in the requests.
    pub fn flag_requests(&self, offset: u32) -> Vec<(FlagRequest, UidSet)> {
        let mut requests = self.0.pending.flag_requests(offset);
        if !requests.is_empty() {
            let there = self.uids();
            requests.iter_mut().for_each(|(_, uids)| *uids = uids.intersection(&there));
            requests.retain(|(_, uids)| !uids.is_empty());
        }
        requests
    }

    /// Whether the mailbox is being deleted.
    pub fn deletion(&self) -> Deletion {
        self.0.deletion
    }

    /// The base header. Its counts, sizes and log offsets are those of the last snapshot; ask the state for them.
    pub fn header(&self) -> &RawIndexHeader {
        &self.0.header.raw
    }

    /// The index of a UID, or the index at which it would stand.
    pub fn index_of(&self, uid: Uid) -> Result<u32, u32> {
        let at = self.0.chunk_of(uid.value());
        let Some((chunk, &start)) = self.0.chunks.get(at).zip(self.0.starts.get(at)) else {
            return Err(self.0.messages);
        };
        let found = chunk.uids.binary_search(&uid.value());
        found.map(|i| start + i as u32).map_err(|i| start + i as u32)
    }

    /// How many messages have smaller UIDs.
    pub fn count_below(&self, uid: Uid) -> u32 {
        self.index_of(uid).unwrap_or_else(|at| at)
    }

    /// Whether the message exists.
    pub fn contains(&self, uid: Uid) -> bool {
        self.index_of(uid).is_ok()
    }

    /// The UID at an index.
    pub fn uid_at(&self, index: u32) -> Option<Uid> {
        self.record(index).map(|record| record.uid())
    }

    /// The largest UID there is.
    pub fn last_uid(&self) -> Option<Uid> {
        self.0.chunks.last().and_then(|chunk| Uid::new(chunk.last_uid()))
    }

    /// The record at an index.
    pub fn record(&self, index: u32) -> Option<RecordRef<'_>> {
        let at = self.0.starts.partition_point(|&start| start <= index).checked_sub(1)?;
        let (chunk, start) = (self.0.chunks.get(at)?, self.0.starts.get(at)?);
        let at = (index - start) as usize;
        (at < chunk.len()).then_some(RecordRef { inner: &self.0, chunk, at })
    }

    /// The record of a UID.
    pub fn record_of(&self, uid: Uid) -> Option<RecordRef<'_>> {
        self.record(self.index_of(uid).ok()?)
    }

    /// All UIDs. Linear in the chunks and in the holes between UIDs.
    pub fn uids(&self) -> UidSet {
        let mut set = UidSet::new();
        for chunk in &self.0.chunks {
            let runs = chunk.uids.chunk_by(|a, b| a + 1 == *b);
            for run in runs {
                if let (Some(first), Some(last)) = (run.first(), run.last())
                    && let (Some(first), Some(last)) = (Uid::new(*first), Uid::new(*last))
                {
                    set.insert_range(first..=last);
                }
            }
        }
        set
    }

    /// The chunks in order, for scans by column.
    pub fn chunks(&self) -> Chunks<'_> {
        Chunks { inner: &self.0, next: 0 }
    }

    /// The records from an index on.
    pub fn records_from(&self, index: u32) -> RecordsFrom<'_> {
        let chunk = self.0.starts.partition_point(|&start| start <= index).saturating_sub(1);
        let start = self.0.starts.get(chunk).copied().unwrap_or(0);
        RecordsFrom { inner: &self.0, chunk, at: (index - start.min(index)) as usize }
    }

    /// The keywords by bit.
    pub fn keywords(&self) -> &[KeywordName] {
        self.0.keywords.names()
    }

    /// The keyword of a bit.
    pub fn keyword(&self, bit: u16) -> Option<&KeywordName> {
        self.0.keywords.names().get(usize::from(bit))
    }

    /// The bit of a keyword, whatever its case.
    pub fn keyword_bit(&self, name: &[u8]) -> Option<u16> {
        self.0.keywords.find(name)
    }

    /// The extensions by number.
    pub fn extensions(&self) -> &[Extension] {
        &self.0.extensions
    }

    /// An extension by name. Linear in the extensions.
    pub fn extension(&self, name: &str) -> Option<&Extension> {
        self.0.extensions.get(self.0.find_extension(name.as_bytes())?)
    }

    /// An extension's number, for [`RecordRef::field`]. Linear in the extensions.
    pub fn extension_index(&self, name: &str) -> Option<usize> {
        self.0.find_extension(name.as_bytes())
    }

    /// The `dbox-hdr` of an sdbox mailbox.
    pub fn dbox_header(&self) -> Option<DboxHeader> {
        DboxHeader::decode(self.extension(ExtensionSpec::DBOX_HDR.name)?)
    }

    /// The `mdbox-hdr` of an mdbox mailbox.
    pub fn mdbox_header(&self) -> Option<MdboxHeader> {
        MdboxHeader::decode(self.extension(ExtensionSpec::MDBOX_HDR.name)?)
    }

    /// The `file_seq` of the one cache file that [`RecordRef::cache_offset`] speaks of; `None`: no cache.
    pub fn cache_file_seq(&self) -> Option<u32> {
        let extension = self.0.extensions.get(self.0.find_extension(names::CACHE)?)?;
        Some(extension.reset_id).filter(|&seq| seq != 0)
    }

    /// Approximate memory of this state, in bytes, chunks shared with other states included.
    pub fn byte_size(&self) -> usize {
        self.0.byte_size
    }
}

/// The chunks of a state, in order.
#[derive(Clone, Debug)]
pub struct Chunks<'a> {
    inner: &'a Inner,
    next: usize,
}

impl<'a> Iterator for Chunks<'a> {
    type Item = ChunkRef<'a>;
    fn next(&mut self) -> Option<ChunkRef<'a>> {
        let (chunk, &start) = self.inner.chunks.get(self.next).zip(self.inner.starts.get(self.next))?;
        self.next += 1;
        Some(ChunkRef { inner: self.inner, chunk, start })
    }
}

/// Records of a state, in order.
#[derive(Clone, Debug)]
pub struct RecordsFrom<'a> {
    inner: &'a Inner,
    chunk: usize,
    at: usize,
}

impl<'a> Iterator for RecordsFrom<'a> {
    type Item = RecordRef<'a>;
    fn next(&mut self) -> Option<RecordRef<'a>> {
        let mut chunk = self.inner.chunks.get(self.chunk)?;
        if self.at >= chunk.len() {
            (self.chunk, self.at) = (self.chunk + 1, 0);
            chunk = self.inner.chunks.get(self.chunk)?;
        }
        let record = RecordRef { inner: self.inner, chunk, at: self.at };
        self.at += 1;
        Some(record)
    }
}
