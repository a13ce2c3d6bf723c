//! The schemes' names, and how the bytes of each are usually written.

use std::fmt;

use base64::{Engine as _, prelude::BASE64_STANDARD};

use super::PasswordError;

/// How a password is stored.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum Scheme {
    /// `PLAIN` (also `CLEAR`, `CLEARTEXT`): as it is.
    Plain,
    /// `SHA512-CRYPT`: crypt(3)'s `$6$`.
    Sha512Crypt,
    /// `SHA256-CRYPT`: crypt(3)'s `$5$`.
    Sha256Crypt,
    /// `BLF-CRYPT`: bcrypt, crypt(3)'s `$2y$`.
    BlfCrypt,
    /// `CRYPT`: any of the three before.
    Crypt,
    /// `ARGON2ID`.
    Argon2id,
    /// `ARGON2I`.
    Argon2i,
    /// `PBKDF2`: with HMAC-SHA-1, in Dovecot's notation.
    Pbkdf2,
    /// `SCRAM-SHA-256`: what a server needs for the mechanism of that name.
    ScramSha256,
    /// `SSHA512`: SHA-512 of password and salt.
    Ssha512,
    /// `SSHA256`: SHA-256 of password and salt.
    Ssha256,
    /// `SSHA`: SHA-1 of password and salt.
    Ssha,
    /// `SHA512`, without salt.
    Sha512,
    /// `SHA256`, without salt.
    Sha256,
    /// `SHA1` (also `SHA`), without salt.
    Sha1,
}

/// How bytes are written as text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Encoding {
    /// As they are.
    None,
    /// `.b64`, `.base64`.
    Base64,
    /// `.hex`.
    Hex,
}

/// Names, ours first.
const NAMES: &[(&str, Scheme)] = &[
    ("PLAIN", Scheme::Plain),
    ("CLEARTEXT", Scheme::Plain),
    ("CLEAR", Scheme::Plain),
    ("SHA512-CRYPT", Scheme::Sha512Crypt),
    ("SHA256-CRYPT", Scheme::Sha256Crypt),
    ("BLF-CRYPT", Scheme::BlfCrypt),
    ("CRYPT", Scheme::Crypt),
    ("ARGON2ID", Scheme::Argon2id),
    ("ARGON2I", Scheme::Argon2i),
    ("PBKDF2", Scheme::Pbkdf2),
    ("SCRAM-SHA-256", Scheme::ScramSha256),
    ("SSHA512", Scheme::Ssha512),
    ("SSHA256", Scheme::Ssha256),
    ("SSHA", Scheme::Ssha),
    ("SHA512", Scheme::Sha512),
    ("SHA256", Scheme::Sha256),
    ("SHA1", Scheme::Sha1),
    ("SHA", Scheme::Sha1),
];

/// Reads what stands between the braces.
pub(super) fn parse(name: &str) -> Result<(Scheme, Option<Encoding>), PasswordError> {
    let unknown = || PasswordError::UnknownScheme(name.chars().take(32).collect());
    let (scheme, encoding) = match name.split_once('.') {
        Some((scheme, encoding)) => {
            let is = |name: &str| encoding.eq_ignore_ascii_case(name);
            let encoding = match () {
                () if is("b64") || is("base64") => Encoding::Base64,
                () if is("hex") => Encoding::Hex,
                () => return Err(unknown()),
            };
            (scheme, Some(encoding))
        }
        None => (name, None),
    };
    Ok((Scheme::from_name(scheme).ok_or_else(unknown)?, encoding))
}

impl Scheme {
    /// The scheme of a name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, scheme)| *scheme)
    }

    /// All names that are known, of a scheme with several each of them.
    pub fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().map(|(name, _)| *name)
    }

    /// The name that is written.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, scheme)| *scheme == self).map_or("", |(name, _)| name)
    }

    /// Bytes of a digest without salt.
    fn digest_len(self) -> Option<usize> {
        match self {
            Self::Sha512 => Some(64),
            Self::Sha256 => Some(32),
            Self::Sha1 => Some(20),
            _ => None,
        }
    }

    /// How a text whose encoding is not named is written: base64, but for the schemes whose text is text; a digest
    /// without salt is known by its length to be hexadecimal.
    pub(super) fn usual_encoding(self, text: &str) -> Encoding {
        match self {
            Self::Ssha512 | Self::Ssha256 | Self::Ssha | Self::Sha512 | Self::Sha256 | Self::Sha1 => {
                match self.digest_len() {
                    Some(len) if text.len() == len * 2 => Encoding::Hex,
                    _ => Encoding::Base64,
                }
            }
            _ => Encoding::None,
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Encoding {
    pub(super) fn decode(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::None => Some(text.as_bytes().to_vec()),
            Self::Base64 => BASE64_STANDARD.decode(text).ok(),
            Self::Hex => decode_hex(text),
        }
    }
}

/// Decodes hexadecimal digits.
pub(super) fn decode_hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let byte = |&[high, low]: &[u8; 2]| u8::try_from(digit(high)? << 4 | digit(low)?).ok();
    if rest.is_empty() { pairs.iter().map(byte).collect() } else { None }
}
