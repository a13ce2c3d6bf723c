//! The index file: a snapshot of the state at one place of the log (`docs/formats/index.md`).

use crate::state::State;

/// Why a snapshot is of no use: the state has to come from the logs alone.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// The file ends inside the headers.
    #[error("the index ends inside its headers, at {len} bytes")]
    Truncated {
        /// Bytes that are there.
        len: usize,
    },
}

/// Something wrong in a snapshot that was put right; Dovecot would run its fsck.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotProblem {
    /// The file is shorter than it says: records are missing.
    #[error("{missing} records are missing at the end")]
    MissingRecords {
        /// How many.
        missing: u32,
    },
}

/// A decoded snapshot.
#[derive(Clone, Debug)]
pub struct Decoded {
    /// The state at [`State::position`].
    pub state: State,
    /// What was put right on the way.
    pub problems: Vec<SnapshotProblem>,
}

/// Decodes a whole index file.
pub fn decode(file: &[u8]) -> Result<Decoded, SnapshotError> {
    let _ = file;
    unimplemented!()
}

/// What a snapshot says that the state does not know.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SnapshotStamp {
    /// When the log was last rotated: 0 keeps what the header has, 0xffffffff: there is no `.log.2`.
    pub log2_rotate_time: u32,
}

/// Encodes the state as an index file.
pub fn encode(state: &State, stamp: &SnapshotStamp) -> Vec<u8> {
    let _ = (state, stamp);
    unimplemented!()
}
