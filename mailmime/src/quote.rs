//! IMAP strings (RFC 9051 §4.3) as Dovecot writes them into ENVELOPE and BODYSTRUCTURE.
//!
//! Quoted if the bytes allow it, else a literal. The values must not contain NUL; the readers of headers have replaced
//! those before.

/// With more characters to escape than this a literal is used.
const ESCAPED_MAX: usize = 4;

pub(crate) fn write_nstring(out: &mut Vec<u8>, text: Option<&[u8]>) {
    match text {
        None => out.extend_from_slice(b"NIL"),
        Some(text) => write_string(out, text),
    }
}

pub(crate) fn write_string(out: &mut Vec<u8>, text: &[u8]) {
    // Without a way out, so that many bytes are looked at together.
    let (escaped, unquotable) = text.iter().fold((0, false), |(escaped, unquotable), &byte| {
        let is_escaped = byte == b'"' || byte == b'\\';
        (escaped + usize::from(is_escaped), unquotable | (byte >= 0x80) | (byte == b'\r') | (byte == b'\n'))
    });
    if escaped > ESCAPED_MAX || unquotable {
        write_literal_len(out, text.len());
        out.extend_from_slice(text);
        return;
    }
    out.reserve(text.len() + escaped + 2);
    out.push(b'"');
    if escaped == 0 {
        out.extend_from_slice(text);
        out.push(b'"');
        return;
    }
    for &byte in text {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

fn write_literal_len(out: &mut Vec<u8>, len: usize) {
    out.extend_from_slice(format!("{{{len}}}\r\n").as_bytes());
}

/// Unfolds first: line ends are dropped, with a space in their place where the next line does not begin with white
/// space (which a folded line always does, but a value from elsewhere may not).
pub(crate) fn write_nstring_unfolded(out: &mut Vec<u8>, text: Option<&[u8]>) {
    let Some(text) = text.filter(|text| memchr::memchr2(b'\r', b'\n', text).is_some()) else {
        return write_nstring(out, text);
    };
    let mut unfolded = Vec::with_capacity(text.len());
    for (i, &byte) in text.iter().enumerate() {
        if !matches!(byte, b'\r' | b'\n') {
            unfolded.push(byte);
        } else if !matches!(text.get(i + 1), None | Some(b' ' | b'\t' | b'\r' | b'\n')) {
            unfolded.push(b' ');
        }
    }
    write_string(out, &unfolded);
}

/// For text that people read: runs of white space become one space, and there is none at either end. A text that
/// needed any of this, or is not plain ASCII, is written as a literal.
pub(crate) fn write_string_for_humans(out: &mut Vec<u8>, text: &[u8]) {
    if is_clean(text) {
        out.push(b'"');
        out.extend_from_slice(text);
        out.push(b'"');
        return;
    }
    let mut clean = Vec::with_capacity(text.len());
    for word in text.split(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')).filter(|word| !word.is_empty()) {
        if !clean.is_empty() {
            clean.push(b' ');
        }
        clean.extend_from_slice(word);
    }
    if clean.is_empty() {
        out.extend_from_slice(b"\"\"");
    } else {
        write_literal_len(out, clean.len());
        out.extend_from_slice(&clean);
    }
}

/// Nothing to escape, and no white space but single spaces between words.
fn is_clean(text: &[u8]) -> bool {
    let mut before = b' ';
    for &byte in text {
        let special = matches!(byte, b'\t' | b'\r' | b'\n' | b'"' | b'\\' | 0x80..);
        if special || (byte == b' ' && before == b' ') {
            return false;
        }
        before = byte;
    }
    text.is_empty() || before != b' '
}

#[cfg(test)]
mod tests {
    use super::*;

    fn string(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write_string(&mut out, text);
        out
    }

    #[test]
    fn quoted_or_literal() {
        assert_eq!(string(b"a\"b\\"), b"\"a\\\"b\\\\\"");
        assert_eq!(string(b"\"\"\"\"\""), b"{5}\r\n\"\"\"\"\"");
        assert_eq!(string(b"\xff"), b"{1}\r\n\xff");
        assert_eq!(string(b""), b"\"\"");
    }

    #[test]
    fn unfolding() {
        let mut out = Vec::new();
        write_nstring_unfolded(&mut out, Some(b"a\r\n b\nc\r\n"));
        assert_eq!(out, b"\"a b c\"");
    }

    #[test]
    fn humans() {
        for (text, expected) in [
            (&b"a b"[..], &b"\"a b\""[..]),
            (b" a\n  b ", b"{3}\r\na b"),
            (b" \t ", b"\"\""),
            (b"say \"hi\"", b"{8}\r\nsay \"hi\""),
            (b"a\tb", b"{3}\r\na b"),
        ] {
            let mut out = Vec::new();
            write_string_for_humans(&mut out, text);
            assert_eq!(out, expected);
        }
    }
}
