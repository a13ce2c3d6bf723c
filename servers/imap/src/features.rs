//! What a client has enabled (RFC 5161): mod-sequences and VANISHED (RFC 7162 §3.1, §3.2.3). Never taken back.

use imap_proto::{
    Atom, Tag,
    write::{self, Code, Status},
};
use mailtypes::ModSeq;

use crate::{end::End, session::Session, sync::Sync};

/// What a client has enabled.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Features {
    /// FETCH responses that were not asked for have UID and MODSEQ (RFC 7162 §3.2.4).
    pub(crate) condstore: bool,
    /// VANISHED takes the place of EXPUNGE; SELECT may resynchronize. Never without `condstore`.
    pub(crate) qresync: bool,
}

impl Session {
    /// ENABLE. What is not known, or cannot be enabled, is passed over.
    pub(crate) async fn enable(&mut self, tag: &Tag, capabilities: &[Atom]) -> Result<(), End> {
        let known = ["CONDSTORE", "QRESYNC"];
        let enabled: Vec<&str> =
            known.into_iter().filter(|name| capabilities.iter().any(|wanted| wanted.as_str() == *name)).collect();
        write::enabled(&mut self.wire.output, &enabled);
        if !enabled.is_empty() {
            self.enable_condstore();
        }
        self.features.qresync |= enabled.contains(&"QRESYNC");
        self.finish(tag, Sync::ALL, "Enabled.").await
    }

    /// A command that shows that the client knows of mod-sequences (RFC 7162 §3.1). If a mailbox is selected, the client
    /// learns from where on it is told of every change with its mod-sequence.
    pub(crate) fn enable_condstore(&mut self) {
        if std::mem::replace(&mut self.features.condstore, true) {
            return;
        }
        if let Some(selected) = self.state.selected() {
            let code = Code::HighestModSeq(selected.complete_modseq());
            write::untagged_status(&mut self.wire.output, Status::Ok, Some(code), "Highest");
        }
    }

    /// OK of a command that expunged messages; with QRESYNC the client is told up to where it has seen all changes
    /// (RFC 7162 §3.2.7, RFC 6851 §4.4).
    pub(crate) async fn finish_expunge(
        &mut self,
        tag: &Tag,
        sync: Sync,
        expunged: u64,
        text: &'static str,
    ) -> Result<(), End> {
        self.counts.expunged += expunged;
        let mut synced = self.sync(sync).await;
        if let Ok(highest @ None) = &mut synced
            && self.features.qresync
            && expunged > 0
        {
            *highest = self.state.selected().map(|selected| selected.complete_modseq());
        }
        self.answer_synced(tag, synced, None, text)
    }

    /// OK, with what a sync found is to be told as HIGHESTMODSEQ. What was done is acknowledged even where the selected
    /// mailbox turned out to be gone.
    pub(crate) fn answer_synced(
        &mut self,
        tag: &Tag,
        synced: Result<Option<ModSeq>, End>,
        code: Option<Code<'_>>,
        text: &'static str,
    ) -> Result<(), End> {
        match synced {
            Ok(highest) => {
                // One response has one code (RFC 3501 §7.1).
                if code.is_some() {
                    self.tell_highest(highest);
                }
                self.ok_with(tag, code.or(highest.map(Code::HighestModSeq)), text);
                Ok(())
            }
            Err(end @ End::Mailbox(_)) => {
                self.ok_with(tag, code, text);
                Err(end)
            }
            Err(end) => Err(end),
        }
    }

    /// HIGHESTMODSEQ where no OK of a command can bear it.
    pub(crate) fn tell_highest(&mut self, highest: Option<ModSeq>) {
        if let Some(highest) = highest {
            let code = Code::HighestModSeq(highest);
            write::untagged_status(&mut self.wire.output, Status::Ok, Some(code), "Highest");
        }
    }
}
