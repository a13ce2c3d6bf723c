//! What can be wrong with a log that is still read on.

use crate::log::LogHeaderError;

/// Something in the log that was skipped. Dovecot would run its fsck.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("log record at offset {offset}: {kind}")]
pub struct Problem {
    /// Where the record begins.
    pub offset: u32,
    /// What is wrong with it.
    pub kind: ProblemKind,
}

/// What was wrong.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ProblemKind {
    /// A type that this version does not know.
    #[error("unknown record type word {0:#010x}")]
    UnknownType(u32),
    /// An APPEND below next_uid, or past the last UID there can be. The record was skipped.
    #[error("appends UID {uid} where the next UID is {next_uid}")]
    AppendUid {
        /// The UID.
        uid: u32,
        /// What it had to be at least.
        next_uid: u32,
    },
    /// Header bytes outside the header, or such as only a snapshot may set.
    #[error("header update of {size} bytes at {offset} does not fit")]
    HeaderUpdate {
        /// Where.
        offset: u32,
        /// How many.
        size: usize,
    },
    /// An extension record without an introduction before it.
    #[error("no extension was introduced before")]
    NoIntro,
    /// An introduction that makes no sense; what depends on it was skipped.
    #[error("the extension introduction is not valid: {0}")]
    Intro(&'static str),
    /// An extension's record does not fit its introduction.
    #[error("extension data does not fit the extension: {0}")]
    ExtensionData(&'static str),
    /// A counter left its range; it was left alone.
    #[error("the increment for UID {uid} leaves the field's range")]
    Increment {
        /// The message.
        uid: u32,
    },
    /// The tail cannot move there; it was left alone.
    #[error("the tail cannot move from {from} to {to}")]
    Tail {
        /// Where it is.
        from: u32,
        /// Where it should go.
        to: u32,
    },
    /// No room for another keyword or extension.
    #[error("too many {0}")]
    TooMany(&'static str),
}

/// Why a log file does not continue a state.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ChainError {
    /// The file cannot be used at all.
    #[error(transparent)]
    Header(#[from] LogHeaderError),
    /// The file is of another index.
    #[error("the log has index id {log:#x}, the state {state:#x}")]
    IndexId {
        /// The log's.
        log: u32,
        /// The state's.
        state: u32,
    },
    /// The state is not at the end of the file before.
    #[error(
        "log {file_seq} continues {prev_file_seq} at {prev_file_offset}, the state is at {state_seq}/{state_offset}"
    )]
    Gap {
        /// The log's number.
        file_seq: u32,
        /// The file that it continues.
        prev_file_seq: u32,
        /// That file's end.
        prev_file_offset: u32,
        /// The state's file.
        state_seq: u32,
        /// The state's offset.
        state_offset: u32,
    },
}
