//! One import: takes each message of a source in, in batches.

use std::{collections::HashSet, sync::Arc};

use mailtypes::{Guid, MailboxName, Uid, UidSet};

use super::{
    ImportFailure, ImportOptions, ImportProgress, ImportSummary,
    identity::Identities,
    source::{Found, Message, Source},
};
use crate::traits::{
    Batch, Column, Columns, Cursor, Expunges, ListPattern, MailStorage, Mailbox, NulPolicy, Result, Rows, SaveMeta,
    ScanBudget, StorageError, View, ViewAs,
};

/// Messages of one commit.
const BATCH_COUNT_MAX: u64 = 200;
/// Bytes of one commit.
const BATCH_LEN_MAX: u64 = 32 << 20;

/// See the module.
pub(super) struct Run<'a> {
    storage: &'a dyn MailStorage,
    options: &'a ImportOptions,
    tell: &'a mut dyn FnMut(&ImportProgress),
    /// What the store has.
    there: HashSet<Guid>,
    identities: Identities,
    target: Option<Target>,
    summary: ImportSummary,
}

/// The mailbox that messages go to at the time.
struct Target {
    name: MailboxName,
    mailbox: Arc<dyn Mailbox>,
    batch: Batch,
    count: u64,
    bytes: u64,
    /// The first UID that a message of this run can have.
    first: Uid,
    /// The messages of this run.
    saved: UidSet,
    /// Their GUIDs.
    given: HashSet<Guid>,
}

impl Target {
    fn open(storage: &dyn MailStorage, name: &MailboxName) -> Result<Self> {
        let mailbox = match storage.mailbox(name) {
            Err(StorageError::NotFound(_) | StorageError::NotSelectable(_)) => {
                storage.create(name)?;
                storage.mailbox(name)?
            }
            other => other?,
        };
        let first = mailbox.view(&ViewAs::default())?.uid_next();
        let (saved, given) = (UidSet::new(), HashSet::new());
        Ok(Self { name: name.clone(), mailbox, batch: Batch::new(), count: 0, bytes: 0, first, saved, given })
    }

    /// A run that was killed may have left files of messages that it never committed. A backend that takes such files in
    /// does so with the next commit, which was one of ours, so that they are here twice.
    fn expunge_leftovers(&self) -> Result<()> {
        let mut view = self.mailbox.view(&ViewAs::default())?;
        view.sync(Expunges::Apply)?;
        let mut since = UidSet::new();
        since.insert_range(self.first..=Uid::MAX);
        let others = view.uids().difference(&self.saved).intersection(&since);
        if others.is_empty() {
            return Ok(());
        }
        let mut twice = UidSet::new();
        for_each_guid(&*view, &others, |uid, guid| {
            if self.given.contains(&guid) {
                twice.insert(uid);
            }
        })?;
        if !twice.is_empty() {
            self.mailbox.submit(Batch::new().expunge(twice))?.wait()?;
        }
        Ok(())
    }
}

impl<'a> Run<'a> {
    pub(super) fn begin(
        storage: &'a dyn MailStorage,
        options: &'a ImportOptions,
        tell: &'a mut dyn FnMut(&ImportProgress),
    ) -> Result<Self> {
        let there = guids(storage)?;
        let (identities, summary) = (Identities::default(), ImportSummary::default());
        Ok(Self { storage, options, tell, there, identities, target: None, summary })
    }

    /// Takes all messages in.
    pub(super) fn all(mut self, source: &mut dyn Source) -> Result<ImportSummary> {
        self.summary.progress.size = source.size();
        while let Some(found) = source.next()? {
            match found {
                Found::Message(message) => self.one(&message)?,
                Found::Broken(failure) => self.failed(failure),
            }
            self.summary.progress.done = source.done();
            (self.tell)(&self.summary.progress);
        }
        self.leave()?;
        (self.tell)(&self.summary.progress);
        Ok(self.summary)
    }

    fn failed(&mut self, failure: ImportFailure) {
        self.summary.progress.failed += 1;
        if self.summary.failures.len() < ImportSummary::FAILURES_MAX {
            self.summary.failures.push(failure);
        }
    }

    fn one(&mut self, message: &Message) -> Result<()> {
        let outcome = match self.identities.next(&message.mailbox, &message.content) {
            Ok(guid) if self.there.contains(&guid) => {
                self.summary.progress.skipped += 1;
                return Ok(());
            }
            Ok(guid) => self.take_in(message, guid),
            Err(error) => Err(error),
        };
        match outcome {
            Ok(()) => Ok(()),
            // The store as a whole cannot go on.
            Err(error @ (StorageError::NoSpace(_) | StorageError::ReadOnly(_) | StorageError::Fenced(_))) => Err(error),
            Err(error) => {
                self.failed(ImportFailure { what: message.what.clone(), error });
                Ok(())
            }
        }
    }

    fn take_in(&mut self, message: &Message, guid: Guid) -> Result<()> {
        let len = message.content.len();
        if len > self.options.message_len_max {
            return Err(StorageError::Limit { name: "message_len_max", limit: self.options.message_len_max });
        }
        let (internal_date, nuls) = (message.date, Some(NulPolicy::Keep));
        let meta = SaveMeta { internal_date, guid: Some(guid), nuls, ..SaveMeta::default() };
        let target = self.target(&message.mailbox)?;
        let mut save = target.mailbox.begin_save(meta, Some(len))?;
        message.content.read(&mut |piece| save.write(piece))?;
        let saved = save.finish()?;
        let batch = std::mem::take(&mut target.batch);
        target.batch = batch.save(saved, message.flags, message.keywords.clone());
        target.given.insert(guid);
        target.count += 1;
        target.bytes += len;
        if target.count >= BATCH_COUNT_MAX || target.bytes >= BATCH_LEN_MAX {
            self.commit()?;
        }
        Ok(())
    }

    /// The mailbox with that name, made if it is not there.
    fn target(&mut self, name: &MailboxName) -> Result<&mut Target> {
        if self.target.as_ref().is_none_or(|target| target.name != *name) {
            self.leave()?;
            self.target = Some(Target::open(self.storage, name)?);
        }
        self.target.as_mut().ok_or_else(|| StorageError::NotFound(name.clone()))
    }

    /// Ends the work on the mailbox that messages went to.
    fn leave(&mut self) -> Result<()> {
        self.commit()?;
        match self.target.take().filter(|target| !target.saved.is_empty()) {
            Some(target) => target.expunge_leftovers(),
            None => Ok(()),
        }
    }

    fn commit(&mut self) -> Result<()> {
        let Some(target) = self.target.as_mut().filter(|target| target.count > 0) else { return Ok(()) };
        let batch = std::mem::take(&mut target.batch);
        let count = std::mem::take(&mut target.count);
        target.bytes = 0;
        let committed = target.mailbox.submit(batch)?.wait()?;
        committed.saved.into_iter().for_each(|uid| target.saved.insert(uid));
        self.summary.progress.imported += count;
        Ok(())
    }
}

/// The GUIDs of all messages of a store.
fn guids(storage: &dyn MailStorage) -> Result<HashSet<Guid>> {
    let mut guids = HashSet::new();
    for info in storage.list(&ListPattern::all())?.into_iter().filter(|info| info.selectable) {
        let view = storage.mailbox(&info.name)?.view(&ViewAs::default())?;
        for_each_guid(&*view, &view.uids(), |_, guid| {
            guids.insert(guid);
        })?;
        view.flush_cache();
    }
    Ok(guids)
}

fn for_each_guid(view: &dyn View, uids: &UidSet, mut each: impl FnMut(Uid, Guid)) -> Result<()> {
    let columns = Columns::flags().with(Column::Guid);
    let mut rows = Rows::new();
    let mut at = Some(Cursor::START);
    while let Some(cursor) = at {
        rows.clear();
        at = view.scan(uids, cursor, &columns, ScanBudget::default(), &mut rows)?;
        rows.rows.iter().filter_map(|row| row.guid.map(|guid| (row.uid, guid))).for_each(|(uid, guid)| each(uid, guid));
    }
    Ok(())
}
