//! One user's mail as sdbox: the mailbox list over the folders, and opening mailboxes.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex},
};

use mailfs::FileSystemExt;
use mailindex::engine::Env;
use mailtypes::MailboxName;

use super::{
    SdboxOptions, Shared, index,
    mailbox::{OpenMailbox, SdboxMailbox},
    recover,
};
use crate::{
    mailbox_list::{self, Format, Layout, MailboxDirs, RecoveredMailbox, RecoveryReport, Rights, Subscriptions},
    traits::{ListPattern, MailStorage, Mailbox, MailboxInfo, Result, StorageError},
};

/// Mode of the folder of a store that is made where nothing is.
const ROOT_MODE: u32 = 0o700;

/// One user's mail in Dovecot's sdbox format, layout `fs`.
#[derive(Clone)]
pub struct SdboxStorage {
    pub(super) shared: Arc<Shared>,
}

impl SdboxStorage {
    /// Opens a store that is there. Reads one folder.
    pub fn open(env: &Env, root: &Path, options: SdboxOptions) -> Result<Self> {
        let storage = Self::at(env, root, options);
        if !env.fs().is_dir(&storage.shared.layout.mailboxes())? {
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
        Rights::of(&**fs, root)?.create_dirs(&**fs, &storage.shared.layout.mailboxes())?;
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
        mailbox_list::recover(&*self.shared)
    }

    pub(super) fn open_mailbox(&self, name: &MailboxName) -> Result<SdboxMailbox> {
        let dirs = mailbox_list::find(&*self.shared, name)?;
        let open = match OpenMailbox::open(&self.shared, name, &dirs.mail) {
            Err(StorageError::Deleted(name)) => return Err(StorageError::NotFound(name)),
            other => other?,
        };
        Ok(SdboxMailbox { open: Arc::new(open) })
    }
}

impl Format for Shared {
    fn env(&self) -> &Env {
        &self.env
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn make(&self, dirs: &MailboxDirs, _rights: Rights) -> Result<()> {
        index::make(self, &dirs.mail)
    }

    fn is_deleted(&self, dirs: &MailboxDirs) -> Result<bool> {
        index::is_deleted(self, &dirs.mail)
    }

    fn mark_deleted(&self, name: &MailboxName, dirs: &MailboxDirs) -> Result<()> {
        index::mark_deleted(self, name, &dirs.mail)
    }

    fn recover(&self, dirs: &MailboxDirs, mailbox: &mut RecoveredMailbox) -> Result<u64> {
        recover::recover_mailbox(self, dirs, mailbox)
    }
}

impl MailStorage for SdboxStorage {
    fn list(&self, pattern: &ListPattern) -> Result<Vec<MailboxInfo>> {
        mailbox_list::list(&*self.shared, pattern)
    }

    fn mailbox(&self, name: &MailboxName) -> Result<Arc<dyn Mailbox>> {
        Ok(Arc::new(self.open_mailbox(name)?))
    }

    fn create(&self, name: &MailboxName) -> Result<()> {
        mailbox_list::create(&*self.shared, name)
    }

    fn delete(&self, name: &MailboxName) -> Result<()> {
        mailbox_list::delete(&*self.shared, name)
    }

    fn rename(&self, from: &MailboxName, to: &MailboxName) -> Result<()> {
        mailbox_list::rename(self, &*self.shared, from, to)
    }

    fn follow(&self, mailbox: &dyn Mailbox) -> Result<Option<Arc<dyn Mailbox>>> {
        mailbox_list::follow(self, &*self.shared, mailbox)
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
