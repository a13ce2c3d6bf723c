//! Which messages a file of messages holds, whatever became of it (`docs/formats/dbox.md`, File structure; Rebuild).
//!
//! # Invariants
//!
//! 1. A message that is whole is found as it is. What lies between is a stretch that ends where the next thing begins that
//!    looks like a message header, or where the map says that a message begins.
//! 2. Of a stretch a message is made only if something vouches for it: the map, or metadata with a GUID behind a body. What
//!    a writer had not finished when it was stopped is none.
//! 3. Read in windows; lengths in the file are checked against the file's before they are believed.
//! 4. What bodies hold that looks like headers costs a look at some hundred bytes each: what lies where such a thing says that
//!    it ends is parsed only if it is metadata to its end, and found out only once where that takes long.

use std::{collections::HashSet, ops::Range};

use mailfs::File;

use crate::dbox::{DboxError, FileHeader, MAGIC_POST, MAGIC_PRE, MessageHeader, Metadata};

/// Bytes read at once.
const WINDOW_LEN: usize = 256 << 10;

/// Metadata that is read with the first look behind a body; more only if it is longer.
const METADATA_FIRST_LEN: usize = 1 << 10;

/// Where the first message begins in every file written since 2009.
const USUAL_START: u64 = 16;

/// A message that was found.
#[derive(Debug)]
pub(super) struct Piece {
    /// Where its header is, or was.
    pub(super) offset: u64,
    /// Where what belongs to it ends.
    pub(super) end: u64,
    /// The body as stored.
    pub(super) body: Range<u64>,
    /// What stands behind it, as far as it can be read.
    pub(super) metadata: Metadata,
    /// Nothing of it is damaged.
    pub(super) is_whole: bool,
}

/// How a file looks.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Scanned {
    /// When it was made, Unix seconds, if it says so.
    pub(super) created: Option<u32>,
    /// Something in it is not as it must be.
    pub(super) is_damaged: bool,
}

/// Where the map says that a message lies: its beginning, and its end if known.
pub(super) type Hint = (u64, Option<u64>);

/// Goes over a file up to `len` and tells of each message in the order of the file. `hints` ascend.
pub(super) fn scan(
    file: &dyn File,
    len: u64,
    hints: &[Hint],
    each: &mut dyn FnMut(Piece) -> Result<(), DboxError>,
) -> Result<Scanned, DboxError> {
    let window = |ahead| Window { file, len, start: 0, bytes: Vec::new(), ahead };
    let mut scan = Scan {
        window: window(WINDOW_LEN),
        behind: window(METADATA_FIRST_LEN + MAGIC_POST.len()),
        no_metadata: HashSet::new(),
        hints,
        header_len: MessageHeader::LEN as u64,
    };
    scan.run(each)
}

struct Scan<'f> {
    window: Window<'f>,
    /// Where messages end that reach beyond the other one.
    behind: Window<'f>,
    /// Places behind bodies that look like metadata for long, and are none.
    no_metadata: HashSet<u64>,
    hints: &'f [Hint],
    /// Bytes of each message header.
    header_len: u64,
}

impl Scan<'_> {
    fn run(&mut self, each: &mut dyn FnMut(Piece) -> Result<(), DboxError>) -> Result<Scanned, DboxError> {
        let len = self.window.len;
        let mut scanned = Scanned::default();
        let mut at = match FileHeader::parse(self.window.get(0, FileHeader::LEN_MAX)?) {
            Ok((header, end)) => {
                self.header_len = header.message_header_len.into();
                scanned.created = Some(header.created);
                end as u64
            }
            Err(e) => {
                not_fs(e)?;
                scanned.is_damaged = true;
                // Nobody writes anything else there.
                let hinted = self.hints.first().map_or(USUAL_START, |(offset, _)| *offset);
                match self.next_header(0, USUAL_START)? {
                    Some(found) => found.min(hinted),
                    None => hinted,
                }
            }
        };
        while at < len {
            if let Some(piece) = self.whole(at)? {
                at = piece.end;
                each(piece)?;
                continue;
            }
            scanned.is_damaged = true;
            let next = self.next_start(at)?;
            if let Some(piece) = self.broken(at, next)? {
                each(piece)?;
            }
            at = next;
        }
        Ok(scanned)
    }

    /// The message that begins here, if nothing is wrong with it.
    fn whole(&mut self, at: u64) -> Result<Option<Piece>, DboxError> {
        let Some(header) = self.header(at)? else { return Ok(None) };
        let start = at + self.header_len;
        let body_end = start.checked_add(header.body_len).filter(|end| *end <= self.window.len);
        let Some(body_end) = body_end.filter(|end| !self.no_metadata.contains(end)) else { return Ok(None) };
        for want in [METADATA_FIRST_LEN, Metadata::LEN_MAX] {
            let bytes = self.behind(body_end, want + MAGIC_POST.len())?;
            let is_all = bytes.len() < want;
            let Some(lines) = bytes.strip_prefix(&MAGIC_POST) else { return Ok(None) };
            match are_metadata(lines) {
                Some(true) => {
                    let Ok((metadata, used)) = Metadata::parse(lines, body_end) else { return Ok(None) };
                    let end = body_end + (MAGIC_POST.len() + used) as u64;
                    return Ok(Some(Piece { offset: at, end, body: start..body_end, metadata, is_whole: true }));
                }
                None if !is_all => {}
                Some(false) | None => break,
            }
        }
        self.no_metadata.insert(body_end);
        Ok(None)
    }

    /// Bytes behind a body, without moving the window there.
    fn behind(&mut self, at: u64, want: usize) -> Result<&[u8], DboxError> {
        let window = if self.window.holds(at, want).is_some() { &mut self.window } else { &mut self.behind };
        window.get(at, want)
    }

    /// What can be told of a message of which something is damaged.
    fn broken(&mut self, at: u64, next: u64) -> Result<Option<Piece>, DboxError> {
        let is_hinted = self.hints.binary_search_by_key(&at, |(offset, _)| *offset).is_ok();
        let start = at + self.header_len;
        if start >= next {
            return Ok(None);
        }
        let told = match self.header(at)? {
            Some(header) => start.checked_add(header.body_len).filter(|end| *end <= next),
            None => None,
        };
        let behind = self.last_metadata(start, next)?;
        let (body, metadata) = match behind {
            Some((end, metadata)) => (start..end, metadata),
            None => (start..told.unwrap_or(next), Metadata::default()),
        };
        let is_vouched_for = is_hinted || metadata.guid().is_some();
        if !is_vouched_for || self.is_blank(&body)? {
            return Ok(None);
        }
        Ok(Some(Piece { offset: at, end: next, body, metadata, is_whole: false }))
    }

    fn header(&mut self, at: u64) -> Result<Option<MessageHeader>, DboxError> {
        let bytes = self.window.get(at, MessageHeader::LEN)?;
        Ok(MessageHeader::parse(bytes, at).ok())
    }

    /// Where the stretch ends that begins here.
    fn next_start(&mut self, at: u64) -> Result<u64, DboxError> {
        let behind = self.hints.partition_point(|(offset, _)| *offset <= at);
        let end = behind.checked_sub(1).and_then(|before| self.hints.get(before)?.1).filter(|end| *end > at);
        let next = self.hints.get(behind).map(|(offset, _)| *offset);
        let hinted = end.into_iter().chain(next).fold(self.window.len, u64::min);
        Ok(self.next_header(at + 1, hinted)?.unwrap_or(hinted))
    }

    /// The first thing that looks like a message header from here to there.
    fn next_header(&mut self, mut from: u64, to: u64) -> Result<Option<u64>, DboxError> {
        while from < to {
            let bytes = self.window.get(from, WINDOW_LEN / 2)?;
            let Some(last) = bytes.len().checked_sub(MessageHeader::LEN) else { return Ok(None) };
            for found in memchr::memmem::find_iter(bytes, &MAGIC_PRE) {
                let offset = from + found as u64;
                if offset >= to || found > last {
                    break;
                }
                if looks_like_header(bytes.get(found..).unwrap_or_default()) {
                    return Ok(Some(offset));
                }
            }
            from += (last + 1) as u64;
        }
        Ok(None)
    }

    /// The last lines of metadata in a range, and where the body before them ends.
    fn last_metadata(&mut self, from: u64, to: u64) -> Result<Option<(u64, Metadata)>, DboxError> {
        let from = from.max(to.saturating_sub((Metadata::LEN_MAX + MAGIC_POST.len()) as u64));
        let tail = self.window.get(from, usize::try_from(to - from).unwrap_or(usize::MAX))?;
        let Some(at) = memchr::memmem::rfind(tail, &MAGIC_POST) else { return Ok(None) };
        let lines = tail.get(at + MAGIC_POST.len()..).unwrap_or_default();
        let metadata = Metadata::parse(lines, from).map_or_else(|_| Metadata::parse_rest(lines), |(known, _)| known);
        Ok(Some((from + at as u64, metadata)))
    }

    /// Whether nothing stands there but zeros.
    fn is_blank(&mut self, range: &Range<u64>) -> Result<bool, DboxError> {
        let mut at = range.start;
        while at < range.end {
            let want = usize::try_from(range.end - at).unwrap_or(WINDOW_LEN).min(WINDOW_LEN);
            let bytes = self.window.get(at, want)?;
            if bytes.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            if bytes.is_empty() {
                break;
            }
            at += bytes.len() as u64;
        }
        Ok(true)
    }
}

/// Whether these are lines of metadata up to the empty one, without anything in them that nobody writes there: where a line
/// end is damaged, what follows is taken for more of the line. `None`: so far.
fn are_metadata(bytes: &[u8]) -> Option<bool> {
    let mut before = b'\n';
    for byte in bytes {
        match byte {
            b'\n' if before == b'\n' => return Some(true),
            b'\n' => {}
            control if control.is_ascii_control() => return Some(false),
            _ => {}
        }
        before = *byte;
    }
    None
}

/// Stricter than a reader is: what bodies hold must not be taken for it.
fn looks_like_header(bytes: &[u8]) -> bool {
    let blank = bytes.get(3..13).is_some_and(|bytes| bytes.iter().all(|byte| *byte == b' '));
    blank && MessageHeader::parse(bytes, 0).is_ok()
}

/// Damage is what is looked for here; a disk that fails is another matter.
fn not_fs(e: DboxError) -> Result<(), DboxError> {
    match e {
        DboxError::Damaged { .. } | DboxError::Refused(_) => Ok(()),
        fs @ DboxError::Fs(_) => Err(fs),
    }
}

/// A piece of a file in memory.
struct Window<'f> {
    file: &'f dyn File,
    /// Where the file is taken to end.
    len: u64,
    start: u64,
    bytes: Vec<u8>,
    /// Bytes read at once at least.
    ahead: usize,
}

impl Window<'_> {
    /// How many bytes there are from `at` on.
    fn there(&self, at: u64) -> usize {
        usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX)
    }

    /// Where in memory so many bytes from `at` on begin, if they are all here that there are.
    fn holds(&self, at: u64, want: usize) -> Option<usize> {
        let from = usize::try_from(at.checked_sub(self.start)?).ok()?;
        (from.checked_add(want.min(self.there(at)))? <= self.bytes.len()).then_some(from)
    }

    /// Bytes from `at` on, fewer only at the end.
    fn get(&mut self, at: u64, want: usize) -> Result<&[u8], DboxError> {
        let there = self.there(at);
        let want = want.min(there);
        if self.holds(at, want).is_none() {
            self.bytes.resize(want.max(self.ahead.min(there)), 0);
            let read = self.file.read_at(&mut self.bytes, at)?;
            self.bytes.truncate(read);
            self.start = at;
        }
        let from = usize::try_from(at.saturating_sub(self.start)).unwrap_or(usize::MAX);
        let rest = self.bytes.get(from..).unwrap_or_default();
        Ok(rest.get(..want).unwrap_or(rest))
    }
}

#[cfg(test)]
mod tests {
    use std::{
        path::Path,
        sync::{
            Arc,
            atomic::{AtomicU64, Ordering},
        },
        time::SystemTime,
    };

    use mailfs::{FileHandle, FileSystem, FileSystemExt, LockKind, OpenMode, sim::SimDisk};
    use proptest::prelude::*;

    use super::*;

    const GUIDS: [&str; 3] =
        ["b1a2ac0aab77026b59260000c17ffdb1", "b1a2ac0aab77026b59260000c17ffdb2", "b1a2ac0aab77026b59260000c17ffdb3"];

    fn body(n: usize) -> Vec<u8> {
        format!("Subject: {n}\n\nthe text of {n}\n").into_bytes()
    }

    /// Three messages, and where each begins.
    fn file() -> (Vec<u8>, Vec<Hint>) {
        let mut bytes = Vec::new();
        let mut places = Vec::new();
        FileHeader::new(0x6b02_77ab).write(&mut bytes);
        for (n, guid) in GUIDS.iter().enumerate() {
            let start = bytes.len() as u64;
            let body = body(n);
            MessageHeader::new(body.len() as u64).write(&mut bytes);
            bytes.extend(body);
            bytes.extend(format!("\n\x01\x03\nR6b0277ab\nV18\nG{guid}\nBINBOX\n\n").bytes());
            places.push((start, Some(bytes.len() as u64)));
        }
        (bytes, places)
    }

    /// Body, GUID, and whether it is whole.
    type Found = (Vec<u8>, Option<String>, bool);

    fn scanned(bytes: &[u8], hints: &[Hint]) -> (Vec<Found>, Scanned) {
        let fs: Arc<dyn FileSystem> = SimDisk::new().as_file_system();
        let path = Path::new("/m.1");
        fs.write_atomic(path, bytes, 0o600, true).unwrap();
        let file = fs.open(path, OpenMode::Read).unwrap();
        let mut found = Vec::new();
        let scanned = scan(&*file, bytes.len() as u64, hints, &mut |piece| {
            let body = &bytes[piece.body.start as usize..piece.body.end as usize];
            assert!(piece.offset < piece.end && piece.end <= bytes.len() as u64);
            found.push((body.to_vec(), piece.metadata.guid().map(|guid| guid.to_string()), piece.is_whole));
            Ok(())
        });
        (found, scanned.unwrap())
    }

    #[test]
    fn a_sound_file_is_as_it_is() {
        let (bytes, _) = file();
        let (found, scanned) = scanned(&bytes, &[]);
        let expected: Vec<_> = (0..3).map(|n| (body(n), Some(GUIDS[n].to_owned()), true)).collect();
        assert_eq!(found, expected);
        assert_eq!(scanned, Scanned { created: Some(0x6b02_77ab), is_damaged: false });
    }

    #[test]
    fn rubbish_between_messages_costs_none() {
        let (mut bytes, places) = file();
        let at = places[1].0 as usize;
        bytes.splice(at..at, *b"rubbish");
        let (found, scanned) = scanned(&bytes, &[]);
        assert_eq!(found.len(), 3);
        assert!(scanned.is_damaged && found.iter().all(|(_, _, is_whole)| *is_whole));
    }

    #[test]
    fn a_damaged_header_costs_no_body() {
        for damage in [0..1, 13..29, 0..30] {
            let (mut bytes, places) = file();
            let at = places[1].0 as usize;
            bytes[at + damage.start..at + damage.end].fill(b'?');
            for hints in [&[][..], &places[..]] {
                let (found, scanned) = scanned(&bytes, hints);
                assert_eq!(found[1], (body(1), Some(GUIDS[1].to_owned()), false));
                assert!(found[0].2 && found[2].2 && scanned.is_damaged);
            }
        }
    }

    #[test]
    fn a_damaged_file_header_costs_nothing() {
        let (mut bytes, places) = file();
        bytes[..16].fill(0);
        for hints in [&[][..], &places[..]] {
            let (found, scanned) = scanned(&bytes, hints);
            assert_eq!(found.iter().filter(|found| found.2).count(), 3);
            assert_eq!((scanned.created, scanned.is_damaged), (None, true));
        }
    }

    #[test]
    fn what_the_map_knows_is_found_without_headers_and_metadata() {
        let (mut bytes, places) = file();
        // The end of one message, and the beginning of the next.
        let at = places[1].0 as usize;
        bytes[at - 60..at + 30].fill(0);
        assert_eq!(scanned(&bytes, &[]).0.len(), 2, "the second is taken for the end of the first");
        let (found, _) = scanned(&bytes, &places);
        assert_eq!(found.len(), 3);
        assert!(found[0].0.starts_with(b"Subject: 0"));
        assert_eq!(found[1], (body(1), Some(GUIDS[1].to_owned()), false));
    }

    #[test]
    fn what_was_not_finished_is_no_message() {
        let (bytes, places) = file();
        let last = places[2].0 as usize;
        for len in last + 1..bytes.len() {
            let (found, scanned) = scanned(&bytes[..len], &[]);
            let without_guid = len < bytes.len() - 8;
            assert!(scanned.is_damaged);
            assert_eq!(found.len(), if without_guid { 2 } else { 3 }, "{len}");
            // One that the map counts was whole once.
            let (found, _) = self::scanned(&bytes[..len], &places);
            assert_eq!(found.len(), if len > last + 30 { 3 } else { 2 }, "{len}");
        }
    }

    /// Counts what is read.
    #[derive(Debug)]
    struct Counted {
        file: FileHandle,
        read: AtomicU64,
    }

    impl File for Counted {
        fn read_at(&self, buf: &mut [u8], offset: u64) -> mailfs::Result<usize> {
            self.read.fetch_add(buf.len() as u64, Ordering::Relaxed);
            self.file.read_at(buf, offset)
        }
        fn write_at(&self, data: &[u8], offset: u64) -> mailfs::Result<()> {
            self.file.write_at(data, offset)
        }
        fn set_len(&self, len: u64) -> mailfs::Result<()> {
            self.file.set_len(len)
        }
        fn sync_data(&self) -> mailfs::Result<()> {
            self.file.sync_data()
        }
        fn metadata(&self) -> mailfs::Result<mailfs::Metadata> {
            self.file.metadata()
        }
        fn try_lock(&self, kind: LockKind) -> mailfs::Result<bool> {
            self.file.try_lock(kind)
        }
        fn unlock(&self) -> mailfs::Result<()> {
            self.file.unlock()
        }
        fn try_flock(&self) -> mailfs::Result<bool> {
            self.file.try_flock()
        }
        fn unflock(&self) -> mailfs::Result<()> {
            self.file.unflock()
        }
        fn set_permissions(&self, mode: u32, gid: Option<u32>) -> mailfs::Result<()> {
            self.file.set_permissions(mode, gid)
        }
        fn set_modified(&self, time: SystemTime) -> mailfs::Result<()> {
            self.file.set_modified(time)
        }
    }

    /// Headers in a body that lead to what looks like metadata for long, and some that lead elsewhere.
    #[test]
    fn what_looks_like_headers_costs_little() {
        const COUNT: usize = 5000;
        let (first, places) = file();
        let (start, end) = (places[0].0 as usize, places[0].1.unwrap() as usize);
        for leads_far in [true, false] {
            let mut bytes = first[..start].to_vec();
            bytes.extend(b"a header was here once ");
            let post = bytes.len() + COUNT * MessageHeader::LEN + 100;
            for n in 0..COUNT {
                let begins = bytes.len() + MessageHeader::LEN;
                let body_len = if leads_far { post - begins } else { 300_000 + n };
                MessageHeader::new(body_len as u64).write(&mut bytes);
            }
            bytes.resize(post, b'x');
            bytes.extend(MAGIC_POST);
            bytes.extend(b"a\n".repeat(600_000));
            bytes.extend(&first[start..end]);
            let fs: Arc<dyn FileSystem> = SimDisk::new().as_file_system();
            fs.write_atomic(Path::new("/m.1"), &bytes, 0o600, true).unwrap();
            let file = fs.open(Path::new("/m.1"), OpenMode::Read).unwrap();
            let counted = Counted { file, read: AtomicU64::new(0) };
            let mut found = Vec::new();
            let scanned = scan(&counted, bytes.len() as u64, &[], &mut |piece| {
                found.push(piece.is_whole);
                Ok(())
            });
            assert!(scanned.unwrap().is_damaged && found.last() == Some(&true));
            let read = counted.read.into_inner();
            assert!(read < 12 * bytes.len() as u64, "{read} of {}", bytes.len());
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { rng_seed: proptest::test_runner::RngSeed::Fixed(17), ..ProptestConfig::default() })]
        #[test]
        fn any_damage_is_got_over(at in 0..400usize, len in 1..200usize, fill: u8, hinted: bool) {
            let (mut bytes, places) = file();
            let end = (at + len).min(bytes.len());
            bytes.get_mut(at..end).unwrap_or_default().fill(fill);
            let hints = if hinted { &places[..] } else { &[] };
            let (found, _) = scanned(&bytes, hints);
            // Messages that were not touched are found whole.
            for (n, (start, stop)) in places.iter().enumerate() {
                if end as u64 <= *start && at >= 16 || at as u64 >= stop.unwrap() {
                    prop_assert!(found.contains(&(body(n), Some(GUIDS[n].to_owned()), true)), "{n}");
                }
            }
        }
    }
}
