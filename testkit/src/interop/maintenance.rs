//! What an administrator does to a storage that has more than its messages.

use super::{StoreFormat, USER};
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

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Purge => "doveadm purge",
            Self::ToAlt => "doveadm altmove",
            Self::FromAlt => "doveadm altmove -r",
        }
    }

    pub(super) fn by_dovecot(self, dovecot: &Dovecot) -> anyhow::Result<()> {
        let arguments: &[&str] = match self {
            Self::Purge => &["purge", "-u", USER],
            Self::ToAlt => &["altmove", "-u", USER, "seen"],
            Self::FromAlt => &["altmove", "-r", "-u", USER, "flagged"],
        };
        dovecot.doveadm(arguments).map(drop)
    }
}
