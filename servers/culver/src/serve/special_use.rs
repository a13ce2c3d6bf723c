//! Which mailboxes are used for what, as IMAP's server takes it.

use culver_imap::SpecialUses;
use imap_proto::SpecialUse as Use;
use mailstore::mailtypes::MailboxName;

use crate::config::{section::Setting, tables::SpecialUse};

/// Each key with its names and its use; where a name is given twice, the first counts.
pub(crate) fn named(of: &SpecialUse) -> [(&'static str, &Setting<Vec<String>>, Use); 7] {
    [
        ("drafts", &of.drafts, Use::Drafts),
        ("sent", &of.sent, Use::Sent),
        ("junk", &of.junk, Use::Junk),
        ("trash", &of.trash, Use::Trash),
        ("archive", &of.archive, Use::Archive),
        ("all", &of.all, Use::All),
        ("flagged", &of.flagged, Use::Flagged),
    ]
}

/// The server's names. One that no mailbox can have was refused when the configuration was read.
pub(crate) fn special_uses(of: &SpecialUse) -> SpecialUses {
    let each = |(_, names, used): (_, &Setting<Vec<String>>, Use)| {
        let names: Vec<_> = names.iter().filter_map(|name| MailboxName::new(name).ok()).collect();
        names.into_iter().map(move |name| (name, used))
    };
    SpecialUses::new(named(of).into_iter().flat_map(each))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::section::Section as _;

    #[test]
    fn the_documented_defaults_are_the_servers() {
        assert_eq!(special_uses(&SpecialUse::defaults()), SpecialUses::default());
    }
}
