//! The session's state (RFC 3501 §3): one enum that owns what each state has.

use std::sync::Arc;

use culver_runtime::{UserName, UserPermit};
use mailstore::MailStorage;

use crate::selected::Selected;

pub(crate) enum State {
    NotAuthenticated,
    Authenticated(Account),
    Selected(Account, Box<Selected>),
    /// A storage step lost what it had taken along.
    Broken,
}

/// Who has logged in.
pub(crate) struct Account {
    pub(crate) user: UserName,
    pub(crate) storage: Arc<dyn MailStorage>,
    /// His place among the connections.
    pub(crate) permit: UserPermit,
}

impl State {
    pub(crate) fn account(&self) -> Option<&Account> {
        match self {
            Self::Authenticated(account) | Self::Selected(account, _) => Some(account),
            Self::NotAuthenticated | Self::Broken => None,
        }
    }

    pub(crate) fn account_mut(&mut self) -> Option<&mut Account> {
        match self {
            Self::Authenticated(account) | Self::Selected(account, _) => Some(account),
            Self::NotAuthenticated | Self::Broken => None,
        }
    }

    pub(crate) fn selected(&mut self) -> Option<&mut Selected> {
        match self {
            Self::Selected(_, selected) => Some(selected),
            _ => None,
        }
    }

    /// Leaves the selected mailbox, if there is one.
    pub(crate) fn unselect(&mut self) -> Option<Box<Selected>> {
        match std::mem::replace(self, Self::Broken) {
            Self::Selected(account, selected) => {
                *self = Self::Authenticated(account);
                Some(selected)
            }
            other => {
                *self = other;
                None
            }
        }
    }
}
