//! What a format's part of a check is given: where to look, and where to tell what was found.

use std::path::Path;

use mailindex::{
    engine::{Env, IndexRemedy, Inspected, inspect},
    state::State,
};
use mailtypes::{MailboxName, UidValidity};

use super::{CheckProgress, Finding, FindingKind};
use crate::{indexed::PREFIX, mailbox_list::MailboxDirs, traits::Result};

/// Findings of one mailbox that are told one by one.
const FINDING_COUNT_MAX: usize = 10_000;

/// Messages between two reports of how far it has come.
const TELL_EVERY: u64 = 64;

/// One mailbox, or the store, as it is looked at.
pub(crate) struct Look<'a> {
    pub(crate) env: &'a Env,
    /// Whether bodies are read.
    pub(crate) deep: bool,
    pub(super) mailbox: Option<MailboxName>,
    pub(super) findings: Vec<Finding>,
    pub(super) untold: u64,
    pub(super) messages: u64,
    pub(super) body_bytes: u64,
    /// The mailbox's.
    pub(super) uid_validity: Option<UidValidity>,
    /// What bodies are read into.
    pub(super) buf: Vec<u8>,
    pub(super) progress: &'a mut CheckProgress,
    pub(super) tell: &'a mut dyn FnMut(&CheckProgress),
}

impl Look<'_> {
    /// Tells a finding.
    pub(crate) fn found(&mut self, finding: Finding) {
        if self.findings.len() >= FINDING_COUNT_MAX {
            self.untold += u64::from(finding.is_problem());
            return;
        }
        self.progress.problems += u64::from(finding.is_problem());
        self.findings.push(Finding { mailbox: self.mailbox.clone(), ..finding });
    }

    /// So many messages will be looked at.
    pub(crate) fn will_look_at(&mut self, messages: u64) {
        self.messages += messages;
        self.progress.known += messages;
    }

    /// One of them was.
    pub(crate) fn step(&mut self) {
        self.progress.done += 1;
        if self.progress.done.is_multiple_of(TELL_EVERY) {
            (self.tell)(self.progress);
        }
    }

    /// So many bytes of bodies were read.
    pub(crate) fn read(&mut self, bytes: u64) {
        self.body_bytes += bytes;
    }

    /// Looks at a mailbox's index files.
    pub(crate) fn index(&mut self, dirs: &MailboxDirs) -> Result<Inspected> {
        self.index_at(&dirs.index, PREFIX, FindingKind::Index)
    }

    /// Looks at index files.
    pub(crate) fn index_at(&mut self, dir: &Path, prefix: &str, kind: FindingKind) -> Result<Inspected> {
        let seen = match inspect(self.env, dir, prefix) {
            Ok(seen) => seen,
            Err(e) => {
                self.found(Finding::new(FindingKind::Unreadable, dir, format!("the index cannot be looked at: {e}")));
                return Ok(Inspected::default());
            }
        };
        for found in &seen.findings {
            let kind = if found.remedy == IndexRemedy::DropCache { FindingKind::Cache } else { kind };
            let damage = &found.damage;
            let finding = Finding::new(kind, &damage.path, &damage.what).at(damage.offset).plan(found.remedy.text());
            let is_normal = matches!(found.remedy, IndexRemedy::Nothing | IndexRemedy::CarryOut);
            self.found(if is_normal { finding.noted() } else { finding });
        }
        Ok(seen)
    }

    /// Tells that something could not be looked at.
    pub(crate) fn unreadable(&mut self, path: &Path, why: impl std::fmt::Display) {
        self.found(Finding::new(FindingKind::Unreadable, path, format!("it cannot be looked at: {why}")));
    }

    /// Looks at what every mailbox's index must have.
    pub(crate) fn identity(&mut self, dirs: &MailboxDirs, state: &State, needs_guid: bool) {
        self.uid_validity = self.uid_validity.max(state.uid_validity());
        if state.message_count() == 0 {
            return;
        }
        let plan = "take what is left, or a new one";
        if state.uid_validity().is_none() {
            let what = "it has messages and no UIDVALIDITY";
            self.found(Finding::new(FindingKind::Index, dirs.index.join(PREFIX), what).plan(plan));
        }
        let has_guid = state.dbox_header().is_some_and(|header| !header.guid.is_zero());
        if needs_guid && !has_guid {
            let what = "it has messages and no GUID of the mailbox";
            self.found(Finding::new(FindingKind::Index, dirs.index.join(PREFIX), what).plan(plan));
        }
    }
}
