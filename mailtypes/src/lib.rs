//! The words of mail that storage and protocol share: UIDs, flags, sets, names; no I/O, no protocol.
//!
//! Each type is checked once, where it is made, and carries the proof from then on: there is no zero [`Uid`], no
//! [`MailboxName`] that climbs out of its store, no [`Keyword`] that would break a FLAGS line.

#![forbid(unsafe_code)]

mod date;
mod flags;
mod guid;
mod mailbox_name;
pub mod mutf7;
mod numbers;
mod search;
mod sequence_set;
mod sort;
mod uid_set;

pub use date::{CalendarDate, InternalDate};
pub use flags::{Flag, Flags, InvalidKeyword, Keyword};
pub use guid::{Guid, InvalidGuid};
pub use mailbox_name::{InvalidMailboxName, MailboxName};
pub use numbers::{ModSeq, SeqNum, Uid, UidValidity};
pub use search::{SearchKey, SearchText};
pub use sequence_set::{SequenceBound, SequenceSet};
pub use sort::{SortCriterion, SortKey, ThreadAlgorithm};
pub use uid_set::{UidRanges, UidSet, Uids};
