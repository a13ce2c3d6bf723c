//! One user's mail as mbox files: the mailbox list over the files, and opening mailboxes.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use mailfs::FileSystemExt;
use mailindex::engine::{Env, Fsync, MessageStore};
use mailtypes::MailboxName;

use super::{MboxLocks, MboxMd5, check, files::MboxFiles, index, recover, spool::WaitingRoom};
use crate::{
    check::{Finding, Look},
    import::host_zone,
    indexed::IndexedMailbox,
    mailbox_list::{
        self, Format, Layout, ListOptions, Listed, MailboxDirs, RecoveredMailbox, RecoveryReport, Rights, Subscriptions,
    },
    traits::{Keeps, MailboxIdentity, NulPolicy, Result, StorageError},
};

/// Mode of the folder of a store that is made where nothing is.
const ROOT_MODE: u32 = 0o700;

/// Where an mbox store lies besides its root.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct MboxPlaces {
    /// Where subscriptions lie; the root if not given. Dovecot's `CONTROL=`.
    pub control: Option<PathBuf>,
    /// Below what indexes lie, in `.imap`; the root if not given. Dovecot's `INDEX=`.
    pub index: Option<PathBuf>,
    /// How names are written, and where INBOX is: `inbox` in the root if not given.
    pub list: ListOptions,
}

/// How a store is to be written.
#[derive(Clone, Debug)]
pub struct MboxOptions {
    /// What to do with messages that hold NUL bytes, where [`SaveMeta::nuls`](crate::SaveMeta::nuls) does not say.
    pub nuls: NulPolicy,
    /// What parsing a message may hold in memory.
    pub limits: mailmime::Limits,
    /// The locks of the host's mail programs.
    pub locks: MboxLocks,
    /// What tells messages without UIDs from each other. Dovecot's `mbox_md5`.
    pub md5: MboxMd5,
    /// How long flags may be in the index alone while a mailbox is open; they are written when it is closed.
    pub flag_write_interval: Duration,
    /// Minutes east of UTC of the host at a local time, seconds since 1970: separators have no zone.
    pub local_zone: fn(i64) -> i16,
}

impl Default for MboxOptions {
    fn default() -> Self {
        Self {
            nuls: NulPolicy::default(),
            limits: mailmime::Limits::default(),
            locks: MboxLocks::default(),
            md5: MboxMd5::default(),
            flag_write_interval: Duration::from_secs(60),
            local_zone: host_zone,
        }
    }
}

/// What all mailboxes of a store share.
pub(super) struct Shared {
    pub(super) env: Env,
    pub(super) options: MboxOptions,
    /// Where `dovecot-uidvalidity` is.
    pub(super) uid_validity_dir: PathBuf,
    /// Messages on their way in.
    pub(super) waiting: Arc<WaitingRoom>,
}

impl Shared {
    /// Whether data is synced at all.
    pub(super) fn syncs(&self) -> bool {
        self.env.options().fsync != Fsync::Never
    }
}

/// One user's mail in mbox files.
#[derive(Clone)]
pub struct MboxStorage {
    store: Arc<Mboxes>,
}

/// A store: what its mailboxes share, and the list of them.
struct Mboxes {
    shared: Arc<Shared>,
    layout: Layout,
    subscriptions: Subscriptions,
}

impl MboxStorage {
    /// Opens a store that is there. Costs one `stat`.
    pub fn open(env: &Env, root: &Path, places: &MboxPlaces, options: MboxOptions) -> Result<Self> {
        let storage = Self::at(env, root, places, options);
        let fs = &**env.fs();
        if !storage.store.layout.is_mailbox(fs, &MailboxName::inbox())? && !fs.is_dir(root)? {
            let what = "there is nothing".to_owned();
            return Err(StorageError::NotAStore { path: root.to_owned(), what });
        }
        storage.make_roots()?;
        Ok(storage)
    }

    /// Makes a store with an empty INBOX, or opens the one that is there.
    pub fn create(env: &Env, root: &Path, places: &MboxPlaces, options: MboxOptions) -> Result<Self> {
        let storage = Self::at(env, root, places, options);
        env.fs().create_dir_all(root, ROOT_MODE)?;
        storage.make_roots()?;
        if storage.store.layout.has_inbox() {
            mailbox_list::find(&*storage.store, &MailboxName::inbox())?;
        }
        Ok(storage)
    }

    fn make_roots(&self) -> Result<()> {
        let fs = &**self.store.shared.env.fs();
        let rights = Rights::of(fs, self.root())?;
        for root in self.store.layout.roots() {
            if !fs.is_dir(root)? {
                rights.create_dirs(fs, root)?;
            }
        }
        Ok(())
    }

    fn at(env: &Env, root: &Path, places: &MboxPlaces, options: MboxOptions) -> Self {
        let MboxPlaces { control, index, list } = places;
        let layout = Layout::mbox(root, control.as_deref(), index.as_deref(), list.clone());
        let shared = Arc::new(Shared {
            env: env.clone(),
            options,
            uid_validity_dir: layout.uid_validity_dir().to_owned(),
            waiting: Arc::default(),
        });
        let subscriptions = Subscriptions::new(env.fs(), &layout);
        Self { store: Arc::new(Mboxes { shared, layout, subscriptions }) }
    }

    /// The store's folder.
    pub fn root(&self) -> &Path {
        self.store.layout.root()
    }

    /// Looks over the whole store after a crash: takes back changes of files that were left half done, cuts torn ends of
    /// logs, finishes deletions that were begun, removes what was left behind. To be called before anybody else opens the
    /// store: a Dovecot that comes first reads a file that is half changed. What fails is in the report.
    pub fn recover(&self) -> Result<RecoveryReport> {
        mailbox_list::recover(&*self.store)
    }
}

impl Format for Mboxes {
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
        MboxFiles::new(&self.shared, dirs)
    }

    /// Its index alone: the file is made in its place, by the list.
    fn make(&self, dirs: &MailboxDirs, rights: Rights, identity: Option<&MailboxIdentity>) -> Result<()> {
        index::make(&self.shared, dirs, rights, identity)
    }

    fn keeps(&self) -> Keeps {
        Keeps { guids: false, pop3: false, bytes: false, children: false }
    }

    fn settle(&self, name: &MailboxName, dirs: &MailboxDirs) -> Result<()> {
        index::settle(&self.shared, name, dirs)
    }

    fn lock_messages(&self, dirs: &MailboxDirs) -> Result<Option<Box<dyn fmt::Debug>>> {
        index::lock(&self.shared, dirs)
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

impl Listed for MboxStorage {
    fn format(&self) -> &dyn Format {
        &*self.store
    }
}

impl fmt::Debug for MboxStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MboxStorage").field("root", &self.root()).finish_non_exhaustive()
    }
}
