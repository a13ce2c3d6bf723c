//! What can be set of IMAP besides limits.

use std::time::Duration;

/// What can be set of IMAP besides limits. The names in parentheses are Dovecot's.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Options {
    /// How often a client in IDLE is told that the connection lives (`imap_idle_notify_interval`).
    pub idle_notify_interval: Duration,
    /// How often a client whose search takes long is told so. Who is gone is noticed by that.
    pub search_notify_interval: Duration,
    /// Names of capabilities that clients are not told of, in any case. What they stand for works nevertheless.
    pub hidden_capabilities: Vec<String>,
    /// What the server says of itself in answer to ID (`imap_id_send`): fields and their values (RFC 2971 §3.3).
    pub id: Vec<(String, String)>,
}

impl Default for Options {
    /// Two minutes as in Dovecot, ten seconds, all capabilities, and the name alone.
    fn default() -> Self {
        Self {
            idle_notify_interval: Duration::from_secs(2 * 60),
            search_notify_interval: Duration::from_secs(10),
            hidden_capabilities: Vec::new(),
            id: vec![("name".to_owned(), "Culver".to_owned())],
        }
    }
}
