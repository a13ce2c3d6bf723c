//! A message on its way to its recipients' mailboxes.
//!
//! A small message is held in memory and handed to all. A large one is written as it comes, to the first
//! [`COPIES_AT_ONCE`] recipients; the others get theirs, as many at a time, from one that is committed: however many
//! recipients there are, no more files are open.

use std::sync::Arc;

use culver_runtime::{METRICS, StoragePool};
use mailstore::{
    Batch, Body, Committed, MailStorage, Mailbox, NulPolicy, Result, Save, SaveMeta, Section, StorageError, ViewAs,
};
use mailtypes::{Flags, MailboxName, Uid};
use tokio::{sync::oneshot, task::JoinHandle, time::Instant};
use tracing::{debug, error, info};

use crate::{COPIES_AT_ONCE, DetailMailbox, SPOOL_LEN, SessionContext, envelope::Target, message_id::message_id};

/// Recipients whose commits are under way at once.
const COMMITS_AT_ONCE: usize = 64;

/// A message that is coming in.
pub(crate) struct Delivery {
    context: SessionContext,
    id: String,
    targets: Vec<Target>,
    /// Those that are written as the message comes; empty until it does not fit the spool.
    copies: Vec<Copy>,
    spool: Vec<u8>,
    /// Bytes of the spool that are ours: the fields on top.
    fields_len: u64,
    /// Bytes that were written, the fields on top included.
    written: u64,
    message_id: Option<String>,
    began: Instant,
}

/// A recipient's copy, and how far it has come.
struct Copy {
    target: Target,
    state: CopyState,
}

enum CopyState {
    /// Nothing has been written yet.
    New,
    Saving {
        save: Box<dyn Save>,
        mailbox: Arc<dyn Mailbox>,
    },
    Failed(StorageError),
}

/// A copy that is in its mailbox.
struct Delivered {
    mailbox: Arc<dyn Mailbox>,
    uid: Option<Uid>,
}

impl Delivery {
    /// `fields` stand on top of what the client sends.
    pub(crate) fn new(context: &SessionContext, id: String, targets: Vec<Target>, fields: String) -> Self {
        Self {
            context: context.clone(),
            id,
            targets,
            copies: Vec::new(),
            fields_len: fields.len() as u64,
            spool: fields.into_bytes(),
            written: 0,
            message_id: None,
            began: Instant::now(),
        }
    }

    /// Its name in the log.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Where the next bytes of the message go, after which [`Delivery::flush_if_full`] is due.
    pub(crate) fn spool(&mut self) -> &mut Vec<u8> {
        &mut self.spool
    }

    /// Bytes that the client sent.
    pub(crate) fn len(&self) -> u64 {
        self.written + self.spool.len() as u64 - self.fields_len
    }

    pub(crate) fn is_too_large(&self) -> bool {
        self.len() > self.context.limits.message_len_max
    }

    /// Whether so much too large that it is not even listened to.
    pub(crate) fn is_far_too_large(&self) -> bool {
        self.len() / 2 > self.context.limits.message_len_max.max(SPOOL_LEN as u64)
    }

    /// Writes the spool to the stores if it is full.
    pub(crate) async fn flush_if_full(&mut self) {
        if self.spool.len() < SPOOL_LEN {
            return;
        }
        if self.is_too_large() {
            // What was saved so far is forgotten; the rest of the message is only counted.
            self.copies.clear();
            self.written += self.spool.len() as u64;
            self.spool.clear();
            return;
        }
        if self.written == 0 {
            self.message_id = message_id(&self.spool);
            self.copies = self.targets.iter().take(COPIES_AT_ONCE).map(Copy::new).collect();
        }
        let bytes: Arc<[u8]> = self.spool.as_slice().into();
        self.written += bytes.len() as u64;
        self.spool.clear();
        self.copies = write_all(std::mem::take(&mut self.copies), bytes, &self.context).await;
    }

    /// The message is whole: commits every copy. What became of each target's, in their order.
    pub(crate) async fn finish(mut self) -> Vec<Result<()>> {
        if self.written == 0 {
            self.message_id = message_id(&self.spool);
        }
        let bytes: Arc<[u8]> = std::mem::take(&mut self.spool).into();
        self.written += bytes.len() as u64;
        let was_streamed = !self.copies.is_empty();
        let mut outcomes = Vec::with_capacity(self.targets.len());
        if was_streamed {
            let copies = std::mem::take(&mut self.copies);
            outcomes = commit_all(copies, bytes, &self.context).await;
            while outcomes.len() < self.targets.len() {
                let more = self.copy_to_next(&outcomes).await;
                outcomes.extend(more);
            }
        } else {
            for targets in self.targets.chunks(COMMITS_AT_ONCE) {
                let copies = targets.iter().map(Copy::new).collect();
                outcomes.extend(commit_all(copies, Arc::clone(&bytes), &self.context).await);
            }
        }
        self.targets.iter().zip(outcomes).map(|(target, outcome)| self.log(target, outcome)).collect()
    }

    /// Gives the next targets their copies, from one that is committed.
    async fn copy_to_next(&mut self, outcomes: &[Result<Delivered>]) -> Vec<Result<Delivered>> {
        let next = self.targets.iter().skip(outcomes.len()).take(COPIES_AT_ONCE);
        let mut copies: Vec<Copy> = next.map(Copy::new).collect();
        let mut source = match Source::open(&self.targets, outcomes, &self.context).await {
            Ok(source) => source,
            Err(error) => return copies.iter().map(|_| Err(error.clone())).collect(),
        };
        loop {
            let piece = match source.read(&self.context).await {
                Ok(piece) => piece,
                Err(error) => return copies.iter().map(|_| Err(error.clone())).collect(),
            };
            if piece.len() < SPOOL_LEN {
                return commit_all(copies, piece, &self.context).await;
            }
            copies = write_all(copies, piece, &self.context).await;
        }
    }

    fn log(&self, target: &Target, outcome: Result<Delivered>) -> Result<()> {
        let (user, peer, id) = (&target.user.name, &self.context.peer, &self.id);
        let size = self.written;
        let message_id = self.message_id.as_deref().unwrap_or("");
        let seconds = self.began.elapsed().as_secs_f64();
        match outcome {
            Ok(Delivered { mailbox, uid }) => {
                METRICS.deliveries_ok.increment();
                let uid = uid.map_or(0, Uid::value);
                let mailbox = mailbox.name();
                info!(%user, %peer, id, %mailbox, uid, message_id, size, seconds, "delivered");
                Ok(())
            }
            Err(error) => {
                METRICS.deliveries_failed.increment();
                error!(%user, %peer, id, message_id, size, seconds, %error, "delivery failed");
                Err(error)
            }
        }
    }
}

/// A committed copy that others are made of.
struct Source {
    user: culver_runtime::UserName,
    /// Missing after a step that failed.
    body: Option<Box<dyn Body>>,
    offset: u64,
}

impl Source {
    /// The first copy that was delivered and can still be read: its owner may have deleted it by now.
    async fn open(targets: &[Target], outcomes: &[Result<Delivered>], context: &SessionContext) -> Result<Self> {
        let mut last_error = StorageError::Unavailable("no copy was delivered that others could be made of".into());
        for (target, outcome) in targets.iter().zip(outcomes) {
            let Ok(Delivered { mailbox, uid: Some(uid) }) = outcome else { continue };
            let (mailbox, uid) = (Arc::clone(mailbox), *uid);
            let step = move || mailbox.view(&ViewAs::default())?.body(uid);
            match on_pool(&context.pool, &target.user.name, step).await {
                Ok(body) => return Ok(Self { user: target.user.name.clone(), body: Some(body), offset: 0 }),
                Err(error) => last_error = StorageError::Unavailable(error.to_string().into()),
            }
        }
        Err(last_error)
    }

    /// The next piece; a short one is the last.
    async fn read(&mut self, context: &SessionContext) -> Result<Arc<[u8]>> {
        let lost = || StorageError::Unavailable("the source of a copy was lost".into());
        let (mut body, offset) = (self.body.take().ok_or_else(lost)?, self.offset);
        let step = move || {
            let mut piece = vec![0; SPOOL_LEN];
            let len = body.read_at(Section::WHOLE, offset, &mut piece)?;
            piece.truncate(len);
            Ok((body, piece))
        };
        let (body, piece) = on_pool(&context.pool, &self.user, step).await?;
        self.body = Some(body);
        self.offset += piece.len() as u64;
        Ok(piece.into())
    }
}

/// Runs a step that may fail on the pool.
async fn on_pool<T: Send + 'static>(
    pool: &StoragePool,
    user: &culver_runtime::UserName,
    step: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let ran = pool.run(user, step).await;
    ran.unwrap_or_else(|error| Err(StorageError::Unavailable(error.to_string().into())))
}

/// Writes a piece to every copy, each as a step of its user's.
async fn write_all(copies: Vec<Copy>, bytes: Arc<[u8]>, context: &SessionContext) -> Vec<Copy> {
    let mut waiting = Vec::with_capacity(copies.len());
    for copy in copies {
        let (bytes, context, target) = (Arc::clone(&bytes), context.clone(), copy.target.clone());
        waiting.push(tokio::spawn(async move {
            let (pool, user) = (context.pool.clone(), target.user.name.clone());
            let ran = pool.run(&user, move || copy.write(&bytes, &context)).await;
            ran.unwrap_or_else(|error| Copy {
                target,
                state: CopyState::Failed(StorageError::Unavailable(error.to_string().into())),
            })
        }));
    }
    all(waiting).await
}

/// Writes the last piece to every copy and commits them. Every one is on its way before the first is waited for, so that
/// their syncs can be one.
async fn commit_all(copies: Vec<Copy>, bytes: Arc<[u8]>, context: &SessionContext) -> Vec<Result<Delivered>> {
    let commit = |copy: Copy| tokio::spawn(copy.commit(Arc::clone(&bytes), context.clone()));
    all(copies.into_iter().map(commit).collect()).await
}

/// What tasks brought. They go on if the session is gone.
async fn all<T>(tasks: Vec<JoinHandle<T>>) -> Vec<T> {
    let mut outcomes = Vec::with_capacity(tasks.len());
    for task in tasks {
        match task.await {
            Ok(outcome) => outcomes.push(outcome),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
    outcomes
}

impl Copy {
    fn new(target: &Target) -> Self {
        Self { target: target.clone(), state: CopyState::New }
    }

    fn begin(&self, context: &SessionContext) -> Result<(Box<dyn Save>, Arc<dyn Mailbox>)> {
        let storage = context.storages.storage_for(&self.target.user.name)?;
        let mailbox = open(&*storage, self.target.mailbox.as_ref(), context.options.detail)?;
        // A refusal would send back mail that every other server takes.
        let meta = SaveMeta { nuls: Some(NulPolicy::Keep), ..SaveMeta::default() };
        Ok((mailbox.begin_save(meta, None)?, mailbox))
    }

    fn write(mut self, bytes: &[u8], context: &SessionContext) -> Self {
        let begun = match self.state {
            CopyState::New => self.begin(context),
            CopyState::Saving { save, mailbox } => Ok((save, mailbox)),
            CopyState::Failed(error) => Err(error),
        };
        let written = begun.and_then(|(mut save, mailbox)| {
            save.write(bytes)?;
            Ok(CopyState::Saving { save, mailbox })
        });
        self.state = written.unwrap_or_else(CopyState::Failed);
        self
    }

    async fn commit(self, bytes: Arc<[u8]>, context: SessionContext) -> Result<Delivered> {
        let (pool, user) = (context.pool.clone(), self.target.user.name.clone());
        let began = Instant::now();
        let (mailbox, told) = on_pool(&pool, &user, move || self.submit(&bytes, &context)).await?;
        let committed = told.await.unwrap_or_else(|_| Err(StorageError::Unavailable("the commit was lost".into())));
        METRICS.commit.observe(began.elapsed());
        Ok(Delivered { mailbox, uid: committed?.saved.first().copied() })
    }

    fn submit(self, bytes: &[u8], context: &SessionContext) -> Result<Submitted> {
        let (save, mailbox) = match self.write(bytes, context).state {
            CopyState::Saving { save, mailbox } => (save, mailbox),
            CopyState::Failed(error) => return Err(error),
            CopyState::New => return Err(StorageError::Unavailable("the message was never begun".into())),
        };
        let ticket = mailbox.submit(Batch::new().save(save.finish()?, Flags::NONE, Vec::new()))?;
        let (tell, told) = oneshot::channel();
        // The session may be gone by then; the message is delivered all the same.
        ticket.on_done(move |committed| drop(tell.send(committed)));
        Ok((mailbox, told))
    }
}

/// Where a copy goes, and what will tell of its commit.
type Submitted = (Arc<dyn Mailbox>, oneshot::Receiver<Result<Committed>>);

/// The mailbox of a detail, if it can be had, else INBOX.
fn open(storage: &dyn MailStorage, detail: Option<&MailboxName>, rule: DetailMailbox) -> Result<Arc<dyn Mailbox>> {
    let Some(name) = detail else { return storage.mailbox(&MailboxName::inbox()) };
    let mut opened = storage.mailbox(name);
    if rule == DetailMailbox::Create && matches!(opened, Err(StorageError::NotFound(_))) {
        // Somebody else may have made it just now.
        opened = storage.create(name).or(Ok(())).and_then(|()| storage.mailbox(name));
    }
    opened.or_else(|error| {
        debug!(mailbox = %name, %error, "delivering to INBOX instead");
        storage.mailbox(&MailboxName::inbox())
    })
}
