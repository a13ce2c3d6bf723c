//! A cache file: header, fields, and the records one after the other. Which message a record belongs to is known to
//! the index only.

use std::fmt;

use super::entry::{Entry, Sink, Value};
use crate::{
    cache::{CacheError, FieldKind, Fields, RawCacheHeader, decode_header, decode_mime_parts, read_record},
    offset_encoding::{align4, decode_offset},
};

pub(super) fn dump(file: &[u8], out: &mut Sink<'_>) -> fmt::Result {
    let mut window = file;
    let header = match RawCacheHeader::read(&mut window) {
        Ok(header) => header,
        Err(error) => return problem(&error, out),
    };
    out(header_entry(&header))?;
    let fields = match Fields::read(&mut window, &header) {
        Ok(fields) => fields,
        Err(error) => {
            problem(&error, out)?;
            Fields::default()
        }
    };
    for (number, field) in fields.all().iter().enumerate() {
        out(Entry::new("field")
            .with("number", number)
            .with("name", Value::bytes(&field.name))
            .with("type", kind_name(field.kind))
            .with("size", field.size.map_or(Value::from("variable"), Value::from))
            .with("decision", decision_name(field.decision.base().0))
            .with("forced", field.decision != field.decision.base())
            .with("last_used", field.last_used))?;
    }
    records(file, &header, &fields, out)
}

fn problem(error: &CacheError<std::convert::Infallible>, out: &mut Sink<'_>) -> fmt::Result {
    match error {
        CacheError::Damage(damage) => out(Entry::problem(damage.offset, damage)),
        CacheError::Read(never) => match *never {},
    }
}

fn header_entry(header: &RawCacheHeader) -> Entry {
    Entry::at("cache-header", 0u64)
        .with("version", format!("{}.{}", header.major_version, header.minor_version))
        .with("indexid", header.indexid.get())
        .with("file_seq", header.file_seq.get())
        .with("continued_record_count", header.continued_record_count.get())
        .with("record_count", header.record_count.get())
        .with("deleted_record_count", header.deleted_record_count.get())
        .with("field_header_offset", header.fields_offset().unwrap_or(0))
}

fn kind_name(kind: FieldKind) -> &'static str {
    match kind {
        FieldKind::Fixed => "fixed",
        FieldKind::Variable => "variable",
        FieldKind::String => "string",
        FieldKind::Bitmask => "bitmask",
        FieldKind::Header => "header",
    }
}

fn decision_name(decision: u8) -> &'static str {
    match decision {
        0 => "no",
        1 => "temp",
        2 => "yes",
        _ => "unknown",
    }
}

/// Goes through the file: what is not a block of fields of the chain is a record.
fn records(file: &[u8], header: &RawCacheHeader, fields: &Fields, out: &mut Sink<'_>) -> fmt::Result {
    let blocks = blocks(file, header);
    let mut at = RawCacheHeader::SIZE as u32;
    while (at as usize) < file.len() {
        if let Some((_, size)) = blocks.iter().find(|(offset, _)| *offset == at) {
            out(Entry::at("field-block", at).with("size", *size))?;
            at = at.saturating_add(align4(*size as usize) as u32);
            continue;
        }
        let mut window = file;
        let record = match read_record(&mut window, at) {
            Ok(record) => record,
            Err(error) => {
                problem(&error, out)?;
                // Only a known block tells where to go on.
                match blocks.iter().map(|(offset, _)| *offset).filter(|&offset| offset > at).min() {
                    Some(next) => at = next,
                    None => break,
                }
                continue;
            }
        };
        let mut entry = Entry::at("record", at).with("size", record.size()).with("prev_offset", record.prev_offset);
        let mut values = Vec::new();
        let mut wrong = None;
        for value in record.values(fields) {
            match value {
                Ok((number, value)) => values.push(describe(fields, number, value)),
                Err(kind) => wrong = Some(kind),
            }
        }
        entry = entry.list("values", values);
        let size = record.size();
        out(entry)?;
        if let Some(wrong) = wrong {
            out(Entry::problem(at, wrong))?;
        }
        at = at.saturating_add(size);
    }
    out(Entry::at("end", file.len() as u64))
}

/// Offsets and sizes of the chain of field blocks, as far as it can be followed.
fn blocks(file: &[u8], header: &RawCacheHeader) -> Vec<(u32, u32)> {
    let mut blocks: Vec<(u32, u32)> = Vec::new();
    let mut next = header.fields_offset();
    while let Some(at) = next {
        let Some(&[a, b, c, d, e, f, g, h]) = file.get(at as usize..).and_then(|rest| rest.first_chunk::<8>()) else {
            break;
        };
        let size = u32::from_le_bytes([e, f, g, h]);
        if size < 12 || file.len() - (at as usize) < size as usize {
            break;
        }
        blocks.push((at, size));
        next = decode_offset([a, b, c, d]).filter(|&next| next > at);
    }
    blocks
}

fn describe(fields: &Fields, number: u32, value: &[u8]) -> Value {
    let field = fields.get(number);
    let name = field.map_or(&b""[..], |field| &field.name);
    let shown = match (field.map(|field| field.kind), value) {
        (Some(FieldKind::Header), _) => match decode_header(value) {
            Some(header) => Value::Object(vec![
                ("lines", Value::List(header.lines.into_iter().map(Value::from).collect())),
                ("text", Value::bytes(header.text)),
            ]),
            None => Value::hex(value),
        },
        (Some(FieldKind::String), _) => Value::bytes(value),
        (Some(FieldKind::Bitmask), _) => Value::hex(value),
        (Some(FieldKind::Fixed), &[a, b, c, d]) => u32::from_le_bytes([a, b, c, d]).into(),
        (Some(FieldKind::Fixed), &[a, b, c, d, e, f, g, h]) if name.starts_with(b"size.") => {
            u64::from_le_bytes([a, b, c, d, e, f, g, h]).into()
        }
        _ if name == b"mime.parts" => match decode_mime_parts(value) {
            Some(parts) => Value::List(parts.iter().map(mime_part).collect()),
            None => Value::hex(value),
        },
        _ => Value::hex(value),
    };
    Value::Object(vec![("field", Value::bytes(name)), ("value", shown)])
}

fn mime_part(part: &crate::cache::MimePart) -> Value {
    Value::Object(vec![
        ("flags", part.flags.into()),
        ("pos", part.physical_pos.into()),
        ("header", part.header_physical.into()),
        ("header_virtual", part.header_virtual.into()),
        ("body", part.body_physical.into()),
        ("body_virtual", part.body_virtual.into()),
        ("lines", part.body_lines.into()),
        ("children", part.children.into()),
    ])
}
