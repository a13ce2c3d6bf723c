//! Why a command could not be read.

use std::fmt;

use crate::Tag;

/// A command that could not be read. Its input is skipped: the next call to the decoder goes on with the next command,
/// unless the error [is fatal](Self::is_fatal). An error between `AppendStart` and `AppendEnd` ends that APPEND.
///
/// [`write::command_error`](crate::write::command_error) answers it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CommandError {
    /// The command's tag, where it had one that can be repeated.
    pub tag: Option<Tag>,
    /// What kind of mistake.
    pub kind: ErrorKind,
    /// A sentence for the client; never the client's own bytes.
    pub text: &'static str,
}

/// What kind of mistake a command has, as far as the answer depends on it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Against the grammar: BAD.
    Syntax,
    /// No command of this name: BAD.
    UnknownCommand,
    /// More, or deeper, than a limit: BAD `[LIMIT]`.
    Limit,
    /// A literal longer than a limit; it was refused or skipped: NO `[TOOBIG]`.
    TooBig,
    /// A SEARCH in a charset that is not known: NO `[BADCHARSET (US-ASCII UTF-8)]`.
    BadCharset {
        /// The result was to be saved (RFC 5182): nothing is saved now.
        saves: bool,
    },
    /// CREATE with a special use that is not known: NO `[USEATTR]`.
    UnknownUse,
    /// A line longer than its limit; where it ends is not known. Fatal.
    LineTooLong,
    /// A non-synchronizing literal too long to be skipped. Fatal.
    LiteralTooLong,
}

impl CommandError {
    /// Whether the input can no longer be followed: say so, say BYE and close. The decoder reads nothing more.
    pub fn is_fatal(&self) -> bool {
        matches!(self.kind, ErrorKind::LineTooLong | ErrorKind::LiteralTooLong)
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tag {
            Some(tag) => write!(f, "command {tag}: {}", self.text),
            None => write!(f, "command without a tag: {}", self.text),
        }
    }
}

impl std::error::Error for CommandError {}

/// A mistake found by the parser, before its command's tag is added.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Fault {
    pub(crate) kind: ErrorKind,
    pub(crate) text: &'static str,
}

impl Fault {
    pub(crate) const fn syntax(text: &'static str) -> Self {
        Self { kind: ErrorKind::Syntax, text }
    }

    pub(crate) const fn limit(text: &'static str) -> Self {
        Self { kind: ErrorKind::Limit, text }
    }

    pub(crate) fn of(self, tag: Option<Tag>) -> CommandError {
        CommandError { tag, kind: self.kind, text: self.text }
    }
}
