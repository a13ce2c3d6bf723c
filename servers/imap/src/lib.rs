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
//! # In another program
//!
//! ```
//! use std::sync::Arc;
//!
//! use culver_imap::{Options, SessionContext, SpecialUses};
//! use culver_runtime::{
//!     AuthError, Authenticator, Client, Connections, Limits, Logins, PoolOptions, Stopper, StoragePool,
//!     StorageProvider, User, UserName,
//! };
//! use mailstore::{MailStorage, memory::{MemoryOptions, MemoryStorage}};
//! use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
//!
//! /// The program's own users.
//! #[derive(Debug)]
//! struct Users;
//!
//! impl Authenticator for Users {
//!     fn verify(&self, name: &str, password: &[u8]) -> Result<Option<User>, AuthError> {
//!         if password == b"secret" { self.lookup(name) } else { Ok(None) }
//!     }
//!     fn lookup(&self, name: &str) -> Result<Option<User>, AuthError> {
//!         Ok(UserName::new(name).ok().map(User::new))
//!     }
//! }
//!
//! /// Everybody's mail is the same.
//! #[derive(Debug)]
//! struct Mail(Arc<MemoryStorage>);
//!
//! impl StorageProvider for Mail {
//!     fn storage_for(&self, _: &UserName) -> mailstore::Result<Arc<dyn MailStorage>> {
//!         Ok(Arc::clone(&self.0) as _)
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> std::io::Result<()> {
//! let limits = Limits::default();
//! let (_stopper, stop) = Stopper::new();
//! let context = SessionContext {
//!     logins: Logins::new(Arc::new(Users), StoragePool::new(PoolOptions::passwords()), &limits),
//!     storages: Arc::new(Mail(Arc::new(MemoryStorage::new(MemoryOptions::default())))),
//!     pool: StoragePool::new(PoolOptions::storage()),
//!     connections: Connections::new(&limits),
//!     limits: Arc::new(limits),
//!     stop,
//!     peer: None,
//!     options: Arc::new(Options::default()),
//!     special_uses: Arc::new(SpecialUses::default()),
//!     client: Client { plaintext_allowed: true, ..Client::default() },
//!     starttls: None,
//! };
//! let (mut client, server) = tokio::io::duplex(4096);
//! let session = tokio::spawn(culver_imap::serve(server, context));
//! client.write_all(b"a LOGIN ann secret\r\nb STATUS INBOX (MESSAGES)\r\nc LOGOUT\r\n").await?;
//! let mut answers = String::new();
//! client.read_to_string(&mut answers).await?;
//! assert!(answers.contains("* STATUS INBOX (MESSAGES 0)\r\nb OK"), "{answers}");
//! # session.await.unwrap();
//! # Ok(())
//! # }
//! ```
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
