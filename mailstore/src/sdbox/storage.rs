//! One user's mail as sdbox: the mailbox list over the folders, and opening mailboxes.
//!
//! # Invariants
//!
//! 1. The list changes under `mailboxes.lock` only; a mailbox's log lock is taken inside it, never the other way round.
//! 2. A mailbox comes to be under a temporary name beside `mailboxes/` and gets its own, whole, by one rename.
//! 3. A mailbox that goes is first marked as deleted in its log, so that everybody who has it open learns of it; then
//!    it leaves the list by one rename; then its files go.

use std::{
    fmt, io,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use mailfs::{CreatedLock, FileSystemExt, LockOrder, LockRank, RankGuard};
use mailindex::engine::Env;
use mailtypes::{MailboxName, UidSet};

use super::{
    SdboxOptions, Shared, index,
    mailbox::{OpenMailbox, SdboxMailbox},
    recover::{self, RecoveryReport},
};
use crate::{
    mailbox_list::{Found, Layout, Rights, Subscriptions, mark_stale, walk},
    traits::{Batch, BatchItem, CopySource, ListPattern, MailStorage, Mailbox, MailboxInfo, Result, StorageError},
};

/// How long somebody else's change of the list is waited for.
const LIST_LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// Files that one mailbox can have to be deleted in one go.
const FILE_COUNT_MAX: u64 = 100_000_000;

/// Mode of the folder of a store that is made where nothing is.
const ROOT_MODE: u32 = 0o700;

/// One user's mail in Dovecot's sdbox format, layout `fs`.
#[derive(Clone)]
pub struct SdboxStorage {
    pub(super) shared: Arc<Shared>,
}

/// `mailboxes.lock` held.
struct ListLock {
    _lock: CreatedLock,
    _rank: RankGuard,
}

impl SdboxStorage {
    /// Opens a store that is there. Reads one folder.
    pub fn open(env: &Env, root: &Path, options: SdboxOptions) -> Result<Self> {
        let storage = Self::at(env, root, options);
        if !env.fs().is_dir(storage.shared.layout.mailboxes())? {
            let what = "there is no folder \"mailboxes\" in it".to_owned();
            return Err(StorageError::NotAStore { path: root.to_owned(), what });
        }
        Ok(storage)
    }

    /// Makes a store with an empty INBOX, or opens the one that is there.
    pub fn create(env: &Env, root: &Path, options: SdboxOptions) -> Result<Self> {
        let storage = Self::at(env, root, options);
        let fs = env.fs();
        fs.create_dir_all(root, ROOT_MODE)?;
        Rights::of(&**fs, root)?.create_dirs(&**fs, storage.shared.layout.mailboxes())?;
        storage.mailbox(&MailboxName::inbox())?;
        Ok(storage)
    }

    fn at(env: &Env, root: &Path, options: SdboxOptions) -> Self {
        let layout = Layout::new(root);
        let subscriptions = Subscriptions::new(env.fs(), &layout);
        Self {
            shared: Arc::new(Shared {
                env: env.clone(),
                layout,
                subscriptions,
                options,
                rebuilding: Mutex::default(),
                open_saved: Arc::default(),
            }),
        }
    }

    /// The `Env` it was opened in.
    pub fn env(&self) -> &Env {
        &self.shared.env
    }

    /// The store's folder.
    pub fn root(&self) -> &Path {
        self.shared.layout.root()
    }

    /// Looks over the whole store after a crash: cuts torn ends of logs, rebuilds what cannot be read otherwise, finishes
    /// deletions that were begun, removes what was left behind. To be called before anybody else opens the store, for a
    /// Dovecot that meets a torn end first throws the whole log away. Reads headers and the ends of logs; what fails is
    /// in the report.
    pub fn recover(&self) -> Result<RecoveryReport> {
        let _lock = self.lock_list()?;
        recover::recover(&self.shared)
    }

    pub(super) fn open_mailbox(&self, name: &MailboxName) -> Result<SdboxMailbox> {
        let dir = self.shared.layout.mails_dir(name)?;
        if !self.shared.fs().is_dir(&dir)? {
            if name.is_inbox() {
                match self.create(name) {
                    Err(StorageError::AlreadyExists(_)) => {}
                    other => other?,
                }
            } else if self.shared.fs().is_dir(&self.shared.layout.level_dir(name)?)? {
                return Err(StorageError::NotSelectable(name.clone()));
            } else {
                return Err(StorageError::NotFound(name.clone()));
            }
        }
        let open = match OpenMailbox::open(&self.shared, name, &dir) {
            Err(StorageError::Deleted(name)) => return Err(StorageError::NotFound(name)),
            other => other?,
        };
        Ok(SdboxMailbox { open: Arc::new(open) })
    }

    fn lock_list(&self) -> Result<ListLock> {
        let fs = self.shared.env.fs();
        let rank = LockOrder::enter(LockRank::Mailboxes);
        let mode = Rights::of(&**fs, self.root())?.file_mode();
        let lock = CreatedLock::acquire(fs, &self.shared.layout.list_lock(), mode, LIST_LOCK_TIMEOUT)?;
        Ok(ListLock { _lock: lock, _rank: rank })
    }

    /// Makes a mailbox; the list is locked.
    fn create_locked(&self, name: &MailboxName) -> Result<()> {
        let (fs, layout) = (self.shared.fs(), &self.shared.layout);
        let dir = layout.mails_dir(name)?;
        if fs.exists(&dir)? {
            if !index::is_deleted(&self.shared, &dir)? {
                return Err(StorageError::AlreadyExists(name.clone()));
            }
            // Somebody was stopped while deleting it.
            self.move_to_trash(&dir)?;
        }
        let rights = Rights::of(fs, layout.mailboxes())?;
        let level = layout.level_dir(name)?;
        rights.create_dirs(fs, &level)?;
        let made = index::create_aside(&self.shared, rights)?;
        match fs.rename_new(&made, &dir) {
            Ok(()) => Ok(fs.sync_dir(&level)?),
            Err(e) => {
                // What matters is the first failure; what stays is removed by the next recovery.
                let _ = fs.remove_tree(&made, FILE_COUNT_MAX);
                if e.is_already_exists() { Err(StorageError::AlreadyExists(name.clone())) } else { Err(e.into()) }
            }
        }
    }

    /// Takes a mailbox's folder out of the list, durably, and removes it.
    fn move_to_trash(&self, dir: &Path) -> Result<()> {
        recover::move_to_trash(&self.shared, dir)
    }

    fn delete_locked(&self, name: &MailboxName) -> Result<()> {
        let (fs, layout) = (self.shared.fs(), &self.shared.layout);
        let (level, dir) = (layout.level_dir(name)?, layout.mails_dir(name)?);
        if !fs.is_dir(&level)? {
            return Err(StorageError::NotFound(name.clone()));
        }
        if !fs.is_dir(&dir)? {
            // A level without children may go; RFC 9051 §6.3.4 refuses only one with children.
            return match fs.remove_dir(&level) {
                Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty => {
                    Err(StorageError::NotPossible("Mailbox has children, delete them first"))
                }
                Err(e) => Err(e.into()),
                Ok(()) => Ok(sync_parent(&self.shared, &level)?),
            };
        }
        index::mark_deleted(&self.shared, name, &dir)?;
        self.move_to_trash(&dir)?;
        match fs.remove_dir(&level) {
            Ok(()) => Ok(sync_parent(&self.shared, &level)?),
            // It has children: it stays as a level.
            Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty || e.is_already_exists() => Ok(()),
            Err(e) if e.is_not_found() => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    fn rename_locked(&self, from: &MailboxName, to: &MailboxName) -> Result<()> {
        let (fs, layout) = (self.shared.fs(), &self.shared.layout);
        let (old, new) = (layout.level_dir(from)?, layout.level_dir(to)?);
        if !fs.is_dir(&old)? {
            return Err(StorageError::NotFound(from.clone()));
        }
        self.check_depth(from, to)?;
        if fs.exists(&new)? {
            // An empty level may be replaced; anything else is in the way.
            match fs.remove_dir(&new) {
                Ok(()) => {}
                Err(_) => return Err(StorageError::AlreadyExists(to.clone())),
            }
        }
        let parent = new.parent().unwrap_or(layout.mailboxes()).to_owned();
        Rights::of(fs, layout.mailboxes())?.create_dirs(fs, &parent)?;
        fs.rename(&old, &new)?;
        // First where it is now: after a crash in between it may have two names, but not none.
        fs.sync_dir(&parent)?;
        Ok(sync_parent(&self.shared, &old)?)
    }

    /// Whether all that lies below `from` has a name under `to`.
    fn check_depth(&self, from: &MailboxName, to: &MailboxName) -> Result<()> {
        for found in walk(self.shared.fs(), &self.shared.layout)? {
            if let Some(name) = found.name.rebased(from, to) {
                let invalid = |source| StorageError::InvalidName { name: name.to_string(), source };
                MailboxName::new(name.as_str()).map_err(invalid)?;
            }
        }
        Ok(())
    }

    /// RFC 9051 §6.3.6: the messages of INBOX move to a new mailbox, INBOX stays.
    fn rename_inbox(&self, to: &MailboxName) -> Result<()> {
        self.create(to)?;
        let source: Arc<dyn Mailbox> = self.mailbox(&MailboxName::inbox())?;
        let target = self.mailbox(to)?;
        let uids = source.view(&crate::traits::ViewAs::default())?.uids();
        let copy = BatchItem::Copy(CopySource { mailbox: Arc::clone(&source), uids });
        let committed = target.submit(Batch { items: vec![copy] })?.wait()?;
        let mut moved = UidSet::new();
        committed.copied.iter().for_each(|(uid, _)| moved.insert(*uid));
        source.submit(Batch::new().expunge(moved))?.wait()?;
        Ok(())
    }
}

fn sync_parent(shared: &Shared, path: &Path) -> mailfs::Result<()> {
    match path.parent() {
        Some(parent) => shared.fs().sync_dir(parent),
        None => Ok(()),
    }
}

impl MailStorage for SdboxStorage {
    fn list(&self, pattern: &ListPattern) -> Result<Vec<MailboxInfo>> {
        let mut found = walk(self.shared.fs(), &self.shared.layout)?;
        let inbox = MailboxName::inbox();
        match found.first_mut().filter(|first| first.name.is_inbox()) {
            // It is made as soon as somebody opens it.
            Some(first) => first.selectable = true,
            None => found.insert(0, Found { name: inbox, selectable: true, has_children: false }),
        }
        let listed = found.into_iter().filter(|found| pattern.matches(&found.name));
        let info = |Found { name, selectable, has_children }| MailboxInfo { name, selectable, has_children };
        Ok(listed.map(info).collect())
    }

    fn mailbox(&self, name: &MailboxName) -> Result<Arc<dyn Mailbox>> {
        Ok(Arc::new(self.open_mailbox(name)?))
    }

    fn create(&self, name: &MailboxName) -> Result<()> {
        self.shared.layout.check_new(name)?;
        let lock = self.lock_list()?;
        self.create_locked(name)?;
        drop(lock);
        mark_stale(&self.shared.env, self.root());
        Ok(())
    }

    fn delete(&self, name: &MailboxName) -> Result<()> {
        if name.is_inbox() {
            return Err(StorageError::NotPossible("INBOX can't be deleted"));
        }
        let lock = self.lock_list()?;
        self.delete_locked(name)?;
        drop(lock);
        mark_stale(&self.shared.env, self.root());
        Ok(())
    }

    fn rename(&self, from: &MailboxName, to: &MailboxName) -> Result<()> {
        self.shared.layout.check_new(to)?;
        if from == to || to.is_inbox() {
            return Err(StorageError::AlreadyExists(to.clone()));
        }
        if from.is_inbox() {
            return self.rename_inbox(to);
        }
        if to.is_below(from) {
            return Err(StorageError::NotPossible("A mailbox can't be renamed to a place below itself"));
        }
        let lock = self.lock_list()?;
        self.rename_locked(from, to)?;
        drop(lock);
        mark_stale(&self.shared.env, self.root());
        Ok(())
    }

    fn subscribe(&self, name: &MailboxName) -> Result<()> {
        self.shared.subscriptions.change(name, true)
    }

    fn unsubscribe(&self, name: &MailboxName) -> Result<()> {
        self.shared.subscriptions.change(name, false)
    }

    fn subscriptions(&self) -> Result<Vec<MailboxName>> {
        self.shared.subscriptions.read()
    }
}

impl fmt::Debug for SdboxStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SdboxStorage").field("root", &self.root()).finish()
    }
}
