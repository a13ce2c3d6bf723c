//! Carrying out batches on a snapshot: the meaning of every change, in one place and without locks.

use std::sync::Arc;

use mailtypes::{Flags, Keyword, ModSeq, Uid, UidSet, UidValidity};

use super::{
    history::{Event, Kind},
    mailbox::MemoryMailbox,
    save::MemorySaved,
    snapshot::{Content, Mail, Snapshot, find, places, select},
    state::{State, source_snapshot},
    unix_now,
};
use crate::traits::{Batch, BatchItem, Committed, CopySource, FlagAction, FlagChange, Kept, Result, StorageError};

/// Keywords that one mailbox can have.
const KEYWORD_COUNT_MAX: usize = 4096;

/// The next snapshot in the making.
pub(super) struct Work<'a> {
    snapshot: Snapshot,
    events: Vec<Event>,
    state: &'a State,
    /// The messages before the batch, by which its conditions are judged. Only where a change of the same batch may come
    /// between: keeping them makes the next change copy the list.
    before: Option<Arc<Vec<Mail>>>,
    /// The change record that the next message to come belongs to, as long as only messages come.
    append: Option<ModSeq>,
    save_date: i64,
}

/// A [`BatchItem`] of which it is known that it can be carried out.
enum Step {
    Add(Vec<Added>),
    /// Copies within the mailbox: what they are of is known only when the steps before are done.
    CopyWithin(UidSet),
    Flags(FlagChange),
    Expunge(UidSet),
}

impl Step {
    /// Whether it adds messages with the UIDs that are next.
    fn adds_at_will(&self) -> bool {
        match self {
            Self::Add(messages) => messages.iter().any(|message| message.kept.is_none()),
            Self::CopyWithin(_) => true,
            Self::Flags(_) | Self::Expunge(_) => false,
        }
    }
}

/// A message to add.
struct Added {
    content: Arc<Content>,
    flags: Flags,
    keywords: Vec<Keyword>,
    kept: Option<Kept>,
    /// Of a copy: its source.
    source: Option<Uid>,
}

impl From<&Mail> for Added {
    fn from(mail: &Mail) -> Self {
        Self {
            content: Arc::clone(&mail.content),
            flags: mail.flags,
            keywords: mail.keywords.to_vec(),
            kept: None,
            source: Some(mail.uid),
        }
    }
}

impl<'a> Work<'a> {
    pub(super) fn new(snapshot: Snapshot, state: &'a State) -> Self {
        Self { snapshot, events: Vec::new(), state, before: None, append: None, save_date: unix_now() }
    }

    pub(super) fn finish(self) -> (Snapshot, Vec<Event>) {
        (self.snapshot, self.events)
    }

    /// Carries a batch out, or nothing of it.
    pub(super) fn apply(&mut self, batch: Batch) -> Result<Committed> {
        let steps = self.resolve(batch)?;
        let mut committed = Committed {
            uid_validity: self.uid_validity(),
            saved: Vec::new(),
            copied: Vec::new(),
            modified: UidSet::new(),
            expunged: UidSet::new(),
            highest_modseq: self.snapshot.highest_modseq,
        };
        self.append = None;
        let is_conditional = |step: &Step| matches!(step, Step::Flags(change) if change.unchanged_since.is_some());
        let keep_before = steps.iter().skip(1).any(is_conditional);
        self.before = keep_before.then(|| Arc::clone(&self.snapshot.mails));
        for step in steps {
            match step {
                Step::Add(messages) => self.add(messages, &mut committed),
                Step::CopyWithin(uids) => {
                    let messages = select(&self.snapshot.mails, &uids).map(Added::from).collect();
                    self.add(messages, &mut committed);
                }
                Step::Flags(change) => self.change_flags(&change, &mut committed),
                Step::Expunge(uids) => self.expunge(&uids, &mut committed),
            }
        }
        committed.copied.sort_unstable();
        committed.highest_modseq = self.snapshot.highest_modseq;
        Ok(committed)
    }

    fn uid_validity(&self) -> UidValidity {
        self.state.uid_validity
    }

    /// All that can fail, before anything is changed.
    fn resolve(&self, batch: Batch) -> Result<Vec<Step>> {
        let mut steps = Vec::with_capacity(batch.items.len());
        let (mut new_count, mut new_keywords) = (0usize, Vec::new());
        let mut next_kept = self.snapshot.uid_next;
        for item in batch.items {
            let step = match item {
                BatchItem::Save { message, flags, keywords, kept } => {
                    let saved = message.0.into_any().downcast::<MemorySaved>();
                    let saved = saved.map_err(|_| foreign("a message taken in by another kind of store"))?;
                    let content = Arc::clone(&saved.content);
                    if let Some(kept) = kept {
                        if kept.uid < next_kept || steps.iter().any(Step::adds_at_will) {
                            return Err(StorageError::NotPossible("A UID that a message was to keep is not free"));
                        }
                        next_kept = kept.uid.successor().unwrap_or(kept.uid);
                    }
                    Step::Add(vec![Added { content, flags, keywords, kept, source: None }])
                }
                BatchItem::Copy(source) => self.resolve_copy(source)?,
                BatchItem::Flags(change) => Step::Flags(change),
                BatchItem::Expunge(uids) => Step::Expunge(uids),
            };
            match &step {
                Step::Add(messages) => {
                    new_count += messages.len();
                    messages.iter().for_each(|message| new_keywords.extend_from_slice(&message.keywords));
                }
                // Each message there is by then, at most.
                Step::CopyWithin(_) => {
                    new_count = new_count.saturating_mul(2).saturating_add(self.snapshot.mails.len());
                }
                Step::Flags(change) => new_keywords.extend_from_slice(&change.keywords),
                Step::Expunge(_) => {}
            }
            steps.push(step);
        }
        self.check_limits(new_count, &new_keywords)?;
        Ok(steps)
    }

    fn resolve_copy(&self, source: CopySource) -> Result<Step> {
        let mailbox = source.mailbox.as_any().downcast_ref::<MemoryMailbox>();
        let mailbox = mailbox.ok_or_else(|| foreign("a copy from another kind of store"))?;
        if std::ptr::eq(Arc::as_ptr(mailbox.state()), self.state) {
            return Ok(Step::CopyWithin(source.uids));
        }
        let snapshot = source_snapshot(mailbox.state(), mailbox.mailbox_name())?;
        Ok(Step::Add(select(&snapshot.mails, &source.uids).map(Added::from).collect()))
    }

    fn check_limits(&self, new_count: usize, new_keywords: &[Keyword]) -> Result<()> {
        let uids_left = u64::from(Uid::MAX_ON_DISK.value()).saturating_sub(u64::from(self.snapshot.uid_next.value()));
        if new_count as u64 > uids_left {
            return Err(StorageError::Limit { name: "uid_max", limit: u64::from(Uid::MAX_ON_DISK.value()) });
        }
        let mut keywords: Vec<&Keyword> = self.snapshot.keywords.iter().collect();
        for keyword in new_keywords {
            if !keywords.contains(&keyword) {
                keywords.push(keyword);
            }
        }
        if keywords.len() > KEYWORD_COUNT_MAX {
            return Err(StorageError::Limit { name: "keyword_count_max", limit: KEYWORD_COUNT_MAX as u64 });
        }
        Ok(())
    }

    /// Begins a change record.
    fn next_modseq(&mut self) -> ModSeq {
        let modseq = self.snapshot.highest_modseq;
        self.snapshot.highest_modseq = modseq.successor().unwrap_or(modseq);
        self.snapshot.highest_modseq
    }

    fn record(&mut self, modseq: ModSeq, kind: Kind, uids: UidSet) {
        self.events.push(Event { modseq, kind, uids });
    }

    fn add(&mut self, messages: Vec<Added>, committed: &mut Committed) {
        if messages.is_empty() {
            return;
        }
        let modseq = match self.append {
            Some(modseq) => modseq,
            None => self.next_modseq(),
        };
        self.append = Some(modseq);
        let mut uids = UidSet::new();
        for Added { content, flags, keywords, kept, source } in messages {
            let uid = kept.map_or(self.snapshot.uid_next, |kept| kept.uid.max(self.snapshot.uid_next));
            self.snapshot.uid_next = uid.successor().unwrap_or(uid);
            let keywords = self.intern(&keywords);
            let save_date = kept.and_then(|kept| kept.save_date).unwrap_or(self.save_date);
            let mail = Mail { uid, content, flags, keywords, modseq, save_date, expunged: false };
            Arc::make_mut(&mut self.snapshot.mails).push(mail);
            uids.insert(uid);
            match source {
                Some(source) => committed.copied.push((source, uid)),
                None => committed.saved.push(uid),
            }
        }
        self.record(modseq, Kind::Append, uids);
    }

    fn change_flags(&mut self, change: &FlagChange, committed: &mut Committed) {
        let mut changed = Vec::new();
        for range in change.uids.ranges() {
            for place in places(&self.snapshot.mails, &range) {
                let Some(mail) = self.snapshot.mails.get(place).cloned() else { continue };
                if change.unchanged_since.is_some_and(|since| self.modseq_before(&mail) > since) {
                    committed.modified.insert(mail.uid);
                    continue;
                }
                let flags = match change.action {
                    FlagAction::Add => mail.flags | change.flags,
                    FlagAction::Remove => mail.flags.without(change.flags),
                    FlagAction::Replace => change.flags,
                };
                let keywords = self.changed_keywords(&mail.keywords, change);
                // A change that changes nothing writes no record.
                if flags != mail.flags || keywords != mail.keywords {
                    changed.push((place, flags, keywords));
                }
            }
        }
        if changed.is_empty() {
            return;
        }
        self.append = None;
        let modseq = self.next_modseq();
        let mut uids = UidSet::new();
        let mails = Arc::make_mut(&mut self.snapshot.mails);
        for (place, flags, keywords) in changed {
            if let Some(mail) = mails.get_mut(place) {
                (mail.flags, mail.keywords, mail.modseq) = (flags, keywords, modseq);
                uids.insert(mail.uid);
            }
        }
        self.record(modseq, Kind::Flags, uids);
    }

    /// What a message's mod-sequence was before the batch; of one that came with it, what it is.
    fn modseq_before(&self, mail: &Mail) -> ModSeq {
        let before = self.before.as_deref().and_then(|mails| mails.get(find(mails, mail.uid).ok()?));
        before.map_or(mail.modseq, |before| before.modseq)
    }

    fn changed_keywords(&mut self, have: &Arc<[Keyword]>, change: &FlagChange) -> Arc<[Keyword]> {
        match change.action {
            FlagAction::Add if change.keywords.is_empty() => Arc::clone(have),
            FlagAction::Add => self.intern(&[have, &change.keywords[..]].concat()),
            FlagAction::Remove => have.iter().filter(|keyword| !change.keywords.contains(keyword)).cloned().collect(),
            FlagAction::Replace => self.intern(&change.keywords),
        }
    }

    /// The keywords as first spelled, once each, in the store's order; new ones get their place in it.
    fn intern(&mut self, keywords: &[Keyword]) -> Arc<[Keyword]> {
        for keyword in keywords {
            if !self.snapshot.keywords.contains(keyword) {
                Arc::make_mut(&mut self.snapshot.keywords).push(keyword.clone());
            }
        }
        self.snapshot.keywords.iter().filter(|keyword| keywords.contains(keyword)).cloned().collect()
    }

    fn expunge(&mut self, uids: &UidSet, committed: &mut Committed) {
        let gone: UidSet = select(&self.snapshot.mails, uids).map(|mail| mail.uid).collect();
        if gone.is_empty() {
            return;
        }
        self.append = None;
        let modseq = self.next_modseq();
        Arc::make_mut(&mut self.snapshot.mails).retain(|mail| !gone.contains(mail.uid));
        committed.expunged = committed.expunged.union(&gone);
        self.record(modseq, Kind::Expunge, gone);
    }
}

fn foreign(what: &str) -> StorageError {
    StorageError::Unsupported(what.to_owned())
}
