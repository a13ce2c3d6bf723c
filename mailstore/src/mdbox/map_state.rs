//! What the map says at one place of its log, and what is to be changed in it (`docs/formats/dbox.md`, Map index).

use mailindex::{
    log::{Generation, Origin, Transaction},
    state::{ExtensionSpec, LogPosition, RawIndexHeader, RecordFlags, RecordRef, State},
};
use mailtypes::{Guid, Uid};

/// The number of a file of messages: of `m.<id>`.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct FileId(pub(crate) u32);

impl FileId {
    /// The one that comes next, if there can be one.
    pub(crate) fn next(self) -> Option<Self> {
        self.0.checked_add(1).map(Self)
    }
}

/// Where a stored message lies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct BodyPlace {
    pub(crate) file: FileId,
    /// Of the message header in the file, in bytes.
    pub(crate) offset: u32,
    /// Bytes of header, body and metadata; 0: the message goes to the file's end (Dovecot 2.4, of large ones).
    pub(crate) len: u32,
}

impl BodyPlace {
    /// Where the next message of the file would begin, if that is known.
    pub(crate) fn end(self) -> Option<u64> {
        (self.len != 0).then(|| u64::from(self.offset) + u64::from(self.len))
    }

    fn encode(self) -> [u8; 12] {
        let mut bytes = [0; 12];
        let numbers = [self.file.0, self.offset, self.len];
        bytes.as_chunks_mut::<4>().0.iter_mut().zip(numbers).for_each(|(to, from)| *to = from.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let [file, offset, len] = *bytes.first_chunk::<12>()?.as_chunks::<4>().0 else { return None };
        Some(Self {
            file: FileId(u32::from_le_bytes(file)),
            offset: u32::from_le_bytes(offset),
            len: u32::from_le_bytes(len),
        })
    }
}

/// A stored message, as the map has it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct MapRecord {
    /// Its number in the map.
    pub(crate) uid: Uid,
    pub(crate) place: BodyPlace,
    /// How many messages of mailboxes it is the body of. 0: none any more, and a purge may remove it.
    pub(crate) refs: u16,
}

/// The map, immutable; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct MapState {
    state: State,
    map: Option<usize>,
    refs: Option<usize>,
}

impl MapState {
    pub(crate) fn new(state: State) -> Self {
        let (map, refs) =
            (state.extension_index(ExtensionSpec::MAP.name), state.extension_index(ExtensionSpec::REF.name));
        Self { state, map, refs }
    }

    /// What mailboxes must say that their numbers are of; 0: nothing was ever given.
    pub(crate) fn uid_validity(&self) -> u32 {
        self.state.uid_validity().map_or(0, |validity| validity.value())
    }

    /// Whether Dovecot's fsck was here, and leaves it to the next to go over all files.
    pub(crate) fn has_fsck_mark(&self) -> bool {
        self.state.header().flags.get() & RawIndexHeader::FSCKED != 0
    }

    /// The highest number that a file was given.
    pub(crate) fn highest_file(&self) -> FileId {
        FileId(self.header_number(0))
    }

    /// How often the store was rebuilt; what is open of the files is opened anew then.
    pub(crate) fn rebuild_count(&self) -> u32 {
        self.header_number(4)
    }

    fn header_number(&self, offset: usize) -> u32 {
        let header = self.map.and_then(|map| self.state.extensions().get(map));
        header.and_then(|header| header.hdr_bytes(offset)).map_or(0, u32::from_le_bytes)
    }

    /// The number that the next message gets.
    pub(crate) fn next_uid(&self) -> Uid {
        self.state.next_uid()
    }

    /// Up to where in its log this is the map.
    pub(crate) fn position(&self) -> Option<LogPosition> {
        self.state.position()
    }

    /// How many messages there are.
    pub(crate) fn len(&self) -> u32 {
        self.state.message_count()
    }

    /// A stored message by its number in the map.
    pub(crate) fn record(&self, uid: Uid) -> Option<MapRecord> {
        self.decode(&self.state.record_of(uid)?)
    }

    /// The one at a place in the order of numbers.
    pub(crate) fn record_at(&self, index: u32) -> Option<MapRecord> {
        self.decode(&self.state.record(index)?)
    }

    /// All, in the order of their numbers.
    pub(crate) fn records(&self) -> impl Iterator<Item = MapRecord> + '_ {
        self.state.records_from(0).filter_map(|record| self.decode(&record))
    }

    fn decode(&self, record: &RecordRef<'_>) -> Option<MapRecord> {
        let place = BodyPlace::decode(record.field(self.map?))?;
        let refs = self.refs.and_then(|refs| record.field(refs).first_chunk::<2>().copied());
        Some(MapRecord { uid: record.uid(), place, refs: refs.map_or(0, u16::from_le_bytes) })
    }
}

/// What is to be changed in the map, in one transaction with a tail record behind it: whoever reads one without the other
/// takes the map for damaged.
#[derive(Debug)]
pub(crate) struct MapChanges {
    transaction: Transaction,
    has_any: bool,
}

impl MapChanges {
    pub(crate) fn new() -> Self {
        let mut transaction = Transaction::new();
        transaction.append_as(Origin::Internal);
        transaction.move_tail();
        Self { transaction, has_any: false }
    }

    pub(super) fn transaction(&self) -> &Transaction {
        &self.transaction
    }

    /// Whether there is anything but the tail.
    pub(super) fn has_any(&self) -> bool {
        self.has_any
    }

    /// Puts or takes the mark of Dovecot's fsck: the store has to be rebuilt.
    pub(crate) fn set_fsck_mark(&mut self, map: &MapState, marked: bool) {
        let flags = map.state.header().flags.get() & !RawIndexHeader::FSCKED;
        let flags = if marked { flags | RawIndexHeader::FSCKED } else { flags };
        self.any().header_update_before(RawIndexHeader::FLAGS, &flags.to_le_bytes());
    }

    /// See [`MapState::uid_validity`].
    pub(crate) fn set_uid_validity(&mut self, validity: u32) {
        self.any().header_update_before(RawIndexHeader::UID_VALIDITY, &validity.to_le_bytes());
    }

    /// No number below was never given.
    pub(crate) fn set_next_uid(&mut self, next: Uid) {
        self.any().header_update(RawIndexHeader::NEXT_UID, &next.value().to_le_bytes());
    }

    /// See [`MapState::rebuild_count`].
    pub(crate) fn set_rebuild_count(&mut self, count: u32) {
        self.any().ext_header(&ExtensionSpec::MAP, 4, &count.to_le_bytes(), Origin::Internal);
    }

    fn any(&mut self) -> &mut Transaction {
        self.has_any = true;
        &mut self.transaction
    }

    /// A file was given this number, the highest so far.
    pub(crate) fn highest_file(&mut self, file: FileId) {
        self.any().ext_header(&ExtensionSpec::MAP, 0, &file.0.to_le_bytes(), Origin::Internal);
    }

    /// A message was stored. Numbers must ascend from call to call.
    pub(crate) fn add(&mut self, uid: Uid, place: BodyPlace, refs: u16) {
        self.any().append(uid, RecordFlags::NONE);
        self.put(uid, place);
        let refs = refs.to_le_bytes();
        self.any().ext_record(&ExtensionSpec::REF, Generation::Current, uid, &refs, Origin::Internal);
    }

    /// A message lies elsewhere now.
    pub(crate) fn move_to(&mut self, uid: Uid, place: BodyPlace) {
        self.put(uid, place);
    }

    /// Messages are gone.
    pub(crate) fn remove(&mut self, uids: &[Uid]) {
        self.any().expunge_done(uids.iter().map(|uid| (*uid, Guid::ZERO)));
    }

    fn put(&mut self, uid: Uid, place: BodyPlace) {
        let place = place.encode();
        self.any().ext_record(&ExtensionSpec::MAP, Generation::Current, uid, &place, Origin::Internal);
    }

    /// So many more (or fewer) messages of mailboxes have this body.
    pub(crate) fn count(&mut self, uid: Uid, diff: i32) {
        self.any().ext_increment(&ExtensionSpec::REF, uid, diff, Origin::Internal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_as_in_dovecots_logs() {
        let place = BodyPlace { file: FileId(1), offset: 0x3df, len: 0x2ea };
        let bytes = [1, 0, 0, 0, 0xdf, 3, 0, 0, 0xea, 2, 0, 0];
        assert_eq!(place.encode(), bytes);
        assert_eq!(BodyPlace::decode(&bytes), Some(place));
        assert_eq!(BodyPlace::decode(&bytes[..11]), None);
        assert_eq!(place.end(), Some(0x6c9));
    }
}
