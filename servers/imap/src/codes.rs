//! Storage errors as response codes (RFC 5530, RFC 4315): the only place that knows both.

use imap_proto::write::Code;
use mailstore::StorageError;

/// What a client is told that names messages which are gone and still have their numbers.
pub(crate) const EXPUNGED: &str = "Some of the requested messages no longer exist.";

/// What a command wanted with the mailbox that it named.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Target {
    /// To put messages into it: where it is not there, the client may create it and try again.
    Destination,
    /// Anything else.
    Other,
}

/// The response code of an error.
pub(crate) fn code_of(error: &StorageError, target: Target) -> Option<Code<'static>> {
    Some(match error {
        // A level without a mailbox can be created too.
        StorageError::NotFound(_) | StorageError::NotSelectable(_) if target == Target::Destination => Code::TryCreate,
        StorageError::NotFound(_) | StorageError::Deleted(_) | StorageError::Moved(_) => Code::NonExistent,
        StorageError::AlreadyExists(_) => Code::AlreadyExists,
        StorageError::NotSelectable(_)
        | StorageError::InvalidName { .. }
        | StorageError::NotPossible(_)
        | StorageError::Unsupported(_)
        | StorageError::MessageRefused(_) => Code::Cannot,
        StorageError::Expunged { .. } => Code::ExpungeIssued,
        StorageError::Corrupt { .. } => Code::Corruption,
        StorageError::NotAStore { .. } => Code::ContactAdmin,
        StorageError::Limit { .. } => Code::Limit,
        StorageError::NoSpace(_) => Code::OverQuota,
        StorageError::ReadOnly(_) => Code::NoPerm,
        StorageError::Unavailable(_) | StorageError::Fenced(_) => Code::Unavailable,
        StorageError::Io(_) => Code::ServerBug,
        _ => return None,
    })
}

/// Whether the error is the client's or another session's doing, and no trouble of this host.
pub(crate) fn is_ordinary(error: &StorageError) -> bool {
    matches!(
        error,
        StorageError::NotFound(_)
            | StorageError::AlreadyExists(_)
            | StorageError::NotSelectable(_)
            | StorageError::InvalidName { .. }
            | StorageError::NotPossible(_)
            | StorageError::Expunged { .. }
            | StorageError::Deleted(_)
            | StorageError::Moved(_)
            | StorageError::MessageRefused(_)
            | StorageError::Limit { .. }
    )
}
