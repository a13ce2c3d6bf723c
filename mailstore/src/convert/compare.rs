//! What a mailbox that was converted lacks, and has too much.

use std::{cmp::Ordering, collections::HashMap};

use mailtypes::{Uid, UidSet};

use super::{message::Known, ours::Ours};
use crate::traits::{FlagAction, FlagChange, Result};

/// How much is known of what stands in the destination.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Trust<'a> {
    /// Nobody changed it since it was converted.
    Clean,
    /// A conversion was under way, which is known to have put so much there.
    Begun(&'a Ours),
    /// Others' changes are to give way.
    Overwrite,
    /// It is of the same source, and nothing says what was changed since.
    Unknown,
}

impl Trust<'_> {
    /// Whether a message may go that the source has no more.
    fn may_expunge(self, our: &Known) -> bool {
        match self {
            Self::Clean | Self::Overwrite => true,
            Self::Begun(ours) => ours.is_unchanged(our.uid, our.modseq) == Some(true),
            Self::Unknown => false,
        }
    }

    /// Whether a message may get the source's flags: not if somebody else has changed it. One that no conversion has
    /// noted came with the last batch of one that was stopped.
    fn may_flag(self, our: &Known) -> bool {
        match self {
            Self::Clean | Self::Overwrite => true,
            Self::Begun(ours) => ours.is_unchanged(our.uid, our.modseq) != Some(false),
            Self::Unknown => false,
        }
    }
}

/// One of the two mailboxes.
pub(super) struct Side {
    pub(super) messages: Vec<Known>,
    pub(super) uid_next: Uid,
}

/// What brings the destination up to date.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Delta {
    pub(super) add: UidSet,
    pub(super) expunge: UidSet,
    pub(super) flags: Vec<FlagChange>,
    /// Messages whose flags change.
    pub(super) flagged: u64,
    /// Messages that are there.
    pub(super) kept: u64,
}

/// What a comparison comes to.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Compared {
    Delta(Delta),
    /// No change brings it up to date: it has to be made anew.
    Anew(&'static str),
    /// It has what is somebody else's and would be lost if it were made anew.
    Conflict(&'static str),
}

const OWN: &str = "the mailbox in the destination has messages of its own";
const MISSING: &str = "the mailbox in the destination lacks messages that cannot be put between the others";
const OTHERS: &str = "the mailbox in the destination has other messages under the same UIDs";
const FLAGS: &str = "flags differ, and nothing says where they were changed";

/// Compares. `failed`: messages that a run before could not convert. `same` tells whether messages that both have under
/// the same UID are the same, where that is not known.
pub(super) fn compare(
    source: &Side,
    destination: &Side,
    trust: Trust<'_>,
    failed: &UidSet,
    same: &mut dyn FnMut(&UidSet) -> Result<bool>,
) -> Result<Compared> {
    let mut delta = Delta::default();
    let (mut common, mut may_flag) = (UidSet::new(), true);
    let mut changes: HashMap<_, UidSet> = HashMap::new();
    let (mut theirs, mut ours) = (source.messages.iter().peekable(), destination.messages.iter().peekable());
    loop {
        let order = match (theirs.peek(), ours.peek()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(theirs), Some(ours)) => theirs.uid.cmp(&ours.uid),
        };
        let their = if order == Ordering::Greater { None } else { theirs.next() };
        let our = if order == Ordering::Less { None } else { ours.next() };
        match (their, our) {
            (Some(their), None) if their.uid >= destination.uid_next => delta.add.insert(their.uid),
            (Some(their), None) if failed.contains(their.uid) => {}
            (Some(_), None) => return Ok(Compared::Anew(MISSING)),
            (None, Some(our)) if trust.may_expunge(our) && our.uid < source.uid_next => delta.expunge.insert(our.uid),
            (None, Some(_)) => return Ok(Compared::Anew(OWN)),
            (Some(their), Some(our)) => {
                common.insert(our.uid);
                if their.flags != our.flags || their.keywords != our.keywords {
                    may_flag &= trust.may_flag(our);
                    let key = (their.flags.bits(), their.keywords.clone());
                    changes.entry(key).or_default().insert(their.uid);
                }
            }
            (None, None) => {}
        }
    }
    if !may_flag {
        return Ok(Compared::Conflict(FLAGS));
    }
    if trust != Trust::Clean && !same(&common)? {
        return Ok(Compared::Anew(OTHERS));
    }
    delta.kept = common.count();
    delta.flagged = changes.values().map(UidSet::count).sum();
    delta.flags = changes
        .into_iter()
        .map(|((flags, keywords), uids)| FlagChange {
            uids,
            action: FlagAction::Replace,
            flags: mailtypes::Flags::from_bits(flags),
            keywords,
            unchanged_since: None,
        })
        .collect();
    // In one order whatever the map's, so that runs can be repeated.
    delta.flags.sort_by_key(|change| change.uids.first());
    Ok(Compared::Delta(delta))
}

#[cfg(test)]
mod tests {
    use mailtypes::{Flag, Flags, ModSeq, UidValidity};

    use super::*;

    fn set(uids: &[u32]) -> UidSet {
        uids.iter().filter_map(|uid| Uid::new(*uid)).collect()
    }

    fn side(uids: &[u32], uid_next: u32, flagged: u32) -> Side {
        let known = |uid: Uid| Known {
            uid,
            flags: if uid.value() == flagged { Flag::Flagged.into() } else { Flags::NONE },
            keywords: Vec::new(),
            modseq: ModSeq::MIN,
        };
        Side { messages: set(uids).iter().map(known).collect(), uid_next: Uid::new(uid_next).unwrap() }
    }

    fn compared(source: &Side, destination: &Side, trust: Trust<'_>) -> Compared {
        compare(source, destination, trust, &set(&[2]), &mut |_| Ok(true)).unwrap()
    }

    /// Noted with the mod-sequence that all messages have.
    fn ours(uids: &[u32]) -> Ours {
        Ours::new(UidValidity::MIN, ModSeq::MIN, set(uids))
    }

    #[test]
    fn what_is_new_changed_and_gone_is_found() {
        let (source, destination) = (side(&[1, 3, 5, 8, 9], 12, 3), side(&[1, 3, 4, 5, 6], 8, 5));
        let noted = ours(&[4, 5, 6]);
        for trust in [Trust::Clean, Trust::Begun(&noted), Trust::Overwrite] {
            let Compared::Delta(delta) = compared(&source, &destination, trust) else { panic!("{trust:?}") };
            assert_eq!((delta.add, delta.expunge), (set(&[8, 9]), set(&[4, 6])));
            assert_eq!((delta.kept, delta.flagged, delta.flags.len()), (3, 2, 2));
        }
        assert_eq!(compared(&source, &destination, Trust::Unknown), Compared::Anew(OWN));
    }

    #[test]
    fn what_cannot_be_mended_is_made_anew() {
        let anew = |source: &Side, destination: &Side| compared(source, destination, Trust::Overwrite);
        assert_eq!(anew(&side(&[1, 3], 4, 0), &side(&[1], 4, 0)), Compared::Anew(MISSING));
        assert_eq!(anew(&side(&[1], 2, 0), &side(&[1, 2], 3, 0)), Compared::Anew(OWN));
        let not_same = &mut |_: &UidSet| Ok(false);
        let other =
            compare(&side(&[1], 2, 0), &side(&[1], 2, 0), Trust::Begun(&ours(&[])), &UidSet::new(), not_same).unwrap();
        assert_eq!(other, Compared::Anew(OTHERS));
    }

    #[test]
    fn of_a_mailbox_that_was_begun_only_what_is_noted_goes() {
        let (source, mut destination) = (side(&[1, 259], 260, 0), side(&[1, 2, 257], 258, 0));
        let compared = |destination: &Side, noted: &Ours| compared(&source, destination, Trust::Begun(noted));
        let expunges = |compared: Compared| match compared {
            Compared::Delta(delta) => Some(delta.expunge),
            _ => None,
        };
        assert_eq!(compared(&destination, &ours(&[1, 2])), Compared::Anew(OWN));
        assert_eq!(expunges(compared(&destination, &ours(&[1, 2, 257]))), Some(set(&[2, 257])));
        // Somebody has changed what the source has no more, or what it has.
        destination.messages[1].modseq = ModSeq::new(2).unwrap();
        assert_eq!(compared(&destination, &ours(&[1, 2, 257])), Compared::Anew(OWN));
        let mut destination = side(&[1], 258, 1);
        assert!(matches!(compared(&destination, &ours(&[1])), Compared::Delta(_)));
        destination.messages[0].modseq = ModSeq::new(2).unwrap();
        assert_eq!(compared(&destination, &ours(&[1])), Compared::Conflict(FLAGS));
        assert!(matches!(compared(&destination, &ours(&[])), Compared::Delta(_)));
    }

    #[test]
    fn what_could_not_be_converted_is_not_missing() {
        let (source, destination) = (side(&[1, 2, 3], 4, 0), side(&[1, 3], 4, 0));
        assert!(matches!(compared(&source, &destination, Trust::Clean), Compared::Delta(_)));
    }
}
