//! The fuzz target `mdbox_files` on files that are made of what such files are made of: the rebuild comes to an end, what
//! nobody touched stays, messages that are whole but for their metadata are found, and doing it twice changes nothing.

#![allow(unreachable_pub, clippy::expect_used, reason = "a test fails by panicking; the other is a library of its own")]

#[path = "../../fuzz/src/mdbox_files.rs"]
mod mdbox_files;

use std::{fs, path::Path};

use mdbox_files::mdbox_files;
use proptest::{
    prelude::*,
    test_runner::{Config, RngSeed},
};

/// A message as Dovecot writes it, with this GUID and first mailbox.
fn message(number: u8, mailbox: &str) -> Vec<u8> {
    let body = format!("Subject: number {number}\n\n{}", "text\n".repeat(usize::from(number)));
    let guid = format!("{number:032x}");
    let lines = format!("R6b0277ab\nV{:x}\nG{guid}\nB{mailbox}\n\n", body.len() + body.matches('\n').count());
    [b"\x01\x02N          ".to_vec(), format!("{:016X}\n{body}\n\x01\x03\n{lines}", body.len()).into_bytes()].concat()
}

/// The same with these bytes in the place of its metadata.
fn with_metadata(message: &[u8], other: &[u8]) -> Vec<u8> {
    let end = message.windows(4).position(|window| window == b"\n\x01\x03\n").map_or(0, |at| at + 4);
    [&message[..end], other].concat()
}

fn whole() -> impl Strategy<Value = Vec<u8>> {
    (1u8..9, prop::sample::select(vec!["INBOX", "Work/x", ""])).prop_map(|(n, mailbox)| message(n, mailbox))
}

/// What a file is made of: whole messages, torn ones, ones of which a byte is another or the metadata are rubbish, rubbish,
/// a file's header.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => whole(),
        1 => (whole(), any::<prop::sample::Index>()).prop_map(|(bytes, at)| bytes[..at.index(bytes.len())].to_vec()),
        1 => (whole(), any::<prop::sample::Index>(), 1u8..=255).prop_map(|(mut bytes, at, other)| {
            let at = at.index(bytes.len());
            bytes[at] ^= other;
            bytes
        }),
        1 => (whole(), prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(bytes, other)| with_metadata(&bytes, &other)),
        1 => prop::collection::vec(any::<u8>(), 0..40),
        1 => Just(b"2 M1e C6b0277ab\n".to_vec()),
    ]
}

/// `CULVER_MDBOX_CASES` makes it more, and others.
fn config() -> Config {
    let cases = std::env::var("CULVER_MDBOX_CASES").ok().and_then(|cases| cases.parse().ok());
    let rng_seed = RngSeed::Fixed(20_261_122 + u64::from(cases.unwrap_or(0)));
    Config { cases: cases.unwrap_or(96), rng_seed, failure_persistence: None, ..Config::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_file_is_made_of_what_it_can(
        choice in 0u8..8,
        has_header in any::<bool>(),
        pieces in prop::collection::vec(piece(), 0..6),
    ) {
        let mut data = vec![choice];
        if has_header && choice & 3 != 1 && choice & 3 != 3 {
            data.extend(b"2 M1e C6b0277ab\n");
        }
        data.extend(pieces.concat());
        mdbox_files(&data);
    }
}

#[test]
fn what_was_found_stays_mended() {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    let folders = ["seeds", "findings"].map(|kind| fuzz.join(kind).join("mdbox_files"));
    for entry in folders.iter().flat_map(|folder| fs::read_dir(folder).expect("they are there")) {
        mdbox_files(&fs::read(entry.expect("a file").path()).expect("a file"));
    }
}
