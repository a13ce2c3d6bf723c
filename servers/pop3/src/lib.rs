//! One POP3 session (RFC 1939, RFC 2449, RFC 2595, RFC 3206, RFC 5034) over a mail store, on any stream.
//!
//! # Invariants
//!
//! - What a client sees of INBOX is what it was at login; numbers never change.
//! - Nothing is deleted before QUIT; there it is one commit, synced before the client is told. A connection that is lost
//!   deletes nothing.
//! - Storage work runs in steps on the pool; a step makes at most [`Limits::output_step_len`] bytes of output, and the
//!   next begins when the client has taken what the one before made. So memory a session is bounded, and a client that
//!   stops reading holds neither a thread nor a lock.
//! - Clients see the texts of [`mailstore::StorageError::client_text`]; paths and reasons are in the log.
//!
//! # In another program
//!
//! ```
//! use std::sync::Arc;
//!
//! use culver_pop3::{Options, SessionContext, SessionLocks};
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
//!     options: Arc::new(Options::default()),
//!     locks: SessionLocks::default(),
//!     stop,
//!     peer: None,
//!     client: Client { plaintext_allowed: true, ..Client::default() },
//!     starttls: None,
//! };
//! let (mut client, server) = tokio::io::duplex(4096);
//! let session = tokio::spawn(culver_pop3::serve(server, context));
//! client.write_all(b"USER ann\r\nPASS secret\r\nSTAT\r\nQUIT\r\n").await?;
//! let mut answers = String::new();
//! client.read_to_string(&mut answers).await?;
//! assert!(answers.ends_with("+OK 0 0\r\n+OK Logging out.\r\n"), "{answers}");
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

mod ahead;
mod authorization;
mod command;
mod context;
mod end;
mod ids;
mod locks;
mod maildrop;
mod marks;
mod options;
mod reply;
mod retrieve;
mod session;
mod stuffing;
mod transaction;
mod uidl;

pub use context::SessionContext;
pub use locks::SessionLocks;
pub use options::{DeleteType, Options};
pub use session::serve;
pub use uidl::{UidlDuplicates, UidlFormat, UidlFormatError};
