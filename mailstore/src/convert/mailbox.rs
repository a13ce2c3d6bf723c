//! One mailbox: finds out what it lacks, and gives it that.

use std::sync::Arc;

use mailtypes::{Guid, MailboxName, Uid, UidSet};

use super::{
    Action, ConvertedMailbox, Done, FailureCause,
    compare::{Compared, Delta, Trust, compare},
    is_of_all,
    journal::{Entry, Mark, Phase},
    message::{Known, StageError, Stager, known, step},
    ours::Ours,
    run::{Found, Run, There},
    snapshot::{Snapshot, are_all_of, have_same_bytes, have_same_guids},
};
use crate::traits::{
    Batch, Cursor, FlagChange, Judged, Mailbox, MailboxIdentity, OnlyIf, Result, Rows, Stamp, StorageError,
};

/// Messages of one commit.
const BATCH_COUNT_MAX: usize = 256;

/// Bytes of one commit.
const BATCH_LEN_MAX: u64 = 32 << 20;

/// Why a mailbox is not touched that is none of the source's.
const ANOTHER: &str = "there is another mailbox of this name in the destination";

/// Why what was done does not count.
const MEANWHILE: &str = "the mailbox was changed in the destination while it was converted";

/// What is to be done with a mailbox.
enum Start<'a> {
    /// There is none of the name.
    Create,
    /// What is there gives way.
    Replace,
    /// It is there.
    Update(Trust<'a>),
    /// Its index, which alone knows whose it is, was lost: it is made anew if every message in it is one of the source's.
    Lost,
    Nothing,
    Conflict(&'static str),
}

/// The mailbox of the destination, as it is when its turn comes.
struct Target {
    identity: MailboxIdentity,
    mailbox: Arc<dyn Mailbox>,
    now: Snapshot,
}

impl Target {
    fn of(mailbox: Arc<dyn Mailbox>) -> Result<Self> {
        let identity = MailboxIdentity { guid: mailbox.guid(), uid_validity: mailbox.uid_validity() };
        Ok(Self { identity, now: Snapshot::of(&*mailbox)?, mailbox })
    }

    fn judged(&self) -> Judged {
        judged(self.identity, &self.now.mark)
    }

    /// All that is in it, known to be the source's.
    fn all_ours(&self) -> Ours {
        Ours::new(self.identity.uid_validity, self.now.mark.highest_modseq, self.now.view.uids())
    }
}

pub(super) fn judged(identity: MailboxIdentity, mark: &Mark) -> Judged {
    let &Mark { uid_next, highest_modseq, messages, .. } = mark;
    Judged { identity, uid_next, highest_modseq, messages }
}

impl Run<'_> {
    /// Converts one mailbox; what fails about single messages stands in the summary.
    pub(super) fn mailbox(&mut self, found: &Found) -> Result<ConvertedMailbox> {
        let source = self.source.mailbox(&found.name)?;
        if (source.guid(), source.uid_validity()) != (found.identity.guid, found.identity.uid_validity) {
            // Another has the name by now.
            return Err(StorageError::NotFound(found.name.clone()));
        }
        let snapshot = Snapshot::of(&*source)?;
        let there = self.there.get(&found.to);
        let target = there.map(|there| Target::of(self.destination.mailbox(&there.name)?)).transpose()?;
        let entry = self.journal.entry(found.identity.guid).cloned();
        let start = self.start(found, &snapshot.mark, entry.as_ref(), target.as_ref())?;
        let mut converted = ConvertedMailbox {
            source: found.name.clone(),
            destination: found.to.clone(),
            renamed_from: found.renamed_from.clone(),
            action: Action::Failed,
            added: 0,
            flags: 0,
            expunged: 0,
        };
        let failed_before = entry.as_ref().and_then(Entry::done).map(|done| done.failed.clone()).unwrap_or_default();
        let all = Delta { add: snapshot.view.uids(), ..Delta::default() };
        let (action, delta) = match (start, &target) {
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
            (Start::Update(trust), Some(target)) => {
                // What could not be converted has a place again where all may be made anew.
                let missing = if self.options.overwrite { UidSet::new() } else { failed_before.clone() };
                match self.compared(found, &snapshot, target, trust, &missing)? {
                    Compared::Delta(delta) => (Action::Updated, delta),
                    Compared::Anew(_) if trust != Trust::Unknown && self.may_go(&snapshot, target)? => {
                        (Action::Replaced, all)
                    }
                    Compared::Anew(why) | Compared::Conflict(why) => {
                        self.conflict(&mut converted, why, &snapshot);
                        return Ok(converted);
                    }
                }
            }
            (Start::Lost, Some(target)) => match self.may_go(&snapshot, target)? {
                true => (Action::Replaced, all),
                false => {
                    self.conflict(&mut converted, ANOTHER, &snapshot);
                    return Ok(converted);
                }
            },
            (Start::Replace, Some(target)) if target.now.is_pristine() => (Action::Created, all),
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
        if let Some(why) = self.carry_out(found, &snapshot, target, &mut converted, delta, failed_before)? {
            self.summary.failed(&found.name, None, FailureCause::Conflict(why));
            converted.action = Action::Failed;
        }
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

    fn start<'e>(
        &self,
        found: &Found,
        source: &Mark,
        entry: Option<&'e Entry>,
        target: Option<&Target>,
    ) -> Result<Start<'e>> {
        let Some(Target { identity, now, .. }) = target else { return Ok(Start::Create) };
        let overwrite = self.options.overwrite;
        if *identity != found.identity {
            let before = self.journal.entry(identity.guid);
            let was_ours = before.map_or(Ok(false), |entry| now.is_own(entry))?
                && (identity.guid == found.identity.guid || !self.source_guids.contains(&identity.guid));
            // The mailboxes of an mbox store are as little sure to keep their GUIDs as the messages: a rename that a
            // crash cuts short parts the file from its index.
            let is_lost = !self.keeps.guids
                && entry.is_some()
                && identity.uid_validity == found.identity.uid_validity
                && !self.source_guids.contains(&identity.guid);
            // Messages that the source has no more are its own too, where there are as many as when it was done.
            let is_as_done = |done: &Done| {
                now.mark.messages == done.destination.messages && now.mark.uid_next <= done.destination.uid_next
            };
            let was_ours = was_ours || is_lost && entry.and_then(Entry::done).is_some_and(is_as_done);
            return Ok(match (now.is_pristine() || was_ours || overwrite, is_lost) {
                (true, _) => Start::Replace,
                (false, true) => Start::Lost,
                (false, false) => Start::Conflict(ANOTHER),
            });
        }
        Ok(match entry.map(|entry| &entry.phase) {
            Some(Phase::Done(done)) if done.destination == now.mark => {
                let is_same = done.source == *source && done.failed.is_empty();
                if is_same { Start::Nothing } else { Start::Update(Trust::Clean) }
            }
            _ if overwrite => Start::Update(Trust::Overwrite),
            Some(Phase::Done(_)) => {
                Start::Conflict("the mailbox was changed in the destination since it was converted")
            }
            Some(Phase::Begun(ours)) if ours.is_of(identity.uid_validity) => Start::Update(Trust::Begun(ours)),
            Some(Phase::Begun(_)) | None => Start::Update(Trust::Unknown),
        })
    }

    fn compared(
        &self,
        found: &Found,
        source: &Snapshot,
        target: &Target,
        trust: Trust<'_>,
        failed: &UidSet,
    ) -> Result<Compared> {
        let destination = &target.now;
        let same_guids = |uids: &UidSet| have_same_guids(&found.identity, &*source.view, &*destination.view, uids);
        let same_bytes = |uids: &UidSet| have_same_bytes(&*source.view, &*destination.view, uids, self.keeps);
        let by_guid = self.keeps.guids;
        let mut same = |uids: &UidSet| if by_guid { same_guids(uids) } else { same_bytes(uids) };
        compare(&source.side()?, &destination.side()?, trust, failed, &mut same)
    }

    /// Whether a mailbox of the destination may be made anew: every message in it is one of the source's.
    fn may_go(&self, source: &Snapshot, target: &Target) -> Result<bool> {
        Ok(self.options.overwrite || are_all_of(&*target.now.view, &*source.view, self.keeps)?)
    }

    /// Does what was found to be done; tells why it does not count, if somebody else was at work.
    fn carry_out(
        &mut self,
        found: &Found,
        source: &Snapshot,
        target: Option<Target>,
        converted: &mut ConvertedMailbox,
        delta: Delta,
        mut failed: UidSet,
    ) -> Result<Option<&'static str>> {
        let (guid, to) = (found.identity.guid, &found.to);
        let theirs = known(&*source.view)?;
        let mut uid_next = source.mark.uid_next;
        let mut mailbox = match target {
            Some(target) if converted.action == Action::Updated => {
                // The comparison has shown that all of it is the source's.
                self.journal.begin(guid, to, target.all_ours())?;
                uid_next = uid_next.max(target.now.mark.uid_next);
                if !self.update(guid, &target, &delta)? {
                    return Ok(Some(MEANWHILE));
                }
                target.mailbox
            }
            other => {
                let is_incarnation = |target: &&Target| {
                    target.identity.guid == guid && target.identity.uid_validity != found.identity.uid_validity
                };
                let begun = other.as_ref().filter(is_incarnation).map(Target::all_ours);
                self.journal.begin(guid, to, begun.unwrap_or_else(|| Ours::none(found.identity.uid_validity)))?;
                let judged = other.map(|target| target.judged());
                let Some(made) = self.made(found, judged)? else { return Ok(Some(MEANWHILE)) };
                made
            }
        };
        let before = self.summary.progress;
        if let Err(error) = self.add(found, source, &mailbox, &delta.add, &mut failed) {
            // A file that a conversion left when it was stopped may stand where the message belongs.
            let is_in_the_way = matches!(error, StorageError::NotPossible(_));
            let target = Target::of(mailbox)?;
            if !is_in_the_way || !are_all_of(&*target.now.view, &*source.view, self.keeps)? {
                return Err(error);
            }
            tracing::warn!(mailbox = %to, "made anew: something is in the way");
            let failures = self.summary.progress.failed;
            self.summary.progress = super::ConvertProgress { failed: failures, ..before };
            failed = UidSet::new();
            self.journal.begin(guid, to, Ours::none(found.identity.uid_validity))?;
            let judged = target.judged();
            drop(target);
            let Some(made) = self.made(found, Some(judged))? else { return Ok(Some(MEANWHILE)) };
            mailbox = made;
            (converted.action, uid_next) = (Action::Replaced, source.mark.uid_next);
            self.add(found, source, &mailbox, &source.view.uids(), &mut failed)?;
        }
        converted.added = self.summary.progress.added - before.added;
        self.count(converted, 0);
        mailbox.stamp(&stamp_of(source, &theirs))?;
        let now = Snapshot::of(&*mailbox)?;
        if now.mark.uid_next != uid_next || !now.shows(&theirs, &failed)? {
            return Ok(Some(MEANWHILE));
        }
        self.journal.done(guid, to, Done { source: source.mark, destination: now.mark, failed })?;
        Ok(None)
    }

    /// Expunges and flags what is there; `false` if somebody else has changed a message since it was compared.
    fn update(&mut self, guid: Guid, target: &Target, delta: &Delta) -> Result<bool> {
        if !delta.expunge.is_empty() {
            let _ = target.mailbox.submit(Batch::new().expunge(delta.expunge.clone()))?.wait()?;
        }
        if delta.flags.is_empty() {
            return Ok(true);
        }
        let unchanged_since = (!self.options.overwrite).then_some(target.now.mark.highest_modseq);
        let changes = delta.flags.iter().map(|change| FlagChange { unchanged_since, ..change.clone() });
        let committed = target.mailbox.submit(changes.fold(Batch::new(), Batch::flags))?.wait()?;
        let changed = delta.flags.iter().fold(UidSet::new(), |all, change| all.union(&change.uids));
        self.journal.put(guid, committed.highest_modseq, changed.difference(&committed.modified))?;
        Ok(committed.modified.is_empty())
    }

    /// A new mailbox with the source's identity in the place of what is there; `None` if that is not what was judged, or, where
    /// there was nothing, one into which nobody has put anything.
    fn made(&mut self, found: &Found, judged: Option<Judged>) -> Result<Option<Arc<dyn Mailbox>>> {
        let only_if = match (self.options.overwrite, judged) {
            (true, _) => OnlyIf::Anything,
            (false, Some(judged)) => OnlyIf::As(judged),
            (false, None) => match self.destination.mailbox(&found.to) {
                Err(StorageError::NotFound(_) | StorageError::NotSelectable(_) | StorageError::Deleted(_)) => {
                    OnlyIf::Nothing
                }
                other => {
                    let there = Target::of(other?)?;
                    if !there.now.is_pristine() {
                        return Ok(None);
                    }
                    OnlyIf::As(there.judged())
                }
            },
        };
        match self.destination.replace(&found.to, &found.identity, only_if) {
            Err(StorageError::Changed(_) | StorageError::AlreadyExists(_)) if only_if != OnlyIf::Anything => {
                return Ok(None);
            }
            other => other?,
        }
        let there = There { identity: found.identity, name: found.to.clone() };
        if let Some(before) = self.there.insert(found.to.clone(), there)
            && before.identity.guid != found.identity.guid
            && self.journal.entry(before.identity.guid).is_some()
        {
            self.journal.deleted(before.identity.guid)?;
        }
        self.journal.begin(found.identity.guid, &found.to, Ours::none(found.identity.uid_validity))?;
        self.destination.mailbox(&found.to).map(Some)
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
                    self.commit(found, &**destination, std::mem::take(&mut batch), std::mem::take(&mut bytes))?;
                }
            }
        }
        self.commit(found, &**destination, batch, bytes)?;
        self.completed += stager.completed;
        self.without_fields += stager.without_fields;
        self.without_pop3 += stager.without_pop3;
        Ok(())
    }

    fn commit(&mut self, found: &Found, destination: &dyn Mailbox, batch: Batch, bytes: u64) -> Result<()> {
        if batch.items.is_empty() {
            return Ok(());
        }
        let committed = destination.submit(batch)?.wait()?;
        let uids = committed.saved.iter().copied().collect();
        self.journal.put(found.identity.guid, committed.highest_modseq, uids)?;
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

/// Whether an error is none of a message alone.
fn is_of_mailbox(error: &StorageError) -> bool {
    matches!(
        error,
        StorageError::NotFound(_) | StorageError::Deleted(_) | StorageError::Moved(_) | StorageError::Unavailable(_)
    )
}

fn stamp_of(source: &Snapshot, messages: &[Known]) -> Stamp {
    Stamp {
        uid_next: source.mark.uid_next,
        recent_from: source.recent_from,
        highest_modseq: source.mark.highest_modseq,
        modseqs: messages.iter().map(|known| (known.uid, known.modseq)).collect(),
    }
}
