//! The cache file: values that can be computed again from the messages (`docs/formats/cache.md`).
//!
//! # Invariants
//!
//! 1. Nothing here fails an operation: what cannot be cached is not cached, what cannot be read is not there.
//! 2. Records are appended under the log's lock, then the cache's own; readers take neither.
//! 3. A file that is damaged, or shorter than the index's offsets reach (a power cut took its end, and what is appended
//!    next would be taken for what stood there), is replaced by an empty one with another `file_seq`, which voids the
//!    offsets.
//! 4. The counts in the header are kept as Dovecot keeps them, so that either purges for what the other has left.

mod check;
mod decisions;
mod fields;
mod file;
mod purge;
mod reader;
mod values;
mod window;
mod writer;

pub(super) use self::{
    check::check_cache,
    file::OpenCache,
    purge::count_deleted,
    values::{CacheSlot, Fills},
    writer::{Wait, store},
};
pub use self::{
    reader::{CacheReader, CachedValues},
    values::{CacheValue, CacheValues},
};
