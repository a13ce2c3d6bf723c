//! A command's tag.

use std::fmt;

use crate::parse::chars;

/// A command's `tag`: 1 to [`Tag::LEN_MAX`] ASTRING-CHARs other than `+`.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Tag(Box<str>);

impl Tag {
    /// Longest tag taken, in bytes.
    pub const LEN_MAX: usize = 256;

    /// `None` for bytes that are no tag.
    pub fn new(tag: &[u8]) -> Option<Self> {
        if tag.is_empty() || tag.len() > Self::LEN_MAX || !tag.iter().all(|&b| chars::is_tag_char(b)) {
            return None;
        }
        std::str::from_utf8(tag).ok().map(|tag| Self(tag.into()))
    }

    /// As the client wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_can_be_repeated_in_an_answer() {
        for good in ["a", "A0001", "1.2]x", "*."] {
            assert_eq!(Tag::new(good.as_bytes()).is_some(), !good.contains('*'), "{good}");
        }
        for bad in ["", "+", "a+", "a b", "(", "a\r", "\u{e9}", "\"", "%"] {
            assert_eq!(Tag::new(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(Tag::new(&[b'a'; Tag::LEN_MAX + 1]), None);
    }
}
