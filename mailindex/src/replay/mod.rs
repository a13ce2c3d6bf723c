//! From one state and the log behind it to the next state (`docs/formats/log.md`).
//!
//! Invariants:
//! 1. A transaction is applied as a whole or not at all.
//! 2. Whatever the bytes, time and memory stay within [`Limits`].
//! 3. What cannot be applied but was framed well is skipped and told as a [`Problem`]; later records count.

mod extensions;
mod messages;
mod problem;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, sync::Arc};

use mailtypes::{Uid, UidSet};

pub use problem::{ChainError, Problem, ProblemKind};

use crate::{
    log::{
        Change, Damage, LogStop, ModseqCounter, Origin, RawLogHeader, RawUidRange, Record, Transactions,
        WrittenTransaction,
    },
    state::{Deletion, FlagRequest, Inner, LogPosition, State},
};

/// What replay may cost, whatever stands in the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Most memory of the state, in bytes.
    pub state_bytes_max: usize,
    /// Most record fields read or written: a log of a few bytes can change a million messages many times over.
    pub work_max: u64,
    /// Most problems kept; the others are counted.
    pub problems_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { state_bytes_max: 2 << 30, work_max: 1 << 33, problems_max: 100 }
    }
}

/// Why [`Replay::apply`] went no further.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Stop {
    /// All bytes were applied.
    #[error("all was read")]
    End,
    /// The state is in no log yet: [`Replay::enter`] comes first.
    #[error("no log was entered")]
    NoLog,
    /// What begins here is not all there: wait, or cut it off under the lock.
    #[error("the log is torn at offset {offset}")]
    Torn {
        /// Where the incomplete transaction begins.
        offset: u32,
    },
    /// Damage: what begins at [`Applied::end`] cannot be used.
    #[error(transparent)]
    Corrupt(#[from] Damage),
    /// A limit was reached.
    #[error("replaying the record at offset {offset} would exceed the limit on {what}")]
    Limit {
        /// The record.
        offset: u32,
        /// Which limit.
        what: &'static str,
    },
}

/// How far [`Replay::apply`] came.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Applied {
    /// Offset behind the last transaction that was applied.
    pub end: u32,
    /// Why no further.
    pub stop: Stop,
}

/// A limit was reached: which.
#[derive(Clone, Copy, Debug)]
struct Halt(&'static str);

/// Takes a state forward.
#[derive(Debug)]
pub struct Replay {
    inner: Inner,
    limits: Limits,
    /// Fields read or written so far.
    work: u64,
    /// Estimate of the state's bytes.
    memory: usize,
    problems: Vec<Problem>,
    problem_count: u64,
}

impl Replay {
    /// Starts from a state whose modseq counter is known ([`State::modseq_is_known`]). To go on in the same file,
    /// [`Self::apply`] follows at once.
    pub fn new(state: State, limits: Limits) -> Self {
        let inner = Arc::unwrap_or_clone(state.0);
        let memory = inner.byte_size;
        Self { inner, limits, work: 0, memory, problems: Vec::new(), problem_count: 0 }
    }

    /// Moves to a log file: the state's own (checked), the one that follows it, or for the empty state one with
    /// which a chain begins. A later file whose `prev_file_seq` is 0 voids what was before it.
    pub fn enter(&mut self, header: &RawLogHeader) -> Result<(), ChainError> {
        header.check_usable()?;
        let (file_seq, prev_file_seq) = (header.file_seq.get(), header.prev_file_seq.get());
        let (log, state) = (header.indexid.get(), self.inner.header.raw.indexid.get());
        if state != 0 && log != state {
            return Err(ChainError::IndexId { log, state });
        }
        let here = self.inner.position;
        let same = here.is_some_and(|p| p.file_seq == file_seq && p.offset >= header.records_start());
        let next = here.is_some_and(|p| p.file_seq == prev_file_seq && p.offset == header.prev_file_offset.get());
        let first = prev_file_seq == 0 && here.is_none_or(|p| p.file_seq < file_seq);
        self.inner.log_minor = header.minor_version;
        match (same, next, first) {
            (true, ..) => {
                // At the beginning of a file its header has the counter.
                if !self.inner.modseq_known && here.is_some_and(|p| p.offset == header.records_start()) {
                    self.set_modseq(header);
                }
            }
            (_, true, _) => self.place(header),
            (_, _, true) => {
                if here.is_some() {
                    self.inner = Inner::empty();
                    self.inner.log_minor = header.minor_version;
                }
                self.place(header);
            }
            (false, false, false) => {
                let prev_file_offset = header.prev_file_offset.get();
                let (state_seq, state_offset) = here.map_or((0, 0), |p| (p.file_seq, p.offset));
                return Err(ChainError::Gap { file_seq, prev_file_seq, prev_file_offset, state_seq, state_offset });
            }
        }
        Ok(())
    }

    fn set_modseq(&mut self, header: &RawLogHeader) {
        self.inner.modseq = header.initial_modseq.get();
        self.inner.modseq_known = true;
    }

    fn place(&mut self, header: &RawLogHeader) {
        let start = header.records_start();
        // A file from before there were modseqs does not know the counter; whoever does keeps it.
        if header.initial_modseq.get() != 0 || self.inner.position.is_none() {
            self.set_modseq(header);
        }
        self.inner.header.raw.indexid = header.indexid;
        self.inner.position = Some(LogPosition { file_seq: header.file_seq.get(), offset: start });
        self.inner.tail = start;
        if !self.inner.pending.is_empty() {
            Arc::make_mut(&mut self.inner.pending).enter_file(start);
        }
    }

    /// Takes note of the internal records between tail and head of a snapshot, which are in force already but not
    /// carried out in the mail store; until then [`State::has_pending`] is said of such a state to be safe. `bytes`
    /// begin at `offset`, the recorded tail, and end at the state's position. To be called before [`Self::apply`].
    pub fn recall_pending(&mut self, bytes: &[u8], offset: u32) {
        self.inner.pending = Arc::default();
        for transaction in Transactions::new(bytes, offset).map_while(Result::ok) {
            for (record, change) in transaction.changes() {
                let result = match change {
                    Change::Expunge(ranges) if record.origin() == Origin::Internal => {
                        self.expunge_ranges(record.offset, Origin::Internal, ranges)
                    }
                    Change::ExpungeGuid(guids) if record.origin() == Origin::Internal => {
                        self.expunge_guids(record.offset, Origin::Internal, guids)
                    }
                    _ => Ok(()),
                };
                self.note_pending(&record, &change);
                if result.is_err() {
                    return;
                }
            }
        }
    }

    /// Applies all whole transactions in `bytes`, which begin at the state's position. Where a limit is reached
    /// nothing of `bytes` is applied.
    pub fn apply(&mut self, bytes: &[u8]) -> Applied {
        let Some(start) = self.inner.position else { return Applied { end: 0, stop: Stop::NoLog } };
        let checkpoint = self.inner.clone();
        let available = u64::from(start.offset) + bytes.len() as u64;
        let mut transactions = Transactions::new(bytes, start.offset);
        let stop = loop {
            match transactions.next() {
                None => break Stop::End,
                Some(Err(LogStop::Torn { offset })) => break Stop::Torn { offset },
                Some(Err(LogStop::Corrupt(damage))) => break Stop::Corrupt(damage),
                Some(Ok(transaction)) => {
                    if let Err((offset, Halt(what))) = self.transaction(&transaction, available) {
                        self.inner = checkpoint;
                        return Applied { end: start.offset, stop: Stop::Limit { offset, what } };
                    }
                }
            }
        };
        self.inner.position = Some(LogPosition { offset: transactions.end(), ..start });
        Applied { end: transactions.end(), stop }
    }

    fn transaction(&mut self, transaction: &WrittenTransaction<'_>, available: u64) -> Result<(), (u32, Halt)> {
        let mut counter = ModseqCounter::new(self.inner.modseq, self.inner.log_minor);
        for (record, change) in transaction.changes() {
            counter.count(&record, &change);
            self.inner.modseq = counter.value();
            self.record(&record, &change, available).map_err(|halt| (record.offset, halt))?;
        }
        Ok(())
    }

    fn record(&mut self, record: &Record<'_>, change: &Change<'_>, available: u64) -> Result<(), Halt> {
        let (offset, origin) = (record.offset, record.origin());
        self.note_pending(record, change);
        match *change {
            Change::Append(appends) => self.append(offset, appends)?,
            Change::FlagUpdate(updates) => self.flag_update(updates)?,
            Change::KeywordUpdate(update) => self.keyword_update(offset, update)?,
            Change::KeywordReset(ranges) => self.keyword_reset(ranges)?,
            Change::ModseqUpdate(updates) => self.modseq_update(updates)?,
            Change::Expunge(ranges) => self.expunge_ranges(offset, origin, ranges)?,
            Change::ExpungeGuid(guids) => self.expunge_guids(offset, origin, guids)?,
            Change::ExtIntro(intros) => {
                for intro in intros {
                    self.ext_intro(offset, intro)?;
                }
            }
            Change::ExtReset { new_reset_id, preserve } => self.ext_reset(offset, new_reset_id, preserve)?,
            Change::ExtHdrUpdate(patches) => self.ext_header(offset, patches)?,
            Change::ExtRecUpdate(payload) => self.ext_records(offset, payload)?,
            Change::ExtAtomicInc(increments) => self.ext_increments(offset, increments)?,
            Change::HeaderUpdate(patches) => match patches.tail_offset() {
                Some(tail) => self.move_tail(offset, tail, available),
                None => self.header_update(offset, patches),
            },
            Change::IndexDeleted => {
                self.inner.deletion = match origin {
                    Origin::External => Deletion::Done,
                    Origin::Internal => Deletion::Requested,
                }
            }
            Change::IndexUndeleted => self.inner.deletion = Deletion::No,
            Change::Unknown => self.problem(offset, ProblemKind::UnknownType(record.type_word.0)),
            Change::Boundary { .. } | Change::AttributeUpdate(_) => {}
        }
        Ok(())
    }

    /// Remembers internal records that ask something of the mail store. Expunges remember themselves.
    fn note_pending(&mut self, record: &Record<'_>, change: &Change<'_>) {
        let asks = matches!(
            change,
            Change::Append(_)
                | Change::FlagUpdate(_)
                | Change::KeywordUpdate(_)
                | Change::KeywordReset(_)
                | Change::ExtAtomicInc(_)
        );
        if asks && record.origin() == Origin::Internal && record.offset >= self.inner.tail {
            let pending = Arc::make_mut(&mut self.inner.pending);
            pending.note(record.offset);
            for (what, uids) in flag_requests(change) {
                if !uids.is_empty() {
                    pending.request_flags(record.offset, uids, what);
                }
            }
        }
    }

    fn move_tail(&mut self, offset: u32, to: u32, available: u64) {
        let from = self.inner.tail;
        if to < from || u64::from(to) > available {
            return self.problem(offset, ProblemKind::Tail { from, to });
        }
        self.inner.tail = to;
        if !self.inner.pending.is_empty() {
            Arc::make_mut(&mut self.inner.pending).move_tail(to);
        }
    }

    fn work(&mut self, amount: u64) -> Result<(), Halt> {
        self.work = self.work.saturating_add(amount);
        if self.work > self.limits.work_max { Err(Halt("work")) } else { Ok(()) }
    }

    fn grow_memory(&mut self, bytes: usize) -> Result<(), Halt> {
        self.memory = self.memory.saturating_add(bytes);
        if self.memory > self.limits.state_bytes_max { Err(Halt("memory")) } else { Ok(()) }
    }

    fn problem(&mut self, offset: u32, kind: ProblemKind) {
        self.problem_count += 1;
        if self.problems.len() < self.limits.problems_max {
            self.problems.push(Problem { offset, kind });
        }
    }

    /// What was wrong without stopping the replay, up to [`Limits::problems_max`].
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// How many problems there were.
    pub fn problem_count(&self) -> u64 {
        self.problem_count
    }

    /// Where the replay is.
    pub fn position(&self) -> Option<LogPosition> {
        self.inner.position
    }

    /// The state reached.
    pub fn finish(self) -> State {
        self.inner.finish()
    }
}

fn ends(range: &RawUidRange) -> (u32, u32) {
    (range.uid1.get(), range.uid2.get())
}

/// What a record asks about flags, by what it is.
fn flag_requests(change: &Change<'_>) -> Vec<(FlagRequest, UidSet)> {
    match change {
        Change::FlagUpdate(updates) => {
            let mut by_bits: BTreeMap<u8, Vec<(u32, u32)>> = BTreeMap::new();
            for update in updates.iter() {
                by_bits.entry(update.add | update.remove).or_default().push((update.uid1.get(), update.uid2.get()));
            }
            by_bits.into_iter().map(|(bits, ranges)| (FlagRequest::Flags(bits), united(ranges.into_iter()))).collect()
        }
        Change::KeywordUpdate(update) => {
            vec![(FlagRequest::Keyword(update.name.into()), united(update.ranges.iter().map(ends)))]
        }
        Change::KeywordReset(ranges) => vec![(FlagRequest::Keywords, united(ranges.iter().map(ends)))],
        _ => Vec::new(),
    }
}

fn united(ranges: impl Iterator<Item = (u32, u32)>) -> UidSet {
    let mut uids = UidSet::new();
    for (first, last) in ranges {
        if let (Some(first), Some(last)) = (Uid::new(first), Uid::new(last)) {
            uids.insert_range(first..=last);
        }
    }
    uids
}
