//! What is known of a mailbox's messages: the UID list, and under which name each file was seen last.
//!
//! # Invariants
//!
//! 1. Entries ascend by UID, and no two have one base.
//! 2. An entry stays when its message goes, until the file is written anew: its line is still there.

use std::{collections::HashMap, sync::Arc};

use mailtypes::Uid;

use super::{
    name::{self, NameFlags},
    uidlist::{Header, Record, Uidlist, value_of},
};

/// So few lines of messages that are gone are never worth a new file.
const DEAD_MIN: usize = 16;

/// Which of the two folders.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(super) enum Folder {
    New,
    Cur,
}

/// Where a file was seen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Place {
    pub(super) folder: Folder,
    /// From the `:` on.
    pub(super) info: Box<[u8]>,
}

/// A message.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) uid: Uid,
    pub(super) base: Arc<[u8]>,
    /// As in the UID list.
    pub(super) keys: Box<[u8]>,
    pub(super) place: Option<Place>,
    /// The flags in the name as the index knows them; `None`: never compared.
    pub(super) synced: Option<NameFlags>,
    /// Whether the index has the message, as of the scan that is under way.
    pub(super) indexed: bool,
    /// The number of the scan that saw it last.
    pub(super) scan: u32,
}

impl Entry {
    /// What the name says where it was seen last.
    pub(super) fn name_flags(&self) -> Option<NameFlags> {
        self.place.as_ref().map(|place| name::flags_of(&place.info))
    }

    /// Bytes with CRLF line ends, as far as the name tells.
    pub(super) fn virtual_size(&self) -> Option<u64> {
        let in_keys = || std::str::from_utf8(value_of(&self.keys, b'W')?).ok()?.parse().ok();
        name::size_in(&self.base, b'W').or_else(in_keys)
    }

    /// The POP3 unique id that was saved with it; an empty one is the file's name.
    pub(super) fn saved_uidl(&self) -> Option<&[u8]> {
        value_of(&self.keys, b'P').map(|id| if id.is_empty() { &self.base } else { id })
    }

    /// The place in a maildrop that was saved with it.
    pub(super) fn saved_pop3_order(&self) -> Option<u32> {
        std::str::from_utf8(value_of(&self.keys, b'O')?).ok()?.parse().ok()
    }

    /// The text that is the message's identity.
    pub(super) fn guid_text(&self) -> &[u8] {
        value_of(&self.keys, b'G').filter(|guid| !guid.is_empty()).unwrap_or(&self.base)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) header: Header,
    entries: Vec<Entry>,
    /// Where in `entries`.
    by_base: HashMap<Arc<[u8]>, usize>,
    pub(super) needs_rewrite: bool,
    /// Bytes of the file up to the end of its last whole line.
    pub(super) file_len: u64,
}

impl Table {
    /// From a file that was read. Places, and what a damaged file has lost, come from what was known before.
    pub(super) fn new(list: Uidlist, before: Option<Self>) -> Self {
        let mut table = Self {
            header: list.header,
            needs_rewrite: list.needs_rewrite,
            file_len: list.len as u64,
            ..Self::default()
        };
        let damaged = list.damaged_line.is_some();
        let mut entries: Vec<Entry> = Vec::with_capacity(list.records.len());
        entries.extend(list.records.into_iter().map(Entry::from));
        table.entries = entries;
        table.index();
        if let Some(before) = before {
            table.take_over(before, damaged);
        }
        table
    }

    fn take_over(&mut self, before: Self, damaged: bool) {
        let mut lost = Vec::new();
        for old in before.entries {
            let known = self.by_base.get(&old.base).copied();
            if known.is_none() && damaged && self.get(old.uid).is_none() {
                lost.push(old);
            } else if let Some(entry) = known.and_then(|at| self.entries.get_mut(at)) {
                entry.synced = old.synced.filter(|_| entry.uid == old.uid);
                (entry.place, entry.scan) = (old.place, old.scan);
            }
        }
        if !lost.is_empty() {
            self.needs_rewrite = true;
            self.entries.extend(lost);
            self.entries.sort_unstable_by_key(|entry| entry.uid);
            self.index();
        }
        if damaged {
            let known = before.header;
            self.header.uid_validity = self.header.uid_validity.or(known.uid_validity);
            self.header.guid = self.header.guid.or(known.guid);
            self.header.next_uid = self.header.next_uid.max(known.next_uid);
        }
    }

    fn index(&mut self) {
        let bases = self.entries.iter().enumerate().map(|(at, entry)| (Arc::clone(&entry.base), at));
        self.by_base = bases.collect();
    }

    fn index_of(&self, uid: Uid) -> Result<usize, usize> {
        self.entries.binary_search_by_key(&uid, |entry| entry.uid)
    }

    pub(super) fn get(&self, uid: Uid) -> Option<&Entry> {
        self.entries.get(self.index_of(uid).ok()?)
    }

    pub(super) fn get_mut(&mut self, uid: Uid) -> Option<&mut Entry> {
        let at = self.index_of(uid).ok()?;
        self.entries.get_mut(at)
    }

    pub(super) fn uid_of(&self, base: &[u8]) -> Option<Uid> {
        self.entries.get(*self.by_base.get(base)?).map(|entry| entry.uid)
    }

    /// The message of a base name.
    pub(super) fn by_base_mut(&mut self, base: &[u8]) -> Option<&mut Entry> {
        self.entries.get_mut(*self.by_base.get(base)?)
    }

    /// Notes of each message whether it is among these, which ascend.
    pub(super) fn mark_indexed(&mut self, uids: impl Iterator<Item = Uid>) {
        let mut uids = uids.peekable();
        for entry in &mut self.entries {
            while uids.next_if(|uid| *uid < entry.uid).is_some() {}
            entry.indexed = uids.peek() == Some(&entry.uid);
        }
    }

    /// All, by ascending UID.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Those from a UID on.
    pub(super) fn from(&self, uid: Uid) -> &[Entry] {
        let at = self.entries.partition_point(|entry| entry.uid < uid);
        self.entries.get(at..).unwrap_or_default()
    }

    /// The UID that is free after all in the list.
    pub(super) fn next_uid(&self) -> Uid {
        let after = self.entries.last().and_then(|entry| entry.uid.successor());
        after.max(self.header.next_uid).unwrap_or(Uid::MIN)
    }

    /// Adds a message with a UID larger than all others, in a place that the index is told of.
    pub(super) fn push(&mut self, uid: Uid, base: &[u8], keys: &[u8], place: Place, scan: u32) {
        let (synced, place) = (Some(name::flags_of(&place.info)), Some(place));
        let base: Arc<[u8]> = base.into();
        self.by_base.insert(Arc::clone(&base), self.entries.len());
        self.entries.push(Entry { uid, base, keys: keys.into(), place, synced, indexed: false, scan });
    }

    /// The file of a message has another name from now on, without sizes. Its identity stays.
    pub(super) fn rename(&mut self, base: &[u8], new_base: &[u8]) {
        if self.by_base.contains_key(new_base) {
            return;
        }
        let Some(at) = self.by_base.remove(base) else { return };
        let Some(entry) = self.entries.get_mut(at) else { return };
        let is_size = |key: &&[u8]| matches!(key.first(), Some(b'S' | b'W'));
        let mut keys: Vec<Vec<u8>> = entry
            .keys
            .split(|b| *b == b' ')
            .filter(|key| !key.is_empty() && !is_size(key))
            .map(<[u8]>::to_vec)
            .collect();
        if !keys.iter().any(|key| key.first() == Some(&b'G')) && !base.contains(&b' ') {
            keys.push([b"G", base].concat());
        }
        entry.keys = keys.join(&b' ').into();
        entry.base = new_base.into();
        self.by_base.insert(Arc::clone(&entry.base), at);
        self.needs_rewrite = true;
    }

    /// Whether so many lines are of messages that are gone that the file is to be written anew.
    pub(super) fn is_mostly_dead(&self, live: usize) -> bool {
        let all = self.entries.len();
        all.saturating_sub(live) >= DEAD_MIN && live.saturating_mul(4) <= all.saturating_mul(3)
    }

    /// Drops the others.
    pub(super) fn retain(&mut self, is_live: impl Fn(&Entry) -> bool) {
        self.entries.retain(is_live);
        self.index();
    }

    /// The file's content.
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.header.write(&mut out);
        self.entries.iter().for_each(|entry| Record::write(entry.uid, &entry.keys, &entry.base, &mut out));
        out
    }

    /// The lines from a UID on.
    pub(super) fn encode_from(&self, uid: Uid) -> Vec<u8> {
        let mut out = Vec::new();
        self.from(uid).iter().for_each(|entry| Record::write(entry.uid, &entry.keys, &entry.base, &mut out));
        out
    }
}

impl From<Record> for Entry {
    fn from(record: Record) -> Self {
        let Record { uid, keys, base } = record;
        Self { uid, base: base.into(), keys: keys.into(), place: None, synced: None, indexed: false, scan: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(text: &[u8], before: Option<Table>) -> Table {
        Table::new(Uidlist::parse(text), before)
    }

    fn uid(n: u32) -> Uid {
        Uid::new(n).unwrap()
    }

    #[test]
    fn a_damaged_file_loses_nothing_that_is_known() {
        let good = table(b"3 V5 N9 Gb90cef286a74026beb430000c17ffdbc\n1 :a\n3 :b\n7 :c\n", None);
        let after = table(b"3 V5 N9 Gb90cef286a74026beb430000c17ffdbc\n1 :a\nxx\n7 :c\n", Some(good));
        assert_eq!(after.get(uid(3)).unwrap().base[..], *b"b");
        assert_eq!((after.uid_of(b"b"), after.needs_rewrite, after.next_uid()), (Some(uid(3)), true, uid(9)));
        let gone = table(b"", Some(after));
        assert_eq!((gone.iter().count(), gone.header.uid_validity.unwrap().value()), (3, 5));
    }

    #[test]
    fn a_compacted_file_counts_as_it_is() {
        let before = table(b"3 V5 N4 Gb90cef286a74026beb430000c17ffdbc\n1 :a\n3 :b\n", None);
        let after = table(b"3 V5 N9 Gb90cef286a74026beb430000c17ffdbc\n3 :b\n", Some(before));
        assert_eq!((after.uid_of(b"a"), after.next_uid()), (None, uid(9)));
    }

    #[test]
    fn sizes_and_identity_stand_in_name_or_keys() {
        let list = table(b"3 V5 N9\n1 :a,S=5,W=6\n2 S7 W8 Gabc :b\n", None);
        let of = |n| {
            let entry = list.get(uid(n)).unwrap();
            (entry.virtual_size(), entry.guid_text())
        };
        assert_eq!(of(1), (Some(6), &b"a,S=5,W=6"[..]));
        assert_eq!(of(2), (Some(8), &b"abc"[..]));
        let mut list = list;
        list.rename(b"a,S=5,W=6", b"a");
        list.rename(b"b", b"c");
        list.rename(b"c", b"a");
        let text = String::from_utf8(list.encode()).unwrap();
        assert!(text.ends_with("\n1 Ga,S=5,W=6 :a\n2 Gabc :c\n"), "{text}");
    }
}
