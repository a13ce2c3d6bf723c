//! Users and passwords: Dovecot's passwd-file, its password schemes, and SASL mechanisms as state machines.
//!
//! Invariants:
//! - Nothing here knows a network, a clock or an async runtime; what computes for long says so.
//! - Bytes from a client or a file cost bounded time and memory: lengths, rounds and memory of a hash have named limits.
//! - Secrets are compared in constant time and appear in no error and no `Debug`.
//! - A name that does not exist and a wrong password get the same answer by the same work.

#![forbid(unsafe_code)]

/// The example of the README is tested like those here.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod authenticator;
mod network;
mod passwd_file;
pub mod password;
mod random;
pub mod sasl;
mod scram_credentials;
mod secret;
mod user;

pub use authenticator::{AuthError, Authenticator, ScramUser};
pub use network::{InvalidNetwork, Network};
pub use passwd_file::{NewUser, PasswordFile, PasswordFileError};
pub use password::{HashError, Password, PasswordError, Scheme};
pub use random::RandomError;
pub use scram_credentials::{ScramSha256, ScramSha256Error};
pub use secret::Secret;
pub use user::{InvalidUserName, User, UserName};
