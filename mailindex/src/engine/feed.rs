//! The change feed: what anybody changed since a place in the log, resumable after a restart.
//!
//! It is read off the logs themselves, so it reaches back as far as they do: to the beginning of `.log.2`.

use mailtypes::{Uid, UidSet};

use super::{
    MailboxIndex, Result,
    log_file::{LogFile, Opened},
};
use crate::{
    log::{Change, ModseqCounter, Origin, Record, Transactions},
    state::{LogPosition, State},
};

/// Bytes read at once; a longer transaction is read whole.
const WINDOW_LEN: usize = 1 << 20;

/// A place in a mailbox's history.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct FeedPosition {
    /// Which index; another number means that the mailbox was made anew.
    pub index_id: u32,
    /// Where in its logs.
    pub log: LogPosition,
}

impl FeedPosition {
    /// Bytes of [`FeedPosition::to_bytes`].
    pub const LEN: usize = 12;

    /// For keeping it somewhere.
    pub fn to_bytes(self) -> [u8; Self::LEN] {
        let numbers = [self.index_id, self.log.file_seq, self.log.offset];
        let mut bytes = [0; Self::LEN];
        for (to, from) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(numbers) {
            *to = from.to_le_bytes();
        }
        bytes
    }

    /// Back from [`FeedPosition::to_bytes`]; `None` for anything of another length.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let numbers: [u8; Self::LEN] = bytes.try_into().ok()?;
        let [id, file_seq, offset] = *numbers.as_chunks::<4>().0 else { return None };
        let log = LogPosition { file_seq: u32::from_le_bytes(file_seq), offset: u32::from_le_bytes(offset) };
        Some(Self { index_id: u32::from_le_bytes(id), log })
    }
}

/// What happened, without regard to order.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Changes {
    /// Messages that came and are still there.
    pub appended: UidSet,
    /// Messages whose flags or keywords were changed, those that came left out.
    pub flags: UidSet,
    /// Messages that went, those that came meanwhile left out.
    pub expunged: UidSet,
}

/// An answer of the feed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ChangesSince {
    /// All that happened.
    Changes {
        /// What.
        changes: Changes,
        /// Where to go on from.
        now: FeedPosition,
    },
    /// The logs do not reach back that far, or the index was made anew: compare everything.
    TooOld {
        /// Where to go on from.
        now: FeedPosition,
    },
}

impl MailboxIndex {
    /// The position of [`MailboxIndex::state`], for [`MailboxIndex::changes_since`]; no system call.
    pub fn position(&self) -> FeedPosition {
        position_of(&self.state())
    }

    /// What anybody changed since `position`, up to now. Costs reading the log from there on.
    pub fn changes_since(self: &std::sync::Arc<Self>, position: FeedPosition) -> Result<ChangesSince> {
        let state = self.refresh()?;
        let now = position_of(&state);
        if position.index_id != now.index_id || position.log > now.log {
            return Ok(ChangesSince::TooOld { now });
        }
        let mut gathered = Gathered::default();
        let log = self.log_file();
        let mut from = position.log.offset;
        let logs = if log.seq() == now.log.file_seq { Some(log) } else { self.open_log(now.log.file_seq)? };
        let Some(log) = logs else { return Ok(ChangesSince::TooOld { now }) };
        if position.log.file_seq != now.log.file_seq {
            // `.log.2` must be the file that the position is in, and the one that the log goes on from.
            let before = self.open_log(position.log.file_seq)?;
            let chained = log.header.prev_file_seq.get() == position.log.file_seq;
            let (Some(before), true) = (before, chained) else { return Ok(ChangesSince::TooOld { now }) };
            if !gathered.read(&before, from, log.header.prev_file_offset.get())? {
                return Ok(ChangesSince::TooOld { now });
            }
            from = log.header.records_start();
        }
        if !gathered.read(&log, from, now.log.offset)? {
            return Ok(ChangesSince::TooOld { now });
        }
        Ok(ChangesSince::Changes { changes: gathered.finish(&state), now })
    }

    /// The UIDs of messages that were expunged under a larger mod-sequence than `since`, up to a state. `None`: the logs do
    /// not reach back that far. Costs reading the log, and the one before it if need be.
    pub fn expunged_since(&self, since: u64, until: &State) -> Result<Option<UidSet>> {
        let Some(now) = until.position() else { return Ok(None) };
        let log = self.log_file();
        let log = if log.seq() == now.file_seq { Some(log) } else { self.open_log(now.file_seq)? };
        let Some(log) = log else { return Ok(None) };
        let reaches = |log: &LogFile| (1..=since).contains(&log.header.initial_modseq.get());
        let mut gone = ExpungedSince { since, uids: UidSet::new() };
        if !reaches(&log) {
            let before = self.open_log(log.header.prev_file_seq.get())?;
            let Some(before) = before.filter(|before| reaches(before)) else { return Ok(None) };
            if !gone.read(&before, log.header.prev_file_offset.get())? {
                return Ok(None);
            }
        }
        Ok(gone.read(&log, now.offset)?.then_some(gone.uids))
    }

    /// The log with this number, if it is still there.
    fn open_log(&self, file_seq: u32) -> Result<Option<std::sync::Arc<LogFile>>> {
        for path in [&self.paths.log, &self.paths.log2] {
            if let Opened::Usable(log) = LogFile::open(&**self.env().fs(), path)?
                && log.seq() == file_seq
                && log.header.indexid.get() == self.state().index_id()
            {
                return Ok(Some(log));
            }
        }
        Ok(None)
    }
}

/// Expunges with a larger mod-sequence than one.
struct ExpungedSince {
    since: u64,
    uids: UidSet,
}

impl ExpungedSince {
    /// Goes over a log from its beginning; `false` if it cannot be followed.
    fn read(&mut self, log: &LogFile, to: u32) -> Result<bool> {
        let header = &log.header;
        let mut counter = ModseqCounter::new(header.initial_modseq.get(), header.minor_version);
        let since = self.since;
        read_between(log, header.records_start(), to, |record, change| {
            counter.count(record, change);
            if counter.value() > since && record.origin() == Origin::External {
                expunged_by(change, &mut self.uids);
            }
        })
    }
}

/// Adds the UIDs that an expunge names.
fn expunged_by(change: &Change<'_>, to: &mut UidSet) {
    match change {
        Change::Expunge(ranges) => ranges.iter().for_each(|r| insert(to, r.uid1.get(), r.uid2.get())),
        Change::ExpungeGuid(messages) => messages.iter().for_each(|m| insert(to, m.uid.get(), m.uid.get())),
        _ => {}
    }
}

fn insert(set: &mut UidSet, uid1: u32, uid2: u32) {
    if let (Some(first), Some(last)) = (Uid::new(uid1), Uid::new(uid2)) {
        set.insert_range(first..=last);
    }
}

/// Goes over a log from one transaction's beginning to another's; `false` when these are no such places.
fn read_between(log: &LogFile, mut from: u32, to: u32, mut note: impl FnMut(&Record<'_>, &Change<'_>)) -> Result<bool> {
    if from < log.header.records_start() || from > to {
        return Ok(false);
    }
    let mut window = WINDOW_LEN;
    while from < to {
        let want = window.min((to - from) as usize);
        let bytes = log.read(from, want)?;
        let mut transactions = Transactions::new(&bytes, from);
        for transaction in transactions.by_ref().map_while(std::result::Result::ok) {
            transaction.changes().for_each(|(record, change)| note(&record, &change));
        }
        let end = transactions.end();
        if end == from && (want == (to - from) as usize || bytes.len() < want) {
            return Ok(false);
        }
        window = if end == from { window.saturating_mul(2) } else { WINDOW_LEN };
        from = end;
    }
    Ok(true)
}

fn position_of(state: &State) -> FeedPosition {
    let log = state.position().unwrap_or(LogPosition { file_seq: 0, offset: 0 });
    FeedPosition { index_id: state.index_id(), log }
}

#[derive(Default)]
struct Gathered {
    appended: UidSet,
    flags: UidSet,
    expunged: UidSet,
}

impl Gathered {
    /// Goes over a log from one transaction's beginning to another's; `false` when these are no such places.
    fn read(&mut self, log: &LogFile, from: u32, to: u32) -> Result<bool> {
        read_between(log, from, to, |record, change| self.note(record.origin(), change))
    }

    fn note(&mut self, origin: Origin, change: &Change<'_>) {
        match change {
            Change::Append(messages) => {
                messages.iter().for_each(|m| insert(&mut self.appended, m.uid.get(), m.uid.get()))
            }
            Change::FlagUpdate(updates) => {
                updates.iter().for_each(|u| insert(&mut self.flags, u.uid1.get(), u.uid2.get()));
            }
            Change::KeywordUpdate(update) => {
                update.ranges.iter().for_each(|r| insert(&mut self.flags, r.uid1.get(), r.uid2.get()));
            }
            Change::KeywordReset(ranges) => {
                ranges.iter().for_each(|r| insert(&mut self.flags, r.uid1.get(), r.uid2.get()));
            }
            Change::ModseqUpdate(updates) => {
                updates.iter().for_each(|u| insert(&mut self.flags, u.uid.get(), u.uid.get()));
            }
            change if origin == Origin::External => expunged_by(change, &mut self.expunged),
            _ => {}
        }
    }

    fn finish(self, state: &State) -> Changes {
        let there = state.uids();
        Changes {
            flags: self.flags.intersection(&there).difference(&self.appended),
            expunged: self.expunged.difference(&self.appended).difference(&there),
            appended: self.appended.intersection(&there),
        }
    }
}
