//! A mailbox of either side at one moment: what is found out about it and what is done about that are of the same one.

use std::collections::HashSet;

use mailtypes::{Guid, SeqNum, Uid, UidSet};

use super::{
    compare::Side,
    journal::{Entry, Mark, Phase},
    kept::{Bytes, compare_bytes, hash_of},
    message::{Known, guid_of_place, guids, known},
};
use crate::traits::{Keeps, Mailbox, MailboxIdentity, Result, View, ViewAs};

/// A mailbox at one moment.
pub(super) struct Snapshot {
    pub(super) view: Box<dyn View>,
    pub(super) mark: Mark,
    pub(super) recent_from: Uid,
}

impl Snapshot {
    pub(super) fn of(mailbox: &dyn Mailbox) -> Result<Self> {
        let view = mailbox.view(&ViewAs::default())?;
        let (messages, recent) = (view.message_count(), view.recent_count());
        let mark = Mark {
            uid_validity: view.uid_validity(),
            uid_next: view.uid_next(),
            highest_modseq: view.highest_modseq(),
            messages,
        };
        let first_recent = SeqNum::from_index(messages.saturating_sub(recent)).and_then(|seq| view.uid_at(seq));
        let recent_from = first_recent.filter(|_| recent > 0).unwrap_or(mark.uid_next);
        Ok(Self { view, mark, recent_from })
    }

    pub(super) fn side(&self) -> Result<Side> {
        Ok(Side { messages: known(&*self.view)?, uid_next: self.mark.uid_next })
    }
    /// Whether nobody has put anything into it yet.
    pub(super) fn is_pristine(&self) -> bool {
        self.mark.messages == 0 && self.mark.uid_next == Uid::MIN
    }

    /// Whether a conversion alone has made of a mailbox of the destination what it is.
    pub(super) fn is_own(&self, entry: &Entry) -> Result<bool> {
        match &entry.phase {
            Phase::Done(done) => Ok(done.destination == self.mark),
            Phase::Begun(ours) => {
                let is_own = |message: &Known| ours.is_unchanged(message.uid, message.modseq) == Some(true);
                Ok(ours.is_of(self.mark.uid_validity) && known(&*self.view)?.iter().all(is_own))
            }
        }
    }

    /// Whether it shows these messages, as far as they were not `failed`, with their flags, and nothing else.
    pub(super) fn shows(&self, messages: &[Known], failed: &UidSet) -> Result<bool> {
        let expected = messages.iter().filter(|message| !failed.contains(message.uid));
        let what = |known: &Known| (known.uid, known.flags, known.keywords.clone());
        Ok(known(&*self.view)?.iter().map(what).eq(expected.map(what)))
    }
}

/// Whether messages that two mailboxes have under the same UIDs are the same, by their GUIDs. One that has another GUID is
/// another even if its bytes are the same: a Maildir may have found its file and made a message of it.
pub(super) fn have_same_guids(
    mailbox: &MailboxIdentity,
    source: &dyn View,
    destination: &dyn View,
    uids: &UidSet,
) -> Result<bool> {
    let (theirs, ours) = (guids(source, uids)?, guids(destination, uids)?);
    let expected = |uid: Uid| theirs.get(&uid).copied().unwrap_or_else(|| guid_of_place(mailbox, uid));
    Ok(uids.iter().all(|uid| ours.get(&uid) == Some(&expected(uid))))
}

/// The same by their bytes.
pub(super) fn have_same_bytes(source: &dyn View, destination: &dyn View, uids: &UidSet, keeps: Keeps) -> Result<bool> {
    for uid in uids.iter() {
        let (mut their, mut our) = (source.body(uid)?, destination.body(uid)?);
        if compare_bytes(&mut *their, &mut *our, keeps)? == Bytes::Different {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether every message of a mailbox is one of another's as the mailbox keeps it, under whatever UID.
pub(super) fn are_all_of(mailbox: &dyn View, other: &dyn View, keeps: Keeps) -> Result<bool> {
    let known: HashSet<Guid> = guids(other, &other.uids())?.into_values().collect();
    let ours = guids(mailbox, &mailbox.uids())?;
    let is_known = |uid: &Uid| ours.get(uid).is_some_and(|guid| known.contains(guid));
    let strangers: Vec<Uid> = mailbox.uids().iter().filter(|uid| !is_known(uid)).collect();
    if strangers.is_empty() {
        return Ok(true);
    }
    let hashes =
        other.uids().iter().map(|uid| hash_of(&mut *other.body(uid)?, keeps)).collect::<Result<HashSet<_>>>()?;
    for uid in strangers {
        if !hashes.contains(&hash_of(&mut *mailbox.body(uid)?, Keeps::ALL)?) {
            return Ok(false);
        }
    }
    Ok(true)
}
