//! PBKDF2 with HMAC-SHA-1 as Dovecot writes it: `$1$salt$rounds$` and 20 bytes in hexadecimal digits.

use std::fmt::Write as _;

use sha1::Sha1;
use subtle::ConstantTimeEq as _;

use super::{HashError, PasswordError, Scheme, scheme::decode_hex};
use crate::random::random_bytes;

/// Most rounds that are computed: about a second.
const ROUNDS_MAX: u32 = 2_000_000;
/// What doveadm writes.
const ROUNDS: u32 = 5_000;
/// Longest salt that is read.
const SALT_LEN_MAX: usize = 256;
/// Characters of a salt that is made here: those of crypt(3), 6 bits each.
const SALT_LEN: usize = 16;
const SALT_ALPHABET: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

const HASH_LEN: usize = 20;

#[derive(Clone, Eq, PartialEq)]
pub(super) struct Pbkdf2 {
    salt: String,
    rounds: u32,
    hash: [u8; HASH_LEN],
}

impl Pbkdf2 {
    pub(super) fn parse(text: &str) -> Result<Self, PasswordError> {
        let scheme = Scheme::Pbkdf2;
        let malformed = || PasswordError::Malformed(scheme);
        let mut fields = text.strip_prefix("$1$").ok_or_else(malformed)?.split('$');
        let mut field = || fields.next().ok_or_else(malformed);
        let (salt, rounds, hash) = (field()?, field()?, field()?);
        let rounds = rounds.parse::<u32>().map_err(|_| malformed())?;
        if rounds > ROUNDS_MAX {
            return Err(PasswordError::TooCostly { scheme, what: "rounds", max: ROUNDS_MAX.into() });
        }
        let hash = decode_hex(hash).and_then(|hash| hash.try_into().ok()).ok_or_else(malformed)?;
        if fields.next().is_some() || rounds == 0 || salt.len() > SALT_LEN_MAX {
            return Err(malformed());
        }
        Ok(Self { salt: salt.to_owned(), rounds, hash })
    }

    pub(super) fn hash(password: &[u8]) -> Result<String, HashError> {
        let salt: [u8; SALT_LEN] = random_bytes()?;
        let salt: String = salt.iter().map(|byte| char::from(SALT_ALPHABET[usize::from(byte % 64)])).collect();
        let mut text = format!("$1${salt}${ROUNDS}$");
        for byte in compute(password, &salt, ROUNDS) {
            // Writing into a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        Ok(text)
    }

    pub(super) fn matches(&self, password: &[u8]) -> bool {
        compute(password, &self.salt, self.rounds).ct_eq(&self.hash).into()
    }
}

fn compute(password: &[u8], salt: &str, rounds: u32) -> [u8; HASH_LEN] {
    let mut hash = [0; HASH_LEN];
    ::pbkdf2::pbkdf2_hmac::<Sha1>(password, salt.as_bytes(), rounds, &mut hash);
    hash
}
