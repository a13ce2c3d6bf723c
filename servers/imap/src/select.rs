//! SELECT, EXAMINE, CLOSE, UNSELECT (RFC 3501 §6.3.1, §6.3.2, §6.4.2; RFC 3691; RFC 7162 §3.2.5).

use imap_proto::{
    Mailbox, Qresync, SelectParams, Tag,
    write::{self, Code, Status},
};
use mailstore::{MailStorage, Result as StorageResult, View, ViewAs};
use mailtypes::{MailboxName, Uid, UidSet};

use crate::{codes::Target, end::End, selected::Selected, session::Session, state::State, sync::Sync};

impl Session {
    pub(crate) async fn select(
        &mut self,
        tag: &Tag,
        mailbox: &Mailbox,
        params: SelectParams,
        read_only: bool,
    ) -> Result<(), End> {
        let SelectParams { condstore, qresync } = params;
        if qresync.is_some() && !self.features.qresync {
            return self.bad(tag, "QRESYNC is not enabled.");
        }
        // Whatever comes of it, the mailbox that was selected is not any more.
        if self.state.unselect().is_some() {
            let text = "Previous mailbox closed.";
            write::untagged_status(&mut self.wire.output, Status::Ok, Some(Code::Closed), text);
        }
        if condstore {
            self.enable_condstore();
        }
        let Some(name) = self.name_of(tag, mailbox)? else { return Ok(()) };
        let opened = self.on_storage(move |storage| open(storage, &name, read_only)).await?;
        let (selected, told) = match opened {
            Ok(opened) => opened,
            Err(error) => return self.storage_error(tag, "SELECT", &error, Target::Other),
        };
        self.wire.output.extend_from_slice(&told);
        self.state = match std::mem::replace(&mut self.state, State::Broken) {
            State::Authenticated(account) => State::Selected(account, selected),
            other => other,
        };
        if let Some(qresync) = qresync
            && let Err(error) = self.resynchronize(&qresync).await?
        {
            self.state.unselect();
            return self.storage_error(tag, "SELECT", &error, Target::Other);
        }
        let is_read_only = self.here(|selected, _| selected.read_only)?;
        let (code, text) = match (read_only, is_read_only) {
            (true, _) => (Code::ReadOnly, "Examine completed."),
            (false, true) => (Code::ReadOnly, "Select completed."),
            (false, false) => (Code::ReadWrite, "Select completed."),
        };
        self.ok_with(tag, Some(code), text);
        Ok(())
    }

    /// Tells what changed since the client was last here (RFC 7162 §3.2.5).
    async fn resynchronize(&mut self, qresync: &Qresync) -> Result<StorageResult<()>, End> {
        let known = self.here(|selected, _| {
            let view = &*selected.view;
            (view.uid_validity() == qresync.uid_validity).then(|| {
                let last = view.uid_next().value().saturating_sub(1);
                let known = match &qresync.known_uids {
                    Some(known) => known.resolve(last),
                    None => Uid::new(last).map_or_else(UidSet::new, |last| UidSet::from(Uid::MIN..=last)),
                };
                (known.difference(&matched(view, qresync)), known)
            })
        })?;
        match known {
            Some((gone_among, known)) => self.fetch_changes(qresync.mod_seq, gone_among, known).await,
            None => Ok(Ok(())),
        }
    }

    pub(crate) async fn unselect(&mut self, tag: &Tag) -> Result<(), End> {
        self.state.unselect();
        self.finish(tag, Sync::ALL, "Unselect completed.").await
    }

    /// CHECK: what was put off is written.
    pub(crate) async fn check(&mut self, tag: &Tag) -> Result<(), End> {
        match self.on_selected(|selected, _| selected.mailbox.checkpoint()).await? {
            Ok(()) => self.finish(tag, Sync::ALL, "Check completed.").await,
            Err(error) => self.storage_error(tag, "CHECK", &error, Target::Other),
        }
    }

    /// CLOSE: expunges without telling, then leaves the mailbox. What was put off is written by the last who leaves it.
    pub(crate) async fn close(&mut self, tag: &Tag) -> Result<(), End> {
        let read_only = self.here(|selected, _| selected.read_only)?;
        if !read_only {
            match self.expunge_deleted(None).await? {
                Ok(expunged) => self.counts.expunged += expunged,
                Err(error) => {
                    self.state.unselect();
                    return self.storage_error(tag, "CLOSE", &error, Target::Other);
                }
            }
        }
        self.state.unselect();
        self.ok(tag, "Close completed.");
        Ok(())
    }
}

fn open(storage: &dyn MailStorage, name: &MailboxName, read_only: bool) -> StorageResult<(Box<Selected>, Vec<u8>)> {
    let mailbox = storage.mailbox(name)?;
    let read_only = read_only || mailbox.is_read_only();
    let view = mailbox.view(&ViewAs { takes_recent: !read_only })?;
    let selected = Box::new(Selected::new(mailbox, view, read_only));
    let mut told = Vec::new();
    selected.tell_all(&mut told);
    Ok((selected, told))
}

/// The UIDs up to the last one that the client knows at its right place: of these it knows which are gone (RFC 7162
/// §3.2.5.2).
fn matched(view: &dyn View, qresync: &Qresync) -> UidSet {
    let Some((seqs, uids)) = &qresync.seq_match else { return UidSet::new() };
    // Numbers behind the last message match nothing.
    let (seqs, uids) = (seqs.resolve(u32::MAX), uids.resolve(u32::MAX));
    let pairs = seqs.iter().take(view.message_count() as usize).zip(uids.iter());
    let matching = pairs.filter(|(seq, uid)| view.seq_of(*uid).is_some_and(|place| place.value() == seq.value()));
    matching.map(|(_, uid)| uid).last().map_or_else(UidSet::new, |last| UidSet::from(Uid::MIN..=last))
}
