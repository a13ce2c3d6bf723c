//! Flags and keywords (RFC 9051 §2.3.2).

use std::{fmt, hash, ops, sync::Arc};

/// One of the five system flags that are stored. `\Recent` is a property of a session, not of a message.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Flag {
    /// `\Answered`
    Answered = 0x01,
    /// `\Flagged`
    Flagged = 0x02,
    /// `\Deleted`
    Deleted = 0x04,
    /// `\Seen`
    Seen = 0x08,
    /// `\Draft`
    Draft = 0x10,
}

impl Flag {
    /// All, in the order in which Dovecot prints them.
    pub const ALL: [Self; 5] = [Self::Answered, Self::Flagged, Self::Deleted, Self::Seen, Self::Draft];

    /// The name in IMAP, with its backslash.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answered => "\\Answered",
            Self::Flagged => "\\Flagged",
            Self::Deleted => "\\Deleted",
            Self::Seen => "\\Seen",
            Self::Draft => "\\Draft",
        }
    }

    /// The flag that a name (with its backslash, any case) stands for.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|flag| flag.name().as_bytes().eq_ignore_ascii_case(name))
    }
}

impl fmt::Display for Flag {
    /// Its name in IMAP.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A set of system flags; the bits are those of an index record (`docs/formats/index.md`).
#[derive(Clone, Copy, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Flags(u8);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// Every flag.
    pub const ALL: Self = Self(0x1f);

    /// The flags among the low five bits; the others are dropped.
    pub const fn from_bits(bits: u8) -> Self {
        Self(bits & Self::ALL.0)
    }

    /// As in an index record.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Whether the flag is set.
    pub const fn contains(self, flag: Flag) -> bool {
        self.0 & flag as u8 != 0
    }

    /// Whether none is set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Those of `self` that are not in `other`.
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The flags that are set, in Dovecot's order.
    pub fn iter(self) -> impl Iterator<Item = Flag> {
        Flag::ALL.into_iter().filter(move |&flag| self.contains(flag))
    }
}

impl From<Flag> for Flags {
    fn from(flag: Flag) -> Self {
        Self(flag as u8)
    }
}

impl ops::BitOr for Flags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl ops::BitAnd for Flags {
    type Output = Self;
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl Extend<Flag> for Flags {
    fn extend<I: IntoIterator<Item = Flag>>(&mut self, flags: I) {
        *self = flags.into_iter().fold(*self, |all, flag| all | flag.into());
    }
}

impl FromIterator<Flag> for Flags {
    fn from_iter<I: IntoIterator<Item = Flag>>(flags: I) -> Self {
        let mut all = Self::NONE;
        all.extend(flags);
        all
    }
}

impl fmt::Display for Flags {
    /// Separated by single spaces, as between the parentheses of a FLAGS answer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, flag) in self.iter().enumerate() {
            if i > 0 {
                f.write_str(" ")?;
            }
            f.write_str(flag.name())?;
        }
        Ok(())
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({self})")
    }
}

/// A keyword: a flag of the users' own, an IMAP atom. Compares without regard to case; keeps the spelling of its
/// first use. Cheap to clone.
#[derive(Clone)]
pub struct Keyword(Arc<str>);

/// Why a name cannot be a keyword.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidKeyword {
    /// Empty or longer than [`Keyword::LEN_MAX`].
    #[error("a keyword has 1 to {} bytes", Keyword::LEN_MAX)]
    Length,
    /// A byte that an atom cannot have.
    #[error("a keyword cannot hold byte {0:#04x}")]
    Byte(u8),
}

impl Keyword {
    /// Longest keyword taken, in bytes. Dovecot's default limit is 50 (`mail_max_keyword_length`); names found on
    /// disk may be longer.
    pub const LEN_MAX: usize = 255;

    /// Checks that the name is an IMAP atom (RFC 9051 `flag-keyword`), `]` included as Dovecot does.
    pub fn new(name: &str) -> Result<Self, InvalidKeyword> {
        if name.is_empty() || name.len() > Self::LEN_MAX {
            return Err(InvalidKeyword::Length);
        }
        let bad = |&b: &u8| b <= b' ' || b >= 0x7f || b"(){%*\"\\".contains(&b);
        match name.bytes().find(bad) {
            Some(byte) => Err(InvalidKeyword::Byte(byte)),
            None => Ok(Self(name.into())),
        }
    }

    /// As first spelled.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Keyword {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for Keyword {}

impl hash::Hash for Keyword {
    fn hash<H: hash::Hasher>(&self, state: &mut H) {
        self.0.bytes().for_each(|b| state.write_u8(b.to_ascii_lowercase()));
    }
}

impl fmt::Display for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Keyword {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_print_in_dovecots_order() {
        let flags: Flags = [Flag::Seen, Flag::Answered].into_iter().collect();
        assert_eq!(flags.to_string(), "\\Answered \\Seen");
        assert_eq!(Flag::Seen.to_string(), "\\Seen");
        assert_eq!(Flags::from_bits(0xe9), flags, "backend bits are no flags");
        assert_eq!(Flag::from_name(b"\\sEEN"), Some(Flag::Seen));
    }

    #[test]
    fn keywords_are_atoms_that_compare_without_case() {
        assert_eq!(Keyword::new("Junk").unwrap(), Keyword::new("jUNK").unwrap());
        assert_eq!(Keyword::new("a b"), Err(InvalidKeyword::Byte(b' ')));
        assert_eq!(Keyword::new("\\Seen"), Err(InvalidKeyword::Byte(b'\\')));
        assert_eq!(Keyword::new(""), Err(InvalidKeyword::Length));
        assert!(Keyword::new("$Forwarded").is_ok());
    }
}
