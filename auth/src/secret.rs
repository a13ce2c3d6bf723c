//! Bytes that no log may have.

use std::fmt;

use crate::random::{RandomError, random_bytes};

/// Bytes of a secret that is made.
const MADE_LEN: usize = 32;

/// A password or another secret; its `Debug` does not tell it.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Secret(pub Vec<u8>);

impl Secret {
    /// Makes one of 32 random bytes.
    pub fn random() -> Result<Self, RandomError> {
        random_bytes::<MADE_LEN>().map(|bytes| Self(bytes.to_vec()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

impl From<Vec<u8>> for Secret {
    fn from(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
}
