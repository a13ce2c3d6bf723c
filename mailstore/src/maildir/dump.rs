//! The files of a Maildir mailbox as text or JSON.

use std::{ffi::OsStr, fmt, os::unix::ffi::OsStrExt, path::Path};

use mailtypes::{Guid, Uid, UidValidity};
use serde_json::Value;

use super::{
    keywords::Keywords,
    name,
    uidlist::{self, Uidlist},
};
use crate::dump::{Sink, text};

/// Prints `dovecot-uidlist` line by line.
pub(crate) fn uidlist(bytes: &[u8], out: &mut Sink<'_>) -> fmt::Result {
    let flaws = uidlist::flaws(bytes);
    let mut offset = 0;
    for (number, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        let flaw = flaws.iter().find(|flaw| flaw.offset == offset);
        match line.strip_suffix(b"\n") {
            None => out.item("unfinished", offset, &[("line", text(line))])?,
            Some(first) if number == 0 => {
                let header = Uidlist::parse(line).header;
                let number = |n: Option<u32>| n.map_or(Value::Null, Value::from);
                out.item(
                    "header",
                    offset,
                    &[
                        ("line", text(first)),
                        ("uid_validity", number(header.uid_validity.map(UidValidity::value))),
                        ("next_uid", number(header.next_uid.map(Uid::value))),
                        ("guid", header.guid.map_or(Value::Null, |guid: Guid| guid.to_string().into())),
                    ],
                )?;
            }
            Some(_) if flaw.is_some() => {}
            Some(line) => {
                let (uid, rest) = line.split_at(memchr::memchr(b' ', line).unwrap_or(line.len()));
                let at = memchr::memmem::find(rest, b" :");
                let (keys, file) = match at {
                    Some(at) => (rest.get(1..at.max(1)).unwrap_or_default(), rest.get(at + 2..).unwrap_or_default()),
                    None => (&[][..], rest.trim_ascii()),
                };
                let uid = std::str::from_utf8(uid).ok().and_then(|uid| uid.parse::<u32>().ok());
                let uid = uid.map_or(Value::Null, Value::from);
                out.item("message", offset, &[("uid", uid), ("keys", text(keys)), ("file", text(file))])?;
            }
        }
        if let Some(flaw) = flaw {
            out.problem(offset, &flaw.what)?;
        }
        offset += line.len() as u64;
    }
    out.item("end", bytes.len() as u64, &[])
}

/// Prints `dovecot-keywords`, with the letters that names have for them.
pub(crate) fn keywords(bytes: &[u8], out: &mut Sink<'_>) -> fmt::Result {
    let mut offset = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        let words = std::str::from_utf8(line).ok().and_then(|line| line.trim_end().split_once(' '));
        match words.filter(|_| Keywords::is_line(line)) {
            Some((number, keyword)) => {
                let letter = number.parse::<u8>().ok().map(|n| char::from(b'a'.saturating_add(n)).to_string());
                out.item("keyword", offset, &[("letter", letter.into()), ("keyword", keyword.into())])?;
            }
            None => out.problem(offset, "the line gives no letter a keyword")?,
        }
        offset += line.len() as u64;
    }
    out.item("end", bytes.len() as u64, &[])
}

/// Prints what the name of a message's file says.
pub(crate) fn name(path: &Path, len: Option<u64>, out: &mut Sink<'_>) -> fmt::Result {
    let file = path.file_name().map(OsStr::as_bytes).unwrap_or_default();
    let (base, info) = name::split(file);
    let said = name::flags_of(info);
    let letters: String =
        said.letters.iter().filter_map(|n| u8::try_from(n).ok()).map(|n| char::from(b'a' + n)).collect();
    let size = |key| name::size_in(base, key).map_or(Value::Null, Value::from);
    out.item(
        "name",
        0,
        &[
            ("base", text(base)),
            ("flags", name::letters_of(said.flags).into()),
            ("keywords", letters.into()),
            ("S", size(b'S')),
            ("W", size(b'W')),
            ("arrival", name::arrival_order(base).0.into()),
            ("len", len.map_or(Value::Null, Value::from)),
        ],
    )?;
    if !name::is_message(file) {
        out.problem(0, "nobody takes a file of this name for a message")?;
    }
    match (name::size_in(base, b'S'), len) {
        (Some(told), Some(len)) if told != len => out.problem(0, "the size in the name is not the file's"),
        _ => Ok(()),
    }
}
