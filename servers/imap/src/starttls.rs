//! STARTTLS (RFC 3501 §6.2.1).
//!
//! What came in the clear behind the command, before the handshake, was perhaps put there by somebody else and would be
//! taken for the client's own (CVE-2011-0411): a connection on which there is any ends.

use imap_proto::Tag;
use tracing::info;

use crate::{end::End, session::Session, state::State};

impl Session {
    pub(crate) async fn starttls(&mut self, tag: &Tag) -> Result<(), End> {
        if !matches!(self.state, State::NotAuthenticated) {
            return self.bad(tag, "Already logged in.");
        }
        if self.ctx.client.tls.is_some() {
            return self.bad(tag, "TLS is already active.");
        }
        let Some(tls) = self.ctx.starttls.clone() else {
            return self.bad(tag, "TLS is not available.");
        };
        if !self.wire.input().is_empty() {
            info!(peer = self.ctx.peer.map(tracing::field::display), "bytes in the clear behind STARTTLS");
            return Err(End::Refused("Nothing may follow STARTTLS before the handshake."));
        }
        self.ok(tag, "Begin TLS negotiation now.");
        self.wire.flush().await?;
        let tls = self.wire.start_tls(&tls).await?;
        self.ctx.client.tls = Some(tls);
        Ok(())
    }
}
