//! PLAIN (RFC 4616).

use super::{Failure, Next};
use crate::Secret;

/// Takes a message apart: `[authzid] NUL authcid NUL passwd`.
pub(super) fn check(message: &[u8]) -> Result<Next, Failure> {
    let mut parts = message.split(|&byte| byte == 0);
    let mut part = || parts.next().ok_or(Failure::Malformed);
    let (act_as, name, password) = (part()?, part()?, part()?);
    if parts.next().is_some() {
        return Err(Failure::Malformed);
    }
    if !act_as.is_empty() && act_as != name {
        return Err(Failure::Authorization);
    }
    let name = std::str::from_utf8(name).map_err(|_| Failure::Malformed)?;
    Ok(Next::CheckPassword { name: name.to_owned(), password: Secret(password.to_vec()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages() {
        let ann = Ok(Next::CheckPassword { name: "ann".to_owned(), password: Secret(b"secret".to_vec()) });
        assert_eq!(check(b"\0ann\0secret"), ann);
        assert_eq!(check(b"ann\0ann\0secret"), ann);
        assert_eq!(check(b"bob\0ann\0secret"), Err(Failure::Authorization));
        for message in [&b"\0ann"[..], b"ann", b"", b"\0ann\0secret\0", b"\0\xff\0secret"] {
            assert_eq!(check(message), Err(Failure::Malformed), "{message:?}");
        }
    }
}
