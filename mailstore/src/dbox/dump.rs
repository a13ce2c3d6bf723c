//! Any dbox file as text and as JSON, whatever state it is in.

use std::fmt::Write as _;

use mailfs::File;
use serde_json::{Value, json};

use super::{
    DboxError, FileHeader, MessageHeader, Metadata, MetadataKey,
    header::{MAGIC_POST, MAGIC_PRE},
};

/// Messages shown of one file; an `m.<id>` file of ten megabytes has at most some 80,000.
const MESSAGE_COUNT_MAX: usize = 100_000;

/// Damaged places told of one file; then no more is looked for.
const DAMAGE_COUNT_MAX: usize = 1000;

/// Read behind a body at first; more only for metadata that is longer, which it is with many attachments.
const METADATA_FIRST_READ_LEN: usize = 1024;

/// How much is read at once when a damaged stretch is searched for the next message.
const SEARCH_WINDOW_LEN: usize = 64 << 10;

/// What stands in a dbox file.
#[derive(Clone, Debug, PartialEq)]
pub struct Dump {
    /// For people.
    pub text: String,
    /// For programs: `header`, `messages` with their offsets, sizes and metadata, `damage`.
    pub json: Value,
}

/// Decodes a `u.<uid>` or `m.<id>` file. Damage is shown in its place and the next message looked for; only a failing
/// file system is an error. Bodies are not read.
pub fn dump(file: &dyn File) -> Result<Dump, DboxError> {
    let mut dumper = Dumper { file, len: file.len()?, text: String::new(), messages: Vec::new(), damage: Vec::new() };
    let header = dumper.run()?;
    let json = json!({
        "header": header.map(|h| json!({"message_header_len": h.message_header_len, "created": h.created})),
        "messages": dumper.messages,
        "damage": dumper.damage,
        "len": dumper.len,
    });
    Ok(Dump { text: dumper.text, json })
}

struct Dumper<'a> {
    file: &'a dyn File,
    len: u64,
    text: String,
    messages: Vec<Value>,
    damage: Vec<Value>,
}

impl Dumper<'_> {
    fn run(&mut self) -> Result<Option<FileHeader>, DboxError> {
        let (header, mut at) = match FileHeader::parse(&self.read(0, FileHeader::LEN_MAX)?) {
            Ok((header, len)) => {
                let FileHeader { message_header_len, created } = header;
                self.line(format_args!("file header: message headers of {message_header_len} bytes, made {created}"));
                (Some(header), len as u64)
            }
            Err(DboxError::Damaged { offset, what }) => {
                self.damaged(offset, what);
                (None, 0)
            }
            Err(e) => return Err(e),
        };
        let header_len = u64::from(header.map_or(MessageHeader::LEN as u32, |h| h.message_header_len));
        while at < self.len {
            if self.messages.len() >= MESSAGE_COUNT_MAX {
                self.damaged(at, "more messages than are shown");
                break;
            }
            match self.message(at, header_len) {
                Ok(end) => at = end,
                Err(DboxError::Damaged { offset, what }) => {
                    self.damaged(offset, what);
                    if self.damage.len() >= DAMAGE_COUNT_MAX {
                        self.line(format_args!("more than {DAMAGE_COUNT_MAX} damaged places, the rest is not shown"));
                        break;
                    }
                    match self.next_message(at + 1)? {
                        Some(next) => at = next,
                        None => break,
                    }
                }
                Err(e) => return Err(e),
            }
        }
        Ok(header)
    }

    /// Shows the message at `at` and tells where it ends.
    fn message(&mut self, at: u64, header_len: u64) -> Result<u64, DboxError> {
        let header = MessageHeader::parse(&self.read(at, MessageHeader::LEN)?, at)?;
        let body_offset = at + header_len;
        let body_end = body_offset.checked_add(header.body_len).filter(|end| *end <= self.len);
        let body_end = body_end.ok_or(DboxError::damaged(at, "the body does not fit into the file"))?;
        let (metadata, end) = match self.metadata(body_end, METADATA_FIRST_READ_LEN) {
            Err(DboxError::Damaged { .. }) => self.metadata(body_end, Metadata::LEN_MAX)?,
            other => other?,
        };
        self.line(format_args!(
            "message at {at}: kind {}, body of {} bytes at {body_offset}, whole {} bytes",
            char::from(header.kind).escape_default(),
            header.body_len,
            end - at
        ));
        let mut values = Vec::new();
        for (key, value) in metadata.lines() {
            let (letter, value) = (char::from(key.0).escape_default(), value.escape_ascii());
            self.line(format_args!("  {letter} {value}{}", explain(key, &metadata)));
            values.push(json!({"key": letter.to_string(), "value": value.to_string()}));
        }
        self.messages.push(json!({
            "offset": at,
            "kind": char::from(header.kind).to_string(),
            "body_offset": body_offset,
            "body_len": header.body_len,
            "end": end,
            "metadata": values,
        }));
        Ok(end)
    }

    /// The metadata at `at`, if it takes no more than `len` bytes, and where it ends.
    fn metadata(&self, at: u64, len: usize) -> Result<(Metadata, u64), DboxError> {
        let bytes = self.read(at, len)?;
        let lines = bytes.strip_prefix(&MAGIC_POST).ok_or(DboxError::damaged(at, "no metadata after the body"))?;
        let lines_offset = at + MAGIC_POST.len() as u64;
        let (metadata, len) = Metadata::parse(lines, lines_offset)?;
        Ok((metadata, lines_offset + len as u64))
    }

    /// Where the next thing that looks like a message header begins.
    fn next_message(&self, from: u64) -> Result<Option<u64>, DboxError> {
        let mut at = from;
        while at < self.len {
            let window = self.read(at, SEARCH_WINDOW_LEN)?;
            for found in memchr::memmem::find_iter(&window, &MAGIC_PRE) {
                let offset = at + found as u64;
                if MessageHeader::parse(&self.read(offset, MessageHeader::LEN)?, offset).is_ok() {
                    return Ok(Some(offset));
                }
            }
            // One byte twice, for a magic that the window's end cuts.
            at += (window.len() as u64).saturating_sub(1).max(1);
        }
        Ok(None)
    }

    fn read(&self, offset: u64, len: usize) -> Result<Vec<u8>, DboxError> {
        let there = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; there.min(len)];
        let read = self.file.read_at(&mut bytes, offset)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{line}");
    }

    fn damaged(&mut self, offset: u64, what: &str) {
        self.line(format_args!("DAMAGE at {offset}: {what}"));
        self.damage.push(json!({"offset": offset, "what": what}));
    }
}

fn explain(key: MetadataKey, metadata: &Metadata) -> String {
    match key {
        MetadataKey::RECEIVED => metadata.received().map_or_else(String::new, |t| format!(" (received {t})")),
        MetadataKey::VIRTUAL_SIZE => metadata.virtual_size().map_or_else(String::new, |n| format!(" ({n} with CRLF)")),
        MetadataKey::CHECKSUM => " (checksum of the body, by Culver)".to_owned(),
        MetadataKey::PHYSICAL_SIZE => metadata.physical_size().map_or_else(String::new, |n| format!(" ({n} with LF)")),
        _ => String::new(),
    }
}
