//! One LMTP session (RFC 2033) over a mail store, on any stream that reads and writes. With PIPELINING, 8BITMIME,
//! SMTPUTF8 (RFC 6531), CHUNKING (RFC 3030, without BINARYMIME), ENHANCEDSTATUSCODES, SIZE, and STARTTLS where there is TLS.
//!
//! # Invariants
//!
//! 1. A recipient's 250 after DATA or the last BDAT is sent only when his copy is durable: an MTA forgets the message then.
//! 2. Every recipient gets a reply of his own, in the order of RCPT, whatever happened to the others.
//! 3. A message is held in memory only up to [`SPOOL_LEN`]; a larger one goes to the stores as it comes, and to no more than
//!    [`COPIES_AT_ONCE`] of them at a time.
//! 4. No task of the runtime blocks: stores are touched in steps on the pool, commits are awaited by their tickets.
//! 5. Nothing but CR LF, dot, CR LF ends what follows DATA.
//!
//! # In another program
//!
//! ```
//! use std::sync::Arc;
//!
//! use culver_lmtp::{Options, SessionContext};
//! use culver_runtime::{
//!     AuthError, Authenticator, Client, Limits, Logins, PoolOptions, Stopper, StoragePool, StorageProvider, User, UserName,
//! };
//! use mailstore::{MailStorage, memory::{MemoryOptions, MemoryStorage}};
//! use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
//!
//! /// The program's own users: whoever is asked for.
//! #[derive(Debug)]
//! struct Users;
//!
//! impl Authenticator for Users {
//!     fn verify(&self, _: &str, _: &[u8]) -> Result<Option<User>, AuthError> {
//!         Ok(None)
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
//!     host_name: "mail.example".into(),
//!     peer: "a pipe".into(),
//!     options: Arc::new(Options::default()),
//!     logins: Logins::new(Arc::new(Users), StoragePool::new(PoolOptions::passwords()), &limits),
//!     limits: Arc::new(limits),
//!     pool: StoragePool::new(PoolOptions::storage()),
//!     storages: Arc::new(Mail(Arc::new(MemoryStorage::new(MemoryOptions::default())))),
//!     stop,
//!     client: Client::default(),
//!     starttls: None,
//! };
//! let (mut client, server) = tokio::io::duplex(4096);
//! let session = tokio::spawn(culver_lmtp::serve(server, context));
//! client.write_all(b"LHLO me.example\r\nMAIL FROM:<>\r\nRCPT TO:<ann>\r\nDATA\r\nSubject: hi\r\n\r\n.\r\nQUIT\r\n").await?;
//! let mut replies = String::new();
//! client.read_to_string(&mut replies).await?;
//! assert!(replies.contains("250 2.0.0 <ann> "), "{replies}");
//! # session.await.unwrap()
//! # }
//! ```

#![forbid(unsafe_code)]

/// The example of the README is tested like those here.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod address;
mod command;
mod context;
mod data;
mod delivery;
mod envelope;
mod headers;
mod message_id;
mod options;
mod reply;
mod session;
mod transfer;

pub use context::SessionContext;
pub use options::{DetailMailbox, Options};
pub use session::serve;

/// Bytes of a message that are held before they are written to the recipients' stores in one step.
pub const SPOOL_LEN: usize = 256 * 1024;

/// Recipients of a message larger than [`SPOOL_LEN`] whose files are open at once.
pub const COPIES_AT_ONCE: usize = 8;
