//! What the index says is written to the mbox: expunges, and flags that were put off.
//!
//! # Invariants
//!
//! 1. Only a file that agrees with the index is changed, under the write locks.
//! 2. The file says that messages are gone before the log does; flags are in the log, marked as dirty, before they are in
//!    the file, and the mark goes when they are.
//! 3. UIDVALIDITY and the highest UID stand in the first message, or in one that is no mail where there is none. That UID is
//!    none lower than those in the file, nor than those of messages that are taken out of it.

use std::sync::{Arc, PoisonError};

use mailfs::{LockKind, Metadata};
use mailindex::{
    engine::{CommitError, CommitOp, CommitOutcome, CommitPoint, LockFor, OpError, StoreError},
    log::{FlagChange, Generation, Origin, Transaction},
    state::{RawIndexHeader, RecordFlags, RecordRef, State},
};
use mailtypes::{Flag, Flags, Keyword, MailboxName, Uid, UidSet, UidValidity};

use super::{
    FromLine,
    files::{MBOX_EXT, MboxFiles, SyncHeader},
    locks::LockedFile,
    long_header::RawHeader,
    meta::{Base, Meta, OwnFields, PADDING_LEN, last_uid_digits},
    place::last_uid_place,
    plan::Plan,
    scan::{Rules, SMALL_WINDOW_LEN, Scanner},
    sync::{Extent, SyncOp, keywords_of, offset_of, separator_at},
};
use crate::indexed::unix_now;

/// How often flags are tried to be written that somebody waits for.
const FLUSH_TRIES_MAX: usize = 4;

/// What a message that is no mail says, for programs that show it.
const PSEUDO_TEXT: &str = "This message holds data of the mailbox that it is in: the numbers of the messages that were and will \
be here.\nIt is no mail, and mail programs that know the format do not show it. Deleting it loses nothing but these\nnumbers.\n";

/// What a look at a message's header found.
struct Looked {
    header: RawHeader,
    meta: Meta,
}

/// Where messages lie and what is between them.
struct Layout<'a> {
    state: &'a State,
    scanner: Scanner,
    /// Where the last body ends.
    end: u64,
}

impl<'a> Layout<'a> {
    fn new(held: &LockedFile, there: &Metadata, state: &'a State) -> Result<Self, StoreError> {
        let file = Arc::clone(&held.file);
        let mut scanner = Scanner::of_part(file, there.len, Rules::Dovecot, SMALL_WINDOW_LEN);
        let mut end = 0;
        if let Some(last) = state.message_count().checked_sub(1).and_then(|place| state.record(place)) {
            let offset = offset_of(state, &last).ok_or("a message has no place")?;
            let start = if offset == 0 { 0 } else { separator_at(&mut scanner, offset)? };
            scanner.seek(start);
            let message = scanner.next_message()?.ok_or("a message is not where the index says")?;
            if message.end != there.len {
                return Err("there is more in the file than in the index".into());
            }
            end = message.body.end;
        }
        Ok(Self { state, scanner, end })
    }

    /// Where a message begins: at the line end before its separator.
    fn start(&self, record: &RecordRef<'_>) -> Result<u64, StoreError> {
        let offset = offset_of(self.state, record).filter(|offset| *offset <= self.end);
        offset.ok_or_else(|| "a message has no place".into())
    }

    /// Where the message at a place ends.
    fn end_of(&self, place: u32) -> Result<u64, StoreError> {
        self.state.record(place + 1).map_or(Ok(self.end), |next| self.start(&next))
    }

    fn separator(&mut self, record: &RecordRef<'_>) -> Result<u64, StoreError> {
        let start = self.start(record)?;
        Ok(if start == 0 { 0 } else { separator_at(&mut self.scanner, start)? })
    }

    /// The highest UID in the first message, or in one that is no mail, if it is lower than one that was given: where it
    /// stands, and what it is to be.
    fn raised_last_uid(&mut self) -> Result<Option<(u64, Vec<u8>)>, StoreError> {
        let given = self.state.next_uid().value().saturating_sub(1);
        let is_behind = |digits: &[u8]| {
            let told = std::str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u64>().ok());
            told.is_some_and(|told| told < u64::from(given))
        };
        let found = last_uid_place(&mut self.scanner)?.filter(|(_, digits)| is_behind(digits));
        Ok(found.map(|(at, _)| (at, last_uid_digits(given).into_bytes())))
    }

    fn look(&mut self, place: u32, record: &RecordRef<'_>) -> Result<Looked, StoreError> {
        let (separator, end) = (self.separator(record)?, self.end_of(place)?);
        let found = self.scanner.header_of(separator)?;
        let (_, mut header) = found.ok_or("a message is not where the index says")?;
        header.cut(end);
        let meta = Meta::parse(&header.bytes);
        Ok(Looked { header, meta })
    }
}

impl MboxFiles {
    /// The write lock, if this commit or nobody holds it. Waiting is forbidden here.
    fn held_for_writing(&self) -> Result<Arc<LockedFile>, StoreError> {
        match self.held() {
            Some(held) if held.kind == LockKind::Exclusive => Ok(held),
            Some(_) => Err("the mbox file is locked for reading".into()),
            None => Ok(Arc::new(self.lock_file(LockKind::Exclusive, std::time::Duration::ZERO)?)),
        }
    }

    /// What the first message has to say.
    fn base_for(&self, state: &State, found: Option<&Base>) -> Option<Base> {
        let uid_validity: UidValidity = state.uid_validity()?;
        let given = state.next_uid().value().saturating_sub(1);
        let mut keywords: Vec<Keyword> = found.map(|base| base.keywords.clone()).unwrap_or_default();
        for keyword in state.keywords().iter().filter_map(|name| name.keyword()) {
            if !keywords.contains(keyword) {
                keywords.push(keyword.clone());
            }
        }
        Some(Base { uid_validity, last_uid: found.map_or(given, |base| base.last_uid.max(given)), keywords })
    }

    /// Takes messages out of the file.
    pub(super) fn remove_messages(
        &self,
        state: &State,
        uids: &UidSet,
        more: &mut Transaction,
    ) -> Result<(), StoreError> {
        let Some(first) = uids.iter().find(|uid| state.contains(*uid)) else { return Ok(()) };
        let held = self.held_for_writing()?;
        let there = held.file.metadata()?;
        if !self.is_current_under(&held, state, &there) {
            return Err("the mbox file was changed since it was looked at".into());
        }
        let mut layout = Layout::new(&held, &there, state)?;
        let (mut plan, mut moved) = (Plan::default(), Vec::new());
        let first_place = state.count_below(first);
        let first_record = state.record(first_place).ok_or("the first message is gone")?;
        let patch = layout.raised_last_uid()?;
        plan.keep_patched(0..layout.start(&first_record)?, patch);
        let base = match first_place {
            0 => layout.scanner.header_of(0)?.and_then(|(_, header)| Meta::parse(&header.bytes).base),
            _ => None,
        };
        for (place, record) in (first_place..).zip(state.records_from(first_place)) {
            if uids.contains(record.uid()) {
                continue;
            }
            let (start, end) = (layout.start(&record)?, layout.end_of(place)?);
            moved.push((record.uid(), plan.len()));
            if plan.len() > 0 {
                plan.keep(start..end);
                continue;
            }
            // The first of the file now.
            let separator = layout.separator(&record)?;
            let looked = layout.look(place, &record)?;
            let base = self.base_for(state, base.as_ref());
            match with_base(&looked, base.as_ref()) {
                Some(header) => {
                    looked.header.put(&mut plan, separator, header);
                    plan.keep(looked.header.range.end..end);
                }
                None => plan.keep(separator..end),
            }
        }
        if plan.len() == 0 {
            plan.put(self.pseudo(state, base.as_ref()));
        } else {
            plan.keep(layout.end..there.len);
            let last = state.message_count().checked_sub(1).and_then(|place| state.uid_at(place));
            if layout.end == there.len && last.is_some_and(|last| uids.contains(last)) {
                // Else the last line end of the message that is the last now would be no one's.
                plan.put(b"\n".to_vec());
            }
        }
        let now = self.change_file(&held, &plan)?;
        for (uid, offset) in moved {
            let before = state.record_of(uid).and_then(|record| offset_of(state, &record));
            if before != Some(offset) {
                more.ext_record(&MBOX_EXT, Generation::Current, uid, &offset.to_le_bytes(), Origin::External);
            }
        }
        self.record_change(state, &now, more);
        Ok(())
    }

    fn record_change(&self, state: &State, now: &Metadata, more: &mut Transaction) {
        let old = SyncHeader::of(state).unwrap_or_default();
        let header = self.header_for(old, now, old.is_partial);
        more.ext_header(&MBOX_EXT, 0, &header.encode(), Origin::External);
        self.agrees(now, header);
    }

    /// A file without mail.
    fn pseudo(&self, state: &State, base: Option<&Base>) -> Vec<u8> {
        let base = self.base_for(state, base);
        let now = i64::from(unix_now(&**self.fs()));
        let zone = i64::from((self.shared.options.local_zone)(now)) * 60;
        let mut bytes = Vec::new();
        FromLine::write_local("MAILER-DAEMON", now + zone, &mut bytes);
        let visible = b"From: Mail System Internal Data <MAILER-DAEMON>\n\
            Subject: DON'T DELETE THIS MESSAGE -- FOLDER INTERNAL DATA\n\n";
        let own = OwnFields {
            base: base.as_ref(),
            is_pseudo: true,
            uid: None,
            flags: Flag::Seen.into(),
            is_old: true,
            keywords: &[],
            content_length: None,
        };
        let least = own.least_len(visible);
        bytes.extend(own.write(visible, Some(least)).unwrap_or_default());
        bytes.extend_from_slice(PSEUDO_TEXT.as_bytes());
        bytes.push(b'\n');
        bytes
    }

    /// Writes flags that were put off; tells for which messages, and where messages lie now that have moved.
    fn write_dirty(&self, state: &State, held: &LockedFile) -> Result<Option<Written>, StoreError> {
        let there = held.file.metadata()?;
        if !self.is_current_under(held, state, &there) {
            return Ok(None);
        }
        let mut layout = Layout::new(held, &there, state)?;
        let mut writing = Writing { plan: Plan::default(), shift: 0, moved: Vec::new(), done: UidSet::new() };
        let mut at = 0;
        let is_behind_pseudo = match state.record(0) {
            Some(record) => layout.start(&record)? > 0,
            None => false,
        };
        if is_behind_pseudo && let Some((place, digits)) = layout.raised_last_uid()? {
            at = place + digits.len() as u64;
            writing.plan.keep(0..place);
            writing.plan.put(digits);
        }
        let first_base = layout.scanner.header_of(0)?.and_then(|(_, header)| Meta::parse(&header.bytes).base);
        for (place, record) in (0..).zip(state.records_from(0)) {
            let is_dirty = record.record_flags().contains(RecordFlags::DIRTY);
            let start = layout.start(&record)?;
            let kept = start.checked_sub(at).ok_or("a message lies before the one that it is behind")?;
            // A new offset is told of the messages behind one whose header has grown.
            if writing.shift > 0 {
                writing.moved.push((record.uid(), writing.plan.len() + kept));
            }
            let base = match (place, start) {
                (0, 0) => self.base_for(state, first_base.as_ref()),
                _ => None,
            };
            let is_base_old = base.is_some() && base != first_base;
            if !is_dirty && !is_base_old && writing.shift == 0 {
                continue;
            }
            let looked = layout.look(place, &record)?;
            if !looked.header.can_be_rewritten() {
                // The index stays the one that has its flags.
                continue;
            }
            let header_end = looked.header.range.end;
            let body_len = layout.end_of(place)?.saturating_sub(header_end);
            let header = writing.header(state, &record, &looked, base.as_ref(), is_dirty, body_len);
            if let Some(header) = header {
                looked.header.put(&mut writing.plan, at, header);
                at = header_end;
            }
            if is_dirty {
                writing.done.insert(record.uid());
            }
        }
        if at == 0 {
            return Ok(Some(Written { there, moved: Vec::new(), done: writing.done }));
        }
        writing.plan.keep(at..there.len);
        let there = self.change_file(held, &writing.plan)?;
        Ok(Some(Written { there, moved: writing.moved, done: writing.done }))
    }

    /// Writes flags that were put off, when somebody gets to it.
    pub(super) fn flush_soon(&self) {
        let Some(index) = self.index() else { return };
        if !has_dirty(&index.state()) {
            return;
        }
        let Some((sync, flush)) = self.flush_ops() else { return };
        index.enqueue(Box::new(sync));
        index.enqueue(Box::new(flush));
        index.drive_soon();
    }

    /// The same, if they have been put off for long.
    pub(super) fn flush_if_due(&self) {
        let now = self.fs().monotonic();
        let mut flushed = self.flushed.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = now.saturating_sub(*flushed) >= self.shared.options.flag_write_interval;
        if is_due {
            *flushed = now;
            drop(flushed);
            self.flush_soon();
        }
    }

    /// The same, and the wait for it.
    pub(super) fn flush_now(&self) {
        for _ in 0..FLUSH_TRIES_MAX {
            let Some(index) = self.index().filter(|index| has_dirty(&index.state())) else { return };
            let Some((sync, mut flush)) = self.flush_ops() else { return };
            let (completer, completion) = mailindex::engine::completion(&index);
            flush.completer = Some(completer);
            index.enqueue(Box::new(sync));
            index.enqueue(Box::new(flush));
            if completion.wait() != Some(Flushed::Later) {
                return;
            }
        }
    }

    fn flush_ops(&self) -> Option<(SyncOp, FlushOp)> {
        let files = self.shared_self()?;
        let sync = SyncOp {
            name: MailboxName::inbox(),
            files: Arc::clone(&files),
            what_for: LockFor::Messages,
            extent: Extent::Whole,
            outcome: None,
            completer: None,
        };
        Some((sync, FlushOp { files, flushed: Flushed::Now, completer: None }))
    }
}

/// Whether some message's flags may not have been written to the file.
fn has_dirty(state: &State) -> bool {
    state.header().flags.get() & RawIndexHeader::HAVE_DIRTY != 0
}

/// The header of a message that is the first of the file now; `None`: the one that it has.
fn with_base(looked: &Looked, base: Option<&Base>) -> Option<Vec<u8>> {
    if !looked.header.can_be_rewritten() {
        return None;
    }
    let Meta { uid, flags, is_old, keywords, content_length, .. } = &looked.meta;
    let (uid, flags, is_old, content_length) = (*uid, *flags, *is_old, *content_length);
    let own = OwnFields { base, is_pseudo: false, uid, flags, is_old, keywords, content_length };
    let (visible, old_len) = looked.header.to_rewrite();
    own.write(&visible, Some(own.least_len(&visible).max(old_len)))
}

/// What was written.
struct Written {
    there: Metadata,
    moved: Vec<(Uid, u64)>,
    done: UidSet,
}

/// Headers that are being written.
struct Writing {
    plan: Plan,
    /// How much further behind everything is for now.
    shift: usize,
    moved: Vec<(Uid, u64)>,
    done: UidSet,
}

impl Writing {
    /// The header that a message is to have; `None`: the one that it has. One that needs more room gets some for later as
    /// well, and the next ones give up what they do not need.
    fn header(
        &mut self,
        state: &State,
        record: &RecordRef<'_>,
        looked: &Looked,
        base: Option<&Base>,
        is_dirty: bool,
        body_len: u64,
    ) -> Option<Vec<u8>> {
        let meta = &looked.meta;
        let in_index = keywords_of(state, record);
        let (flags, keywords): (Flags, &[Keyword]) =
            if is_dirty { (record.flags(), &in_index) } else { (meta.flags, &meta.keywords) };
        let own = OwnFields {
            base: base.or(meta.base.as_ref().filter(|_| !is_dirty)),
            is_pseudo: meta.is_pseudo,
            uid: Some(record.uid()),
            flags,
            is_old: meta.is_old || record.uid() < state.first_recent_uid(),
            keywords,
            content_length: meta.content_length.map(|_| body_len),
        };
        let (visible, old_len) = looked.header.to_rewrite();
        let least = own.least_len(&visible);
        let len = match old_len.checked_sub(least) {
            Some(room) => {
                let taken = room.min(self.shift);
                self.shift -= taken;
                old_len - taken
            }
            None => least + PADDING_LEN,
        };
        self.shift += len.saturating_sub(old_len);
        if !is_dirty && base.is_none() && len == old_len {
            return None;
        }
        own.write(&visible, Some(len)).filter(|header| *header != looked.header.bytes)
    }
}

/// Whether flags could be written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Flushed {
    Now,
    /// Messages were appended by the same commit, which may yet be undone: by then they must be where they were.
    Later,
}

/// Writes flags that were put off, as an operation of its own, behind a synchronisation.
struct FlushOp {
    files: Arc<MboxFiles>,
    flushed: Flushed,
    completer: Option<mailindex::engine::Completer<Flushed>>,
}

impl CommitOp for FlushOp {
    fn prepare(&mut self, at: &mut CommitPoint<'_>) -> Result<(), OpError> {
        let Some(held) = self.files.held() else { return Err(OpError::refused("the mbox file is not locked")) };
        let state = at.state().clone();
        if !has_dirty(&state) {
            return Ok(());
        }
        if self.files.is_appending() {
            self.flushed = Flushed::Later;
            return Ok(());
        }
        let written = self.files.write_dirty(&state, &held).map_err(OpError::refused)?;
        let Some(Written { there, moved, done }) = written else { return Ok(()) };
        let transaction = at.transaction();
        for (uid, offset) in moved {
            transaction.ext_record(&MBOX_EXT, Generation::Current, uid, &offset.to_le_bytes(), Origin::External);
        }
        transaction.flags(&done, FlagChange::remove(RecordFlags::DIRTY), Origin::External);
        let flags = state.header().flags.get() & !RawIndexHeader::HAVE_DIRTY;
        transaction.header_update(RawIndexHeader::FLAGS, &flags.to_le_bytes());
        self.files.record_change(&state, &there, transaction);
        Ok(())
    }

    fn undo(&mut self) {
        // What is in the file is right, and is found again.
        self.files.forget();
    }

    fn done(mut self: Box<Self>, outcome: Result<&CommitOutcome, Arc<CommitError>>) {
        if let Err(e) = &outcome {
            tracing::warn!(path = %self.files.path().display(), "flags are not written to the mbox yet: {e}");
        }
        match self.completer.take() {
            Some(completer) => completer.complete(self.flushed),
            None if outcome.is_ok() && self.flushed == Flushed::Later => self.files.flush_soon(),
            None => {}
        }
    }
}
