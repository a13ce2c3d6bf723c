//! One user's mail as Maildir: the mailbox list over the folders, and opening mailboxes.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use mailfs::FileSystemExt;
use mailindex::engine::{Env, MessageStore};
use mailtypes::MailboxName;

use super::{MaildirOptions, Shared, check, index, late, recover};
use crate::{
    check::{Finding, Look},
    indexed::IndexedMailbox,
    mailbox_list::{
        self, Format, Layout, ListOptions, Listed, MailboxDirs, RecoveredMailbox, RecoveryReport, Rights, Shape,
        Subscriptions,
    },
    traits::{MailboxIdentity, Result, StorageError},
};

/// Mode of the folder of a store that is made where nothing is.
const ROOT_MODE: u32 = 0o700;

/// How the folders of a Maildir store lie (`docs/formats/list.md`, Layouts).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum MaildirLayout {
    /// `.a.b` in the root.
    #[default]
    PlusPlus,
    /// `a/b` in the root, Dovecot's `LAYOUT=fs`.
    Fs,
}

/// Where a Maildir store lies besides its root.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct MaildirPlaces {
    /// How the folders lie.
    pub layout: MaildirLayout,
    /// Where UID lists, keywords and subscriptions lie; below the root if not given. Dovecot's `CONTROL=`.
    pub control: Option<PathBuf>,
    /// Where indexes lie; below the root if not given. Dovecot's `INDEX=`.
    pub index: Option<PathBuf>,
    /// What clients see between the levels of a name.
    pub separator: MaildirSeparator,
    /// The list of mailboxes.
    pub list: ListOptions,
}

/// What clients see between the levels of a name. Dovecot's `separator` of a namespace; others than these would make
/// names that the layout can hold look as if they had further levels.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum MaildirSeparator {
    /// `.` for Maildir++ and `/` for layout `fs`, as Dovecot has it where nothing else is configured.
    #[default]
    AsOnDisk,
    /// `/`.
    Slash,
}

/// One user's mail in Maildir format.
#[derive(Clone)]
pub struct MaildirStorage {
    store: Arc<Maildirs>,
}

/// A store: what its mailboxes share, and the list of them.
struct Maildirs {
    shared: Arc<Shared>,
    layout: Layout,
    subscriptions: Subscriptions,
    separator: char,
}

impl MaildirStorage {
    /// Opens a store that is there. Costs one `stat`.
    pub fn open(env: &Env, root: &Path, places: &MaildirPlaces, options: MaildirOptions) -> Result<Self> {
        let storage = Self::at(env, root, places, options);
        let fs = &**env.fs();
        // An account that has had no mail has its other mailboxes, or its subscriptions.
        if !storage.store.layout.is_mailbox(fs, &MailboxName::inbox())? && !fs.is_dir(root)? {
            let what = "there is nothing".to_owned();
            return Err(StorageError::NotAStore { path: root.to_owned(), what });
        }
        Ok(storage)
    }

    /// Makes a store with an empty INBOX, or opens the one that is there.
    pub fn create(env: &Env, root: &Path, places: &MaildirPlaces, options: MaildirOptions) -> Result<Self> {
        let storage = Self::at(env, root, places, options);
        let fs = env.fs();
        fs.create_dir_all(root, ROOT_MODE)?;
        let rights = Rights::of(&**fs, root)?;
        for root in storage.store.layout.roots() {
            rights.create_dirs(&**fs, root)?;
        }
        if storage.store.layout.has_inbox() {
            mailbox_list::find(&*storage.store, &MailboxName::inbox())?;
        }
        Ok(storage)
    }

    fn at(env: &Env, root: &Path, places: &MaildirPlaces, options: MaildirOptions) -> Self {
        let shape = match places.layout {
            MaildirLayout::PlusPlus => Shape::MaildirPlusPlus,
            MaildirLayout::Fs => Shape::MaildirFs,
        };
        let (control, index) = (places.control.as_deref(), places.index.as_deref());
        let layout = Layout::new(shape, root, control, index, places.list.clone());
        let store = Maildirs {
            shared: Arc::new(Shared::new(env, layout.control(), options)),
            subscriptions: Subscriptions::new(env.fs(), &layout),
            separator: match places.separator {
                MaildirSeparator::AsOnDisk => layout.storage_separator(),
                MaildirSeparator::Slash => MailboxName::SEPARATOR,
            },
            layout,
        };
        Self { store: Arc::new(store) }
    }

    /// The store's folder.
    pub fn root(&self) -> &Path {
        self.store.layout.root()
    }

    /// Looks over the whole store after a crash: cuts torn ends of logs, finishes deletions that were begun, removes
    /// what was left behind. To be called before anybody else opens the store, for a Dovecot that meets a torn end first
    /// throws the whole log away. Reads headers and the ends of logs; what fails is in the report.
    pub fn recover(&self) -> Result<RecoveryReport> {
        mailbox_list::recover(&*self.store)
    }
}

impl Format for Maildirs {
    fn env(&self) -> &Env {
        &self.shared.env
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn subscriptions(&self) -> &Subscriptions {
        &self.subscriptions
    }

    fn separator(&self) -> char {
        self.separator
    }

    fn open(&self, name: &MailboxName, dirs: &MailboxDirs) -> Result<IndexedMailbox> {
        index::open(&self.shared, name, dirs)
    }

    fn message_store(&self, dirs: &MailboxDirs) -> Arc<dyn MessageStore> {
        index::message_store(&self.shared, dirs)
    }

    fn make(&self, dirs: &MailboxDirs, rights: Rights, identity: Option<&MailboxIdentity>) -> Result<()> {
        index::create_in(&self.shared, dirs, rights, identity)
    }

    fn late(&self, dirs: &MailboxDirs, moved: &Path) -> Result<Vec<PathBuf>> {
        late::late(&self.shared, dirs, moved)
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

impl Listed for MaildirStorage {
    fn format(&self) -> &dyn Format {
        &*self.store
    }
}

impl fmt::Debug for MaildirStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MaildirStorage").field("root", &self.root()).finish_non_exhaustive()
    }
}
