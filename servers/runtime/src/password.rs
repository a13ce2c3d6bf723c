//! Passwords as stored: `{SCHEME}text`, as Dovecot writes them.

use std::fmt;

use sha_crypt::{PasswordHasher, PasswordVerifier, ShaCrypt};
use subtle::ConstantTimeEq;

/// Longest password that is looked at; hashing costs time in proportion.
pub(crate) const PASSWORD_LEN_MAX: usize = 1024;

/// How a password is stored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum PasswordScheme {
    /// `{PLAIN}`: as it is.
    Plain,
    /// `{SHA512-CRYPT}`: crypt(3)'s `$6$`.
    Sha512Crypt,
}

/// A stored password.
#[derive(Clone, Eq, PartialEq)]
pub struct Password {
    scheme: PasswordScheme,
    text: String,
}

/// A password could not be hashed or a stored one not be understood.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum HashError {
    /// No `{SCHEME}` in front, or one that is not known.
    #[error("password scheme {0:?} is not supported")]
    UnknownScheme(String),
    /// The text is none of its scheme.
    #[error("the text is no hash of its scheme")]
    Malformed,
    /// The system gave no random bytes, or the hash function refused.
    #[error("cannot hash: {0}")]
    Failed(String),
}

impl Password {
    /// Reads `{SCHEME}text`.
    pub fn parse(stored: &str) -> Result<Self, HashError> {
        let unknown = || HashError::UnknownScheme(stored.split('}').next().unwrap_or_default().replace('{', ""));
        let (scheme, text) = stored.strip_prefix('{').and_then(|rest| rest.split_once('}')).ok_or_else(|| {
            // What has no scheme may be a password: it must not get into a log.
            HashError::UnknownScheme(String::new())
        })?;
        let scheme = match () {
            () if scheme.eq_ignore_ascii_case("PLAIN") => PasswordScheme::Plain,
            () if scheme.eq_ignore_ascii_case("SHA512-CRYPT") => PasswordScheme::Sha512Crypt,
            () => return Err(unknown()),
        };
        if scheme == PasswordScheme::Sha512Crypt && !text.starts_with("$6$") {
            return Err(HashError::Malformed);
        }
        Ok(Self { scheme, text: text.to_owned() })
    }

    /// Hashes a password. Takes tens of milliseconds.
    pub fn hash(password: &[u8]) -> Result<Self, HashError> {
        let failed = |error: &dyn fmt::Display| HashError::Failed(error.to_string());
        let salt = crate::password_file::random_bytes(SALT_LEN).map_err(|error| failed(&error))?;
        let hash = ShaCrypt::SHA512.hash_password_with_salt(password, &salt).map_err(|e| failed(&e))?;
        Ok(Self { scheme: PasswordScheme::Sha512Crypt, text: hash.as_str().to_owned() })
    }

    /// Whether it is this one; takes the same time whatever differs.
    pub fn matches(&self, password: &[u8]) -> bool {
        if password.len() > PASSWORD_LEN_MAX {
            return false;
        }
        match self.scheme {
            PasswordScheme::Plain => self.text.as_bytes().ct_eq(password).into(),
            PasswordScheme::Sha512Crypt => ShaCrypt::SHA512.verify_password(password, self.text.as_str()).is_ok(),
        }
    }
}

/// Bytes that make the 16 characters of salt that crypt(3) takes.
const SALT_LEN: usize = 12;

impl fmt::Display for Password {
    /// As a password file has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            PasswordScheme::Plain => "PLAIN",
            PasswordScheme::Sha512Crypt => "SHA512-CRYPT",
        };
        write!(f, "{{{scheme}}}{}", self.text)
    }
}

impl fmt::Debug for Password {
    /// Without the text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Password({:?})", self.scheme)
    }
}
