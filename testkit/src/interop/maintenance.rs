//! What an administrator does to a storage that has more than its messages.

use std::path::Path;

use fastrand::Rng;

use super::{SharedStore, StoreFormat, USER};
use crate::dovecot::Dovecot;

/// One kind of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Maintenance {
    /// Bodies that no mailbox has any more are removed from an mdbox.
    Purge,
    /// What has been read is moved to the alternate storage.
    ToAlt,
    /// What is flagged is moved back.
    FromAlt,
}

impl Maintenance {
    /// What a format can need.
    pub(super) fn of(format: StoreFormat) -> &'static [Self] {
        match (format.is_mdbox(), format.has_alt()) {
            (true, true) => &[Self::Purge, Self::ToAlt, Self::FromAlt],
            (true, false) => &[Self::Purge],
            (false, true) => &[Self::ToAlt, Self::FromAlt],
            (false, false) => &[],
        }
    }

    /// What Dovecot's command for it is called.
    fn of_dovecot(self) -> &'static str {
        match self {
            Self::Purge => "doveadm purge",
            Self::ToAlt => "doveadm altmove",
            Self::FromAlt => "doveadm altmove -r",
        }
    }

    /// Has it done by Dovecot, or by Culver if that can and the dice say so; tells what was done.
    pub(super) fn perform(
        self,
        rng: &mut Rng,
        store: &SharedStore,
        program: Option<&Path>,
        dovecot: &Dovecot,
    ) -> anyhow::Result<&'static str> {
        let (what, arguments): (_, &[&str]) = match self {
            Self::Purge => ("culver purge", &["purge", USER]),
            Self::ToAlt => ("culver altmove", &["altmove", USER, "INBOX", "SEEN"]),
            Self::FromAlt => ("culver altmove --back", &["altmove", "--back", USER, "INBOX", "FLAGGED"]),
        };
        if let Some(program) = program.filter(|_| rng.bool()) {
            store.run_culver(program, arguments)?;
            return Ok(what);
        }
        let arguments: &[&str] = match self {
            Self::Purge => &["purge", "-u", USER],
            Self::ToAlt => &["altmove", "-u", USER, "seen"],
            Self::FromAlt => &["altmove", "-r", "-u", USER, "flagged"],
        };
        dovecot.doveadm(arguments)?;
        Ok(self.of_dovecot())
    }
}
