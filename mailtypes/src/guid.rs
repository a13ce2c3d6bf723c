//! 128-bit identities of mailboxes and messages.

use std::{fmt, str::FromStr};

/// A mailbox's or message's global identity: 16 bytes, written as 32 lower-case hex digits in byte order.
#[derive(Clone, Copy, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Guid(pub [u8; 16]);

/// Not 32 hex digits.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a GUID is written as 32 hex digits")]
pub struct InvalidGuid;

impl Guid {
    /// All zero: unknown.
    pub const ZERO: Self = Self([0; 16]);

    /// Whether it is all zero, which stands for "unknown" on disk.
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// Reads 32 hex digits of either case.
    pub fn parse(hex: &[u8]) -> Result<Self, InvalidGuid> {
        let hex: &[u8; 32] = hex.try_into().map_err(|_| InvalidGuid)?;
        let digit = |c: u8| char::from(c).to_digit(16).map(|d| d as u8).ok_or(InvalidGuid);
        let mut out = [0; 16];
        for (byte, pair) in out.iter_mut().zip(hex.as_chunks::<2>().0) {
            let [high, low] = *pair;
            *byte = digit(high)? << 4 | digit(low)?;
        }
        Ok(Self(out))
    }
}

impl FromStr for Guid {
    type Err = InvalidGuid;

    /// As [`Guid::parse`].
    fn from_str(hex: &str) -> Result<Self, InvalidGuid> {
        Self::parse(hex.as_bytes())
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_bytes_in_order() {
        let guid = Guid::parse(b"d077b70f5b74026b9d420000c17ffdbc").unwrap();
        assert_eq!(guid.0[..4], [0xd0, 0x77, 0xb7, 0x0f]);
        assert_eq!(guid.to_string(), "d077b70f5b74026b9d420000c17ffdbc");
        assert_eq!("D077B70F5B74026B9D420000C17FFDBC".parse(), Ok(guid));
        assert_eq!("".parse::<Guid>(), Err(InvalidGuid));
        assert_eq!(Guid::parse(b"d077b70f5b74026b9d420000c17ffdb"), Err(InvalidGuid));
        assert_eq!(Guid::parse(b"d077b70f5b74026b9d420000c17ffdbg"), Err(InvalidGuid));
    }
}
