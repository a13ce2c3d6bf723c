//! Numbers and strings.

use std::borrow::Cow;

use mailtypes::{Flags, Guid, Keyword, MailboxName, UidSet, mutf7};

use crate::parse::chars;

/// Longer strings are written as literals; some clients have a limit for lines.
const QUOTED_LEN_MAX: usize = 1_000;

/// Digits of `u64::MAX`.
const DIGITS_MAX: usize = 20;

/// Writes a number.
pub fn number(out: &mut Vec<u8>, n: impl Into<u64>) {
    let mut n = n.into();
    let mut digits = [b'0'; DIGITS_MAX];
    let mut len = 0;
    for digit in digits.iter_mut().rev() {
        *digit += (n % 10) as u8;
        n /= 10;
        len += 1;
        if n == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(DIGITS_MAX - len..).unwrap_or_default());
}

/// Whether the bytes can stand in a quoted string for any client: 7 bit, and not too long.
pub(crate) fn is_quotable(bytes: &[u8]) -> bool {
    bytes.len() <= QUOTED_LEN_MAX && bytes.iter().all(|&b| b < 0x80 && chars::is_quotable(b))
}

/// Writes a `quoted` of bytes that have no NUL, CR or LF; such bytes are left out.
pub fn quoted(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for &b in bytes {
        if matches!(b, b'"' | b'\\') {
            out.push(b'\\');
        }
        if chars::is_quotable(b) {
            out.push(b);
        }
    }
    out.push(b'"');
}

/// Writes the announcement of a literal of `len` bytes, which are to follow.
pub fn literal_head(out: &mut Vec<u8>, len: u64) {
    out.push(b'{');
    number(out, len);
    out.extend_from_slice(b"}\r\n");
}

/// Writes a `string`: quoted where that can be, else a literal, in which 0x80 stands for any NUL: no string may hold one.
pub fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    if is_quotable(bytes) {
        quoted(out, bytes);
    } else {
        literal_head(out, bytes.len() as u64);
        out.extend(bytes.iter().map(|&b| if b == 0 { 0x80 } else { b }));
    }
}

/// Writes an `nstring`: a `string` or NIL.
pub fn nstring(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => string(out, bytes),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// Whether the bytes can stand as an `astring` without quotes. `NIL` is better quoted, and so is what a client could take
/// for the beginning of a `BODY[` section.
pub(crate) fn is_plain_astring(bytes: &[u8]) -> bool {
    !bytes.is_empty()
        && bytes.len() <= QUOTED_LEN_MAX
        && bytes.iter().all(|&b| chars::is_astring_char(b) && b != b'[')
        && !bytes.eq_ignore_ascii_case(b"NIL")
}

/// Writes an `astring`: an atom where that can be, else a `string`. `NIL` and names with `[` are quoted.
pub fn astring(out: &mut Vec<u8>, bytes: &[u8]) {
    if is_plain_astring(bytes) { out.extend_from_slice(bytes) } else { string(out, bytes) }
}

/// Writes a `mailbox`, in modified UTF-7, its levels separated by this character.
pub fn mailbox(out: &mut Vec<u8>, name: &MailboxName, separator: char) {
    let name: Cow<'_, str> = match separator {
        MailboxName::SEPARATOR => name.as_str().into(),
        separator => name.as_str().replace(MailboxName::SEPARATOR, separator.encode_utf8(&mut [0; 4])).into(),
    };
    if name.bytes().all(|b| matches!(b, b' '..=b'~') && b != b'&') {
        astring(out, name.as_bytes());
    } else {
        astring(out, mutf7::encode(&name).as_bytes());
    }
}

/// Writes a set of UIDs (or sequence numbers, which share the representation) as a `sequence-set`. An empty set writes
/// nothing.
pub fn uid_set(out: &mut Vec<u8>, set: &UidSet) {
    for (i, range) in set.ranges().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        number(out, range.start().value());
        if range.start() != range.end() {
            out.push(b':');
            number(out, range.end().value());
        }
    }
}

/// Writes an `objectid` (RFC 8474): the GUID in hexadecimal digits.
pub(super) fn object_id(out: &mut Vec<u8>, id: Guid) {
    out.extend_from_slice(id.to_string().as_bytes());
}

/// Writes a `flag-list`, parentheses included.
pub fn flag_list<'k>(out: &mut Vec<u8>, flags: Flags, keywords: impl IntoIterator<Item = &'k Keyword>) {
    flag_list_with(out, flags, None, keywords);
}

/// Writes a `flag-list` with one more flag, such as `\Recent` or `\*`, between the system flags and the keywords.
pub fn flag_list_with<'k>(
    out: &mut Vec<u8>,
    flags: Flags,
    extra: Option<&'static str>,
    keywords: impl IntoIterator<Item = &'k Keyword>,
) {
    out.push(b'(');
    let names = flags.iter().map(|flag| flag.name()).chain(extra).chain(keywords.into_iter().map(Keyword::as_str));
    let mut separated = false;
    for name in names {
        if separated {
            out.push(b' ');
        }
        separated = true;
        out.extend_from_slice(name.as_bytes());
    }
    out.push(b')');
}

/// Writes text for people: `text` of RFC 9051, control characters and bytes beyond ASCII replaced, never empty.
pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    if text.is_empty() {
        out.push(b'.');
    }
    out.extend(text.bytes().map(|b| if matches!(b, b' '..=b'~') { b } else { b'?' }));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::parse::cursor::Cursor;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn each_string_gets_the_plainest_form_that_holds_it() {
        let of = |bytes: &[u8]| written(|out| astring(out, bytes));
        assert_eq!(of(b"INBOX"), "INBOX");
        assert_eq!(of(b"a]b"), "a]b");
        assert_eq!(of(b"nil"), "\"nil\"");
        assert_eq!(of(b"BODY[x"), "\"BODY[x\"", "found by fuzzing: a client that reads words takes it for a section");
        assert_eq!(of(b""), "\"\"");
        assert_eq!(of(b"a b"), "\"a b\"");
        assert_eq!(of(b"50%"), "\"50%\"");
        assert_eq!(of(br#"a"\"#), r#""a\"\\""#);
        assert_eq!(of(b"a\nb"), "{3}\r\na\nb");
        assert_eq!(of("ü".as_bytes()), "{2}\r\nü");
        assert_eq!(written(|out| nstring(out, None)), "NIL");
        assert!(of(&[b'a'; 1001]).starts_with("{1001}\r\n"));
    }

    #[test]
    fn mailboxes_are_written_in_modified_utf7() {
        let of = |name: &str| written(|out| mailbox(out, &MailboxName::new(name).unwrap(), '/'));
        assert_eq!(of("Entwürfe"), "Entw&APw-rfe");
        assert_eq!(of("a & b"), "\"a &- b\"");
        assert_eq!(of("inbox/Sub"), "INBOX/Sub");
        assert_eq!(written(|out| mailbox(out, &MailboxName::new("ü/b").unwrap(), '.')), "&APw-.b");
    }

    #[test]
    fn flags_come_before_keywords() {
        let keywords = [Keyword::new("$Junk").unwrap()];
        assert_eq!(
            written(|out| flag_list_with(out, Flags::from_bits(0x09), Some("\\*"), &keywords)),
            "(\\Answered \\Seen \\* $Junk)"
        );
        assert_eq!(written(|out| flag_list(out, Flags::NONE, [])), "()");
    }

    proptest! {
        #[test]
        fn numbers_are_written_as_rust_does(n: u64) {
            prop_assert_eq!(written(|out| number(out, n)), n.to_string());
        }

        #[test]
        fn any_string_is_read_back(bytes in prop::collection::vec(1u8.., 0..40)) {
            let mut out = Vec::new();
            astring(&mut out, &bytes);
            let mut cursor = Cursor::new(&out);
            let read = cursor.astring().unwrap();
            prop_assert_eq!(read.as_ref(), bytes.as_slice());
            prop_assert!(cursor.is_empty());
        }
    }
}
