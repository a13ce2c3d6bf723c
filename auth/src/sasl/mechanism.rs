//! The mechanisms' names.

use std::fmt;

/// A mechanism.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Mechanism {
    /// `SCRAM-SHA-256-PLUS`: as the next, and bound to the TLS channel.
    ScramSha256Plus,
    /// `SCRAM-SHA-256`: the password does not go over the network.
    ScramSha256,
    /// `PLAIN`: name and password in one message.
    Plain,
    /// `LOGIN`: name and password in two.
    Login,
}

impl Mechanism {
    /// All, the best first.
    pub const ALL: [Self; 4] = [Self::ScramSha256Plus, Self::ScramSha256, Self::Plain, Self::Login];

    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
        }
    }

    /// The mechanism of a name, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }

    /// Whether the password itself goes over the network.
    pub fn sends_password(self) -> bool {
        matches!(self, Self::Plain | Self::Login)
    }

    /// What the server says first, where the client did not begin with a message of its own.
    pub fn first_challenge(self) -> &'static [u8] {
        match self {
            Self::Login => b"Username:",
            Self::ScramSha256Plus | Self::ScramSha256 | Self::Plain => b"",
        }
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
