//! A view: a pinned state of the index, and what of it has changed that the session was not told of.
//!
//! # Invariants
//!
//! 1. What the view shows is the pinned state and the ghosts: messages that are gone from the state while the session
//!    was not to be told. A UID is never both.
//! 2. Sequence numbers count both, in order of UID; so they change only when ghosts are given up, in
//!    [`View::sync`] with [`Expunges::Apply`], or messages come, which have higher UIDs than all others.

use std::sync::Arc;

use mailindex::{
    engine::CacheValues,
    state::{State, diff},
};
use mailtypes::{Keyword, ModSeq, SeqNum, SortKey, Uid, UidSet, UidValidity};

use super::{Indexed, body::IndexedBody, from_index, indexed_of, orders, scan};
use crate::sort::SortOrder;
use crate::traits::{
    Body, Changes, Columns, Cursor, Expunges, FileIdentity, Freshness, Mailbox, Result, Rows, ScanBudget, StorageError,
    View, ViewAs, unshown,
};

/// A snapshot of a mailbox.
pub(super) struct IndexedView {
    pub(super) mailbox: Arc<Indexed>,
    pub(super) state: State,
    /// Ascending.
    ghosts: Vec<Uid>,
    pub(super) recent: UidSet,
    takes_recent: bool,
}

impl IndexedView {
    pub(super) fn open(mailbox: Arc<Indexed>, who: &ViewAs) -> Result<Self> {
        let takes_recent = who.takes_recent && !mailbox.is_read_only();
        let state = mailbox.refresh(takes_recent)?;
        let mut view = Self { mailbox, state, ghosts: Vec::new(), recent: UidSet::new(), takes_recent };
        view.note_recent(None)?;
        Ok(view)
    }

    /// Marks as recent what is recent now, of the messages from `from` on; takes it from the sessions to come if this
    /// view does that.
    fn note_recent(&mut self, from: Option<Uid>) -> Result<()> {
        let mut first = self.state.first_recent_uid();
        let Some(last) = self.state.last_uid().filter(|last| *last >= first) else { return Ok(()) };
        if self.takes_recent {
            match self.mailbox.take_recent() {
                Ok(taken) => first = taken.max(first),
                // The session shows them as recent, and so will the next: RFC 9051 leaves that open.
                Err(e) => tracing::debug!(mailbox = %self.mailbox.name, "recent messages are not taken: {e}"),
            }
        }
        let first = from.map_or(first, |from| from.max(first));
        for record in self.state.records_from(self.state.count_below(first)).take_while(|r| r.uid() <= last) {
            self.recent.insert(record.uid());
        }
        Ok(())
    }

    /// How many ghosts stand before a place at which `below` ghosts have smaller UIDs.
    fn ghosts_below(&self, uid: Uid) -> u32 {
        self.ghosts.partition_point(|ghost| *ghost < uid) as u32
    }

    pub(super) fn is_ghost(&self, uid: Uid) -> bool {
        !self.ghosts.is_empty() && self.ghosts.binary_search(&uid).is_ok()
    }

    pub(super) fn ghosts_from(&self, uid: Uid) -> &[Uid] {
        self.ghosts.get(self.ghosts_below(uid) as usize..).unwrap_or_default()
    }

    /// The place of a message that is shown.
    pub(super) fn place(&self, uid: Uid) -> u32 {
        self.state.count_below(uid) + self.ghosts_below(uid)
    }

    /// Fails if what was just opened by name may be another mailbox's, which stands where this one stood before somebody
    /// renamed or deleted it.
    pub(super) fn check_place(&self) -> Result<()> {
        self.mailbox.check_place()
    }

    /// A message's file is not there: somebody has expunged it since, or is about to; or it was lost, and a rebuild would
    /// drop the record.
    fn note_missing(&self, uid: Uid) {
        let is_going = |state: State| !state.contains(uid) || state.requested_expunges().contains(uid);
        if !self.mailbox.index.refresh().is_ok_and(is_going) {
            tracing::warn!(mailbox = %self.mailbox.name, %uid, "the message's file is missing");
        }
    }

    fn give_up_ghosts(&mut self, gone: &[Uid], changes: &mut Changes) {
        changes.expunged = gone.iter().rev().filter_map(|uid| SeqNum::from_index(self.place(*uid))).collect();
        for uid in gone {
            changes.expunged_uids.insert(*uid);
            if !self.recent.is_empty() {
                self.recent.remove(*uid);
            }
        }
        self.ghosts.clear();
    }
}

impl View for IndexedView {
    fn uid_validity(&self) -> UidValidity {
        self.mailbox.uid_validity
    }

    fn uid_next(&self) -> Uid {
        self.state.next_uid()
    }

    fn highest_modseq(&self) -> ModSeq {
        self.state.highest_modseq()
    }

    fn message_count(&self) -> u32 {
        self.state.message_count() + self.ghosts.len() as u32
    }

    fn recent_count(&self) -> u32 {
        u32::try_from(self.recent.count()).unwrap_or(u32::MAX)
    }

    fn first_unseen(&self) -> Option<SeqNum> {
        let (_, uid) = self.state.first_unseen()?;
        self.seq_of(uid)
    }

    fn keywords(&self) -> Vec<Keyword> {
        self.state.keywords().iter().filter_map(|name| name.keyword().cloned()).collect()
    }

    fn seq_of(&self, uid: Uid) -> Option<SeqNum> {
        let shown = self.state.contains(uid) || self.is_ghost(uid);
        shown.then(|| SeqNum::from_index(self.place(uid))).flatten()
    }

    fn uid_at(&self, seq: SeqNum) -> Option<Uid> {
        let index = seq.index();
        if self.ghosts.is_empty() {
            return self.state.uid_at(index);
        }
        // The ghosts' places ascend.
        let mut ghost_number = 0..self.ghosts.len();
        while !ghost_number.is_empty() {
            let middle = ghost_number.start + ghost_number.len() / 2;
            let uid = *self.ghosts.get(middle)?;
            match (self.state.count_below(uid) + middle as u32).cmp(&index) {
                std::cmp::Ordering::Equal => return Some(uid),
                std::cmp::Ordering::Less => ghost_number.start = middle + 1,
                std::cmp::Ordering::Greater => ghost_number.end = middle,
            }
        }
        self.state.uid_at(index - ghost_number.start as u32)
    }

    fn uids_at(&self, set: &UidSet) -> UidSet {
        let count = self.message_count();
        let mut uids = UidSet::new();
        for range in set.ranges() {
            let (first, last) = (range.start().value(), range.end().value().min(count));
            if first == 1 && last == count {
                return self.uids();
            }
            let Some(from) = SeqNum::new(first).filter(|_| first <= last).and_then(|seq| self.uid_at(seq)) else {
                continue;
            };
            let Some(to) = SeqNum::new(last).and_then(|seq| self.uid_at(seq)) else { continue };
            let records = self.state.records_from(self.state.count_below(from));
            records.map(|r| r.uid()).take_while(|uid| *uid <= to).for_each(|uid| uids.insert(uid));
            self.ghosts_from(from).iter().take_while(|uid| **uid <= to).for_each(|uid| uids.insert(*uid));
        }
        uids
    }

    fn uids(&self) -> UidSet {
        let mut uids = self.state.uids();
        self.ghosts.iter().for_each(|uid| uids.insert(*uid));
        uids
    }

    fn vanished(&self, since: ModSeq, among: &UidSet) -> Result<UidSet> {
        let shown = self.uids();
        let gone = self.mailbox.index.expunged_since(since.value(), &self.state);
        match gone.map_err(|e| from_index(&self.mailbox.name, &e))? {
            Some(gone) => Ok(among.intersection(&gone).difference(&shown)),
            None => Ok(unshown(self.uid_next(), &shown, among)),
        }
    }

    fn holds_expunged(&self) -> bool {
        !self.ghosts.is_empty()
    }

    fn freshness(&self) -> Freshness {
        self.mailbox.freshness(&self.state)
    }

    fn sync(&mut self, expunges: Expunges) -> Result<Changes> {
        let new = self.mailbox.refresh(self.takes_recent)?;
        if new.uid_validity() != Some(self.mailbox.uid_validity) || new.next_uid() < self.state.next_uid() {
            // Made anew: nothing that this view shows means anything any more.
            return Err(StorageError::Deleted(self.mailbox.name.clone()));
        }
        let mut changes = Changes::default();
        let delta = diff(&self.state, &new);
        let mut ghosts = std::mem::take(&mut self.ghosts);
        ghosts.extend(delta.expunged.iter());
        ghosts.sort_unstable();
        if expunges == Expunges::Apply && !ghosts.is_empty() {
            // Places are those of before: the old state, in which those just expunged still stand, and the old ghosts.
            self.ghosts = ghosts.iter().copied().filter(|uid| !self.state.contains(*uid)).collect();
            self.give_up_ghosts(&ghosts, &mut changes);
        } else {
            self.ghosts = ghosts;
        }
        changes.keywords_grew = new.keywords().len() > self.state.keywords().len();
        changes.flags = delta.flags_changed;
        let first_new = self.state.next_uid();
        self.state = new;
        if !delta.appended.is_empty() {
            changes.appended = delta.appended;
            self.note_recent(Some(first_new))?;
        }
        Ok(changes)
    }

    fn follow(&mut self, mailbox: &dyn Mailbox) -> bool {
        let same = |other: &&Arc<Indexed>| other.is_same_mailbox(&self.mailbox);
        match indexed_of(mailbox).filter(same) {
            Some(other) => {
                self.mailbox = Arc::clone(other);
                true
            }
            None => false,
        }
    }

    fn scan(
        &self,
        uids: &UidSet,
        at: Cursor,
        columns: &Columns,
        budget: ScanBudget,
        out: &mut Rows,
    ) -> Result<Option<Cursor>> {
        scan::scan(self, uids, at, columns, budget, out)
    }

    fn saved_uidl(&self, uid: Uid) -> Result<Option<Vec<u8>>> {
        let saved = self.mailbox.files.saved_uidl(&self.state, uid);
        self.check_place()?;
        saved
    }

    fn saved_pop3_order(&self, uid: Uid) -> Result<Option<u32>> {
        let saved = self.mailbox.files.saved_pop3_order(&self.state, uid);
        self.check_place()?;
        saved
    }

    fn file_identity(&self, uid: Uid) -> Option<FileIdentity> {
        self.mailbox.files.file_identity(uid)
    }

    fn body(&self, uid: Uid) -> Result<Box<dyn Body>> {
        if !self.state.contains(uid) {
            return Err(StorageError::Expunged { uid });
        }
        let told = self.mailbox.files.known(uid).virtual_size;
        let opened = IndexedBody::open(&*self.mailbox.files, &self.state, uid);
        self.check_place()?;
        if let (Some(told), Ok(body)) = (told, &opened)
            && told != body.size()
        {
            // What the cache may have of it is as wrong.
            let mut values = CacheValues::default();
            values.put("size.virtual", body.size().to_le_bytes());
            self.mailbox.index.queue_fill(uid, values);
        }
        match opened {
            Err(StorageError::Expunged { .. }) => {
                self.note_missing(uid);
                Err(StorageError::Expunged { uid })
            }
            other => Ok(Box::new(other?)),
        }
    }

    fn sort_order(&self, key: SortKey) -> Option<Arc<SortOrder>> {
        orders::find(&self.mailbox, &self.state, key)
    }

    fn keep_sort_order(&self, key: SortKey, order: &Arc<SortOrder>) {
        orders::keep(&self.mailbox, key, order);
    }

    fn flush_cache(&self) {
        self.mailbox.flush_cache();
    }
}
