//! Going through a store: each mailbox is looked at, mended where that is asked for and due, and looked at again.

use mailtypes::{MailboxName, UidValidity};

use super::{CheckOptions, CheckProgress, CheckReport, Finding, FindingKind, Look, Outcome, list};
use crate::{
    mailbox_list::{Format, dirs_of, levels},
    traits::{Result, StorageError},
};

/// Findings told of a whole store.
const FINDING_COUNT_MAX: usize = 100_000;

pub(super) fn run(
    format: &dyn Format,
    options: &CheckOptions,
    tell: &mut dyn FnMut(&CheckProgress),
) -> Result<CheckReport> {
    let mut run = Run {
        format,
        options,
        tell,
        report: CheckReport::default(),
        progress: CheckProgress::default(),
        highest: None,
    };
    let mut names: Vec<MailboxName> =
        levels(format)?.into_iter().filter(|found| found.selectable).map(|found| found.name).collect();
    if let Some(name) = &options.mailbox {
        names.retain(|found| found == name);
        if names.is_empty() {
            return Err(StorageError::NotFound(name.clone()));
        }
    } else {
        run.place(None, &mut |look| format.look_at_storage(look), &mut |_| format.mend_storage())?;
    }
    for name in names {
        run.mailbox(&name)?;
    }
    if options.mailbox.is_none() {
        let highest = run.highest;
        run.place(None, &mut |look| list::look(format, highest, look), &mut |found| {
            list::mend(format, highest, found)
        })?;
    }
    Ok(run.report)
}

type LookAt<'f> = dyn FnMut(&mut Look<'_>) -> Result<()> + 'f;
type Mend<'f> = dyn FnMut(&[Finding]) -> Result<()> + 'f;

struct Run<'a> {
    format: &'a dyn Format,
    options: &'a CheckOptions,
    tell: &'a mut dyn FnMut(&CheckProgress),
    report: CheckReport,
    progress: CheckProgress,
    /// The highest UIDVALIDITY that a mailbox has.
    highest: Option<UidValidity>,
}

/// What one look came to.
#[derive(Default)]
struct Seen {
    findings: Vec<Finding>,
    untold: u64,
    messages: u64,
    body_bytes: u64,
    uid_validity: Option<UidValidity>,
}

impl Run<'_> {
    fn mailbox(&mut self, name: &MailboxName) -> Result<()> {
        let format = self.format;
        let dirs = dirs_of(format, name)?;
        self.report.mailboxes += 1;
        self.progress.mailbox = Some(name.clone());
        (self.tell)(&self.progress);
        self.place(Some(name), &mut |look| format.look(name, &dirs, look), &mut |found| format.mend(name, &dirs, found))
    }

    fn place(&mut self, name: Option<&MailboxName>, look: &mut LookAt<'_>, mend: &mut Mend<'_>) -> Result<()> {
        let mut seen = self.look(name, look);
        if self.options.repair && seen.findings.iter().any(Finding::is_problem) {
            let mended = mend(&seen.findings);
            let after = self.look(name, look);
            seen.findings = compared(seen.findings, after.findings);
            seen.untold = after.untold;
            if let Err(e) = mended {
                let path = self.format.layout().root();
                let finding = Finding::new(FindingKind::Unreadable, path, format!("the repair failed: {e}"));
                seen.findings.push(Finding { mailbox: name.cloned(), outcome: Outcome::Left, ..finding });
            }
        }
        self.highest = self.highest.max(seen.uid_validity);
        self.report.messages += seen.messages;
        self.report.body_bytes += seen.body_bytes;
        self.report.untold += seen.untold;
        let room = FINDING_COUNT_MAX.saturating_sub(self.report.findings.len());
        self.report.untold += seen.findings.len().saturating_sub(room) as u64;
        self.report.findings.extend(seen.findings.into_iter().take(room));
        Ok(())
    }

    fn look(&mut self, name: Option<&MailboxName>, look: &mut LookAt<'_>) -> Seen {
        let mut at = Look {
            env: self.format.env(),
            deep: self.options.deep,
            mailbox: name.cloned(),
            findings: Vec::new(),
            untold: 0,
            messages: 0,
            body_bytes: 0,
            uid_validity: None,
            progress: &mut self.progress,
            tell: &mut *self.tell,
        };
        if let Err(e) = look(&mut at) {
            let path = match name.map(|name| dirs_of(self.format, name)) {
                Some(Ok(dirs)) => dirs.mail,
                _ => self.format.layout().root().to_owned(),
            };
            at.unreadable(&path, e);
        }
        let Look { findings, untold, messages, body_bytes, uid_validity, .. } = at;
        Seen { findings, untold, messages, body_bytes, uid_validity }
    }
}

/// What was found before a repair, with what became of it, and what is found since.
fn compared(before: Vec<Finding>, after: Vec<Finding>) -> Vec<Finding> {
    let mut all: Vec<Finding> = before
        .into_iter()
        .map(|finding| {
            let is_there = after.iter().any(|other| other.is_problem() && other.is_same(&finding));
            match finding.is_problem() {
                false => finding,
                true if is_there => Finding { outcome: Outcome::Left, ..finding },
                true => Finding { outcome: Outcome::Repaired, ..finding },
            }
        })
        .collect();
    for finding in after {
        if !all.iter().any(|known| known.is_same(&finding)) {
            let outcome = if finding.is_problem() { Outcome::Left } else { Outcome::Noted };
            all.push(Finding { outcome, ..finding });
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_found_no_more_was_repaired() {
        let finding = |path: &str| Finding::new(FindingKind::BodyDamaged, path, "x");
        let before = vec![finding("a"), finding("b"), finding("n").noted()];
        let all = compared(before, vec![finding("b"), finding("c"), finding("n").noted()]);
        let told: Vec<_> = all.iter().map(|f| (f.path.to_str().unwrap_or_default(), f.outcome.clone())).collect();
        let expected = [("a", Outcome::Repaired), ("b", Outcome::Left), ("n", Outcome::Noted), ("c", Outcome::Left)];
        assert_eq!(told, expected);
    }
}
