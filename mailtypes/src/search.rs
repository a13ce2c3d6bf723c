//! What a search asks for (RFC 9051 §6.4.4), free of any protocol's syntax.

use crate::{CalendarDate, Flag, Keyword, ModSeq, SequenceSet};

/// Text to look for, already in UTF-8. Matched as a substring, without regard to case.
pub type SearchText = String;

/// A search criterion. Depth is bounded by whoever builds it (the IMAP parser has a limit), so that walking it may
/// recurse.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SearchKey {
    /// Every message.
    All,
    /// All of these; an empty list is every message.
    And(Vec<SearchKey>),
    /// Either.
    Or(Box<SearchKey>, Box<SearchKey>),
    /// Not this.
    Not(Box<SearchKey>),
    /// Messages at these sequence numbers.
    Sequence(SequenceSet),
    /// Messages with these UIDs.
    Uid(SequenceSet),
    /// The flag is set.
    Flag(Flag),
    /// The keyword is set.
    Keyword(Keyword),
    /// First seen by this session (`\Recent`).
    Recent,
    /// Internal date's day is before this one.
    Before(CalendarDate),
    /// Internal date falls on this day.
    On(CalendarDate),
    /// Internal date's day is this one or later.
    Since(CalendarDate),
    /// The Date header's day (zone disregarded) is before this one.
    SentBefore(CalendarDate),
    /// The Date header's day is this one.
    SentOn(CalendarDate),
    /// The Date header's day is this one or later.
    SentSince(CalendarDate),
    /// RFC822.SIZE is larger.
    Larger(u64),
    /// RFC822.SIZE is smaller.
    Smaller(u64),
    /// The header field has this text; an empty text asks only whether the field is there.
    Header(String, SearchText),
    /// The addresses of the header field, written alike (`"Doe, Jane" <jane@example.org>`), have this text; an empty text
    /// asks only whether the field is there.
    Address(String, SearchText),
    /// The body has this text.
    Body(SearchText),
    /// Header or body has this text.
    Text(SearchText),
    /// The mod-sequence is at least this (RFC 7162).
    ModSeq(ModSeq),
    /// Internal date is so many seconds ago, or more (RFC 5032); never 0.
    Older(u32),
    /// Internal date is at most so many seconds ago (RFC 5032); never 0.
    Younger(u32),
    /// The day of the message's saving into the mailbox is before this one (RFC 8514).
    SavedBefore(CalendarDate),
    /// The message was saved into the mailbox on this day (RFC 8514).
    SavedOn(CalendarDate),
    /// The day of the message's saving into the mailbox is this one or later (RFC 8514).
    SavedSince(CalendarDate),
    /// The mailbox keeps the dates of saving (RFC 8514): every message or none.
    SaveDateSupported,
    /// The message's identity, as FETCH EMAILID tells it (RFC 8474).
    EmailId(String),
    /// The thread's identity, as FETCH THREADID tells it (RFC 8474).
    ThreadId(String),
    /// The messages of the last search whose result was saved, `$` (RFC 5182). Whoever kept that result puts
    /// [`SearchKey::Uid`] in its place; a store knows of none.
    SavedResult,
}
