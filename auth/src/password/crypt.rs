//! crypt(3)'s schemes: SHA-256 and SHA-512 (`$5$`, `$6$`) and bcrypt (`$2y$` and its relatives).

use std::str::FromStr as _;

use bcrypt::{HashParts, Version};
use sha_crypt::{PasswordHasher as _, PasswordVerifier as _};
use subtle::ConstantTimeEq as _;

use super::{HashError, PasswordError, Scheme};
use crate::random::random_bytes;

/// Most rounds that are computed: about a second.
const SHA_ROUNDS_MAX: u64 = 1_000_000;
const SHA_ROUNDS_MIN: u64 = 1_000;
/// Characters of a salt.
const SHA_SALT_LEN_MAX: usize = 16;
/// Bytes that make 16 characters of salt.
const SHA_SALT_BYTES: usize = 12;

/// Highest cost, the logarithm of the rounds, that is computed: a few seconds.
const BCRYPT_COST_MAX: u32 = 15;
/// The cost that is written: what doveadm writes is 5, which is little by now.
const BCRYPT_COST: u32 = 10;
/// What bcrypt looks at of a password.
pub(super) const BCRYPT_PASSWORD_LEN_MAX: usize = 72;

/// The scheme that a text of crypt(3) is of.
pub(super) fn scheme_of(text: &str) -> Option<Scheme> {
    match text.get(..3)? {
        "$6$" => Some(Scheme::Sha512Crypt),
        "$5$" => Some(Scheme::Sha256Crypt),
        "$2a" | "$2b" | "$2y" => Some(Scheme::BlfCrypt),
        _ => None,
    }
}

/// `$6$rounds=5000$salt$hash`; the rounds may be left out.
#[derive(Clone, Eq, PartialEq)]
pub(super) struct ShaCrypt {
    text: String,
}

impl ShaCrypt {
    pub(super) fn parse(scheme: Scheme, text: String) -> Result<Self, PasswordError> {
        let malformed = || PasswordError::Malformed(scheme);
        let (prefix, hash_len) = match scheme {
            Scheme::Sha512Crypt => ("$6$", 86),
            _ => ("$5$", 43),
        };
        let mut fields = text.strip_prefix(prefix).ok_or_else(malformed)?.split('$');
        let mut field = || fields.next().ok_or_else(malformed);
        let mut salt = field()?;
        if let Some(rounds) = salt.strip_prefix("rounds=") {
            let rounds: u64 = rounds.parse().map_err(|_| malformed())?;
            if rounds > SHA_ROUNDS_MAX {
                return Err(PasswordError::TooCostly { scheme, what: "rounds", max: SHA_ROUNDS_MAX });
            }
            if rounds < SHA_ROUNDS_MIN {
                return Err(malformed());
            }
            salt = field()?;
        }
        let hash = field()?;
        let is_whole = fields.next().is_none() && hash.len() == hash_len && salt.len() <= SHA_SALT_LEN_MAX;
        if is_whole { Ok(Self { text }) } else { Err(malformed()) }
    }

    pub(super) fn hash(scheme: Scheme, password: &[u8]) -> Result<String, HashError> {
        let function = match scheme {
            Scheme::Sha512Crypt => sha_crypt::ShaCrypt::SHA512,
            _ => sha_crypt::ShaCrypt::SHA256,
        };
        let salt: [u8; SHA_SALT_BYTES] = random_bytes()?;
        let hash = function.hash_password_with_salt(password, &salt);
        let hash = hash.map_err(|error| HashError::Failed { scheme, why: error.to_string() })?;
        Ok(hash.as_str().to_owned())
    }

    pub(super) fn matches(&self, password: &[u8]) -> bool {
        // The prefix says which of the two functions it is.
        sha_crypt::ShaCrypt::SHA512.verify_password(password, self.text.as_str()).is_ok()
    }
}

/// `$2y$10$` and 22 characters of salt and 31 of hash.
#[derive(Clone, Eq, PartialEq)]
pub(super) struct Bcrypt {
    text: String,
    cost: u32,
    salt: [u8; 16],
}

impl Bcrypt {
    pub(super) fn parse(text: &str) -> Result<Self, PasswordError> {
        let scheme = Scheme::BlfCrypt;
        let malformed = || PasswordError::Malformed(scheme);
        // `$2x$` marks hashes of a faulty function.
        if scheme_of(text) != Some(scheme) {
            return Err(malformed());
        }
        let parts = HashParts::from_str(text).map_err(|_| malformed())?;
        let cost = parts.get_cost();
        if cost > BCRYPT_COST_MAX {
            return Err(PasswordError::TooCostly { scheme, what: "cost", max: BCRYPT_COST_MAX.into() });
        }
        let canonical = parts.format_for_version(Version::TwoY);
        Ok(Self { text: canonical, cost, salt: parts.get_salt_raw() })
    }

    pub(super) fn hash(password: &[u8]) -> Result<String, HashError> {
        if password.len() > BCRYPT_PASSWORD_LEN_MAX {
            return Err(HashError::TooLong);
        }
        let failed =
            |error: bcrypt::BcryptError| HashError::Failed { scheme: Scheme::BlfCrypt, why: error.to_string() };
        let parts = bcrypt::hash_with_salt(password, BCRYPT_COST, random_bytes()?).map_err(failed)?;
        Ok(parts.format_for_version(Version::TwoY))
    }

    pub(super) fn matches(&self, password: &[u8]) -> bool {
        let computed = bcrypt::hash_with_salt(password, self.cost, self.salt);
        computed.is_ok_and(|parts| {
            let computed = parts.format_for_version(Version::TwoY);
            computed.as_bytes().ct_eq(self.text.as_bytes()).into()
        })
    }
}
