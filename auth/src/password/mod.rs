//! Passwords as stored: `{SCHEME}text` or `{SCHEME.encoding}text`, as Dovecot writes and reads them.
//!
//! A stored password says how much it costs to check one against it: what costs more than the limits of its scheme is
//! refused when it is read, so that nobody can be kept busy by a line of a file.

mod argon;
mod crypt;
mod digest;
mod pbkdf2;
mod scheme;

use std::{fmt, num::NonZeroU32};

use subtle::ConstantTimeEq as _;

pub use scheme::{Encoding, Scheme};

use crate::{RandomError, ScramSha256, ScramSha256Error};

/// Longest password that is looked at; hashing costs time in proportion, and more.
pub const PASSWORD_LEN_MAX: usize = 1024;
/// Longest stored password.
const STORED_LEN_MAX: usize = 4096;

/// A stored password. Its `Debug` tells the scheme only.
#[derive(Clone, Eq, PartialEq)]
pub struct Password {
    /// As it stands in the file.
    stored: String,
    scheme: Scheme,
    kept: Kept,
}

/// What is kept of a password.
#[derive(Clone, Eq, PartialEq)]
enum Kept {
    Plain(Vec<u8>),
    ShaCrypt(crypt::ShaCrypt),
    Bcrypt(crypt::Bcrypt),
    Argon(argon::Argon),
    Digest(digest::Digest),
    Pbkdf2(pbkdf2::Pbkdf2),
    ScramSha256(ScramSha256),
}

/// A stored password cannot be understood.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PasswordError {
    /// A scheme that is not known. Empty where none was named: what has none may be a password, and must not get into a
    /// log.
    #[error("password scheme {0:?} is not supported")]
    UnknownScheme(String),
    /// The text is none of its scheme.
    #[error("the text is none of scheme {0}")]
    Malformed(Scheme),
    /// Checking a password against it would cost too much.
    #[error("checking against this {scheme} would cost too much: {what} above {max}")]
    TooCostly {
        /// The scheme.
        scheme: Scheme,
        /// What there is too much of.
        what: &'static str,
        /// The limit.
        max: u64,
    },
}

/// A password could not be hashed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum HashError {
    /// Passwords have 1 to 1024 bytes, none of which is NUL or, where they are stored as they are, a line end.
    #[error("a password has 1 to {PASSWORD_LEN_MAX} bytes and no NUL or line end")]
    Unfit,
    /// bcrypt would drop what is beyond 72 bytes.
    #[error("scheme BLF-CRYPT takes passwords of up to {} bytes", crypt::BCRYPT_PASSWORD_LEN_MAX)]
    TooLong,
    /// No random bytes for a salt.
    #[error(transparent)]
    Random(#[from] RandomError),
    /// The hash function refused.
    #[error("{scheme} could not be computed: {why}")]
    Failed {
        /// The scheme.
        scheme: Scheme,
        /// What it said.
        why: String,
    },
}

impl Password {
    /// Reads a stored password; without `{SCHEME}` in front it is of the default one.
    pub fn parse(stored: &str, default: Scheme) -> Result<Self, PasswordError> {
        let (scheme, encoding, text) = match stored.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((name, text)) => {
                let (scheme, encoding) = scheme::parse(name)?;
                (scheme, encoding, text)
            }
            None => (default, None, stored),
        };
        let malformed = || PasswordError::Malformed(scheme);
        if text.len() > STORED_LEN_MAX {
            return Err(malformed());
        }
        let encoding = encoding.unwrap_or_else(|| scheme.usual_encoding(text));
        let bytes = encoding.decode(text).ok_or_else(malformed)?;
        let (scheme, kept) = keep(scheme, bytes)?;
        Ok(Self { stored: stored.to_owned(), scheme, kept })
    }

    /// Hashes a password, at the scheme's usual cost: up to tenths of a second.
    pub fn hash(scheme: Scheme, password: &[u8]) -> Result<Self, HashError> {
        let unfit = |byte: &u8| matches!(byte, 0 | b'\r' | b'\n');
        if password.is_empty() || password.len() > PASSWORD_LEN_MAX || password.iter().any(unfit) {
            return Err(HashError::Unfit);
        }
        let text = match scheme {
            Scheme::Plain => {
                return Self::keep_plain(password);
            }
            Scheme::Sha512Crypt | Scheme::Sha256Crypt => crypt::ShaCrypt::hash(scheme, password)?,
            Scheme::BlfCrypt | Scheme::Crypt => crypt::Bcrypt::hash(password)?,
            Scheme::Argon2id | Scheme::Argon2i => argon::Argon::hash(scheme, password)?,
            Scheme::Pbkdf2 => pbkdf2::Pbkdf2::hash(password)?,
            Scheme::ScramSha256 => {
                let iterations = NonZeroU32::new(ScramSha256::ITERATIONS_DEFAULT).unwrap_or(NonZeroU32::MIN);
                ScramSha256::make(password, iterations)?.to_string()
            }
            digested => digest::Digest::hash(digested, password)?,
        };
        let stored = format!("{{{scheme}}}{text}");
        Self::parse(&stored, scheme).map_err(|error| HashError::Failed { scheme, why: error.to_string() })
    }

    /// As it is; encoded where a `:` would end the field.
    fn keep_plain(password: &[u8]) -> Result<Self, HashError> {
        let stored = match std::str::from_utf8(password) {
            Ok(text) if !text.contains(':') => format!("{{PLAIN}}{text}"),
            _ => format!("{{PLAIN.b64}}{}", crate::sasl::encode_base64(password)),
        };
        Ok(Self { stored, scheme: Scheme::Plain, kept: Kept::Plain(password.to_vec()) })
    }

    /// Whether it is this one; takes the same time whatever differs. Costs what the scheme costs.
    pub fn matches(&self, password: &[u8]) -> bool {
        if password.len() > PASSWORD_LEN_MAX || password.contains(&0) {
            return false;
        }
        match &self.kept {
            // One that is empty is none: who needs no password says so in another field.
            Kept::Plain(kept) => !kept.is_empty() && bool::from(kept.ct_eq(password)),
            Kept::ShaCrypt(kept) => kept.matches(password),
            Kept::Bcrypt(kept) => kept.matches(password),
            Kept::Argon(kept) => kept.matches(password),
            Kept::Digest(kept) => kept.matches(password),
            Kept::Pbkdf2(kept) => kept.matches(password),
            Kept::ScramSha256(kept) => kept.matches(password),
        }
    }

    /// The scheme; of `{CRYPT}` the one that its text is of.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// What serves SCRAM-SHA-256, if this does. `secret` and `name` make the salt where the password is stored as it is,
    /// which then costs 4096 hashes.
    pub fn scram_sha256(&self, secret: &[u8], name: &str) -> Option<ScramSha256> {
        match &self.kept {
            Kept::ScramSha256(kept) => Some(kept.clone()),
            Kept::Plain(kept) if !kept.is_empty() => Some(ScramSha256::of_plain(kept, secret, name)),
            _ => None,
        }
    }

    /// Whether it serves SCRAM-SHA-256.
    pub fn is_for_scram_sha256(&self) -> bool {
        matches!(&self.kept, Kept::ScramSha256(_)) || matches!(&self.kept, Kept::Plain(kept) if !kept.is_empty())
    }

    /// Iterations of SCRAM-SHA-256 that it has.
    pub(crate) fn scram_iterations(&self) -> Option<u32> {
        match &self.kept {
            Kept::ScramSha256(kept) => Some(kept.iterations()),
            _ => None,
        }
    }

    /// As a file has it.
    pub fn as_str(&self) -> &str {
        &self.stored
    }
}

fn keep(scheme: Scheme, bytes: Vec<u8>) -> Result<(Scheme, Kept), PasswordError> {
    let malformed = || PasswordError::Malformed(scheme);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(|_| malformed());
    let kept = match scheme {
        Scheme::Plain => Kept::Plain(bytes),
        Scheme::Sha512Crypt | Scheme::Sha256Crypt => Kept::ShaCrypt(crypt::ShaCrypt::parse(scheme, text(bytes)?)?),
        Scheme::BlfCrypt => Kept::Bcrypt(crypt::Bcrypt::parse(&text(bytes)?)?),
        Scheme::Crypt => {
            let text = text(bytes)?;
            let scheme = crypt::scheme_of(&text).ok_or_else(malformed)?;
            return keep(scheme, text.into_bytes());
        }
        Scheme::Argon2id | Scheme::Argon2i => Kept::Argon(argon::Argon::parse(scheme, &text(bytes)?)?),
        Scheme::Pbkdf2 => Kept::Pbkdf2(pbkdf2::Pbkdf2::parse(&text(bytes)?)?),
        Scheme::ScramSha256 => match ScramSha256::parse(&text(bytes)?) {
            Ok(kept) => Kept::ScramSha256(kept),
            Err(ScramSha256Error::Malformed) => return Err(malformed()),
            Err(ScramSha256Error::Iterations) => {
                let max = ScramSha256::ITERATIONS_MAX.into();
                return Err(PasswordError::TooCostly { scheme, what: "iterations", max });
            }
        },
        digested => Kept::Digest(digest::Digest::new(digested, bytes)?),
    };
    Ok((scheme, kept))
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Password({})", self.scheme)
    }
}
