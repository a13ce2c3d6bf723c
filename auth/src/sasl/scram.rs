//! SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677; the binding `tls-exporter` by RFC 9266).
//!
//! ```text
//! client-first  n,,n=user,r=CLIENT              or  p=tls-exporter,,n=user,r=CLIENT
//! server-first  r=CLIENT+SERVER,s=SALT,i=ITERATIONS
//! client-final  c=BINDING,r=CLIENT+SERVER,p=PROOF
//! server-final  v=SIGNATURE                     the client answers with an empty message
//! ```

use base64::{Engine as _, prelude::BASE64_STANDARD, prelude::BASE64_STANDARD_NO_PAD};

use super::{ChannelBinding, Failure, Next};
use crate::{RandomError, ScramSha256, random::random_bytes, scram_credentials::prepared};

/// Longest nonce of a client.
const NONCE_LEN_MAX: usize = 512;

#[derive(Debug)]
pub(super) struct Scram {
    /// The client chose the mechanism that binds.
    plus: bool,
    binding: ChannelBinding,
    /// Our part of the nonce.
    nonce: String,
    state: State,
}

#[derive(Debug)]
enum State {
    Began,
    /// The client's name is being looked up.
    Finding(First),
    /// Waiting for the proof.
    Challenged {
        first: First,
        server_first: String,
        credentials: ScramSha256,
    },
    /// Waiting for the client to have taken our proof.
    Proven,
    Over,
}

/// What the client's first message said.
#[derive(Debug)]
struct First {
    /// What `c=` of the final message must say, decoded.
    binding_input: Vec<u8>,
    bare: String,
    nonce: String,
}

impl Scram {
    pub(super) fn new(plus: bool, binding: ChannelBinding) -> Result<Self, RandomError> {
        let nonce = BASE64_STANDARD_NO_PAD.encode(random_bytes::<18>()?);
        Ok(Self::with_nonce(plus, binding, nonce))
    }

    fn with_nonce(plus: bool, binding: ChannelBinding, nonce: String) -> Self {
        Self { plus, binding, nonce, state: State::Began }
    }

    pub(super) fn step(&mut self, message: &[u8]) -> Result<Next, Failure> {
        match std::mem::replace(&mut self.state, State::Over) {
            State::Began => {
                let (name, first) = self.client_first(text(message)?)?;
                self.state = State::Finding(first);
                Ok(Next::FindScram { name })
            }
            State::Challenged { first, server_first, credentials } => {
                let signature = client_final(text(message)?, &first, &server_first, &credentials)?;
                self.state = State::Proven;
                Ok(Next::Challenge(format!("v={}", BASE64_STANDARD.encode(signature)).into_bytes()))
            }
            State::Proven if message.is_empty() => Ok(Next::Proven),
            State::Proven | State::Finding(_) | State::Over => Err(Failure::Malformed),
        }
    }

    pub(super) fn challenge(&mut self, credentials: ScramSha256) -> Result<Next, Failure> {
        let State::Finding(mut first) = std::mem::replace(&mut self.state, State::Over) else {
            return Err(Failure::Malformed);
        };
        first.nonce.push_str(&self.nonce);
        let salt = BASE64_STANDARD.encode(credentials.salt());
        let server_first = format!("r={},s={salt},i={}", first.nonce, credentials.iterations());
        let message = server_first.clone().into_bytes();
        self.state = State::Challenged { first, server_first, credentials };
        Ok(Next::Challenge(message))
    }

    fn client_first(&self, message: &str) -> Result<(String, First), Failure> {
        let mut parts = message.splitn(3, ',');
        let mut part = || parts.next().ok_or(Failure::Malformed);
        let (flag, act_as, bare) = (part()?, part()?, part()?);
        let data = self.bound(flag)?;
        let mut binding_input = format!("{flag},{act_as},").into_bytes();
        binding_input.extend_from_slice(data);
        let mut attributes = bare.split(',');
        let mut attribute = || attributes.next().ok_or(Failure::Malformed);
        let name = attribute()?;
        if name.starts_with("m=") {
            return Err(Failure::Extension);
        }
        let name = name_of(name.strip_prefix("n=").ok_or(Failure::Malformed)?)?;
        let nonce = attribute()?.strip_prefix("r=").ok_or(Failure::Malformed)?;
        if nonce.is_empty() || nonce.len() > NONCE_LEN_MAX || !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(Failure::Malformed);
        }
        if !act_as.is_empty() && name_of(act_as.strip_prefix("a=").ok_or(Failure::Malformed)?)? != name {
            return Err(Failure::Authorization);
        }
        Ok((name, First { binding_input, bare: bare.to_owned(), nonce: nonce.to_owned() }))
    }

    /// The binding data that the flag of the client's first message stands for (RFC 5802 §6).
    fn bound(&self, flag: &str) -> Result<&[u8], Failure> {
        match flag.split_once('=') {
            Some(("p", kind)) if self.plus => self.binding.data(kind).ok_or(Failure::ChannelBinding),
            // He would have bound, had he been told that we can: somebody took it from the list.
            None if flag == "y" && !self.plus => match self.binding.is_empty() {
                true => Ok(&[]),
                false => Err(Failure::ChannelBinding),
            },
            None if flag == "n" && !self.plus => Ok(&[]),
            _ => Err(Failure::ChannelBinding),
        }
    }
}

/// Checks the client's proof and makes ours.
fn client_final(
    message: &str,
    first: &First,
    server_first: &str,
    credentials: &ScramSha256,
) -> Result<[u8; 32], Failure> {
    let (without_proof, proof) = message.rsplit_once(",p=").ok_or(Failure::Malformed)?;
    let mut attributes = without_proof.split(',');
    let mut attribute = || attributes.next().ok_or(Failure::Malformed);
    let binding = attribute()?.strip_prefix("c=").ok_or(Failure::Malformed)?;
    let nonce = attribute()?.strip_prefix("r=").ok_or(Failure::Malformed)?;
    let decoded = |text: &str| BASE64_STANDARD.decode(text).map_err(|_| Failure::Malformed);
    if decoded(binding)? != first.binding_input {
        return Err(Failure::ChannelBinding);
    }
    if nonce != first.nonce {
        return Err(Failure::Malformed);
    }
    let proof: [u8; 32] = decoded(proof)?.try_into().map_err(|_| Failure::Malformed)?;
    let auth_message = format!("{},{server_first},{without_proof}", first.bare);
    if !credentials.accepts(&proof, auth_message.as_bytes()) {
        return Err(Failure::Proof);
    }
    Ok(credentials.server_signature(auth_message.as_bytes()))
}

fn text(message: &[u8]) -> Result<&str, Failure> {
    std::str::from_utf8(message).map_err(|_| Failure::Malformed)
}

/// A `saslname`: `=2C` is a comma, `=3D` an equals sign; no other `=` may be there.
fn name_of(name: &str) -> Result<String, Failure> {
    let mut parts = name.split('=');
    let mut decoded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (byte, rest) = part.split_at_checked(2).ok_or(Failure::Malformed)?;
        decoded.push(match byte {
            "2C" => ',',
            "3D" => '=',
            _ => return Err(Failure::Malformed),
        });
        decoded.push_str(rest);
    }
    if decoded.is_empty() || decoded.contains('\0') {
        return Err(Failure::Malformed);
    }
    String::from_utf8(prepared(decoded.as_bytes()).into_owned()).map_err(|_| Failure::Malformed)
}
