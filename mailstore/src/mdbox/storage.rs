//! One user's mail as mdbox: the mailbox list over the folders, and opening mailboxes.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use mailfs::FileSystemExt;
use mailindex::engine::{Env, IndexError, MessageStore};
use mailtypes::{Guid, MailboxName, Uid, UidSet};

use super::{
    Expunged, MdboxOptions, Purged, STORAGE_DIR, Shared, check, expunged,
    files::Mails,
    going, index,
    m_files::Storage,
    map::MapResult,
    purge,
    rebuild::{self, Rebuilt},
    recover::{self, References},
};
use crate::{
    check::{Finding, FindingKind, Look, Outcome, mend_index},
    dbox::{MoveTo, Moved},
    indexed::{IndexedMailbox, indexed_of},
    mailbox_list::{
        self, Format, Layout, Listed, MailboxDirs, RecoveredMailbox, RecoveryReport, Rights, Shape, Subscriptions,
    },
    traits::{MailStorage as _, MailboxIdentity, Result, StorageError},
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
    /// What repairs could not bring back, for their report.
    told: Mutex<Vec<Finding>>,
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
        storage.store.put_right()?;
        if storage.store.layout.has_inbox() {
            mailbox_list::find(&*storage.store, &MailboxName::inbox())?;
        }
        Ok(storage)
    }

    fn at(env: &Env, root: &Path, options: MdboxOptions) -> Self {
        let (control, index) = (options.control.as_deref(), options.index.as_deref());
        let layout = Layout::new(Shape::Dbox, root, control, index, options.list.clone());
        let subscriptions = Subscriptions::new(env.fs(), &layout);
        let shared = Arc::new(Shared::new(env, root, options, layout.control(), layout.index()));
        Self {
            store: Arc::new(Mdboxes {
                shared,
                layout,
                subscriptions,
                counted: Mutex::default(),
                told: Mutex::default(),
            }),
        }
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
    /// references to each message and puts counts right, rebuilds what has to be rebuilt, removes what was left behind. To be called before
    /// anybody else opens the store, for a Dovecot that meets a torn end first throws the whole log away. Reads the indexes
    /// of all mailboxes; what fails about one of them is in the report.
    pub fn recover(&self) -> Result<RecoveryReport> {
        let store = &*self.store;
        store.put_right()?;
        let leftovers = recover::recover_map(&store.shared)?;
        going::settle(&store.shared)?;
        let (mut report, mut counted) = store.recover_mailboxes()?;
        if store.shared.doubts.is_raised()
            || counted.has_unknown(&store.shared.map.refresh(&store.shared.files).of_map()?)
        {
            store.rebuild()?;
            counted = store.recover_mailboxes()?.1;
        }
        recover::put_counts_right(&store.shared, &counted, store)?;
        report.leftovers_removed += leftovers;
        Ok(report)
    }
}

impl MdboxStorage {
    /// Removes the bodies that no mailbox refers to any more, with their attachments. Files that hold such a body are
    /// written anew, to the byte but for what goes, each in the storage that it lies in; sessions go on reading. A crash leaves
    /// the old file or the new one. Files that somebody adds to at the moment, or that hold what the map does not know, are left
    /// alone.
    pub fn purge(&self) -> Result<Purged> {
        purge::purge(&self.store.shared)
    }

    /// Moves the bodies of messages to alternate storage (Dovecot's `ALT=`) or back, wherever else they are referred to from.
    /// The files that they lie in are written anew.
    ///
    /// # Errors
    /// [`StorageError::NotPossible`] without alternate storage; those of the disk.
    pub fn move_messages(&self, mailbox: &MailboxName, uids: &UidSet, to: MoveTo) -> Result<Moved> {
        if self.store.shared.files.dir_of(Storage::Alternate).is_none() {
            return Err(StorageError::NotPossible("The store has no alternate storage"));
        }
        mailbox_list::note_alternate(self.store.shared.fs(), &self.store.layout)?;
        let opened = self.mailbox(mailbox)?;
        let indexed = indexed_of(&*opened).ok_or_else(|| StorageError::NotFound(mailbox.clone()))?;
        purge::move_messages(&self.store.shared, indexed, uids, to)
    }

    /// The messages that were expunged and not purged yet. Reads the beginning of each.
    pub fn expunged(&self) -> Result<Vec<Expunged>> {
        expunged::list(&self.store.shared)
    }

    /// Brings expunged messages back, by their numbers: into `mailbox`, or each into the mailbox that it was saved to first
    /// (made if it is not there; INBOX if that cannot be). They come without flags, as new messages. Those that have been
    /// purged meanwhile are passed over. Tells how many came where.
    pub fn restore_expunged(
        &self,
        numbers: &[Uid],
        mailbox: Option<&MailboxName>,
    ) -> Result<Vec<(MailboxName, usize)>> {
        let mut by_mailbox: BTreeMap<MailboxName, Vec<(Uid, Guid)>> = BTreeMap::new();
        let asked: BTreeSet<Uid> = numbers.iter().copied().collect();
        for expunged in self.expunged()?.iter().filter(|expunged| asked.contains(&expunged.number)) {
            let home = || expunged::home_of(expunged, |written| self.store.layout.name_of(written));
            // Who it is nobody can say of one that cannot be read.
            let Some(guid) = expunged.guid else { continue };
            by_mailbox.entry(mailbox.cloned().unwrap_or_else(home)).or_default().push((expunged.number, guid));
        }
        let mut restored = Vec::new();
        for (name, messages) in by_mailbox {
            let (name, opened) = match self.mailbox(&name) {
                Err(StorageError::NotFound(_) | StorageError::NotSelectable(_)) if mailbox.is_none() => {
                    match self.create(&name).and_then(|()| self.mailbox(&name)) {
                        Ok(opened) => (name, opened),
                        Err(_) => (MailboxName::inbox(), self.mailbox(&MailboxName::inbox())?),
                    }
                }
                opened => (name, opened?),
            };
            let Some(indexed) = indexed_of(&*opened) else { continue };
            let not_ours = |_| StorageError::NotFound(name.clone());
            let mails = Arc::clone(&indexed.files).into_any().downcast::<Mails>().map_err(not_ours)?;
            let back = expunged::restore(indexed, &mails, &messages)?;
            restored.push((name, back.len()));
        }
        Ok(restored)
    }
}

impl Mdboxes {
    fn counted(&self) -> MutexGuard<'_, References> {
        self.counted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks over the mailboxes, and counts what they refer to.
    fn recover_mailboxes(&self) -> Result<(RecoveryReport, References)> {
        *self.counted() = References::default();
        let report = mailbox_list::recover(self)?;
        Ok((report, std::mem::take(&mut *self.counted())))
    }

    /// Rebuilds the storage, whatever the map says. A doubt that has led to it stays until it is done.
    fn rebuild(&self) -> Result<Rebuilt> {
        let was_raised = self.shared.doubts.take();
        let rebuilt = rebuild::rebuild(&self.shared, self, true);
        if rebuilt.is_err() && was_raised {
            self.shared.doubts.put_back();
        }
        rebuilt
    }

    /// Rebuilds the storage, and notes for the report what could not be brought back.
    fn rebuild_and_tell(&self) -> Result<()> {
        let Rebuilt { lost, lost_went, .. } = self.rebuild()?;
        if lost > 0 {
            let became =
                if lost_went { "were taken out of their mailboxes" } else { "stay until all storage can be looked at" };
            let what = format!("{lost} messages are in no file of messages any more, and {became}");
            let finding = Finding::new(FindingKind::BodyMissing, self.shared.files.dir(), what);
            // They are gone: nobody is to be told that all is well again.
            let finding = Finding { outcome: Outcome::Left, ..finding };
            self.told.lock().unwrap_or_else(PoisonError::into_inner).push(finding);
        }
        Ok(())
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

    fn put_right(&self) -> Result<()> {
        let shared = &self.shared;
        if shared.env.is_read_only() {
            if matches!(shared.map.refresh(&shared.files), Err(IndexError::NeedsRebuild { .. }))
                && let Err(e) = rebuild::stand_in(shared, self)
            {
                tracing::warn!("messages cannot be looked for without the map: {e}");
            }
            return Ok(());
        }
        let is_lost = match shared.map.refresh(&shared.files) {
            Ok(map) => map.has_fsck_mark(),
            Err(IndexError::NeedsRebuild { .. }) => true,
            Err(e) => return Err(e).of_map(),
        };
        match shared.doubts.is_raised() {
            true => self.rebuild().map(|_| ()),
            false if is_lost => rebuild::rebuild(shared, self, false).map(|_| ()),
            false => Ok(()),
        }
    }

    fn is_in_doubt(&self) -> bool {
        !self.shared.env.is_read_only() && self.shared.doubts.is_raised()
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

    fn look(&self, _name: &MailboxName, dirs: &MailboxDirs, look: &mut Look<'_>) -> Result<()> {
        check::look(&self.shared, dirs, look)
    }

    fn look_at_storage(&self, look: &mut Look<'_>) -> Result<()> {
        check::look_at_storage(&self.shared, self, look)
    }

    fn mend(&self, name: &MailboxName, dirs: &MailboxDirs, found: &[Finding]) -> Result<()> {
        let needs_rebuild = mend_index(&self.shared.env, name, dirs, &self.message_store(dirs))?;
        let kinds = [FindingKind::BodyMissing, FindingKind::BodyDamaged];
        let has_bad_body = found.iter().any(|finding| finding.is_problem() && kinds.contains(&finding.kind));
        if needs_rebuild || has_bad_body || self.shared.doubts.is_raised() {
            self.rebuild_and_tell()?;
        }
        self.open(name, dirs).map(|_| ())
    }

    fn mend_storage(&self) -> Result<()> {
        self.put_right()?;
        recover::recover_map(&self.shared)?;
        self.recover_mailboxes()?;
        self.rebuild_and_tell()
    }

    fn told_by_repair(&self) -> Vec<Finding> {
        std::mem::take(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner))
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
