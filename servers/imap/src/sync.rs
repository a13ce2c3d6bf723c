//! Telling a client what others did, at a command's end.

use std::sync::Arc;

use mailstore::{Expunges, StorageError};
use mailtypes::ModSeq;
use tracing::{debug, warn};

use crate::{
    end::End,
    selected::{Selected, Telling},
    session::Session,
};

/// What a command's end may tell.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Sync {
    /// Whether EXPUNGE may be told.
    pub(crate) expunges: Expunges,
    /// Whether FETCH responses have a UID (RFC 3501 §6.4.8: those that a UID command caused).
    pub(crate) with_uid: bool,
}

impl Sync {
    /// After commands that are not about sequence numbers.
    pub(crate) const ALL: Self = Self { expunges: Expunges::Apply, with_uid: false };

    /// After FETCH, STORE, SEARCH: no EXPUNGE, unless the command was about UIDs (RFC 3501 §7.4.1).
    pub(crate) fn after_message_command(uid: bool) -> Self {
        Self { expunges: if uid { Expunges::Apply } else { Expunges::Hold }, with_uid: uid }
    }
}

impl Session {
    /// Looks for changes of the selected mailbox, if there is one, and tells them, in steps. What it gives is to be told as
    /// HIGHESTMODSEQ.
    pub(crate) async fn sync(&mut self, what: Sync) -> Result<Option<ModSeq>, End> {
        let Some(selected) = self.state.selected() else { return Ok(None) };
        if selected.is_up_to_date(what.expunges) {
            selected.forget_known();
        } else {
            self.tell_changes(what).await?;
        }
        let highest = self.state.selected().and_then(Selected::highest_to_tell);
        Ok(highest.filter(|_| self.features.qresync))
    }

    async fn tell_changes(&mut self, what: Sync) -> Result<(), End> {
        let step_len = self.ctx.limits.output_step_len;
        let telling = Telling::new(what.with_uid, self.features);
        let (_, storage) = self.account()?;
        let mut synced = false;
        loop {
            let storage = Arc::clone(&storage);
            let step = move |selected: &mut Selected, out: &mut Vec<u8>| {
                // What an earlier look brought is told first.
                let looks = !synced && !selected.has_untold();
                if looks {
                    selected.sync_following(&*storage, what.expunges)?;
                }
                Ok((synced || looks, selected.tell(telling, step_len, out)?))
            };
            match self.on_selected(step).await? {
                Ok((true, false)) => return Ok(()),
                Ok((looked, _)) => {
                    synced = looked;
                    self.wire.flush().await?;
                }
                Err(error @ (StorageError::Deleted(_) | StorageError::Moved(_))) => return Err(End::Mailbox(error)),
                Err(error) => {
                    // The command itself was carried out; the next sync may succeed.
                    warn!(user = %self.user_for_log(), %error, "cannot look for changes of the selected mailbox");
                    return Ok(());
                }
            }
        }
    }

    /// After an error of a step with the selected mailbox, whether the step is to be tried again: somebody has renamed the
    /// mailbox, and now it is there under its new name.
    pub(crate) async fn has_followed(&mut self, error: &StorageError) -> Result<bool, End> {
        if !matches!(error, StorageError::Deleted(_)) {
            return Ok(false);
        }
        let (_, storage) = self.account()?;
        let followed = self.on_selected(move |selected, _| selected.follow_renamed(&*storage)).await?;
        Ok(followed.unwrap_or_else(|error| {
            debug!(user = %self.user_for_log(), %error, "the selected mailbox cannot be followed");
            false
        }))
    }
}
