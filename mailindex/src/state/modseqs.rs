//! A state with other mod-sequences than its log gave.

use std::sync::Arc;

use mailtypes::{ModSeq, Uid};

use super::State;

impl State {
    /// The same mailbox with these mod-sequences of messages and this counter. Messages that are not named, and UIDs that
    /// are not there, are left alone; so are all messages where none has a modseq of its own ([`State::has_modseqs`]).
    /// `modseqs` ascend by UID. Linear in messages and names.
    pub(crate) fn with_modseqs(&self, modseqs: &[(Uid, ModSeq)], counter: ModSeq) -> Self {
        let mut inner = (*self.0).clone();
        inner.modseq = counter.value();
        inner.modseq_known = true;
        let Some(field) = inner.modseq_field() else { return inner.finish() };
        // What a zero means is about to change.
        let of_zero = inner.modseq_of_zero();
        let mut named = modseqs.iter().peekable();
        for chunk in &mut inner.chunks {
            let chunk = Arc::make_mut(chunk);
            for at in 0..chunk.len() {
                let uid = chunk.uids.get(at).copied().unwrap_or(0);
                while named.next_if(|(named, _)| named.value() < uid).is_some() {}
                let own = chunk.field(field, at).first_chunk::<8>().map_or(0, |own| u64::from_le_bytes(*own));
                let own = if own == 0 { of_zero } else { own };
                let modseq = named.next_if(|(named, _)| named.value() == uid).map_or(own, |(_, modseq)| modseq.value());
                chunk.fill_u64(field, at..at + 1, modseq);
            }
        }
        inner.finish()
    }
}
