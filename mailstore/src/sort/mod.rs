//! SORT (RFC 5256, RFC 5957), written once for every backend, over [`View`].
//!
//! A [`Sort`] searches, then reads the sort keys of what was found, then puts the messages in order: all in steps of a
//! [`ScanBudget`], between which it holds no view and no lock. Keys are read in runs that are sorted as they are full; in
//! the end the runs are merged. An order by a text that was found is kept with the mailbox ([`SortOrder`]).
//! Memory is bounded: some bytes a message, and [`SORT_KEYS_LEN_MAX`] for the texts.
//!
//! Texts compare as Dovecot 2.3 compares them ([`mailmime::collation_key`]); so do addresses, where the RFCs leave
//! something open: the first address of the first field, its missing parts filled in as ENVELOPE has them.

mod keys;
mod order;
mod runs;

use std::{sync::Arc, time::Instant};

use mailtypes::{ModSeq, SearchKey, SeqNum, SortCriterion, SortKey, Uid, UidSet};

use self::{
    keys::Keys,
    order::{ORDER_LEN_MIN, order_of},
    runs::Runs,
};
use crate::{
    search::{Search, SearchProgress},
    traits::{Cursor, Result, Rows, ScanBudget, View},
};

pub(crate) use self::keys::sent_date;
pub use self::{
    keys::{SORT_KEY_LEN_MAX, SORT_KEYS_LEN_MAX},
    order::SortOrder,
};

/// Messages sorted or merged between two looks at the clock.
const STRIDE: usize = 1024;

/// How far a sort is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SortProgress {
    /// Call [`Sort::step`] again.
    Running,
    /// All messages are in order.
    Done,
}

/// A message in its place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct SortedMessage {
    /// Its identity.
    pub uid: Uid,
    /// Its place in the view.
    pub seq: SeqNum,
}

/// A sort under way. It may travel between threads; the view is given to each step, and must be the one it was made for.
/// Between steps that view may be synced with [`crate::Expunges::Hold`] only; messages that come are not found.
#[derive(Debug)]
pub struct Sort {
    phase: Phase,
    criteria: Vec<SortCriterion>,
    keys: Keys,
    /// The order by the text that weighs most, as it is found.
    found: FoundOrder,
    runs: Runs,
    rows: Rows,
    sorted: Vec<SortedMessage>,
    highest_modseq: Option<ModSeq>,
}

/// An order on its way.
#[derive(Debug, Default)]
struct FoundOrder {
    by_uid: Vec<(Uid, u32)>,
    last: Option<(u32, u32)>,
}

impl FoundOrder {
    /// Takes the next message; `first_text` as [`Keys::first_text`] has it.
    fn note(&mut self, keys: &Keys, first_text: Option<(SortKey, bool)>, message: SortedMessage, key: u32) {
        let Some((_, reverse)) = first_text else { return };
        let rank = match self.last {
            None if reverse => u32::MAX,
            None => 1,
            Some((before, rank)) if keys.is_first_text_equal(before, key) => rank,
            Some((_, rank)) if reverse => rank - 1,
            Some((_, rank)) => rank + 1,
        };
        self.last = Some((key, rank));
        self.by_uid.push((message.uid, rank));
    }

    /// Keeps it with the view where it is worth it.
    fn keep(self, keys: &Keys, view: &dyn View) {
        let Some((key, _)) = keys.first_text() else { return };
        let known = view.sort_order(key).map_or(0, |order| order.len());
        if self.by_uid.len() >= ORDER_LEN_MIN.max(known) {
            view.keep_sort_order(key, &Arc::new(SortOrder::new(self.by_uid)));
        }
    }
}

#[derive(Debug)]
enum Phase {
    Searching(Box<Search>),
    Reading { uids: UidSet, at: Cursor },
    Merging,
    Done,
}

impl Sort {
    /// Prepares a sort of the messages that `view` shows now and `key` finds. Of `criteria` the first weighs most;
    /// messages that are equal in all stand in the order of the view.
    ///
    /// # Errors
    /// Those of [`Search::new`].
    pub fn new(key: SearchKey, criteria: &[SortCriterion], view: &dyn View) -> Result<Self> {
        let search = Search::new(key, view)?;
        Ok(Self {
            phase: Phase::Searching(Box::new(search)),
            criteria: criteria.to_vec(),
            keys: Keys::new(criteria),
            found: FoundOrder::default(),
            runs: Runs::default(),
            rows: Rows::new(),
            sorted: Vec::new(),
            highest_modseq: None,
        })
    }

    /// Goes on until the budget's time is over; without one, for one batch.
    ///
    /// # Errors
    /// What the view answers, except that a message was expunged: such a one is left out. `Limit` naming
    /// [`SORT_KEYS_LEN_MAX`]. After an error the sort must not be stepped again.
    pub fn step(&mut self, view: &dyn View, budget: ScanBudget) -> Result<SortProgress> {
        let is_late = || budget.until.is_none_or(|until| Instant::now() >= until);
        loop {
            match std::mem::replace(&mut self.phase, Phase::Done) {
                Phase::Searching(mut search) => match search.step(view, budget)? {
                    SearchProgress::Running => self.phase = Phase::Searching(search),
                    SearchProgress::Done => {
                        self.highest_modseq = search.highest_modseq();
                        let uids = search.uids();
                        self.use_orders(view, &uids)?;
                        self.phase = Phase::Reading { uids, at: Cursor::START };
                    }
                },
                Phase::Reading { uids, at } => self.phase = self.read(view, uids, at, budget)?,
                Phase::Merging => {
                    let Self { keys, runs, sorted, found, .. } = self;
                    let text = keys.first_text();
                    if runs.merge(keys, STRIDE, sorted, |message, key| found.note(keys, text, message, key)) {
                        self.phase = Phase::Merging;
                    } else {
                        std::mem::take(&mut self.found).keep(&self.keys, view);
                    }
                }
                Phase::Done => return Ok(SortProgress::Done),
            }
            if is_late() && !matches!(self.phase, Phase::Done) {
                return Ok(SortProgress::Running);
            }
        }
    }

    /// The messages in order; all of them once the sort is done.
    pub fn sorted(&self) -> &[SortedMessage] {
        &self.sorted
    }

    /// The largest mod-sequence of the messages (RFC 7162 §3.1.5).
    pub fn highest_modseq(&self) -> Option<ModSeq> {
        self.highest_modseq
    }

    /// Compares by the numbers of orders that are known, instead of by texts.
    fn use_orders(&mut self, view: &dyn View, uids: &UidSet) -> Result<()> {
        let mut orders = Vec::new();
        for SortCriterion { key, .. } in &self.criteria {
            if let Some(order) = order_of(view, *key, uids)? {
                orders.push((*key, order));
            }
        }
        if !orders.is_empty() {
            let order = |key| orders.iter().find(|(of, _)| *of == key).map(|(_, order)| Arc::clone(order));
            self.keys = Keys::with_orders(&self.criteria, order);
        }
        Ok(())
    }

    fn read(&mut self, view: &dyn View, uids: UidSet, at: Cursor, budget: ScanBudget) -> Result<Phase> {
        self.rows.clear();
        let budget = ScanBudget { rows: budget.rows.clamp(1, STRIDE), ..budget };
        let next = view.scan(&uids, at, self.keys.columns(), budget, &mut self.rows)?;
        for row in self.rows.rows.iter().filter(|row| !row.expunged) {
            let key = self.keys.read(row, &self.rows)?;
            self.runs.push(SortedMessage { uid: row.uid, seq: row.seq }, key, &self.keys);
        }
        Ok(match next {
            Some(at) => Phase::Reading { uids, at },
            None => {
                self.rows = Rows::new();
                self.runs.end(&self.keys);
                Phase::Merging
            }
        })
    }
}

/// Sorts to the end, on this thread.
///
/// # Errors
/// Those of [`Sort::new`] and [`Sort::step`].
pub fn sort(key: SearchKey, criteria: &[SortCriterion], view: &dyn View) -> Result<Vec<SortedMessage>> {
    let mut sort = Sort::new(key, criteria, view)?;
    while sort.step(view, ScanBudget::default())? == SortProgress::Running {}
    Ok(sort.sorted)
}
