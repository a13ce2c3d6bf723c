//! Text made readable, for searching: encoded words (RFC 2047), transfer encodings (RFC 2045 §6) and charsets to UTF-8.
//!
//! Nothing is refused. What does not decode stays as it is, bytes that are no text become U+FFFD. Charsets are those of
//! `mail-parser`; one that is not known, none, and us-ascii are read as UTF-8.

use std::borrow::Cow;

use mail_parser::decoders::charsets::map::charset_decoder;
use memchr::memmem;

/// Encoded words are looked for within this length, so that words without an end cost no more than their length
/// many times over. RFC 2047 allows 75; real ones are longer.
const WORD_LEN_MAX: usize = 4096;

/// Decodes the value of an unstructured field or a display name: encoded words are decoded and joined, folding undone.
#[must_use]
pub fn decode_header_text(value: &[u8]) -> String {
    let mut out = String::with_capacity(value.len());
    let mut rest = value;
    let mut pending = Pending::default();
    while let Some(start) = memmem::find(rest, b"=?") {
        let (plain, candidate) = rest.split_at_checked(start).unwrap_or((rest, b""));
        let Some(word) = EncodedWord::parse(candidate) else {
            let (skipped, behind) = rest.split_at_checked(start + 2).unwrap_or((rest, b""));
            pending.flush(&mut out);
            push_unfolded(&mut out, skipped);
            rest = behind;
            continue;
        };
        // White space between two encoded words is none.
        let joins = pending.has_word && plain.iter().all(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
        if !joins {
            pending.flush(&mut out);
            push_unfolded(&mut out, plain);
        }
        pending.push(&mut out, &word);
        rest = candidate.get(word.len..).unwrap_or_default();
    }
    pending.flush(&mut out);
    push_unfolded(&mut out, rest);
    out
}

fn push_unfolded(out: &mut String, text: &[u8]) {
    let text = String::from_utf8_lossy(text);
    out.extend(text.chars().filter(|char| !matches!(char, '\r' | '\n')));
}

/// Words of one charset in a row: a character may be cut between them, so they are decoded together.
#[derive(Default)]
struct Pending<'a> {
    charset: &'a [u8],
    bytes: Vec<u8>,
    has_word: bool,
}

impl<'a> Pending<'a> {
    fn push(&mut self, out: &mut String, word: &EncodedWord<'a>) {
        if !self.charset.eq_ignore_ascii_case(word.charset) {
            self.flush(out);
        }
        self.charset = word.charset;
        self.has_word = true;
        word.decode_into(&mut self.bytes);
    }

    fn flush(&mut self, out: &mut String) {
        out.push_str(&decode_charset(self.charset, &self.bytes));
        self.bytes.clear();
        self.has_word = false;
    }
}

struct EncodedWord<'a> {
    charset: &'a [u8],
    base64: bool,
    text: &'a [u8],
    /// Of the whole word.
    len: usize,
}

impl<'a> EncodedWord<'a> {
    /// `bytes` begin with `=?`.
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let bytes = bytes.get(..WORD_LEN_MAX).unwrap_or(bytes);
        let rest = bytes.get(2..)?;
        let charset_len = memchr::memchr(b'?', rest)?;
        let (charset, rest) = rest.split_at_checked(charset_len)?;
        // RFC 2231 §5: a language may follow the charset.
        let charset = charset.split(|&byte| byte == b'*').next()?;
        let (base64, rest) = match rest {
            [b'?', b'b' | b'B', b'?', rest @ ..] => (true, rest),
            [b'?', b'q' | b'Q', b'?', rest @ ..] => (false, rest),
            _ => return None,
        };
        let text_len = memmem::find(rest, b"?=")?;
        let text = rest.get(..text_len)?;
        if charset.is_empty() || charset.iter().chain(text).any(|&byte| byte == b'\n') {
            return None;
        }
        let len = bytes.len() - rest.len() + text_len + 2;
        Some(Self { charset, base64, text, len })
    }

    fn decode_into(&self, out: &mut Vec<u8>) {
        if self.base64 {
            decode_base64(out, self.text);
            return;
        }
        let start = out.len();
        decode_quoted_printable(out, self.text);
        // An underscore is a space, except where it was written as =5F. Those were decoded just now, so the encoded
        // text has to say which is which.
        let mut encoded = self.text.iter();
        for byte in out.get_mut(start..).unwrap_or_default() {
            if encoded.next() == Some(&b'=') && hex_pair(encoded.as_slice()).is_some() {
                encoded.nth(1);
            } else if *byte == b'_' {
                *byte = b' ';
            }
        }
    }
}

/// Undoes a part's transfer encoding; an unknown one is taken for none. Borrows what is not encoded.
#[must_use]
pub fn decode_transfer_encoding<'a>(transfer_encoding: Option<&[u8]>, body: &'a [u8]) -> Cow<'a, [u8]> {
    let is = |name: &[u8]| transfer_encoding.is_some_and(|encoding| encoding.eq_ignore_ascii_case(name));
    let mut out = Vec::new();
    if is(b"base64") {
        out.reserve(body.len() / 4 * 3);
        decode_base64(&mut out, body);
    } else if is(b"quoted-printable") {
        out.reserve(body.len());
        decode_quoted_printable(&mut out, body);
    } else {
        return Cow::Borrowed(body);
    }
    Cow::Owned(out)
}

/// The body of a text part as UTF-8. `transfer_encoding` and `charset` as in [`crate::Content`].
#[must_use]
pub fn decode_text_part(transfer_encoding: Option<&[u8]>, charset: Option<&[u8]>, body: &[u8]) -> String {
    decode_charset(charset.unwrap_or_default(), &decode_transfer_encoding(transfer_encoding, body)).into_owned()
}

pub(crate) fn decode_charset<'a>(charset: &[u8], bytes: &'a [u8]) -> Cow<'a, str> {
    let is_utf8 = [&b""[..], b"utf-8", b"utf8", b"us-ascii", b"ascii"];
    if is_utf8.iter().any(|name| charset.eq_ignore_ascii_case(name)) {
        return lossy(bytes);
    }
    match charset_decoder(charset) {
        Some(decode) => Cow::Owned(decode(bytes)),
        None => lossy(bytes),
    }
}

/// What is no UTF-8 replaced. Nearly all text is: that is found out much faster than where it is not.
fn lossy(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

/// Bytes outside the alphabet are passed over; padding ends a group, and another may follow.
fn decode_base64(out: &mut Vec<u8>, text: &[u8]) {
    let mut group = 0u32;
    let mut digits = 0;
    for &byte in text {
        let digit = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            b'=' => {
                flush_group(out, group, digits);
                (group, digits) = (0, 0);
                continue;
            }
            _ => continue,
        };
        group = group << 6 | u32::from(digit);
        digits += 1;
        if digits == 4 {
            flush_group(out, group, digits);
            (group, digits) = (0, 0);
        }
    }
    flush_group(out, group, digits);
}

/// Appends the whole bytes of a group of up to four base64 digits.
fn flush_group(out: &mut Vec<u8>, group: u32, digits: u32) {
    let bytes = (group << (6 * (4 - digits))).to_be_bytes();
    let len = usize::try_from(digits * 6 / 8).unwrap_or(0);
    out.extend_from_slice(bytes.get(1..1 + len).unwrap_or_default());
}

/// A `=` that is neither followed by two hex digits nor the end of a line stands for itself.
fn decode_quoted_printable(out: &mut Vec<u8>, text: &[u8]) {
    let mut rest = text;
    while let Some(equals) = memchr::memchr(b'=', rest) {
        let (plain, coded) = rest.split_at_checked(equals).unwrap_or((rest, b""));
        out.extend_from_slice(plain);
        let coded = coded.get(1..).unwrap_or_default();
        if let Some(byte) = hex_pair(coded) {
            out.push(byte);
            rest = coded.get(2..).unwrap_or_default();
            continue;
        }
        let spaces = coded.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        rest = match coded.get(spaces..).unwrap_or_default() {
            [b'\r', b'\n', rest @ ..] | [b'\n', rest @ ..] => rest,
            _ => {
                out.push(b'=');
                coded
            }
        };
    }
    out.extend_from_slice(rest);
}

fn hex_pair(bytes: &[u8]) -> Option<u8> {
    let [high, low, ..] = bytes else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some(digit(*high)? << 4 | digit(*low)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_words() {
        for (value, expected) in [
            ("plain", "plain"),
            ("=?utf-8?Q?=C3=A4_b=5Fc?= d", "ä b_c d"),
            ("a =?UTF-8?b?w6Q=?=\r\n =?utf-8?q?x?= b", "a äx b"),
            // One character in two words.
            ("=?utf-8?q?=C3?= =?utf-8?q?=A4?=", "ä"),
            ("=?iso-8859-1*de?q?=FC?=", "ü"),
            ("=?iso-2022-jp?B?GyRCRnxLXBsoQg==?=", "日本"),
            ("=?broken =?utf-8?q?x?=", "=?broken x"),
            ("=?nosuch?q?x?=", "x"),
            ("50 =? 60", "50 =? 60"),
        ] {
            assert_eq!(decode_header_text(value.as_bytes()), expected, "{value}");
        }
        assert_eq!(decode_header_text(b"raw \xff"), "raw \u{fffd}");
        let endless = "=?a?q? ".repeat(100_000);
        assert_eq!(decode_header_text(endless.as_bytes()), endless);
    }

    #[test]
    fn text_parts() {
        let decode = |encoding: &str, charset: &str, body: &[u8]| {
            decode_text_part(Some(encoding.as_bytes()), Some(charset.as_bytes()), body)
        };
        assert_eq!(decode("Base64", "utf-8", b"w6R\nzZA=="), "äsd");
        assert_eq!(decode("base64", "utf-8", b"YQ==Yg=="), "ab");
        assert_eq!(decode("quoted-printable", "windows-1252", b"=80 a=\r\nb=3D=zz= \nc"), "€ ab==zzc");
        assert_eq!(decode("8bit", "iso-8859-15", b"\xa4"), "€");
        assert_eq!(decode_text_part(None, None, "ä".as_bytes()), "ä");
    }
}
