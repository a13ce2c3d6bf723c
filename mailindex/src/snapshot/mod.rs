//! The index file: a snapshot of the state at one place of the log (`docs/formats/index.md`).
//!
//! Invariants:
//! 1. Extensions keep their order, header data and record fields, known or not; so do unknown header fields.
//! 2. A zero modseq is resolved by the old extension header before a new one is written.
//! 3. Nothing in a file is trusted: what is fatal is a [`SnapshotError`], what could be put right a
//!    [`SnapshotProblem`].

mod decode;
mod encode;
mod layout;

pub use decode::{Decoded, SnapshotError, SnapshotProblem, decode};
pub use encode::{SNAPSHOT_SIZE_MAX, SnapshotStamp, SnapshotTooLarge, encode};
pub(crate) use layout::extension_headers;

#[cfg(test)]
mod tests;
