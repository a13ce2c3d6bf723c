use std::{
    io::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use proptest::prelude::*;

use super::*;

const KINDS: [Compression; 5] =
    [Compression::Gzip, Compression::Bzip2, Compression::Xz, Compression::Zstd, Compression::Lz4];

/// Bytes in memory as a stored body; counts what is read.
#[derive(Debug, Default)]
struct InMemory {
    bytes: Vec<u8>,
    read: AtomicU64,
}

impl StoredBytes for InMemory {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn file_offset(&self) -> u64 {
        100
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize, CodecError> {
        let there = self.bytes.get(offset as usize..).unwrap_or_default();
        let len = there.len().min(buf.len());
        buf[..len].copy_from_slice(&there[..len]);
        self.read.fetch_add(len as u64, Ordering::Relaxed);
        Ok(len)
    }
}

fn compress(kind: Compression, plain: &[u8]) -> Vec<u8> {
    match kind {
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Bzip2 => {
            let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::default());
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Xz => {
            let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Zstd => zstd::stream::encode_all(plain, 3).unwrap(),
        Compression::Lz4 => {
            let mut out = [&lz4::MAGIC[..], &[0, 1, 0, 0]].concat();
            for chunk in plain.chunks(64 << 10) {
                let packed = lz4_flex::block::compress(chunk);
                out.extend((packed.len() as u32).to_be_bytes());
                out.extend(packed);
            }
            out
        }
    }
}

/// Text that compresses somewhat.
fn text(len: usize) -> Vec<u8> {
    (0..len as u64)
        .map(|n| b"abcdefgh \n"[(n.wrapping_mul(n >> 3).wrapping_mul(0x9e37_79b9) >> 11) as usize % 10])
        .collect()
}

fn plain_text(kind: Compression, stored: Vec<u8>, told: Option<u64>) -> PlainText {
    PlainText::new(Arc::new(InMemory { bytes: stored, ..InMemory::default() }), kind, told)
}

fn read_all(text: &mut PlainText) -> Result<Vec<u8>, CodecError> {
    let (mut all, mut buf) = (Vec::new(), vec![0; 10_000]);
    loop {
        match text.read(all.len() as u64, &mut buf)? {
            0 => return Ok(all),
            len => all.extend_from_slice(&buf[..len]),
        }
    }
}

#[test]
fn every_kind_is_known_by_its_magic_and_read() {
    for kind in KINDS {
        for len in [1, 100, 70_000, 1_000_000] {
            let plain = text(len);
            let stored = compress(kind, &plain);
            assert_eq!(Compression::of(&stored[..Compression::MAGIC_LEN.min(stored.len())]), Some(kind));
            for told in [None, Some(len as u64)] {
                let mut text = plain_text(kind, stored.clone(), told);
                assert_eq!(text.len().unwrap(), len as u64);
                assert!(read_all(&mut text).unwrap() == plain, "{kind:?}, {len}");
            }
        }
    }
    for plain in [&b"From: x\n"[..], b"", b"BZh9 is not it\n", b"BZh0\x31\x41\x59\x26\x53\x59", b"\x1f", b"Dovecot-LZ4"]
    {
        assert_eq!(Compression::of(plain), None, "{}", plain.escape_ascii());
    }
    assert_eq!(Compression::of(&compress(Compression::Bzip2, b"")), Some(Compression::Bzip2));
}

#[test]
fn concatenated_streams_are_one_text() {
    for kind in [Compression::Gzip, Compression::Bzip2, Compression::Xz, Compression::Zstd] {
        let stored = [compress(kind, b"one\n"), compress(kind, b"two\n")].concat();
        assert_eq!(read_all(&mut plain_text(kind, stored, Some(8))).unwrap(), b"one\ntwo\n", "{kind:?}");
    }
}

#[test]
fn a_header_costs_no_more_than_its_beginning() {
    for kind in [Compression::Gzip, Compression::Zstd, Compression::Lz4] {
        let stored = Arc::new(InMemory { bytes: compress(kind, &text(8 << 20)), ..InMemory::default() });
        let mut text = PlainText::new(Arc::clone(&stored) as _, kind, Some(8 << 20));
        text.read(0, &mut [0; 8192]).unwrap();
        assert!(stored.read.load(Ordering::Relaxed) <= 512 << 10, "{kind:?}: {stored_len:?}", stored_len = stored.read);
    }
}

#[test]
fn reading_on_decodes_everything_once() {
    let plain = text(3 << 20);
    for kind in KINDS {
        let stored = Arc::new(InMemory { bytes: compress(kind, &plain), ..InMemory::default() });
        let mut text = PlainText::new(Arc::clone(&stored) as _, kind, Some(plain.len() as u64));
        let mut at = 0;
        let mut buf = [0; 5000];
        while at < plain.len() {
            // Somewhat back each time, as who converts line ends might go.
            let from = at.saturating_sub(1000);
            let len = text.read(from as u64, &mut buf).unwrap();
            assert!(buf[..len] == plain[from..from + len]);
            at = from + len;
        }
        assert_eq!(stored.read.load(Ordering::Relaxed), stored.bytes.len() as u64, "{kind:?}");
    }
}

fn damage_of<T: std::fmt::Debug>(result: Result<T, CodecError>) -> (u64, &'static str) {
    match result {
        Err(CodecError::Damaged { offset, what }) => (offset, what),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_length_that_is_not_the_told_one_is_damage() {
    for kind in KINDS {
        for len in [100, 64 << 10, 400_000] {
            let stored = compress(kind, &text(len));
            let end = 100 + stored.len() as u64;
            let shorter = damage_of(read_all(&mut plain_text(kind, stored.clone(), Some(len as u64 - 1))));
            assert!(shorter.0 > 100 && shorter.0 <= end && shorter.1.contains("longer"), "{kind:?} {shorter:?}");
            let longer = damage_of(read_all(&mut plain_text(kind, stored, Some(len as u64 + 1))));
            assert!(longer.0 == end && longer.1.contains("shorter"), "{kind:?} {longer:?}");
        }
    }
}

#[test]
fn a_stream_that_is_cut_gives_what_comes_before() {
    let plain = text(600_000);
    for kind in KINDS {
        let stored = compress(kind, &plain);
        for cut in [stored.len() - 1, stored.len() / 2, 30] {
            // Every stream but that of chunks says where it ends.
            let mut text = plain_text(kind, stored[..cut].to_vec(), Some(plain.len() as u64));
            let (mut all, mut buf) = (Vec::new(), vec![0; 10_000]);
            let damage = loop {
                match text.read(all.len() as u64, &mut buf) {
                    Ok(len) => all.extend_from_slice(&buf[..len]),
                    Err(e) => break damage_of::<()>(Err(e)),
                }
            };
            assert!(plain.starts_with(&all), "{kind:?}, {cut}");
            assert!(damage.0 >= 100 && damage.0 <= 100 + cut as u64, "{kind:?}, {cut}, {damage:?}");
            // It says so again, and what comes before can still be had.
            assert_eq!(damage_of(text.read(all.len() as u64, &mut buf)), damage);
            assert!(all.is_empty() || text.read(0, &mut buf).unwrap() > 0);
        }
    }
}

#[test]
fn a_bomb_ends_at_what_was_told() {
    for kind in KINDS {
        let stored = compress(kind, &vec![b'a'; 50 << 20]);
        assert!(stored.len() < 1 << 20);
        let mut text = plain_text(kind, stored, Some(1000));
        assert!(
            damage_of(text.read(0, &mut vec![0; 1 << 20]).and_then(|_| text.read(1000, &mut [0]))).1.contains("longer")
        );
    }
}

#[test]
fn chunks_longer_than_any_are_refused() {
    let packed = lz4_flex::block::compress(b"text\n");
    let framed = |chunk_len: u32, packed_len: u32| {
        [&lz4::MAGIC[..], &chunk_len.to_be_bytes(), &packed_len.to_be_bytes(), &packed].concat()
    };
    let read = |stored| read_all(&mut plain_text(Compression::Lz4, stored, None));
    let len = packed.len() as u32;
    assert_eq!(read(framed(1 << 16, len)).unwrap(), b"text\n");
    assert_eq!(read(framed(5, len)).unwrap(), b"text\n");
    for (chunk_len, packed_len) in
        [(0, len), (4, len), ((1 << 20) + 1, len), (1 << 16, 0), (1 << 16, u32::MAX), (5, 99)]
    {
        damage_of(read(framed(chunk_len, packed_len)));
    }
    damage_of(read([&lz4::MAGIC[..], &[0, 1]].concat()));
    assert_eq!(read([&lz4::MAGIC[..], &[0, 1, 0, 0]].concat()).unwrap(), b"");
}

#[test]
fn what_is_encoded_is_read() {
    for len in [0, 1, 5000, 64 << 10, (64 << 10) + 1, 3 << 20] {
        for piece in [1 << 12, 1 << 20] {
            let plain = text(len);
            let mut encoder = Encoder::of(BodyCompression::Zstd(ZstdLevel::default())).unwrap();
            let mut stored = Vec::new();
            for bytes in plain.chunks(piece) {
                encoder.write(bytes).unwrap();
                stored.append(encoder.gathered().unwrap_or(&mut Vec::new()));
            }
            stored.extend(encoder.finish().unwrap());
            assert_eq!(Compression::of(&stored), Some(Compression::Zstd));
            assert!(read_all(&mut plain_text(Compression::Zstd, stored, Some(len as u64))).unwrap() == plain);
        }
    }
    assert_eq!((ZstdLevel::new(0), ZstdLevel::new(20)), (None, None));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn any_ranges_in_any_order(kind in prop::sample::select(KINDS.to_vec()), len in 1usize..700_000,
        ranges in prop::collection::vec((0usize..800_000, 0usize..100_000), 1..12)) {
        let plain = text(len);
        let mut text = plain_text(kind, compress(kind, &plain), Some(len as u64));
        for (from, count) in ranges {
            let mut buf = vec![0; count];
            let read = text.read(from as u64, &mut buf).unwrap();
            let expect = plain.get(from..(from + count).min(len)).unwrap_or_default();
            prop_assert!(&buf[..read] == expect, "{} bytes from {} of {}", count, from, len);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(kind in prop::sample::select(KINDS.to_vec()), len in 0usize..300,
        changes in prop::collection::vec((any::<u16>(), any::<u8>()), 0..4), told in prop::option::of(0u64..400)) {
        let mut stored = compress(kind, &text(len));
        for (at, byte) in changes {
            let at = usize::from(at) % stored.len();
            stored[at] = byte;
        }
        if let Ok(all) = read_all(&mut plain_text(kind, stored, told)) {
            prop_assert!(told.is_none_or(|told| told == all.len() as u64));
        }
    }
}
