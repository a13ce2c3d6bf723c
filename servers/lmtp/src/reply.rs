//! Replies, with the enhanced status codes of RFC 3463.

use mailstore::StorageError;

use crate::address::Address;

/// A reply of one line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Reply {
    /// Code and enhanced code.
    codes: &'static str,
    text: &'static str,
}

macro_rules! replies {
    ($($name:ident = $codes:literal $text:literal;)*) => {
        impl Reply {
            $(pub(crate) const $name: Self = Self { codes: $codes, text: $text };)*
        }
    };
}

replies! {
    OK = "250 2.0.0" "OK";
    SENDER_OK = "250 2.1.0" "Sender OK";
    RECIPIENT_OK = "250 2.1.5" "Recipient OK";
    DELIVERED = "250 2.0.0" "Saved";
    CHUNK_OK = "250 2.0.0" "Chunk taken";
    START_TLS = "220 2.0.0" "Begin TLS negotiation now";
    GO_AHEAD = "354" "Send the message, end with a dot on a line of its own";
    BYE = "221 2.0.0" "Bye";
    NO_EXPANSION = "252 2.5.2" "Try RCPT";
    STOPPING = "421 4.3.2" "Shutting down";
    TIMEOUT = "421 4.4.2" "Timeout";
    TOO_MANY_ERRORS = "421 4.7.0" "Too many errors";
    FAR_TOO_LARGE = "421 5.3.4" "Message much too large, connection closed";
    LINE_TOO_LONG = "500 5.5.6" "Line too long";
    UNKNOWN_COMMAND = "500 5.5.1" "Unknown command";
    SYNTAX = "501 5.5.4" "Syntax error";
    BAD_CHUNK = "501 5.5.4" "Bad chunk size, connection closed";
    BAD_ADDRESS = "501 5.1.3" "Bad address";
    NOT_SUPPORTED = "502 5.5.1" "Not supported";
    NO_TLS = "502 5.5.1" "TLS is not available";
    USE_LHLO = "500 5.5.1" "This is LMTP, say LHLO";
    SAY_LHLO_FIRST = "503 5.5.1" "LHLO first";
    TLS_ACTIVE = "503 5.5.1" "TLS is already active";
    SENDER_GIVEN = "503 5.5.1" "Sender already given";
    MAIL_FIRST = "503 5.5.1" "MAIL first";
    NO_RECIPIENT = "503 5.5.1" "No valid recipient";
    IN_CHUNKS = "503 5.5.1" "A message is coming in chunks, say BDAT or RSET";
    CHUNK_FAILED = "503 5.5.1" "An earlier chunk failed, say RSET";
    NEEDS_SMTPUTF8 = "553 5.6.7" "Address needs SMTPUTF8";
    BAD_PARAMETER = "555 5.5.4" "Parameter not supported";
    TOO_MANY_RECIPIENTS = "452 4.5.3" "Too many recipients";
    NO_SUCH_USER = "550 5.1.1" "No such user here";
    TOO_LARGE = "552 5.3.4" "Message too large";
    TRY_LATER = "451 4.3.0" "Temporary failure, try again later";
    NO_SPACE = "452 4.3.1" "Not enough disk space";
    REFUSED = "554 5.6.0" "Message refused";
    MAILBOX_UNUSABLE = "550 5.2.1" "Mailbox cannot take mail";
}

impl Reply {
    /// Puts the line at the end of the output.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{} {}\r\n", self.codes, self.text).as_bytes());
    }

    /// The same, for one recipient of several.
    pub(crate) fn write_for(self, recipient: &Address, id: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("{} <{recipient}> {id} {}\r\n", self.codes, self.text).as_bytes());
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
