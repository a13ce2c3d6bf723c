//! Bringing what anybody did to an mbox into its index (`docs/formats/mbox.md`, Metadata headers, Index extensions).
//!
//! # Invariants
//!
//! 1. Done under the mbox's read locks at least, and then the log's. The file is only read.
//! 2. UIDs ascend along the file. A UID that stands in a header is believed if the file's UIDVALIDITY is the index's, and
//!    it is larger than those before it; a message without keeps the UID of the record that has its hash.
//! 3. Flags that the index has and the file has not yet been given (marked dirty, or asked for) beat the file; else the file
//!    counts.

use std::{
    collections::{BTreeMap, HashSet},
    iter::Peekable,
    sync::Arc,
};

use mailfs::Metadata;
use mailindex::{
    engine::{self, CommitError, CommitOp, CommitOutcome, CommitPoint, LockFor, OpError, completion},
    log::{FlagChange, Generation, KeywordAction, Origin},
    state::{KEYWORDS_MAX, RawIndexHeader, RecordFlags, RecordRef, RecordsFrom, State},
};
use mailtypes::{Flags, Guid, Keyword, MailboxName, Uid, UidSet};

use super::{
    files::{MBOX_EXT, MD5_EXT, MboxFiles, SyncHeader, seconds},
    meta::{Base, MboxMd5, Meta, header_md5},
    scan::{RawMessage, Rules, Scanner},
};
use crate::{
    indexed::{Indexed, from_commit, lost, new_guid},
    traits::{Result, StorageError},
};

/// How much of the file is looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Extent {
    /// What is behind the last message that is known, if that is where it was.
    Tail,
    /// All of it, where only its end was looked at last.
    Whole,
    /// All of it, whatever it looks like: a message was not where the index says.
    Forced,
}

/// What the file is to the index.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// In agreement with it.
    Synced,
    /// Another mailbox's: it has another UIDVALIDITY.
    Replaced,
}

/// What a synchronisation found.
#[derive(Debug)]
pub(super) struct Synced {
    pub(super) outcome: Outcome,
    /// Messages that were gone.
    pub(super) gone: UidSet,
    /// Where the last message's body ends, if the file was looked at.
    pub(super) end: Option<u64>,
}

/// Requests that somebody left are carried out under the write lock alone.
pub(super) fn work_of(state: &State) -> LockFor {
    if state.requested_expunges().is_empty() { LockFor::Reading } else { LockFor::Messages }
}

/// Where a separator begins whose record has this offset: behind the line end that goes with it.
pub(super) fn separator_at(scanner: &mut Scanner, offset: u64) -> mailfs::Result<u64> {
    let there = scanner.at(offset, 2)?;
    let line_end = if there.starts_with(b"\r\n") { 2 } else { u64::from(there.starts_with(b"\n")) };
    Ok(offset + line_end)
}

/// The offset in a record.
pub(super) fn offset_of(state: &State, record: &RecordRef<'_>) -> Option<u64> {
    let field = record.field(state.extension_index(MBOX_EXT.name)?);
    let mut bytes = [0; 8];
    bytes.iter_mut().zip(field).for_each(|(to, from)| *to = *from);
    Some(u64::from_le_bytes(bytes))
}

/// The hash in a record.
pub(super) fn md5_of(state: &State, record: &RecordRef<'_>) -> Option<[u8; 16]> {
    let field = record.field(state.extension_index(MD5_EXT.name)?);
    let hash: [u8; 16] = field.first_chunk().copied()?;
    (hash != [0; 16]).then_some(hash)
}

/// The base in the first message.
pub(super) fn read_base(scanner: &mut Scanner) -> mailfs::Result<Option<Meta>> {
    Ok(scanner.header_of(0)?.map(|(_, header)| Meta::parse(&header.bytes)))
}

/// The keywords of a record.
pub(super) fn keywords_of(state: &State, record: &RecordRef<'_>) -> Vec<Keyword> {
    record.keyword_bits().iter().filter_map(|bit| state.keyword(bit)?.keyword().cloned()).collect()
}

impl MboxFiles {
    /// See [`MessageFiles::look`](crate::indexed::MessageFiles::look).
    pub(super) fn look_for_changes(&self, mailbox: &Indexed) -> Result<()> {
        self.stir.looks();
        let looked = self.look_once(mailbox);
        if looked.is_err() {
            self.stir.stir();
        }
        looked
    }

    fn look_once(&self, mailbox: &Indexed) -> Result<()> {
        let Some(there) = self.fs().metadata(self.path())? else {
            return Err(StorageError::Deleted(mailbox.name.clone()));
        };
        let state = mailbox.index.state();
        let what_for = work_of(&state);
        if what_for == LockFor::Reading && self.is_current(&state, &there) {
            return Ok(());
        }
        self.sync_now(&mailbox.name, what_for, Extent::Tail)
    }

    /// One synchronisation, and the wait for it.
    pub(super) fn sync_now(&self, name: &MailboxName, what_for: LockFor, extent: Extent) -> Result<()> {
        let index = self.index().ok_or_else(lost)?;
        let files = index.store().and_then(|store| store.downcast::<Self>().ok()).ok_or_else(lost)?;
        let (completer, completion) = completion(&index);
        let op = SyncOp { name: name.clone(), files, what_for, extent, outcome: None, completer: Some(completer) };
        index.enqueue(Box::new(op));
        completion.wait().unwrap_or_else(|| Err(lost()))
    }

    /// One synchronisation, under the locks. Nothing is done if the file is as the index has it, but for one of which only
    /// the end was looked at, where all of it is asked for.
    pub(super) fn sync(&self, at: &mut CommitPoint<'_>, extent: Extent) -> std::result::Result<Synced, OpError> {
        let Some(held) = self.held() else { return Err(OpError::refused("the mbox file is not locked")) };
        let there = held.file.metadata()?;
        let header = SyncHeader::of(at.state());
        let is_partial = header.is_some_and(|header| header.is_partial);
        let is_enough = match extent {
            Extent::Tail => true,
            Extent::Whole => !is_partial,
            Extent::Forced => false,
        };
        if is_enough && self.is_current(at.state(), &there) {
            held.note_agreement();
            return Ok(Synced { outcome: Outcome::Synced, gone: UidSet::new(), end: None });
        }
        let mut scanner = Scanner::new(self.path(), Arc::clone(&held.file), Rules::Dovecot)?;
        let first = read_base(&mut scanner)?;
        let base = first.and_then(|meta| meta.base);
        let state = at.state().clone();
        if let (Some(base), Some(uid_validity)) = (&base, state.uid_validity())
            && base.uid_validity != uid_validity
        {
            return Ok(Synced { outcome: Outcome::Replaced, gone: UidSet::new(), end: None });
        }
        let which = self.shared.options.md5;
        let tail = match extent {
            Extent::Tail => known_end(&state, header.unwrap_or_default(), &mut scanner, which)?,
            Extent::Whole | Extent::Forced => None,
        };
        let mut sync = Sync::new(&state, at, base, tail, which);
        scanner.seek(tail.map_or(0, |tail| tail.start));
        while let Some(message) = scanner.next_message()? {
            sync.note(&message)?;
        }
        let end = sync.end;
        let appended = sync.appended.clone();
        let gone = sync.finish();
        tracing::debug!(
            path = %self.path().display(), ?extent, from = tail.map_or(0, |tail| tail.start), len = there.len, %gone, %appended,
            "the file was looked at"
        );
        self.note_synced(at, &there, tail.is_some() && (tail.is_some_and(|tail| tail.record > 0) || is_partial));
        held.note_agreement();
        Ok(Synced { outcome: Outcome::Synced, gone, end: Some(end) })
    }

    /// The index agrees with the file as it looks.
    pub(super) fn note_synced(&self, at: &mut CommitPoint<'_>, there: &Metadata, is_partial: bool) {
        let old = SyncHeader::of(at.state()).unwrap_or_default();
        let header = self.header_for(old, there, is_partial);
        if header != old {
            at.transaction().ext_header(&MBOX_EXT, 0, &header.encode(), Origin::External);
        }
        self.agrees(there, header);
    }

    /// The header of an index that agrees with the file as it looks.
    pub(super) fn header_for(&self, old: SyncHeader, there: &Metadata, is_partial: bool) -> SyncHeader {
        let guid = if old.guid.is_zero() { new_guid(&**self.fs()) } else { old.guid };
        SyncHeader { size: there.len, mtime: seconds(there.modified), is_partial, guid }
    }
}

/// Where the last message that the index knows stands.
#[derive(Clone, Copy, Debug)]
struct Tail {
    start: u64,
    /// Its record's place.
    record: u32,
}

/// The file has grown, and the last message that is known is where it was.
fn known_end(state: &State, header: SyncHeader, scanner: &mut Scanner, which: MboxMd5) -> mailfs::Result<Option<Tail>> {
    let Some(place) = state.message_count().checked_sub(1) else { return Ok(None) };
    let last = state.record(place).and_then(|record| Some((offset_of(state, &record)?, record)));
    let Some((offset, record)) = last.filter(|_| scanner.len() > header.size && header.size > 0) else {
        return Ok(None);
    };
    if offset >= header.size || offset == 0 && place > 0 {
        return Ok(None);
    }
    let start = if offset == 0 { 0 } else { separator_at(scanner, offset)? };
    let Some((_, header)) = scanner.header_of(start)? else { return Ok(None) };
    let meta = Meta::parse(&header.bytes);
    let is_it = match meta.uid {
        Some(uid) => uid == record.uid(),
        None => md5_of(state, &record) == Some(header_md5(&header.bytes, which)),
    };
    Ok((is_it && !meta.is_pseudo).then_some(Tail { start, record: place }))
}

/// A synchronisation on its way.
struct Sync<'a, 'b, 'c> {
    state: &'a State,
    at: &'b mut CommitPoint<'c>,
    base: Option<Base>,
    which: MboxMd5,
    records: Peekable<RecordsFrom<'a>>,
    /// The UID of the message before.
    last: Option<Uid>,
    /// Where the body of the message before ended.
    end: u64,
    is_first: bool,
    gone: UidSet,
    /// Messages whose flags somebody has asked for, and the mark that the file has not got them is yet to come.
    asked: UidSet,
    flags: BTreeMap<(u8, u8), UidSet>,
    dirty: UidSet,
    appended: UidSet,
    /// One of those is yet to be given its UID in the file.
    appended_dirty: bool,
    /// The last new message that was not recent.
    last_old: Option<Uid>,
    /// Keywords that the index has not yet; there is no room for more than so many.
    new_keywords: HashSet<Keyword>,
}

impl<'a, 'b, 'c> Sync<'a, 'b, 'c> {
    fn new(
        state: &'a State,
        at: &'b mut CommitPoint<'c>,
        base: Option<Base>,
        tail: Option<Tail>,
        which: MboxMd5,
    ) -> Self {
        let from = tail.map_or(0, |tail| tail.record);
        let offset = state.record(from).and_then(|record| offset_of(state, &record));
        Self {
            state,
            at,
            base,
            which,
            records: state.records_from(from).peekable(),
            last: from.checked_sub(1).and_then(|before| state.uid_at(before)),
            end: offset.filter(|_| tail.is_some()).unwrap_or(0),
            is_first: tail.is_none_or(|tail| tail.start == 0),
            gone: UidSet::new(),
            asked: state.flag_requests(0).iter().fold(UidSet::new(), |all, (_, uids)| all.union(uids)),
            flags: BTreeMap::new(),
            dirty: UidSet::new(),
            appended: UidSet::new(),
            appended_dirty: false,
            last_old: None,
            new_keywords: HashSet::new(),
        }
    }

    /// The UID that a header tells, if it can be believed.
    fn claimed(&self, meta: &Meta) -> Option<Uid> {
        let base = self.base.as_ref().filter(|base| Some(base.uid_validity) == self.state.uid_validity())?;
        let given = self.state.next_uid().value().saturating_sub(1).max(base.last_uid);
        meta.uid.filter(|uid| uid.value() <= given && Some(*uid) > self.last && *uid <= Uid::MAX_ON_DISK)
    }

    fn after_given(&self) -> Option<Uid> {
        after_given(self.state, self.base.as_ref())
    }

    /// The record of the message, those passed over being gone.
    fn record_for(&mut self, claimed: Option<Uid>, hash: &[u8; 16]) -> Option<RecordRef<'a>> {
        if let Some(uid) = claimed {
            while let Some(passed) = self.records.next_if(|record| record.uid() < uid) {
                self.gone.insert(passed.uid());
            }
            return self.records.next_if(|record| record.uid() == uid);
        }
        // Behind a message that got a new UID all do, or their UIDs would not ascend.
        let last = self.last;
        self.take(|state, record| Some(record.uid()) > last && md5_of(state, record) == Some(*hash))
    }

    /// The next record of which that is so, those passed over being gone; all stay if there is none.
    fn take(&mut self, is_it: impl Fn(&State, &RecordRef<'a>) -> bool) -> Option<RecordRef<'a>> {
        let mut ahead = self.records.clone();
        ahead.find(|record| is_it(self.state, record))?;
        loop {
            let record = self.records.next()?;
            if is_it(self.state, &record) {
                return Some(record);
            }
            self.gone.insert(record.uid());
        }
    }

    /// What the index has for a message which gets a new UID, because its old one is below that of the message before, where
    /// the file has not got it yet.
    fn unwritten(&mut self, hash: &[u8; 16]) -> Option<(Flags, Vec<Keyword>)> {
        let last = self.last;
        let record = self.take(|state, record| Some(record.uid()) <= last && md5_of(state, record) == Some(*hash))?;
        self.gone.insert(record.uid());
        let is_dirty = record.record_flags().contains(RecordFlags::DIRTY);
        is_dirty.then(|| (record.flags(), keywords_of(self.state, &record)))
    }

    /// A message was read.
    fn note(&mut self, message: &RawMessage) -> std::result::Result<(), OpError> {
        let meta = Meta::parse(&message.header.bytes);
        let offset = if message.start == 0 { 0 } else { self.end };
        self.end = message.body.end;
        let is_first = std::mem::take(&mut self.is_first);
        if is_first && message.start == 0 && meta.is_pseudo {
            return Ok(());
        }
        let hash = header_md5(&message.header.bytes, self.which);
        let claimed = self.claimed(&meta);
        let told = meta.uid;
        // A wrong length leads nowhere today; when messages in front of it or behind it go, it may lead to a separator.
        let body_len = message.body.end - message.body.start;
        let has_right_length = meta.content_length.is_none_or(|length| length == body_len);
        match self.record_for(claimed, &hash) {
            Some(record) => {
                self.compare(&record, meta, offset, &hash);
                if told != Some(record.uid()) || self.base.is_none() || !has_right_length {
                    self.dirty.insert(record.uid());
                }
                self.last = Some(record.uid());
            }
            None => {
                let mut meta = meta;
                if let Some(unwritten) = self.unwritten(&hash) {
                    (meta.flags, meta.keywords) = unwritten;
                }
                self.append(claimed, meta, offset, &hash, has_right_length)?;
            }
        }
        Ok(())
    }

    fn append(
        &mut self,
        claimed: Option<Uid>,
        meta: Meta,
        offset: u64,
        hash: &[u8; 16],
        has_right_length: bool,
    ) -> std::result::Result<(), OpError> {
        // One that was expunged and is back is another message.
        let claimed = claimed.filter(|uid| *uid >= self.state.next_uid());
        // UIDs that were given to messages which are gone are not given again.
        let least = claimed.or_else(|| self.after_given());
        if let Some(uid) = least.max(self.last.and_then(Uid::successor)) {
            self.at.raise_next_uid(uid);
        }
        let uid = self.at.next_uid()?;
        tracing::debug!(%uid, claimed = ?meta.uid, offset, "a message that the index has not");
        let is_told = claimed == Some(uid) && meta.uid == claimed && has_right_length;
        let dirty = if is_told { RecordFlags::NONE } else { RecordFlags::DIRTY };
        self.at.transaction().append(uid, RecordFlags::from(meta.flags).union(dirty));
        self.appended_dirty |= dirty == RecordFlags::DIRTY;
        let one: UidSet = std::iter::once(uid).collect();
        for keyword in &meta.keywords {
            if !self.has_room_for(keyword) {
                continue;
            }
            self.at.transaction().keyword(KeywordAction::Add, keyword, &one, Origin::External);
        }
        self.put_place(uid, Some(offset), Some(hash));
        if meta.is_old {
            self.last_old = Some(uid);
        }
        self.appended.insert(uid);
        self.last = Some(uid);
        Ok(())
    }

    /// Whether the index can hold a keyword of a message. What is too much for it is in the file alone: whoever sends mails
    /// with many of them must not make the mailbox one that nobody can open.
    fn has_room_for(&mut self, keyword: &Keyword) -> bool {
        let is_known = |new: &HashSet<Keyword>| {
            new.contains(keyword) || self.state.keyword_bit(keyword.as_str().as_bytes()).is_some()
        };
        if is_known(&self.new_keywords) {
            return true;
        }
        let has_room = self.state.keywords().len() + self.new_keywords.len() < KEYWORDS_MAX;
        if has_room {
            self.new_keywords.insert(keyword.clone());
        }
        has_room
    }

    fn put_place(&mut self, uid: Uid, offset: Option<u64>, hash: Option<&[u8; 16]>) {
        let transaction = self.at.transaction();
        if let Some(offset) = offset {
            transaction.ext_record(&MBOX_EXT, Generation::Current, uid, &offset.to_le_bytes(), Origin::External);
        }
        if let Some(hash) = hash {
            transaction.ext_record(&MD5_EXT, Generation::Current, uid, hash, Origin::External);
        }
    }

    /// Compares what a header says with the index.
    fn compare(&mut self, record: &RecordRef<'_>, meta: Meta, offset: u64, hash: &[u8; 16]) {
        let uid = record.uid();
        let moved = Some(offset).filter(|offset| offset_of(self.state, record) != Some(*offset));
        let hash = Some(hash).filter(|hash| md5_of(self.state, record) != Some(**hash));
        self.put_place(uid, moved, hash);
        if record.record_flags().contains(RecordFlags::DIRTY) || self.asked.contains(uid) {
            return;
        }
        let (in_file, in_index) = (meta.flags, record.flags());
        if in_file != in_index {
            let (add, remove) = (in_file.without(in_index), in_index.without(in_file));
            self.flags.entry((add.bits(), remove.bits())).or_default().insert(uid);
        }
        let (had, one) = (keywords_of(self.state, record), std::iter::once(uid).collect());
        let new: Vec<_> = meta.keywords.iter().filter(|keyword| !had.contains(keyword)).collect();
        let new: Vec<_> = new.into_iter().filter(|keyword| self.has_room_for(keyword)).collect();
        let mut change = |action, keyword| self.at.transaction().keyword(action, keyword, &one, Origin::External);
        new.into_iter().for_each(|keyword| change(KeywordAction::Add, keyword));
        let lost = had.iter().filter(|keyword| !meta.keywords.contains(keyword));
        lost.for_each(|keyword| change(KeywordAction::Remove, keyword));
    }

    /// Puts it all into the transaction; tells which messages are gone.
    fn finish(self) -> UidSet {
        let Self { state, at, base, records, mut gone, flags, dirty, appended, appended_dirty, last_old, .. } = self;
        records.for_each(|record| gone.insert(record.uid()));
        for ((add, remove), uids) in flags {
            let change = FlagChange { add: RecordFlags(add), remove: RecordFlags(remove), count_modseq: false };
            at.transaction().flags(&uids, change, Origin::External);
        }
        let is_clean =
            |uid: &Uid| !state.record_of(*uid).is_some_and(|r| r.record_flags().contains(RecordFlags::DIRTY));
        let dirty: UidSet = dirty.iter().filter(is_clean).collect();
        at.transaction().flags(&dirty, FlagChange::add(RecordFlags::DIRTY), Origin::External);
        if !gone.is_empty() {
            at.transaction().expunge_done(gone.iter().map(|uid| (uid, Guid::ZERO)));
        }
        if !appended.is_empty() {
            at.require_sync();
        }
        if appended_dirty {
            // An append alone does not set it.
            let flags = state.header().flags.get() | RawIndexHeader::HAVE_DIRTY;
            at.transaction().header_update(RawIndexHeader::FLAGS, &flags.to_le_bytes());
        }
        if let Some(first_recent) = last_old.and_then(Uid::successor).filter(|uid| *uid > state.first_recent_uid()) {
            let value = first_recent.value().to_le_bytes();
            at.transaction().header_update(RawIndexHeader::FIRST_RECENT_UID, &value);
        }
        let next = after_given(state, base.as_ref());
        let after_last = appended.last().and_then(Uid::successor).max(Some(state.next_uid()));
        if let Some(next) = next.filter(|next| Some(*next) > after_last) {
            at.transaction().header_update(RawIndexHeader::NEXT_UID, &next.value().to_le_bytes());
            at.raise_next_uid(next);
        }
        gone
    }
}

/// Those keywords of a message's header that an index in step with it has.
pub(super) fn keywords_with_room<'m>(state: &State, told: &'m [Keyword]) -> Vec<&'m Keyword> {
    let is_full = state.keywords().len() >= KEYWORDS_MAX;
    told.iter().filter(|keyword| !is_full || state.keyword_bit(keyword.as_str().as_bytes()).is_some()).collect()
}

/// The UID behind all that were given, as the file tells it.
fn after_given(state: &State, base: Option<&Base>) -> Option<Uid> {
    let given = base.filter(|base| Some(base.uid_validity) == state.uid_validity())?.last_uid;
    Uid::new(given.checked_add(1)?).filter(|next| *next <= Uid::MAX_ON_DISK)
}

/// A synchronisation as an operation of its own.
pub(super) struct SyncOp {
    pub(super) name: MailboxName,
    pub(super) files: Arc<MboxFiles>,
    pub(super) what_for: LockFor,
    pub(super) extent: Extent,
    pub(super) outcome: Option<Outcome>,
    pub(super) completer: Option<engine::Completer<Result<()>>>,
}

impl CommitOp for SyncOp {
    fn touches_messages(&self) -> bool {
        self.what_for == LockFor::Messages
    }

    fn reads_messages(&self) -> bool {
        true
    }

    fn prepare(&mut self, at: &mut CommitPoint<'_>) -> std::result::Result<(), OpError> {
        self.outcome = Some(self.files.sync(at, self.extent)?.outcome);
        Ok(())
    }

    fn undo(&mut self) {
        self.files.forget();
    }

    fn done(mut self: Box<Self>, outcome: std::result::Result<&CommitOutcome, Arc<CommitError>>) {
        let result = match outcome {
            Ok(_) if self.outcome == Some(Outcome::Replaced) => Err(StorageError::Deleted(self.name.clone())),
            Ok(_) => Ok(()),
            Err(e) => Err(from_commit(&self.name, &e)),
        };
        if let Some(completer) = self.completer.take() {
            completer.complete(result);
        }
    }
}
