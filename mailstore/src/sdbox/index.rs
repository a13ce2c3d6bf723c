//! Opening, making and unmaking a mailbox's index.

use std::{path::Path, sync::Arc};

use mailindex::{
    engine::{self, CommitError, CommitOp, CommitOutcome, CommitPoint, IndexError, MailboxIndex, OpError, completion},
    log::{Origin, Transaction},
    state::{DboxHeader, ExtensionSpec, RawIndexHeader, State},
};
use mailtypes::{Guid, MailboxName, UidValidity};

use super::{Shared, files::Mails, mailbox::OpenMailbox, rebuild};
use crate::{
    indexed::{self, Indexed, PREFIX, from_commit, from_index, lost, new_guid},
    mailbox_list::next_uid_validity,
    traits::{Result, StorageError},
};

/// How often an index is looked at again after something was done about it.
const OPEN_TRIES_MAX: usize = 4;

impl OpenMailbox {
    /// Opens the mailbox in a folder that is there; makes or rebuilds its index if need be.
    pub(super) fn open(shared: &Arc<Shared>, name: &MailboxName, dir: &Path) -> Result<Self> {
        let mails = Arc::new(Mails::new(shared, dir));
        let index = open_index(shared, name, &mails)?;
        let (guid, uid_validity) = match identity(&index.state()) {
            (Some(guid), Some(uid_validity)) => (guid, uid_validity),
            _ => give_identity(shared, name, &index)?,
        };
        // Whoever opens it finds the same.
        let _ = mails.guid.set(guid);
        let limits = shared.options.limits.clone();
        let files = Arc::clone(&mails) as _;
        let indexed = Arc::new(Indexed { name: name.clone(), index, files, guid, uid_validity, limits });
        Ok(Self { shared: Arc::clone(shared), mails, indexed })
    }
}

fn identity(state: &State) -> (Option<Guid>, Option<UidValidity>) {
    let guid = state.dbox_header().map(|header| header.guid).filter(|guid| !guid.is_zero());
    (guid, state.uid_validity())
}

fn open_index(shared: &Shared, name: &MailboxName, mails: &Arc<Mails>) -> Result<Arc<MailboxIndex>> {
    for _ in 0..OPEN_TRIES_MAX {
        match MailboxIndex::open(&shared.env, &mails.dir, PREFIX, Arc::clone(mails) as _) {
            Ok(index) if has_fsck_mark(&index.state()) => {
                drop(index);
                rebuild::rebuild(shared, name, mails)?;
            }
            Ok(index) => return Ok(index),
            Err(IndexError::NotFound { .. }) if !mails.exists()? => return Err(StorageError::NotFound(name.clone())),
            Err(IndexError::NotFound { .. }) if mails.uids()?.is_empty() => {
                let initial = first_transaction(shared)?;
                let made = MailboxIndex::create(&shared.env, &mails.dir, PREFIX, Arc::clone(mails) as _, &initial);
                return made.map_err(|e| from_index(name, &e));
            }
            Err(IndexError::NotFound { .. } | IndexError::NeedsRebuild { .. }) => {
                rebuild::rebuild(shared, name, mails)?;
            }
            Err(e) => return Err(from_index(name, &e)),
        }
    }
    Err(StorageError::Unavailable(format!("the index of {name} changes faster than it can be opened")))
}

/// Dovecot's fsck was here, and leaves it to the next to go over the messages.
fn has_fsck_mark(state: &State) -> bool {
    state.header().flags.get() & RawIndexHeader::FSCKED != 0
}

/// What the log of a new mailbox begins with (`docs/formats/dbox.md`, "Creating a mailbox by hand").
fn first_transaction(shared: &Shared) -> Result<Transaction> {
    let mut transaction = Transaction::new();
    write_guid(&mut transaction, new_guid(shared.fs()));
    write_uid_validity(&mut transaction, next_uid_validity(shared.fs(), shared.layout.control())?);
    // Without this every message has the mailbox's mod-sequence until a client asks for it. It costs nothing in the log.
    transaction.enable_modseqs();
    Ok(transaction)
}

pub(super) fn write_guid(transaction: &mut Transaction, guid: Guid) {
    let header = DboxHeader { guid, ..DboxHeader::default() };
    transaction.ext_header(&ExtensionSpec::DBOX_HDR, 0, &header.encode(), Origin::External);
}

pub(super) fn write_uid_validity(transaction: &mut Transaction, uid_validity: UidValidity) {
    transaction.header_update_before(RawIndexHeader::UID_VALIDITY, &uid_validity.value().to_le_bytes());
}

/// Makes the index of an empty mailbox in a folder that is there, durably.
pub(super) fn make(shared: &Shared, dir: &Path) -> Result<()> {
    let mails = Arc::new(Mails::new(shared, dir));
    let made = MailboxIndex::create(&shared.env, dir, PREFIX, mails, &first_transaction(shared)?);
    made.map(|_| ()).map_err(|e| from_index(&MailboxName::inbox(), &e))
}

/// Whether the mailbox in a folder is marked as deleted.
pub(super) fn is_deleted(shared: &Shared, dir: &Path) -> Result<bool> {
    let mails = Arc::new(Mails::new(shared, dir));
    Ok(indexed::is_deleted(&shared.env, dir, mails))
}

/// Tells everybody who has the mailbox open that it is deleted, durably.
pub(super) fn mark_deleted(shared: &Shared, name: &MailboxName, dir: &Path) -> Result<()> {
    let mails = Arc::new(Mails::new(shared, dir));
    indexed::mark_deleted(&shared.env, name, dir, mails)
}

/// A mailbox that some program made without GUID or UIDVALIDITY gets them.
fn give_identity(shared: &Shared, name: &MailboxName, index: &Arc<MailboxIndex>) -> Result<(Guid, UidValidity)> {
    let guid = Some(new_guid(shared.fs()));
    let uid_validity = Some(next_uid_validity(shared.fs(), shared.layout.control())?);
    let (completer, completion) = completion(index);
    index.enqueue(Box::new(Identify { name: name.clone(), guid, uid_validity, completer: Some(completer) }));
    let state = completion.wait().unwrap_or_else(|| Err(lost()))?;
    match identity(&state) {
        (Some(guid), Some(uid_validity)) => Ok((guid, uid_validity)),
        _ => Err(StorageError::Unavailable(format!("mailbox {name} has no identity"))),
    }
}

struct Identify {
    name: MailboxName,
    guid: Option<Guid>,
    uid_validity: Option<UidValidity>,
    completer: Option<engine::Completer<Result<State>>>,
}

impl CommitOp for Identify {
    fn prepare(&mut self, at: &mut CommitPoint<'_>) -> std::result::Result<(), OpError> {
        let (guid, uid_validity) = identity(at.state());
        if let (None, Some(guid)) = (guid, self.guid) {
            write_guid(at.transaction(), guid);
            at.require_sync();
        }
        if let (None, Some(uid_validity)) = (uid_validity, self.uid_validity) {
            write_uid_validity(at.transaction(), uid_validity);
            at.require_sync();
        }
        Ok(())
    }

    fn done(mut self: Box<Self>, outcome: std::result::Result<&CommitOutcome, Arc<CommitError>>) {
        if let Some(completer) = self.completer.take() {
            completer.complete(outcome.map(|o| State::clone(&o.state)).map_err(|e| from_commit(&self.name, &e)));
        }
    }
}
