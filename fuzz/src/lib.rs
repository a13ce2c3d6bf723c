//! What must hold for any bytes: the body of every fuzz target as a plain function, which panics where something does
//! not. `fuzz_targets/` hands them to the fuzzer, `tests/replay.rs` runs them on all seeds and findings.
//!
//! Two kinds. Where bytes come from a disk or the network, a target takes them as they are: nothing may panic, what is
//! decoded encodes to the same again, and how the input is cut never matters. Where values are written, a target makes
//! them of the bytes: what is encoded must be decoded to the same.
//!
//! `scripts/fuzz` runs all of it. What it finds lies in `artifacts/<target>/`; minimised (the program's own
//! `-minimize_crash=1`) and given a name that says what broke, it belongs into `findings/<target>/`, where `cargo test`
//! replays it from then on. With cargo-fuzz: `cargo +nightly fuzz run -s none --features libfuzzer <target>`.

#![forbid(unsafe_code)]

mod auth;
mod cache;
mod compressed;
mod convert_journal;
mod cuts;
mod dbox;
mod imap_command;
mod imap_response;
mod index_dump;
mod index_open;
mod list_index;
mod log;
mod maildir;
mod mbox;
mod mbox_store;
mod mdbox_files;
mod mime;
mod mime_text;
mod names;
mod session;
mod snapshot;
mod state;
mod transaction;

pub use auth::{passwd_file, sasl};
pub use cache::{cache_file, cache_values};
pub use compressed::compressed_body;
pub use convert_journal::convert_journal;
pub use dbox::{dbox_file, dbox_write};
pub use imap_command::imap_command;
pub use imap_response::imap_response;
pub use index_dump::index_dump;
pub use index_open::index_open;
pub use list_index::list_index;
pub use log::{log_records, log_replay};
pub use maildir::maildir;
pub use mbox::mbox;
pub use mbox_store::mbox_store;
pub use mdbox_files::mdbox_files;
pub use mime::{mime_header, mime_parts, mime_scan};
pub use mime_text::mime_text;
pub use names::names;
pub use session::{imap_session, lmtp_session, pop3_session};
pub use snapshot::snapshot;
pub use transaction::transaction;

/// A target's body.
pub type Body = fn(&[u8]);

/// All targets by name.
pub const TARGETS: [(&str, Body); 29] = [
    ("cache_file", cache_file),
    ("cache_values", cache_values),
    ("compressed_body", compressed_body),
    ("convert_journal", convert_journal),
    ("dbox_file", dbox_file),
    ("dbox_write", dbox_write),
    ("imap_command", imap_command),
    ("imap_response", imap_response),
    ("imap_session", imap_session),
    ("index_dump", index_dump),
    ("index_open", index_open),
    ("list_index", list_index),
    ("lmtp_session", lmtp_session),
    ("log_records", log_records),
    ("log_replay", log_replay),
    ("maildir", maildir),
    ("mbox", mbox),
    ("mbox_store", mbox_store),
    ("mdbox_files", mdbox_files),
    ("mime_header", mime_header),
    ("mime_parts", mime_parts),
    ("mime_scan", mime_scan),
    ("mime_text", mime_text),
    ("names", names),
    ("passwd_file", passwd_file),
    ("pop3_session", pop3_session),
    ("sasl", sasl),
    ("snapshot", snapshot),
    ("transaction", transaction),
];
