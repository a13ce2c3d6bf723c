//! Who a user is.

use std::{fmt, net::IpAddr, path::PathBuf, sync::Arc};

use crate::Network;

/// A user's name as it was authenticated. It may become a folder's name: it has no `/`, is not `.` or `..`, begins with
/// no `.` and has no control character. Lower case, as Dovecot's `auth_username_format=%Lu`. Cheap to clone.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UserName(Arc<str>);

/// Why a name cannot name a user.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidUserName {
    /// Empty or longer than [`UserName::LEN_MAX`].
    #[error("a user name has 1 to {} bytes", UserName::LEN_MAX)]
    Length,
    /// A character that a folder, a password file or a log line cannot have, or a `.` at the beginning.
    #[error("a user name cannot have {0:?} there")]
    Character(char),
}

impl UserName {
    /// Longest name in bytes.
    pub const LEN_MAX: usize = 200;

    /// Checks a name and puts it into lower case (ASCII only).
    pub fn new(name: &str) -> Result<Self, InvalidUserName> {
        if name.is_empty() || name.len() > Self::LEN_MAX {
            return Err(InvalidUserName::Length);
        }
        // A comment in a file of users begins with `#`.
        if let Some(first @ ('.' | '#')) = name.chars().next() {
            return Err(InvalidUserName::Character(first));
        }
        match name.chars().find(|&c| c.is_control() || matches!(c, '/' | '\\' | ':' | ' ' | '"' | '<' | '>' | '*')) {
            Some(c) => Err(InvalidUserName::Character(c)),
            None => Ok(Self(name.to_ascii_lowercase().into())),
        }
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A user that was found, or has logged in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct User {
    /// The name under which mail is kept; not always spelled as the client did.
    pub name: UserName,
    /// His own home folder, where it is not where everybody's is.
    pub home: Option<PathBuf>,
    /// His own mail location, such as `maildir:~/Maildir`, where it is not what everybody's is.
    pub mail: Option<String>,
    /// The networks from which he may log in; `None`: from everywhere.
    pub allow_nets: Option<Arc<[Network]>>,
}

impl User {
    /// One with a name and nothing of his own.
    pub fn new(name: UserName) -> Self {
        Self { name, home: None, mail: None, allow_nets: None }
    }

    /// Whether he may log in from an address; `None` is this machine without an address.
    pub fn may_log_in_from(&self, address: Option<IpAddr>) -> bool {
        self.allow_nets.as_ref().is_none_or(|networks| networks.iter().any(|network| network.contains(address)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_escape_a_folder_are_refused() {
        for name in ["../ann", "..", ".", ".hidden", "a/b", "a\0b", "a\nb", "a:b", "", "#ann"] {
            assert!(UserName::new(name).is_err(), "{name:?}");
        }
        assert_eq!(UserName::new("Ann@Example.org").unwrap().as_str(), "ann@example.org");
    }
}
