//! Files of lines that belong to a store as a whole.

use std::{fmt, path::Path};

use super::{Sink, text};

/// Names in their order, TAB for `/` in version 2 (`docs/formats/list.md`).
pub(super) fn subscriptions(bytes: &[u8], out: &mut Sink<'_>) -> fmt::Result {
    let mut offset = 0;
    let is_v2 = bytes.starts_with(b"V\t");
    for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let name = line.strip_suffix(b"\n");
        match name {
            None => out.item("unfinished", offset, &[("line", text(line))])?,
            Some(version) if number == 0 && is_v2 => {
                out.item("version", offset, &[("version", text(version.get(2..).unwrap_or_default()))])?;
                if version != b"V\t2" {
                    out.problem(offset, "a version that is not known: nobody reads the names")?;
                }
            }
            Some([]) => {}
            Some(name) => {
                let levels: Vec<u8> = name.iter().map(|b| if is_v2 && *b == b'\t' { b'/' } else { *b }).collect();
                out.item("name", offset, &[("name", text(&levels))])?;
                if levels.iter().any(u8::is_ascii_control) {
                    out.problem(offset, "no name of a mailbox")?;
                }
            }
        }
        offset += line.len() as u64;
    }
    out.item("end", bytes.len() as u64, &[])
}

/// Eight hex digits: in the name of the one file, in the other itself.
pub(super) fn uid_validity(path: &Path, bytes: &[u8], out: &mut Sink<'_>) -> fmt::Result {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let in_name = name.strip_prefix("dovecot-uidvalidity.");
    let digits = in_name.unwrap_or(std::str::from_utf8(bytes).unwrap_or_default());
    match u32::from_str_radix(digits, 16).ok().filter(|_| digits.len() == 8) {
        Some(value) => out.item("last-given", 0, &[("uid_validity", value.into())]),
        None => out.problem(0, "it has not eight hex digits: the time is taken for the next UIDVALIDITY"),
    }
}

/// What a conversion has done ([`Journal`](crate::convert::Journal)): a word and its fields on a line, TABs between them.
pub(super) fn conversion(bytes: &[u8], out: &mut Sink<'_>) -> fmt::Result {
    let mut offset = 0;
    for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let whole = line.strip_suffix(b"\n");
        let mut fields = whole.unwrap_or(line).split(|byte| *byte == b'\t').map(text);
        let word = fields.next().unwrap_or_default();
        let mut named = |kind: &str, names: &[&'static str]| {
            let values: Vec<_> = names.iter().copied().zip(fields.by_ref()).collect();
            out.item(kind, offset, &values)
        };
        match (whole, word.as_str().unwrap_or_default()) {
            (None, _) => out.item("unfinished", offset, &[("line", text(line))])?,
            (Some(_), version) if number == 0 && version.starts_with("culver-convert ") => {
                let version = text(version.trim_start_matches("culver-convert ").as_bytes());
                out.item("version", offset, &[("version", version)])?;
            }
            (Some(_), "B") => named("begun", &["guid", "name"])?,
            (Some(_), "D") => named("done", &["guid", "name", "source", "destination", "failed"])?,
            (Some(_), "X") => named("deleted", &["guid"])?,
            (Some(_), "S") => {
                let names: Vec<_> = fields.collect();
                out.item("subscriptions", offset, &[("names", names.into())])?;
            }
            (Some(_), _) => out.problem(offset, "a line that says nothing")?,
        }
        offset += line.len() as u64;
    }
    out.item("end", bytes.len() as u64, &[])
}
