//! The words of mail that storage and protocol share: UIDs, flags, sets, names; no I/O, no protocol.
//!
//! Each type is checked once, where it is made, and carries the proof from then on: there is no zero [`Uid`], no
//! [`MailboxName`] that climbs out of its store, no [`Keyword`] that would break a FLAGS line.
//!
//! ```
//! use mailtypes::{Flag, Flags, InternalDate, Keyword, MailboxName, Uid, UidSet};
//!
//! let seen: UidSet = "1:5,9".parse()?;
//! let mut all = seen.union(&UidSet::from(Uid::MIN..=Uid::new(7).ok_or("0 is no UID")?));
//! all.extend(Uid::new(8));
//! assert_eq!((all.to_string().as_str(), all.count()), ("1:9", 9));
//! assert_eq!(all.difference(&seen).to_string(), "6:8");
//!
//! let flags: Flags = [Flag::Seen, Flag::Answered].into_iter().collect();
//! assert_eq!((flags.to_string().as_str(), flags.contains(Flag::Draft)), ("\\Answered \\Seen", false));
//!
//! assert_eq!(Keyword::new("$Junk")?, Keyword::new("$junk")?);
//! assert_eq!(MailboxName::new("inbox/Work")?.as_str(), "INBOX/Work");
//! assert!(MailboxName::new("../other user").is_err());
//!
//! let now = InternalDate::from(std::time::SystemTime::now());
//! assert!(now.day() > InternalDate::utc(0).day());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

#![forbid(unsafe_code)]

/// The example of the README is tested like those here.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

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
pub use uid_set::{InvalidUidSet, UidRanges, UidSet, Uids};
