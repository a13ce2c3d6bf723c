//! From one state and the log behind it to the next state (`docs/formats/log.md`).

mod problem;

use std::sync::Arc;

pub use problem::{ChainError, Problem, ProblemKind};

use crate::{
    log::{Damage, RawLogHeader},
    state::{Inner, State},
};

/// What replay may cost, whatever stands in the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Most memory of the state, in bytes.
    pub state_bytes_max: usize,
    /// Most record fields read or written: a log of a few bytes can change a million messages many times over.
    pub work_max: u64,
    /// Most problems kept; the others are counted.
    pub problems_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { state_bytes_max: 2 << 30, work_max: 1 << 33, problems_max: 100 }
    }
}

/// Why [`Replay::apply`] went no further.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Stop {
    /// All bytes were applied.
    #[error("all was read")]
    End,
    /// What begins here is not all there: wait, or cut it off under the lock.
    #[error("the log is torn at offset {offset}")]
    Torn {
        /// Where the incomplete transaction begins.
        offset: u32,
    },
    /// Damage: what begins at [`Applied::end`] cannot be used.
    #[error(transparent)]
    Corrupt(#[from] Damage),
    /// A limit was reached.
    #[error("replaying the record at offset {offset} would exceed the limit on {what}")]
    Limit {
        /// The record.
        offset: u32,
        /// Which limit.
        what: &'static str,
    },
}

/// How far [`Replay::apply`] came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Applied {
    /// Offset behind the last transaction that was applied.
    pub end: u32,
    /// Why no further.
    pub stop: Stop,
}

/// Takes a state forward.
#[derive(Debug)]
pub struct Replay {
    inner: Inner,
    limits: Limits,
    problems: Vec<Problem>,
    problem_count: u64,
}

impl Replay {
    /// Starts from a state. To go on in the same file, [`Self::apply`] follows at once.
    pub fn new(state: State, limits: Limits) -> Self {
        let inner = Arc::unwrap_or_clone(state.0);
        Self { inner, limits, problems: Vec::new(), problem_count: 0 }
    }

    /// Moves to a log file: the state's own (checked), the one that follows it, or any file at all for the empty
    /// state. A file whose `prev_file_seq` is 0 voids what was before it.
    pub fn enter(&mut self, header: &RawLogHeader) -> Result<(), ChainError> {
        let _ = (header, &self.inner);
        unimplemented!()
    }

    /// Takes note of the internal records between tail and head of a snapshot, which are in force already but not
    /// carried out in the mail store. `bytes` begin at `offset` and end at the state's position.
    pub fn recall_pending(&mut self, bytes: &[u8], offset: u32) {
        let _ = (bytes, offset);
        unimplemented!()
    }

    /// Applies all whole transactions in `bytes`, which begin at the state's position.
    pub fn apply(&mut self, bytes: &[u8]) -> Applied {
        let _ = (bytes, self.limits);
        unimplemented!()
    }

    /// What was wrong without stopping the replay, up to [`Limits::problems_max`].
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How many problems there were.
    pub fn problem_count(&self) -> u64 {
        self.problem_count
    }

    /// The state reached.
    pub fn finish(self) -> State {
        self.inner.finish()
    }
}
