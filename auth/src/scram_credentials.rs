//! What a server keeps for SCRAM-SHA-256 instead of a password (RFC 5802 §3, RFC 7677), in Dovecot's notation:
//! `iterations,salt,StoredKey,ServerKey`, the last three in base64.

use std::{borrow::Cow, fmt, num::NonZeroU32};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::random::{RandomError, random_bytes};

/// Bytes of a key, and of a salt that is made here.
const KEY_LEN: usize = 32;
const SALT_LEN: usize = 16;
/// Longest salt that is read.
const SALT_LEN_MAX: usize = 256;

/// The keys of one password. Its `Debug` does not tell them.
#[derive(Clone, Eq, PartialEq)]
pub struct ScramSha256 {
    iterations: NonZeroU32,
    salt: Vec<u8>,
    stored_key: [u8; KEY_LEN],
    server_key: [u8; KEY_LEN],
}

/// A text is no credentials of SCRAM-SHA-256.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ScramSha256Error {
    /// Not of the form that it should have.
    #[error("not iterations,salt,StoredKey,ServerKey")]
    Malformed,
    /// Fewer than 1 or more than the limit.
    #[error("iterations are not 1 to {}", ScramSha256::ITERATIONS_MAX)]
    Iterations,
}

impl ScramSha256 {
    /// What RFC 7677 §4 asks for at least; Dovecot's default.
    pub const ITERATIONS_DEFAULT: u32 = 4096;
    /// Most that are accepted; a client computes as many, and so does a server that checks a plain password.
    pub const ITERATIONS_MAX: u32 = 1_000_000;

    /// Makes credentials with a random salt. Costs `iterations` hashes.
    pub fn make(password: &[u8], iterations: NonZeroU32) -> Result<Self, RandomError> {
        let salt: [u8; SALT_LEN] = random_bytes()?;
        Ok(Self::derive(&prepared(password), salt.to_vec(), iterations))
    }

    /// The credentials of a password that is stored as it is. Their salt is the same at each call with one name.
    pub fn of_plain(password: &[u8], secret: &[u8], name: &str) -> Self {
        let iterations = NonZeroU32::new(Self::ITERATIONS_DEFAULT).unwrap_or(NonZeroU32::MIN);
        Self::derive(&prepared(password), salt_of(secret, name), iterations)
    }

    /// Credentials that no password has, for a name that nobody has: their salt is the same at each call with one name
    /// and secret, as that of a user would be (RFC 5802 §9). Costs next to nothing.
    pub fn decoy(secret: &[u8], name: &str, iterations: u32) -> Self {
        let salt = salt_of(secret, name);
        let iterations = NonZeroU32::new(iterations).unwrap_or(NonZeroU32::MIN);
        let stored_key = mac(secret, &[b"stored key of nobody", name.as_bytes()]);
        let server_key = mac(secret, &[b"server key of nobody", name.as_bytes()]);
        Self { iterations, salt, stored_key, server_key }
    }

    pub(crate) fn derive(password: &[u8], salt: Vec<u8>, iterations: NonZeroU32) -> Self {
        let (stored_key, server_key) = keys(password, &salt, iterations);
        Self { iterations, salt, stored_key, server_key }
    }

    /// Reads Dovecot's notation.
    pub fn parse(text: &str) -> Result<Self, ScramSha256Error> {
        let mut parts = text.split(',');
        let mut part = || parts.next().ok_or(ScramSha256Error::Malformed);
        let (iterations, salt, stored_key, server_key) = (part()?, part()?, part()?, part()?);
        if parts.next().is_some() || !iterations.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(ScramSha256Error::Malformed);
        }
        let iterations = iterations.parse::<NonZeroU32>().map_err(|_| ScramSha256Error::Iterations)?;
        if iterations.get() > Self::ITERATIONS_MAX {
            return Err(ScramSha256Error::Iterations);
        }
        let bytes = |text: &str| BASE64_STANDARD.decode(text).map_err(|_| ScramSha256Error::Malformed);
        let key = |text| bytes(text)?.try_into().map_err(|_| ScramSha256Error::Malformed);
        let salt = bytes(salt)?;
        if salt.is_empty() || salt.len() > SALT_LEN_MAX {
            return Err(ScramSha256Error::Malformed);
        }
        Ok(Self { iterations, salt, stored_key: key(stored_key)?, server_key: key(server_key)? })
    }

    /// Whether they were made from this password. Costs `iterations` hashes, or twice as many.
    pub fn matches(&self, password: &[u8]) -> bool {
        let matches = |password: &[u8]| -> bool {
            let (stored_key, server_key) = keys(password, &self.salt, self.iterations);
            (stored_key.ct_eq(&self.stored_key) & server_key.ct_eq(&self.server_key)).into()
        };
        let prepared = prepared(password);
        // Dovecot makes them without preparing the password.
        matches(&prepared) || (*prepared != *password && matches(password))
    }

    /// How often the client hashes.
    pub fn iterations(&self) -> u32 {
        self.iterations.get()
    }

    pub(crate) fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// Whether a client's proof over this message is right (RFC 5802 §3).
    pub(crate) fn accepts(&self, proof: &[u8; KEY_LEN], auth_message: &[u8]) -> bool {
        let signature = mac(&self.stored_key, &[auth_message]);
        let mut client_key = *proof;
        client_key.iter_mut().zip(signature).for_each(|(byte, mask)| *byte ^= mask);
        Sha256::digest(client_key).ct_eq(&self.stored_key).into()
    }

    /// The server's own proof.
    pub(crate) fn server_signature(&self, auth_message: &[u8]) -> [u8; KEY_LEN] {
        mac(&self.server_key, &[auth_message])
    }
}

impl fmt::Display for ScramSha256 {
    /// Dovecot's notation.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [salt, stored_key, server_key] =
            [&self.salt[..], &self.stored_key, &self.server_key].map(|bytes| BASE64_STANDARD.encode(bytes));
        write!(f, "{},{salt},{stored_key},{server_key}", self.iterations)
    }
}

impl fmt::Debug for ScramSha256 {
    /// Without the keys.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramSha256").field("iterations", &self.iterations).finish_non_exhaustive()
    }
}

/// StoredKey and ServerKey.
fn keys(password: &[u8], salt: &[u8], iterations: NonZeroU32) -> ([u8; KEY_LEN], [u8; KEY_LEN]) {
    let mut salted = [0; KEY_LEN];
    pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations.get(), &mut salted);
    (Sha256::digest(mac(&salted, &[b"Client Key"])).into(), mac(&salted, &[b"Server Key"]))
}

fn salt_of(secret: &[u8], name: &str) -> Vec<u8> {
    let [salt @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] = mac(secret, &[b"salt", name.as_bytes()]);
    salt.to_vec()
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; KEY_LEN] {
    // HMAC takes keys of every length; were one refused, no proof would match an empty key's.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; KEY_LEN] };
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// A password prepared by SASLprep (RFC 4013); as it is where that cannot be done, as others do.
pub(crate) fn prepared(password: &[u8]) -> Cow<'_, [u8]> {
    match std::str::from_utf8(password).map(stringprep::saslprep) {
        Ok(Ok(Cow::Owned(text))) => Cow::Owned(text.into_bytes()),
        _ => Cow::Borrowed(password),
    }
}
