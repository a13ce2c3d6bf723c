//! Arguments of commands that are written as they are, checked so that they can be.

use std::{fmt, ops::Deref};

use crate::{Secret, parse::chars};

/// An `atom` whose case does not matter, such as the name of a mechanism or a capability; kept in capitals.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Atom(Box<str>);

impl Atom {
    /// `None` for text that is no atom: empty, or with a byte that no atom has, such as a space or a line end.
    pub fn new(atom: &str) -> Option<Self> {
        Self::of_bytes(atom.as_bytes())
    }

    pub(crate) fn of_bytes(atom: &[u8]) -> Option<Self> {
        let is_atom = !atom.is_empty() && atom.iter().all(|&b| chars::is_atom_char(b));
        is_atom.then(|| Self(atom.iter().map(|b| char::from(b.to_ascii_uppercase())).collect()))
    }

    /// In capitals.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for Atom {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// `initial-resp` (RFC 4959): what a client has to say before it is challenged. No log shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InitialResponse(Secret);

impl InitialResponse {
    /// Of the mechanism's own bytes, which may be none.
    pub fn new(response: &[u8]) -> Self {
        Self(Secret(if response.is_empty() { b"=".to_vec() } else { base64(response) }))
    }

    /// As it stands in a command: base64, or `=` for an empty one. `None` for bytes that base64 does not have and for none
    /// at all; whether they decode is not looked at.
    pub fn from_wire(base64: &[u8]) -> Option<Self> {
        let is_wire = !base64.is_empty() && base64.iter().all(|&b| Self::is_wire_char(b));
        is_wire.then(|| Self(Secret(base64.to_vec())))
    }

    /// In base64, or `=` for an empty one.
    pub fn as_wire(&self) -> &[u8] {
        &self.0.0
    }

    pub(crate) const fn is_wire_char(byte: u8) -> bool {
        byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
    }
}

/// RFC 4648 §4, with padding.
fn base64(bytes: &[u8]) -> Vec<u8> {
    let digit = |n: u32| match n & 63 {
        n @ 0..26 => b'A' + n as u8,
        n @ 26..52 => b'a' + (n - 26) as u8,
        n @ 52..62 => b'0' + (n - 52) as u8,
        62 => b'+',
        _ => b'/',
    };
    let mut out = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let bits = group.iter().chain([&0, &0]).take(3).fold(0, |bits, &byte| bits << 8 | u32::from(byte));
        let quad = [digit(bits >> 18), digit(bits >> 12), digit(bits >> 6), digit(bits)];
        let len = group.len() + 1;
        out.extend(quad.into_iter().take(len));
        out.extend(std::iter::repeat_n(b'=', quad.len() - len));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_atom_ends_no_line_and_begins_no_argument() {
        assert_eq!(Atom::new("scram-sha-256").unwrap().as_str(), "SCRAM-SHA-256");
        assert_eq!(Atom::new("UTF8=accept").unwrap().to_string(), "UTF8=ACCEPT");
        for bad in ["", "a b", "a\r\nb NOOP", "\0", "{3}", "(", "\"", "a]", "*", "%", "\u{e9}"] {
            assert_eq!(Atom::new(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn initial_responses_are_base64() {
        let wire = |response: &[u8]| String::from_utf8(InitialResponse::new(response).as_wire().to_vec()).unwrap();
        assert_eq!(wire(b""), "=");
        assert_eq!(wire(b"f"), "Zg==");
        assert_eq!(wire(b"fo"), "Zm8=");
        assert_eq!(wire(b"foo"), "Zm9v");
        assert_eq!(wire(b"\0t\0t"), "AHQAdA==");
        assert_eq!(wire(&[0xfb, 0xff, 0xbf]), "+/+/");
        for bad in [&b""[..], b"AA==\r\nb NOOP", b"A A", b"A*", b"\xff"] {
            assert_eq!(InitialResponse::from_wire(bad), None, "{}", bad.escape_ascii());
        }
        assert_eq!(format!("{:?}", InitialResponse::new(b"x")), "InitialResponse((secret))");
    }
}
