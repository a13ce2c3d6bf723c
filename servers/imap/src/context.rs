//! What a session is given besides its stream.

use std::{net::SocketAddr, sync::Arc};

use culver_runtime::{Client, Connections, Limits, Logins, Stop, StoragePool, StorageProvider, Tls};

use crate::{Options, SpecialUses};

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
    /// What a client may take.
    pub limits: Arc<Limits>,
    /// When the server stops, the session says BYE and ends.
    pub stop: Stop,
    /// Who is at the other end; for the log.
    pub peer: Option<SocketAddr>,
    /// What else can be set.
    pub options: Arc<Options>,
    /// Which mailboxes are used for what.
    pub special_uses: Arc<SpecialUses>,
    /// The same to those who check logins: what they need to know of him and of what carries him. Has `tls` where the
    /// stream given is one of TLS already.
    pub client: Client,
    /// Makes STARTTLS possible.
    pub starttls: Option<Tls>,
}
