//! What the cache is given of a message: the values that clients ask for most (`docs/formats/cache.md`, "Fields").

use mailindex::{cache::SentDate, engine::CacheValues};
use mailmime::{CacheFlags, Envelope, Structure, encode_cached_header, encode_mime_parts};
use mailtypes::InternalDate;

use crate::preview::CACHED_PREFIX;

/// The preview's cache field.
pub(super) const PREVIEW_FIELD: &str = "body.snippet";

/// What stands before the name of a header field in the name of its cache field.
pub(super) const HEADER_PREFIX: &str = "hdr.";

/// Header fields that are cached for new messages besides those of the envelope.
const HEADERS_BESIDE_ENVELOPE: [&str; 1] = ["References"];

/// All that is known of a message that was just taken in. The engine drops what the cache's decisions do not want.
pub(crate) fn values_of_saved(structure: &Structure, preview: Option<&str>, received: u32, now: u32) -> CacheValues {
    let mut values = CacheValues::default();
    values.put("date.received", received.to_le_bytes());
    values.put("date.save", now.to_le_bytes());
    put_structure(&mut values, structure);
    if let Some(preview) = preview {
        put_preview(&mut values, preview);
    }
    let header = structure.header();
    if structure.header_is_whole() {
        for name in Envelope::FIELDS.iter().chain(&HEADERS_BESIDE_ENVELOPE) {
            put_header(&mut values, header, name);
        }
    }
    values
}

/// What a whole parse tells.
pub(super) fn put_structure(values: &mut CacheValues, structure: &Structure) {
    let flags = structure.cache_flags();
    values.put("flags", flags.bits().to_le_bytes());
    values.put("date.sent", sent_date(structure).encode());
    values.put("size.virtual", structure.virtual_len().to_le_bytes());
    values.put("mime.parts", encode_mime_parts(structure.tree()));
    // Of a plain text the structure follows from the parts.
    if flags.bits() & CacheFlags::PLAIN_7BIT == 0 {
        let mut text = Vec::new();
        structure.write_bodystructure_inner(&mut text);
        values.put("imap.bodystructure", text);
    }
}

/// The first words, behind the mark of how they were made.
pub(super) fn put_preview(values: &mut CacheValues, text: &str) {
    values.put(PREVIEW_FIELD, format!("{CACHED_PREFIX}{text}"));
}

/// A field of the message's header.
pub(super) fn put_header(values: &mut CacheValues, header: &[u8], name: &str) {
    values.put(format!("{HEADER_PREFIX}{name}"), encode_cached_header(header, name.as_bytes()));
}

/// As the cache has it: all zero where the message has no date.
fn sent_date(structure: &Structure) -> SentDate {
    let none = SentDate { time: 0, zone: 0 };
    structure.sent_date().map_or(none, |date| encode_sent_date(date_of(date)))
}

pub(super) fn date_of(date: mailmime::SentDate) -> InternalDate {
    InternalDate { unix: date.unix_seconds, zone: i16::try_from(date.zone_minutes).unwrap_or(0) }
}

pub(super) fn encode_sent_date(date: InternalDate) -> SentDate {
    SentDate { time: u32::try_from(date.unix).unwrap_or(0), zone: i32::from(date.zone) }
}

/// The date of a cached value; `None` where the message has none.
pub(super) fn decode_sent_date(value: &[u8]) -> Option<Option<InternalDate>> {
    let date = SentDate::decode(value)?;
    let zone = i16::try_from(date.zone).ok()?;
    Some((date.time != 0 && date.time != u32::MAX).then(|| InternalDate { unix: i64::from(date.time), zone }))
}
