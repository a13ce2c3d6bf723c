//! What a program meets first: a store found by its path, and everyday work with few words. All of it stands on the
//! [`traits`](crate::traits); whoever needs more takes [`Store::storage`].
//!
//! ```no_run
//! # fn main() -> Result<(), mailstore::StorageError> {
//! use mailstore::{Append, Store, mailtypes::Flag};
//!
//! let store = Store::open("/var/mail/ann")?;
//! let inbox = store.mailbox("INBOX")?;
//! let uid = inbox.append(Append::new(b"Subject: hello\r\n\r\nworld\r\n").flag(Flag::Seen))?.uid;
//! let mut view = inbox.view()?;
//! for message in view.messages() {
//!     println!("{} {} {}", message.uid(), message.flags(), message.envelope()?.subject());
//! }
//! view.update_one(uid).add(Flag::Deleted).commit()?;
//! let changes = view.sync()?;
//! # Ok(())
//! # }
//! ```

mod detect;
mod formats;
mod message;
mod update;

use std::{path::Path, sync::Arc};

use mailfs::RealDisk;
use mailindex::engine::{Env, EnvOptions};
use mailtypes::{Flag, Flags, InternalDate, Keyword, MailboxName, Uid, UidSet, UidValidity};

pub use self::{
    detect::{Detected, detect},
    formats::{Format, StoreOptions, create_storage, open_storage, recover_storage},
    message::{Message, MessageEnvelope, Messages},
    update::Update,
};
use crate::traits::{
    Batch, Changes, Expunges, ListPattern, MailStorage, Mailbox, MailboxInfo, Result, SaveMeta, Status, StorageError,
    View, ViewAs, Wake, Watch,
};

/// A mail store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    storage: Arc<dyn MailStorage>,
}

impl Store {
    /// Opens the store at a path, on the real disk, in an [`Env`] of its own. Finds the format; fails with
    /// [`StorageError::NotAStore`], which says what was found, where there is none that can be opened.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_in(&real_env(), path, &StoreOptions::default())
    }

    /// Makes an sdbox store with an empty INBOX, or opens the one that is there, whatever its format.
    pub fn create(path: impl AsRef<Path>) -> Result<Self> {
        Self::create_in(&real_env(), path, &StoreOptions::default())
    }

    /// Makes a store of a format with an empty INBOX, or opens the one that is there, which must have this format.
    pub fn create_as(path: impl AsRef<Path>, format: Format) -> Result<Self> {
        Self::create_in(&real_env(), path, &StoreOptions { format: Some(format), ..StoreOptions::default() })
    }

    /// Like [`Store::open`], in an `Env` that is shared with others: whoever opens many stores should.
    pub fn open_in(env: &Env, path: impl AsRef<Path>, options: &StoreOptions) -> Result<Self> {
        Ok(Self::of(open_storage(env, path.as_ref(), options)?))
    }

    /// Like [`Store::create`] and [`Store::create_as`], in an `Env` that is shared with others.
    pub fn create_in(env: &Env, path: impl AsRef<Path>, options: &StoreOptions) -> Result<Self> {
        Ok(Self::of(create_storage(env, path.as_ref(), options)?))
    }

    /// Over any backend.
    pub fn of(storage: Arc<dyn MailStorage>) -> Self {
        Self { storage }
    }

    /// What it stands on.
    pub fn storage(&self) -> &Arc<dyn MailStorage> {
        &self.storage
    }

    /// All mailboxes, INBOX first.
    pub fn list(&self) -> Result<Vec<MailboxInfo>> {
        self.storage.list(&ListPattern::all())
    }

    /// Opens a mailbox.
    pub fn mailbox(&self, name: &str) -> Result<StoreMailbox> {
        Ok(StoreMailbox { mailbox: self.storage.mailbox(&checked(name)?)? })
    }

    /// Makes a mailbox.
    pub fn create_mailbox(&self, name: &str) -> Result<()> {
        self.storage.create(&checked(name)?)
    }

    /// Deletes a mailbox with its messages.
    pub fn delete_mailbox(&self, name: &str) -> Result<()> {
        self.storage.delete(&checked(name)?)
    }

    /// Renames a mailbox and all below it.
    pub fn rename_mailbox(&self, from: &str, to: &str) -> Result<()> {
        self.storage.rename(&checked(from)?, &checked(to)?)
    }
}

fn real_env() -> Env {
    Env::new(Arc::new(RealDisk::new()), EnvOptions::default())
}

fn checked(name: &str) -> Result<MailboxName> {
    MailboxName::new(name).map_err(|source| StorageError::InvalidName { name: name.to_owned(), source })
}

/// A mailbox of a [`Store`]. Cheap to clone.
#[derive(Clone, Debug)]
pub struct StoreMailbox {
    mailbox: Arc<dyn Mailbox>,
}

/// A message to be appended.
#[derive(Clone, Debug)]
pub struct Append<'a> {
    raw: &'a [u8],
    flags: Flags,
    keywords: Vec<Keyword>,
    meta: SaveMeta,
}

/// Where an appended message is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Appended {
    /// Its UID.
    pub uid: Uid,
    /// The incarnation of the mailbox that the UID belongs to.
    pub uid_validity: UidValidity,
}

impl<'a> Append<'a> {
    /// A message, line ends LF or CRLF, without flags, arriving now.
    pub fn new(raw: &'a [u8]) -> Self {
        Self { raw, flags: Flags::NONE, keywords: Vec::new(), meta: SaveMeta::default() }
    }

    /// With one more flag.
    pub fn flag(mut self, flag: Flag) -> Self {
        self.flags = self.flags | flag.into();
        self
    }

    /// With one more keyword.
    pub fn keyword(mut self, keyword: Keyword) -> Self {
        self.keywords.push(keyword);
        self
    }

    /// With this time of arrival.
    pub fn internal_date(mut self, date: InternalDate) -> Self {
        self.meta.internal_date = Some(date);
        self
    }
}

impl StoreMailbox {
    /// What it stands on.
    pub fn mailbox(&self) -> &Arc<dyn Mailbox> {
        &self.mailbox
    }

    /// Counts, after looking for changes of others.
    pub fn status(&self) -> Result<Status> {
        self.mailbox.status()
    }

    /// Appends a message. It is on disk when this returns.
    pub fn append(&self, append: Append<'_>) -> Result<Appended> {
        let mut save = self.mailbox.begin_save(append.meta, Some(append.raw.len() as u64))?;
        save.write(append.raw)?;
        let batch = Batch::new().save(save.finish()?, append.flags, append.keywords);
        let committed = self.mailbox.submit(batch)?.wait()?;
        let uid = committed.saved.first().copied();
        let uid = uid.ok_or_else(|| StorageError::Io("the store told no UID for the message".to_owned()))?;
        Ok(Appended { uid, uid_validity: committed.uid_validity })
    }

    /// A snapshot.
    pub fn view(&self) -> Result<StoreView> {
        let view = self.mailbox.view(&ViewAs::default())?;
        Ok(StoreView { view, mailbox: Arc::clone(&self.mailbox) })
    }

    /// Calls `wake` after changes by anyone, from any thread, until the watch is dropped; it must not block, and may be
    /// called too often.
    pub fn watch(&self, wake: impl Fn() + Send + Sync + 'static) -> Result<Box<dyn Watch>> {
        let wake: Wake = Arc::new(wake);
        self.mailbox.watch(wake)
    }
}

/// A snapshot of a mailbox: nothing in it changes but by [`StoreView::sync`].
pub struct StoreView {
    view: Box<dyn View>,
    mailbox: Arc<dyn Mailbox>,
}

impl StoreView {
    /// What it stands on.
    pub fn view(&self) -> &dyn View {
        &*self.view
    }

    /// The messages, in order. Flags and UIDs are read in batches; everything else of a message when it is asked for.
    pub fn messages(&self) -> Messages<'_> {
        Messages::new(&*self.view)
    }

    /// A change of flags on many messages.
    pub fn update<'a>(&'a self, uids: &UidSet) -> Update<'a> {
        Update::new(&*self.mailbox, uids.clone())
    }

    /// A change of flags on one message.
    pub fn update_one(&self, uid: Uid) -> Update<'_> {
        let mut uids = UidSet::new();
        uids.insert(uid);
        Update::new(&*self.mailbox, uids)
    }

    /// Expunges messages; the view shows it after the next [`StoreView::sync`]. Tells which were there to be expunged.
    pub fn expunge(&self, uids: &UidSet) -> Result<UidSet> {
        Ok(self.mailbox.submit(Batch::new().expunge(uids.clone()))?.wait()?.expunged)
    }

    /// Looks for what this program and others did since, and shows it.
    pub fn sync(&mut self) -> Result<Changes> {
        self.view.sync(Expunges::Apply)
    }
}

impl std::fmt::Debug for StoreView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoreView").field("mailbox", &self.mailbox).finish_non_exhaustive()
    }
}
