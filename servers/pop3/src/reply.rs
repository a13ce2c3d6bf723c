//! Replies of one line, with the response codes of RFC 2449 §8 and RFC 3206.

use std::io::Write as _;

use mailstore::StorageError;

/// `-ERR` with its text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Refusal(&'static str);

impl Refusal {
    pub(crate) const UNKNOWN_COMMAND: Self = Self("Unknown command.");
    pub(crate) const LINE_TOO_LONG: Self = Self("Line too long.");
    pub(crate) const BAD_NUMBER: Self = Self("Invalid message number.");
    pub(crate) const BAD_LINES: Self = Self("Invalid number of lines.");
    pub(crate) const NO_SUCH_MESSAGE: Self = Self("There's no such message.");
    pub(crate) const DELETED: Self = Self("Message is deleted.");
    pub(crate) const EXPUNGED: Self = Self("Message was deleted by somebody else.");
    pub(crate) const NO_USER: Self = Self("No username given.");
    pub(crate) const NO_TLS: Self = Self("TLS is not available.");
    pub(crate) const TLS_ACTIVE: Self = Self("TLS is already active.");
    pub(crate) const ENCRYPTION_NEEDED: Self =
        Self("[AUTH] Plaintext authentication disallowed on non-secure connections.");
    pub(crate) const AUTH_FAILED: Self = Self("[AUTH] Authentication failed.");
    pub(crate) const AUTH_ABORTED: Self = Self("Authentication aborted by client.");
    pub(crate) const NO_SUCH_MECHANISM: Self = Self("[AUTH] Unsupported authentication mechanism.");
    pub(crate) const BAD_BASE64: Self = Self("[AUTH] Invalid base64 data.");
    pub(crate) const AUTH_UNAVAILABLE: Self = Self("[SYS/TEMP] Temporary authentication failure.");
    pub(crate) const TOO_MANY_SESSIONS: Self = Self("[IN-USE] Too many connections of this user.");
    pub(crate) const LOCKED: Self = Self("[IN-USE] Mailbox is locked by another POP3 session.");
    pub(crate) const TOO_SOON: Self = Self("[LOGIN-DELAY] Minimum time between logins has not passed.");
    pub(crate) const STOPPING: Self = Self("[SYS/TEMP] Server is shutting down.");
    pub(crate) const INACTIVE: Self = Self("Disconnected for inactivity.");
    pub(crate) const TOO_MANY_BAD_COMMANDS: Self = Self("Too many bad commands.");
    pub(crate) const TOO_MANY_FAILED_LOGINS: Self = Self("Too many failed logins.");
    pub(crate) const TOO_MUCH_MEMORY: Self = Self("[SYS/TEMP] Too much memory for one user's sessions.");
    pub(crate) const INTERNAL: Self = Self("[SYS/TEMP] Internal error, see the server log.");
    pub(crate) const NOT_ALL_DELETED: Self = Self("[SYS/TEMP] Some deleted messages were not removed.");

    /// Puts the line at the end of the output.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        line(out, format_args!("-ERR {}", self.0));
    }
}

/// `-ERR` for a storage error: what a client may know of it (RFC 3206 §4).
pub(crate) fn write_storage_error(out: &mut Vec<u8>, error: &StorageError) {
    let code = if error.is_temporary() { "SYS/TEMP" } else { "SYS/PERM" };
    line(out, format_args!("-ERR [{code}] {}.", error.client_text()));
}

/// A line with its end.
pub(crate) fn line(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    // Writing to memory does not fail.
    let _ = out.write_fmt(text);
    out.extend_from_slice(b"\r\n");
}

/// `+OK` with a text, or without.
pub(crate) fn ok(out: &mut Vec<u8>, text: &str) {
    match text {
        "" => out.extend_from_slice(b"+OK\r\n"),
        text => line(out, format_args!("+OK {text}")),
    }
}
