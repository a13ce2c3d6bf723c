//! Dumps of good and of damaged files.

use proptest::prelude::*;
use zerocopy::IntoBytes;

use super::*;
use crate::log::RawLogHeader;

fn log() -> Vec<u8> {
    let mut file = RawLogHeader::first(7, 2, 5, 1).as_bytes().to_vec();
    file.extend(b"\x80\x80\x80\x84\x02\0\0\x10\x01\0\0\0\x08\0\0\0");
    file.extend(b"\x80\x80\x80\x86\0\x04\0\x10\0\0\x03\0k\"1\0\x01\0\0\0\x01\0\0\0");
    file
}

fn text(kind: FileKind, file: &[u8]) -> String {
    let mut out = String::new();
    dump(kind, file, Format::Text, &mut out).unwrap();
    out
}

#[test]
fn a_log_as_text_and_json() {
    let lines = text(FileKind::Log, &log());
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines[1], "      40  append size=16 external=true modseq=2 messages=uid:1 flags:8");
    assert_eq!(
        lines[2],
        "      56  keyword-update size=24 external=true modseq=3 action=add keyword=\"k\\\"1\" uids=1"
    );
    assert_eq!(lines[3], "      80  end complete_to=80 state=complete");
    let mut json = String::new();
    dump_log(&log(), Format::Json, &mut json).unwrap();
    let line = json.lines().nth(2).unwrap();
    assert_eq!(
        line,
        "{\"kind\":\"keyword-update\",\"offset\":56,\"size\":24,\"external\":true,\"modseq\":3,\"action\":\"add\",\
         \"keyword\":\"k\\\"1\",\"uids\":[\"1\"]}"
    );
}

#[test]
fn a_damaged_log_is_read_on_behind_the_damage() {
    let mut file = log();
    file[40..48].fill(0);
    let dump = text(FileKind::Log, &file);
    assert!(dump.contains("      40  problem what=\"the log is torn at offset 40\""), "{dump}");
    assert!(dump.contains("      56  resumed skipped=16"), "{dump}");
    assert!(dump.contains("keyword-update"), "{dump}");
    assert!(dump.contains("complete_to=40 state=torn"), "{dump}");
    let mut marked = log();
    marked[4..8].fill(0);
    assert!(text(FileKind::Log, &marked).contains("marked as corrupted"));
    assert!(text(FileKind::Log, b"\x01\x03").contains("problem"));
}

#[test]
fn files_are_told_apart() {
    for (name, bytes, kind) in [
        ("a/dovecot.index.log.2", &b""[..], Some(FileKind::Log)),
        ("dovecot.map.index", b"\x07\x03\x78\x00", Some(FileKind::Index)),
        ("dovecot.index.backup", b"", Some(FileKind::Index)),
        ("dovecot.index.cache", b"junk", Some(FileKind::Cache)),
        ("renamed", b"\x01\x08\x01\x00....", Some(FileKind::Cache)),
        ("renamed", b"\x01\x03\x28\x00....", Some(FileKind::Log)),
        ("dovecot.mailbox.log", b"", None),
        ("u.1", b"2 M1e C", None),
    ] {
        assert_eq!(detect(name, bytes), kind, "{name}");
    }
}

proptest! {
    #[test]
    fn any_file_can_be_dumped(
        kind in prop::sample::select(vec![FileKind::Log, FileKind::Index, FileKind::Cache]),
        start in prop::sample::select(vec![&b"\x01\x03\x28\0"[..], b"\x07\x03\x78\0", b"\x01\x08\x01\0", b""]),
        bytes in prop::collection::vec(prop_oneof![Just(0u8), Just(0x80), 0u8..0x20, any::<u8>()], 0..300),
        json in any::<bool>(),
    ) {
        let file = [start, &bytes].concat();
        let mut out = String::new();
        let format = if json { Format::Json } else { Format::Text };
        prop_assert!(dump(kind, &file, format, &mut out).is_ok());
        prop_assert!(out.lines().all(|line| !line.chars().any(char::is_control)), "{out:?}");
    }
}
