//! mbox: messages one after the other in one file, each behind a line that begins with `From `
//! (`docs/formats/mbox.md`): such files as a store, and reading and writing them as a whole.
//!
//! # Invariants
//!
//! 1. A file is read in windows: memory does not grow with it.
//! 2. Whatever stands in a file, every byte of it belongs to a separator or to exactly one message.
//! 3. Other programs may append, change and remove messages at any moment under the locks of the host; the index follows.
//! 4. A change in place can be taken back until it is complete and durable: after a crash the file is as before or as
//!    after it.

mod check;
mod files;
mod from_line;
mod header_filter;
mod index;
mod locks;
mod long_header;
mod message;
mod meta;
mod place;
mod plan;
mod quote;
mod recover;
mod save;
mod scan;
mod split;
mod spool;
mod status;
mod storage;
mod store;
mod sync;
pub(crate) mod undo;
mod write;

pub(crate) use self::header_filter::{Filtered, HeaderFilter};
use self::storage::Shared;
pub use self::{
    from_line::{FromLine, Timestamp},
    locks::{MboxLock, MboxLocks},
    meta::MboxMd5,
    quote::{Quoting, Unquoting},
    split::{MboxMessage, MboxReader},
    status::{Status, write_status},
    storage::{MboxOptions, MboxPlaces, MboxStorage},
};
