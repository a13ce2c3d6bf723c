//! THREAD (RFC 5256, draft-ietf-morg-inthread), written once for every backend, over [`View`].
//!
//! A [`Thread`] searches, then reads the header fields of what was found that tell who answers whom, then makes the
//! threads: in steps of a [`ScanBudget`], between which it holds no view and no lock. Memory is some hundred bytes a message
//! and some fifty a Message-ID ([`THREAD_IDS_MAX`]). No loop or length of References costs more than its bytes do.

mod forest;
mod gather;
mod links;
mod messages;
mod tree;

use std::{collections::hash_map::RandomState, hash::BuildHasher, time::Instant};

use mailmime::{BaseSubject, Fields};
use mailtypes::{SearchKey, ThreadAlgorithm, UidSet};

use self::{
    links::{IdFields, LinkTable},
    messages::{ThreadMessage, by_date},
};
use crate::{
    search::{Search, SearchProgress},
    sort::sent_date,
    traits::{Column, Columns, Cursor, Result, Row, Rows, ScanBudget, View},
};

pub use self::{
    links::{THREAD_IDS_MAX, THREAD_REFERENCES_MAX},
    tree::{ThreadToken, Threads},
};

/// Messages read between two looks at the clock.
const STRIDE: usize = 1024;

/// The header fields that are read, in the order of the columns.
const FIELDS: [&str; 4] = ["Subject", "Message-ID", "References", "In-Reply-To"];

/// How far threading is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ThreadProgress {
    /// Call [`Thread::step`] again.
    Running,
    /// The threads are made.
    Done,
}

/// A threading under way. It may travel between threads; the view is given to each step, and must be the one it was made
/// for. Between steps that view may be synced with [`crate::Expunges::Hold`] only; messages that come are not found.
#[derive(Debug)]
pub struct Thread {
    algorithm: ThreadAlgorithm,
    phase: Phase,
    hasher: RandomState,
    messages: Vec<ThreadMessage>,
    links: LinkTable,
    rows: Rows,
    threads: Threads,
}

#[derive(Debug)]
enum Phase {
    Searching(Box<Search>),
    Reading { uids: UidSet, at: Cursor },
    Gathering,
    Done,
}

impl Thread {
    /// Prepares to make threads of the messages that `view` shows now and `key` finds.
    ///
    /// # Errors
    /// Those of [`Search::new`].
    pub fn new(key: SearchKey, algorithm: ThreadAlgorithm, view: &dyn View) -> Result<Self> {
        let search = Search::new(key, view)?;
        Ok(Self {
            algorithm,
            phase: Phase::Searching(Box::new(search)),
            hasher: RandomState::new(),
            messages: Vec::new(),
            links: LinkTable::default(),
            rows: Rows::new(),
            threads: Threads::default(),
        })
    }

    /// Goes on until the budget's time is over; without one, for one batch. The last step, which makes threads of what was
    /// read, takes a fraction of a microsecond a message.
    ///
    /// # Errors
    /// What the view answers, except that a message was expunged: such a one is left out. After an error the threading must
    /// not be stepped again.
    pub fn step(&mut self, view: &dyn View, budget: ScanBudget) -> Result<ThreadProgress> {
        let is_late = || budget.until.is_none_or(|until| Instant::now() >= until);
        loop {
            match std::mem::replace(&mut self.phase, Phase::Done) {
                Phase::Searching(mut search) => match search.step(view, budget)? {
                    SearchProgress::Running => self.phase = Phase::Searching(search),
                    SearchProgress::Done => self.phase = Phase::Reading { uids: search.uids(), at: Cursor::START },
                },
                Phase::Reading { uids, at } => self.phase = self.read(view, uids, at, budget)?,
                Phase::Gathering => self.gather(),
                Phase::Done => return Ok(ThreadProgress::Done),
            }
            if is_late() && !matches!(self.phase, Phase::Done) {
                return Ok(ThreadProgress::Running);
            }
        }
    }

    /// The threads, once they are made.
    pub fn into_threads(self) -> Threads {
        self.threads
    }

    fn read(&mut self, view: &dyn View, uids: UidSet, at: Cursor, budget: ScanBudget) -> Result<Phase> {
        self.rows.clear();
        let budget = ScanBudget { rows: budget.rows.clamp(1, STRIDE), ..budget };
        let next = view.scan(&uids, at, &self.columns(), budget, &mut self.rows)?;
        for at in 0..self.rows.rows.len() {
            if let Some(&row) = self.rows.rows.get(at).filter(|row| !row.expunged) {
                self.read_row(&row);
            }
        }
        Ok(match next {
            Some(at) => Phase::Reading { uids, at },
            None => {
                self.rows = Rows::new();
                Phase::Gathering
            }
        })
    }

    fn columns(&self) -> Columns {
        let columns = Columns::flags().with(Column::InternalDate).with(Column::SentDate);
        let fields = if self.links_messages() { FIELDS.as_slice() } else { &["Subject"] };
        fields.iter().fold(columns, |columns, name| columns.with_header(name))
    }

    fn links_messages(&self) -> bool {
        self.algorithm != ThreadAlgorithm::OrderedSubject
    }

    fn read_row(&mut self, row: &Row) {
        let rows = &self.rows;
        let field = |n: usize| Fields::new(rows.header(row, n)).next();
        let subject = field(0).map(|field| BaseSubject::of(&field.value())).unwrap_or_default();
        if self.links_messages() {
            let value = |n: usize| field(n).map(|field| field.raw_value).unwrap_or_default();
            let fields = IdFields { message_id: value(1), references: value(2), in_reply_to: value(3) };
            self.links.add(self.messages.len() as u32, fields);
        }
        self.messages.push(ThreadMessage {
            uid: row.uid,
            seq: row.seq,
            date: sent_date(row).unwrap_or_default(),
            subject: (!subject.key.is_empty()).then(|| self.hasher.hash_one(&subject.key)),
            is_reply_or_forward: subject.is_reply_or_forward,
        });
    }

    fn gather(&mut self) {
        let messages = std::mem::take(&mut self.messages);
        let links = std::mem::take(&mut self.links);
        let (parents, order) = match self.algorithm {
            ThreadAlgorithm::OrderedSubject => gather::by_subject(&messages),
            algorithm => {
                let mut parents = gather::without_dummies(&links, messages.len());
                let order = by_date(&messages);
                if algorithm == ThreadAlgorithm::References {
                    gather::join_subjects(&mut parents, &messages, &order);
                }
                (parents, order)
            }
        };
        let threads = Threads::new(messages, &parents, &order);
        self.threads = if self.algorithm == ThreadAlgorithm::Refs { threads.newest_last() } else { threads };
    }
}

/// Makes threads, on this thread.
///
/// # Errors
/// Those of [`Thread::new`] and [`Thread::step`].
pub fn thread(key: SearchKey, algorithm: ThreadAlgorithm, view: &dyn View) -> Result<Threads> {
    let mut thread = Thread::new(key, algorithm, view)?;
    while thread.step(view, ScanBudget::default())? == ThreadProgress::Running {}
    Ok(thread.into_threads())
}
