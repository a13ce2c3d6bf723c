//! Every number that bounds what a client or a user can take.

use std::time::Duration;

/// The limits of a server, each with a default that suits a host of a few thousand users. All are per process.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Longest command line without its literals, in bytes.
    pub line_len_max: usize,
    /// Longest literal outside of APPEND, in bytes; all literals of one command together stay below it too.
    pub literal_len_max: usize,
    /// Longest literal before login, in bytes.
    pub prelogin_literal_len_max: usize,
    /// Largest message taken, in bytes.
    pub message_len_max: u64,
    /// Most messages of one MULTIAPPEND.
    pub multiappend_count_max: usize,
    /// Deepest nesting of SEARCH keys.
    pub search_depth_max: usize,
    /// Connections at once.
    pub connections_max: usize,
    /// Connections at once from one address.
    pub connections_per_address_max: usize,
    /// Connections at once of one user to one protocol's server.
    pub connections_per_user_max: usize,
    /// How long a connection may stay without logging in.
    pub login_timeout: Duration,
    /// How long a session may be silent between commands (RFC 9051 §5.4: at least 30 minutes).
    pub idle_timeout: Duration,
    /// How long a client may take no byte of a response, or send none of a literal.
    pub stall_timeout: Duration,
    /// How long a search, sort or threading may compute and read, in all; waiting for its turn is not counted.
    pub search_timeout: Duration,
    /// Bytes of output that one step makes.
    pub output_step_len: usize,
    /// Bytes of input read from a socket at once. What a client sends ahead beyond these waits in the kernel until the
    /// commands before it are answered.
    pub input_step_len: usize,
    /// Refused commands in a row until the connection is closed.
    pub bad_commands_max: u32,
    /// Failed logins until the connection is closed.
    pub failed_logins_max: u32,
    /// How long the answer to a failed login takes, from the command on.
    pub failed_login_delay: Duration,
    /// How long sessions may take to end when the server stops.
    pub stop_timeout: Duration,
    /// Memory of one session after login, in bytes: what it read and has not used, what it made and the client has not
    /// taken. Above it the session ends.
    pub session_memory_max: usize,
    /// The same of all sessions of one user to one protocol's server.
    pub user_memory_max: usize,
    /// Commands of a client that sends ahead which are carried out before the answers so far are sent and taken.
    pub pipelined_commands_max: u32,
    /// Recipients of one message.
    pub recipients_max: usize,
    /// Users whose stores are kept open without a session.
    pub open_storages_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line_len_max: 64 * 1024,
            literal_len_max: 1024 * 1024,
            prelogin_literal_len_max: 4 * 1024,
            message_len_max: 50 * 1024 * 1024,
            multiappend_count_max: 10_000,
            search_depth_max: 64,
            connections_max: 20_000,
            connections_per_address_max: 4_000,
            connections_per_user_max: 1_000,
            login_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(30 * 60),
            stall_timeout: Duration::from_secs(5 * 60),
            search_timeout: Duration::from_secs(2 * 60),
            output_step_len: 128 * 1024,
            input_step_len: 64 * 1024,
            bad_commands_max: 10,
            failed_logins_max: 5,
            failed_login_delay: Duration::from_secs(2),
            stop_timeout: Duration::from_secs(10),
            session_memory_max: 32 * 1024 * 1024,
            user_memory_max: 256 * 1024 * 1024,
            pipelined_commands_max: 1_000,
            recipients_max: 1_000,
            open_storages_max: 1_000,
        }
    }
}
