//! A snapshot: header, extensions, keywords, records.

use std::fmt;

use super::entry::{Entry, Sink, Value};
use crate::{
    snapshot,
    state::{DboxHeader, RawIndexHeader, State},
};

/// Names of the header's numbers, with their offsets.
const HEADER_FIELDS: [(&str, usize); 19] = [
    ("header_size", 4),
    ("record_size", 8),
    ("indexid", 16),
    ("flags", 20),
    ("uid_validity", 24),
    ("next_uid", 28),
    ("messages_count", 32),
    ("seen_messages_count", 40),
    ("deleted_messages_count", 44),
    ("first_recent_uid", 48),
    ("first_unseen_uid_lowwater", 52),
    ("first_deleted_uid_lowwater", 56),
    ("log_file_seq", 60),
    ("log_file_tail_offset", 64),
    ("log_file_head_offset", 68),
    ("log2_rotate_time", 76),
    ("last_temp_file_scan", 80),
    ("day_stamp", 84),
    ("day_first_uid", 88),
];

pub(super) fn dump(file: &[u8], out: &mut Sink<'_>) -> fmt::Result {
    header(file, out)?;
    let decoded = match snapshot::decode(file) {
        Ok(decoded) => decoded,
        Err(error) => {
            out(Entry::problem(0u64, error))?;
            return raw_records(file, out);
        }
    };
    for problem in &decoded.problems {
        out(Entry::problem(0u64, problem))?;
    }
    let state = &decoded.state;
    extensions(state, out)?;
    for (bit, keyword) in state.keywords().iter().enumerate() {
        out(Entry::new("keyword").with("bit", bit).with("name", Value::bytes(keyword.as_bytes())))?;
    }
    records(state, out)?;
    out(Entry::at("end", file.len() as u64))
}

/// What of the base header is there, even if nothing else is.
fn header(file: &[u8], out: &mut Sink<'_>) -> fmt::Result {
    let known = file.get(..RawIndexHeader::SIZE).unwrap_or(file);
    let mut entry = Entry::at("index-header", 0u64);
    if let &[major, minor, low, high, ..] = known {
        entry = entry.with("version", format!("{major}.{minor}"));
        entry = entry.with("base_header_size", u16::from_le_bytes([low, high]));
    }
    if let Some(&flags) = known.get(12) {
        entry = entry.with("compat_flags", flags);
    }
    for (name, offset) in HEADER_FIELDS {
        if let Some(bytes) = known.get(offset..).and_then(|rest| rest.first_chunk::<4>()) {
            entry = entry.with(name, u32::from_le_bytes(*bytes));
        }
    }
    out(entry)
}

fn extensions(state: &State, out: &mut Sink<'_>) -> fmt::Result {
    for (number, extension) in state.extensions().iter().enumerate() {
        let mut entry = Entry::new("extension")
            .with("id", number)
            .with("name", Value::bytes(extension.name()))
            .with("reset_id", extension.reset_id())
            .with("hdr_size", extension.hdr_size())
            .with("record_size", extension.record_size())
            .with("record_align", extension.record_align());
        match (extension.name(), DboxHeader::decode(extension)) {
            (b"dbox-hdr", Some(header)) => {
                entry = entry
                    .with("rebuild_count", header.rebuild_count)
                    .with("mailbox_guid", header.guid.to_string())
                    .with("dbox_flags", header.flags);
            }
            (b"modseq", _) => {
                if let (Some(highest), Some(seq), Some(offset)) =
                    (extension.hdr_bytes(0), extension.hdr_bytes(8), extension.hdr_bytes(12))
                {
                    entry = entry
                        .with("highest_modseq", u64::from_le_bytes(highest))
                        .with("log_seq", u32::from_le_bytes(seq))
                        .with("log_offset", u32::from_le_bytes(offset));
                }
            }
            (b"keywords", _) => {}
            _ if extension.hdr_size() > 0 => entry = entry.with("header", Value::hex(extension.hdr())),
            _ => {}
        }
        out(entry)?;
    }
    Ok(())
}

fn records(state: &State, out: &mut Sink<'_>) -> fmt::Result {
    for (seq, record) in state.records_from(0).enumerate() {
        let names = record.keyword_bits().iter().map(|bit| match state.keyword(bit) {
            Some(keyword) => Value::bytes(keyword.as_bytes()),
            None => Value::from(format!("bit-{bit}")),
        });
        let mut entry = Entry::new("record")
            .with("seq", seq + 1)
            .with("uid", record.uid().value())
            .with("flags", record.flags().to_string())
            .with("flag_bits", record.record_flags().0)
            .list("keywords", names)
            .with("modseq", record.modseq().value());
        if let Some(offset) = record.cache_offset() {
            entry = entry.with("cache_offset", offset);
        }
        let own = [&b"keywords"[..], b"modseq", b"cache"];
        let others = state.extensions().iter().enumerate().filter(|(_, ext)| !own.contains(&ext.name()));
        let fields = others.filter_map(|(number, ext)| {
            let field = record.field(number);
            let used = field.iter().any(|&byte| byte != 0);
            used.then(|| Value::Object(vec![("name", Value::bytes(ext.name())), ("data", Value::hex(field))]))
        });
        let fields: Vec<_> = fields.collect();
        if !fields.is_empty() {
            entry = entry.list("fields", fields);
        }
        out(entry)?;
    }
    Ok(())
}

/// UIDs and flags by the base header's sizes alone, for a file whose extensions cannot be read.
fn raw_records(file: &[u8], out: &mut Sink<'_>) -> fmt::Result {
    let number = |at: usize| file.get(at..).and_then(|rest| rest.first_chunk::<4>()).map(|b| u32::from_le_bytes(*b));
    let (Some(start), Some(size), Some(count)) = (number(4), number(8), number(32)) else { return Ok(()) };
    if size < 8 {
        return Ok(());
    }
    let records = file.get(start as usize..).unwrap_or(&[]).chunks_exact(size as usize).take(count as usize);
    for (i, record) in records.enumerate() {
        if let &[a, b, c, d, flags, ..] = record {
            let offset = u64::from(start) + i as u64 * u64::from(size);
            let entry = Entry::at("raw-record", offset).with("uid", u32::from_le_bytes([a, b, c, d]));
            out(entry.with("flag_bits", flags).with("fields", Value::hex(record.get(5..).unwrap_or(&[]))))?;
        }
    }
    Ok(())
}
