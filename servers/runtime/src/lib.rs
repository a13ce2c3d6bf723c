//! What every Culver server needs: the bounded pool for storage work, limits, listeners, users and their passwords.
//!
//! Invariants:
//! - No task of the async runtime ever blocks: files, password hashes and storage are touched on a [`StoragePool`]'s
//!   threads only, in steps that end by themselves.
//! - Every number that bounds a resource is a field of [`Limits`], with a default.
//! - Nothing here knows a protocol: servers hand in what to run and what to say.

#![forbid(unsafe_code)]

mod connections;
mod limits;
mod listener;
mod login;
mod password;
mod password_file;
mod pool;
mod stop;
mod storages;
mod user;

pub use connections::{ConnectionPermit, Connections, TooManyConnections, UserPermit};
pub use limits::Limits;
pub use listener::{Accepted, Listener};
pub use login::Logins;
pub use password::{HashError, Password, PasswordScheme};
pub use password_file::{NewUser, PasswordFile, PasswordFileError};
pub use pool::{PoolError, PoolOptions, StoragePool};
pub use stop::{Stop, Stopper};
pub use storages::{OpenStorages, StorageProvider};
pub use user::{AuthError, Authenticator, InvalidUserName, User, UserName};
