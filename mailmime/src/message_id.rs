//! Message IDs (RFC 5322 §3.6.4) as threads are made by them: one spelling for each (RFC 5256 §3).

use std::borrow::Cow;

use crate::lex::Lexer;

/// The message IDs in the value of a Message-ID, References or In-Reply-To field, each without its angle brackets, white
/// space and quoting. What is no message ID is passed over; what is between the brackets of one without quoting may be
/// anything with an `@`, as Dovecot has it. Linear in the value's length.
#[derive(Clone, Debug)]
pub struct MessageIds<'a> {
    rest: &'a [u8],
    /// How many more times a quoted ID may turn out to be none.
    patience: u32,
}

/// Longest message ID with quoting or comments in it; no line of mail is longer.
const QUOTED_ID_LEN_MAX: usize = 998;

/// Quoted IDs of one field that may be broken; behind so many no more are looked for.
const BROKEN_IDS_MAX: u32 = 1000;

impl<'a> MessageIds<'a> {
    /// `value` may be folded.
    #[must_use]
    pub fn new(value: &'a [u8]) -> Self {
        Self { rest: value, patience: BROKEN_IDS_MAX }
    }
}

impl<'a> Iterator for MessageIds<'a> {
    type Item = Cow<'a, [u8]>;

    fn next(&mut self) -> Option<Cow<'a, [u8]>> {
        loop {
            let start = memchr::memchr(b'<', self.rest)? + 1;
            let text = self.rest.get(start..).unwrap_or_default();
            let stop = text.iter().position(|byte| matches!(byte, b'>' | b'"' | b'(' | b'['))?;
            match text.get(stop) {
                Some(b'>') => {
                    self.rest = text.get(stop + 1..).unwrap_or_default();
                    let id = text.get(..stop).unwrap_or_default();
                    if id.contains(&b'@') {
                        return Some(without_white_space(id));
                    }
                }
                _ => match quoted_id(text) {
                    Some((id, len)) => {
                        self.rest = text.get(len..).unwrap_or_default();
                        return Some(Cow::Owned(id));
                    }
                    // Behind what made it another than it seemed.
                    None => {
                        self.patience = self.patience.checked_sub(1)?;
                        self.rest = text.get(stop + 1..).unwrap_or_default();
                    }
                },
            }
        }
    }
}

fn without_white_space(id: &[u8]) -> Cow<'_, [u8]> {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    if id.iter().any(is_space) {
        return Cow::Owned(id.iter().copied().filter(|byte| !is_space(byte)).collect());
    }
    Cow::Borrowed(id)
}

/// An ID with quoting or comments in it, and how many bytes it takes up to its `>`.
fn quoted_id(text: &[u8]) -> Option<(Vec<u8>, usize)> {
    let mut lexer = Lexer::new(text.get(..QUOTED_ID_LEN_MAX).unwrap_or(text));
    let mut id = Vec::new();
    lexer.skip_cfws().ok()?;
    if lexer.peek() == Some(b'"') {
        lexer.quoted_string(&mut id).ok()?;
    } else {
        lexer.dot_atom(&mut id).ok()?;
    }
    if lexer.peek() != Some(b'@') {
        return None;
    }
    id.push(b'@');
    lexer.domain(&mut id).ok()?;
    if lexer.peek() != Some(b'>') {
        return None;
    }
    Some((id, lexer.mark() + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids() {
        for (value, expected) in [
            ("<a@b>", "a@b"),
            ("junk <a@b> (c) <c@d>\r\n <e@f>", "a@b c@d e@f"),
            ("<\"a\"@b>", "a@b"),
            ("<\"a b\"@c>", "a b@c"),
            ("< a @ b >", "a@b"),
            ("<a@\r\n b>", "a@b"),
            ("<no-at> <a@b>", "a@b"),
            ("<a(comment)@b>", "a@b"),
            ("<a@[1.2.3.4]>", "a@[1.2.3.4]"),
            ("<<a@b>>", "<a@b"),
            ("<a@b", ""),
            ("a@b", ""),
            ("<\"open@b> <c@d>", "c@d"),
            ("<A@b> <a@b>", "A@b a@b"),
        ] {
            let ids: Vec<String> =
                MessageIds::new(value.as_bytes()).map(|id| String::from_utf8(id.into_owned()).unwrap()).collect();
            assert_eq!(ids.join(" "), expected, "{value}");
        }
    }

    #[test]
    fn hostile_values_cost_linear_time() {
        for text in ["<", "<\"", "<(", "<a@", "<a@b> ", "<a@b(", "<\"\\", "<["] {
            let many = text.repeat(100_000);
            assert!(MessageIds::new(many.as_bytes()).count() <= 100_000);
        }
    }
}
