//! Mail programs that others wrote, against `culver serve`. Each test has a server of its own, and looks at what the
//! client did a second time through a real Dovecot on the same store.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod postfix;

use testkit::clients::{Peer, Stage, missing};

/// A server for a test, unless something that the test needs is not installed.
fn stage(what: &str, peer: Peer, users: &[&str]) -> Option<Stage> {
    if missing(what, &[Peer::Dovecot, peer]) {
        return None;
    }
    Some(Stage::new(what, env!("CARGO_BIN_EXE_culver").as_ref(), users).unwrap())
}
