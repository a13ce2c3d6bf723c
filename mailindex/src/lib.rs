//! Dovecot's transaction log, index and cache, read and written to the byte, beside Dovecot itself: what is known of a
//! mailbox's messages apart from their bodies, which are a [`MessageStore`](engine::MessageStore)'s.
//!
//! # Layers
//!
//! From the bytes up; only [`engine`] does I/O, and each below it can be used, tested and fuzzed alone.
//!
//! | module        | what it knows                                                               | format                   |
//! |---------------|-----------------------------------------------------------------------------|--------------------------|
//! | [`log`]       | records and transactions of `dovecot.index.log`, both ways                  | `docs/formats/log.md`    |
//! | [`snapshot`]  | `dovecot.index`: the state at one place of the log, both ways               | `docs/formats/index.md`  |
//! | [`cache`]     | `dovecot.index.cache`: values that are dear to compute, both ways           | `docs/formats/cache.md`  |
//! | [`state`]     | a mailbox at one place of its log, as an immutable value                    |                          |
//! | [`replay`]    | from one state and the log behind it to the next                            | `docs/formats/log.md`    |
//! | [`engine`]    | the files: opening, committing, refreshing, recovering, watching            | `docs/formats/locking.md`|
//! | [`dump`]      | any of the files as text or JSON, however damaged                           |                          |
//!
//! The entry is [`engine::Env`] (a file system, options, threads), then
//! [`MailboxIndex::open`](engine::MailboxIndex::open) or [`create`](engine::MailboxIndex::create): reading is
//! [`refresh`](engine::MailboxIndex::refresh), writing a [`CommitOp`](engine::CommitOp).
//!
//! # Invariants
//!
//! 1. The log is the truth: a snapshot or a cache file that is lost or wrong costs time, never a change that was
//!    acknowledged.
//! 2. What Dovecot writes is understood, and what it must be able to read is written as it would be. Extensions and
//!    fields that are not known are kept as they are.
//! 3. No byte from disk is trusted: whatever the files hold, time and memory are bounded, and damage is told with file and
//!    offset.
//! 4. A [`State`](state::State) never changes; whoever holds one reads without a lock.
//!
//! # Example
//!
//! ```
//! use std::{path::Path, sync::Arc};
//!
//! use mailfs::{FileSystemExt, sim::SimDisk};
//! use mailindex::{
//!     engine::{
//!         CommitError, CommitOp, CommitOutcome, CommitPoint, Completer, Env, EnvOptions, MailboxIndex, MessageStore,
//!         OpError, StoreError, completion,
//!     },
//!     log::Transaction,
//!     state::{RawIndexHeader, State},
//! };
//! use mailtypes::{Flag, Flags, Uid, UidSet};
//!
//! /// Messages without bodies.
//! struct NoBodies;
//!
//! impl MessageStore for NoBodies {
//!     fn remove(&self, _: &State, _: &UidSet) -> Result<(), StoreError> {
//!         Ok(())
//!     }
//! }
//!
//! /// One message more.
//! struct Add(Completer<bool>);
//!
//! impl CommitOp for Add {
//!     fn prepare(&mut self, at: &mut CommitPoint<'_>) -> Result<(), OpError> {
//!         let uid = at.next_uid()?;
//!         at.transaction().append(uid, Flags::from(Flag::Seen));
//!         Ok(())
//!     }
//!     fn done(self: Box<Self>, outcome: Result<&CommitOutcome, Arc<CommitError>>) {
//!         self.0.complete(outcome.is_ok());
//!     }
//! }
//!
//! let env = Env::new(SimDisk::new().as_file_system(), EnvOptions::default());
//! let dir = Path::new("/mail");
//! env.fs().create_dir_all(dir, 0o700)?;
//!
//! let mut first = Transaction::new();
//! first.header_update_before(RawIndexHeader::UID_VALIDITY, &1_700_000_000_u32.to_le_bytes());
//! let index = MailboxIndex::create(&env, dir, "dovecot.index", Arc::new(NoBodies), &first)?;
//!
//! let (completer, added) = completion(&index);
//! index.enqueue(Box::new(Add(completer)));
//! assert_eq!(added.wait(), Some(true), "it is in the log, and the log is on disk");
//!
//! let state = index.refresh()?;
//! assert_eq!((state.message_count(), state.uids().to_string().as_str()), (1, "1"));
//! assert!(state.record_of(Uid::MIN).is_some_and(|record| record.flags().contains(Flag::Seen)));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

/// The example of the README is tested like those here.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod cache;
pub mod dump;
pub mod engine;
pub mod log;
mod offset_encoding;
pub mod replay;
pub mod snapshot;
pub mod state;

pub use offset_encoding::{OFFSET_LIMIT, decode_offset, encode_offset};
