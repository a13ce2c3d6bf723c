//! Mailbox names as users see them.

use std::{fmt, sync::Arc};

/// A mailbox's name in UTF-8, its levels separated by `/`. Checked when made: no empty level, no `.` or `..`, no control
/// character, so that no name can climb out of a store or break a line. `INBOX` (and the first level of its children) is
/// spelled in capitals whatever the client wrote. Cheap to clone.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct MailboxName(Arc<str>);

/// Why a name cannot name a mailbox.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidMailboxName {
    /// Nothing, or nothing between two separators.
    #[error("mailbox name has an empty level")]
    EmptyLevel,
    /// `.` or `..`.
    #[error("mailbox name has a level that would climb")]
    Climbs,
    /// A control character.
    #[error("mailbox name has a control character")]
    Control,
    /// Longer than [`MailboxName::LEN_MAX`], or a level longer than [`MailboxName::LEVEL_LEN_MAX`].
    #[error("mailbox name is too long")]
    TooLong,
    /// More than [`MailboxName::LEVELS_MAX`] levels.
    #[error("mailbox name has too many levels")]
    TooDeep,
}

impl MailboxName {
    /// Longest name in bytes of UTF-8.
    pub const LEN_MAX: usize = 1024;
    /// Longest level in bytes as written on disk in modified UTF-7; file systems stop at 255.
    pub const LEVEL_LEN_MAX: usize = 255;
    /// Deepest hierarchy.
    pub const LEVELS_MAX: usize = 64;
    /// Between levels.
    pub const SEPARATOR: char = '/';

    /// The mailbox that every user has.
    pub fn inbox() -> Self {
        Self("INBOX".into())
    }

    /// The mailbox that a storage's own folder is, where that is none of the user's INBOX: a namespace shows it under its
    /// prefix. No other name is equal to it, and no client can give it.
    pub fn storage_root() -> Self {
        Self(".".into())
    }

    /// Whether it is [`MailboxName::storage_root`].
    pub fn is_storage_root(&self) -> bool {
        &*self.0 == "."
    }

    /// Checks a name.
    pub fn new(name: &str) -> Result<Self, InvalidMailboxName> {
        if name.len() > Self::LEN_MAX {
            return Err(InvalidMailboxName::TooLong);
        }
        let mut levels = 0;
        for level in name.split(Self::SEPARATOR) {
            levels += 1;
            match level {
                "" => return Err(InvalidMailboxName::EmptyLevel),
                "." | ".." => return Err(InvalidMailboxName::Climbs),
                _ if crate::mutf7::encode(level).len() > Self::LEVEL_LEN_MAX => {
                    return Err(InvalidMailboxName::TooLong);
                }
                _ => {}
            }
        }
        if levels > Self::LEVELS_MAX {
            return Err(InvalidMailboxName::TooDeep);
        }
        if name.chars().any(char::is_control) {
            return Err(InvalidMailboxName::Control);
        }
        let (first, rest) = name.split_once(Self::SEPARATOR).map_or((name, None), |(first, rest)| (first, Some(rest)));
        if first.eq_ignore_ascii_case("INBOX") {
            return Ok(rest.map_or_else(Self::inbox, |rest| Self(format!("INBOX/{rest}").into())));
        }
        Ok(Self(name.into()))
    }

    /// In UTF-8.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is `INBOX`.
    pub fn is_inbox(&self) -> bool {
        &*self.0 == "INBOX"
    }

    /// Its levels, outermost first.
    pub fn levels(&self) -> impl Iterator<Item = &str> {
        self.0.split(Self::SEPARATOR)
    }

    /// The name one level up.
    pub fn parent(&self) -> Option<Self> {
        self.0.rsplit_once(Self::SEPARATOR).map(|(parent, _)| Self(parent.into()))
    }

    /// Whether `self` lies below `ancestor`, at any depth.
    pub fn is_below(&self, ancestor: &Self) -> bool {
        self.0.strip_prefix(ancestor.as_str()).is_some_and(|rest| rest.starts_with(Self::SEPARATOR))
    }

    /// The name that `self`, which is `from` or lies below it, gets when `from` is renamed to `to`.
    pub fn rebased(&self, from: &Self, to: &Self) -> Option<Self> {
        let rest = self.0.strip_prefix(from.as_str())?;
        (rest.is_empty() || rest.starts_with(Self::SEPARATOR)).then(|| Self(format!("{to}{rest}").into()))
    }
}

impl fmt::Display for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for MailboxName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl std::str::FromStr for MailboxName {
    type Err = InvalidMailboxName;
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_escape_are_refused() {
        for (name, why) in [
            ("../x", InvalidMailboxName::Climbs),
            ("a/../../etc", InvalidMailboxName::Climbs),
            (".", InvalidMailboxName::Climbs),
            ("/etc/passwd", InvalidMailboxName::EmptyLevel),
            ("a//b", InvalidMailboxName::EmptyLevel),
            ("a/", InvalidMailboxName::EmptyLevel),
            ("", InvalidMailboxName::EmptyLevel),
            ("a\r\nb", InvalidMailboxName::Control),
            ("a\0b", InvalidMailboxName::Control),
        ] {
            assert_eq!(MailboxName::new(name), Err(why), "{name:?}");
        }
        assert_eq!(MailboxName::new(&"ä".repeat(200)), Err(InvalidMailboxName::TooLong));
        assert_eq!(MailboxName::new(&"a/".repeat(70)[..139]), Err(InvalidMailboxName::TooDeep));
    }

    #[test]
    fn inbox_is_spelled_one_way() {
        assert!(MailboxName::new("iNbOx").unwrap().is_inbox());
        assert_eq!(MailboxName::new("inbox/Sub").unwrap().as_str(), "INBOX/Sub");
        assert_eq!(MailboxName::new("inboxes").unwrap().as_str(), "inboxes");
    }

    #[test]
    fn children_follow_a_rename() {
        let name = |s| MailboxName::new(s).unwrap();
        assert_eq!(name("a/b/c").rebased(&name("a"), &name("x/y")), Some(name("x/y/b/c")));
        assert_eq!(name("ab").rebased(&name("a"), &name("x")), None);
        assert!(
            name("a/b").is_below(&name("a")) && !name("ab").is_below(&name("a")) && !name("a").is_below(&name("a"))
        );
    }
}
