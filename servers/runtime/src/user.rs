//! Users are `culver-auth`'s; named here for those who run servers.

pub use auth::{AuthError, Authenticator, InvalidUserName, ScramUser, User, UserName};
