//! Whole LMTP conversations over the backend in memory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod chunks;
mod common;
mod envelope;
mod hostile;
mod large;
mod session;
mod tls;
