//! A mailbox that tells of itself what another store's did: the last step of a conversion.

use std::sync::Arc;

use mailindex::state::{RawIndexHeader, State};
use mailtypes::{ModSeq, Uid};

use super::{Indexed, change, from_index};
use crate::traits::{Result, Stamp};

impl Indexed {
    /// See [`crate::Mailbox::stamp`].
    pub(super) fn stamp(self: &Arc<Self>, stamp: &Stamp) -> Result<()> {
        let (uid_next, recent_from) = (stamp.uid_next, stamp.recent_from);
        let mut state = self.refresh(false)?;
        if state.next_uid() < uid_next || state.first_recent_uid() != recent_from || !state.has_modseqs() {
            (_, state) = change(&self.name, &self.index, move |at| {
                let (next, transaction) = (at.state().next_uid(), at.transaction());
                if next < uid_next {
                    transaction.header_update(RawIndexHeader::NEXT_UID, &uid_next.value().to_le_bytes());
                }
                transaction.header_update(RawIndexHeader::FIRST_RECENT_UID, &recent_from.value().to_le_bytes());
                transaction.enable_modseqs();
                at.require_sync();
            })?;
        }
        self.files.note_next_uid(self)?;
        if state.highest_modseq() != stamp.highest_modseq || !has_modseqs(&state, &stamp.modseqs) {
            let stamped = self.index.restamp(&stamp.modseqs, stamp.highest_modseq);
            stamped.map_err(|e| from_index(&self.name, &e))?;
        }
        Ok(())
    }
}

fn has_modseqs(state: &State, modseqs: &[(Uid, ModSeq)]) -> bool {
    modseqs.iter().all(|(uid, modseq)| state.record_of(*uid).is_none_or(|record| record.modseq() == *modseq))
}
