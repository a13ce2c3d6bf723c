//! What a session is given besides its stream.

use std::sync::Arc;

use culver_runtime::{Client, Limits, Logins, Stop, StoragePool, StorageProvider, Tls};

use crate::Options;

/// What a session is given besides its stream. Cheap to clone.
#[derive(Clone, Debug)]
pub struct SessionContext {
    /// The host's name, for the greeting and for Received.
    pub host_name: Arc<str>,
    /// Who is at the other end, for the log.
    pub peer: Arc<str>,
    /// The limits.
    pub limits: Arc<Limits>,
    /// What else can be set.
    pub options: Arc<Options>,
    /// Knows the recipients.
    pub logins: Logins,
    /// Where storage work is done.
    pub pool: StoragePool,
    /// Opens the recipients' stores.
    pub storages: Arc<dyn StorageProvider>,
    /// Hears when to stop.
    pub stop: Stop,
    /// His address and the TLS that the stream has already, for Received.
    pub client: Client,
    /// For STARTTLS; not offered if there is none.
    pub starttls: Option<Tls>,
}
