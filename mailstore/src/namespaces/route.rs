//! Which namespace a name belongs to.

use mailtypes::MailboxName;

use super::Namespaces;

/// Where a name leads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Route {
    /// To a mailbox of this namespace, under this name in its storage.
    Mailbox(usize, MailboxName),
    /// It is the prefix of this namespace.
    Prefix(usize),
    /// To none.
    Nowhere,
}

impl Namespaces {
    pub(super) fn route(&self, name: &MailboxName) -> Route {
        let text = name.as_str();
        if name.is_inbox() {
            let inbox = self.spaces.iter().position(|space| space.inbox);
            return inbox.map_or(Route::Nowhere, |at| Route::Mailbox(at, name.clone()));
        }
        if self.is_split(name) {
            return Route::Nowhere;
        }
        let level = self.spaces.iter().position(|space| space.prefix.strip_suffix('/') == Some(text));
        if let Some(at) = level {
            return Route::Prefix(at);
        }
        let spaces = self.spaces.iter().enumerate().filter(|(_, space)| text.starts_with(&space.prefix));
        let Some((at, space)) = spaces.max_by_key(|(_, space)| space.prefix.len()) else { return Route::Nowhere };
        let inner = text.get(space.prefix.len()..).and_then(|rest| MailboxName::new(rest).ok());
        match inner {
            // INBOX has one name.
            Some(inner) if inner.is_inbox() && space.inbox => Route::Nowhere,
            Some(inner) => Route::Mailbox(at, inner),
            None => Route::Nowhere,
        }
    }

    /// Whether a level looks as if it were two.
    fn is_split(&self, name: &MailboxName) -> bool {
        self.separator != MailboxName::SEPARATOR && name.as_str().contains(self.separator)
    }

    /// The name under which clients know a mailbox of a namespace's storage; `None` where no name leads to it.
    pub(super) fn outward(&self, at: usize, inner: &MailboxName) -> Option<MailboxName> {
        self.outward_anywhere(at, inner).filter(|(owner, _)| *owner == at).map(|(_, name)| name)
    }

    /// The same for a name that may belong to another namespace, which is told too.
    pub(super) fn outward_anywhere(&self, at: usize, inner: &MailboxName) -> Option<(usize, MailboxName)> {
        let space = self.spaces.get(at)?;
        if inner.is_storage_root() {
            return Some((at, MailboxName::new(space.prefix.trim_end_matches('/')).ok()?));
        }
        let name = if inner.is_inbox() && space.inbox {
            inner.clone()
        } else {
            MailboxName::new(&format!("{}{inner}", space.prefix)).ok()?
        };
        match self.route(&name) {
            Route::Mailbox(owner, _) | Route::Prefix(owner) => Some((owner, name)),
            Route::Nowhere => None,
        }
    }
}
