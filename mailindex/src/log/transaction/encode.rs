//! From a [`Transaction`] to bytes.

use mailtypes::Uid;

use super::Transaction;
use crate::state::State;

/// Transactions are split, where their meaning allows it, so that none is larger, in bytes: below this size a process
/// that is killed while it writes has not been seen to leave a torn end.
pub const TRANSACTION_SIZE_TARGET: usize = 32 * 1024;

/// One transaction as it stands in the log, to be appended with one write.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct EncodedTransaction {
    /// The bytes, a tail record included where one was asked for.
    pub bytes: Vec<u8>,
}

/// Why a transaction cannot be written: always a mistake of the caller, or a limit of the format.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// Appended UIDs must be at least next_uid, and ascend.
    #[error("cannot append UID {uid}: the next UID is {next_uid}")]
    AppendUid {
        /// The UID.
        uid: Uid,
        /// What it must at least be.
        next_uid: Uid,
    },
}

impl Transaction {
    /// Encodes for a log that ends where `state` is ([`State::position`]).
    pub fn encode(&self, state: &State) -> Result<Vec<EncodedTransaction>, TransactionError> {
        let _ = state;
        unimplemented!()
    }

    pub(super) fn has_changes(&self) -> bool {
        unimplemented!()
    }
}
