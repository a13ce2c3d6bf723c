//! Literals' announcements at the ends of lines (RFC 9051 `literal`, `literal8`; RFC 7888 `literal+`).

/// A literal that a line announces with its last bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Announcement {
    /// Where in the line the announcement begins.
    pub(crate) at: usize,
    /// Bytes to follow the line; `u64::MAX` for more than that too.
    pub(crate) len: u64,
    /// The sender waits for a continuation.
    pub(crate) synchronizing: bool,
    /// `~{...}`
    pub(crate) binary: bool,
}

/// A line without its CRLF or bare LF.
pub(crate) fn without_line_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The literal that a line (with or without its end) announces.
pub(crate) fn announced(line: &[u8]) -> Option<Announcement> {
    let inner = without_line_end(line).strip_suffix(b"}")?;
    let (inner, synchronizing) = match inner.strip_suffix(b"+") {
        Some(inner) => (inner, false),
        None => (inner, true),
    };
    let digits_len = inner.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let (head, digits) = inner.split_at(inner.len() - digits_len);
    let head = head.strip_suffix(b"{")?;
    if digits.is_empty() {
        return None;
    }
    let len = digits.iter().fold(0u64, |n, b| n.saturating_mul(10).saturating_add(u64::from(b - b'0')));
    match head.strip_suffix(b"~") {
        Some(head) => Some(Announcement { at: head.len(), len, synchronizing, binary: true }),
        None => Some(Announcement { at: head.len(), len, synchronizing, binary: false }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announcements_stand_at_the_end_of_a_line() {
        let of = |line: &str| announced(line.as_bytes()).map(|a| (a.at, a.len, a.synchronizing, a.binary));
        assert_eq!(of("a LOGIN {11}\r\n"), Some((8, 11, true, false)));
        assert_eq!(of("a LOGIN {11+}\n"), Some((8, 11, false, false)));
        assert_eq!(of("x ~{007+}\r\n"), Some((2, 7, false, true)));
        assert_eq!(of("{99999999999999999999999}\r\n"), Some((0, u64::MAX, true, false)));
        for none in
            ["", "\r\n", "a {}\r\n", "a {+}\r\n", "a {5} \r\n", "a {5-}\r\n", "\"{5}\"\r\n", "5}\r\n", "{5a}\r\n"]
        {
            assert_eq!(of(none), None, "{none}");
        }
    }
}
