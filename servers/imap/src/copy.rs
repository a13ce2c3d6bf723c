//! COPY, MOVE and their UID forms (RFC 3501 §6.4.7, RFC 6851, RFC 4315 §3).

use std::sync::Arc;

use imap_proto::{
    Mailbox, MessageSet, Tag,
    write::{self, Code, Status},
};
use mailstore::{Batch, Committed, Mailbox as StoredMailbox, Result as StorageResult, StorageError};
use mailtypes::{Uid, UidSet, UidValidity};

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
    /// Where the copies are.
    mailbox: Arc<dyn StoredMailbox>,
    uid_validity: UidValidity,
    pairs: Vec<(Uid, Uid)>,
    source: UidSet,
    destination: UidSet,
}

impl CopyUid {
    /// `None` if nothing was copied.
    fn new(mailbox: Arc<dyn StoredMailbox>, uid_validity: UidValidity, pairs: Vec<(Uid, Uid)>) -> Option<Self> {
        let (source, destination) = pairs.iter().copied().unzip();
        (!pairs.is_empty()).then_some(Self { mailbox, uid_validity, pairs, source, destination })
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

    /// MOVE: the copies are durable before the originals go, so that a crash between the two leaves both. Of several
    /// sessions that move a message at once, the one whose expunge of the original counts keeps its copy; the others
    /// take theirs back. So there is one in the end, as if they had moved it one after the other.
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
        let mut moved = 0;
        if let Some(copied) = copied {
            let originals = copied.source.clone();
            let expunged = match self.expunge_from(None, originals).await? {
                Ok(committed) => committed.expunged,
                Err(error) => return self.storage_error(tag, "MOVE", &error, Target::Other),
            };
            moved = expunged.count();
            let copied = match self.take_back(copied, &expunged).await? {
                Ok(copied) => copied,
                Err(error) => return self.storage_error(tag, "MOVE", &error, Target::Other),
            };
            if let Some(copied) = copied {
                // RFC 6851 §4.3: before the first EXPUNGE.
                write::untagged_status(&mut self.wire.output, Status::Ok, Some(copied.code()), "Moved UIDs.");
            }
        }
        self.finish_expunge(tag, Sync { with_uid: uid, ..Sync::ALL }, moved, "Move completed.").await
    }

    /// Expunges messages of a mailbox, or of the selected one.
    async fn expunge_from(
        &mut self,
        mailbox: Option<Arc<dyn StoredMailbox>>,
        uids: UidSet,
    ) -> Result<StorageResult<Committed>, End> {
        let submitted = self.on_selected(move |selected, _| {
            let mailbox = mailbox.as_ref().unwrap_or(&selected.mailbox);
            mailbox.submit(Batch::new().expunge(uids)).map(in_flight)
        });
        Ok(match submitted.await? {
            Ok(commit) => committed(commit).await,
            Err(error) => Err(error),
        })
    }

    /// Takes back the copies of messages that somebody else expunged first. `None` if none is left.
    async fn take_back(&mut self, copied: CopyUid, expunged: &UidSet) -> Result<StorageResult<Option<CopyUid>>, End> {
        let (lost, kept): (Vec<_>, Vec<_>) =
            copied.pairs.into_iter().partition(|(source, _)| !expunged.contains(*source));
        if !lost.is_empty() {
            let copies = lost.into_iter().map(|(_, copy)| copy).collect();
            if let Err(error) = self.expunge_from(Some(Arc::clone(&copied.mailbox)), copies).await? {
                return Ok(Err(error));
            }
        }
        Ok(Ok(CopyUid::new(copied.mailbox, copied.uid_validity, kept)))
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
            let commit = destination.submit(batch).map(in_flight)?;
            Ok((destination, commit))
        });
        let outcome = match submitted.await? {
            Ok((destination, commit)) => committed(commit).await.map(|committed| (destination, committed)),
            Err(error) => Err(error),
        };
        Ok(Some(outcome.map(|(destination, committed)| {
            self.counts.copied += committed.copied.len() as u64;
            CopyUid::new(destination, committed.uid_validity, committed.copied)
        })))
    }
}
