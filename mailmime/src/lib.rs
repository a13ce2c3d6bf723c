//! RFC 5322 and MIME over byte ranges: one streaming scan gives the parts of a message, and from these come IMAP's
//! ENVELOPE, BODY and BODYSTRUCTURE and the values Dovecot keeps in its cache.
//!
//! Invariants, each held by a test:
//! - Any bytes are a message. Nothing here fails or panics on mail; only decoding a cache value can fail.
//! - How the bytes are cut into [`Scanner::write`] calls never changes the result.
//! - Memory is bounded by [`Limits`], whatever the size of the message; nesting is bounded too.
//! - What is printed equals what Dovecot 2.3 prints for the same message, oddities included, because either program
//!   may fill a cache that the other one serves from (`docs/formats/cache.md`).
//!
//! ```
//! let mut scanner = mailmime::Scanner::new(mailmime::Limits::default());
//! scanner.write(b"From: Ann <ann@example.org>\n\n");
//! scanner.write(b"Hello\n");
//! let message = scanner.finish();
//! let mut out = Vec::new();
//! message.write_body(&mut out);
//! assert_eq!(out, br#"("text" "plain" ("charset" "us-ascii") NIL NIL "7bit" 7 1)"#);
//! ```

#![forbid(unsafe_code)]

/// The example of the README is tested like those here.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod address;
mod base_subject;
mod binary;
mod body_structure;
mod collation;
mod content;
mod date;
mod decode;
mod envelope;
mod header;
mod header_cache;
mod html_text;
mod lex;
mod limits;
mod message_id;
mod mime_parts;
mod param;
mod part;
mod preview;
mod quote;
mod scan;
mod section;
mod structure;
mod text;

pub use address::{Address, parse_address_list, write_address_list};
pub use base_subject::BaseSubject;
pub use binary::{BinaryDecoder, BinaryError};
pub use collation::collation_key;
pub use content::{Content, ContentReader, Disposition, Param};
pub use date::{SentDate, parse_date};
pub use decode::{LINE_LEN_MAX, TextDecoder, TransferEncoding};
pub use envelope::Envelope;
pub use header::{Field, Fields, HeaderEnding, HeaderSelection, header_len, unfold_value, write_header_fields};
pub use header_cache::{CachedHeader, HeaderCacheError, encode_cached_header};
pub use limits::Limits;
pub use message_id::MessageIds;
pub use mime_parts::{MimePartsError, decode_mime_parts, encode_mime_parts};
pub use part::{Part, PartFlags, PartIndex, PartTree, Size};
pub use preview::{PREVIEW_LEN_MAX, PreviewText};
pub use scan::Scanner;
pub use section::{PartRanges, Section};
pub use structure::{CacheFlags, Structure};
pub use text::{decode_header_text, decode_text_part, decode_transfer_encoding};
