//! Replies, with the enhanced status codes of RFC 3463.

use mailstore::StorageError;

/// A reply of one line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Reply(pub(crate) &'static str);

impl Reply {
    pub(crate) const OK: Self = Self("250 2.0.0 OK");
    pub(crate) const SENDER_OK: Self = Self("250 2.1.0 Sender OK");
    pub(crate) const RECIPIENT_OK: Self = Self("250 2.1.5 Recipient OK");
    pub(crate) const DELIVERED: Self = Self("250 2.0.0 Delivered");
    pub(crate) const GO_AHEAD: Self = Self("354 Send the message, end with a dot on a line of its own");
    pub(crate) const BYE: Self = Self("221 2.0.0 Bye");
    pub(crate) const NO_EXPANSION: Self = Self("252 2.5.2 Try RCPT");
    pub(crate) const STOPPING: Self = Self("421 4.3.2 Shutting down");
    pub(crate) const TIMEOUT: Self = Self("421 4.4.2 Timeout");
    pub(crate) const TOO_MANY_ERRORS: Self = Self("421 4.7.0 Too many errors");
    pub(crate) const LINE_TOO_LONG: Self = Self("500 5.5.6 Line too long");
    pub(crate) const UNKNOWN_COMMAND: Self = Self("500 5.5.1 Unknown command");
    pub(crate) const SYNTAX: Self = Self("501 5.5.4 Syntax error");
    pub(crate) const BAD_ADDRESS: Self = Self("501 5.1.3 Bad address");
    pub(crate) const NOT_SUPPORTED: Self = Self("502 5.5.1 Not supported");
    pub(crate) const USE_LHLO: Self = Self("500 5.5.1 This is LMTP, say LHLO");
    pub(crate) const SAY_LHLO_FIRST: Self = Self("503 5.5.1 LHLO first");
    pub(crate) const SENDER_GIVEN: Self = Self("503 5.5.1 Sender already given");
    pub(crate) const MAIL_FIRST: Self = Self("503 5.5.1 MAIL first");
    pub(crate) const NO_RECIPIENT: Self = Self("503 5.5.1 No valid recipient");
    pub(crate) const BAD_PARAMETER: Self = Self("555 5.5.4 Parameter not supported");
    pub(crate) const TOO_MANY_RECIPIENTS: Self = Self("452 4.5.3 Too many recipients");
    pub(crate) const NO_SUCH_USER: Self = Self("550 5.1.1 No such user here");
    pub(crate) const TOO_LARGE: Self = Self("552 5.3.4 Message too large");
    pub(crate) const TRY_LATER: Self = Self("451 4.3.0 Temporary failure, try again later");
    pub(crate) const NO_SPACE: Self = Self("452 4.3.1 Not enough disk space");
    pub(crate) const REFUSED: Self = Self("554 5.6.0 Message refused");
    pub(crate) const MAILBOX_UNUSABLE: Self = Self("550 5.2.1 Mailbox cannot take mail");

    /// Puts the line at the end of the output.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.0.as_bytes());
        out.extend_from_slice(b"\r\n");
    }

    /// What a sender is told of a store's failure: never more than the class of it.
    pub(crate) fn for_error(error: &StorageError) -> Self {
        match error {
            StorageError::NoSpace(_) => Self::NO_SPACE,
            StorageError::MessageRefused(_) => Self::REFUSED,
            StorageError::Limit { .. } => Self::TOO_LARGE,
            StorageError::ReadOnly(_) | StorageError::NotSelectable(_) => Self::MAILBOX_UNUSABLE,
            // Whatever else it is, somebody can mend it: the sender keeps the message and tries again.
            _ => Self::TRY_LATER,
        }
    }
}
