//! What a program meets first: a store found by its path, and everyday work with few words. All of it stands on the
//! [`traits`](crate::traits); whoever needs more takes [`Store::storage`], [`StoreMailbox::mailbox`] and
//! [`StoreView::view`].
//!
//! ```no_run
//! # fn main() -> Result<(), mailstore::StorageError> {
//! use mailstore::{Append, Columns, Store, mailtypes::{Flag, SearchKey}};
//!
//! let store = Store::open("/var/mail/ann")?;
//! let inbox = store.mailbox("INBOX")?;
//! let uid = inbox.append(Append::new(b"Subject: hello\r\n\r\nworld\r\n").flag(Flag::Seen))?.uid;
//! let mut view = inbox.view()?;
//! for message in view.messages().with(Columns::envelope()) {
//!     let message = message?;
//!     println!("{} {} {}", message.uid(), message.flags(), message.envelope()?.subject());
//! }
//! view.update_one(uid).add(Flag::Flagged).commit()?;
//! let drafts = view.search(SearchKey::Flag(Flag::Draft))?;
//! view.move_to(&drafts, &store.mailbox("Drafts")?)?;
//! let changes = view.sync()?;
//! # Ok(())
//! # }
//! ```

mod append;
mod dbox;
mod detect;
mod envelope;
mod formats;
mod leftovers;
mod mailbox;
mod message;
mod update;
mod view;

use std::{path::Path, sync::Arc};

use mailfs::RealDisk;
use mailindex::engine::{Env, EnvOptions, IndexError};
use mailtypes::MailboxName;

pub(crate) use self::formats::with_format;
pub use self::{
    append::{Append, Appended},
    dbox::DboxStorage,
    detect::{Detected, detect},
    envelope::{Correspondent, MessageEnvelope},
    formats::{Format, StoreOptions, create_storage, open_dbox, open_storage, recover_storage},
    leftovers::{ForeignFile, ForeignServer},
    mailbox::StoreMailbox,
    message::{Message, Messages},
    update::Update,
    view::StoreView,
};
use crate::{
    mailbox_list::RecoveryReport,
    storage_error::from_fs,
    traits::{ListPattern, MailStorage, MailboxInfo, Result, StorageError},
};

/// A mail store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    storage: Arc<dyn MailStorage>,
    /// Where it lies, if it is known.
    env: Option<Env>,
}

impl Store {
    /// Opens the store at a path, on the real disk, in an [`Env`] of its own. Finds the format; fails with
    /// [`StorageError::NotAStore`], which says what was found, where there is none that can be opened.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_in(&real_env(), path, &StoreOptions::default())
    }

    /// Opens the store at a path for reading alone: no byte and no time of any file changes, no lock is taken, and whatever
    /// would change something fails with [`StorageError::ReadOnly`]. Also on a disk that is mounted read-only, and in
    /// folders of another user that may be read. Times of access stay too where the system grants it, which it does to
    /// who owns the files.
    ///
    /// ```
    /// # fn main() -> Result<(), mailstore::StorageError> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("mail");
    /// # mailstore::Store::create(&path)?;
    /// let store = mailstore::Store::open_read_only(&path)?;
    /// assert_eq!(store.mailbox("INBOX")?.view()?.len(), 0);
    /// assert!(matches!(store.create_mailbox("x"), Err(mailstore::StorageError::ReadOnly(_))));
    /// # Ok(())
    /// # }
    /// ```
    pub fn open_read_only(path: impl AsRef<Path>) -> Result<Self> {
        let options = StoreOptions { read_only: true, ..StoreOptions::default() };
        Self::open_in(&real_env(), path, &options)
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
        Ok(Self { storage: open_storage(env, path.as_ref(), options)?, env: Some(env.clone()) })
    }

    /// Like [`Store::create`] and [`Store::create_as`], in an `Env` that is shared with others.
    pub fn create_in(env: &Env, path: impl AsRef<Path>, options: &StoreOptions) -> Result<Self> {
        Ok(Self { storage: create_storage(env, path.as_ref(), options)?, env: Some(env.clone()) })
    }

    /// Over any backend. What [`Store::flush`] does is then up to whoever made that.
    pub fn of(storage: Arc<dyn MailStorage>) -> Self {
        Self { storage, env: None }
    }

    /// Looks over the store at a path after a crash, on the real disk: finishes what was begun, makes anew what is
    /// damaged, and tells what it did. To be called before anybody else opens the store.
    ///
    /// ```
    /// # fn main() -> Result<(), mailstore::StorageError> {
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let path = dir.path().join("mail");
    /// # mailstore::Store::create(&path)?;
    /// for mailbox in mailstore::Store::recover(&path)?.repaired {
    ///     eprintln!("{}: {:?}", mailbox.name, mailbox.reports);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn recover(path: impl AsRef<Path>) -> Result<RecoveryReport> {
        recover_storage(&real_env(), path.as_ref(), &StoreOptions::default())
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
        Ok(StoreMailbox::new(Arc::clone(&self.storage), self.storage.mailbox(&checked(name)?)?))
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

    /// Subscribes to a name, whether there is such a mailbox or not.
    pub fn subscribe(&self, name: &str) -> Result<()> {
        self.storage.subscribe(&checked(name)?)
    }

    /// Takes a name off the subscriptions.
    pub fn unsubscribe(&self, name: &str) -> Result<()> {
        self.storage.unsubscribe(&checked(name)?)
    }

    /// The names subscribed to, in order of subscribing.
    pub fn subscriptions(&self) -> Result<Vec<MailboxName>> {
        self.storage.subscriptions()
    }

    /// Waits until all flag changes made so far in this store's [`Env`] are on disk; without it they are within
    /// [`EnvOptions::flag_flush_interval`]. Messages, copies and expunges are when their calls return.
    pub fn flush(&self) -> Result<()> {
        let Some(env) = &self.env else { return Ok(()) };
        env.flush().map_err(|error| match error {
            IndexError::Fs(error) => from_fs(&error),
            other => StorageError::Io((&other).into()),
        })
    }
}

fn real_env() -> Env {
    Env::new(Arc::new(RealDisk::new()), EnvOptions::default())
}

fn checked(name: &str) -> Result<MailboxName> {
    MailboxName::new(name).map_err(|source| StorageError::InvalidName { name: name.to_owned(), source })
}
