//! What a client has enabled (RFC 5161): mod-sequences and VANISHED (RFC 7162 §3.1, §3.2.3). Never taken back.

use imap_proto::{
    Tag,
    write::{self, Code, Status},
};

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
    pub(crate) async fn enable(&mut self, tag: &Tag, capabilities: &[String]) -> Result<(), End> {
        let known = ["CONDSTORE", "QRESYNC"];
        let enabled: Vec<&str> =
            known.into_iter().filter(|name| capabilities.iter().any(|wanted| wanted == name)).collect();
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
            let code = Code::HighestModSeq(selected.view.highest_modseq());
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
        let synced = self.sync(sync).await;
        if matches!(synced, Ok(()) | Err(End::Mailbox(_))) {
            let qresync = self.features.qresync && expunged > 0 && synced.is_ok();
            let highest = self.state.selected().filter(|_| qresync).map(|selected| selected.view.highest_modseq());
            self.ok_with(tag, highest.map(Code::HighestModSeq), text);
        }
        synced
    }
}
