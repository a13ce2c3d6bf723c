//! A batch on its way into a mailbox, as one operation: it is there whole or not at all. What is done to files under the
//! log's lock is the [`Backend`]'s.

use std::sync::Arc;

use mailfs::FileHandle;
use mailindex::{
    engine::{CommitError, CommitOp, CommitOutcome, CommitPoint, Completer, OpError, completion},
    log::{FlagChange as LogFlagChange, KeywordAction, Origin},
    state::State,
};
use mailtypes::{Flags, Keyword, MailboxName, Uid, UidSet, UidValidity};

use super::{
    Applied, Backend, CopyFrom, First, Indexed, IndexedMailbox, Private, Staged, apply, effective, from_commit,
    indexed_of,
    mailbox::committing,
    private::{PrivateChange, own_flags},
    records, unix_now, values_of_saved,
};
use crate::{
    copy::{CopyOptions, stage_copies},
    traits::{
        Batch, BatchItem, Committed, CopySource, FlagChange, Kept, Mailbox, Result, Saved, StorageError, Ticket, ViewAs,
    },
};

/// Why a message cannot keep its UID.
const NOT_FREE: &str = "A UID that a message was to keep is not free";

/// A change, ready for the lock.
enum Item<B: Backend> {
    Save {
        message: Box<Staged<B::Waiting>>,
        flags: Flags,
        keywords: Vec<Keyword>,
        kept: Option<Kept>,
        /// Where it is a copy that had to be moved byte by byte.
        copy_of: Option<Original>,
    },
    Copy {
        source: Arc<Indexed>,
        files: Arc<B>,
        uids: UidSet,
    },
    Flags(FlagChange),
    Expunge(UidSet),
}

/// The message that a copy was made of.
#[derive(Clone, Copy)]
struct Original {
    uid: Uid,
    /// It is in the mailbox that the copy goes to: what the batch does to it first, the copy has too.
    is_here: bool,
}

impl<B: Backend> Item<B> {
    fn adds_messages(&self) -> bool {
        matches!(self, Self::Save { .. } | Self::Copy { .. })
    }
}

/// Queues a batch. Copies from another kind of store are read here and now.
pub(super) fn submit<B: Backend>(files: Arc<B>, mailbox: &IndexedMailbox, batch: Batch) -> Result<Ticket> {
    let mut items = Vec::with_capacity(batch.items.len());
    for item in batch.items {
        match item {
            BatchItem::Save { message, flags, keywords, kept } => {
                items.push(Item::Save { message: own_message(message)?, flags, keywords, kept, copy_of: None });
            }
            BatchItem::Copy(source) => copies(&files, mailbox, &source, &mut items)?,
            BatchItem::Flags(change) => items.push(Item::Flags(change)),
            BatchItem::Expunge(uids) => items.push(Item::Expunge(uids)),
        }
    }
    let Indexed { name, index, private, .. } = &*mailbox.indexed;
    let (completer, completion) = completion(index);
    let name = name.clone();
    let (made, placed) = (Made::default(), B::Placed::default());
    let completer = Some(completer);
    index.enqueue(Box::new(BatchOp { name, files, items, private: private.clone(), completer, made, placed }));
    Ok(committing(completion, private.clone()))
}

fn own_message<W: 'static>(message: Saved) -> Result<Box<Staged<W>>> {
    let foreign = |_| StorageError::NotPossible("Message was taken in by another store");
    message.0.into_any().downcast().map_err(foreign)
}

fn copies<B: Backend>(
    files: &Arc<B>,
    mailbox: &IndexedMailbox,
    source: &CopySource,
    items: &mut Vec<Item<B>>,
) -> Result<()> {
    let uids = &source.uids;
    if let Some(indexed) = indexed_of(&*source.mailbox)
        && let Ok(near) = Arc::clone(&indexed.files).into_any().downcast::<B>()
        && files.is_near(&near)
    {
        items.push(Item::Copy { source: Arc::clone(indexed), files: near, uids: uids.clone() });
        return Ok(());
    }
    let is_here = indexed_of(&*source.mailbox).is_some_and(|other| Arc::ptr_eq(&other.index, &mailbox.indexed.index));
    let view = source.mailbox.view(&ViewAs::default())?;
    let (batch, sources) = stage_copies(&*view, uids, mailbox as &dyn Mailbox, &CopyOptions { keep_guids: true })?;
    for (item, uid) in batch.items.into_iter().zip(sources) {
        if let BatchItem::Save { message, flags, keywords, kept } = item {
            let copy_of = Some(Original { uid, is_here });
            items.push(Item::Save { message: own_message(message)?, flags, keywords, kept, copy_of });
        }
    }
    Ok(())
}

/// The operation.
struct BatchOp<B: Backend> {
    name: MailboxName,
    files: Arc<B>,
    items: Vec<Item<B>>,
    /// Its user's own flags.
    private: Option<Arc<Private>>,
    completer: Option<Completer<Result<Done>>>,
    made: Made,
    placed: B::Placed,
}

/// What it came to.
pub(super) struct Done {
    pub(super) committed: Committed,
    /// What is yet to be written into the index of the user's own.
    pub(super) private: PrivateChange,
    /// The mailbox after it.
    pub(super) state: State,
}

/// What it did.
#[derive(Default)]
struct Made {
    /// Changes of flags so far.
    applied: Vec<Applied>,
    saved: Vec<Uid>,
    copied: Vec<(Uid, Uid)>,
    modified: UidSet,
    expunged: UidSet,
    uid_validity: Option<UidValidity>,
    private: PrivateChange,
}

impl<B: Backend> CommitOp for BatchOp<B> {
    fn files_to_sync(&self) -> Vec<FileHandle> {
        let file = |item: &Item<B>| match item {
            Item::Save { message, .. } => message.unsynced.as_ref().map(|unsynced| Arc::clone(&unsynced.file)),
            _ => None,
        };
        self.items.iter().filter_map(file).collect()
    }

    fn touches_messages(&self) -> bool {
        !self.items.iter().all(|item| matches!(item, Item::Flags(_)))
    }

    fn prepare(&mut self, at: &mut CommitPoint<'_>) -> std::result::Result<(), OpError> {
        let Self { files, items, made, placed, private, .. } = self;
        let own = private.as_ref().map_or(Flags::NONE, |_| own_flags());
        made.uid_validity = at.state().uid_validity();
        // Its user's flags may be others than the log's.
        let shown = match private {
            Some(private) => private.shown(at.state().clone()).map_err(OpError::refused)?,
            None => at.state().clone(),
        };
        let mut gone = UidSet::new();
        if items.iter().any(Item::adds_messages) {
            files.begin(at, placed)?;
        } else if items.iter().any(|item| matches!(item, Item::Expunge(_))) {
            gone = files.begin_expunge(at)?;
        }
        for item in items {
            match item {
                Item::Save { message, flags, keywords, kept, copy_of } => {
                    if let Some(source) = copy_of.filter(|source| source.is_here) {
                        if made.expunged.contains(source.uid) {
                            continue;
                        }
                        let Some(record) = shown.record_of(source.uid) else { continue };
                        (*flags, *keywords) = effective(&shown, &record, &made.applied);
                    }
                    let with = First { flags: flags.without(own), keywords, kept: *kept };
                    let uid = save(&**files, at, placed, message, with)?;
                    made.private.saved(uid, *flags);
                    match copy_of {
                        Some(source) => made.copied.push((source.uid, uid)),
                        None => made.saved.push(uid),
                    }
                }
                Item::Copy { source, files: from, uids } => {
                    let here = source.index.dir() == at.dir();
                    let state = if here {
                        shown.clone()
                    } else {
                        source.shown(source.index.refresh()?).map_err(OpError::refused)?
                    };
                    copy(&**files, at, placed, made, CopyOf { source, from, state, here, uids }, own)?;
                }
                Item::Flags(change) => {
                    let left_alone = apply(at, change, &mut made.applied, B::FLAGS_ORIGIN, own);
                    if private.is_some() {
                        let changed = made.private.note(change, &shown, &left_alone);
                        // Everybody is told that something about them is another now.
                        let told = LogFlagChange { count_modseq: true, ..LogFlagChange::default() };
                        at.transaction().flags(&changed, told, Origin::External);
                    }
                    made.modified = made.modified.union(&left_alone);
                }
                Item::Expunge(uids) => {
                    // What another operation of this append asked to expunge is that one's.
                    let there = at.state().uids().difference(&at.state().requested_expunges());
                    let uids = uids.difference(&gone);
                    made.expunged = made.expunged.union(&uids.intersection(&there));
                    at.expunge(&uids);
                }
            }
        }
        if !made.saved.is_empty() || !made.copied.is_empty() {
            files.end(at, placed)?;
            at.require_sync();
        }
        Ok(())
    }

    fn undo(&mut self) {
        self.files.undo(std::mem::take(&mut self.placed));
    }

    fn done(mut self: Box<Self>, outcome: std::result::Result<&CommitOutcome, Arc<CommitError>>) {
        let made = std::mem::take(&mut self.made);
        let result = match outcome {
            Ok(outcome) => Ok(Done {
                state: outcome.state.clone(),
                private: made.private,
                committed: Committed {
                    uid_validity: made.uid_validity.unwrap_or(UidValidity::MIN),
                    saved: made.saved,
                    copied: made.copied,
                    modified: made.modified,
                    expunged: made.expunged,
                    highest_modseq: outcome.state.highest_modseq(),
                },
            }),
            Err(error) => Err(from_commit(&self.name, &error)),
        };
        if let Some(completer) = self.completer.take() {
            completer.complete(result);
        }
    }
}

/// Gives a message that was taken in its place and its record.
fn save<B: Backend>(
    files: &B,
    at: &mut CommitPoint<'_>,
    placed: &mut B::Placed,
    message: &mut Staged<B::Waiting>,
    with: First<'_>,
) -> std::result::Result<Uid, OpError> {
    if let Some(kept) = with.kept {
        at.raise_next_uid(kept.uid);
    }
    let uid = files.place(at, placed, message, with)?;
    if with.kept.is_some_and(|kept| kept.uid != uid) {
        return Err(OpError::refused(StorageError::NotPossible(NOT_FREE)));
    }
    append(at, uid, with);
    let save_date = with.kept.and_then(|kept| u32::try_from(kept.save_date?).ok());
    let saved = save_date.unwrap_or_else(|| unix_now(&**files.fs()));
    at.cache(uid, values_of_saved(&message.structure, message.preview.as_deref(), message.received, saved));
    Ok(uid)
}

/// What is to be copied within a store.
struct CopyOf<'a, B> {
    source: &'a Arc<Indexed>,
    from: &'a Arc<B>,
    /// The source as its user sees it.
    state: State,
    /// It is the mailbox that the copies go to.
    here: bool,
    uids: &'a UidSet,
}

/// Copies within a store.
fn copy<B: Backend>(
    files: &B,
    at: &mut CommitPoint<'_>,
    placed: &mut B::Placed,
    made: &mut Made,
    CopyOf { source, from, state, here, uids }: CopyOf<'_, B>,
    own: Flags,
) -> std::result::Result<(), OpError> {
    let copy_from = CopyFrom { files: &**from, index: &source.index, state: &state };
    for record in records(&state, uids) {
        let uid = record.uid();
        if here && made.expunged.contains(uid) {
            continue;
        }
        let (flags, keywords) = effective(&state, &record, if here { &made.applied } else { &[] });
        let with = First { flags: flags.without(own), keywords: &keywords, kept: None };
        if let Some(copied) = files.copy(at, placed, &copy_from, uid, with)? {
            append(at, copied, with);
            made.private.saved(copied, flags);
            made.copied.push((uid, copied));
        }
    }
    // What was found by its name may be another mailbox's.
    Ok(source.index.check_place()?)
}

fn append(at: &mut CommitPoint<'_>, uid: Uid, with: First<'_>) {
    at.transaction().append(uid, with.flags);
    let one: UidSet = std::iter::once(uid).collect();
    for keyword in with.keywords {
        at.transaction().keyword(KeywordAction::Add, keyword, &one, Origin::External);
    }
}
