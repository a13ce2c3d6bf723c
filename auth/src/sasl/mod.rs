//! SASL mechanisms, the server's side (RFC 4422): messages in, messages out. Who reads and writes them, in which
//! protocol and in which encoding, is the caller's matter, and so is looking users up.
//!
//! PLAIN (RFC 4616), LOGIN (which has no RFC), SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677).

mod base64;
mod channel_binding;
mod login;
mod mechanism;
mod plain;
mod scram;

pub use base64::{decode_base64, decode_initial_response, encode_base64};
pub use channel_binding::ChannelBinding;
pub use mechanism::Mechanism;

use crate::{RandomError, ScramSha256, Secret};

/// Longest message of a client, decoded, in bytes.
pub const MESSAGE_LEN_MAX: usize = 8 * 1024;

/// One exchange of messages.
#[derive(Debug)]
pub struct Exchange {
    state: State,
}

#[derive(Debug)]
enum State {
    Plain,
    Login(login::Login),
    Scram(Box<scram::Scram>),
    Over,
}

/// What comes next.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Next {
    /// Send this and give the client's answer to [`Exchange::step`].
    Challenge(Vec<u8>),
    /// The exchange is over: who said this password may come in, if it is his.
    CheckPassword {
        /// The name, as the client wrote it.
        name: String,
        /// The password, as the client wrote it.
        password: Secret,
    },
    /// Look the credentials of this name up, or make [`ScramSha256::decoy`]s, and give them to [`Exchange::scram`].
    FindScram {
        /// The name, as the client wrote it.
        name: String,
    },
    /// The exchange is over: the client has proved that he knows the password of the name that was looked up.
    Proven,
    /// The exchange is over: he has not, or what he says cannot be followed.
    Failed(Failure),
}

/// Why an exchange fails. For the log only: a client hears of each the same.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Failure {
    /// The message is none of the mechanism.
    #[error("malformed message")]
    Malformed,
    /// The client wants to act for somebody else.
    #[error("acting for another user is not allowed")]
    Authorization,
    /// The client's channel is not ours, or he was told that there is no binding where there is one.
    #[error("channel binding does not match")]
    ChannelBinding,
    /// The client asks for an extension that must not be ignored.
    #[error("unknown mandatory extension")]
    Extension,
    /// The proof is wrong.
    #[error("wrong password")]
    Proof,
}

impl Exchange {
    /// Begins. `binding` is what both ends know of their TLS channel, empty where there is none.
    pub fn new(mechanism: Mechanism, binding: ChannelBinding) -> Result<Self, RandomError> {
        let state = match mechanism {
            Mechanism::Plain => State::Plain,
            Mechanism::Login => State::Login(login::Login::default()),
            Mechanism::ScramSha256 => State::Scram(Box::new(scram::Scram::new(false, binding)?)),
            Mechanism::ScramSha256Plus => State::Scram(Box::new(scram::Scram::new(true, binding)?)),
        };
        Ok(Self { state })
    }

    /// Takes the client's next message: the initial response, or the answer to a challenge.
    pub fn step(&mut self, message: &[u8]) -> Next {
        let next = match &mut self.state {
            _ if message.len() > MESSAGE_LEN_MAX => Err(Failure::Malformed),
            State::Plain => plain::check(message),
            State::Login(login) => login.step(message),
            State::Scram(scram) => scram.step(message),
            State::Over => Err(Failure::Malformed),
        };
        self.go(next)
    }

    /// Takes the credentials that [`Next::FindScram`] asked for.
    pub fn scram(&mut self, credentials: ScramSha256) -> Next {
        let next = match &mut self.state {
            State::Scram(scram) => scram.challenge(credentials),
            _ => Err(Failure::Malformed),
        };
        self.go(next)
    }

    fn go(&mut self, next: Result<Next, Failure>) -> Next {
        let next = next.unwrap_or_else(Next::Failed);
        if matches!(next, Next::CheckPassword { .. } | Next::Proven | Next::Failed(_)) {
            self.state = State::Over;
        }
        next
    }
}
