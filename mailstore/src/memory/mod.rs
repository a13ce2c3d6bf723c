//! A complete backend in memory: for tests, for examples, and as the model that other backends are compared with.
//!
//! With [`MemoryOptions::commit_delay`] it behaves like a backend far away: a commit takes that long, becomes visible
//! and completes its tickets at its end, and all that was queued for a mailbox when a commit starts goes in one. One
//! timer thread a storage serves all its mailboxes.
//!
//! # Invariants
//!
//! 1. A `Snapshot` never changes. A commit makes the next one beside it and publishes it whole, so that
//!    views read without a lock and never see half a commit or one that is not done.
//! 2. At most one commit of a mailbox is under way (`State`), so that commits are in the order of `submit`.
//! 3. Locks are leaves: none is taken while another is held, and no callback runs under one.
//! 4. Mod-sequences grow by one a change record, as in a transaction log (`docs/formats/log.md`, "Modseqs"): a run of
//!    saves and copies is one record, a change of flags is one, an expunge is one.

mod body;
mod commit;
mod history;
mod list;
mod mailbox;
mod save;
mod snapshot;
mod state;
mod timer;
mod view;

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mailtypes::MailboxName;

use self::{list::MailboxList, mailbox::MemoryMailbox, timer::Timer};
use crate::traits::{
    Batch, Judged, ListPattern, MailStorage, Mailbox, MailboxIdentity, MailboxInfo, OnlyIf, Result, StorageError,
    ViewAs,
};

/// How a [`MemoryStorage`] behaves.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MemoryOptions {
    /// How long a commit takes. With zero it is done when `submit` returns.
    pub commit_delay: Duration,
    /// Largest message taken in, in bytes with CRLF line ends.
    pub message_size_max: u64,
}

impl MemoryOptions {
    /// Default of [`MemoryOptions::message_size_max`].
    pub const MESSAGE_SIZE_MAX: u64 = 256 << 20;
}

impl Default for MemoryOptions {
    fn default() -> Self {
        Self { commit_delay: Duration::ZERO, message_size_max: Self::MESSAGE_SIZE_MAX }
    }
}

/// One user's mail in memory. It lives as long as this or a mailbox of it does.
///
/// ```
/// use mailstore::{Batch, MailStorage, SaveMeta, ViewAs, memory::MemoryStorage};
/// use mailtypes::{Flag, MailboxName};
///
/// let storage = MemoryStorage::default();
/// let inbox = storage.mailbox(&MailboxName::inbox())?;
/// let mut save = inbox.begin_save(SaveMeta::default(), None)?;
/// save.write(b"Subject: Hello\r\n\r\nWorld\r\n")?;
/// let message = save.finish()?;
/// let committed = inbox.submit(Batch::new().save(message, Flag::Seen.into(), vec![]))?.wait()?;
/// assert_eq!(committed.saved.len(), 1);
/// assert_eq!(inbox.view(&ViewAs::default())?.message_count(), 1);
/// # Ok::<(), mailstore::StorageError>(())
/// ```
pub struct MemoryStorage {
    shared: Arc<Shared>,
}

/// What a storage and its mailboxes have in common.
struct Shared {
    options: MemoryOptions,
    timer: Option<Timer>,
    list: Mutex<MailboxList>,
}

impl Shared {
    fn list(&self) -> MutexGuard<'_, MailboxList> {
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryStorage {
    /// A storage with an empty INBOX.
    pub fn new(options: MemoryOptions) -> Self {
        let timer = (!options.commit_delay.is_zero()).then(|| Timer::new(options.commit_delay));
        let list = Mutex::new(MailboxList::new(unix_now()));
        Self { shared: Arc::new(Shared { options, timer, list }) }
    }

    fn open(&self, name: &MailboxName) -> Result<MemoryMailbox> {
        let state = self.shared.list().find(name)?;
        Ok(MemoryMailbox::new(name.clone(), state, Arc::clone(&self.shared)))
    }

    /// RFC 9051 §6.3.6: the messages move to a new mailbox, the INBOX and what lies below it stay.
    fn rename_inbox(&self, to: &MailboxName) -> Result<()> {
        let inbox = Arc::new(self.open(&MailboxName::inbox())?);
        self.shared.list().create(to)?;
        let uids = inbox.view(&ViewAs::default())?.uids();
        let copy = Batch::new().copy(Arc::clone(&inbox) as Arc<dyn Mailbox>, uids.clone());
        self.open(to)?.submit(copy)?.wait()?;
        inbox.submit(Batch::new().expunge(uids))?.wait()?;
        Ok(())
    }
}

impl Default for MemoryStorage {
    fn default() -> Self {
        Self::new(MemoryOptions::default())
    }
}

impl fmt::Debug for MemoryStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStorage").field("options", &self.shared.options).finish_non_exhaustive()
    }
}

impl MailStorage for MemoryStorage {
    fn list(&self, pattern: &ListPattern) -> Result<Vec<MailboxInfo>> {
        Ok(self.shared.list().list(pattern))
    }

    fn mailbox(&self, name: &MailboxName) -> Result<Arc<dyn Mailbox>> {
        Ok(Arc::new(self.open(name)?))
    }

    fn create(&self, name: &MailboxName) -> Result<()> {
        self.shared.list().create(name)
    }

    fn delete(&self, name: &MailboxName) -> Result<()> {
        if name.is_inbox() {
            return Err(StorageError::NotPossible("INBOX cannot be deleted"));
        }
        let state = self.shared.list().delete(name)?;
        state.delete();
        Ok(())
    }

    fn delete_only_if(&self, name: &MailboxName, judged: &Judged) -> Result<()> {
        if name.is_inbox() {
            return Err(StorageError::NotPossible("INBOX cannot be deleted"));
        }
        let state = self.shared.list().find(name)?;
        if !state.delete_if(judged) {
            return Err(StorageError::Changed(name.clone()));
        }
        self.shared.list().delete(name).map(|_| ())
    }

    fn rename(&self, from: &MailboxName, to: &MailboxName) -> Result<()> {
        if from.is_inbox() { self.rename_inbox(to) } else { self.shared.list().rename(from, to) }
    }

    fn replace(&self, name: &MailboxName, identity: &MailboxIdentity, only_if: OnlyIf) -> Result<()> {
        let there = self.shared.list().find(name);
        let may_go = match (only_if, &there) {
            (OnlyIf::Nothing, Ok(_)) => false,
            (OnlyIf::As(judged), Ok(there)) => there.delete_if(&judged),
            _ => true,
        };
        if !may_go {
            return Err(StorageError::Changed(name.clone()));
        }
        let before = self.shared.list().replace(name, identity);
        before.iter().for_each(|state| state.delete());
        Ok(())
    }

    fn subscribe(&self, name: &MailboxName) -> Result<()> {
        self.shared.list().subscribe(name);
        Ok(())
    }

    fn unsubscribe(&self, name: &MailboxName) -> Result<()> {
        self.shared.list().unsubscribe(name);
        Ok(())
    }

    fn subscriptions(&self) -> Result<Vec<MailboxName>> {
        Ok(self.shared.list().subscriptions().to_vec())
    }
}

/// Seconds since 1970; 0 if the clock is before that.
fn unix_now() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(0))
}
