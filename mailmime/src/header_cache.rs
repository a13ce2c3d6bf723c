//! The cache's `hdr.<Name>` values (`docs/formats/cache.md`, "Header fields"): the numbers of the lines on which the
//! field stands in the header, a zero, and the lines themselves.

use thiserror::Error;

use crate::header::{Field, Fields};

/// A cached `hdr.<Name>` that cannot be used.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum HeaderCacheError {
    /// The line numbers have no end.
    #[error("decoding a cached header field: its line numbers are not ended by a zero within {len} bytes")]
    NoTerminator {
        /// Bytes of the value.
        len: usize,
    },
}

/// A decoded `hdr.<Name>`: where the field stands and what it says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct CachedHeader<'a> {
    numbers: &'a [u8],
    /// The lines, names included, each ended by LF; empty if the message has no such field.
    pub text: &'a [u8],
}

impl<'a> CachedHeader<'a> {
    /// Reads a value from the cache. An empty one is a field that the message does not have.
    ///
    /// # Errors
    /// If the zero behind the line numbers is missing.
    pub fn decode(value: &'a [u8]) -> Result<Self, HeaderCacheError> {
        if value.is_empty() {
            return Ok(Self { numbers: b"", text: b"" });
        }
        let (numbers, _) = value.as_chunks::<4>();
        let zero = numbers.iter().position(|number| number == &[0; 4]);
        let zero = zero.ok_or(HeaderCacheError::NoTerminator { len: value.len() })?;
        let (numbers, rest) = value.split_at_checked(zero * 4).unwrap_or((value, b""));
        Ok(Self { numbers, text: rest.get(4..).unwrap_or_default() })
    }

    /// The lines of the message header, from 1, on which the field begins, ascending.
    pub fn lines(&self) -> impl Iterator<Item = u32> + use<'a> {
        self.numbers.as_chunks::<4>().0.iter().map(|number| u32::from_le_bytes(*number))
    }

    /// Each occurrence as a field; `offset` is within [`CachedHeader::text`], `line` that of the message header. To
    /// put several cached fields together in the order of the message, sort by it.
    pub fn fields(&self) -> impl Iterator<Item = Field<'a>> + use<'a> {
        Fields::new(self.text).zip(self.lines()).map(|(field, line)| Field { line, ..field })
    }
}

/// The cache value of the field `name` of a header; empty if the header does not have it.
#[must_use]
pub fn encode_cached_header(header: &[u8], name: &[u8]) -> Vec<u8> {
    let mut value = Vec::new();
    let mut text = Vec::new();
    for field in Fields::new(header).filter(|field| field.is(name)) {
        value.extend_from_slice(&field.line.to_le_bytes());
        // A name with a NUL is cached without what follows it. The NUL makes the match, so this must be as Dovecot's.
        text.extend_from_slice(field.name_to_nul());
        let behind_name = field.raw.get(field.name.len()..).unwrap_or_default();
        for line in behind_name.split_inclusive(|&byte| byte == b'\n') {
            match line.strip_suffix(b"\r\n") {
                Some(line) => {
                    text.extend_from_slice(line);
                    text.push(b'\n');
                }
                None => text.extend_from_slice(line),
            }
        }
    }
    if !value.is_empty() {
        value.extend_from_slice(&[0; 4]);
        value.append(&mut text);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] = b"To: a\r\n b\r\nX: y\r\nTO: c\r\n\r\nTo: body\r\n";

    #[test]
    fn a_field_that_stands_there_twice() {
        let value = encode_cached_header(HEADER, b"to");
        assert_eq!(value, b"\x01\0\0\0\x04\0\0\0\0\0\0\0To: a\n b\nTO: c\n");
        let cached = CachedHeader::decode(&value).unwrap();
        assert_eq!(cached.lines().collect::<Vec<_>>(), [1, 4]);
        let fields: Vec<_> = cached.fields().map(|field| (field.line, field.value().into_owned())).collect();
        assert_eq!(fields, [(1, b"a\n b".to_vec()), (4, b"c".to_vec())]);
    }

    #[test]
    fn absent_and_damaged() {
        assert_eq!(encode_cached_header(b"To\0x: y\n", b"to"), b"\x01\0\0\0\0\0\0\0To: y\n");
        assert_eq!(encode_cached_header(HEADER, b"Bcc"), b"");
        assert_eq!(CachedHeader::decode(b"").unwrap().text, b"");
        assert_eq!(CachedHeader::decode(b"\0\0\0\0").unwrap().lines().count(), 0);
        assert_eq!(CachedHeader::decode(b"\x01\0\0\0x"), Err(HeaderCacheError::NoTerminator { len: 5 }));
    }
}
