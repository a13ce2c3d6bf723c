//! Who a user is.

use std::{fmt, sync::Arc};

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
        if name.starts_with('.') {
            return Err(InvalidUserName::Character('.'));
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
}

/// Users could not be looked up: neither a yes nor a no.
#[derive(Clone, Debug, thiserror::Error)]
#[error("users cannot be looked up: {0}")]
pub struct AuthError(pub String);

/// Knows users and their passwords. Calls may block (files, hashes, networks): they are made on a pool's thread, as
/// [`crate::Logins`] does.
pub trait Authenticator: Send + Sync + fmt::Debug {
    /// The user with that name, if the password is his. For a user that does not exist and for a wrong password the
    /// answer is the same, and so should be the time it takes.
    fn verify(&self, name: &str, password: &[u8]) -> Result<Option<User>, AuthError>;
    /// The user with that name, for mail that is to be delivered.
    fn lookup(&self, name: &str) -> Result<Option<User>, AuthError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_escape_a_folder_are_refused() {
        for name in ["../ann", "..", ".", ".hidden", "a/b", "a\0b", "a\nb", "a:b", ""] {
            assert!(UserName::new(name).is_err(), "{name:?}");
        }
        assert_eq!(UserName::new("Ann@Example.org").unwrap().as_str(), "ann@example.org");
    }
}
