//! One mailbox's part of a store: where its index lies, and what its messages are called in the map.

use std::{
    path::PathBuf,
    sync::{Arc, OnceLock, Weak},
    time::Duration,
};

use mailfs::FileSystemExt;
use mailindex::{
    engine::{self, LockFor, MailboxIndex, MessageStore, StoreError, StoreLock},
    state::{ExtensionSpec, RecordRef, State},
};
use mailtypes::{Guid, Uid, UidSet};

use super::{Shared, commit::MapCommit};
use crate::mailbox_list::MailboxDirs;

/// See the module.
#[derive(Debug)]
pub(super) struct Mails {
    pub(super) shared: Arc<Shared>,
    dir: PathBuf,
    /// Where the index lies: in the mailbox's folder but where INDEX= says otherwise.
    pub(super) index: PathBuf,
    /// The mailbox's name as folders have it, where messages may be saved.
    pub(super) storage_name: Option<Arc<str>>,
    /// The index, when it is open.
    pub(super) opened: OnceLock<Weak<MailboxIndex>>,
}

/// What a mailbox's index says of where a message is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Referred {
    /// Its number in the map; `None`: the index does not say.
    pub(super) map_uid: Option<Uid>,
    /// When it was put into the mailbox, Unix seconds; 0: not known.
    pub(super) saved: u32,
    pub(super) guid: Option<Guid>,
}

impl Referred {
    pub(super) fn of(state: &State, record: &RecordRef<'_>) -> Self {
        let field = |spec: ExtensionSpec| state.extension_index(spec.name).map(|field| record.field(field));
        let place = field(ExtensionSpec::MDBOX).unwrap_or_default();
        let number = |from: usize| place.get(from..from + 4)?.first_chunk().copied().map(u32::from_le_bytes);
        let guid = field(ExtensionSpec::GUID).and_then(|guid| guid.first_chunk().copied().map(Guid));
        Self {
            map_uid: number(0).and_then(Uid::new),
            saved: number(4).unwrap_or(0),
            guid: guid.filter(|guid| !guid.is_zero()),
        }
    }
}

impl Mails {
    pub(super) fn new(shared: &Arc<Shared>, dirs: &MailboxDirs, storage_name: Option<Arc<str>>) -> Self {
        Self {
            shared: Arc::clone(shared),
            dir: dirs.mail.clone(),
            index: dirs.index.clone(),
            storage_name,
            opened: OnceLock::new(),
        }
    }

    /// Whether the mailbox's folder is there.
    pub(super) fn exists(&self) -> mailfs::Result<bool> {
        self.shared.fs().is_dir(&self.dir)
    }

    /// Whether a message of some state is in the mailbox no more.
    pub(super) fn is_gone(&self, uid: Uid) -> bool {
        let index = self.opened.get().and_then(Weak::upgrade);
        index.is_some_and(|index| index.refresh().is_ok_and(|state| !state.contains(uid)))
    }
}

impl MessageStore for Mails {
    /// Bodies go by purging, when nothing refers to them.
    fn remove(&self, _state: &State, _uids: &UidSet) -> Result<(), StoreError> {
        Ok(())
    }

    fn lock(&self, timeout: Duration, ranked: bool, what_for: LockFor) -> engine::Result<Option<Box<dyn StoreLock>>> {
        if what_for == LockFor::Flags {
            return Ok(None);
        }
        let map = self.shared.map.lock(&self.shared.files, timeout, ranked)?;
        Ok(Some(Box::new(MapCommit::new(&self.shared, map))))
    }

    fn counts_references(&self) -> bool {
        true
    }

    fn index_is_sole_record(&self) -> bool {
        true
    }
}
