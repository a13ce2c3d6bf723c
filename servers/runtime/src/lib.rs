//! What every Culver server needs: the bounded pool for storage work, limits, listeners, users and their passwords.
//!
//! Invariants:
//! - No task of the async runtime ever blocks: files, password hashes and storage are touched on a [`StoragePool`]'s
//!   threads only, in steps that end by themselves.
//! - Every number that bounds a resource is a field of [`Limits`], with a default.
//! - Nothing here knows a protocol: servers hand in what to run and what to say.

#![forbid(unsafe_code)]

mod connections;
mod current;
mod limits;
mod lines;
mod listener;
mod login;
mod metrics;
mod password;
mod password_file;
mod penalty;
mod pool;
mod socket;
mod stop;
mod storages;
mod stream;
mod tls;
mod user;

pub use auth::sasl;
pub use connections::{ConnectionPermit, Connections, TooManyConnections, UserPermit};
pub use current::CurrentLimits;
pub use limits::Limits;
pub use lines::{Gone, Line, Lines};
pub use listener::{Accepted, Listener, Refusal};
pub use login::{CannotStart, Client, Exchange, LoginOptions, Logins, SaslStep};
pub use metrics::{Counted, Counter, Gauge, Histogram, METRICS, Metrics, ProtocolMetrics, Sample};
pub use password::{HashError, Password, PasswordScheme};
pub use password_file::{NewUser, PasswordFile, PasswordFileError};
pub use penalty::PenaltyOptions;
pub use pool::{PoolError, PoolOptions, StoragePool};
pub use socket::{BoundSocket, ListenAddress, Peer, Socket, SocketFile};
pub use stop::{Stop, Stopper};
pub use storages::{OpenStorages, StorageProvider};
pub use stream::Stream;
pub use tls::{CertificateFiles, Tls, TlsError, TlsInfo, TlsOptions, TlsVersion, self_made_certificate};
pub use user::{AuthError, Authenticator, InvalidUserName, ScramUser, User, UserName};
