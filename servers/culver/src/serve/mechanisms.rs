//! The mechanisms of the configuration as logins take them.

use auth::sasl;

use crate::config::tables::{Login, Mechanism};

/// The mechanisms that are offered; `None` for all that the passwords allow.
pub(crate) fn mechanisms(login: &Login) -> Option<Vec<sasl::Mechanism>> {
    let each = |mechanism: &Mechanism| match mechanism {
        Mechanism::Plain => sasl::Mechanism::Plain,
        Mechanism::Login => sasl::Mechanism::Login,
        Mechanism::ScramSha256 => sasl::Mechanism::ScramSha256,
        Mechanism::ScramSha256Plus => sasl::Mechanism::ScramSha256Plus,
    };
    Some(login.mechanisms.iter().map(each).collect()).filter(|list: &Vec<_>| !list.is_empty())
}
