//! What can be wrong with an mbox: the file itself, and whether it says what its index says; and putting it right
//! (`docs/formats/mbox.md`).
//!
//! The file is read without a lock first. What looks wrong then may be a change that somebody is writing, and is looked at
//! once more with the file locked.

use std::sync::Arc;

use mailfs::{FileHandle, LockKind, OpenMode};
use mailindex::{
    engine::{LockFor, MessageStore, inspect},
    state::{RecordFlags, State},
};
use mailtypes::{MailboxName, Uid, UidSet};

use super::{
    Shared,
    files::{MboxFiles, SyncHeader},
    index,
    meta::{Meta, header_md5},
    scan::{RawMessage, Rules, Scanner},
    sync::{Extent, keywords_of, keywords_with_room, md5_of, offset_of},
};
use crate::{
    check::{Finding, FindingKind, Look, mend_index},
    indexed::PREFIX,
    mailbox_list::MailboxDirs,
    traits::{Result, StorageError},
};

/// Messages whose UIDs are told to be wrong one by one.
const WRONG_COUNT_MAX: usize = 100;

pub(super) fn look(shared: &Arc<Shared>, dirs: &MailboxDirs, look: &mut Look<'_>) -> Result<()> {
    let state = look.index(dirs)?.state.unwrap_or_else(State::empty);
    look.identity(dirs, &state, false);
    look.will_look_at(u64::from(state.message_count()));
    let files = MboxFiles::new(shared, dirs);
    let is_sound = !files.undo.is_pending()?
        && (!look.deep
            || of_file(&files, files.fs().open(files.path(), OpenMode::Read)?, &state, look)?.findings.is_empty());
    if is_sound {
        return Ok(());
    }
    let timeout = shared.env.options().lock_timeout;
    let locked = shared.options.locks.take(files.fs(), files.path(), LockKind::Shared, timeout)?;
    if files.undo.is_pending()? {
        let what = "a change of the file was begun by somebody who died";
        let finding = Finding::new(FindingKind::Leftover, files.path(), what);
        look.found(finding.plan("take back what was not finished"));
    } else if look.deep {
        let state = inspect(look.env, &dirs.index, PREFIX).map_err(|e| StorageError::Io((&e).into()))?.state;
        let state = state.unwrap_or_else(State::empty);
        let findings = of_file(&files, Arc::clone(&locked.file), &state, look)?.findings;
        findings.into_iter().for_each(|finding| look.found(finding));
    }
    Ok(())
}

/// What a reading of the file came to.
struct Reading<'a> {
    files: &'a MboxFiles,
    state: &'a State,
    /// Whether the index says that it is in step with the file.
    is_current: bool,
    /// The highest UID in the file that counts; 0: there is no line that says to which mailbox they belong.
    given: u32,
    findings: Vec<Finding>,
    last: Option<Uid>,
    uids: UidSet,
    messages: u32,
    /// Where the body of the message before ended.
    end: u64,
    /// Messages that have other flags or keywords in the index, and those that it has elsewhere or by another hash.
    flags_differ: UidSet,
    misplaced: UidSet,
}

fn of_file<'a>(files: &'a MboxFiles, file: FileHandle, state: &'a State, look: &mut Look<'_>) -> Result<Reading<'a>> {
    let there = file.metadata()?;
    let is_current = files.is_current(state, &there);
    let (findings, last, uids) = (Vec::new(), None, UidSet::new());
    let (flags_differ, misplaced) = (UidSet::new(), UidSet::new());
    let (given, messages, end) = (0, 0, 0);
    let mut reading =
        Reading { files, state, is_current, given, findings, last, uids, messages, end, flags_differ, misplaced };
    let mut scanner = match Scanner::new(files.path(), file, Rules::Dovecot) {
        Err(e) if e.kind() == std::io::ErrorKind::InvalidData => {
            let what = "it does not begin with a line \"From sender date\", so that nobody can read it";
            let plan = "nothing: put the beginning of the file right, or put a copy in its place";
            reading.findings.push(Finding::new(FindingKind::BodyDamaged, files.path(), what).at(0).plan(plan));
            return Ok(reading);
        }
        other => other?,
    };
    while let Some(message) = scanner.next_message()? {
        reading.note(&message);
        look.step();
    }
    look.read(scanner.len());
    reading.compare();
    Ok(reading)
}

impl Reading<'_> {
    fn finding(&self, kind: FindingKind, offset: u64, what: String, plan: &str) -> Finding {
        Finding::new(kind, self.files.path(), what).at(offset).plan(plan)
    }

    fn note(&mut self, message: &RawMessage) {
        let meta = Meta::parse(&message.header.bytes);
        let offset = if message.start == 0 { 0 } else { self.end };
        self.end = message.body.end;
        if message.start == 0 {
            self.note_base(&meta);
        }
        if meta.is_pseudo && message.start == 0 {
            return;
        }
        self.compare_message(message, &meta, offset);
        self.messages = self.messages.saturating_add(1);
        let Some(uid) = meta.uid.filter(|uid| uid.value() <= self.given) else { return };
        if self.last.is_some_and(|last| uid <= last) {
            if self.findings.len() < WRONG_COUNT_MAX {
                let what = format!("its X-UID {uid} is not above that of a message before it");
                let finding = self.finding(FindingKind::UidList, message.start, what, "give it another UID");
                self.findings.push(finding.of(uid));
            }
            return;
        }
        self.last = Some(uid);
        self.uids.insert(uid);
    }

    /// What the index has of a message that is written to the file is in the file, too.
    fn compare_message(&mut self, message: &RawMessage, meta: &Meta, offset: u64) {
        let Some(record) = self.state.record(self.messages).filter(|_| self.is_in_step()) else { return };
        let uid = record.uid();
        if meta.uid.is_some_and(|told| told != uid) {
            return;
        }
        let hash = header_md5(&message.header.bytes, self.files.shared.options.md5);
        let is_known = md5_of(self.state, &record).is_none_or(|known| known == hash);
        if offset_of(self.state, &record) != Some(offset) || !is_known {
            self.misplaced.insert(uid);
        }
        if record.record_flags().contains(RecordFlags::DIRTY) {
            return;
        }
        let (told, had) = (keywords_with_room(self.state, &meta.keywords), keywords_of(self.state, &record));
        let is_same = told.len() == had.len() && told.iter().all(|keyword| had.contains(keyword));
        if meta.flags != record.flags() || !is_same {
            self.flags_differ.insert(uid);
        }
    }

    /// Whether the index says that it has gone over the whole file.
    fn is_in_step(&self) -> bool {
        self.is_current && SyncHeader::of(self.state).is_some_and(|header| !header.is_partial)
    }

    /// The line of the first message that says of which mailbox the file is.
    fn note_base(&mut self, meta: &Meta) {
        let Some(base) = &meta.base else { return };
        self.given = self.state.next_uid().value().saturating_sub(1).max(base.last_uid);
        if let Some(indexed) = self.state.uid_validity()
            && indexed != base.uid_validity
        {
            let told = base.uid_validity.value();
            let what = format!("the file says UIDVALIDITY {told}, the index {}", indexed.value());
            let plan = "believe the file, and begin the index anew";
            self.findings.push(self.finding(FindingKind::UidValidity, 0, what, plan));
        }
    }

    /// An index that is in step with the file knows its messages.
    fn compare(&mut self) {
        if !self.is_current {
            return;
        }
        let indexed = self.state.uids();
        let unknown = self.uids.difference(&indexed);
        let plan = "go over the whole file, and believe it";
        if !unknown.is_empty() {
            let what = format!("messages {unknown} of the file are unknown to the index, which says it is in step");
            self.findings.push(self.finding(FindingKind::BodyUnknown, 0, what, plan));
        } else if self.messages != self.state.message_count() && self.state.requested_expunges().is_empty() {
            let count = self.state.message_count();
            let what = format!("it has {} messages, the index {count}, which says it is in step", self.messages);
            self.findings.push(self.finding(FindingKind::BodyMissing, 0, what, plan));
            return;
        }
        if !self.misplaced.is_empty() {
            let what =
                format!("messages {} are not where the index, which says it is in step, has them", self.misplaced);
            self.findings.push(self.finding(FindingKind::Index, 0, what, plan));
        }
        let asked = self.state.flag_requests(0).iter().fold(UidSet::new(), |all, (_, uids)| all.union(uids));
        let differ = self.flags_differ.difference(&asked);
        if !differ.is_empty() {
            let what =
                format!("it has other flags or keywords of messages {differ} than the index, which says it is in step");
            self.findings.push(self.finding(FindingKind::Flags, 0, what, plan));
        }
    }
}

/// The UIDs that stand in the file and ascend.
fn uids_told(files: &MboxFiles) -> Result<UidSet> {
    let locked = files.lock_file(LockKind::Shared, files.shared.options.locks.timeout)?;
    let mut scanner = Scanner::new(files.path(), Arc::clone(&locked.file), Rules::Dovecot)?;
    let (mut uids, mut given) = (UidSet::new(), 0);
    while let Some(message) = scanner.next_message()? {
        let meta = Meta::parse(&message.header.bytes);
        if message.start == 0 {
            given = meta.base.as_ref().map_or(0, |base| base.last_uid);
        }
        if let Some(uid) = meta.uid.filter(|uid| uid.value() <= given && Some(*uid) > uids.last()) {
            uids.insert(uid);
        }
    }
    Ok(uids)
}

/// The index first; then the file is gone over, and what only the index knows is written to it.
pub(super) fn mend(shared: &Arc<Shared>, name: &MailboxName, dirs: &MailboxDirs, found: &[Finding]) -> Result<()> {
    let files = MboxFiles::new(shared, dirs);
    let store: Arc<dyn MessageStore> = Arc::clone(&files) as _;
    mend_index(&shared.env, name, dirs, &store)?;
    if found.iter().any(|finding| finding.kind == FindingKind::BodyUnknown) {
        // A log cannot append a UID that is below another one.
        index::rebuild(name, &files, &uids_told(&files)?)?;
    }
    let opened = index::open(shared, name, dirs)?;
    // What a damaged index had of the messages may be wrong without a sign.
    if found.iter().any(Finding::is_problem) {
        let files = opened.indexed().index.store().and_then(|store| store.downcast::<MboxFiles>().ok());
        if let Some(files) = files {
            files.sync_now(name, LockFor::Messages, Extent::Forced)?;
            files.flush_now();
        }
    }
    Ok(())
}
