//! What every Culver server needs: the bounded pool for storage work, limits, listeners, users and their passwords.
//!
//! Invariants:
//! - No task of the async runtime ever blocks: files, password hashes and storage are touched on a [`StoragePool`]'s
//!   threads only, in steps that end by themselves.
//! - Every number that bounds a resource is a field of [`Limits`], with a default.
//! - Nothing here knows a protocol: servers hand in what to run and what to say.

#![forbid(unsafe_code)]

/// The example of the README is tested like those here.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod connections;
mod current;
mod limits;
mod lines;
mod listener;
mod login;
mod metrics;
mod penalty;
mod pool;
mod socket;
mod stop;
mod storages;
mod stream;
mod tls;

pub use auth::{
    AuthError, Authenticator, HashError, InvalidUserName, NewUser, Password, PasswordError, PasswordFile,
    PasswordFileError, Scheme, ScramSha256, ScramUser, Secret, User, UserName, sasl,
};
pub use connections::{ConnectionPermit, Connections, TooManyConnections, TooMuchMemory, UserPermit};
pub use current::CurrentLimits;
pub use limits::Limits;
pub use lines::{Gone, Line, Lines};
pub use listener::{Accepted, Listener, Refusal};
pub use login::{CannotStart, Client, Exchange, LoginOptions, Logins, SaslStep};
pub use metrics::{Counted, Counter, Gauge, Histogram, METRICS, Metrics, ProtocolMetrics, Sample};
pub use penalty::PenaltyOptions;
pub use pool::{PoolError, PoolOptions, StoragePool};
pub use socket::{BoundSocket, ListenAddress, Peer, Socket, SocketFile};
pub use stop::{Stop, Stopper};
pub use storages::{OpenStorages, StorageProvider};
pub use stream::Stream;
pub use tls::{CertificateFiles, Tls, TlsError, TlsInfo, TlsOptions, TlsVersion, self_made_certificate};
