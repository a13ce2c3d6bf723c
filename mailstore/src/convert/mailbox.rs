//! One mailbox: finds out what it lacks, and gives it that.

use std::{collections::HashSet, sync::Arc};

use mailtypes::{Guid, MailboxName, ModSeq, SeqNum, Uid, UidSet};

use super::{
    Action, ConvertedMailbox, Done, FailureCause,
    compare::{Compared, Delta, Side, Trust, compare},
    is_of_all,
    journal::{Entry, Mark},
    kept::{Bytes, compare_bytes, hash_of},
    message::{StageError, Stager, guid_of_place, guids, known, step},
    run::{Found, Run, There},
};
use crate::traits::{Batch, Cursor, Keeps, Mailbox, MailboxIdentity, Result, Rows, Stamp, StorageError, View, ViewAs};

/// Messages of one commit.
const BATCH_COUNT_MAX: usize = 256;

/// Bytes of one commit.
const BATCH_LEN_MAX: u64 = 32 << 20;

/// Why a mailbox is not touched that is none of the source's.
const ANOTHER: &str = "there is another mailbox of this name in the destination";

/// What is to be done with a mailbox.
enum Start {
    /// There is none of the name.
    Create,
    /// What is there gives way.
    Replace,
    /// It is there.
    Update(Trust),
    /// Its index, which alone knows whose it is, was lost: it is made anew if every message in it is one of the source's.
    Lost,
    Nothing,
    Conflict(&'static str),
}

/// The source's mailbox at one moment.
struct Snapshot {
    view: Box<dyn View>,
    mark: Mark,
    recent_from: Uid,
}

impl Snapshot {
    fn of(mailbox: &dyn Mailbox) -> Result<Self> {
        let view = mailbox.view(&ViewAs::default())?;
        let (messages, recent) = (view.message_count(), view.recent_count());
        let mark = Mark {
            uid_validity: view.uid_validity(),
            uid_next: view.uid_next(),
            highest_modseq: view.highest_modseq(),
            messages,
        };
        let first_recent = SeqNum::from_index(messages.saturating_sub(recent)).and_then(|seq| view.uid_at(seq));
        let recent_from = first_recent.filter(|_| recent > 0).unwrap_or(mark.uid_next);
        Ok(Self { view, mark, recent_from })
    }

    fn side(&self) -> Result<Side> {
        Ok(Side { messages: known(&*self.view)?, uid_next: self.mark.uid_next })
    }
}

impl Run<'_> {
    /// Converts one mailbox; what fails about single messages stands in the summary.
    pub(super) fn mailbox(&mut self, found: &Found) -> Result<ConvertedMailbox> {
        let source = self.source.mailbox(&found.name)?;
        let snapshot = Snapshot::of(&*source)?;
        let there = self.there.get(&found.to).cloned();
        let open = |there: &There| self.destination.mailbox(&there.name);
        let mailbox = there.as_ref().map(open).transpose()?;
        let start = self.start(found, &snapshot.mark, there.as_ref().zip(mailbox.as_deref()))?;
        let mut converted = ConvertedMailbox {
            source: found.name.clone(),
            destination: found.to.clone(),
            renamed_from: found.renamed_from.clone(),
            action: Action::Failed,
            added: 0,
            flags: 0,
            expunged: 0,
        };
        let failed_before =
            self.journal.entry(found.identity.guid).and_then(|entry| Some(entry.done.as_ref()?.failed.clone()));
        let failed_before = failed_before.unwrap_or_default();
        let all = Delta { add: snapshot.view.uids(), ..Delta::default() };
        let (action, delta) = match (start, &mailbox) {
            (Start::Conflict(why), _) => {
                self.conflict(&mut converted, why, &snapshot);
                return Ok(converted);
            }
            (Start::Nothing, _) => {
                self.done_with(u64::from(snapshot.mark.messages));
                converted.action = match &found.renamed_from {
                    Some(_) => Action::Updated,
                    None => Action::Unchanged,
                };
                return Ok(converted);
            }
            (Start::Update(trust), Some(mailbox)) => {
                // What could not be converted has a place again where all may be made anew.
                let missing = if self.options.overwrite { UidSet::new() } else { failed_before.clone() };
                match self.compared(found, &snapshot, &**mailbox, trust, &missing)? {
                    Compared::Delta(delta) => (Action::Updated, delta),
                    Compared::Anew(_) if self.may_go(trust, &snapshot, &**mailbox)? => (Action::Replaced, all),
                    Compared::Anew(why) => {
                        self.conflict(&mut converted, why, &snapshot);
                        return Ok(converted);
                    }
                }
            }
            (Start::Lost, Some(mailbox)) => match self.may_go(Trust::Ours, &snapshot, &**mailbox)? {
                true => (Action::Replaced, all),
                false => {
                    self.conflict(&mut converted, ANOTHER, &snapshot);
                    return Ok(converted);
                }
            },
            (Start::Replace, Some(mailbox)) if is_pristine(&**mailbox)? => (Action::Created, all),
            (Start::Replace, Some(_)) => (Action::Replaced, all),
            (Start::Create | Start::Update(_) | Start::Replace | Start::Lost, _) => (Action::Created, all),
        };
        (converted.action, converted.flags, converted.expunged) = (action, delta.flagged, delta.expunge.count());
        self.done_with(delta.kept);
        let failed_before = failed_before.intersection(&snapshot.view.uids()).difference(&delta.add);
        for uid in failed_before.iter() {
            self.summary.failed(&found.name, Some(uid), FailureCause::Before);
            self.summary.progress.done += 1;
        }
        if self.options.dry_run {
            converted.added = delta.add.count();
            self.count(&converted, 0);
            self.summary.progress.done += converted.added;
            return Ok(converted);
        }
        drop(mailbox);
        self.journal.begin(found.identity.guid, &found.to)?;
        self.carry_out(found, &snapshot, &mut converted, delta, failed_before)?;
        Ok(converted)
    }

    fn done_with(&mut self, kept: u64) {
        self.summary.progress.kept += kept;
        self.summary.progress.done += kept;
    }

    fn conflict(&mut self, converted: &mut ConvertedMailbox, why: &'static str, snapshot: &Snapshot) {
        self.summary.failed(&converted.source, None, FailureCause::Conflict(why));
        self.summary.progress.done += u64::from(snapshot.mark.messages);
    }

    fn count(&mut self, converted: &ConvertedMailbox, bytes: u64) {
        let progress = &mut self.summary.progress;
        progress.flags += converted.flags;
        progress.expunged += converted.expunged;
        progress.bytes += bytes;
        if self.options.dry_run {
            progress.added += converted.added;
        }
    }

    fn start(&self, found: &Found, source: &Mark, there: Option<(&There, &dyn Mailbox)>) -> Result<Start> {
        let Some((there, mailbox)) = there else { return Ok(Start::Create) };
        let mark = Mark::from(&mailbox.status()?);
        let unchanged = |entry: &Entry| entry.done.as_ref().is_some_and(|done| done.destination == mark);
        let overwrite = self.options.overwrite;
        let entry = self.journal.entry(found.identity.guid);
        if there.identity != found.identity {
            let before = self.journal.entry(there.identity.guid);
            let was_ours = before.is_some_and(unchanged)
                && (there.identity.guid == found.identity.guid || !self.source_guids.contains(&there.identity.guid));
            // The mailboxes of an mbox store are as little sure to keep their GUIDs as the messages: a rename that a
            // crash cuts short parts the file from its index.
            let is_lost = !self.keeps.guids
                && entry.is_some()
                && there.identity.uid_validity == found.identity.uid_validity
                && !self.source_guids.contains(&there.identity.guid);
            // Messages that the source has no more are its own too, where there are as many as when it was done.
            let is_as_done =
                |done: &Done| mark.messages == done.destination.messages && mark.uid_next <= done.destination.uid_next;
            let was_ours = was_ours || is_lost && entry.and_then(|entry| entry.done.as_ref()).is_some_and(is_as_done);
            return Ok(match (is_pristine(mailbox)? || was_ours || overwrite, is_lost) {
                (true, _) => Start::Replace,
                (false, true) => Start::Lost,
                (false, false) => Start::Conflict(ANOTHER),
            });
        }
        Ok(match entry {
            Some(entry) if unchanged(entry) => match &entry.done {
                Some(done) if done.source == *source && done.failed.is_empty() => Start::Nothing,
                _ => Start::Update(Trust::Clean),
            },
            Some(Entry { done: Some(_), .. }) if !overwrite => {
                Start::Conflict("the mailbox was changed in the destination since it was converted")
            }
            Some(_) => Start::Update(Trust::Ours),
            None if overwrite => Start::Update(Trust::Ours),
            None => Start::Update(Trust::Unknown),
        })
    }

    fn compared(
        &self,
        found: &Found,
        source: &Snapshot,
        destination: &dyn Mailbox,
        trust: Trust,
        failed: &UidSet,
    ) -> Result<Compared> {
        let destination = Snapshot::of(destination)?;
        let same_guids = |uids: &UidSet| have_same_guids(&found.identity, &*source.view, &*destination.view, uids);
        let same_bytes = |uids: &UidSet| have_same_bytes(&*source.view, &*destination.view, uids, self.keeps);
        let by_guid = self.keeps.guids;
        let mut same = |uids: &UidSet| if by_guid { same_guids(uids) } else { same_bytes(uids) };
        compare(&source.side()?, &destination.side()?, trust, failed, &mut same)
    }

    /// Whether a mailbox of the destination may be made anew: it is ours, and so is every message in it.
    fn may_go(&self, trust: Trust, source: &Snapshot, destination: &dyn Mailbox) -> Result<bool> {
        if self.options.overwrite {
            return Ok(true);
        }
        Ok(trust != Trust::Unknown && are_all_of(&*destination.view(&ViewAs::default())?, &*source.view, self.keeps)?)
    }

    fn carry_out(
        &mut self,
        found: &Found,
        source: &Snapshot,
        converted: &mut ConvertedMailbox,
        delta: Delta,
        mut failed: UidSet,
    ) -> Result<()> {
        let to = &found.to;
        let mut mailbox = match converted.action {
            Action::Updated => self.destination.mailbox(to)?,
            _ => self.made(found)?,
        };
        if !delta.expunge.is_empty() {
            let _ = mailbox.submit(Batch::new().expunge(delta.expunge.clone()))?.wait()?;
        }
        if !delta.flags.is_empty() {
            let changes = delta.flags.iter().cloned().fold(Batch::new(), Batch::flags);
            let _ = mailbox.submit(changes)?.wait()?;
        }
        let before = self.summary.progress;
        if let Err(error) = self.add(found, source, &mailbox, &delta.add, &mut failed) {
            // A file that a conversion left when it was stopped may stand where the message belongs.
            let is_in_the_way = matches!(error, StorageError::NotPossible(_));
            if !is_in_the_way || !are_all_of(&*mailbox.view(&ViewAs::default())?, &*source.view, self.keeps)? {
                return Err(error);
            }
            tracing::warn!(mailbox = %to, "made anew: something is in the way");
            let failures = self.summary.progress.failed;
            self.summary.progress = super::ConvertProgress { failed: failures, ..before };
            failed = UidSet::new();
            drop(mailbox);
            mailbox = self.made(found)?;
            converted.action = Action::Replaced;
            self.add(found, source, &mailbox, &source.view.uids(), &mut failed)?;
        }
        converted.added = self.summary.progress.added - before.added;
        self.count(converted, 0);
        mailbox.stamp(&stamp_of(source)?)?;
        let destination = Mark::from(&mailbox.status()?);
        self.journal.done(found.identity.guid, to, Done { source: source.mark, destination, failed })
    }

    /// A new mailbox with the source's identity in the place of what is there.
    fn made(&mut self, found: &Found) -> Result<Arc<dyn Mailbox>> {
        self.destination.replace(&found.to, &found.identity)?;
        let there = There { identity: found.identity, name: found.to.clone() };
        if let Some(before) = self.there.insert(found.to.clone(), there)
            && before.identity.guid != found.identity.guid
            && self.journal.entry(before.identity.guid).is_some()
        {
            self.journal.deleted(before.identity.guid)?;
        }
        self.destination.mailbox(&found.to)
    }

    /// Puts messages into the destination, those that cannot be read or written into `failed`.
    fn add(
        &mut self,
        found: &Found,
        source: &Snapshot,
        destination: &Arc<dyn Mailbox>,
        uids: &UidSet,
        failed: &mut UidSet,
    ) -> Result<()> {
        let file_names = self.options.file_names_as_uidls;
        let mut stager = Stager::new(&*source.view, &**destination, found.identity, self.keeps, file_names);
        let (mut rows, mut at) = (Rows::new(), if uids.is_empty() { None } else { Some(Cursor::START) });
        let (mut batch, mut bytes) = (Batch::new(), 0);
        while let Some(cursor) = at {
            at = match step(&*source.view, uids, cursor, &mut rows) {
                Ok(next) => next,
                Err(error) => {
                    // The first message is the one that failed: those in front of it would have been brought.
                    let first = uids.ranges().find(|range| *range.end() >= cursor.0);
                    let first = first.map(|range| (*range.start()).max(cursor.0));
                    let Some(uid) = first.filter(|_| !is_of_mailbox(&error)) else { return Err(error) };
                    self.message_failed(&found.name, uid, error, failed)?;
                    uid.successor().map(Cursor)
                }
            };
            for row in &rows.rows {
                let staged = match row.expunged {
                    true => Err(StageError::Message(StorageError::Expunged { uid: row.uid })),
                    false => stager.stage(row),
                };
                match staged {
                    Ok(staged) => {
                        let keywords = rows.keywords(row).to_vec();
                        bytes += staged.bytes;
                        batch = batch.save_as(staged.saved, row.flags, keywords, staged.kept);
                    }
                    Err(StageError::Message(error)) => self.message_failed(&found.name, row.uid, error, failed)?,
                    Err(StageError::Destination(error)) => return Err(error),
                }
                if batch.items.len() >= BATCH_COUNT_MAX || bytes >= BATCH_LEN_MAX {
                    self.commit(&**destination, std::mem::take(&mut batch), std::mem::take(&mut bytes))?;
                }
            }
        }
        self.commit(&**destination, batch, bytes)?;
        self.completed += stager.completed;
        self.without_fields += stager.without_fields;
        self.without_pop3 += stager.without_pop3;
        Ok(())
    }

    fn commit(&mut self, destination: &dyn Mailbox, batch: Batch, bytes: u64) -> Result<()> {
        if batch.items.is_empty() {
            return Ok(());
        }
        let committed = destination.submit(batch)?.wait()?;
        let progress = &mut self.summary.progress;
        let count = committed.saved.len() as u64;
        (progress.added, progress.done) = (progress.added + count, progress.done + count);
        progress.bytes += bytes;
        (self.tell)(&self.summary.progress);
        Ok(())
    }

    fn message_failed(
        &mut self,
        mailbox: &MailboxName,
        uid: Uid,
        error: StorageError,
        failed: &mut UidSet,
    ) -> Result<()> {
        if is_of_all(&error) || is_of_mailbox(&error) {
            return Err(error);
        }
        failed.insert(uid);
        self.summary.progress.done += 1;
        self.summary.failed(mailbox, Some(uid), error);
        Ok(())
    }
}

/// Whether nobody has put anything into a mailbox yet.
fn is_pristine(mailbox: &dyn Mailbox) -> Result<bool> {
    let status = mailbox.status()?;
    Ok(status.messages == 0 && status.uid_next == Uid::MIN)
}

/// Whether an error is none of a message alone.
fn is_of_mailbox(error: &StorageError) -> bool {
    matches!(
        error,
        StorageError::NotFound(_) | StorageError::Deleted(_) | StorageError::Moved(_) | StorageError::Unavailable(_)
    )
}

fn stamp_of(source: &Snapshot) -> Result<Stamp> {
    let modseqs: Vec<(Uid, ModSeq)> =
        known(&*source.view)?.into_iter().map(|known| (known.uid, known.modseq)).collect();
    Ok(Stamp {
        uid_next: source.mark.uid_next,
        recent_from: source.recent_from,
        highest_modseq: source.mark.highest_modseq,
        modseqs,
    })
}

/// Whether messages that two mailboxes have under the same UIDs are the same, by their GUIDs. One that has another GUID is
/// another even if its bytes are the same: a Maildir may have found its file and made a message of it.
fn have_same_guids(
    mailbox: &MailboxIdentity,
    source: &dyn View,
    destination: &dyn View,
    uids: &UidSet,
) -> Result<bool> {
    let (theirs, ours) = (guids(source, uids)?, guids(destination, uids)?);
    let expected = |uid: Uid| theirs.get(&uid).copied().unwrap_or_else(|| guid_of_place(mailbox, uid));
    Ok(uids.iter().all(|uid| ours.get(&uid) == Some(&expected(uid))))
}

/// The same by their bytes.
fn have_same_bytes(source: &dyn View, destination: &dyn View, uids: &UidSet, keeps: Keeps) -> Result<bool> {
    for uid in uids.iter() {
        let (mut their, mut our) = (source.body(uid)?, destination.body(uid)?);
        if compare_bytes(&mut *their, &mut *our, keeps)? == Bytes::Different {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether every message of a mailbox is one of another's as the mailbox keeps it, under whatever UID.
fn are_all_of(mailbox: &dyn View, other: &dyn View, keeps: Keeps) -> Result<bool> {
    let known: HashSet<Guid> = guids(other, &other.uids())?.into_values().collect();
    let ours = guids(mailbox, &mailbox.uids())?;
    let is_known = |uid: &Uid| ours.get(uid).is_some_and(|guid| known.contains(guid));
    let strangers: Vec<Uid> = mailbox.uids().iter().filter(|uid| !is_known(uid)).collect();
    if strangers.is_empty() {
        return Ok(true);
    }
    let hashes =
        other.uids().iter().map(|uid| hash_of(&mut *other.body(uid)?, keeps)).collect::<Result<HashSet<_>>>()?;
    for uid in strangers {
        if !hashes.contains(&hash_of(&mut *mailbox.body(uid)?, Keeps::ALL)?) {
            return Ok(false);
        }
    }
    Ok(true)
}
