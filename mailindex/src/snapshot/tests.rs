//! The annotated snapshot of the format page, and each rule for what is wrong in one.

use mailtypes::Uid;
use proptest::prelude::*;

use super::*;
use crate::state::State;

/// The page's example, with two of its messages and the keyword table cut to ten names.
fn example() -> Vec<u8> {
    let mut file = Vec::new();
    let mut put32 = |numbers: &[u32]| numbers.iter().for_each(|n| file.extend(n.to_le_bytes()));
    put32(&[0x0078_0307, 0, 24, 1, 0x6b02_745b, 0, 0x6b02_745b, 10, 2, 0, 1, 0, 10, 2, 10, 3, 40, 40, 0, 0x6b02_745e]);
    put32(&[0x6b02_745b, 0x6b02_3080, 1, 0, 0, 0, 0, 0, 0, 0]);
    put32(&[24, 0, 0, 0x0008_0000]);
    file.extend(b"dbox-hdr");
    file.extend([0; 4]);
    file.extend([0xb0; 16]);
    file.extend([0; 4]);
    file.extend([16, 0, 0, 0, 0, 0, 0, 0, 8, 0, 8, 0, 8, 0, 6, 0]);
    file.extend(b"modseq\0\0");
    file.extend(20u64.to_le_bytes());
    file.extend([2, 0, 0, 0, 0x6c, 6, 0, 0]);
    file.extend([0, 0, 0, 0, 0x5b, 0x74, 2, 0x6b, 16, 0, 4, 0, 4, 0, 5, 0]);
    file.extend(b"cache\0\0\0");
    let names = b"a\0b\0c\0d\0e\0f\0g\0h\0i\0j\0";
    file.extend([0x70, 0, 0, 0, 0, 0, 0, 0, 5, 0, 3, 0, 1, 0, 8, 0]);
    file.extend(b"keywords");
    file.extend(10u32.to_le_bytes());
    (0..10u32).for_each(|i| file.extend((u64::from(i * 2) << 32).to_le_bytes()));
    file.extend(names);
    file.resize(file.len() + 0x70 - 4 - 80 - names.len(), 0);
    let header_size = file.len() as u32;
    file[4..8].copy_from_slice(&header_size.to_le_bytes());
    file.extend([1, 0, 0, 0, 0x08, 0, 0, 0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    file.extend([2, 0, 0, 0, 0x13, 0x07, 0x03, 0, 0x14, 0, 0, 0, 0, 0, 0, 0, 0xdc, 0x16, 0, 0, 0, 0, 0, 0]);
    file
}

/// Found by fuzzing: a keyword table beside a field of no bytes (and so of no alignment) was decoded, and the snapshot
/// written of it, in which the field had become wide enough, was refused for its alignment.
#[test]
fn keywords_without_a_field_survive() {
    let mut file = example();
    let name = file.windows(8).position(|bytes| bytes == b"keywords").unwrap();
    file[name - 6..name - 2].fill(0);
    let state = decode(&file).unwrap().state;
    assert_eq!(state.keywords().len(), 10);
    let again = decode(&encode(&state, &SnapshotStamp::default()).unwrap()).unwrap().state;
    let keywords = again.extension("keywords").unwrap();
    assert_eq!((again.keywords().len(), keywords.record_size(), keywords.record_align()), (10, 2, 1));
}

/// The alignment of an extension without a field is not checked, and must not be met again when it gets one.
#[test]
fn an_alignment_of_nothing_is_forgotten() {
    let mut file = example();
    let name = file.windows(8).position(|bytes| bytes == b"dbox-hdr").unwrap();
    file[name - 4] = 3;
    let state = decode(&file).unwrap().state;
    assert_eq!(state.extension("dbox-hdr").unwrap().record_align(), 0);
}

#[test]
fn the_annotated_example() {
    let decoded = decode(&example()).unwrap();
    assert_eq!(decoded.problems, []);
    let state = decoded.state;
    assert_eq!((state.message_count(), state.seen_count(), state.next_uid()), (2, 1, Uid::new(10).unwrap()));
    let second = state.record_of(Uid::new(2).unwrap()).unwrap();
    assert_eq!(second.flags().to_string(), "\\Answered \\Flagged \\Draft");
    assert_eq!(second.keyword_bits().iter().collect::<Vec<_>>(), [0, 1, 2, 8, 9]);
    assert_eq!((second.modseq().value(), second.cache_offset()), (20, Some(5852)));
    let first = state.record(0).unwrap();
    assert_eq!(first.modseq().value(), 20, "zero means the extension header's value");
    assert!(first.keyword_bits().is_empty(), "rubbish in the spare keyword byte is not a keyword");
    assert!(!state.modseq_is_known(), "the counter is of another place of the log");
    assert_eq!(state.dbox_header().unwrap().guid.0, [0xb0; 16]);
    assert_eq!(state.cache_file_seq(), Some(0x6b02_745b));
}

#[test]
fn a_new_header_does_not_raise_the_modseqs_of_untouched_messages() {
    let state = decode(&example()).unwrap().state.with_modseq(30);
    let again = decode(&encode(&state, &SnapshotStamp::default()).unwrap()).unwrap().state;
    assert!(again.modseq_is_known());
    assert_eq!(again.highest_modseq().value(), 30);
    assert_eq!(again.record(0).unwrap().modseq().value(), 20);
}

fn patched(at: usize, bytes: &[u8]) -> Result<Decoded, SnapshotError> {
    let mut file = example();
    file[at..at + bytes.len()].copy_from_slice(bytes);
    decode(&file)
}

#[test]
fn fatal_and_fixable() {
    assert!(matches!(patched(0, &[6]), Err(SnapshotError::MajorVersion(6))));
    assert!(matches!(patched(12, &[0]), Err(SnapshotError::ByteOrder(0))));
    assert!(matches!(patched(4, &[119, 0, 0, 0]), Err(SnapshotError::Sizes { .. })));
    assert!(matches!(patched(8, &[7, 0]), Err(SnapshotError::Sizes { .. })));
    assert!(matches!(patched(16, &[0; 4]), Err(SnapshotError::IndexId)));
    assert!(matches!(patched(120, &[0xff; 4]), Err(SnapshotError::Extension { offset: 120, .. })));
    let last = example().len() - 24;
    assert!(matches!(patched(last, &[0; 4]), Err(SnapshotError::LastUid)));
    assert!(decode(&example()[..100]).is_err());

    let problems = |at, bytes: &[u8]| patched(at, bytes).unwrap().problems;
    assert!(matches!(problems(28, &[0; 4])[..], [SnapshotProblem::Header { field: "next_uid", found: 0 }, ..]));
    assert!(matches!(problems(28, &[2, 0])[..], [SnapshotProblem::Header { field: "next_uid", found: 2 }, ..]));
    assert!(matches!(problems(48, &[11])[..], [SnapshotProblem::Header { field: "first_recent_uid", .. }]));
    assert!(matches!(problems(40, &[2])[..], [SnapshotProblem::Header { field: "seen_messages_count", .. }]));
    assert_eq!(problems(last, &[1]), [SnapshotProblem::Order { dropped: 1 }]);
    let short = decode(&example()[..last]).unwrap();
    assert_eq!(short.problems, [SnapshotProblem::MissingRecords { missing: 1 }]);
    assert_eq!(short.state.message_count(), 1);
    assert_eq!(problems(1, &[9]), [], "a newer minor version is accepted");
    assert_eq!(patched(1, &[9]).unwrap().state.header().minor_version, 9, "and kept");
    assert_eq!(patched(1, &[2]).unwrap().state.header().log2_rotate_time.get(), 0, "rubbish in an old version");
}

#[test]
fn a_name_with_a_flipped_bit_is_the_one_that_is_missing() {
    let whole = decode(&example()).unwrap().state;
    for name in ["keywords", "modseq", "cache", "dbox-hdr"] {
        let at = example().windows(name.len()).position(|bytes| bytes == name.as_bytes()).unwrap();
        for bit in 0..name.len() * 8 {
            let mut file = example();
            file[at + bit / 8] ^= 1 << (bit % 8);
            let decoded = decode(&file).unwrap();
            assert_eq!(decoded.problems, [SnapshotProblem::ExtensionName { meant: name }], "{name}, bit {bit}");
            assert_eq!(encode(&decoded.state, &SnapshotStamp::default()), encode(&whole, &SnapshotStamp::default()));
        }
    }
    // What is no keyword table keeps its name; else nothing of the file could be read.
    let mut file = example();
    let at = file.windows(8).position(|bytes| bytes == b"keywords").unwrap();
    file[at] ^= 1;
    file[at + 8..at + 12].fill(0xff);
    assert_eq!(decode(&file).unwrap().problems, []);
    // Where there is one of that name, another is another.
    let two = example();
    let at = two.windows(6).position(|bytes| bytes == b"modseq").unwrap();
    let other = patched(at, b"modseX").unwrap();
    assert_eq!(other.problems, [], "more than one bit");
    assert!(other.state.extension("modseX").is_some());
}

#[test]
fn a_longer_base_header_survives() {
    let mut file = example();
    file.splice(120..120, *b"newfield");
    file[2] = 128;
    let size = u32::from_le_bytes(file[4..8].try_into().unwrap()) + 8;
    file[4..8].copy_from_slice(&size.to_le_bytes());
    let state = decode(&file).unwrap().state;
    let again = encode(&state, &SnapshotStamp::default()).unwrap();
    assert_eq!(&again[120..128], b"newfield");
    assert_eq!(decode(&again).unwrap().state.message_count(), 2);
}

#[test]
fn the_empty_state() {
    let mut replay = crate::replay::Replay::new(State::empty(), crate::replay::Limits::default());
    replay.enter(&crate::log::RawLogHeader::first(7, 2, 1, 1)).unwrap();
    let file = encode(&replay.finish(), &SnapshotStamp { log2_rotate_time: u32::MAX }).unwrap();
    let decoded = decode(&file).unwrap();
    assert_eq!(decoded.problems, []);
    assert_eq!(decoded.state.header().log2_rotate_time.get(), u32::MAX);
    assert_eq!(decoded.state.message_count(), 0);
}

proptest! {
    #[test]
    fn damaged_files_are_survived(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut file = example();
        for (at, byte) in changes {
            let at = at.index(file.len());
            file[at] = byte;
        }
        file.truncate(cut.index(file.len() * 4).max(1));
        if let Ok(decoded) = decode(&file) {
            let state = decoded.state;
            prop_assert!(state.records_from(0).map(|r| r.uid()).is_sorted());
            prop_assert!(state.last_uid().is_none_or(|uid| uid < state.next_uid()));
            if let Ok(again) = encode(&state, &SnapshotStamp::default()) {
                let again = decode(&again).unwrap().state;
                prop_assert_eq!(again.message_count(), state.message_count());
            }
        }
    }
}
