//! IMAP as bytes to commands and responses to bytes, both ways, sans I/O (RFC 3501, RFC 9051).
//!
//! A server feeds what it read to a [`Decoder`], which answers with [`Event`]s, and answers the client with the
//! functions of [`write`](mod@write), which append to a buffer of the server's. A client writes commands with
//! [`encode`] and reads the answers with [`response`]. Nothing here does I/O, knows a clock or a mailbox's state, or
//! holds more bytes than the [`Limits`] it was given: the text of a message that is appended passes through in the
//! chunks in which it arrived.
//!
//! Every production is named after the RFC's. Extensions read: LITERAL+ (RFC 7888), UIDPLUS (4315), MOVE (6851), IDLE
//! (2177), MULTIAPPEND (3502), CONDSTORE's arguments (7162), SASL-IR (4959), ENABLE (5161), ID (2971), UNSELECT (3691),
//! NAMESPACE (2342), ESEARCH's return options (4731), LIST-EXTENDED (5258), LIST-STATUS (5819), SPECIAL-USE (6154),
//! QRESYNC (7162), SEARCHRES (5182), WITHIN (5032), SORT and THREAD (5256, 5267, 5957), COMPRESS (4978), SAVEDATE (8514),
//! PREVIEW (8970), OBJECTID (8474), BINARY (3516).
//!
//! ```
//! use imap_proto::{Command, Decoder, Event, Limits, write};
//!
//! let mut decoder = Decoder::new(Limits::default());
//! let mut input: &[u8] = b"a1 NOOP\r\na2 XYZZY\r\n";
//! let mut out = Vec::new();
//! loop {
//!     match decoder.next(&mut input) {
//!         Ok(Some(Event::Command { tag, command: Command::Noop })) => write::ok(&mut out, &tag, "NOOP completed."),
//!         Ok(Some(_)) => {}
//!         Ok(None) => break, // read more
//!         Err(error) => write::command_error(&mut out, &error),
//!     }
//! }
//! assert_eq!(out, b"a1 OK NOOP completed.\r\na2 BAD Unknown command.\r\n");
//! ```

#![forbid(unsafe_code)]

/// The example of the README is tested like those here.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod atom;
mod command;
mod date;
mod decoder;
pub mod encode;
mod error;
mod fetch;
mod limits;
mod line_buffer;
mod literal;
mod mailbox;
mod parse;
pub mod response;
mod tag;
pub mod write;

pub use atom::{Atom, InitialResponse};
pub use command::{
    AppendMessage, Command, Fetch, FlagList, List, ListReturn, ListSelection, MessageSet, Qresync, Search,
    SearchReturn, Secret, SelectParams, Sort, SpecialUse, StatusItem, StatusValue, Store, StoreAction, Thread,
};
pub use date::{InvalidDate, parse_date, parse_date_time, write_date, write_date_time};
pub use decoder::{Decoder, Event};
pub use error::{CommandError, ErrorKind};
pub use fetch::{FetchItem, Partial, Section, SectionText};
pub use limits::Limits;
pub use mailbox::{InvalidMailbox, ListMailbox, Mailbox};
pub use tag::Tag;
