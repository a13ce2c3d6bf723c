//! Files in which this and that is damaged.

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
fn damaged_metadata_cost_no_body() {
    let rubbish = [&b"\0\0\0\0"[..], b"\x01\x02N          zz", b"G1\x01\n", &[0xff; 40]];
    for (n, rubbish) in (0..3).flat_map(|n| rubbish.map(|rubbish| (n, rubbish))) {
        let (mut bytes, places) = file();
        // A body that holds what looks like a message.
        let inner = [&bytes[places[1].0 as usize..places[1].1.unwrap() as usize], b"the rest\n"].concat();
        let (start, end) = (places[n].0 as usize, places[n].1.unwrap() as usize);
        let mut message = Vec::new();
        MessageHeader::new(inner.len() as u64).write(&mut message);
        message.extend(&inner);
        message.extend(MAGIC_POST);
        message.extend(rubbish);
        bytes.splice(start..end, message);
        let hints = [(start as u64, None)];
        for hints in [&[][..], &hints[..]] {
            let (found, scanned) = scanned(&bytes, hints);
            let bodies = found.iter().map(|found| &found.0).collect::<Vec<_>>();
            assert!(scanned.is_damaged);
            // Of the last one nobody knows whether it was finished, unless the map does.
            if n < 2 || !hints.is_empty() {
                assert!(bodies.contains(&&inner), "{n} {rubbish:?} {bodies:?}");
                assert_eq!(found.iter().filter(|found| found.2).count(), 2);
            }
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
