//! One user's mail as mdbox: the mailbox list over the folders, and opening mailboxes.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mailfs::FileSystemExt;
use mailindex::engine::{Env, MessageStore};
use mailtypes::MailboxName;

use super::{
    MdboxOptions, STORAGE_DIR, Shared,
    files::Mails,
    index,
    map::MapResult,
    recover::{self, References},
};
use crate::{
    indexed::IndexedMailbox,
    mailbox_list::{
        self, Format, Layout, Listed, MailboxDirs, RecoveredMailbox, RecoveryReport, Rights, Shape, Subscriptions,
    },
    traits::{ListPattern, MailboxIdentity, Result, StorageError},
};

/// Mode of the folder of a store that is made where nothing is.
const ROOT_MODE: u32 = 0o700;

/// One user's mail in Dovecot's mdbox format.
#[derive(Clone)]
pub struct MdboxStorage {
    store: Arc<Mdboxes>,
}

/// A store: what its mailboxes share, and the list of them.
struct Mdboxes {
    shared: Arc<Shared>,
    layout: Layout,
    subscriptions: Subscriptions,
    /// What a recovery that is under way has counted.
    counted: Mutex<References>,
}

impl MdboxStorage {
    /// Opens a store that is there. Looks at two folders; the map is opened when it is needed.
    pub fn open(env: &Env, root: &Path, options: MdboxOptions) -> Result<Self> {
        let storage = Self::at(env, root, options);
        for dir in [storage.store.layout.mailboxes(), root.join(STORAGE_DIR)] {
            if !env.fs().is_dir(&dir)? {
                let name = dir.file_name().unwrap_or_default().to_string_lossy();
                let what = format!("there is no folder {name:?} in it");
                return Err(StorageError::NotAStore { path: root.to_owned(), what });
            }
        }
        Ok(storage)
    }

    /// Makes a store with an empty INBOX, or opens the one that is there.
    pub fn create(env: &Env, root: &Path, options: MdboxOptions) -> Result<Self> {
        let storage = Self::at(env, root, options);
        let fs = env.fs();
        fs.create_dir_all(root, ROOT_MODE)?;
        let rights = Rights::of(&**fs, root)?;
        // The folder that tells an mdbox from an sdbox comes first.
        rights.create_dirs(&**fs, &root.join(STORAGE_DIR))?;
        rights.create_dirs(&**fs, &storage.store.layout.mailboxes())?;
        for root in storage.store.layout.roots() {
            rights.create_dirs(&**fs, root)?;
        }
        let shared = &storage.store.shared;
        shared.map.open(&shared.files).of_map()?;
        mailbox_list::find(&*storage.store, &MailboxName::inbox())?;
        Ok(storage)
    }

    fn at(env: &Env, root: &Path, options: MdboxOptions) -> Self {
        let (control, index) = (options.control.as_deref(), options.index.as_deref());
        let layout = Layout::new(Shape::Dbox, root, control, index, options.list.clone());
        let subscriptions = Subscriptions::new(env.fs(), &layout);
        let shared = Arc::new(Shared::new(env, root, options, layout.control(), layout.index()));
        Self { store: Arc::new(Mdboxes { shared, layout, subscriptions, counted: Mutex::default() }) }
    }

    /// The `Env` it was opened in.
    pub fn env(&self) -> &Env {
        &self.store.shared.env
    }

    /// The store's folder.
    pub fn root(&self) -> &Path {
        self.store.layout.root()
    }

    /// Looks over the whole store after a crash: cuts torn ends of logs, finishes deletions that were begun, counts the
    /// references to each message and raises counts that are too low, removes what was left behind. To be called before
    /// anybody else opens the store, for a Dovecot that meets a torn end first throws the whole log away. Reads the indexes
    /// of all mailboxes; what fails about one of them is in the report. Fails if the map has to be rebuilt.
    pub fn recover(&self) -> Result<RecoveryReport> {
        let store = &*self.store;
        let leftovers = recover::recover_map(&store.shared)?;
        *store.counted() = References::default();
        let mut report = mailbox_list::recover(store)?;
        let counted = std::mem::take(&mut *store.counted());
        recover::raise_counts(&store.shared, &counted, || store.all())?;
        report.leftovers_removed += leftovers;
        Ok(report)
    }
}

impl Mdboxes {
    fn counted(&self) -> MutexGuard<'_, References> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All mailboxes, and where they lie.
    fn all(&self) -> Result<Vec<(MailboxName, MailboxDirs)>> {
        let listed = mailbox_list::list(self, &ListPattern::all())?;
        let there = listed.into_iter().filter(|info| info.selectable);
        there.map(|info| mailbox_list::find(self, &info.name).map(|dirs| (info.name, dirs))).collect()
    }
}

impl Format for Mdboxes {
    fn env(&self) -> &Env {
        &self.shared.env
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn subscriptions(&self) -> &Subscriptions {
        &self.subscriptions
    }

    fn open(&self, name: &MailboxName, dirs: &MailboxDirs) -> Result<IndexedMailbox> {
        index::open(&self.shared, name, &self.layout.storage_name(name), dirs)
    }

    fn message_store(&self, dirs: &MailboxDirs) -> Arc<dyn MessageStore> {
        Arc::new(Mails::new(&self.shared, dirs, None))
    }

    fn make(&self, dirs: &MailboxDirs, _rights: Rights, identity: Option<&MailboxIdentity>) -> Result<()> {
        index::make(&self.shared, dirs, identity)
    }

    fn recover(&self, dirs: &MailboxDirs, mailbox: &mut RecoveredMailbox) -> Result<u64> {
        if let Some(state) = recover::recover_mailbox(&self.shared, dirs, mailbox)? {
            self.counted().add(&state);
        }
        Ok(0)
    }
}

impl Listed for MdboxStorage {
    fn format(&self) -> &dyn Format {
        &*self.store
    }
}

impl fmt::Debug for MdboxStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MdboxStorage").field("root", &self.root()).finish_non_exhaustive()
    }
}
