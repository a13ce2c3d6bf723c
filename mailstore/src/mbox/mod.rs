//! mbox: messages one after the other in one file, each behind a line that begins with `From `
//! (`docs/formats/mbox.md`). Here for reading and writing such files as a whole; as the format of a store it comes later.
//!
//! # Invariants
//!
//! 1. A file is read in windows: memory does not grow with it.
//! 2. Whatever stands in a file, every byte of it belongs to a separator or to exactly one message.

mod from_line;
mod quote;
mod split;
mod status;

pub use self::{
    from_line::{FromLine, Timestamp},
    quote::{Quoting, Unquoting},
    split::{MboxMessage, MboxReader},
    status::{Status, write_status},
};
