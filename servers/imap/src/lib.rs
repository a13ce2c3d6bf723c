//! One IMAP session over a mail store (RFC 3501, RFC 9051 where it says the same), on any stream.
//!
//! Invariants:
//! - Storage work runs in steps on the pool; a step makes at most [`Limits::output_step_len`] bytes of output (and one
//!   message's structure over) or takes as much of a literal, and the next begins when the client has taken what the
//!   one before made. So memory a session is bounded, and a client that stops reading or writing holds neither a thread
//!   nor a lock.
//! - A commit is waited for without a thread ([`mailstore::Ticket::on_done`]).
//! - Commands are carried out one after the other, in the order in which they came.
//! - Sequence numbers change only where RFC 3501 §7.4.1 allows it: EXPUNGE (or VANISHED, RFC 7162 §3.2.10) is told after
//!   any command but FETCH, STORE and SEARCH without UID and UID SEARCH with sequence numbers, and in IDLE.
//! - Clients see the texts of [`mailstore::StorageError::client_text`]; paths and reasons are in the log.
//!
//! [`Limits::output_step_len`]: culver_runtime::Limits::output_step_len

#![forbid(unsafe_code)]

/// The example of the README is tested like those here.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod append;
mod authenticate;
mod capability;
mod codes;
mod compress;
mod context;
mod copy;
mod counts;
mod course;
mod deflate;
mod end;
mod expunge;
mod features;
mod fetch;
mod highest;
mod idle;
mod known;
mod list;
mod login;
mod mailboxes;
mod options;
mod search;
mod select;
mod selected;
mod session;
mod sort;
mod special_use;
mod starttls;
mod state;
mod store;
mod sync;
mod thread;
mod wire;

pub use context::SessionContext;
pub use options::Options;
pub use session::serve;
pub use special_use::SpecialUses;
