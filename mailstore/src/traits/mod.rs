//! What a backend provides: one user's mail ([`MailStorage`]), a mailbox ([`Mailbox`]), a snapshot of it ([`View`]),
//! changes on their way to the disk ([`Batch`], [`Ticket`]).
//!
//! # Invariants every backend keeps
//!
//! 1. What a ticket acknowledged survives a crash (flags alone: within the flush interval, unless `fsync = always`).
//! 2. UIDs only grow, and are never used twice under one UIDVALIDITY; mod-sequences only grow.
//! 3. A view never shows a message whose append is not yet durable, and its sequence numbers change only in
//!    [`View::sync`].
//! 4. Reading takes no lock that a writer needs.

mod batch;
mod error;
mod failure;
mod identity;
mod list;
mod mailbox;
mod rows;
mod ticket;
mod view;

pub use batch::{Batch, BatchItem, Committed, CopySource, FlagAction, FlagChange};
pub use error::{Result, StorageError};
pub use failure::Failure;
pub use identity::{Judged, Keeps, Kept, MailboxIdentity, OnlyIf, Pop3Identity, Stamp};
pub use list::{ForeignSpelling, ListPattern, MailStorage, MailboxInfo, NamespaceInfo, NamespaceKind, Status};
pub use mailbox::{
    ChangesSince, Mailbox, NulPolicy, Position, Save, SaveMeta, Saved, SavedMessage, ViewAs, Wake, Watch,
};
pub use rows::{ArenaRange, Column, Columns, HeaderRange, Row, Rows};
pub(crate) use ticket::Drive;
pub use ticket::{Completer, Ticket};
pub(crate) use view::unshown;
pub use view::{Body, Changes, Cursor, Expunges, FileIdentity, Freshness, ScanBudget, Section, View};
