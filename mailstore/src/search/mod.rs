//! SEARCH (RFC 9051 §6.4.4), written once for every backend, over [`View`].
//!
//! A [`Search`] runs in passes, the cheap before the dear: index records alone, then columns (sizes, dates), then header
//! fields, then bodies. Each message is judged as soon as what is known of it is enough (`judge`), so that a pass
//! looks only at messages that the passes before left open. A pass whose kind of key the search does not have is left
//! out. The work is done in steps of a [`ScanBudget`]; between them the search holds no view and no lock.
//!
//! Where the RFC leaves freedom, Dovecot 2.3 is followed (each point was tried with it):
//! - texts match as substrings, without regard to case, decoded (RFC 2047, transfer encodings, charsets), see [`fold`];
//! - a folded header line is one line: its line ends are left out, a TAB that begins a continuation is a space;
//! - `HEADER` with an empty text asks whether the field is there;
//! - `BODY` looks into the bodies of `text/*` and `message/*` parts, not into headers of parts, nor before the first or
//!   behind the last boundary; `TEXT` looks into the same and into all headers, those of parts and of messages within
//!   the message included;
//! - `BEFORE`, `ON` and `SINCE` go by the day of the internal date in UTC, `SENT...` by the day that the Date field
//!   names, whatever its zone; a message without a valid Date field has been sent at no day;
//! - messages that are gone do not match, whatever is asked.

mod body;
pub mod fold;
mod judge;
mod plan;

use std::time::Instant;

use mailtypes::{ModSeq, SearchKey, Uid, UidSet};

use self::{
    body::{BodySearch, Scratch},
    judge::{Facts, Hits, judge},
    plan::{Level, Plan},
};
use crate::traits::{Cursor, Result, Row, Rows, ScanBudget, StorageError, View};

pub use self::plan::{
    SEARCH_DEPTH_MAX, SEARCH_HEADER_COUNT_MAX, SEARCH_KEY_COUNT_MAX, SEARCH_TEXT_LEN_MAX, check_search_key, dismantle,
};

/// How far a search is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SearchProgress {
    /// Call [`Search::step`] again.
    Running,
    /// All messages were judged.
    Done,
}

/// A search under way. It may travel between threads; the view is given to each step, and must be the one it was made
/// for. Between steps that view may be synced with [`crate::Expunges::Hold`] only; messages that come are not found.
#[derive(Debug)]
pub struct Search {
    plan: Plan,
    level: Level,
    /// What this pass looks at, from where on.
    candidates: UidSet,
    at: Option<Cursor>,
    /// What this pass could not decide.
    undecided: UidSet,
    /// What this pass found, and what those before it found.
    found_now: UidSet,
    found_before: UidSet,
    highest_modseq: Option<ModSeq>,
    rows: Rows,
    bodies: Bodies,
}

/// Where the pass over bodies is.
#[derive(Debug, Default)]
struct Bodies {
    /// The row that is next or under way.
    row: usize,
    now: Option<BodySearch>,
    scratch: Scratch,
}

/// What is left of a step's budget.
struct Left {
    budget: ScanBudget,
    started: bool,
}

impl Left {
    fn is_spent(&self) -> bool {
        let late = || self.budget.until.is_some_and(|until| Instant::now() >= until);
        self.started && (self.budget.rows == 0 || self.budget.bytes == 0 || late())
    }

    fn spend(&mut self, rows: usize, bytes: usize) {
        self.started = true;
        self.budget.rows = self.budget.rows.saturating_sub(rows);
        self.budget.bytes = self.budget.bytes.saturating_sub(bytes);
    }
}

impl Search {
    /// Prepares a search of the messages that `view` shows now.
    ///
    /// # Errors
    /// `Limit` where the key is deeper, or has more keys or longer texts, than [`check_search_key`] allows. Such a key
    /// is taken apart without recursion, so that no depth can exhaust the stack.
    pub fn new(key: SearchKey, view: &dyn View) -> Result<Self> {
        if let Err(error) = check_search_key(&key) {
            dismantle(key);
            return Err(error);
        }
        let plan = Plan::new(key, view);
        let candidates = plan.candidates(view);
        Ok(Self {
            level: Level::Index,
            at: Some(Cursor::START),
            candidates,
            undecided: UidSet::new(),
            found_now: UidSet::new(),
            found_before: UidSet::new(),
            highest_modseq: None,
            rows: Rows::new(),
            bodies: Bodies::default(),
            plan,
        })
    }

    /// Whether index records alone answer it: then it costs some nanoseconds a message and may run where it is.
    pub fn only_flags(&self) -> bool {
        self.plan.highest_level() == Level::Index
    }

    /// Goes on until the budget is used up: `rows` messages looked at, `bytes` of bodies read, or the time; at least
    /// one message or one piece of a body.
    ///
    /// # Errors
    /// What the view answers, except that a message was expunged: such a one does not match. After an error the search
    /// must not be stepped again.
    pub fn step(&mut self, view: &dyn View, budget: ScanBudget) -> Result<SearchProgress> {
        let mut left = Left { budget, started: false };
        while !left.is_spent() {
            let pass_is_over = match self.level {
                Level::Body => self.step_bodies(view, &mut left)?,
                _ => self.step_rows(view, &mut left)?,
            };
            if pass_is_over && !self.next_pass() {
                return Ok(SearchProgress::Done);
            }
        }
        Ok(SearchProgress::Running)
    }

    /// The matching messages; all of them once the search is done.
    pub fn uids(&self) -> UidSet {
        self.found_before.union(&self.found_now)
    }

    /// The places of the matching messages in `view`, as a set of sequence numbers.
    pub fn seqs(&self, view: &dyn View) -> UidSet {
        let uids = self.uids();
        uids.iter().filter_map(|uid| view.seq_of(uid)).filter_map(|seq| Uid::new(seq.value())).collect()
    }

    /// The largest mod-sequence of the matching messages (RFC 7162 §3.1.5).
    pub fn highest_modseq(&self) -> Option<ModSeq> {
        self.highest_modseq
    }

    /// Begins the next pass. False when there is none, or nothing left for it.
    fn next_pass(&mut self) -> bool {
        self.found_before = self.found_before.union(&std::mem::take(&mut self.found_now));
        self.candidates = std::mem::take(&mut self.undecided);
        self.at = Some(Cursor::START);
        self.rows.clear();
        self.bodies = Bodies::default();
        let next = self.plan.level_after(self.level);
        match next {
            Some(level) if !self.candidates.is_empty() => {
                self.level = level;
                true
            }
            _ => {
                self.at = None;
                self.candidates = UidSet::new();
                false
            }
        }
    }

    /// Brings rows; false where there are no more.
    fn scan(&mut self, view: &dyn View, left: &mut Left) -> Result<bool> {
        let Some(at) = self.at else { return Ok(false) };
        self.rows.clear();
        let columns = self.plan.columns(self.level);
        self.at = view.scan(&self.candidates, at, columns, left.budget, &mut self.rows)?;
        left.spend(self.rows.rows.len(), 0);
        Ok(true)
    }

    fn step_rows(&mut self, view: &dyn View, left: &mut Left) -> Result<bool> {
        if !self.scan(view, left)? {
            return Ok(true);
        }
        for at in 0..self.rows.rows.len() {
            let Some(&row) = self.rows.rows.get(at) else { break };
            if row.expunged {
                continue;
            }
            let facts = Facts { row: &row, rows: &self.rows, level: self.level, hits: None };
            match judge(self.plan.root(), &facts) {
                Some(matches) => self.decide(&row, matches),
                None => self.undecided.insert(row.uid),
            }
        }
        Ok(self.at.is_none())
    }

    fn decide(&mut self, row: &Row, matches: bool) {
        if matches {
            self.found_now.insert(row.uid);
            self.highest_modseq = self.highest_modseq.max(Some(row.modseq));
        }
    }

    /// One piece of one body, or more rows.
    fn step_bodies(&mut self, view: &dyn View, left: &mut Left) -> Result<bool> {
        let Some(&row) = self.rows.rows.get(self.bodies.row) else {
            self.bodies.row = 0;
            return Ok(!self.scan(view, left)?);
        };
        let mut body = match self.bodies.now.take() {
            Some(body) => body,
            None => match self.open_body(view, &row)? {
                Some(body) => body,
                None => {
                    self.bodies.row += 1;
                    return Ok(false);
                }
            },
        };
        let read = match body.step(self.plan.needles()) {
            Err(StorageError::Expunged { .. }) => {
                self.bodies.row += 1;
                return Ok(false);
            }
            read => read?,
        };
        left.spend(0, read);
        let facts = Facts { row: &row, rows: &self.rows, level: Level::Body, hits: Some(body.hits()) };
        match judge(self.plan.root(), &facts) {
            Some(matches) => {
                self.decide(&row, matches);
                self.bodies.row += 1;
                self.bodies.scratch = body.into_scratch();
            }
            None => self.bodies.now = Some(body),
        }
        Ok(false)
    }

    /// `None` if the message is gone or needs no look at its body after all.
    fn open_body(&mut self, view: &dyn View, row: &Row) -> Result<Option<BodySearch>> {
        if row.expunged {
            return Ok(None);
        }
        let hits = Hits::new(self.plan.needles());
        let facts = Facts { row, rows: &self.rows, level: Level::Body, hits: Some(&hits) };
        if let Some(matches) = judge(self.plan.root(), &facts) {
            self.decide(row, matches);
            return Ok(None);
        }
        let parts = row.parts.map(|range| mailmime::decode_mime_parts(self.rows.text(range)));
        let tree = match parts {
            Some(Ok(tree)) => tree,
            Some(Err(error)) => return Err(StorageError::Io(format!("searching message {}: {error}", row.uid).into())),
            None => {
                return Err(StorageError::Io(format!("searching message {}: the store has no parts", row.uid).into()));
            }
        };
        match view.body(row.uid) {
            Ok(body) => {
                let scratch = std::mem::take(&mut self.bodies.scratch);
                Ok(Some(BodySearch::new(body, &tree, hits, self.plan.needles(), scratch)))
            }
            Err(StorageError::Expunged { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Searches to the end, on this thread.
///
/// # Errors
/// Those of [`Search::new`] and [`Search::step`].
pub fn search(key: SearchKey, view: &dyn View) -> Result<UidSet> {
    let mut search = Search::new(key, view)?;
    while search.step(view, ScanBudget::default())? == SearchProgress::Running {}
    Ok(search.uids())
}

/// The matching messages at once if index records alone answer the search, else `None`.
///
/// # Errors
/// Those of [`search`].
pub fn uids_matching(key: &SearchKey, view: &dyn View) -> Result<Option<UidSet>> {
    check_search_key(key)?;
    if plan::level_of(key) > Level::Index {
        return Ok(None);
    }
    search(key.clone(), view).map(Some)
}
