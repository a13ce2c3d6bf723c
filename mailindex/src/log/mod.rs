//! The transaction log (`docs/formats/log.md`): frames, records, whole transactions, and their writing.
//!
//! Invariants:
//! 1. Nothing here does I/O. Bytes of a log come in with the offset at which they begin.
//! 2. A torn end, damage and a type that this version does not know are three outcomes, never mixed up.
//! 3. [`Transactions`] yields a transaction only when all of its bytes are there and every record of it is valid.
//! 4. What [`Transaction::encode`] returns replays without a problem on the state it was encoded for.

mod attributes;
mod change;
mod damage;
mod header;
mod modseqs;
mod raw;
mod record;
mod transaction;
mod transactions;

pub use attributes::{AttributeChange, Attributes};
pub use change::{Change, ExtIntro, ExtIntros, KeywordUpdate, Patches, ext_records};
pub use damage::{Damage, DamageKind};
pub use header::{LogHeaderError, RawLogHeader};
pub use modseqs::{CountError, ModseqCounter, is_counted, modseq_at, modseq_bound_at};
pub use raw::{RawAppend, RawExpungeGuid, RawExtIntro, RawFlagUpdate, RawIncrement, RawModseqUpdate, RawUidRange};
pub use record::{LogStop, Origin, RECORD_HEADER_SIZE, Record, RecordType, Records, TypeWord};
pub use transaction::{
    AttributeUpdate, EncodedTransaction, FlagChange, Generation, KeywordAction, TRANSACTION_SIZE_TARGET, Transaction,
    TransactionError,
};
pub use transactions::{Transactions, WrittenTransaction, complete_end};

#[cfg(test)]
mod tests;
