//! The messages of an mbox file (`docs/formats/mbox.md`).

use std::{fmt, io::ErrorKind, path::Path};

use mailfs::FileSystem;
use serde_json::Value;

use super::{Sink, text};
use crate::{mbox::MboxReader, traits::Result};

/// Header fields that programs keep for themselves.
const OWN_FIELDS: [(&str, &str); 6] = [
    ("x_uid", "X-UID"),
    ("status", "Status"),
    ("x_status", "X-Status"),
    ("x_keywords", "X-Keywords"),
    ("x_imapbase", "X-IMAPbase"),
    ("x_imap", "X-IMAP"),
];

/// How much of a header is looked at for them.
const HEADER_LEN_MAX: usize = 64 << 10;

/// Prints a line a message.
pub(super) fn dump(fs: &dyn FileSystem, path: &Path, out: &mut Sink<'_>) -> Result<fmt::Result> {
    let mut reader = match MboxReader::open(fs, path) {
        Err(e) if e.kind() == ErrorKind::InvalidData => {
            return Ok(out.problem(0, "it does not begin with a line \"From sender date\""));
        }
        other => other?,
    };
    while let Some(message) = reader.next_message()? {
        let mut values: Vec<(&str, Value)> = vec![
            ("end", message.end.into()),
            ("body", message.body.start.into()),
            ("body_len", (message.body.end - message.body.start).into()),
            ("sender", text(&message.from.sender)),
            ("date", message.from.date.seconds.into()),
            ("by_length", message.has_length.into()),
        ];
        let header = usize::try_from(message.body.start - message.start).unwrap_or(usize::MAX).min(HEADER_LEN_MAX);
        let mut bytes = vec![0; header];
        let read = reader.file().read_at(&mut bytes, message.start)?;
        bytes.truncate(read);
        for (name, field) in OWN_FIELDS {
            if let Some(value) = field_of(&bytes, field) {
                values.push((name, text(value)));
            }
        }
        if let Err(e) = out.item("message", message.start, &values) {
            return Ok(Err(e));
        }
    }
    Ok(out.item("end", reader.len(), &[]))
}

/// The first line of a field, whatever its case.
fn field_of<'a>(header: &'a [u8], name: &str) -> Option<&'a [u8]> {
    let mut lines = header.split(|byte| *byte == b'\n');
    lines.find_map(|line| {
        let (start, value) = line.split_at_checked(name.len())?;
        let value = value.strip_prefix(b":")?;
        start.eq_ignore_ascii_case(name.as_bytes()).then(|| value.trim_ascii())
    })
}
