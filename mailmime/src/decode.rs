//! Bodies decoded piece by piece, in bounded memory: transfer encodings (RFC 2045 §6) to bytes, charsets to UTF-8.
//!
//! However the body is cut into pieces, what comes out is the same. Pieces are decoded where neither encoding is cut:
//! base64 at whole groups, quoted-printable at line ends, UTF-8 between characters, other charsets at line ends (which all
//! of them but UTF-16 and UTF-32 return to their initial state at; those are cut at multiples of four bytes). A line
//! longer than [`LINE_LEN_MAX`] may lose a character at the cut.

use crate::content::Content;
use crate::text::{decode_charset, decode_transfer_encoding};

/// Longest line that is kept in one piece.
pub const LINE_LEN_MAX: usize = 64 * 1024;

/// Content-Transfer-Encoding.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum TransferEncoding {
    /// `7bit`, `8bit`, `binary`, or none named.
    Identity,
    /// `base64`
    Base64,
    /// `quoted-printable`
    QuotedPrintable,
}

impl TransferEncoding {
    /// By its name in any case; `None` if it is not known.
    #[must_use]
    pub fn of(name: Option<&[u8]>) -> Option<Self> {
        let name = name.unwrap_or_default().to_ascii_lowercase();
        match name.as_slice() {
            b"" | b"7bit" | b"8bit" | b"binary" => Some(Self::Identity),
            b"base64" => Some(Self::Base64),
            b"quoted-printable" => Some(Self::QuotedPrintable),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Charset {
    Utf8,
    /// UTF-16 and UTF-32.
    Wide,
    Other,
}

/// Decodes the body of one text part to UTF-8. Nothing is refused: what does not decode stays as it is, bytes that are no
/// text become U+FFFD.
#[derive(Clone, Debug)]
pub struct TextDecoder {
    transfer: TransferEncoding,
    charset: Charset,
    charset_name: Vec<u8>,
    /// What of the part was read and is not decoded yet.
    encoded: Vec<u8>,
    /// What is decoded and not text yet.
    bytes: Vec<u8>,
}

impl TextDecoder {
    /// For a part that is described so. An unknown transfer encoding is taken for none, an unknown charset for UTF-8.
    #[must_use]
    pub fn new(content: &Content) -> Self {
        let transfer = TransferEncoding::of(content.transfer_encoding.as_deref());
        let charset_name = content.param("charset").unwrap_or_default().to_ascii_lowercase();
        let charset = match charset_name.as_slice() {
            b"" | b"utf-8" | b"utf8" | b"us-ascii" | b"ascii" => Charset::Utf8,
            name if name.starts_with(b"utf-16") || name.starts_with(b"utf-32") => Charset::Wide,
            _ => Charset::Other,
        };
        let transfer = transfer.unwrap_or(TransferEncoding::Identity);
        Self { transfer, charset, charset_name, encoded: Vec::new(), bytes: Vec::new() }
    }

    /// Takes the next bytes of the body, `last` if there are no more, and hands on the text that can be decoded by now,
    /// in one piece or none.
    pub fn push(&mut self, read: &[u8], last: bool, text: impl FnOnce(&str)) {
        // Most mail: nothing to decode, nothing kept back.
        if self.transfer == TransferEncoding::Identity
            && self.charset == Charset::Utf8
            && self.bytes.is_empty()
            && read.is_ascii()
            && let Ok(read) = std::str::from_utf8(read)
        {
            return text(read);
        }
        self.decode_transfer(read, last);
        let cut = if last { self.bytes.len() } else { self.charset_cut() };
        text(&decode_charset(&self.charset_name, self.bytes.get(..cut).unwrap_or_default()));
        self.bytes.drain(..cut);
    }

    /// Bytes that are kept back.
    #[must_use]
    pub fn pending_len(&self) -> usize {
        self.encoded.len() + self.bytes.len()
    }

    fn decode_transfer(&mut self, read: &[u8], last: bool) {
        let name: &[u8] = match self.transfer {
            TransferEncoding::Identity => return self.bytes.extend_from_slice(read),
            TransferEncoding::Base64 => b"base64",
            TransferEncoding::QuotedPrintable => b"quoted-printable",
        };
        self.encoded.extend_from_slice(read);
        let cut = match self.transfer {
            _ if last => self.encoded.len(),
            TransferEncoding::Base64 => base64_cut(&self.encoded),
            _ => quoted_printable_cut(&self.encoded),
        };
        let decoded = decode_transfer_encoding(Some(name), self.encoded.get(..cut).unwrap_or_default());
        self.bytes.extend_from_slice(&decoded);
        self.encoded.drain(..cut);
        if self.transfer == TransferEncoding::Base64 {
            // Of an unfinished group only its digits are kept: what stands between them may be endless.
            self.encoded.retain(|&byte| is_base64_digit(byte));
        }
    }

    fn charset_cut(&self) -> usize {
        let len = self.bytes.len();
        match self.charset {
            Charset::Utf8 => utf8_cut(&self.bytes),
            Charset::Wide => len - len % 4,
            Charset::Other => match memchr::memrchr(b'\n', &self.bytes) {
                Some(at) => at + 1,
                None if len > LINE_LEN_MAX => len,
                None => 0,
            },
        }
    }
}

fn is_base64_digit(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/')
}

/// Behind the last whole group of four digits.
fn base64_cut(encoded: &[u8]) -> usize {
    let (mut digits, mut cut) = (0, 0);
    for (at, byte) in encoded.iter().enumerate() {
        match *byte {
            b'=' => digits = 0,
            byte if is_base64_digit(byte) => digits = (digits + 1) % 4,
            _ => {}
        }
        if digits == 0 {
            cut = at + 1;
        }
    }
    cut
}

/// Behind the last line end; within a line that is too long, before an escape that may not be whole.
fn quoted_printable_cut(encoded: &[u8]) -> usize {
    match memchr::memrchr(b'\n', encoded) {
        Some(at) => at + 1,
        None if encoded.len() <= LINE_LEN_MAX => 0,
        None => {
            let tail = encoded.len().saturating_sub(2);
            let escape = encoded.get(tail..).and_then(|end| end.iter().position(|&byte| byte == b'='));
            escape.map_or(encoded.len(), |at| tail + at)
        }
    }
}

/// Before a character at the end that is not whole.
fn utf8_cut(bytes: &[u8]) -> usize {
    let tail = bytes.len().saturating_sub(3);
    let lead = bytes.get(tail..).and_then(|end| end.iter().rposition(|&byte| byte >= 0xc0)).map(|at| tail + at);
    let Some(lead) = lead else { return bytes.len() };
    let len = match bytes.get(lead) {
        Some(0xf0..) => 4,
        Some(0xe0..) => 3,
        _ => 2,
    };
    if bytes.len() - lead < len { lead } else { bytes.len() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::part::PartIndex;
    use crate::structure::Structure;

    /// The text as it comes out when the body is cut into pieces of these lengths.
    fn decode(header: &str, body: &[u8], lens: &[usize]) -> String {
        let structure = Structure::of(format!("{header}\n\n").as_bytes());
        let mut decoder = TextDecoder::new(structure.content(PartIndex::ROOT));
        let (mut out, mut rest) = (String::new(), body);
        for &len in lens {
            let (piece, behind) = rest.split_at(len.min(rest.len()));
            decoder.push(piece, false, |text| out.push_str(text));
            rest = behind;
        }
        decoder.push(rest, true, |text| out.push_str(text));
        out
    }

    const UTF8_TEXT: &str = "Grüße aus Köln,\r\nund Κόσμε — 漢字 𝄞\r\nende";
    /// [`UTF8_TEXT`] in base64, its lines broken at 19 digits so that no line is whole groups.
    const UTF8_BASE64: &str =
        "R3LDvMOfZSBhdXMgS8O\r\n2bG4sDQp1bmQgzprPjM\r\n+DzrzOtSDigJQg5ryi5\r\na2XIPCdhJ4NCmVuZGU=";
    const UTF8_QP: &str = "Gr=C3=BC=C3=9Fe aus K=C3=B6ln,\r\nund =CE=9A=CF=8C=CF=83=\r\n=CE=BC=CE=B5 =E2=80=94 =\r\n=E6=BC=A2=E5=AD=97 =F0=9D=84=9E\r\nende";

    proptest! {
        #[test]
        fn cuts_do_not_change_the_text(lens in prop::collection::vec(0usize..9, 0..60)) {
            let text = "Content-Type: text/plain; charset=utf-8";
            prop_assert_eq!(&decode(text, UTF8_TEXT.as_bytes(), &lens), UTF8_TEXT);
            let base64 = format!("{text}\nContent-Transfer-Encoding: BASE64");
            prop_assert_eq!(&decode(&base64, UTF8_BASE64.as_bytes(), &lens), UTF8_TEXT);
            let qp = format!("{text}\nContent-Transfer-Encoding: quoted-printable");
            prop_assert_eq!(&decode(&qp, UTF8_QP.as_bytes(), &lens), UTF8_TEXT);
            // ISO-2022-JP keeps a state within a line.
            let jp = b"\x1b$B4A;z\x1b(B\r\n\x1b$B4A;z\x1b(B";
            let text = "Content-Type: text/plain; charset=iso-2022-jp";
            prop_assert_eq!(decode(text, jp, &lens), "漢字\r\n漢字");
            let wide: Vec<u8> = "Grüße".encode_utf16().flat_map(u16::to_be_bytes).collect();
            let text = "Content-Type: text/plain; charset=utf-16be";
            prop_assert_eq!(decode(text, &wide, &lens), "Grüße");
        }
    }

    #[test]
    fn an_unfinished_group_keeps_nothing_but_its_digits() {
        let structure = Structure::of(b"Content-Type: text/plain\nContent-Transfer-Encoding: base64\n\n");
        let mut decoder = TextDecoder::new(structure.content(PartIndex::ROOT));
        let mut out = String::new();
        decoder.push(b"Z", false, |text| out.push_str(text));
        for _ in 0..64 {
            decoder.push(&[b'!'; 8192], false, |text| out.push_str(text));
            assert!(decoder.pending_len() <= 3, "{}", decoder.pending_len());
        }
        decoder.push(b"\r\nW5k\r\nZQ==", true, |text| out.push_str(text));
        assert_eq!(out, "ende");
    }

    #[test]
    fn memory_is_bounded_without_line_ends() {
        let structure = Structure::of(b"Content-Type: text/plain; charset=gbk\n\n");
        let mut decoder = TextDecoder::new(structure.content(PartIndex::ROOT));
        for _ in 0..64 {
            decoder.push(&[0xb0; 8192], false, |_| ());
            assert!(decoder.pending_len() <= LINE_LEN_MAX + 8192);
        }
    }
}
