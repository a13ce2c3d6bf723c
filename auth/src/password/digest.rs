//! SHA digests of a password, with a salt behind the digest (`SSHA512`) or without (`SHA512`).

use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha512};
use subtle::ConstantTimeEq as _;

use super::{HashError, PasswordError, Scheme};
use crate::{random::random_bytes, sasl::encode_base64};

/// Bytes of a salt that is made here.
const SALT_LEN: usize = 8;

#[derive(Clone, Copy, Eq, PartialEq)]
enum Function {
    Sha512,
    Sha256,
    Sha1,
}

#[derive(Clone, Eq, PartialEq)]
pub(super) struct Digest {
    function: Function,
    digest: Vec<u8>,
    salt: Vec<u8>,
}

impl Digest {
    pub(super) fn new(scheme: Scheme, mut bytes: Vec<u8>) -> Result<Self, PasswordError> {
        let function = Function::of(scheme).ok_or(PasswordError::Malformed(scheme))?;
        if bytes.len() < function.len() {
            return Err(PasswordError::Malformed(scheme));
        }
        let salt = bytes.split_off(function.len());
        if salt.is_empty() == is_salted(scheme) {
            return Err(PasswordError::Malformed(scheme));
        }
        Ok(Self { function, digest: bytes, salt })
    }

    pub(super) fn hash(scheme: Scheme, password: &[u8]) -> Result<String, HashError> {
        let function = Function::of(scheme)
            .ok_or_else(|| HashError::Failed { scheme, why: "it is none of the digests".to_owned() })?;
        let salt: [u8; SALT_LEN] = random_bytes()?;
        let salt = if is_salted(scheme) { &salt[..] } else { &[] };
        let mut bytes = function.digest(password, salt);
        bytes.extend_from_slice(salt);
        Ok(encode_base64(&bytes))
    }

    pub(super) fn matches(&self, password: &[u8]) -> bool {
        self.function.digest(password, &self.salt).ct_eq(&self.digest).into()
    }
}

fn is_salted(scheme: Scheme) -> bool {
    matches!(scheme, Scheme::Ssha512 | Scheme::Ssha256 | Scheme::Ssha)
}

impl Function {
    fn of(scheme: Scheme) -> Option<Self> {
        match scheme {
            Scheme::Ssha512 | Scheme::Sha512 => Some(Self::Sha512),
            Scheme::Ssha256 | Scheme::Sha256 => Some(Self::Sha256),
            Scheme::Ssha | Scheme::Sha1 => Some(Self::Sha1),
            _ => None,
        }
    }

    fn len(self) -> usize {
        match self {
            Self::Sha512 => 64,
            Self::Sha256 => 32,
            Self::Sha1 => 20,
        }
    }

    fn digest(self, password: &[u8], salt: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha512 => Sha512::new().chain_update(password).chain_update(salt).finalize().to_vec(),
            Self::Sha256 => Sha256::new().chain_update(password).chain_update(salt).finalize().to_vec(),
            Self::Sha1 => Sha1::new().chain_update(password).chain_update(salt).finalize().to_vec(),
        }
    }
}
