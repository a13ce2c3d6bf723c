//! Going through a store: each mailbox is looked at, mended where that is asked for and due, and looked at again.

use std::{collections::HashSet, path::Path};

use mailfs::FileSystemExt;
use mailtypes::{MailboxName, UidValidity};

use super::{CheckOptions, CheckProgress, CheckReport, Finding, FindingKind, Look, Outcome, list, rights};
use crate::{
    indexed::{PRIVATE_PREFIX, look_at_private, mend_private},
    mailbox_list::{Format, MailboxDirs, Placed, alternate_away, seen},
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
        may_repair: options.repair,
    };
    let mut mailboxes = seen(format)?;
    run.alternate()?;
    if let Some(name) = &options.mailbox {
        mailboxes.retain(|found| found.name == *name);
        if mailboxes.is_empty() {
            return Err(StorageError::NotFound(name.clone()));
        }
    } else {
        run.place(None, &mut |look| format.look_at_storage(look), &mut |_| format.mend_storage());
    }
    for mailbox in &mailboxes {
        // Of a folder that is gone the list tells.
        if !format.layout().is_by_guid() || format.env().fs().is_dir(&mailbox.dirs.mail)? {
            run.mailbox(mailbox);
        }
    }
    if options.mailbox.is_none() {
        let highest = run.highest;
        run.place(None, &mut |look| list::look(format, highest, look), &mut |found| list::mend(format, highest, found));
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
    /// A repair was asked for, and does no harm.
    may_repair: bool,
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
    /// While nobody can say what lies in alternate storage, nothing is repaired: what looks lost may be there.
    fn alternate(&mut self) -> Result<()> {
        let Some(away) = alternate_away(&**self.format.env().fs(), self.format.layout())? else { return Ok(()) };
        self.may_repair = false;
        let what = if self.options.repair { format!("{}; nothing is repaired", away.what) } else { away.what };
        let finding = Finding::new(FindingKind::Alternate, away.path, what).plan(away.advice);
        let outcome = if self.options.repair { Outcome::Left } else { Outcome::Found };
        self.report.findings.push(Finding { outcome, ..finding });
        self.progress.problems += 1;
        Ok(())
    }

    fn mailbox(&mut self, Placed { name, dirs, .. }: &Placed) {
        let format = self.format;
        self.report.mailboxes += 1;
        self.progress.mailbox = Some(name.clone());
        (self.tell)(&self.progress);
        self.place(
            Some(name),
            &mut |look| {
                rights::look(dirs, look)?;
                format.look(name, dirs, look)?;
                look_at_private(dirs, look)
            },
            &mut |found| {
                let (own, shared): (Vec<_>, Vec<_>) = found.iter().partition(|found| is_private(dirs, &found.path));
                let root = format.layout().private_root().unwrap_or_else(|| format.layout().root());
                // What is refused is told, and keeps nothing else from being repaired.
                let shared = mend(format, format.layout().root(), &shared, &|found| format.mend(name, dirs, found));
                // Behind the other, which says what messages there are.
                mend(format, root, &own, &|_| mend_private(format.env(), name, dirs)).and(shared)
            },
        );
    }

    fn place(&mut self, name: Option<&MailboxName>, look: &mut LookAt<'_>, mend: &mut Mend<'_>) {
        let mut seen = self.look(name, look);
        if self.options.repair && !self.may_repair {
            for finding in seen.findings.iter_mut().filter(|finding| finding.is_problem()) {
                finding.outcome = Outcome::Left;
            }
        } else if self.may_repair && seen.findings.iter().any(Finding::is_problem) {
            let mended = mend(&seen.findings);
            let after = self.look(name, look);
            seen.findings = compared(seen.findings, after.findings);
            seen.findings.extend(self.format.told_by_repair());
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
            buf: Vec::new(),
            progress: &mut self.progress,
            tell: &mut *self.tell,
        };
        if let Err(e) = look(&mut at) {
            let path = match name.map(|name| self.format.layout().dirs(name)) {
                Some(Ok(dirs)) if !self.format.layout().is_by_guid() => dirs.mail,
                _ => self.format.layout().root().to_owned(),
            };
            at.unreadable(&path, e);
        }
        let Look { findings, untold, messages, body_bytes, uid_validity, .. } = at;
        Seen { findings, untold, messages, body_bytes, uid_validity }
    }
}

/// Whether a path is that of a user's own index, or of a file of it.
fn is_private(dirs: &MailboxDirs, path: &Path) -> bool {
    let Some(private) = &dirs.private else { return false };
    let is_file = || path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PRIVATE_PREFIX));
    match path.parent() == Some(private) {
        true => is_file(),
        false => path == private && *private != dirs.index,
    }
}

/// Mends the modes of files below a root, and what else was found.
fn mend(format: &dyn Format, root: &Path, found: &[&Finding], how: &dyn Fn(&[Finding]) -> Result<()>) -> Result<()> {
    let found: Vec<Finding> = found.iter().copied().cloned().collect();
    let allowed = rights::mend(&**format.env().fs(), root, &found);
    match found.iter().any(|finding| finding.is_problem() && finding.kind != FindingKind::Rights) {
        true => how(&found).and(allowed),
        false => allowed,
    }
}

/// What was found before a repair, with what became of it, and what is found since.
fn compared(before: Vec<Finding>, after: Vec<Finding>) -> Vec<Finding> {
    let still: HashSet<_> = after.iter().filter(|finding| finding.is_problem()).map(Finding::about).collect();
    let mut all: Vec<Finding> = before
        .into_iter()
        .map(|finding| match finding.is_problem() {
            false => finding,
            true if still.contains(&finding.about()) => Finding { outcome: Outcome::Left, ..finding },
            true => Finding { outcome: Outcome::Repaired, ..finding },
        })
        .collect();
    let mut known: HashSet<_> = all.iter().map(Finding::about).collect();
    let new: Vec<Finding> = after.iter().filter(|finding| known.insert(finding.about())).cloned().collect();
    drop(known);
    all.extend(new.into_iter().map(|finding| {
        let outcome = if finding.is_problem() { Outcome::Left } else { Outcome::Noted };
        Finding { outcome, ..finding }
    }));
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
