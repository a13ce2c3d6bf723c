//! A mail store on disk, compatible with Dovecot, as a library.
//!
//! The [`traits`] are the boundary at which a backend can be exchanged: object safe, blocking or by ticket, speaking of
//! mail, never of files. Everything above them (search, envelopes, copying between stores) is written once for every
//! backend.

#![forbid(unsafe_code)]

/// The example of the README is tested like those here.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

pub mod check;
pub mod compressed;
pub mod convert;
pub mod copy;
pub mod dbox;
pub mod dump;
pub mod export;
pub mod import;
mod indexed;
mod mailbox_list;
pub mod maildir;
pub mod mbox;
pub mod mdbox;
pub mod memory;
pub mod namespaces;
pub mod preview;
pub mod sdbox;
pub mod search;
pub mod sort;
mod storage_error;
pub mod store;
pub mod thread;
pub mod traits;

pub use mailbox_list::{
    ListLayout, ListOptions, MailboxLogKind, MailboxLogRecord, RecoveredMailbox, RecoveryReport, decode_mailbox_log,
    name_guid, read_mailbox_log,
};
pub use mailfs;
pub use mailindex;
pub use mailmime;
pub use mailtypes;
pub use store::{
    Append, Appended, Correspondent, DboxStorage, Detected, ForeignFile, ForeignServer, Format, Message,
    MessageEnvelope, Messages, Store, StoreMailbox, StoreOptions, StoreView, Update, create_storage, detect, open_dbox,
    open_storage, recover_storage,
};
pub use traits::*;
