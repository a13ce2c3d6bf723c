//! Texts as keys to sort by: RFC 5051 (`i;unicode-casemap`), as Dovecot 2.3 carries it out.
//!
//! Each character is mapped to title case where that is one character, then decomposed, and the keys are compared byte
//! by byte. Where Dovecot strays from RFC 5051 it is followed, for clients see the order (all characters were tried):
//! - a decomposition is made once, not again on what it brought: `Ầ` becomes `Â` and a grave, and sorts behind `Z`;
//! - the digraphs that have a title case of their own (`ǅ`) are not decomposed.
//!
//! Not followed, for lack of a crate that tells single steps of decomposition: some 150 compatibility characters, such
//! as `㎡` and half-width Hangul, whose parts decompose in their turn, and those that are younger than Dovecot's tables.
//! They sort among each other and beside their like, only not everywhere as with Dovecot.

use unicode_normalization::char::{compose, decompose_canonical, decompose_compatible, is_combining_mark};

/// Characters of the longest decomposition that is looked at; the longest there is has 18.
const DECOMPOSITION_LEN_MAX: usize = 18;

/// Appends the key of a text. Two texts that differ in case alone have the same one. Linear; ASCII costs a copy.
pub fn collation_key(text: &str, out: &mut Vec<u8>) {
    out.reserve(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            out.push((c as u8).to_ascii_uppercase());
        } else {
            decompose_once(title_case(c), out);
        }
    }
}

/// The simple mapping: none where the title case is several characters.
fn title_case(c: char) -> char {
    match c {
        '\u{1c4}'..='\u{1c6}' => '\u{1c5}',
        '\u{1c7}'..='\u{1c9}' => '\u{1c8}',
        '\u{1ca}'..='\u{1cc}' => '\u{1cb}',
        '\u{1f1}'..='\u{1f3}' => '\u{1f2}',
        // Georgian has capitals, which titles do not begin with.
        '\u{10d0}'..='\u{10ff}' => c,
        // Greek with iota subscript: in upper case that becomes a letter of its own, in title case it stays.
        '\u{1f80}'..='\u{1faf}' => char::from_u32(u32::from(c) | 8).unwrap_or(c),
        '\u{1fb3}' => '\u{1fbc}',
        '\u{1fc3}' => '\u{1fcc}',
        '\u{1ff3}' => '\u{1ffc}',
        _ => {
            let mut upper = c.to_uppercase();
            match (upper.next(), upper.next()) {
                (Some(upper), None) => upper,
                _ => c,
            }
        }
    }
}

/// Appends what a character decomposes to in one step, or the character.
fn decompose_once(c: char, out: &mut Vec<u8>) {
    if matches!(c, '\u{1c5}' | '\u{1c8}' | '\u{1cb}' | '\u{1f2}') {
        return push(c, out);
    }
    let mut parts = Parts::default();
    decompose_canonical(c, |part| parts.push(part));
    if parts.as_slice() == [c] {
        parts = Parts::default();
        decompose_compatible(c, |part| parts.push(part));
        return parts.composed().as_slice().iter().for_each(|&part| push(part, out));
    }
    let composed = parts.composed();
    match (composed.as_slice(), parts.as_slice()) {
        // One that stands for another, such as the sign for Ångström.
        (&[other], _) if other != c => push(other, out),
        // Hangul has no steps.
        (_, jamo) if ('\u{ac00}'..='\u{d7a3}').contains(&c) => jamo.iter().for_each(|&part| push(part, out)),
        // All but the last is the first step's first character.
        (_, [first @ .., last]) => {
            let mut head = Parts::default();
            first.iter().for_each(|&part| head.push(part));
            head.composed().as_slice().iter().for_each(|&part| push(part, out));
            push(*last, out);
        }
        (_, []) => push(c, out),
    }
}

fn push(c: char, out: &mut Vec<u8>) {
    let mut utf8 = [0; 4];
    out.extend_from_slice(c.encode_utf8(&mut utf8).as_bytes());
}

/// A few characters, without an allocation.
#[derive(Clone, Copy, Debug)]
struct Parts {
    chars: [char; DECOMPOSITION_LEN_MAX],
    len: usize,
}

impl Default for Parts {
    fn default() -> Self {
        Self { chars: ['\0'; DECOMPOSITION_LEN_MAX], len: 0 }
    }
}

impl Parts {
    fn push(&mut self, c: char) {
        if let Some(place) = self.chars.get_mut(self.len) {
            *place = c;
            self.len += 1;
        }
    }

    fn as_slice(&self) -> &[char] {
        self.chars.get(..self.len).unwrap_or_default()
    }

    /// With each character and the marks behind it put together as far as possible.
    fn composed(&self) -> Self {
        let mut out = Self::default();
        for &c in self.as_slice() {
            let before = out.len.checked_sub(1).and_then(|last| out.chars.get_mut(last));
            match before {
                Some(before) if is_combining_mark(c) => match compose(*before, c) {
                    Some(both) => *before = both,
                    None => out.push(c),
                },
                _ => out.push(c),
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> String {
        let mut out = Vec::new();
        collation_key(text, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn keys_are_dovecots() {
        for (text, expected) in [
            ("aZ1[", "AZ1["),
            ("\u{e4}", "A\u{308}"),
            ("\u{131}i", "II"),
            ("\u{130}", "I\u{307}"),
            ("\u{df}", "\u{df}"),
            ("\u{fb01}", "fi"),
            ("\u{ff57}", "W"),
            ("\u{1c6}\u{1c4}", "\u{1c5}\u{1c5}"),
            ("\u{1ea7}", "\u{c2}\u{300}"),
            ("\u{1d8}", "\u{dc}\u{301}"),
            ("\u{2126}\u{3c9}", "\u{3a9}\u{3a9}"),
            ("\u{1f71}", "\u{386}"),
            ("\u{1f80}", "\u{1f08}\u{345}"),
            ("\u{958}", "\u{915}\u{93c}"),
            ("\u{ac01}", "\u{1100}\u{1161}\u{11a8}"),
            ("\u{3300}", "\u{30a2}\u{30d1}\u{30fc}\u{30c8}"),
            ("\u{10d0}", "\u{10d0}"),
        ] {
            assert_eq!(key(text), expected, "{text}");
        }
    }
}
