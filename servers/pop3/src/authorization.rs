//! The commands of a client that has not logged in yet (RFC 1939 §4, §7; RFC 2595 §4; RFC 5034).

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use culver_runtime::{CannotStart, Exchange, SaslStep, User, UserName};
use mailstore::StorageError;
use tracing::{info, warn};

use crate::{
    command::Command,
    end::End,
    maildrop::{Maildrop, Opening},
    reply::{self, Refusal},
    session::{Session, State},
    transaction::Transaction,
};

impl Session {
    pub(crate) async fn execute_authorization(&mut self, command: Command<'_>) -> Result<(), End> {
        match command {
            Command::Stls => self.start_tls().await,
            Command::User(name) => {
                if !self.ctx.client.may_send_password() {
                    return self.refuse(Refusal::ENCRYPTION_NEEDED);
                }
                self.user_given = Some(name.to_vec());
                self.ok("")
            }
            Command::Pass(password) => self.pass(password).await,
            Command::Auth(b"") => self.list_mechanisms(),
            Command::Auth(arguments) => self.authenticate(arguments).await,
            Command::Quit => {
                self.ok("Logging out.")?;
                Err(End::Quit)
            }
            _ => self.bad_command(Refusal::UNKNOWN_COMMAND),
        }
    }

    fn mechanisms(&self) -> String {
        let mechanisms = self.ctx.logins.mechanisms(&self.ctx.client);
        mechanisms.iter().fold(String::new(), |names, mechanism| names + " " + mechanism.name())
    }

    /// CAPA (RFC 2449): what holds in the present state.
    pub(crate) fn capabilities(&mut self) -> Result<(), End> {
        self.ok("")?;
        let is_authorization = matches!(self.state, State::Authorization);
        let mechanisms = self.mechanisms();
        let (ctx, out) = (&self.ctx, &mut self.lines.output);
        for capability in ["CAPA", "TOP", "UIDL", "RESP-CODES", "PIPELINING", "AUTH-RESP-CODE"] {
            reply::line(out, format_args!("{capability}"));
        }
        if is_authorization {
            if ctx.starttls.is_some() && ctx.client.tls.is_none() {
                reply::line(out, format_args!("STLS"));
            }
            if ctx.client.may_send_password() {
                reply::line(out, format_args!("USER"));
            }
            if !mechanisms.is_empty() {
                reply::line(out, format_args!("SASL{mechanisms}"));
            }
        }
        if !ctx.options.login_delay.is_zero() {
            reply::line(out, format_args!("LOGIN-DELAY {}", ctx.options.login_delay.as_secs().max(1)));
        }
        reply::line(out, format_args!("EXPIRE NEVER"));
        reply::line(out, format_args!("IMPLEMENTATION Culver"));
        out.extend_from_slice(b".\r\n");
        Ok(())
    }

    /// AUTH alone (RFC 1734 does not have it, but every server does).
    fn list_mechanisms(&mut self) -> Result<(), End> {
        self.ok("")?;
        for mechanism in self.ctx.logins.mechanisms(&self.ctx.client) {
            reply::line(&mut self.lines.output, format_args!("{mechanism}"));
        }
        self.lines.output.extend_from_slice(b".\r\n");
        Ok(())
    }

    /// STLS. What the client sent behind it without encryption is dropped, and what it said before is forgotten.
    async fn start_tls(&mut self) -> Result<(), End> {
        let Some(tls) = self.ctx.starttls.clone() else { return self.refuse(Refusal::NO_TLS) };
        if self.ctx.client.tls.is_some() {
            return self.refuse(Refusal::TLS_ACTIVE);
        }
        self.ok("Begin TLS negotiation now.")?;
        self.ctx.client.tls = Some(self.lines.start_tls(&tls).await?);
        self.user_given = None;
        Ok(())
    }

    async fn pass(&mut self, password: &[u8]) -> Result<(), End> {
        if !self.ctx.client.may_send_password() {
            return self.refuse(Refusal::ENCRYPTION_NEEDED);
        }
        let Some(name) = self.user_given.take() else { return self.refuse(Refusal::NO_USER) };
        // A name that is not UTF-8 is nobody's; it fails like any other, with the same delay.
        let name = String::from_utf8_lossy(&name).into_owned();
        let (logins, client) = (self.ctx.logins.clone(), self.ctx.client.clone());
        let mut stop = self.ctx.stop.clone();
        let verified = tokio::select! {
            verified = logins.verify(&client, &name, password.to_vec()) => verified,
            () = stop.stopping() => return Err(culver_runtime::Gone::Stopping.into()),
        };
        match verified {
            Ok(Some(user)) => self.log_in(user).await,
            Ok(None) => self.login_failed(&name),
            Err(error) => self.login_not_possible(&error),
        }
    }

    /// AUTH (RFC 5034).
    async fn authenticate(&mut self, arguments: &[u8]) -> Result<(), End> {
        let (mechanism, initial) = match memchr::memchr(b' ', arguments) {
            Some(at) => (arguments.get(..at).unwrap_or_default(), arguments.get(at + 1..)),
            None => (arguments, None),
        };
        let mechanism = std::str::from_utf8(mechanism).unwrap_or_default();
        let mut exchange = match self.ctx.logins.start(mechanism, &self.ctx.client) {
            Ok(exchange) => exchange,
            Err(CannotStart::Unknown) => return self.refuse(Refusal::NO_SUCH_MECHANISM),
            Err(CannotStart::PrivacyRequired) => return self.refuse(Refusal::ENCRYPTION_NEEDED),
            Err(CannotStart::Failed(error)) => return self.login_not_possible(&error),
        };
        let mut message = match initial {
            Some(b"=") => Ok(Vec::new()),
            Some(text) => decode(text),
            None => self.challenge(exchange.first_challenge()).await?,
        };
        loop {
            let step = match message {
                Ok(message) => self.step(&mut exchange, &message).await?,
                Err(refusal) => return self.refuse(refusal),
            };
            match step {
                Ok(SaslStep::Challenge(challenge)) => message = self.challenge(&challenge).await?,
                Ok(SaslStep::Done(user)) => return self.log_in(user).await,
                Ok(SaslStep::Failed) => return self.login_failed(exchange.name().unwrap_or_default()),
                Err(error) => return self.login_not_possible(&error),
            }
        }
    }

    async fn step(
        &mut self,
        exchange: &mut Exchange,
        message: &[u8],
    ) -> Result<Result<SaslStep, culver_runtime::AuthError>, End> {
        let mut stop = self.ctx.stop.clone();
        tokio::select! {
            step = exchange.step(message) => Ok(step),
            () = stop.stopping() => Err(culver_runtime::Gone::Stopping.into()),
        }
    }

    /// Sends a challenge and reads the client's answer.
    async fn challenge(&mut self, challenge: &[u8]) -> Result<Result<Vec<u8>, Refusal>, End> {
        reply::line(&mut self.lines.output, format_args!("+ {}", STANDARD.encode(challenge)));
        if !self.read_line().await? {
            return Ok(Err(Refusal::LINE_TOO_LONG));
        }
        let line = self.take_line();
        Ok(if line == b"*" { Err(Refusal::AUTH_ABORTED) } else { decode(&line) })
    }

    fn login_failed(&mut self, name: &str) -> Result<(), End> {
        info!(name = %name.escape_debug(), peer = self.ctx.peer.map(tracing::field::display), "login failed");
        self.refuse(Refusal::AUTH_FAILED)?;
        self.failed_logins += 1;
        if self.failed_logins >= self.ctx.limits.failed_logins_max {
            return Err(End::Refused("too many failed logins", Refusal::TOO_MANY_FAILED_LOGINS));
        }
        Ok(())
    }

    fn login_not_possible(&mut self, error: &culver_runtime::AuthError) -> Result<(), End> {
        warn!(peer = self.ctx.peer.map(tracing::field::display), %error, "login not possible");
        self.refuse(Refusal::AUTH_UNAVAILABLE)
    }

    /// Opens the user's INBOX.
    async fn log_in(&mut self, user: User) -> Result<(), End> {
        let user = user.name;
        let permit = match self.ctx.connections.log_in(&user) {
            Ok(permit) => permit,
            Err(error) => {
                info!(%user, peer = self.ctx.peer.map(tracing::field::display), %error, "login refused");
                return self.refuse(Refusal::TOO_MANY_SESSIONS);
            }
        };
        let lock = match self.ctx.locks.admit(&user, &self.ctx.options) {
            Ok(lock) => lock,
            Err(refusal) => {
                info!(%user, peer = self.ctx.peer.map(tracing::field::display), "login refused: another session, or too soon");
                return self.refuse(refusal);
            }
        };
        match self.open(&user).await? {
            Ok(maildrop) => {
                let transaction = Transaction { user, maildrop, ids: None, permit, _lock: lock };
                self.state = State::Transaction(Box::new(transaction));
                self.lines.set_deadline(None);
                self.ok("Logged in.")
            }
            Err(error) => {
                warn!(%user, peer = self.ctx.peer.map(tracing::field::display), %error, "the user's mail cannot be opened");
                reply::write_storage_error(&mut self.lines.output, &error);
                Ok(())
            }
        }
    }

    /// Reads the sizes of all messages, in steps.
    async fn open(&mut self, user: &UserName) -> Result<Result<Maildrop, StorageError>, End> {
        let (storages, options, owner) = (Arc::clone(&self.ctx.storages), Arc::clone(&self.ctx.options), user.clone());
        let begun = self.on_pool(user, move || {
            let storage = storages.storage_for(&owner)?;
            Opening::new(&*storage, &options)
        });
        let mut opening = match begun.await? {
            Ok(opening) => opening,
            Err(error) => return Ok(Err(error)),
        };
        loop {
            if self.lines.is_stopping() {
                return Err(culver_runtime::Gone::Stopping.into());
            }
            let step = move || {
                let outcome = opening.step();
                (opening, outcome)
            };
            let (opened, outcome) = self.on_pool(user, step).await?;
            match outcome {
                Ok(true) => return Ok(Ok(opened.finish())),
                Ok(false) => opening = opened,
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    async fn on_pool<T: Send + 'static>(
        &mut self,
        user: &UserName,
        step: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, End> {
        self.ctx.pool.run(user, step).await.map_err(|error| End::Internal(error.to_string()))
    }
}

fn decode(text: &[u8]) -> Result<Vec<u8>, Refusal> {
    STANDARD.decode(text).map_err(|_| Refusal::BAD_BASE64)
}
