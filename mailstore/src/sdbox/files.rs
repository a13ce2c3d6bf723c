//! The message files of one mailbox, and the temporary ones.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use mailfs::{FileHandle, FileSystem, FileSystemExt};
use mailindex::{
    engine::{MessageStore, StoreError},
    state::State,
};
use mailtypes::{Uid, UidSet};

use super::{Shared, attached};
use crate::{
    dbox::DboxMessage,
    mailbox_list::{MailboxDirs, Rights},
    traits::{Result, StorageError},
};

/// What names of messages on their way in begin with; Dovecot cleans up after us if we do not.
const TEMP_PREFIX: &str = ".temp.";

/// Temporary files of that age belong to nobody any more.
const TEMP_AGE_MAX: Duration = Duration::from_secs(36 * 3600);

/// Where a mailbox's messages lie.
#[derive(Debug)]
pub(super) struct Mails {
    pub(super) shared: Arc<Shared>,
    pub(super) dir: PathBuf,
    /// Where the index lies: with the messages but where INDEX= says otherwise.
    pub(super) index: PathBuf,
    /// Where attachments lie that are detached from their messages, if anywhere.
    pub(super) attachments: Option<Arc<Path>>,
}

impl Mails {
    pub(super) fn new(shared: &Arc<Shared>, dirs: &MailboxDirs) -> Self {
        Self {
            shared: Arc::clone(shared),
            dir: dirs.mail.clone(),
            index: dirs.index.clone(),
            attachments: shared.options.attachments.as_deref().map(Arc::from),
        }
    }

    pub(super) fn fs(&self) -> &Arc<dyn FileSystem> {
        self.shared.env.fs()
    }

    pub(super) fn path(&self, uid: Uid) -> PathBuf {
        self.dir.join(format!("u.{uid}"))
    }

    /// Opens a message; one whose file is not there is `Expunged`.
    pub(super) fn open(&self, uid: Uid) -> Result<DboxMessage> {
        let path = self.path(uid);
        match DboxMessage::open(&**self.fs(), &path) {
            Err(crate::dbox::DboxError::Fs(e)) if e.is_not_found() => Err(StorageError::Expunged { uid }),
            other => other.map_err(|e| e.at(&path)),
        }
    }

    /// Whether a whole message lies in a file.
    pub(super) fn is_whole(&self, path: &Path) -> bool {
        DboxMessage::open(&**self.fs(), path).is_ok_and(|message| message.metadata().is_ok())
    }

    /// Makes a new file for a message on its way in.
    pub(super) fn create_temp(&self) -> mailfs::Result<(PathBuf, FileHandle)> {
        let now = self.fs().now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut random = [0; 4];
        self.fs().random(&mut random);
        let name = format!(
            "{TEMP_PREFIX}{}.P{}Q{}M{}.{}",
            now.as_secs(),
            self.fs().process_id(),
            u32::from_le_bytes(random),
            now.subsec_micros(),
            self.fs().host_name()
        );
        let path = self.dir.join(name);
        let file = Rights::of(&**self.fs(), &self.dir)?.create(&**self.fs(), &path)?;
        Ok((path, file))
    }

    /// The UIDs that message files are named by, ascending.
    pub(super) fn uids(&self) -> mailfs::Result<Vec<Uid>> {
        let mut uids: Vec<Uid> = Vec::new();
        for entry in self.fs().read_dir(&self.dir)? {
            let number = entry.name.to_str().and_then(|name| name.strip_prefix("u."));
            // Only the way we write numbers: `u.07` is no name of a message.
            let uid = number.and_then(|n| n.parse().ok().filter(|uid: &u32| uid.to_string() == n)).and_then(Uid::new);
            uids.extend(uid.filter(|uid| *uid <= Uid::MAX_ON_DISK));
        }
        uids.sort_unstable();
        Ok(uids)
    }

    /// Removes temporary files that were left behind; tells how many.
    pub(super) fn clean_temps(&self) -> mailfs::Result<u64> {
        let mut removed = 0;
        for path in self.old_temps()? {
            match self.fs().unlink(&path) {
                Err(e) if !e.is_not_found() => return Err(e),
                _ => removed += 1,
            }
        }
        Ok(removed)
    }

    /// Temporary files that belong to nobody any more.
    pub(super) fn old_temps(&self) -> mailfs::Result<Vec<PathBuf>> {
        let mut old = Vec::new();
        for entry in self.fs().read_dir(&self.dir)? {
            let temporary =
                entry.name.to_str().is_some_and(|n| n.starts_with(TEMP_PREFIX) || n.starts_with(mailfs::TEMP_PREFIX));
            if !temporary {
                continue;
            }
            let path = self.dir.join(&entry.name);
            let age = self.fs().metadata(&path)?.and_then(|m| self.fs().now().duration_since(m.modified).ok());
            if age.is_some_and(|age| age > TEMP_AGE_MAX) {
                old.push(path);
            }
        }
        Ok(old)
    }

    /// Whether the folder is still there.
    pub(super) fn exists(&self) -> mailfs::Result<bool> {
        self.fs().is_dir(&self.dir)
    }
}

impl MessageStore for Mails {
    fn remove(&self, state: &State, uids: &UidSet) -> std::result::Result<(), StoreError> {
        for uid in uids.iter() {
            let attached = attached::files_of(self, state, uid);
            match self.fs().unlink(&self.path(uid)) {
                Err(e) if !e.is_not_found() => return Err(e.into()),
                _ => attached::remove(&**self.fs(), &attached),
            }
        }
        Ok(())
    }
}
