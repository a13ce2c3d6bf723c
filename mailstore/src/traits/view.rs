//! A snapshot of a mailbox, as one session sees it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mailtypes::{Keyword, ModSeq, SeqNum, SortKey, Uid, UidSet, UidValidity};

use super::{Columns, Mailbox, Result, Rows};
use crate::sort::SortOrder;

/// A snapshot of a mailbox. Only [`View::sync`] changes what it shows.
pub trait View: Send {
    /// The incarnation it shows.
    fn uid_validity(&self) -> UidValidity;
    /// The UID that the next message will have, at least.
    fn uid_next(&self) -> Uid;
    /// The largest mod-sequence it shows.
    fn highest_modseq(&self) -> ModSeq;
    /// How many messages it shows, those expunged and not yet told ([`Expunges::Hold`]) included.
    fn message_count(&self) -> u32;
    /// How many of them are `\Recent` for this view.
    fn recent_count(&self) -> u32;
    /// The first message without `\Seen`.
    fn first_unseen(&self) -> Option<SeqNum>;
    /// The keywords in use, in the order of the store.
    fn keywords(&self) -> Vec<Keyword>;
    /// The place of a message; `None` when the view does not show it.
    fn seq_of(&self, uid: Uid) -> Option<SeqNum>;
    /// The message at a place.
    fn uid_at(&self, seq: SeqNum) -> Option<Uid>;
    /// The UIDs at the places `set` (whose numbers are sequence numbers).
    fn uids_at(&self, set: &UidSet) -> UidSet;
    /// All UIDs shown.
    fn uids(&self) -> UidSet;
    /// Which of `among` are gone, of those that the mailbox had when its largest mod-sequence was `since`. May name
    /// others that went before or never were (RFC 7162 §3.2.6 allows that), but none that the view shows. This default
    /// knows no history and names all that are not shown; linear in the ranges of both sets.
    fn vanished(&self, since: ModSeq, among: &UidSet) -> Result<UidSet> {
        let _ = since;
        Ok(unshown(self.uid_next(), &self.uids(), among))
    }

    /// Whether it shows messages that are gone: a sync held their expunges back ([`Expunges::Hold`]).
    fn holds_expunged(&self) -> bool {
        false
    }
    /// Whether anything changed since the last sync, as far as can be told without a system call.
    fn freshness(&self) -> Freshness;
    /// Looks for changes and moves the view on.
    fn sync(&mut self, expunges: Expunges) -> Result<Changes>;
    /// Goes on with the same mailbox by another handle, which [`MailStorage::follow`](crate::MailStorage::follow) gave:
    /// what it shows stays as it is, and the next sync tells what changed. Tells whether it is the same mailbox.
    fn follow(&mut self, _mailbox: &dyn Mailbox) -> bool {
        false
    }

    /// Brings the messages `uids` from `at` on, in batches: stops when the budget is used up and says where to go on;
    /// `None` when all are brought. Messages that the view does not show are passed over; at least one message is
    /// brought a call. What is not cached is computed from the message, and cached if the store does that.
    fn scan(
        &self,
        uids: &UidSet,
        at: Cursor,
        columns: &Columns,
        budget: ScanBudget,
        out: &mut Rows,
    ) -> Result<Option<Cursor>>;

    /// A message's bytes.
    fn body(&self, uid: Uid) -> Result<Box<dyn Body>>;
    /// The POP3 unique id that the message had elsewhere and that a conversion saved with it (`P` in
    /// `docs/formats/dbox.md` and `docs/formats/maildir.md`). May cost opening the message's file.
    fn saved_uidl(&self, _uid: Uid) -> Result<Option<Vec<u8>>> {
        Ok(None)
    }
    /// The place among a maildrop's messages that a conversion saved with it (`O` in the same pages). May cost opening the
    /// message's file.
    fn saved_pop3_order(&self, _uid: Uid) -> Result<Option<u32>> {
        Ok(None)
    }
    /// What the message's file is called and the GUID as text, in stores where they are not made of 16 bytes (Maildir).
    fn file_identity(&self, _uid: Uid) -> Option<FileIdentity> {
        None
    }
    /// The order of messages by a text, as it was found before; it may lack messages.
    fn sort_order(&self, _key: SortKey) -> Option<Arc<SortOrder>> {
        None
    }
    /// Keeps an order that was found, for as long as the store sees fit.
    fn keep_sort_order(&self, _key: SortKey, _order: &Arc<SortOrder>) {}
    /// Offers what scans computed to the store's cache; does nothing if the cache is busy.
    fn flush_cache(&self) {}
}

/// See [`View::file_identity`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileIdentity {
    /// The file's name without folder and flags.
    pub name: Vec<u8>,
    /// The GUID.
    pub guid: Vec<u8>,
}

/// Those of `among` that were given to messages and are not shown.
pub(crate) fn unshown(uid_next: Uid, shown: &UidSet, among: &UidSet) -> UidSet {
    let last = Uid::new(uid_next.value().saturating_sub(1));
    let used = last.map_or_else(UidSet::new, |last| UidSet::from(Uid::MIN..=last));
    among.intersection(&used).difference(shown)
}

/// Where a scan goes on: at the first UID that is not smaller.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Cursor(pub Uid);

impl Cursor {
    /// The beginning.
    pub const START: Self = Self(Uid::MIN);
}

/// When a scan's step ends.
#[derive(Clone, Copy, Debug)]
pub struct ScanBudget {
    /// Bytes of text, at most by one message's over.
    pub bytes: usize,
    /// Rows.
    pub rows: usize,
    /// Time, looked at between messages whose values must be computed.
    pub until: Option<Instant>,
}

impl Default for ScanBudget {
    /// A step as the servers take it: 128 KB, 4096 rows, 10 ms.
    fn default() -> Self {
        Self { bytes: 128 * 1024, rows: 4096, until: Instant::now().checked_add(Duration::from_millis(10)) }
    }
}

/// What can be told of changes without a system call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Freshness {
    /// Nothing changed.
    Same,
    /// Something changed.
    Changed,
    /// Only a look at the store can tell.
    Unknown,
}

/// What a sync does with expunged messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Expunges {
    /// They leave the view; sequence numbers change.
    Apply,
    /// They stay in the view, marked as gone, until a sync that applies: during FETCH, STORE and SEARCH no EXPUNGE may
    /// be sent (RFC 9051 §7.5.1).
    Hold,
}

/// What a sync changed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Changes {
    /// Sequence numbers in the order in which they are to be told, each as it is when told: descending. Empty unless
    /// expunges were applied.
    pub expunged: Vec<SeqNum>,
    /// The same as UIDs.
    pub expunged_uids: UidSet,
    /// Messages whose flags, keywords or mod-sequence changed, and that were in the view before.
    pub flags: UidSet,
    /// New messages; they have the highest sequence numbers.
    pub appended: UidSet,
    /// Whether the list of keywords in use grew.
    pub keywords_grew: bool,
}

impl Changes {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.expunged.is_empty() && self.flags.is_empty() && self.appended.is_empty() && !self.keywords_grew
    }
}

/// A stretch of a message as stored, as `mailmime`'s part tree names it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Section {
    /// First byte, as stored.
    pub start: u64,
    /// Bytes as stored.
    pub len: u64,
}

impl Section {
    /// The whole message.
    pub const WHOLE: Self = Self { start: 0, len: u64::MAX };
}

/// A message's bytes, read in ranges, always with CRLF line ends whatever the store keeps.
pub trait Body: Send {
    /// Bytes of the whole message with CRLF line ends: RFC822.SIZE.
    fn size(&self) -> u64;
    /// Bytes of the whole message as stored.
    fn stored_size(&self) -> u64;
    /// Reads at `offset`, in bytes with CRLF line ends from the section's beginning. Fewer bytes than asked for come
    /// only at the section's end. Reading on where the last call stopped costs nothing extra; going elsewhere may cost
    /// a pass over what lies between.
    fn read_at(&mut self, section: Section, offset: u64, buf: &mut [u8]) -> Result<usize>;
    /// Reads at `offset` in a section as it is stored, for those to whom line ends are the same either way: LF or CRLF,
    /// whatever lies there. Fewer bytes than asked for come only at the section's end.
    fn read_stored_at(&mut self, section: Section, offset: u64, buf: &mut [u8]) -> Result<usize> {
        self.read_at(section, offset, buf)
    }
}
