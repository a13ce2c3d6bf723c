//! A large mbox opens in bounded memory, whether its messages tell their lengths or not. `CULVER_MBOX_LEN` is the file's
//! length in bytes; without it the file is small enough for every run of the tests.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "these are tests")]

use std::{
    fs::File,
    io::{Seek, SeekFrom, Write},
    path::Path,
    sync::Arc,
};

use mailfs::RealDisk;
use mailindex::engine::{Env, EnvOptions};
use mailstore::{
    Append, Store,
    mbox::{MboxOptions, MboxPlaces, MboxStorage},
};

/// Without the variable.
const LEN: u64 = 128 << 20;
/// Bytes of one message's body; of zeros, which the disk need not hold.
const BODY_LEN: u64 = 1 << 20;
/// What opening and reading may take beside what the process had before.
const MEMORY_MAX: u64 = 48 << 20;

/// The most memory that the process has had, in bytes.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

fn make(path: &Path, len: u64, tells_lengths: bool) -> u32 {
    let (mut file, mut count) = (File::create(path).unwrap(), 0);
    while file.stream_position().unwrap() < len {
        count += 1;
        let length = if tells_lengths { format!("Content-Length: {}\n", BODY_LEN + 1) } else { String::new() };
        write!(file, "From a@b  Thu Nov 29 22:33:52 2001\nSubject: {count}\n{length}\n").unwrap();
        file.seek(SeekFrom::Current(i64::try_from(BODY_LEN).unwrap())).unwrap();
        file.write_all(b"\n\n").unwrap();
    }
    count
}

#[test]
fn a_large_file_opens_in_bounded_memory() {
    let len = std::env::var("CULVER_MBOX_LEN").map_or(LEN, |len| len.parse().unwrap());
    for tells_lengths in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        let count = make(&dir.path().join("inbox"), len, tells_lengths);
        let before = peak();
        let env = Env::new(Arc::new(RealDisk::new()), EnvOptions::default());
        let storage = MboxStorage::open(&env, dir.path(), &MboxPlaces::default(), MboxOptions::default()).unwrap();
        let store = Store::of(Arc::new(storage));
        let inbox = store.mailbox("INBOX").unwrap();
        let view = inbox.view().unwrap();
        assert_eq!(view.len() as u32, count);
        let last = view.view().uids().last().unwrap();
        let mut body = view.view().body(last).unwrap();
        let mut piece = vec![0; 64 << 10];
        let mut read = 0;
        loop {
            match body.read_at(mailstore::Section::WHOLE, read, &mut piece).unwrap() {
                0 => break,
                more => read += more as u64,
            }
        }
        assert!(read > BODY_LEN);
        assert_eq!(inbox.append(Append::new(b"Subject: new\n\nx\n")).unwrap().uid.value(), count + 1);
        let more = peak().saturating_sub(before);
        println!("{len} bytes, {count} messages, lengths told: {tells_lengths}: {} KiB more at most", more >> 10);
        assert!(more < MEMORY_MAX, "{more} bytes of memory");
    }
}
