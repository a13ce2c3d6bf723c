//! COPY, MOVE and their UID forms (RFC 3501 §6.4.7, RFC 6851, RFC 4315 §3).

use std::sync::Arc;

use imap_proto::{
    Mailbox, MessageSet, Tag,
    write::{self, Code, Status},
};
use mailstore::{Batch, Committed, Result as StorageResult, StorageError};
use mailtypes::{UidSet, UidValidity};

use crate::{
    codes::Target,
    end::End,
    expunge::READ_ONLY,
    session::{Session, committed, in_flight},
    store::{BAD_SEQUENCE, uids_of},
    sync::Sync,
};

/// What COPYUID tells.
struct CopyUid {
    uid_validity: UidValidity,
    source: UidSet,
    destination: UidSet,
}

impl CopyUid {
    fn of(committed: &Committed) -> Option<Self> {
        let (source, destination) = committed.copied.iter().copied().unzip();
        let copied = !committed.copied.is_empty();
        copied.then_some(Self { uid_validity: committed.uid_validity, source, destination })
    }

    fn code(&self) -> Code<'_> {
        Code::CopyUid { uid_validity: self.uid_validity, source: &self.source, destination: &self.destination }
    }
}

impl Session {
    pub(crate) async fn copy(&mut self, tag: &Tag, uid: bool, set: &MessageSet, to: &Mailbox) -> Result<(), End> {
        let copied = match self.copy_messages(tag, uid, set, to).await? {
            Some(Ok(copied)) => copied,
            Some(Err(error)) => return self.storage_error(tag, "COPY", &error, Target::Destination),
            None => return Ok(()),
        };
        let code = copied.as_ref().map(CopyUid::code);
        self.finish_with(tag, Sync { with_uid: uid, ..Sync::ALL }, code, "Copy completed.").await
    }

    /// MOVE: the copies are durable before the originals go, so that a crash between the two leaves both.
    pub(crate) async fn move_messages(
        &mut self,
        tag: &Tag,
        uid: bool,
        set: &MessageSet,
        to: &Mailbox,
    ) -> Result<(), End> {
        if self.here(|selected, _| selected.read_only)? {
            return self.no(tag, Some(Code::ReadOnly), READ_ONLY);
        }
        let copied = match self.copy_messages(tag, uid, set, to).await? {
            Some(Ok(copied)) => copied,
            Some(Err(error)) => return self.storage_error(tag, "MOVE", &error, Target::Destination),
            None => return Ok(()),
        };
        if let Some(copied) = copied {
            // RFC 6851 §4.3: before the first EXPUNGE.
            write::untagged_status(&mut self.wire.output, Status::Ok, Some(copied.code()), "Moved UIDs.");
            let gone = copied.source;
            let submitted =
                self.on_selected(move |selected, _| selected.mailbox.submit(Batch::new().expunge(gone)).map(in_flight));
            let outcome = match submitted.await? {
                Ok(commit) => committed(commit).await,
                Err(error) => Err(error),
            };
            match outcome {
                Ok(committed) => self.counts.expunged += committed.expunged.count(),
                Err(error) => return self.storage_error(tag, "MOVE", &error, Target::Other),
            }
        }
        self.finish(tag, Sync { with_uid: uid, ..Sync::ALL }, "Move completed.").await
    }

    /// Copies. `None` if the command was answered already.
    async fn copy_messages(
        &mut self,
        tag: &Tag,
        uid: bool,
        set: &MessageSet,
        to: &Mailbox,
    ) -> Result<Option<StorageResult<Option<CopyUid>>>, End> {
        let Some(uids) = self.here(|selected, _| uids_of(selected, uid, set))? else {
            return self.bad(tag, BAD_SEQUENCE).map(|()| None);
        };
        if uids.is_empty() {
            // Whether the other mailbox is there does not matter then.
            return Ok(Some(Ok(None)));
        }
        let Some(to) = self.name_of(tag, to)? else { return Ok(None) };
        let (_, storage) = self.account()?;
        let submitted = self.on_selected(move |selected, _| -> Result<_, StorageError> {
            let destination = storage.mailbox(&to)?;
            let batch = Batch::new().copy(Arc::clone(&selected.mailbox), uids);
            destination.submit(batch).map(in_flight)
        });
        let outcome = match submitted.await? {
            Ok(commit) => committed(commit).await,
            Err(error) => Err(error),
        };
        Ok(Some(outcome.map(|committed| {
            self.counts.copied += committed.copied.len() as u64;
            CopyUid::of(&committed)
        })))
    }
}
