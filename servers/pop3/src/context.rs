//! What a session is given besides its stream.

use std::{net::SocketAddr, sync::Arc};

use culver_runtime::{Client, Connections, Limits, Logins, Stop, StoragePool, StorageProvider, Tls};

use crate::{Options, SessionLocks};

/// What a session is given besides its stream. Cheap to clone: one is made a server, and each connection gets a copy
/// with its own addresses.
#[derive(Clone, Debug)]
pub struct SessionContext {
    /// Checks names and passwords.
    pub logins: Logins,
    /// Opens a user's mail.
    pub storages: Arc<dyn StorageProvider>,
    /// Runs storage work.
    pub pool: StoragePool,
    /// Counts users' connections.
    pub connections: Connections,
    /// What a client may take. RFC 1939 §3 wants an `idle_timeout` of at least ten minutes.
    pub limits: Arc<Limits>,
    /// What else can be set.
    pub options: Arc<Options>,
    /// Which users have a session; one for all sessions of a server.
    pub locks: SessionLocks,
    /// When the server stops, the session says so and ends. Nothing is deleted then.
    pub stop: Stop,
    /// Who is at the other end; for the log.
    pub peer: Option<SocketAddr>,
    /// What logging in depends on: his address, the TLS that the stream has already, whether a password may be sent
    /// without.
    pub client: Client,
    /// For STLS; not offered if there is none.
    pub starttls: Option<Tls>,
}
