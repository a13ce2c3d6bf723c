//! The client's side of the wire: bytes to responses (RFC 9051 §7).
//!
//! Tolerant: a response's data is given as a tree of tokens, whatever its name, so that a client reads what it knows and
//! passes over the rest. For tests, benches and clients of mailboxes of ordinary size: a response is held whole.

mod decoder;
mod fetch;
mod token;

pub use decoder::{ResponseDecoder, ResponseError, ResponseLimits};
pub use fetch::FetchData;
pub use token::Token;

use crate::Tag;

/// A response.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Response {
    /// `+`: go on, or a challenge.
    Continuation {
        /// What follows the plus.
        text: Vec<u8>,
    },
    /// `OK`, `NO`, `BAD`, `BYE` or `PREAUTH`.
    Status {
        /// Of the command that it ends; `None` for an untagged one.
        tag: Option<Tag>,
        /// Which.
        condition: Condition,
        /// The response code's words, without its brackets; empty if there is none.
        code: Vec<Token>,
        /// For people.
        text: Vec<u8>,
    },
    /// Anything else that is untagged: its words.
    Data(Vec<Token>),
}

/// `resp-cond-state`, `resp-cond-bye`, `resp-cond-auth`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Condition {
    /// `OK`
    Ok,
    /// `NO`
    No,
    /// `BAD`
    Bad,
    /// `BYE`
    Bye,
    /// `PREAUTH`
    PreAuth,
}

impl Condition {
    fn from_name(name: &[u8]) -> Option<Self> {
        let known: [(&[u8], Self); 5] = [
            (b"OK", Self::Ok),
            (b"NO", Self::No),
            (b"BAD", Self::Bad),
            (b"BYE", Self::Bye),
            (b"PREAUTH", Self::PreAuth),
        ];
        known.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, condition)| condition)
    }
}

impl Response {
    /// The arguments of a response code of this name, if the response has it.
    pub fn code(&self, name: &str) -> Option<&[Token]> {
        match self {
            Self::Status { code, .. } => match code.as_slice() {
                [first, arguments @ ..] if first.is_atom(name) => Some(arguments),
                _ => None,
            },
            _ => None,
        }
    }

    /// The arguments of untagged data of this name: `SEARCH`, `LIST`, `FLAGS`.
    pub fn data(&self, name: &str) -> Option<&[Token]> {
        match self {
            Self::Data(tokens) => match tokens.as_slice() {
                [first, arguments @ ..] if first.is_atom(name) => Some(arguments),
                _ => None,
            },
            _ => None,
        }
    }

    /// The number before untagged data of this name: `EXISTS`, `RECENT`, `EXPUNGE`.
    pub fn counted(&self, name: &str) -> Option<u32> {
        match self {
            Self::Data(tokens) => match tokens.as_slice() {
                [n, word, ..] if word.is_atom(name) => n.number().and_then(|n| u32::try_from(n).ok()),
                _ => None,
            },
            _ => None,
        }
    }
}
