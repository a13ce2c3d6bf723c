//! Which mailboxes are used for what (RFC 6154): names given by whoever runs the server.

use imap_proto::SpecialUse;
use mailtypes::MailboxName;

/// Names of mailboxes and what they are used for. A mailbox that is not there is not listed for being named here.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SpecialUses(Vec<(MailboxName, SpecialUse)>);

impl SpecialUses {
    /// These names, each with its use; the first counts where a name is given twice.
    pub fn new(uses: impl IntoIterator<Item = (MailboxName, SpecialUse)>) -> Self {
        Self(uses.into_iter().collect())
    }

    /// What a mailbox is used for.
    pub fn of(&self, name: &MailboxName) -> Option<SpecialUse> {
        self.0.iter().find(|(named, _)| named == name).map(|&(_, named)| named)
    }
}

impl Default for SpecialUses {
    /// The names that clients give most: Drafts, Sent, Junk, Trash, Archive.
    fn default() -> Self {
        let named = [
            ("Drafts", SpecialUse::Drafts),
            ("Sent", SpecialUse::Sent),
            ("Junk", SpecialUse::Junk),
            ("Trash", SpecialUse::Trash),
            ("Archive", SpecialUse::Archive),
        ];
        Self(named.into_iter().filter_map(|(name, named)| Some((MailboxName::new(name).ok()?, named))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_uses() {
        let of = |name| SpecialUses::default().of(&MailboxName::new(name).unwrap());
        assert_eq!(of("Drafts"), Some(SpecialUse::Drafts));
        assert_eq!(of("Archive"), Some(SpecialUse::Archive));
        assert_eq!(of("drafts"), None);
        assert_eq!(of("Sent/2026"), None);
    }
}
