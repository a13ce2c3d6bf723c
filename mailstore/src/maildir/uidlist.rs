//! `dovecot-uidlist`: which UID a message has (`docs/formats/maildir.md`).
//!
//! Reading never fails: of a damaged file all lines count that make sense, so that a flaw costs the UIDs of its own line
//! and no others. Where UIDs do not ascend, the fewest lines that break the order are passed over.

use std::{collections::HashMap, fmt::Write};

use mailtypes::{Guid, Uid, UidValidity};

use super::name;

/// Longest file that is read.
pub(super) const FILE_LEN_MAX: u64 = 4 << 30;

/// The first line.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Header {
    pub(super) uid_validity: Option<UidValidity>,
    /// Larger than every UID that was given before the file was written last.
    pub(super) next_uid: Option<Uid>,
    pub(super) guid: Option<Guid>,
    /// Other keys, as they stand.
    pub(super) others: Vec<String>,
}

/// A line: a message.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Record {
    pub(super) uid: Uid,
    /// Key and value each, separated by spaces: as it stands between the UID and the name.
    pub(super) keys: Vec<u8>,
    pub(super) base: Vec<u8>,
}

/// What was read.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Uidlist {
    pub(super) header: Header,
    /// By ascending UID.
    pub(super) records: Vec<Record>,
    /// It is to be written anew when somebody has the lock: it is damaged, of an old version, or lacks something.
    pub(super) needs_rewrite: bool,
    /// The first line that was passed over, counted from 1.
    pub(super) damaged_line: Option<usize>,
    /// Bytes up to the end of the last whole line.
    pub(super) len: usize,
}

impl Record {
    fn parse(line: &[u8], version: Version) -> Option<Self> {
        let (uid, rest) = line.split_at(memchr::memchr(b' ', line)?);
        let uid = parse_number(uid).and_then(Uid::new).filter(|uid| *uid <= Uid::MAX_ON_DISK)?;
        let (keys, file) = match version {
            Version::One => (&[][..], rest.get(1..)?),
            Version::Three => {
                let at = memchr::memmem::find(rest, b" :")?;
                (rest.get(1..at.max(1))?, rest.get(at + 2..)?)
            }
        };
        let (base, _) = name::split(file);
        let keys_are_keys = keys.split(|b| *b == b' ').all(|key| key.is_empty() || is_key(key));
        (keys_are_keys && name::is_message(base)).then(|| Self { uid, keys: keys.to_vec(), base: base.to_vec() })
    }

    /// Adds the line.
    pub(super) fn write(uid: Uid, keys: &[u8], base: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(uid.value().to_string().as_bytes());
        if !keys.is_empty() {
            out.push(b' ');
            out.extend_from_slice(keys);
        }
        out.extend_from_slice(b" :");
        out.extend_from_slice(base);
        out.push(b'\n');
    }
}

/// The value of a key among a record's keys.
pub(super) fn value_of(keys: &[u8], key: u8) -> Option<&[u8]> {
    keys.split(|b| *b == b' ').find_map(|k| k.split_first().filter(|(first, _)| **first == key)).map(|(_, value)| value)
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Version {
    One,
    Three,
}

fn is_key(key: &[u8]) -> bool {
    key.first().is_some_and(u8::is_ascii_uppercase)
}

fn parse_number(digits: &[u8]) -> Option<u32> {
    std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()
}

impl Header {
    fn parse(line: &[u8]) -> Option<(Version, Self)> {
        let mut words = std::str::from_utf8(line).ok()?.split(' ');
        let mut header = Self::default();
        match words.next()? {
            "1" => {
                header.uid_validity = words.next().and_then(|n| parse_number(n.as_bytes())).and_then(UidValidity::new);
                header.next_uid = words.next().and_then(|n| parse_number(n.as_bytes())).and_then(Uid::new);
                Some((Version::One, header))
            }
            "3" => {
                for word in words.filter(|word| !word.is_empty()) {
                    header.take(word);
                }
                Some((Version::Three, header))
            }
            _ => None,
        }
    }

    fn take(&mut self, word: &str) {
        let value = word.get(1..).unwrap_or_default().as_bytes();
        match word.as_bytes().first() {
            Some(b'V') => self.uid_validity = parse_number(value).and_then(UidValidity::new),
            Some(b'N') => self.next_uid = parse_number(value).and_then(Uid::new),
            Some(b'G') => self.guid = Guid::parse(value).ok().filter(|guid| !guid.is_zero()),
            _ => self.others.push(word.to_owned()),
        }
    }

    fn is_whole(&self) -> bool {
        self.uid_validity.is_some() && self.next_uid.is_some() && self.guid.is_some()
    }

    /// Adds the line.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut line = String::from("3");
        // Writing to a string cannot fail.
        let _ = write!(line, " V{}", self.uid_validity.map_or(0, UidValidity::value));
        let _ = write!(line, " N{}", self.next_uid.unwrap_or(Uid::MIN));
        if let Some(guid) = self.guid {
            let _ = write!(line, " G{guid}");
        }
        self.others.iter().for_each(|other| {
            let _ = write!(line, " {other}");
        });
        line.push('\n');
        out.extend_from_slice(line.as_bytes());
    }
}

/// A line that says nothing, or what cannot be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Flaw {
    /// Where it begins, in bytes.
    pub(super) offset: u64,
    pub(super) what: String,
}

/// Lines told of one file.
const FLAW_COUNT_MAX: usize = 1000;

/// What is wrong with a file, line by line. An unfinished last line is being written.
pub(super) fn flaws(bytes: &[u8]) -> Vec<Flaw> {
    let len = memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
    let mut lines = bytes.get(..len).unwrap_or_default().split_inclusive(|b| *b == b'\n');
    let (mut flaws, mut offset) = (Vec::new(), 0);
    let first = lines.next().unwrap_or_default();
    let version = match Header::parse(first.strip_suffix(b"\n").unwrap_or(first)) {
        Some((version, header)) => {
            let missing = [
                (header.uid_validity.is_none(), "UIDVALIDITY"),
                (header.next_uid.is_none(), "the next UID"),
                (header.guid.is_none() && version == Version::Three, "the mailbox's GUID"),
            ];
            let missing: Vec<_> = missing.iter().filter(|(is, _)| *is).map(|(_, what)| *what).collect();
            if !missing.is_empty() {
                flaws.push(Flaw { offset, what: format!("the first line lacks {}", missing.join(" and ")) });
            }
            version
        }
        None => {
            flaws.push(Flaw { offset, what: "the first line is none: UIDVALIDITY cannot be told from it".to_owned() });
            Version::Three
        }
    };
    offset += first.len() as u64;
    let mut read = Vec::new();
    for line in lines {
        let text = line.strip_suffix(b"\n").unwrap_or(line);
        match Record::parse(text, version) {
            _ if text.is_empty() => {}
            Some(record) => read.push((offset, record.uid)),
            None => {
                let what = "the line makes no sense; the message that it was of gets a new UID".to_owned();
                flaws.push(Flaw { offset, what });
            }
        }
        offset += line.len() as u64;
    }
    let in_order = in_order(read.iter().map(|(_, uid)| *uid));
    for ((offset, uid), _) in read.into_iter().zip(in_order).filter(|(_, in_order)| !in_order) {
        let what = format!("UID {uid} stands out of order; its message gets a new one");
        flaws.push(Flaw { offset, what });
    }
    flaws.sort_by_key(|flaw| flaw.offset);
    flaws.truncate(FLAW_COUNT_MAX);
    flaws
}

/// Which of the UIDs belong to the longest sequence of them that ascends: one that is too large must not cost all that
/// come behind it. Time is O(n) where all ascend, else O(n log n).
fn in_order(uids: impl ExactSizeIterator<Item = Uid>) -> Vec<bool> {
    let uids: Vec<Uid> = uids.collect();
    if uids.is_sorted_by(|one, next| one < next) {
        return vec![true; uids.len()];
    }
    // Of the sequences of each length so far, the one whose last UID is the smallest: where that stands.
    let mut ends: Vec<(Uid, usize)> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(uids.len());
    // Of the longest ones the first that is whole: what came earlier counts.
    let mut longest = None;
    for (at, uid) in uids.iter().enumerate() {
        let len = ends.partition_point(|(last, _)| last < uid);
        before.push(len.checked_sub(1).and_then(|len| ends.get(len)).map(|(_, at)| *at));
        match ends.get_mut(len) {
            Some(end) => *end = (*uid, at),
            None => {
                ends.push((*uid, at));
                longest = Some(at);
            }
        }
    }
    let mut in_order = vec![false; uids.len()];
    while let Some(at) = longest {
        if let Some(is) = in_order.get_mut(at) {
            *is = true;
        }
        longest = before.get(at).copied().flatten();
    }
    in_order
}

impl Uidlist {
    /// Reads a file. An unfinished last line is being written.
    pub(super) fn parse(bytes: &[u8]) -> Self {
        let len = memchr::memrchr(b'\n', bytes).map_or(0, |at| at + 1);
        let mut list = Self { len, ..Self::default() };
        let mut lines = bytes.get(..len).unwrap_or_default().split(|b| *b == b'\n');
        let (version, header) = match Header::parse(lines.next().unwrap_or_default()) {
            Some(parsed) => parsed,
            None => {
                list.damaged_line = Some(1);
                (Version::Three, Header::default())
            }
        };
        list.needs_rewrite = version != Version::Three || !header.is_whole();
        list.header = header;
        list.read_records(lines, version, 2);
        list
    }

    /// Reads the first line alone; `None` where it is none of a known version, or not whole.
    pub(super) fn parse_header(bytes: &[u8]) -> Option<Header> {
        let line = bytes.get(..memchr::memchr(b'\n', bytes)?)?;
        Header::parse(line).map(|(_, header)| header)
    }

    fn read_records<'a>(&mut self, lines: impl Iterator<Item = &'a [u8]>, version: Version, first_line: usize) {
        let mut damaged_line = None;
        let mut read: Vec<(usize, Record)> = Vec::new();
        for (n, line) in lines.enumerate().filter(|(_, line)| !line.is_empty()) {
            match Record::parse(line, version) {
                Some(record) => read.push((first_line + n, record)),
                None => damaged_line = damaged_line.or(Some(first_line + n)),
            }
        }
        let in_order = in_order(read.iter().map(|(_, record)| record.uid));
        let out_of_order = read.iter().zip(&in_order).find(|(_, in_order)| !**in_order).map(|((n, _), _)| *n);
        self.damaged_line = [self.damaged_line, damaged_line, out_of_order].into_iter().flatten().min();
        self.needs_rewrite |= damaged_line.or(out_of_order).is_some();
        let (mut by_base, mut superseded) = (HashMap::new(), Vec::new());
        for ((_, record), _) in read.into_iter().zip(in_order).filter(|(_, in_order)| *in_order) {
            // A message that went and came back under its name: the line of its former life may still be there.
            superseded.extend(by_base.insert(record.base.clone(), record.uid));
            self.records.push(record);
        }
        if !superseded.is_empty() {
            superseded.sort_unstable();
            self.records.retain(|record| superseded.binary_search(&record.uid).is_err());
            self.needs_rewrite = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIST: &[u8] = b"3 V1795322988 N26 Gb90cef286a74026beb430000c17ffdbc Xmore\n\
        1 :1795322986.M754223P17387.mail,S=887,W=906\n\
        7 S887 W906 P0000abcd :1700000000.M1P2.other.host\n";

    fn uids(list: &Uidlist) -> Vec<u32> {
        list.records.iter().map(|record| record.uid.value()).collect()
    }

    fn encode(list: &Uidlist) -> Vec<u8> {
        let mut out = Vec::new();
        list.header.write(&mut out);
        list.records.iter().for_each(|record| Record::write(record.uid, &record.keys, &record.base, &mut out));
        out
    }

    #[test]
    fn the_file_of_the_format_page() {
        let list = Uidlist::parse(LIST);
        assert_eq!(encode(&list), LIST);
        assert_eq!((list.len, list.needs_rewrite, list.damaged_line), (LIST.len(), false, None));
        assert_eq!(value_of(&list.records[1].keys, b'P'), Some(&b"0000abcd"[..]));
        assert_eq!(value_of(&list.records[1].keys, b'W'), Some(&b"906"[..]));
        assert_eq!(value_of(&list.records[0].keys, b'W'), None);
    }

    #[test]
    fn version_1_is_read() {
        let list = Uidlist::parse(b"1 99 8\n3 a.b.c:2,S\n7 d\n");
        assert_eq!(list.header.uid_validity.unwrap().value(), 99);
        assert_eq!(list.header.next_uid.unwrap().value(), 8);
        assert!(list.needs_rewrite && uids(&list) == [3, 7] && list.records[0].base == b"a.b.c");
    }

    #[test]
    fn a_uid_that_is_too_large_costs_its_own_line_alone() {
        let list = Uidlist::parse(b"3 V5 N9 Gb90cef286a74026beb430000c17ffdbc\n1 :a\n4000000000 :b\n3 :c\n4 :d\n");
        assert_eq!((uids(&list), list.damaged_line, list.needs_rewrite), (vec![1, 3, 4], Some(3), true));
        let list = Uidlist::parse(b"3 V5 N9 Gb90cef286a74026beb430000c17ffdbc\n10 :a\n11 :b\n2 :c\n12 :d\n");
        assert_eq!((uids(&list), list.damaged_line), (vec![10, 11, 12], Some(4)));
    }

    #[test]
    fn each_flaw_is_told_with_its_place() {
        let told = |text: &[u8]| flaws(text).into_iter().map(|flaw| flaw.offset).collect::<Vec<_>>();
        assert_eq!(told(LIST), [0u64; 0]);
        assert_eq!(told(b"3 V5 N9 Gb90cef286a74026beb430000c17ffdbc\n1 :a\nrubbish\n3 :c\n2 :b\n4 :half"), [47, 60]);
        assert_eq!(told(b"?\n4 :c\n"), [0]);
        assert_eq!(told(b"3 V5\n"), [0]);
        assert_eq!(told(b"1 99 8\n3 a\n"), [0u64; 0]);
        assert_eq!(told(b""), [0]);
    }

    #[test]
    fn an_unfinished_line_is_not_read() {
        let list = Uidlist::parse(&[LIST, b"9 :half"].concat());
        assert_eq!((uids(&list), list.len, list.needs_rewrite), (vec![1, 7], LIST.len(), false));
    }

    #[test]
    fn damage_costs_its_own_line() {
        let text = b"3 V5 N9 Gb90cef286a74026beb430000c17ffdbc\n1 :a\nrubbish\n3 :c\n2 :b\n4 :c\n5 :e:2,S\n";
        let list = Uidlist::parse(text);
        // The line of UID 3 stands against that of 2, and is superseded by that of 4.
        assert_eq!((uids(&list), list.damaged_line), (vec![1, 2, 4, 5], Some(3)));
        assert!(list.needs_rewrite);
        let list = Uidlist::parse(b"?\n4 :c\n");
        assert_eq!((uids(&list), list.damaged_line), (vec![4], Some(1)));
        assert_eq!(Uidlist::parse(b""), Uidlist { damaged_line: Some(1), needs_rewrite: true, ..Uidlist::default() });
    }

    /// As Dovecot reads it: whoever gave the message its last UID told it to clients.
    #[test]
    fn of_two_lines_with_one_name_the_later_counts() {
        let text = b"3 V5 N9 Gb90cef286a74026beb430000c17ffdbc\n1 :a\n2 :b\n3 :a\n6 :a\n";
        let list = Uidlist::parse(text);
        assert_eq!((uids(&list), list.damaged_line, list.needs_rewrite), (vec![2, 6], None, true));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(lines in prop::collection::btree_map(1u32..500, "[a-z0-9.,=]{1,20}", 0..20)) {
            let mut list = Uidlist::parse(LIST);
            let mut seen = std::collections::HashSet::new();
            list.records = lines.iter().filter(|(_, base)| !base.starts_with('.') && seen.insert(base.as_str()))
                .map(|(uid, base)| Record { uid: Uid::new(*uid).unwrap(), keys: b"G1 W2".to_vec(), base: base.as_bytes().to_vec() })
                .collect();
            let read = Uidlist::parse(&encode(&list));
            prop_assert_eq!(&read.records, &list.records);
            prop_assert!(!read.needs_rewrite);
        }

        #[test]
        fn any_bytes_are_read(bytes in prop::collection::vec(prop::sample::select(b"13 VNG:ab\n,\xff0".to_vec()), 0..120)) {
            let list = Uidlist::parse(&bytes);
            prop_assert!(list.records.windows(2).all(|w| w[0].uid < w[1].uid));
            prop_assert_eq!(Uidlist::parse(&encode(&list)).records, list.records);
        }
    }
}
