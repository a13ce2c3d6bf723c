//! Random bytes from the system, for salts, nonces and made passwords.

use rustix::rand::{GetRandomFlags, getrandom};

/// The system gave no random bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the system gives no random bytes: {0}")]
pub struct RandomError(#[from] rustix::io::Errno);

/// That many random bytes.
pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N], RandomError> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        filled += getrandom(rest, GetRandomFlags::empty())?;
    }
    Ok(bytes)
}
