//! Who answers for users: a file, or the program that Culver is built into.

use std::fmt;

use crate::{ScramSha256, User};

/// Users could not be looked up: neither a yes nor a no.
#[derive(Clone, Debug, thiserror::Error)]
#[error("users cannot be looked up: {0}")]
pub struct AuthError(pub String);

/// A user who can log in without telling his password.
#[derive(Clone, Debug)]
pub struct ScramUser {
    /// Who he is.
    pub user: User,
    /// What his proof is checked against.
    pub credentials: ScramSha256,
}

/// Knows users and their passwords. Calls may block (files, hashes, networks) and are made where that is allowed, but
/// [`Authenticator::offers_scram`] may not.
pub trait Authenticator: Send + Sync + fmt::Debug {
    /// The user with that name, if the password is his. For a user that does not exist and for a wrong password the
    /// answer is the same, and so should be the time it takes.
    fn verify(&self, name: &str, password: &[u8]) -> Result<Option<User>, AuthError>;

    /// The user with that name, for mail that is to be delivered.
    fn lookup(&self, name: &str) -> Result<Option<User>, AuthError>;

    /// The user with that name, if what is stored of his password serves SCRAM-SHA-256. Who stores passwords as they are
    /// makes a salt of `salt_secret` ([`ScramSha256::of_plain`]).
    fn scram_sha256(&self, name: &str, salt_secret: &[u8]) -> Result<Option<ScramUser>, AuthError> {
        let _ = (name, salt_secret);
        Ok(None)
    }

    /// Whether clients should be told of SCRAM-SHA-256, as far as is known now: a client that is told of it uses it and
    /// may not try another way, so it is for those whose users all have what it needs. Must not block.
    fn offers_scram(&self) -> bool {
        false
    }

    /// Iterations that most users' SCRAM credentials have, so that a name that does not exist looks like theirs.
    fn scram_iterations(&self) -> u32 {
        ScramSha256::ITERATIONS_DEFAULT
    }
}
