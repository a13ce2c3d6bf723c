//! The base subject (RFC 5256 §2.1): what is left of a Subject when the marks of replies, forwards and lists are taken
//! away. Sorting and threading go by it.
//!
//! The text is brought into the form in which it is compared ([`collation_key`]) first, as Dovecot does, so that the
//! marks are found in full-width letters too. Time is linear in the subject's length, however its brackets lie.

use crate::collation::collation_key;
use crate::text::decode_header_text;

/// What a subject comes down to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct BaseSubject {
    /// The key: equal for subjects that are the same, ordered as subjects sort. May be empty.
    pub key: Vec<u8>,
    /// A mark of a reply or forward was taken away: `Re:`, `Fwd:`, `(fwd)` or `[Fwd: …]`.
    pub is_reply_or_forward: bool,
}

impl BaseSubject {
    /// From the value of a Subject field, encoded and folded as it stands there.
    #[must_use]
    pub fn of(value: &[u8]) -> Self {
        let mut key = Vec::new();
        let text = decode_header_text(value);
        // Whoever compares C strings sees no more.
        collation_key(text.split('\0').next().unwrap_or_default(), &mut key);
        pack_white_space(&mut key);
        let (base, is_reply_or_forward) = strip(&key);
        Self { key: base.to_vec(), is_reply_or_forward }
    }
}

/// (1): runs of white space become one space; none at the beginning and the end.
fn pack_white_space(text: &mut Vec<u8>) {
    let mut pending = false;
    let mut kept = 0;
    for at in 0..text.len() {
        let Some(&byte) = text.get(at) else { break };
        if matches!(byte, b' ' | b'\t' | b'\r' | b'\n') {
            pending = kept > 0;
            continue;
        }
        for byte in std::iter::repeat_n(b' ', usize::from(std::mem::take(&mut pending))).chain([byte]) {
            if let Some(place) = text.get_mut(kept) {
                *place = byte;
            }
            kept += 1;
        }
    }
    text.truncate(kept);
}

/// (2) to (6), on a text in capitals with single spaces.
fn strip(text: &[u8]) -> (&[u8], bool) {
    let mut rest = text;
    let mut is_marked = false;
    loop {
        while let Some(shorter) = without_trailer(rest) {
            is_marked |= rest.ends_with(b"(FWD)");
            rest = shorter;
        }
        while let Some((shorter, is_refwd)) = without_leader(rest) {
            is_marked |= is_refwd;
            rest = shorter;
        }
        let Some(inner) = rest.strip_prefix(b"[FWD:").and_then(|inner| inner.strip_suffix(b"]")) else {
            return (rest, is_marked);
        };
        is_marked = true;
        rest = inner;
    }
}

/// `subj-trailer`: `(fwd)` or a space.
fn without_trailer(text: &[u8]) -> Option<&[u8]> {
    text.strip_suffix(b"(FWD)").or_else(|| text.strip_suffix(b" "))
}

/// `subj-leader`, or a `subj-blob` that is not all there is; and whether that was a `subj-refwd`.
///
/// Blobs are passed in one go. They all go if a `subj-refwd` or any other text follows; if none does, all but the last.
fn without_leader(text: &[u8]) -> Option<(&[u8], bool)> {
    if let Some(rest) = text.strip_prefix(b" ") {
        return Some((rest, false));
    }
    let (mut rest, mut last_blob) = (text, None);
    while let Some(behind) = without_blob(rest) {
        last_blob = Some(rest);
        rest = behind;
    }
    if let Some(behind) = without_refwd(rest) {
        return Some((behind, true));
    }
    let shorter = if rest.is_empty() { last_blob? } else { rest };
    (shorter.len() < text.len()).then_some((shorter, false))
}

/// `subj-blob`: `[` without further brackets in it `]`, and spaces.
fn without_blob(text: &[u8]) -> Option<&[u8]> {
    let inner = text.strip_prefix(b"[")?;
    let end = inner.iter().position(|byte| matches!(byte, b'[' | b']'))?;
    let (_, rest) = inner.split_at_checked(end)?;
    Some(without_spaces(rest.strip_prefix(b"]")?))
}

/// `subj-refwd`: `re`, `fw` or `fwd`, perhaps a blob, a colon.
fn without_refwd(text: &[u8]) -> Option<&[u8]> {
    let rest = text.strip_prefix(b"RE").or_else(|| {
        let rest = text.strip_prefix(b"FW")?;
        Some(rest.strip_prefix(b"D").unwrap_or(rest))
    })?;
    let rest = without_spaces(rest);
    without_blob(rest).unwrap_or(rest).strip_prefix(b":")
}

fn without_spaces(text: &[u8]) -> &[u8] {
    text.strip_prefix(b" ").unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn base(value: &str) -> (String, bool) {
        let base = BaseSubject::of(value.as_bytes());
        (String::from_utf8(base.key).unwrap(), base.is_reply_or_forward)
    }

    /// Each was seen to sort so with Dovecot 2.3.19.
    #[test]
    fn base_subjects() {
        for (value, expected, is_marked) in [
            ("Re: b", "B", true),
            ("re[5]: B", "B", true),
            ("re :  e", "E", true),
            ("[list] Re: a", "A", true),
            ("[a]re[b]: q", "Q", true),
            ("re[5][6]: q", "RE[5][6]: Q", false),
            ("Re: [x] [y] d", "D", true),
            ("[x] [y]", "[Y]", false),
            ("[x]", "[X]", false),
            ("Re:", "", true),
            ("=?utf-8?q?Re:_f?=", "F", true),
            ("a \t b", "A B", false),
            ("a b (fwd) (FWD) ", "A B", true),
            ("(fwd)", "", true),
            ("x [fwd]", "X [FWD]", false),
            ("[fwd: c]", "C", true),
            ("[fwd: [fwd: q]] ", "Q", true),
            ("[Fwd: re: q]", "Q", true),
            ("rE: rE: fwd: q", "Q", true),
            ("ReX: q", "REX: Q", false),
            ("[ a ] q", "Q", false),
            ("[a] b [c] x", "B [C] X", false),
            ("[q", "[Q", false),
            ("\u{ff32}e: q", "Q", true),
            ("=?utf-8?Q?a=00b?=", "A", false),
            (" lead", "LEAD", false),
            ("", "", false),
            ("[fwd:]", "", true),
            ("[fwd: a] b", "B", false),
            ("[fwd: a] (fwd)", "A", true),
        ] {
            assert_eq!(base(value), (expected.to_owned(), is_marked), "{value}");
        }
    }

    #[test]
    fn brackets_without_end_cost_linear_time() {
        for text in ["[a]", "[fwd: ", "[", "re: ", "(fwd)", "[a] re: ", "[fwd: [a]", "re[", "fw [a][", "  "] {
            let many = text.repeat(200_000);
            assert!(base(&many).0.len() <= many.len());
            assert!(base(&format!("{many}x{}", "]".repeat(200_000))).0.len() <= many.len() + 200_001);
        }
    }
}
