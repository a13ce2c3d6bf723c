//! A mailbox at one moment. Nothing here changes once it is published.

use std::{ops::RangeInclusive, sync::Arc};

use mailmime::Structure;
use mailtypes::{Flags, Guid, InternalDate, Keyword, ModSeq, Uid, UidSet};

use crate::traits::{Pop3Identity, Stamp};

/// What all copies of a message share.
#[derive(Debug)]
pub(super) struct Content {
    pub(super) guid: Guid,
    pub(super) internal_date: InternalDate,
    /// With CRLF line ends.
    pub(super) bytes: Arc<[u8]>,
    pub(super) structure: Structure,
    pub(super) pop3: Pop3Identity,
}

impl Content {
    pub(super) fn size(&self) -> u64 {
        self.bytes.len() as u64
    }
}

/// A message in a mailbox.
#[derive(Clone, Debug)]
pub(super) struct Mail {
    pub(super) uid: Uid,
    pub(super) content: Arc<Content>,
    pub(super) flags: Flags,
    /// In the order of [`Snapshot::keywords`].
    pub(super) keywords: Arc<[Keyword]>,
    pub(super) modseq: ModSeq,
    /// When it came into this mailbox, Unix seconds.
    pub(super) save_date: i64,
    /// Gone, and still shown by a view that may not tell yet; never set in a snapshot.
    pub(super) expunged: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Snapshot {
    /// Ascending by UID.
    pub(super) mails: Arc<Vec<Mail>>,
    pub(super) uid_next: Uid,
    pub(super) highest_modseq: ModSeq,
    /// In order of first use.
    pub(super) keywords: Arc<Vec<Keyword>>,
}

impl Snapshot {
    pub(super) fn empty() -> Self {
        Self { mails: Arc::default(), uid_next: Uid::MIN, highest_modseq: ModSeq::MIN, keywords: Arc::default() }
    }
}

impl Snapshot {
    /// See [`crate::Mailbox::stamp`].
    pub(super) fn stamp(&mut self, stamp: &Stamp) {
        self.uid_next = self.uid_next.max(stamp.uid_next);
        self.highest_modseq = stamp.highest_modseq;
        let mails = Arc::make_mut(&mut self.mails);
        for (uid, modseq) in &stamp.modseqs {
            if let Some(mail) = find(mails, *uid).ok().and_then(|place| mails.get_mut(place)) {
                mail.modseq = *modseq;
            }
        }
    }
}

/// Where the message is, or would be.
pub(super) fn find(mails: &[Mail], uid: Uid) -> Result<usize, usize> {
    mails.binary_search_by_key(&uid, |mail| mail.uid)
}

/// The places of the messages with UIDs in `range`.
pub(super) fn places(mails: &[Mail], range: &RangeInclusive<Uid>) -> std::ops::Range<usize> {
    let start = mails.partition_point(|mail| mail.uid < *range.start());
    let end = mails.partition_point(|mail| mail.uid <= *range.end());
    start..end.max(start)
}

/// The messages in `uids`, ascending. Costs a search a range, never a look at UIDs that do not exist.
pub(super) fn select<'a>(mails: &'a [Mail], uids: &'a UidSet) -> impl Iterator<Item = &'a Mail> {
    uids.ranges().flat_map(|range| mails.get(places(mails, &range)).unwrap_or_default())
}

/// The UIDs of messages.
pub(super) fn uids<'a>(mails: impl IntoIterator<Item = &'a Mail>) -> UidSet {
    mails.into_iter().map(|mail| mail.uid).collect()
}
