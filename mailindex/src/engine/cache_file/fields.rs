//! Which values are cached: the fields a new file begins with, and what the decisions of an existing one allow.

use crate::cache::{Decision, Field, FieldKind, standard_fields};

/// What stands before the name of a header field.
const HEADER_PREFIX: &str = "hdr.";

/// Header fields that clients ask for in nearly every listing. With the values below a usual message takes some 700 bytes
/// of cache, so that a million of them stay under the gigabyte at which Dovecot drops the file.
const HEADERS: [&str; 11] = [
    "hdr.date",
    "hdr.subject",
    "hdr.from",
    "hdr.sender",
    "hdr.reply-to",
    "hdr.to",
    "hdr.cc",
    "hdr.bcc",
    "hdr.in-reply-to",
    "hdr.message-id",
    "hdr.references",
];

/// Of the standard fields, those that are stored from the start.
const STORED: [&[u8]; 7] =
    [b"flags", b"date.sent", b"date.received", b"date.save", b"size.virtual", b"imap.bodystructure", b"mime.parts"];

/// The fields of a new file: Dovecot's fifteen in its order, then header fields.
pub(super) fn new_file_fields(now: u32) -> Vec<Field> {
    let mut fields = standard_fields();
    for field in &mut fields {
        if STORED.contains(&&*field.name) {
            field.decision = Decision::TEMP;
            field.last_used = now;
        }
    }
    fields.extend(HEADERS.iter().map(|name| header_field(name, now)));
    fields
}

/// A field that a file lacks, ready to be added; `None` for a name that stands for nothing.
pub(super) fn missing_field(name: &str, now: u32) -> Option<Field> {
    if name.len() > HEADER_PREFIX.len() && name.get(..4).is_some_and(|p| p.eq_ignore_ascii_case(HEADER_PREFIX)) {
        return Some(header_field(name, now));
    }
    let standard = standard_fields().into_iter().find(|field| field.name.eq_ignore_ascii_case(name.as_bytes()))?;
    Some(Field { decision: Decision::TEMP, last_used: now, ..standard })
}

fn header_field(name: &str, now: u32) -> Field {
    Field { last_used: now, ..Field::variable(name, FieldKind::Header, Decision::TEMP) }
}
