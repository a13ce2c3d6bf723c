//! What can be wrong with an mbox: the file itself, and whether it says what its index says; and putting it right
//! (`docs/formats/mbox.md`).
//!
//! The file is read without a lock first. What looks wrong then may be a change that somebody is writing, and is looked at
//! once more with the file locked.

use std::sync::Arc;

use mailfs::{FileHandle, LockKind, OpenMode};
use mailindex::{
    engine::{LockFor, MessageStore, inspect},
    state::State,
};
use mailtypes::{MailboxName, Uid, UidSet};

use super::{
    Shared,
    files::MboxFiles,
    index,
    meta::Meta,
    scan::{RawMessage, Rules, Scanner},
    sync::Extent,
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
}

fn of_file<'a>(files: &'a MboxFiles, file: FileHandle, state: &'a State, look: &mut Look<'_>) -> Result<Reading<'a>> {
    let there = file.metadata()?;
    let is_current = files.is_current(state, &there);
    let (findings, last, uids) = (Vec::new(), None, UidSet::new());
    let mut reading = Reading { files, state, is_current, given: 0, findings, last, uids, messages: 0 };
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
        if message.start == 0 {
            self.note_base(&meta);
        }
        if meta.is_pseudo && message.start == 0 {
            return;
        }
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
        }
    }
}

/// The index first; then the file is gone over, and what only the index knows is written to it.
pub(super) fn mend(shared: &Arc<Shared>, name: &MailboxName, dirs: &MailboxDirs, found: &[Finding]) -> Result<()> {
    let store: Arc<dyn MessageStore> = MboxFiles::new(shared, dirs);
    mend_index(&shared.env, name, dirs, &store)?;
    let opened = index::open(shared, name, dirs)?;
    let of_file = |finding: &Finding| finding.is_problem() && finding.path == dirs.mail;
    if found.iter().any(of_file) {
        let files = opened.indexed().index.store().and_then(|store| store.downcast::<MboxFiles>().ok());
        if let Some(files) = files {
            files.sync_now(name, LockFor::Messages, Extent::Forced)?;
            files.flush_now();
        }
    }
    Ok(())
}
