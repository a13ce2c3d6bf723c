//! AUTHENTICATE (RFC 3501 §6.2.2) by every mechanism that the host offers, with or without initial response (RFC 4959).

use culver_runtime::{
    AuthError, CannotStart, SaslStep,
    sasl::{decode_base64, decode_initial_response, encode_base64},
};
use imap_proto::{
    InitialResponse, Tag,
    write::{self, Code},
};

use crate::{
    end::End,
    session::{Incoming, Session},
    state::State,
};

impl Session {
    pub(crate) async fn authenticate(
        &mut self,
        tag: &Tag,
        mechanism: &str,
        initial: Option<InitialResponse>,
    ) -> Result<(), End> {
        if !matches!(self.state, State::NotAuthenticated) {
            return self.bad(tag, "Already logged in.");
        }
        let mut exchange = match self.ctx.logins.start(mechanism, &self.ctx.client) {
            Ok(exchange) => exchange,
            Err(CannotStart::Unknown) => {
                return self.no(tag, Some(Code::Cannot), "Unsupported authentication mechanism.");
            }
            Err(CannotStart::PrivacyRequired) => return self.privacy_required(tag),
            Err(CannotStart::Failed(error)) => return self.login_impossible(tag, &error),
        };
        let first = match initial {
            Some(initial) => decode_initial_response(initial.as_wire()),
            None => match self.challenge(tag, exchange.first_challenge()).await? {
                Some(answer) => decode_base64(&answer),
                None => return Ok(()),
            },
        };
        let mut next = first;
        loop {
            let Some(message) = next else { return self.bad(tag, "Invalid base64 data.") };
            let mut stop = self.ctx.stop.clone();
            let step = tokio::select! {
                step = exchange.step(&message) => step,
                () = stop.stopping() => return Err(End::Stopping),
            };
            next = match step {
                Ok(SaslStep::Challenge(challenge)) => match self.challenge(tag, &challenge).await? {
                    Some(answer) => decode_base64(&answer),
                    None => return Ok(()),
                },
                Ok(SaslStep::Done(user)) => return self.enter(tag, user).await,
                Ok(SaslStep::Failed) => return self.login_failed(tag, exchange.name().unwrap_or_default()),
                Err(error) => return self.login_impossible(tag, &error),
            };
        }
    }

    /// Sends a challenge and reads the client's answer, in base64. `None` if it did not send one and was answered.
    async fn challenge(&mut self, tag: &Tag, challenge: &[u8]) -> Result<Option<Vec<u8>>, End> {
        write::continuation(&mut self.wire.output, &encode_base64(challenge));
        self.decoder.begin_authenticate();
        match self.next_event(&mut Vec::new()).await? {
            Incoming::AuthenticateData(answer) => Ok(Some(answer)),
            Incoming::Error(error) => self.command_error(&error).map(|()| None),
            _ => self.bad(tag, "Authentication aborted by client.").map(|()| None),
        }
    }

    pub(crate) fn privacy_required(&mut self, tag: &Tag) -> Result<(), End> {
        self.no(tag, Some(Code::PrivacyRequired), "Plaintext authentication disallowed on non-secure connections.")
    }

    pub(crate) fn login_impossible(&mut self, tag: &Tag, error: &AuthError) -> Result<(), End> {
        tracing::warn!(peer = self.ctx.peer.map(tracing::field::display), %error, "login not possible");
        self.no(tag, Some(Code::Unavailable), "Temporary authentication failure.")
    }
}
