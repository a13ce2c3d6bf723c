//! Argon2id and Argon2i (RFC 9106), as `$argon2id$v=19$m=65536,t=3,p=1$salt$hash`, both in base64 without padding.

use argon2::{Algorithm, Argon2, Params, Version};
use base64::{Engine as _, prelude::BASE64_STANDARD_NO_PAD};
use subtle::ConstantTimeEq as _;

use super::{HashError, PasswordError, Scheme};
use crate::random::random_bytes;

/// Most memory that one check takes, in KiB.
const MEMORY_KIB_MAX: u32 = 256 * 1024;
/// Most memory that one check writes, over all passes, in KiB: about two seconds.
const WORK_KIB_MAX: u64 = 2 * 1024 * 1024;
/// Most lanes.
const LANES_MAX: u32 = 64;
/// Longest hash.
const HASH_LEN_MAX: usize = 64;

/// What doveadm writes.
const MEMORY_KIB: u32 = 64 * 1024;
const PASSES: u32 = 3;
const HASH_LEN: usize = 32;
const SALT_LEN: usize = 16;

#[derive(Clone, Eq, PartialEq)]
pub(super) struct Argon {
    algorithm: Algorithm,
    version: Version,
    params: Params,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

impl Argon {
    pub(super) fn parse(scheme: Scheme, text: &str) -> Result<Self, PasswordError> {
        let malformed = || PasswordError::Malformed(scheme);
        let mut fields = text.strip_prefix('$').ok_or_else(malformed)?.split('$');
        let mut field = || fields.next().ok_or_else(malformed);
        // Dovecot looks at the text only: either scheme's name may stand before either algorithm.
        let algorithm = match field()? {
            "argon2id" => Algorithm::Argon2id,
            "argon2i" => Algorithm::Argon2i,
            _ => return Err(malformed()),
        };
        let version = match field()? {
            "v=19" => Version::V0x13,
            _ => return Err(malformed()),
        };
        let params = params(scheme, field()?)?;
        let bytes = |text: &str| BASE64_STANDARD_NO_PAD.decode(text).map_err(|_| malformed());
        let (salt, hash) = (bytes(field()?)?, bytes(field()?)?);
        if fields.next().is_some() || hash.len() < Params::MIN_OUTPUT_LEN || hash.len() > HASH_LEN_MAX {
            return Err(malformed());
        }
        Ok(Self { algorithm, version, params, salt, hash })
    }

    pub(super) fn hash(scheme: Scheme, password: &[u8]) -> Result<String, HashError> {
        let failed = |error: argon2::Error| HashError::Failed { scheme, why: error.to_string() };
        let algorithm = if scheme == Scheme::Argon2i { Algorithm::Argon2i } else { Algorithm::Argon2id };
        let params = Params::new(MEMORY_KIB, PASSES, 1, None).map_err(failed)?;
        let salt: [u8; SALT_LEN] = random_bytes()?;
        let mut hash = [0; HASH_LEN];
        Argon2::new(algorithm, Version::V0x13, params)
            .hash_password_into(password, &salt, &mut hash)
            .map_err(failed)?;
        let [salt, hash] = [&salt[..], &hash].map(|bytes| BASE64_STANDARD_NO_PAD.encode(bytes));
        Ok(format!("${algorithm}$v=19$m={MEMORY_KIB},t={PASSES},p=1${salt}${hash}"))
    }

    pub(super) fn matches(&self, password: &[u8]) -> bool {
        let argon = Argon2::new(self.algorithm, self.version, self.params.clone());
        let mut hash = vec![0; self.hash.len()];
        argon.hash_password_into(password, &self.salt, &mut hash).is_ok() && bool::from(hash.ct_eq(&self.hash))
    }
}

/// `m=KiB,t=passes,p=lanes`.
fn params(scheme: Scheme, text: &str) -> Result<Params, PasswordError> {
    let malformed = || PasswordError::Malformed(scheme);
    let mut numbers = text.split(',');
    let mut number = |name: &str| {
        let digits = numbers.next().and_then(|number| number.strip_prefix(name)).ok_or_else(malformed)?;
        digits.parse::<u32>().map_err(|_| malformed())
    };
    let (memory, passes, lanes) = (number("m=")?, number("t=")?, number("p=")?);
    if numbers.next().is_some() {
        return Err(malformed());
    }
    let too_costly = |what, max| PasswordError::TooCostly { scheme, what, max };
    if memory > MEMORY_KIB_MAX {
        return Err(too_costly("KiB of memory", MEMORY_KIB_MAX.into()));
    }
    if u64::from(memory) * u64::from(passes) > WORK_KIB_MAX {
        return Err(too_costly("KiB written", WORK_KIB_MAX));
    }
    if lanes > LANES_MAX {
        return Err(too_costly("lanes", LANES_MAX.into()));
    }
    Params::new(memory, passes, lanes, None).map_err(|_| malformed())
}
