//! The cache file: values per message that are expensive to compute (`docs/formats/cache.md`). All of it may be lost
//! without harm; a wrong value in it is served to clients.
//!
//! Invariants:
//! 1. Nothing here does I/O: bytes come through a [`Window`], encoders return bytes and say where they belong.
//! 2. Chains of records go strictly backwards, chains of field blocks strictly forwards: neither can loop.
//! 3. A field's number is its position in the newest block and never changes within one file.

mod fields;
mod header;
mod mime_parts;
mod record;
mod value;
mod window;

pub use fields::{Decision, FIELDS_MAX, Field, FieldKind, Fields, NAME_LEN_MAX, UnusableField, standard_fields};
pub use header::RawCacheHeader;
pub use mime_parts::{MIME_PARTS_MAX, MimePart, decode_mime_parts, encode_mime_parts};
pub use record::{
    CHAIN_LEN_MAX, RECORD_SIZE_MAX, Record, UnwritableRecord, Values, encode_record, read_record, read_values,
};
pub use value::{HeaderValue, SentDate, decode_header, encode_header};
pub use window::{CacheDamage, CacheDamageKind, CacheError, Window};

/// A new file without records: header, then one block of fields. Its records begin at the length of the result.
pub fn encode_new_file(index_id: u32, file_seq: u32, fields: &[Field]) -> Result<Vec<u8>, UnusableField> {
    use zerocopy::IntoBytes;
    let mut out = RawCacheHeader::new(index_id, file_seq).as_bytes().to_vec();
    out.extend(Fields::encode_block(fields)?);
    let size = (out.len() as u32).into();
    if let Some(header) = zerocopy::FromBytes::mut_from_prefix(&mut out).ok().map(|(h, _): (&mut RawCacheHeader, _)| h)
    {
        header.used_file_size = size;
    }
    Ok(out)
}

#[cfg(test)]
mod tests;
