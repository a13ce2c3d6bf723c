//! Transfer encodings undone to the byte (RFC 3516), piece by piece, in bounded memory; strict, for a client that asks for
//! BINARY takes what it gets for the sender's bytes.

use thiserror::Error;

use crate::decode::TransferEncoding;

/// White space at the end of a quoted-printable line that is kept until it is known whether the line ends there.
const SPACES_LEN_MAX: usize = 4096;

/// The body is not what its Content-Transfer-Encoding says.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum BinaryError {
    /// A byte that base64 does not have, or digits behind its padding.
    #[error("decoding base64: unexpected byte {byte:#04x} at {offset}")]
    Base64Byte {
        /// Which.
        byte: u8,
        /// Where in the encoded body.
        offset: u64,
    },
    /// The last group is not whole.
    #[error("decoding base64: the last group has only {digits} digits")]
    Base64End {
        /// Digits of the group.
        digits: u8,
    },
    /// `=` is followed by neither two hexadecimal digits nor the end of the line.
    #[error("decoding quoted-printable: bad escape at {offset}")]
    Escape {
        /// Where in the encoded body it was found to be bad.
        offset: u64,
    },
}

/// Decodes one body. The same bytes come out however it is cut into pieces.
#[derive(Clone, Debug)]
pub struct BinaryDecoder {
    state: State,
    /// Bytes read.
    offset: u64,
}

#[derive(Clone, Debug)]
enum State {
    Identity,
    Base64 { group: u32, digits: u8, padding: u8 },
    QuotedPrintable { spaces: Vec<u8>, escape: Escape },
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Escape {
    None,
    /// `=`
    Begun,
    /// `=` and one digit.
    High(u8),
    /// `=` and white space: a line end must follow.
    LineEnd,
}

impl BinaryDecoder {
    /// For a body in this encoding.
    #[must_use]
    pub fn new(encoding: TransferEncoding) -> Self {
        let state = match encoding {
            TransferEncoding::Identity => State::Identity,
            TransferEncoding::Base64 => State::Base64 { group: 0, digits: 0, padding: 0 },
            TransferEncoding::QuotedPrintable => State::QuotedPrintable { spaces: Vec::new(), escape: Escape::None },
        };
        Self { state, offset: 0 }
    }

    /// Takes the next bytes and appends what they are. At most as many bytes come out as went in, now and before.
    ///
    /// # Errors
    /// If the encoding is broken. Nothing can be had of the decoder then.
    pub fn push(&mut self, read: &[u8], out: &mut Vec<u8>) -> Result<(), BinaryError> {
        match &mut self.state {
            State::Identity => out.extend_from_slice(read),
            State::Base64 { group, digits, padding } => {
                for (&byte, offset) in read.iter().zip(self.offset..) {
                    base64_byte(byte, offset, group, digits, padding, out)?;
                }
            }
            State::QuotedPrintable { spaces, escape } => {
                for (&byte, offset) in read.iter().zip(self.offset..) {
                    *escape = quoted_printable_byte(byte, offset, *escape, spaces, out)?;
                }
            }
        }
        self.offset += read.len() as u64;
        Ok(())
    }

    /// The body ends. A lone `=` there is the end of a line whose line end the boundary has.
    ///
    /// # Errors
    /// If it ends within a group or an escape.
    pub fn finish(self) -> Result<(), BinaryError> {
        match self.state {
            State::Identity => Ok(()),
            State::Base64 { digits, padding, .. } => match (digits, padding) {
                (0, _) | (2, 2) | (3, 1) => Ok(()),
                (digits, _) => Err(BinaryError::Base64End { digits }),
            },
            State::QuotedPrintable { escape: Escape::High(_), .. } => Err(BinaryError::Escape { offset: self.offset }),
            // White space at the end of the body is at the end of a line.
            State::QuotedPrintable { .. } => Ok(()),
        }
    }
}

fn base64_byte(
    byte: u8,
    offset: u64,
    group: &mut u32,
    digits: &mut u8,
    padding: &mut u8,
    out: &mut Vec<u8>,
) -> Result<(), BinaryError> {
    let digit = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        b' ' | b'\t' | b'\r' | b'\n' => return Ok(()),
        b'=' if *digits >= 2 && *digits + *padding < 4 => {
            *padding += 1;
            if *digits + *padding == 4 {
                let bytes = (*group << (6 * u32::from(*padding))).to_be_bytes();
                out.extend_from_slice(bytes.get(1..usize::from(*digits)).unwrap_or_default());
            }
            return Ok(());
        }
        _ => return Err(BinaryError::Base64Byte { byte, offset }),
    };
    if *padding > 0 {
        return Err(BinaryError::Base64Byte { byte, offset });
    }
    *group = *group << 6 | u32::from(digit);
    *digits += 1;
    if *digits == 4 {
        out.extend_from_slice(group.to_be_bytes().get(1..).unwrap_or_default());
        (*group, *digits) = (0, 0);
    }
    Ok(())
}

fn quoted_printable_byte(
    byte: u8,
    offset: u64,
    escape: Escape,
    spaces: &mut Vec<u8>,
    out: &mut Vec<u8>,
) -> Result<Escape, BinaryError> {
    let hex = || char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    match escape {
        Escape::None => match byte {
            b' ' | b'\t' => {
                if spaces.len() >= SPACES_LEN_MAX {
                    out.append(spaces);
                }
                spaces.push(byte);
            }
            b'\r' | b'\n' => {
                spaces.clear();
                out.push(byte);
            }
            b'=' => {
                out.append(spaces);
                return Ok(Escape::Begun);
            }
            _ => {
                out.append(spaces);
                out.push(byte);
            }
        },
        Escape::Begun => match (byte, hex()) {
            (_, Some(high)) => return Ok(Escape::High(high)),
            (b' ' | b'\t' | b'\r', _) => return Ok(Escape::LineEnd),
            (b'\n', _) => {}
            _ => return Err(BinaryError::Escape { offset }),
        },
        Escape::High(high) => match hex() {
            Some(low) => out.push(high << 4 | low),
            None => return Err(BinaryError::Escape { offset }),
        },
        Escape::LineEnd => match byte {
            b' ' | b'\t' | b'\r' => return Ok(Escape::LineEnd),
            b'\n' => {}
            _ => return Err(BinaryError::Escape { offset }),
        },
    }
    Ok(Escape::None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decode(encoding: TransferEncoding, body: &[u8], piece_len: usize) -> Result<Vec<u8>, BinaryError> {
        let mut decoder = BinaryDecoder::new(encoding);
        let mut out = Vec::new();
        for piece in body.chunks(piece_len.max(1)) {
            decoder.push(piece, &mut out)?;
        }
        decoder.finish()?;
        Ok(out)
    }

    #[test]
    fn base64() {
        let decode = |body: &str| decode(TransferEncoding::Base64, body.as_bytes(), 3);
        assert_eq!(decode("aGVs\r\nbG8gd29ybGQ=\r\n").unwrap(), b"hello world");
        assert_eq!(decode("YQ = =").unwrap(), b"a");
        assert_eq!(decode("AAEC").unwrap(), b"\0\x01\x02");
        assert_eq!(decode("").unwrap(), b"");
        assert_eq!(decode("YQ==Yg==").unwrap_err(), BinaryError::Base64Byte { byte: b'Y', offset: 4 });
        assert_eq!(decode("aG!V").unwrap_err(), BinaryError::Base64Byte { byte: b'!', offset: 2 });
        assert_eq!(decode("aGVsbG8").unwrap_err(), BinaryError::Base64End { digits: 3 });
        assert!(decode("=").is_err() && decode("YQ===").is_err() && decode("YQ=").is_err());
    }

    #[test]
    fn quoted_printable() {
        let decode = |body: &str| decode(TransferEncoding::QuotedPrintable, body.as_bytes(), 2);
        assert_eq!(decode("a=3Db =\r\nc  \r\nd=0a=00e\r\n").unwrap(), b"a=b c\r\nd\n\0e\r\n");
        assert_eq!(decode("a= \t\r\nb").unwrap(), b"ab");
        assert_eq!(decode("a=").unwrap(), b"a");
        assert_eq!(decode("a=ZZb").unwrap_err(), BinaryError::Escape { offset: 2 });
        assert_eq!(decode("a=3").unwrap_err(), BinaryError::Escape { offset: 3 });
        assert_eq!(decode("a= b").unwrap_err(), BinaryError::Escape { offset: 3 });
    }

    proptest! {
        #[test]
        fn cuts_change_nothing(body in "[ab=0-9A-F \r\n]{0,60}", piece_len in 1usize..7) {
            for encoding in [TransferEncoding::Base64, TransferEncoding::QuotedPrintable, TransferEncoding::Identity] {
                prop_assert_eq!(decode(encoding, body.as_bytes(), piece_len), decode(encoding, body.as_bytes(), 1000));
            }
        }
    }
}
