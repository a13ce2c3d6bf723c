//! Whole POP3 conversations over the backend in memory.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;
mod hostile;
mod login;
mod messages;
mod tls;
mod update;
