//! The file header and the header before each message (`docs/formats/dbox.md`, File structure).

use super::DboxError;

/// The version that stands first in the file header.
const VERSION: u32 = 2;

/// The first two bytes of a message header.
pub(crate) const MAGIC_PRE: [u8; 2] = [1, 2];

/// The bytes between body and metadata.
pub(crate) const MAGIC_POST: [u8; 4] = [b'\n', 1, 3, b'\n'];

/// The line at the beginning of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FileHeader {
    /// Bytes of each message header (`M`), at least [`MessageHeader::LEN`].
    pub message_header_len: u32,
    /// When the file was made (`C`), Unix seconds; 0 if it does not say.
    pub created: u32,
}

impl FileHeader {
    /// Longest header line read, its LF included.
    pub const LEN_MAX: usize = 512;
    /// Longest message header taken.
    pub const MESSAGE_HEADER_LEN_MAX: u32 = 4096;

    /// Of a file made at `created`, Unix seconds.
    pub fn new(created: u32) -> Self {
        Self { message_header_len: MessageHeader::LEN as u32, created }
    }

    /// Parses the line at the beginning of `bytes`; also tells its length with its LF. Unknown fields are passed over.
    pub fn parse(bytes: &[u8]) -> Result<(Self, usize), DboxError> {
        let window = bytes.get(..Self::LEN_MAX).unwrap_or(bytes);
        let len = memchr::memchr(b'\n', window).ok_or(DboxError::damaged(0, "the file header has no end"))?;
        let mut fields = window.get(..len).unwrap_or_default().split(|&b| b == b' ').filter(|f| !f.is_empty());
        if fields.next().and_then(parse_decimal) != Some(VERSION) {
            return Err(DboxError::damaged(0, "the file does not begin with dbox version 2"));
        }
        let (mut message_header_len, mut created) = (None, 0);
        for field in fields {
            match field.split_first() {
                Some((b'M', value)) => message_header_len = parse_hex(value),
                Some((b'C', value)) => created = parse_hex(value).map_or(0, saturate),
                _ => {}
            }
        }
        let range = MessageHeader::LEN as u64..=u64::from(Self::MESSAGE_HEADER_LEN_MAX);
        let message_header_len = message_header_len
            .filter(|m| range.contains(m))
            .ok_or(DboxError::damaged(0, "the file header gives no usable size of message headers"))?;
        Ok((Self { message_header_len: message_header_len as u32, created }, len + 1))
    }

    /// Writes the line.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{VERSION} M{:x} C{:x}\n", self.message_header_len, self.created).as_bytes());
    }
}

/// What stands before a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MessageHeader {
    /// `N` for a normal message; other letters are historical.
    pub kind: u8,
    /// Bytes of the body as stored.
    pub body_len: u64,
}

impl MessageHeader {
    /// Bytes of a message header as written today.
    pub const LEN: usize = 30;
    /// The kind that is written today.
    pub const NORMAL: u8 = b'N';

    const KIND: usize = 2;
    const SIZE: std::ops::Range<usize> = 13..29;
    const END: usize = 29;

    /// Before a normal message with a body of this size.
    pub fn new(body_len: u64) -> Self {
        Self { kind: Self::NORMAL, body_len }
    }

    /// Parses the header at the beginning of `bytes`, which lies at `offset` of its file. What a longer header holds
    /// beyond the 30 known bytes is not looked at.
    pub fn parse(bytes: &[u8], offset: u64) -> Result<Self, DboxError> {
        let header = bytes.get(..Self::LEN).ok_or(DboxError::damaged(offset, "the message header is cut short"))?;
        if !header.starts_with(&MAGIC_PRE) {
            return Err(DboxError::damaged(offset, "no message header here"));
        }
        if header.get(Self::END) != Some(&b'\n') {
            return Err(DboxError::damaged(offset + Self::END as u64, "the message header does not end with LF"));
        }
        let size = header.get(Self::SIZE).and_then(parse_hex);
        let body_len = size.ok_or(DboxError::damaged(offset + 13, "the size of the body is not 16 hex digits"))?;
        Ok(Self { kind: header.get(Self::KIND).copied().unwrap_or_default(), body_len })
    }

    /// Writes the header, 30 bytes.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC_PRE);
        out.push(self.kind);
        // A separator, the place of a UID long ago, another separator.
        out.extend_from_slice(&[b' '; 10]);
        out.extend_from_slice(format!("{:016X}\n", self.body_len).as_bytes());
    }
}

fn parse_decimal(digits: &[u8]) -> Option<u32> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Hex digits of either case, at least one and at most sixteen.
pub(crate) fn parse_hex(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() || digits.len() > 16 {
        return None;
    }
    digits.iter().try_fold(0, |n: u64, &c| Some(n << 4 | u64::from(char::from(c).to_digit(16)?)))
}

pub(crate) fn saturate(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_known_line() {
        let (header, len) = FileHeader::parse(b"2 M1e C6b0277ab\n\x01\x02").unwrap();
        assert_eq!((header.message_header_len, header.created, len), (30, 0x6b02_77ab, 16));
        let mut out = Vec::new();
        header.write(&mut out);
        assert_eq!(out, b"2 M1e C6b0277ab\n");
    }

    #[test]
    fn other_orders_sizes_and_fields_are_read() {
        let (header, _) = FileHeader::parse(b"2 C1 Q77 M20\n").unwrap();
        assert_eq!((header.message_header_len, header.created), (32, 1));
    }

    #[test]
    fn bad_lines_are_refused() {
        for line in ["", "2 M1e C1", "1 M1e C1\n", "2 C1\n", "2 M1d C1\n", "2 Mffffffff C1\n", "2 M C1\n", "\n"] {
            assert!(FileHeader::parse(line.as_bytes()).is_err(), "{line:?}");
        }
        assert!(FileHeader::parse(&[b'2'; 5000]).is_err());
    }

    #[test]
    fn the_known_message_header() {
        let bytes = b"\x01\x02N          0000000000000014\nSubject";
        let header = MessageHeader::parse(bytes, 16).unwrap();
        assert_eq!(header, MessageHeader::new(0x14));
        let mut out = Vec::new();
        header.write(&mut out);
        assert_eq!(out, bytes[..30]);
        assert!(MessageHeader::parse(&bytes[..29], 16).is_err());
        assert!(MessageHeader::parse(b"\x01\x02N          000000000000001g\n", 16).is_err());
        assert!(MessageHeader::parse(b"\x01\x02N          0000000000000014 ", 16).is_err());
    }

    proptest! {
        #[test]
        fn headers_round_trip(len in any::<u64>(), created in any::<u32>()) {
            let mut out = Vec::new();
            MessageHeader::new(len).write(&mut out);
            prop_assert_eq!(MessageHeader::parse(&out, 0).unwrap(), MessageHeader::new(len));
            let mut line = Vec::new();
            FileHeader::new(created).write(&mut line);
            prop_assert_eq!(FileHeader::parse(&line).unwrap(), (FileHeader::new(created), line.len()));
        }

        #[test]
        fn any_bytes_are_parsed_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = FileHeader::parse(&bytes);
            let _ = MessageHeader::parse(&bytes, 0);
        }
    }
}
