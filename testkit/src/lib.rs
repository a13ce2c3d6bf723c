//! What the tests that cross crates stand on: stores that a real Dovecot wrote, blocking wire clients that share no code
//! with the servers they judge, and runners that put a real Dovecot beside Culver on the same files.
//!
//! Nothing here ships. Peers that are not installed are skipped, loudly: see [`skip`].

#![forbid(unsafe_code)]

pub mod clients;
pub mod culver;
pub mod dovecot;
pub mod fixtures;
pub mod imap;
pub mod interop;
pub mod lmtp;
pub mod messages;
pub mod observe;
pub mod place;
pub mod pop3;
pub mod tls;
pub mod tree;
pub mod wire;

/// Says on standard error, in words that a reader of a CI log cannot miss, that a test was not run.
#[allow(clippy::print_stderr, reason = "this is what it is for")]
pub fn skip(what: &str, missing: &str) {
    eprintln!("SKIPPED: {what}: {missing} is not installed");
}
