//! The message files of one mailbox, and the temporary ones.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, UNIX_EPOCH},
};

use mailfs::{FileHandle, FileSystem, FileSystemExt};
use mailindex::{
    engine::{MessageStore, StoreError},
    state::{RecordFlags, State},
};
use mailtypes::{Uid, UidSet};

use super::{Shared, attached};
use crate::{
    dbox::DboxMessage,
    mailbox_list::{MailboxDirs, Rights, alternate_is_there},
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
    /// Where those lie that were moved to alternate storage, if there is one; the folder may be missing.
    pub(super) alt: Option<PathBuf>,
    /// That folder is known to be there for good.
    alt_is_durable: AtomicBool,
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
            alt: dirs.alt.clone(),
            alt_is_durable: AtomicBool::new(false),
            index: dirs.index.clone(),
            attachments: shared.options.attachments.as_deref().map(Arc::from),
        }
    }

    pub(super) fn fs(&self) -> &Arc<dyn FileSystem> {
        self.shared.env.fs()
    }

    /// Its file in primary storage, where new messages come.
    pub(super) fn path(&self, uid: Uid) -> PathBuf {
        self.dir.join(file_name(uid))
    }

    /// Its file in alternate storage.
    pub(super) fn alt_path(&self, uid: Uid) -> Option<PathBuf> {
        Some(self.alt.as_ref()?.join(file_name(uid)))
    }

    /// Where its file may be, in the order in which it is looked for: in primary storage first, and there again, for it
    /// may have been on its way back.
    fn places(&self, uid: Uid) -> impl Iterator<Item = PathBuf> {
        let again = self.alt_path(uid).map(|alt| [alt, self.path(uid)]);
        [self.path(uid)].into_iter().chain(again.into_iter().flatten())
    }

    /// Opens a message, and tells where it is; one whose file is not there is `Expunged`.
    pub(super) fn open_placed(&self, uid: Uid) -> Result<(DboxMessage, PathBuf)> {
        for path in self.places(uid) {
            match DboxMessage::open(&**self.fs(), &path) {
                Err(crate::dbox::DboxError::Fs(e)) if e.is_not_found() => {}
                Err(e) => return Err(e.at(&path)),
                Ok(message) => return Ok((message, path)),
            }
        }
        Err(StorageError::Expunged { uid })
    }

    /// Opens a message; one whose file is not there is `Expunged`.
    pub(super) fn open(&self, uid: Uid) -> Result<DboxMessage> {
        Ok(self.open_placed(uid)?.0)
    }

    /// Whether a whole message lies in a file.
    pub(super) fn is_whole(&self, path: &Path) -> bool {
        DboxMessage::open(&**self.fs(), path).is_ok_and(|message| message.metadata().is_ok())
    }

    /// Makes a new file for a message on its way in.
    pub(super) fn create_temp(&self) -> mailfs::Result<(PathBuf, FileHandle)> {
        self.create_temp_in(&self.dir)
    }

    /// The same in the folder of either storage, which must be there.
    pub(super) fn create_temp_in(&self, dir: &Path) -> mailfs::Result<(PathBuf, FileHandle)> {
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
        let path = dir.join(name);
        let file = Rights::of(&**self.fs(), dir)?.create(&**self.fs(), &path)?;
        Ok((path, file))
    }

    /// The folder of alternate storage, made with those above it if they are missing.
    pub(super) fn make_alt(&self) -> Result<&Path> {
        let Some(alt) = &self.alt else {
            return Err(StorageError::NotPossible("The store has no alternate storage"));
        };
        if self.alt_is_durable.load(Ordering::Acquire) && self.fs().is_dir(alt)? {
            return Ok(alt);
        }
        let there = self.fs().is_dir(alt)?;
        Rights::of(&**self.fs(), &self.dir)?.create_dirs(&**self.fs(), alt)?;
        if there {
            // Whoever made them may not have come to sync them all.
            let root = self.shared.alt_link.as_ref().map_or(alt.as_path(), |(root, _)| root.as_path());
            for dir in alt.ancestors().skip(1).take_while(|dir| dir.starts_with(root)) {
                self.fs().sync_dir(dir)?;
            }
            // The folder that the root lies in may be closed to us, and then it was not us who made the root.
            let _ = root.parent().map(|above| self.fs().sync_dir(above));
        }
        self.link_alt();
        self.alt_is_durable.store(true, Ordering::Release);
        Ok(alt)
    }

    /// Notes for Dovecot where alternate storage is, as it does itself. Nothing depends on it.
    fn link_alt(&self) {
        let Some((root, link)) = &self.shared.alt_link else { return };
        match self.fs().symlink(root, link) {
            Err(e) if !e.is_already_exists() => tracing::debug!("not noted for Dovecot: {e}"),
            _ => {}
        }
    }

    /// Of messages whose files are in neither storage, those that may be in alternate storage nevertheless, for it cannot
    /// be looked into.
    pub(super) fn perhaps_alt(&self, state: &State, missing: &UidSet) -> mailfs::Result<UidSet> {
        let is_there = match &self.shared.alt_link {
            Some((root, _)) => alternate_is_there(&**self.fs(), root)?,
            None => false,
        };
        if is_there || missing.is_empty() {
            return Ok(UidSet::new());
        }
        let moved = state.records_from(0).filter(|record| record.record_flags().contains(RecordFlags::ALT));
        Ok(moved.map(|record| record.uid()).filter(|uid| missing.contains(*uid)).collect())
    }

    /// The UIDs that message files are named by in either storage, ascending.
    pub(super) fn uids(&self) -> mailfs::Result<Vec<Uid>> {
        let mut uids = self.uids_in(&self.dir)?;
        uids.extend(self.alt_uids()?);
        uids.sort_unstable();
        uids.dedup();
        Ok(uids)
    }

    /// Those in alternate storage.
    pub(super) fn alt_uids(&self) -> mailfs::Result<Vec<Uid>> {
        let Some(alt) = &self.alt else { return Ok(Vec::new()) };
        match self.uids_in(alt) {
            Err(e) if e.is_not_found() => Ok(Vec::new()),
            other => other,
        }
    }

    fn uids_in(&self, dir: &Path) -> mailfs::Result<Vec<Uid>> {
        let mut uids: Vec<Uid> = Vec::new();
        for entry in self.fs().read_dir(dir)? {
            let number = entry.name.to_str().and_then(|name| name.strip_prefix("u."));
            // Only the way we write numbers: `u.07` is no name of a message.
            let uid = number.and_then(|n| n.parse().ok().filter(|uid: &u32| uid.to_string() == n)).and_then(Uid::new);
            uids.extend(uid.filter(|uid| *uid <= Uid::MAX_ON_DISK));
        }
        uids.sort_unstable();
        Ok(uids)
    }

    /// Removes temporary files that were left behind in either storage; tells how many.
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
        let mut old = match self.alt.as_deref().map(|alt| self.old_temps_in(alt)) {
            Some(Err(e)) if !e.is_not_found() => return Err(e),
            Some(Ok(old)) => old,
            _ => Vec::new(),
        };
        old.extend(self.old_temps_in(&self.dir)?);
        Ok(old)
    }

    fn old_temps_in(&self, dir: &Path) -> mailfs::Result<Vec<PathBuf>> {
        let mut old = Vec::new();
        for entry in self.fs().read_dir(dir)? {
            let temporary =
                entry.name.to_str().is_some_and(|n| n.starts_with(TEMP_PREFIX) || n.starts_with(mailfs::TEMP_PREFIX));
            if !temporary {
                continue;
            }
            let path = dir.join(&entry.name);
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

fn file_name(uid: Uid) -> String {
    format!("u.{uid}")
}

impl MessageStore for Mails {
    fn index_is_sole_record(&self) -> bool {
        true
    }

    fn remove(&self, state: &State, uids: &UidSet) -> std::result::Result<(), StoreError> {
        for uid in uids.iter() {
            let attached = attached::files_of(self, state, uid);
            for path in [Some(self.path(uid)), self.alt_path(uid)].into_iter().flatten() {
                match self.fs().unlink(&path) {
                    Err(e) if !e.is_not_found() => return Err(e.into()),
                    _ => {}
                }
            }
            attached::remove(&**self.fs(), &attached);
        }
        Ok(())
    }
}
