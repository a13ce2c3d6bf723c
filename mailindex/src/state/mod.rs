//! A mailbox's state at one place of its log: an immutable value that is cheap to clone and to compare.
//!
//! Records are kept in chunks of about a thousand, in columns; a state that follows from another shares every chunk
//! that was not touched.
//!
//! Invariants:
//! 1. UIDs ascend strictly and are smaller than [`State::next_uid`].
//! 2. No chunk is empty; the counts of the chunks add up to the state's.
//! 3. An extension's number (its position) never changes; neither does a keyword's bit.
//! 4. A state never changes. [`crate::replay::Replay`] makes the next one.

mod chunk;
mod diff;
mod extension;
mod header;
mod inner;
mod keywords;
mod modseqs;
mod pending;
mod private;
mod query;
mod record;

use std::sync::Arc;

pub(crate) use chunk::{CHUNK_LEN_MAX, Chunk, Column};
pub use diff::{Diff, diff};
pub(crate) use extension::names;
pub use extension::{
    DboxHeader, EXT_HDR_SIZE_MAX, EXT_HDR_SIZE_SUM_MAX, EXT_RECORD_SIZE_MAX, EXTENSIONS_MAX, Extension, ExtensionSpec,
    MdboxHeader,
};
pub(crate) use header::BaseHeader;
pub use header::RawIndexHeader;
pub(crate) use inner::{Inner, Selected};
pub(crate) use keywords::KeywordTable;
pub use keywords::{KEYWORDS_MAX, KeywordName};
pub use pending::FlagRequest;
pub(crate) use pending::Pending;
pub use query::{Chunks, RecordsFrom};
pub use record::{ChunkRef, KeywordBits, RecordFlags, RecordRef};

/// A place in the chain of logs.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct LogPosition {
    /// The log file's number.
    pub file_seq: u32,
    /// Bytes from its beginning.
    pub offset: u32,
}

/// Whether the mailbox is being deleted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Deletion {
    /// No.
    #[default]
    No,
    /// Somebody wants to.
    Requested,
    /// It is: these files must not be used any more.
    Done,
}

/// A mailbox's state. Clones share everything.
#[derive(Clone, Debug)]
pub struct State(pub(crate) Arc<Inner>);
