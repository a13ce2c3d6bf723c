//! What is known to be a conversion's own in a mailbox that it has begun, and how the journal writes it.

use std::fmt;

use mailtypes::{Guid, MailboxName, ModSeq, Uid, UidSet, UidValidity, mutf7};

/// Stands for no UIDs.
const NO_UIDS: &str = "-";

/// Messages of a mailbox of the destination that a conversion has put there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Ours {
    /// The incarnation that they are of.
    uid_validity: UidValidity,
    /// With the mailbox's mod-sequence at the time; the last that names a message counts. Never empty.
    put: Vec<(ModSeq, UidSet)>,
}

impl Ours {
    /// What a mailbox has that nobody but a conversion has changed, and its mod-sequence.
    pub(super) fn new(uid_validity: UidValidity, modseq: ModSeq, uids: UidSet) -> Self {
        Self { uid_validity, put: vec![(modseq, uids)] }
    }

    pub(super) fn none(uid_validity: UidValidity) -> Self {
        Self::new(uid_validity, ModSeq::MIN, UidSet::new())
    }

    pub(super) fn is_of(&self, uid_validity: UidValidity) -> bool {
        self.uid_validity == uid_validity
    }

    /// Of a message that is one of these: whether nobody has changed it since.
    pub(super) fn is_unchanged(&self, uid: Uid, modseq: ModSeq) -> Option<bool> {
        let last = self.put.iter().rev().find(|(_, uids)| uids.contains(uid));
        last.map(|(then, _)| modseq <= *then)
    }

    pub(super) fn put(&mut self, put: (ModSeq, UidSet)) {
        self.put.push(put);
    }

    #[cfg(test)]
    pub(super) fn all(&self) -> &[(ModSeq, UidSet)] {
        &self.put
    }

    /// The lines that say this of a mailbox that is begun.
    pub(super) fn write(&self, guid: Guid, name: &MailboxName) -> String {
        let mut lines = format!("B\t{guid}\t{}\t{}", mutf7::encode(name.as_str()), self.uid_validity.value());
        for (at, (modseq, uids)) in self.put.iter().enumerate() {
            if at > 0 {
                lines += &format!("P\t{guid}");
            }
            lines += &format!("\t{}\t{}\n", modseq.value(), Set(uids));
        }
        lines
    }

    /// What stands behind the name.
    pub(super) fn parse<'a>(fields: &mut impl Iterator<Item = &'a str>) -> Option<Self> {
        let uid_validity = UidValidity::new(fields.next()?.parse().ok()?)?;
        let (modseq, uids) = parse_put(fields)?;
        Some(Self::new(uid_validity, modseq, uids))
    }
}

pub(super) fn parse_put<'a>(fields: &mut impl Iterator<Item = &'a str>) -> Option<(ModSeq, UidSet)> {
    Some((ModSeq::new(fields.next()?.parse().ok()?)?, parse_set(fields.next()?)?))
}

/// A set of UIDs as it stands in a line.
pub(super) struct Set<'a>(pub(super) &'a UidSet);

impl fmt::Display for Set<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { f.write_str(NO_UIDS) } else { self.0.fmt(f) }
    }
}

pub(super) fn parse_set(text: &str) -> Option<UidSet> {
    if text == NO_UIDS { Some(UidSet::new()) } else { text.parse().ok().filter(|set: &UidSet| !set.is_empty()) }
}
