//! A message on its way to its recipients' mailboxes.

use std::sync::Arc;

use culver_runtime::{StoragePool, StorageProvider, User};
use mailstore::{Batch, Committed, NulPolicy, Save, SaveMeta, StorageError};
use mailtypes::{Flags, MailboxName};
use tokio::sync::oneshot;
use tracing::{error, info};

use crate::{SPOOL_LEN, reply::Reply};

/// The recipients of a message, and how far each one's copy has come.
pub(crate) struct Delivery {
    copies: Vec<Copy>,
    spool: Vec<u8>,
    size: u64,
    size_max: u64,
}

struct Copy {
    user: User,
    state: CopyState,
}

enum CopyState {
    /// Nothing has been written yet.
    New,
    Saving(Box<dyn Save>),
    Failed(StorageError),
}

/// What a recipient's copy came to.
struct Outcome {
    user: User,
    result: Result<Committed, StorageError>,
}

impl Delivery {
    pub(crate) fn new(recipients: &[User], size_max: u64) -> Self {
        let copies = recipients.iter().map(|user| Copy { user: user.clone(), state: CopyState::New });
        Self { copies: copies.collect(), spool: Vec::new(), size: 0, size_max }
    }

    /// Where the next bytes of the message go, after which [`Delivery::flush_if_full`] is due.
    pub(crate) fn spool(&mut self) -> &mut Vec<u8> {
        &mut self.spool
    }

    fn is_too_large(&self) -> bool {
        self.size + self.spool.len() as u64 > self.size_max
    }

    /// Writes the spool to the stores if it is full.
    pub(crate) async fn flush_if_full(&mut self, pool: &StoragePool, storages: &Arc<dyn StorageProvider>) {
        if self.spool.len() < SPOOL_LEN {
            return;
        }
        if self.is_too_large() {
            // What was saved so far is forgotten; the rest of the message is only counted.
            self.copies.iter_mut().for_each(|copy| copy.state = CopyState::New);
            self.size += self.spool.len() as u64;
            self.spool.clear();
            return;
        }
        let bytes: Arc<[u8]> = self.spool.as_slice().into();
        self.size += bytes.len() as u64;
        self.spool.clear();
        let mut waiting = Vec::with_capacity(self.copies.len());
        for copy in self.copies.drain(..) {
            let (bytes, storages, pool) = (Arc::clone(&bytes), Arc::clone(storages), pool.clone());
            let user = copy.user.clone();
            let step = async move {
                pool.run(&user.name, move || copy.write(&bytes, &*storages)).await.map_err(|e| (user, e))
            };
            waiting.push(tokio::spawn(step));
        }
        for copy in waiting {
            match copy.await {
                Ok(Ok(copy)) => self.copies.push(copy),
                Ok(Err((user, error))) => {
                    let state = CopyState::Failed(StorageError::Unavailable(error.to_string()));
                    self.copies.push(Copy { user, state });
                }
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
    }

    /// The message is whole: commits every copy and writes the recipients' replies, in order.
    pub(crate) async fn finish(
        self,
        pool: &StoragePool,
        storages: &Arc<dyn StorageProvider>,
        peer: &str,
        out: &mut Vec<u8>,
    ) {
        if self.is_too_large() {
            self.copies.iter().for_each(|_| Reply::TOO_LARGE.write(out));
            return;
        }
        let size = self.size + self.spool.len() as u64;
        let bytes: Arc<[u8]> = self.spool.into();
        let mut waiting = Vec::with_capacity(self.copies.len());
        for copy in self.copies {
            let (bytes, storages, pool) = (Arc::clone(&bytes), Arc::clone(storages), pool.clone());
            // Every copy is on its way before the first is waited for, so that their syncs can be one.
            waiting.push(tokio::spawn(async move { copy.commit(bytes, storages, &pool).await }));
        }
        for outcome in waiting {
            let Ok(Outcome { user, result }) = outcome.await else {
                Reply::TRY_LATER.write(out);
                continue;
            };
            match result {
                Ok(committed) => {
                    let uid = committed.saved.first().map_or(0, |uid| uid.value());
                    info!(user = %user.name, peer, mailbox = "INBOX", uid, size, "delivered");
                    Reply::DELIVERED.write(out);
                }
                Err(error) => {
                    error!(user = %user.name, peer, size, %error, "delivery failed");
                    Reply::for_error(&error).write(out);
                }
            }
        }
    }
}

impl Copy {
    fn begin(&self, storages: &dyn StorageProvider) -> mailstore::Result<Box<dyn Save>> {
        let storage = storages.storage_for(&self.user.name)?;
        // A refusal would send back mail that every other server takes.
        let meta = SaveMeta { nuls: Some(NulPolicy::Keep), ..SaveMeta::default() };
        storage.mailbox(&MailboxName::inbox())?.begin_save(meta, None)
    }

    fn write(mut self, bytes: &[u8], storages: &dyn StorageProvider) -> Self {
        let save = match self.state {
            CopyState::New => self.begin(storages),
            CopyState::Saving(save) => Ok(save),
            CopyState::Failed(error) => Err(error),
        };
        let written = save.and_then(|mut save| save.write(bytes).map(|()| save));
        self.state = written.map_or_else(CopyState::Failed, CopyState::Saving);
        self
    }

    async fn commit(self, bytes: Arc<[u8]>, storages: Arc<dyn StorageProvider>, pool: &StoragePool) -> Outcome {
        let user = self.user.clone();
        let (tell, told) = oneshot::channel();
        let submitted = pool.run(&user.name, move || self.submit(&bytes, &*storages, tell)).await;
        let result = match submitted {
            Ok(Ok(())) => {
                told.await.unwrap_or_else(|_| Err(StorageError::Unavailable("the commit was lost".to_owned())))
            }
            Ok(Err(error)) => Err(error),
            Err(error) => Err(StorageError::Unavailable(error.to_string())),
        };
        Outcome { user, result }
    }

    fn submit(
        self,
        bytes: &[u8],
        storages: &dyn StorageProvider,
        tell: oneshot::Sender<mailstore::Result<Committed>>,
    ) -> mailstore::Result<()> {
        let storage = storages.storage_for(&self.user.name)?;
        let inbox = storage.mailbox(&MailboxName::inbox())?;
        let copy = self.write(bytes, storages);
        let saved = match copy.state {
            CopyState::Saving(save) => save.finish()?,
            CopyState::Failed(error) => return Err(error),
            CopyState::New => return Err(StorageError::Unavailable("the message was never begun".to_owned())),
        };
        let ticket = inbox.submit(Batch::new().save(saved, Flags::NONE, Vec::new()))?;
        // The session may be gone by then; the message is delivered all the same.
        ticket.on_done(move |committed| drop(tell.send(committed)));
        Ok(())
    }
}
