//! COPY, MOVE and their UID forms (RFC 3501 §6.4.7, RFC 6851, RFC 4315 §3).

use std::sync::Arc;

use imap_proto::{
    Mailbox, MessageSet, Tag,
    write::{self, Code, Status},
};
use mailstore::{Batch, Committed, Mailbox as StoredMailbox, Result as StorageResult, StorageError};
use mailtypes::{MailboxName, Uid, UidSet, UidValidity};

use crate::{
    codes::{EXPUNGED, Target},
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

/// How the copying went.
enum Outcome {
    /// All that was named was copied; or what is left of it, where that is enough. `None`: nothing was.
    Copied(Option<CopyUid>),
    /// Some of what was named is gone, and nothing was copied.
    Expunged,
    Failed(StorageError),
    /// The command was answered already.
    Answered,
}

/// What is done with messages that somebody has expunged and that still have their numbers here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Gone {
    /// The command fails, and does nothing (RFC 2180 §4.4.1).
    Refuse,
    /// The others are copied.
    PassOver,
}

impl Session {
    pub(crate) async fn copy(&mut self, tag: &Tag, uid: bool, set: &MessageSet, to: &Mailbox) -> Result<(), End> {
        let sync = Sync { with_uid: uid, ..Sync::ALL };
        match self.copy_messages(tag, uid, set, to, Gone::Refuse).await? {
            Outcome::Copied(copied) => {
                let code = copied.as_ref().map(CopyUid::code);
                self.finish_with(tag, sync, code, "Copy completed.").await
            }
            Outcome::Expunged => self.refuse_expunged(tag, sync).await,
            Outcome::Failed(error) => self.storage_error(tag, "COPY", &error, Target::Destination),
            Outcome::Answered => Ok(()),
        }
    }

    /// MOVE: the copies are durable before the originals go, so that a crash between the two leaves both. Of several
    /// sessions that move a message at once, the one whose expunge of the original counts keeps its copy; the others
    /// take theirs back. So there is one in the end, as if they had moved it one after the other.
    ///
    /// UID MOVE passes over what is gone (RFC 3501 §6.4.8), MOVE fails as COPY does.
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
        let sync = Sync { with_uid: uid, ..Sync::ALL };
        let gone = if uid { Gone::PassOver } else { Gone::Refuse };
        let copied = match self.copy_messages(tag, uid, set, to, gone).await? {
            Outcome::Copied(Some(copied)) => copied,
            Outcome::Copied(None) => return self.finish(tag, sync, "Move completed.").await,
            Outcome::Expunged => return self.refuse_expunged(tag, sync).await,
            Outcome::Failed(error) => return self.storage_error(tag, "MOVE", &error, Target::Destination),
            Outcome::Answered => return Ok(()),
        };
        let expunged = match self.expunge_originals(copied.source.clone()).await? {
            Ok(committed) => committed.expunged,
            Err(error) => return self.storage_error(tag, "MOVE", &error, Target::Other),
        };
        match self.take_back(copied, &expunged).await? {
            // RFC 6851 §4.3: before the first EXPUNGE.
            Ok(Some(moved)) => {
                write::untagged_status(&mut self.wire.output, Status::Ok, Some(moved.code()), "Moved UIDs.");
            }
            // Others were faster with all of them.
            Ok(None) if gone == Gone::Refuse => return self.refuse_expunged(tag, sync).await,
            Ok(None) => {}
            Err(error) => return self.storage_error(tag, "MOVE", &error, Target::Other),
        }
        self.finish_expunge(tag, sync, expunged.count(), "Move completed.").await
    }

    /// Expunges what was copied.
    async fn expunge_originals(&mut self, uids: UidSet) -> Result<StorageResult<Committed>, End> {
        match self.expunge_from(None, uids.clone()).await? {
            Err(error) if self.has_followed(&error).await? => self.expunge_from(None, uids).await,
            other => Ok(other),
        }
    }

    /// Tells what is gone, then that this is why nothing was copied.
    async fn refuse_expunged(&mut self, tag: &Tag, sync: Sync) -> Result<(), End> {
        let highest = self.sync(sync).await?;
        self.tell_highest(highest);
        self.no(tag, Some(Code::ExpungeIssued), EXPUNGED)
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

    async fn copy_messages(
        &mut self,
        tag: &Tag,
        uid: bool,
        set: &MessageSet,
        to: &Mailbox,
        gone: Gone,
    ) -> Result<Outcome, End> {
        let Some(uids) = self.here(|selected, _| uids_of(selected, uid, set))? else {
            self.bad(tag, BAD_SEQUENCE)?;
            return Ok(Outcome::Answered);
        };
        if uids.is_empty() {
            // Whether the other mailbox is there does not matter then.
            return Ok(Outcome::Copied(None));
        }
        let Some(to) = self.name_of(tag, to)? else { return Ok(Outcome::Answered) };
        let copied = match self.commit_copy(uids.clone(), to.clone()).await? {
            Err(error) if self.has_followed(&error).await? => self.commit_copy(uids.clone(), to).await?,
            other => other,
        };
        let copied = match copied {
            Ok(copied) => copied,
            Err(error) => return Ok(Outcome::Failed(error)),
        };
        let count = copied.as_ref().map_or(0, |copied| copied.source.count());
        if gone == Gone::Refuse && count < uids.count() {
            if let Some(copied) = copied
                && let Err(error) = self.take_back(copied, &UidSet::new()).await?
            {
                return Ok(Outcome::Failed(error));
            }
            return Ok(Outcome::Expunged);
        }
        self.counts.copied += count;
        Ok(Outcome::Copied(copied))
    }

    async fn commit_copy(&mut self, uids: UidSet, to: MailboxName) -> Result<StorageResult<Option<CopyUid>>, End> {
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
        Ok(outcome.map(|(destination, committed)| CopyUid::new(destination, committed.uid_validity, committed.copied)))
    }
}
