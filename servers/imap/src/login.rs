//! LOGIN (RFC 3501 §6.2.3), and what it shares with AUTHENTICATE.

use std::sync::Arc;

use culver_runtime::User;
use imap_proto::{Secret, Tag, write::Code};
use mailstore::StorageError;
use tracing::{info, warn};

use crate::{
    codes::{Target, code_of},
    end::End,
    session::Session,
    state::{Account, State},
};

impl Session {
    pub(crate) async fn login(&mut self, tag: &Tag, name: &[u8], password: Secret) -> Result<(), End> {
        if !matches!(self.state, State::NotAuthenticated) {
            return self.bad(tag, "Already logged in.");
        }
        if !self.ctx.client.may_send_password() {
            return self.privacy_required(tag);
        }
        // A name that is not UTF-8 is nobody's; it fails like any other, with the same delay.
        let name = String::from_utf8_lossy(name).into_owned();
        let logins = self.ctx.logins.clone();
        let mut stop = self.ctx.stop.clone();
        let verified = tokio::select! {
            verified = logins.verify(&self.ctx.client, &name, password.0) => verified,
            () = stop.stopping() => return Err(End::Stopping),
        };
        match verified {
            Ok(Some(user)) => self.enter(tag, user).await,
            Ok(None) => self.login_failed(tag, &name),
            Err(error) => self.login_impossible(tag, &error),
        }
    }

    /// Lets a user in and opens his mail.
    pub(crate) async fn enter(&mut self, tag: &Tag, user: User) -> Result<(), End> {
        let user = user.name;
        let permit = match self.ctx.connections.log_in(&user) {
            Ok(permit) => permit,
            Err(error) => {
                info!(%user, peer = self.ctx.peer.map(tracing::field::display), %error, "login refused");
                return self.no(tag, Some(Code::Limit), "Too many connections of this user.");
            }
        };
        let (storages, owner) = (Arc::clone(&self.ctx.storages), user.clone());
        let pool = self.ctx.pool.clone();
        let opened = pool.run(&user, move || storages.storage_for(&owner)).await;
        match opened.map_err(|error| End::Internal(error.to_string()))? {
            Ok(storage) => {
                self.state = State::Authenticated(Account { user, storage, permit });
                self.wire.forget_login_deadline();
                self.set_limits_of_user();
                let capabilities = self.capabilities();
                self.ok_with(tag, Some(Code::Capability(&capabilities)), "Logged in");
                Ok(())
            }
            Err(error) => self.no_storage(tag, &user, &error),
        }
    }

    pub(crate) fn login_failed(&mut self, tag: &Tag, name: &str) -> Result<(), End> {
        info!(name = %name.escape_debug(), peer = self.ctx.peer.map(tracing::field::display), "login failed");
        self.no(tag, Some(Code::AuthenticationFailed), "Authentication failed.")?;
        self.failed_logins += 1;
        if self.failed_logins >= self.ctx.limits.failed_logins_max {
            return Err(End::Refused("Too many failed logins."));
        }
        Ok(())
    }

    fn no_storage(&mut self, tag: &Tag, user: &culver_runtime::UserName, error: &StorageError) -> Result<(), End> {
        warn!(%user, peer = self.ctx.peer.map(tracing::field::display), %error, "the user's mail cannot be opened");
        self.no(tag, code_of(error, Target::Other), error.client_text())
    }
}
