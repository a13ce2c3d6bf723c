//! The selected mailbox, and what its client has not been told yet (RFC 3501 §5.2, §7.3, §7.4).
//!
//! Order in which changes are told: EXPUNGE or VANISHED, then EXISTS and RECENT, then FLAGS, then FETCH with flags. Only then may
//! the view be synced again, for the numbers in each line hold for the view that they were made for.

use std::sync::Arc;

use culver_runtime::{Counted, METRICS};
use imap_proto::write::{self, Code, FetchWriter, Status, Vanished};
use mailstore::{
    Columns, Cursor, Expunges, Freshness, MailStorage, Mailbox, Result, Row, Rows, ScanBudget, StorageError, View,
    ViewAs,
};
use mailtypes::{Flags, Keyword, ModSeq, SeqNum, Uid, UidSet};

use crate::{features::Features, highest::Highest, known::KnownFlags};

/// A selected mailbox.
pub(crate) struct Selected {
    pub(crate) mailbox: Arc<dyn Mailbox>,
    pub(crate) view: Box<dyn View>,
    /// By EXAMINE.
    pub(crate) read_only: bool,
    /// Messages and recent ones, as last told.
    exists: u32,
    recent: u32,
    untold: Untold,
    /// Flags that the client knows already, or does not want to hear: those it set itself.
    known: KnownFlags,
    /// A sync held expunges back, perhaps.
    holds: bool,
    highest: Highest,
    /// Messages to be told of at the next sync even if nothing changed.
    owed: UidSet,
    /// `$` (RFC 5182), those expunged since included.
    saved_result: UidSet,
    _counted: Counted,
}

#[derive(Default)]
struct Untold {
    expunged: std::vec::IntoIter<SeqNum>,
    /// The same messages.
    vanished: UidSet,
    keywords: bool,
    flags: UidSet,
    /// Where to go on with these; `None` when all are told.
    flags_at: Option<Cursor>,
}

/// How changes are told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Telling {
    with_uid: bool,
    with_mod_seq: bool,
    /// VANISHED instead of EXPUNGE.
    vanished: bool,
}

impl Telling {
    pub(crate) fn new(with_uid: bool, features: Features) -> Self {
        let Features { condstore, qresync } = features;
        Self { with_uid: with_uid || condstore, with_mod_seq: condstore, vanished: qresync }
    }
}

/// Flags and keywords of a message, in whatever order, as one number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct FlagsDigest(u64);

impl FlagsDigest {
    pub(crate) fn of<'k>(flags: Flags, keywords: impl IntoIterator<Item = &'k Keyword>) -> Self {
        const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
        const FNV_PRIME: u64 = 0x0100_0000_01b3;
        let hash = |keyword: &Keyword| {
            let bytes = keyword.as_str().bytes().map(|b| b.to_ascii_lowercase());
            bytes.fold(FNV_OFFSET, |hash, b| (hash ^ u64::from(b)).wrapping_mul(FNV_PRIME))
        };
        // A sum does not care for the order. The lowest byte is left to the flags.
        let keywords = keywords.into_iter().map(hash).fold(0, u64::wrapping_add);
        Self(keywords << 8 | u64::from(flags.bits()))
    }
}

impl Selected {
    pub(crate) fn new(mailbox: Arc<dyn Mailbox>, view: Box<dyn View>, read_only: bool) -> Self {
        let (exists, recent) = (view.message_count(), view.recent_count());
        let highest = Highest::new(view.highest_modseq());
        Self {
            mailbox,
            view,
            read_only,
            exists,
            recent,
            untold: Untold::default(),
            known: KnownFlags::default(),
            holds: false,
            highest,
            owed: UidSet::new(),
            saved_result: UidSet::new(),
            _counted: METRICS.selected_mailboxes.count(),
        }
    }

    /// Writes what SELECT and EXAMINE answer, in Dovecot's order.
    pub(crate) fn tell_all(&self, out: &mut Vec<u8>) {
        let ok = |out: &mut Vec<u8>, code, text| write::untagged_status(out, Status::Ok, Some(code), text);
        self.tell_keywords(out);
        write::exists(out, self.exists);
        write::recent(out, self.recent);
        if let Some(seq) = self.view.first_unseen() {
            ok(out, Code::Unseen(seq), "First unseen.");
        }
        ok(out, Code::UidValidity(self.view.uid_validity()), "UIDs valid");
        if !self.mailbox.uids_are_lasting() {
            // RFC 4315 §3 wants a NO, which some clients take for the failure of the command.
            ok(out, Code::UidNotSticky, "The mailbox is only read, and its new messages have no UIDs yet.");
        }
        ok(out, Code::UidNext(self.view.uid_next()), "Predicted next UID");
        ok(out, Code::HighestModSeq(self.view.highest_modseq()), "Highest");
        let guid = self.mailbox.guid();
        if !guid.is_zero() {
            ok(out, Code::MailboxId(guid), "Ok");
        }
    }

    fn tell_keywords(&self, out: &mut Vec<u8>) {
        let keywords = self.view.keywords();
        write::flags(out, Flags::ALL, &keywords);
        let (flags, keywords, text) = match self.read_only {
            false => (Flags::ALL, keywords.as_slice(), "Flags permitted."),
            true => (Flags::NONE, &[][..], "Read-only mailbox."),
        };
        let code = Code::PermanentFlags { flags, keywords, creatable: !self.read_only };
        write::untagged_status(out, Status::Ok, Some(code), text);
    }

    /// Whether the client has been told all that can be known without a look at the store.
    pub(crate) fn is_up_to_date(&self, expunges: Expunges) -> bool {
        let held = self.holds && expunges == Expunges::Apply;
        !held && !self.has_untold() && self.owed.is_empty() && self.view.freshness() == Freshness::Same
    }

    /// Whether a look brought something that is not yet told.
    pub(crate) fn has_untold(&self) -> bool {
        self.untold.expunged.len() > 0 || self.untold.keywords || self.untold.flags_at.is_some() || self.counts_differ()
    }

    fn counts_differ(&self) -> bool {
        (self.exists, self.recent) != (self.view.message_count(), self.view.recent_count())
    }

    /// Moves the view on and notes what is to be told of it. Does nothing while something is left to be told.
    pub(crate) fn sync(&mut self, expunges: Expunges) -> Result<()> {
        if self.has_untold() {
            return Ok(());
        }
        let changes = self.view.sync(expunges)?;
        self.holds = expunges == Expunges::Hold;
        if !self.view.holds_expunged() {
            self.highest.complete(self.view.highest_modseq());
        }
        let flags = changes.flags.union(&std::mem::take(&mut self.owed));
        self.untold = Untold {
            expunged: changes.expunged.into_iter(),
            vanished: changes.expunged_uids,
            keywords: changes.keywords_grew,
            flags_at: (!flags.is_empty()).then_some(Cursor::START),
            flags,
        };
        Ok(())
    }

    /// Like [`Selected::sync`]; a mailbox that somebody has renamed is followed to its new name.
    pub(crate) fn sync_following(&mut self, storage: &dyn MailStorage, expunges: Expunges) -> Result<()> {
        let error = match self.sync(expunges) {
            Err(error @ StorageError::Deleted(_)) => error,
            other => return other,
        };
        if self.follow_renamed(storage)? { self.sync(expunges) } else { Err(error) }
    }

    /// Goes on with the same mailbox under the name that somebody else has given to it. False if it has none any more.
    pub(crate) fn follow_renamed(&mut self, storage: &dyn MailStorage) -> Result<bool> {
        match storage.follow(&*self.mailbox)? {
            Some(mailbox) if self.view.follow(&*mailbox) => {
                self.mailbox = mailbox;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Goes on with the same mailbox under its new name; what happened meanwhile is noted to be told. What was recent is
    /// not any more.
    pub(crate) fn follow(&mut self, mailbox: Arc<dyn Mailbox>) -> Result<()> {
        let view = mailbox.view(&ViewAs { takes_recent: false })?;
        if view.uid_validity() != self.view.uid_validity() {
            return Err(StorageError::Moved(mailbox.name().clone()));
        }
        let (before, now) = (self.view.uids(), view.uids());
        let (gone, highest) = (before.difference(&now), self.view.highest_modseq());
        let mut expunged: Vec<SeqNum> = gone.iter().filter_map(|uid| self.view.seq_of(uid)).collect();
        expunged.reverse();
        let (mut flags, mut rows, mut at) = (UidSet::new(), Rows::new(), Some(Cursor::START));
        while let Some(from) = at {
            rows.clear();
            let there = before.intersection(&now);
            at = view.scan(&there, from, &Columns::flags(), ScanBudget::default(), &mut rows)?;
            flags.extend(rows.rows.iter().filter(|row| row.modseq > highest).map(|row| row.uid));
        }
        let keywords = view.keywords() != self.view.keywords();
        self.untold = Untold {
            expunged: expunged.into_iter(),
            vanished: gone,
            keywords,
            flags_at: (!flags.is_empty()).then_some(Cursor::START),
            flags,
        };
        (self.mailbox, self.view, self.holds) = (mailbox, view, false);
        self.highest.complete(self.view.highest_modseq());
        Ok(())
    }

    /// Writes what is to be told until `out` has `len_max` bytes. Says whether something is left.
    pub(crate) fn tell(&mut self, telling: Telling, len_max: usize, out: &mut Vec<u8>) -> Result<bool> {
        if telling.vanished {
            self.tell_vanished(out);
        }
        while out.len() < len_max {
            let Some(seq) = self.untold.expunged.next() else { break };
            write::expunge(out, seq);
            self.exists = self.exists.saturating_sub(1);
        }
        if self.untold.expunged.len() > 0 {
            return Ok(true);
        }
        self.tell_counts(out);
        if std::mem::take(&mut self.untold.keywords) {
            self.tell_keywords(out);
        }
        self.tell_flags(telling, len_max, out)?;
        if self.untold.flags_at.is_none() {
            self.known.clear();
        }
        Ok(self.untold.flags_at.is_some())
    }

    /// All at once: a set takes less room than what it names.
    fn tell_vanished(&mut self, out: &mut Vec<u8>) {
        let told = std::mem::take(&mut self.untold.expunged).len();
        self.exists = self.exists.saturating_sub(u32::try_from(told).unwrap_or(u32::MAX));
        let vanished = std::mem::take(&mut self.untold.vanished);
        if !vanished.is_empty() {
            self.highest.vanished();
        }
        write_vanished(out, Vanished::Now, &vanished);
    }

    fn tell_counts(&mut self, out: &mut Vec<u8>) {
        let (exists, recent) = (self.view.message_count(), self.view.recent_count());
        if exists != self.exists {
            write::exists(out, exists);
        }
        // A client learns of recent messages with the new ones.
        if recent != self.recent || exists != self.exists {
            write::recent(out, recent);
        }
        (self.exists, self.recent) = (exists, recent);
    }

    fn tell_flags(&mut self, telling: Telling, len_max: usize, out: &mut Vec<u8>) -> Result<()> {
        let mut rows = Rows::new();
        while let Some(at) = self.untold.flags_at.take_if(|_| out.len() < len_max) {
            rows.clear();
            let budget = ScanBudget { rows: TELL_ROWS, ..ScanBudget::default() };
            self.untold.flags_at = self.view.scan(&self.untold.flags, at, &Columns::flags(), budget, &mut rows)?;
            for row in rows.rows.iter().filter(|row| !row.expunged) {
                let keywords = rows.keywords(row);
                let is_known = self.known.get(row.uid) == Some(FlagsDigest::of(row.flags, keywords));
                if !is_known || telling.with_mod_seq {
                    tell_row(row, (!is_known).then_some(keywords), telling, out);
                    if telling.with_mod_seq {
                        self.highest.told(row.modseq);
                    }
                }
            }
        }
        Ok(())
    }

    /// A message's mod-sequence is told.
    pub(crate) fn tells_mod_seq(&mut self, modseq: ModSeq) {
        self.highest.told(modseq);
    }

    /// Up to which mod-sequence the client has been told all.
    pub(crate) fn complete_modseq(&self) -> ModSeq {
        self.highest.complete_modseq()
    }

    /// What HIGHESTMODSEQ is to be told of what was told since this was last asked, if any.
    pub(crate) fn highest_to_tell(&mut self) -> Option<ModSeq> {
        self.highest.take()
    }

    /// The messages that `$` names: those of the saved result that the view still shows.
    pub(crate) fn saved_result(&self) -> UidSet {
        self.view.uids().intersection(&self.saved_result)
    }

    /// Notes the flags that a message has according to the client.
    pub(crate) fn client_knows(&mut self, uid: Uid, flags: FlagsDigest) {
        self.known.insert(uid, flags);
    }

    /// The client does not know the flags of these messages after all.
    pub(crate) fn client_knows_not(&mut self, uids: &UidSet) {
        self.known.forget(uids);
    }

    /// The next sync tells of these messages, whether they changed or not.
    pub(crate) fn owe(&mut self, uids: &UidSet) {
        self.owed = self.owed.union(uids);
    }

    /// Keeps the result of a search as `$`.
    pub(crate) fn save_result(&mut self, uids: UidSet) {
        self.saved_result = uids;
    }

    /// Nothing has to be told of what is now in the view.
    pub(crate) fn forget_known(&mut self) {
        self.known.clear();
    }
}

/// Rows looked at between two looks at the output.
const TELL_ROWS: usize = 1024;

/// Without keywords the client knows the flags; only the mod-sequence is new then.
fn tell_row(row: &Row, keywords: Option<&[Keyword]>, telling: Telling, out: &mut Vec<u8>) {
    let mut fetch = FetchWriter::begin(out, row.seq);
    if telling.with_uid {
        fetch.uid(row.uid);
    }
    if let Some(keywords) = keywords {
        fetch.flags(row.flags, row.recent, keywords);
    }
    if telling.with_mod_seq {
        fetch.mod_seq(row.modseq);
    }
    fetch.end();
}

/// Ranges in one VANISHED: lines stay of a length that clients can hold.
const VANISHED_RANGES_MAX: usize = 1000;

/// Writes as many VANISHED as it takes.
pub(crate) fn write_vanished(out: &mut Vec<u8>, when: Vanished, uids: &UidSet) {
    let mut ranges = uids.ranges().peekable();
    while ranges.peek().is_some() {
        let mut some = UidSet::new();
        ranges.by_ref().take(VANISHED_RANGES_MAX).for_each(|range| some.insert_range(range));
        write::vanished(out, when, &some);
    }
}
