//! One user's mail as sdbox: the mailbox list over the folders, and opening mailboxes.

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex},
};

use mailfs::FileSystemExt;
use mailindex::engine::{Env, MessageStore};
use mailtypes::{MailboxName, UidSet};

use super::{SdboxOptions, Shared, alternate, check, files::Mails, index, recover};
use crate::{
    check::{Finding, Look},
    dbox::{MoveTo, Moved},
    indexed::{IndexedMailbox, indexed_of},
    mailbox_list::{
        self, Format, Layout, Listed, MailboxDirs, RecoveredMailbox, RecoveryReport, Rights, Shape, Subscriptions,
    },
    traits::{MailStorage as _, MailboxIdentity, Result, StorageError},
};

/// Where Dovecot notes the root of alternate storage, to notice when the setting changes.
const ALT_LINK: &str = "dbox-alt-root";

/// Mode of the folder of a store that is made where nothing is.
const ROOT_MODE: u32 = 0o700;

/// One user's mail in Dovecot's sdbox format, layout `fs`.
#[derive(Clone)]
pub struct SdboxStorage {
    store: Arc<Sdboxes>,
}

/// A store: what its mailboxes share, and the list of them.
struct Sdboxes {
    shared: Arc<Shared>,
    layout: Layout,
    subscriptions: Subscriptions,
}

impl SdboxStorage {
    /// Opens a store that is there. Reads one folder.
    pub fn open(env: &Env, root: &Path, options: SdboxOptions) -> Result<Self> {
        let storage = Self::at(env, root, options);
        if !env.fs().is_dir(&storage.store.layout.mailboxes())? {
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
        let rights = Rights::of(&**fs, root)?;
        rights.create_dirs(&**fs, &storage.store.layout.mailboxes())?;
        for root in storage.store.layout.roots() {
            rights.create_dirs(&**fs, root)?;
        }
        if storage.store.layout.has_inbox() {
            mailbox_list::find(&*storage.store, &MailboxName::inbox())?;
        }
        Ok(storage)
    }

    fn at(env: &Env, root: &Path, options: SdboxOptions) -> Self {
        let (control, index) = (options.control.as_deref(), options.index.as_deref());
        let layout = Layout::new(Shape::Dbox, root, control, index, options.list.clone());
        let subscriptions = Subscriptions::new(env.fs(), &layout);
        let shared = Arc::new(Shared {
            env: env.clone(),
            options,
            control: layout.control().to_owned(),
            alt_link: layout.alt_root().map(|alt| (alt.to_owned(), layout.root().join(ALT_LINK))),
            rebuilding: Mutex::default(),
            open_saved: Arc::default(),
        });
        Self { store: Arc::new(Sdboxes { shared, layout, subscriptions }) }
    }

    /// The `Env` it was opened in.
    pub fn env(&self) -> &Env {
        &self.store.shared.env
    }

    /// The store's folder.
    pub fn root(&self) -> &Path {
        self.store.layout.root()
    }

    /// Looks over the whole store after a crash: cuts torn ends of logs, rebuilds what cannot be read otherwise, finishes
    /// deletions that were begun, removes what was left behind. To be called before anybody else opens the store, for a
    /// Dovecot that meets a torn end first throws the whole log away. Reads headers and the ends of logs; what fails is
    /// in the report.
    pub fn recover(&self) -> Result<RecoveryReport> {
        mailbox_list::recover(&*self.store)
    }
}

impl SdboxStorage {
    /// Moves messages to alternate storage (Dovecot's `ALT=`, [`ListOptions::alt`](crate::ListOptions)) or back: those of the
    /// UIDs that are there and lie in the other one. Sessions go on reading them. Copies the files, a few at a time; what a crash
    /// or a failure leaves is moved or not, and the call can be given again.
    ///
    /// # Errors
    /// [`StorageError::NotPossible`] without alternate storage; those of the disk.
    pub fn move_messages(&self, mailbox: &MailboxName, uids: &UidSet, to: MoveTo) -> Result<Moved> {
        let opened = self.mailbox(mailbox)?;
        let not_ours = || StorageError::NotFound(mailbox.clone());
        let indexed = indexed_of(&*opened).ok_or_else(not_ours)?;
        let mails = Arc::clone(&indexed.files).into_any().downcast::<Mails>().map_err(|_| not_ours())?;
        alternate::move_messages(mailbox, &indexed.index, &mails, uids, to)
    }
}

impl Format for Sdboxes {
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
        index::open(&self.shared, name, dirs)
    }

    fn message_store(&self, dirs: &MailboxDirs) -> Arc<dyn MessageStore> {
        Arc::new(Mails::new(&self.shared, dirs))
    }

    fn make(&self, dirs: &MailboxDirs, _rights: Rights, identity: Option<&MailboxIdentity>) -> Result<()> {
        index::make(&self.shared, dirs, identity)
    }

    fn recover(&self, dirs: &MailboxDirs, mailbox: &mut RecoveredMailbox) -> Result<u64> {
        recover::recover_mailbox(&self.shared, dirs, mailbox)
    }

    fn look(&self, _name: &MailboxName, dirs: &MailboxDirs, look: &mut Look<'_>) -> Result<()> {
        check::look(&self.shared, dirs, look)
    }

    fn mend(&self, name: &MailboxName, dirs: &MailboxDirs, found: &[Finding]) -> Result<()> {
        check::mend(&self.shared, name, dirs, found)
    }
}

impl Listed for SdboxStorage {
    fn format(&self) -> &dyn Format {
        &*self.store
    }
}

impl fmt::Debug for SdboxStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SdboxStorage").field("root", &self.root()).finish_non_exhaustive()
    }
}
