//! One LMTP session (RFC 2033) over a mail store, on any stream that reads and writes.
//!
//! # Invariants
//!
//! 1. A recipient's 250 after DATA is sent only when his copy is durable: an MTA forgets the message then.
//! 2. Every recipient gets a reply of his own, in the order of RCPT, whatever happened to the others.
//! 3. A message is held in memory only up to [`SPOOL_LEN`]; a larger one goes to the stores as it comes.
//! 4. No task of the runtime blocks: stores are touched in steps on the pool, commits are awaited by their tickets.

#![forbid(unsafe_code)]

mod data;
mod delivery;
mod reply;
mod session;

pub use session::{SessionContext, serve};

/// Bytes of a message that are held before they are written to the recipients' stores in one step.
pub const SPOOL_LEN: usize = 256 * 1024;
