//! Text brought into the form in which it is compared: RFC 5051 (`i;unicode-casemap`), nearly.
//!
//! Each character is mapped to upper case where that is one character, then decomposed (NFKD), then ASCII letters are
//! mapped once more. So `É`, `é` and `e` with a combining accent are the same, and `e` is found in each of them. Unlike
//! RFC 5051, which maps to title case, the digraphs that have one are mapped to upper case, which keeps the same ones
//! together; and compatibility forms such as `ﬁ` match in either case. Case mappings to more than one character, such
//! as that of `ß`, are not made.

use unicode_normalization::char::decompose_compatible;

/// Folds a text.
pub fn fold(text: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    fold_into(text, &mut out);
    out
}

/// Appends a text folded. ASCII costs a copy and a vectorized pass.
pub fn fold_into(text: &str, out: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(start) = first_not_ascii(rest.as_bytes()) {
        let (ascii, other) = rest.split_at_checked(start).unwrap_or((rest, ""));
        fold_ascii(ascii.as_bytes(), out);
        let end = other.bytes().position(|byte| byte.is_ascii()).unwrap_or(other.len());
        let (other, behind) = other.split_at_checked(end).unwrap_or((other, ""));
        other.chars().for_each(|c| fold_char(c, out));
        rest = behind;
    }
    fold_ascii(rest.as_bytes(), out);
}

/// Where the first byte beyond ASCII is; blocks without one are passed over whole.
fn first_not_ascii(text: &[u8]) -> Option<usize> {
    const BLOCK_LEN: usize = 64;
    let plain = text.chunks(BLOCK_LEN).take_while(|block| block.is_ascii()).count() * BLOCK_LEN;
    let at = text.get(plain..)?.iter().position(|byte| !byte.is_ascii())?;
    Some(plain + at)
}

/// Appends bytes that are all ASCII.
fn fold_ascii(text: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(text);
    out.get_mut(start..).unwrap_or_default().make_ascii_uppercase();
}

fn fold_char(c: char, out: &mut Vec<u8>) {
    let mut upper = c.to_uppercase();
    let upper = match (upper.next(), upper.next()) {
        (Some(upper), None) => upper,
        _ => c,
    };
    decompose_compatible(upper, |part| {
        let mut utf8 = [0; 4];
        out.extend_from_slice(part.to_ascii_uppercase().encode_utf8(&mut utf8).as_bytes());
    });
}

/// Appends the value of a header field, decoded, as one line: line ends left out, a TAB that begins a continuation
/// line a space, as Dovecot has it.
pub(super) fn fold_header(value: &[u8], out: &mut Vec<u8>) {
    let is_plain = value.is_ascii() && memchr::memmem::find(value, b"=?").is_none();
    if is_plain && memchr::memchr(b'\n', value).is_none() {
        return fold_ascii(value, out);
    }
    let mut line = value.to_vec();
    for at in memchr::memchr_iter(b'\n', value) {
        if let Some(first @ b'\t') = line.get_mut(at + 1) {
            *first = b' ';
        }
    }
    fold_into(&mailmime::decode_header_text(&line), out);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_letter_folds_the_same() {
        for (a, b) in [
            ("Grüße", "GRÜßE"),
            ("caf\u{e9}", "CAFE\u{301}"),
            ("Straße", "straße"),
            ("ﬁn", "FIN"),
            ("ΑΣ", "ας"),
            ("ǆ", "ǅ"),
            ("Κ", "κ"),
            ("\u{212a}", "k"),
            ("ｗｉｄｅ", "wide"),
        ] {
            assert_eq!(fold(a), fold(b), "{a} {b}");
        }
        assert_ne!(fold("Straße"), fold("Strasse"));
        assert!(fold("café").starts_with(&fold("cafe")));
    }

    #[test]
    fn a_folded_header_is_one_line() {
        let folded = |value: &[u8]| {
            let mut out = Vec::new();
            fold_header(value, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(folded(b"one\n\ttwo"), "ONE TWO");
        assert_eq!(folded(b"name\n   line"), "NAME   LINE");
        assert_eq!(folded(b"=?utf-8?Q?a?=\n =?utf-8?Q?b?= c"), "AB C");
        assert_eq!(folded(b"tab\there"), "TAB\tHERE");
    }
}
