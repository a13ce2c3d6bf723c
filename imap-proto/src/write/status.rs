//! Status responses (RFC 9051 §7.1) and continuations (§7.6).

use super::{
    code::{Code, code},
    strings::text,
};
use crate::{CommandError, ErrorKind, Tag};

/// How a command ended.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Status {
    /// Done.
    Ok,
    /// Not done.
    No,
    /// Not understood.
    Bad,
}

impl Status {
    const fn name(self) -> &'static [u8] {
        match self {
            Self::Ok => b"OK ",
            Self::No => b"NO ",
            Self::Bad => b"BAD ",
        }
    }
}

/// Writes a tagged response: the end of a command.
pub fn tagged(out: &mut Vec<u8>, tag: &Tag, status: Status, with: Option<Code<'_>>, say: &str) {
    out.extend_from_slice(tag.as_str().as_bytes());
    out.push(b' ');
    status_line(out, status.name(), with, say);
}

/// Writes `tag OK text`.
pub fn ok(out: &mut Vec<u8>, tag: &Tag, say: &str) {
    tagged(out, tag, Status::Ok, None, say);
}

/// Writes `tag NO [code] text`.
pub fn no(out: &mut Vec<u8>, tag: &Tag, with: Option<Code<'_>>, say: &str) {
    tagged(out, tag, Status::No, with, say);
}

/// Writes `tag BAD text`.
pub fn bad(out: &mut Vec<u8>, tag: &Tag, say: &str) {
    tagged(out, tag, Status::Bad, None, say);
}

/// Writes `* OK [code] text` and the like.
pub fn untagged_status(out: &mut Vec<u8>, status: Status, with: Option<Code<'_>>, say: &str) {
    out.extend_from_slice(b"* ");
    status_line(out, status.name(), with, say);
}

/// Writes the greeting of a connection that is not authenticated: `* OK [CAPABILITY ...] text`.
pub fn greeting(out: &mut Vec<u8>, capabilities: &str, say: &str) {
    untagged_status(out, Status::Ok, Some(Code::Capability(capabilities)), say);
}

/// Writes the greeting of a connection that is authenticated: `* PREAUTH [CAPABILITY ...] text`.
pub fn preauth(out: &mut Vec<u8>, capabilities: &str, say: &str) {
    out.extend_from_slice(b"* ");
    status_line(out, b"PREAUTH ", Some(Code::Capability(capabilities)), say);
}

/// Writes `* BYE [code] text`.
pub fn bye(out: &mut Vec<u8>, with: Option<Code<'_>>, say: &str) {
    out.extend_from_slice(b"* ");
    status_line(out, b"BYE ", with, say);
}

/// Writes `+ text`: to accept a literal, to begin IDLE, or with a challenge in base64.
pub fn continuation(out: &mut Vec<u8>, say: &str) {
    out.extend_from_slice(b"+ ");
    out.extend(say.bytes().filter(|b| matches!(b, b' '..=b'~')));
    out.extend_from_slice(b"\r\n");
}

/// Writes an untagged line, its words given whole.
pub fn untagged(out: &mut Vec<u8>, line: &str) {
    out.extend_from_slice(b"* ");
    text(out, line);
    out.extend_from_slice(b"\r\n");
}

/// Writes the answer to a command that could not be read; for a fatal error also a BYE, after which the connection is
/// to be closed.
pub fn command_error(out: &mut Vec<u8>, error: &CommandError) {
    let (status, with) = match error.kind {
        ErrorKind::Syntax | ErrorKind::UnknownCommand => (Status::Bad, None),
        ErrorKind::Limit => (Status::Bad, Some(Code::Limit)),
        ErrorKind::TooBig => (Status::No, Some(Code::TooBig)),
        ErrorKind::UnknownUse => (Status::No, Some(Code::UseAttr)),
        ErrorKind::BadCharset { .. } => (Status::No, Some(Code::BadCharset)),
        ErrorKind::LineTooLong | ErrorKind::LiteralTooLong => (Status::Bad, Some(Code::TooBig)),
    };
    match &error.tag {
        Some(tag) => tagged(out, tag, status, with, error.text),
        None => untagged_status(out, Status::Bad, with, error.text),
    }
    if error.is_fatal() {
        bye(out, None, error.text);
    }
}

fn status_line(out: &mut Vec<u8>, name: &[u8], with: Option<Code<'_>>, say: &str) {
    out.extend_from_slice(name);
    if let Some(with) = with {
        code(out, with);
        out.push(b' ');
    }
    text(out, say);
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines() {
        let tag = Tag::new(b"a1").unwrap();
        assert_eq!(written(|out| ok(out, &tag, "Done.")), "a1 OK Done.\r\n");
        assert_eq!(
            written(|out| no(out, &tag, Some(Code::TryCreate), "No such mailbox.")),
            "a1 NO [TRYCREATE] No such mailbox.\r\n"
        );
        assert_eq!(written(|out| greeting(out, "IMAP4rev1", "Ready.")), "* OK [CAPABILITY IMAP4rev1] Ready.\r\n");
        assert_eq!(written(|out| bye(out, None, "")), "* BYE .\r\n");
        assert_eq!(written(|out| continuation(out, "")), "+ \r\n");
    }

    #[test]
    fn text_cannot_break_a_line() {
        let tag = Tag::new(b"a1").unwrap();
        assert_eq!(written(|out| bad(out, &tag, "x\r\na2 OK ü")), "a1 BAD x??a2 OK ??\r\n");
    }

    #[test]
    fn errors_without_a_tag_are_untagged_and_fatal_ones_end_with_bye() {
        let error = |tag, kind| CommandError { tag, kind, text: "Oh." };
        let tag = Tag::new(b"t");
        assert_eq!(written(|out| command_error(out, &error(None, ErrorKind::Syntax))), "* BAD Oh.\r\n");
        assert_eq!(written(|out| command_error(out, &error(tag.clone(), ErrorKind::TooBig))), "t NO [TOOBIG] Oh.\r\n");
        let fatal = written(|out| command_error(out, &error(tag, ErrorKind::LineTooLong)));
        assert_eq!(fatal, "t BAD [TOOBIG] Oh.\r\n* BYE Oh.\r\n");
    }
}
