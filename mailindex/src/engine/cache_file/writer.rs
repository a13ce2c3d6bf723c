//! Appending records, with or after a commit (`docs/formats/cache.md`, "Writing").

use std::{collections::HashSet, path::Path, sync::Arc, time::Duration};

use mailfs::{LockGuard, LockKind, LockOrder, LockRank, RankGuard, lock_with_timeout};
use mailtypes::Uid;

use super::{
    CacheValues, OpenCache,
    fields::{missing_field, new_file_fields},
};
use crate::{
    cache::{Decision, Field, Fields, RawCacheHeader, encode_new_file, encode_record},
    engine::{
        MailboxIndex, Result,
        commit::{Locked, with_lock},
    },
    log::{Generation, Origin, Transaction},
    state::{ExtensionSpec, State},
};

/// Largest record written, as Dovecot's default has it; what would make it larger is not cached.
pub(super) const RECORD_LEN_MAX: usize = 64 << 10;

/// At this size Dovecot drops the file.
const FILE_LEN_MAX: u64 = 1 << 30;

/// Offset of `continued_record_count` in the header, which `record_count` follows.
const COUNTS_OFFSET: u64 = 12;

/// How much the values are worth.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::engine) enum Wait {
    /// Of new messages, part of a commit: the cache's lock is waited for a while.
    ForCommit,
    /// Computed for a client that asked: only if nobody is in the way. What was asked for counts as wanted.
    IfFree,
}

/// The cache's own lock.
pub(super) struct CacheLock {
    _lock: LockGuard,
    _rank: RankGuard,
}

/// What is to be written, and where.
struct Plan {
    /// Appended at `start`.
    bytes: Vec<u8>,
    start: u64,
    offsets: Vec<(Uid, u32)>,
    /// The block of fields that a new one among `bytes` replaces, and the pointer to that.
    pointer: Option<(u32, [u8; 4])>,
    decisions: Vec<(u64, Decision)>,
    continued: u32,
    fresh: u32,
}

/// Appends values to the cache and returns the records that the log needs for them; `None` when nothing was written.
pub(in crate::engine) fn store(locked: &Locked, values: &[(Uid, CacheValues)], wait: Wait) -> Option<Transaction> {
    let index = &locked.index;
    if index.env().is_read_only() {
        return None;
    }
    match try_store(index, &locked.state, values, wait) {
        Ok(transaction) => transaction,
        Err(what) => {
            tracing::warn!(path = %index.paths.cache.display(), "values not cached: {what}");
            None
        }
    }
}

type Attempt<T> = std::result::Result<T, String>;

fn try_store(
    index: &Arc<MailboxIndex>,
    state: &State,
    values: &[(Uid, CacheValues)],
    wait: Wait,
) -> Attempt<Option<Transaction>> {
    let fs = &**index.env().fs();
    let mut transaction = Transaction::new();
    let known = index.known_cache(state).filter(|cache| reaches_far_enough(index, cache, state));
    let locked = match known {
        Some(cache) => {
            let Some(lock) = lock(index, &cache, wait)? else { return Ok(None) };
            cache.is_at(fs, &index.paths.cache).then_some((cache, lock))
        }
        None => None,
    };
    let (cache, _lock, is_new) = match locked {
        Some((cache, lock)) => (cache, lock, false),
        None => {
            let cache = create(index, state)?;
            transaction.ext_reset(&ExtensionSpec::CACHE, cache.file_seq, false, Origin::External);
            let Some(lock) = lock(index, &cache, wait)? else { return Ok(None) };
            if !cache.is_at(fs, &index.paths.cache) {
                return Ok(None);
            }
            (cache, lock, true)
        }
    };
    // Fields may have been added before the lock was ours.
    let cache = cache.refreshed()?;
    let Some(plan) = plan(index, &cache, state, is_new, values, wait)? else {
        return Ok(is_new.then_some(transaction));
    };
    write(&cache, &plan).map_err(|e| e.to_string())?;
    for (uid, offset) in &plan.offsets {
        let only = Generation::Only(cache.file_seq);
        transaction.ext_record(&ExtensionSpec::CACHE, only, *uid, &offset.to_le_bytes(), Origin::External);
    }
    Ok(Some(transaction))
}

/// Whether every record of the index lies in the file (invariant 3). Looked at once for each file.
fn reaches_far_enough(index: &MailboxIndex, cache: &OpenCache, state: &State) -> bool {
    let mut slot = index.cache_slot();
    if slot.checked == Some(cache.file_seq) {
        return true;
    }
    let last = state.records_from(0).filter_map(|record| record.cache_offset()).max().unwrap_or(0);
    // What is appended must not become the end of a record that has lost its own.
    let reaches = last == 0 || cache.has_record(last);
    if reaches {
        slot.checked = Some(cache.file_seq);
    }
    reaches
}

/// An empty file in the place of whatever is there.
fn create(index: &Arc<MailboxIndex>, state: &State) -> Attempt<Arc<OpenCache>> {
    let env = index.env();
    let fs = &**env.fs();
    let now = env.unix_time();
    let before = state.cache_file_seq().map_or(0, |seq| seq.saturating_add(1));
    let file_seq = now.max(before).max(1);
    let bytes = encode_new_file(state.index_id(), file_seq, &new_file_fields(now)).map_err(|e| e.to_string())?;
    let temp = index.paths.temp("cache", env.random());
    let made = index.paths.create(fs, &temp).and_then(|file| {
        file.write_at(&bytes, 0)?;
        fs.rename(&temp, &index.paths.cache)?;
        Ok(file)
    });
    let handle = made.map_err(|e| {
        let _ = fs.unlink(&temp);
        e.to_string()
    })?;
    let metadata = handle.metadata().map_err(|e| e.to_string())?;
    let fields = Fields::read_from(&mut &bytes[..], RawCacheHeader::SIZE as u32).map_err(|e| e.to_string())?;
    let cache = OpenCache { handle, device: metadata.device, inode: metadata.inode, file_seq, fields };
    let cache = Arc::new(cache);
    let mut slot = index.cache_slot();
    slot.open = Some(Arc::clone(&cache));
    slot.checked = Some(file_seq);
    slot.damaged = None;
    Ok(cache)
}

pub(super) fn lock(index: &MailboxIndex, cache: &OpenCache, wait: Wait) -> Attempt<Option<CacheLock>> {
    let env = index.env();
    let timeout = match wait {
        Wait::ForCommit => env.options().cache_lock_timeout,
        Wait::IfFree => Duration::ZERO,
    };
    let rank = LockOrder::enter(LockRank::Cache);
    let path: &Path = &index.paths.cache;
    match lock_with_timeout(&**env.fs(), &cache.handle, path, LockKind::Exclusive, timeout) {
        Ok(lock) => Ok(Some(CacheLock { _lock: lock, _rank: rank })),
        Err(e) if e.is_timeout() => Ok(None),
        Err(e) => Err(e.to_string()),
    }
}

fn plan(
    index: &MailboxIndex,
    cache: &OpenCache,
    state: &State,
    is_new: bool,
    values: &[(Uid, CacheValues)],
    wait: Wait,
) -> Attempt<Option<Plan>> {
    let len = cache.handle.len().map_err(|e| e.to_string())?;
    let start = len.next_multiple_of(4);
    let mut plan = Plan {
        bytes: Vec::new(),
        start,
        offsets: Vec::new(),
        pointer: None,
        decisions: Vec::new(),
        continued: 0,
        fresh: 0,
    };
    let fields = plan.with_missing_fields(cache, values, index.env().unix_time())?;
    let fields = fields.as_ref().unwrap_or(&cache.fields);
    for (uid, values) in values {
        let wanted: Vec<(u32, &[u8])> = values
            .iter()
            .filter_map(|value| {
                let number = fields.find(value.field.as_bytes())?;
                plan.wants(fields, number, wait).then_some((number, value.data.as_slice()))
            })
            .collect();
        if wanted.is_empty() {
            continue;
        }
        // In a new file the index's offsets count no more.
        let before = state.record_of(*uid).filter(|_| !is_new).and_then(|record| record.cache_offset()).unwrap_or(0);
        let Ok(record) = encode_record(fields, before, &wanted, RECORD_LEN_MAX) else { continue };
        let offset = start + plan.bytes.len() as u64;
        let Ok(offset) = u32::try_from(offset) else { break };
        if u64::from(offset) + record.len() as u64 > FILE_LEN_MAX {
            break;
        }
        if before == 0 {
            plan.fresh += 1
        } else {
            plan.continued += 1
        }
        plan.bytes.extend(record);
        plan.offsets.push((*uid, offset));
    }
    Ok((!plan.offsets.is_empty()).then_some(plan))
}

impl Plan {
    /// Adds a block with the fields that the file lacks; `None` when it lacks none.
    fn with_missing_fields(
        &mut self,
        cache: &OpenCache,
        values: &[(Uid, CacheValues)],
        now: u32,
    ) -> Attempt<Option<Fields>> {
        let mut all: Vec<Field> = cache.fields.all().to_vec();
        let known = all.len();
        let mut looked_at = HashSet::new();
        for value in values.iter().flat_map(|(_, values)| values.iter()) {
            let name = value.field.as_bytes();
            let is_known = cache.fields.find(name).is_some() || !looked_at.insert(name.to_ascii_lowercase());
            if !is_known && let Some(field) = missing_field(&value.field, now) {
                all.push(field);
            }
        }
        if all.len() == known {
            return Ok(None);
        }
        let at = u32::try_from(self.start).map_err(|e| e.to_string())?;
        let block = Fields::encode_block(&all).map_err(|e| e.to_string())?;
        let pointer = Fields::pointer(at).ok_or_else(|| format!("no block can be at {at}"))?;
        // Where there is no block yet the header points to the first one.
        let from = match cache.fields.offset() {
            0 => std::mem::offset_of!(RawCacheHeader, field_header_offset) as u32,
            offset => offset,
        };
        self.pointer = Some((from, pointer));
        self.bytes.extend(&block);
        let fields = Fields::read_from(&mut Shifted { bytes: &block, start: at }, at).map_err(|e| e.to_string())?;
        Ok(Some(fields))
    }

    /// Whether values of a field are stored. What a client has just asked for is wanted from then on, unless the
    /// configuration forbids it.
    fn wants(&mut self, fields: &Fields, number: u32, wait: Wait) -> bool {
        let Some(field) = fields.get(number) else { return false };
        if field.decision.stores() {
            return true;
        }
        let forced = field.decision.0 & Decision::FORCED != 0;
        if forced || wait == Wait::ForCommit {
            return false;
        }
        if let Some(offset) = fields.decision_offset(number)
            && !self.decisions.iter().any(|(there, _)| *there == offset)
        {
            self.decisions.push((offset, Decision::TEMP));
        }
        true
    }
}

/// Bytes that stand at `start` of a file.
struct Shifted<'a> {
    bytes: &'a [u8],
    start: u32,
}

impl crate::cache::Window for Shifted<'_> {
    type Error = std::convert::Infallible;
    fn read(&mut self, offset: u64, len: usize) -> std::result::Result<&[u8], Self::Error> {
        let at = offset.checked_sub(self.start.into());
        let from = at.and_then(|at| usize::try_from(at).ok()).unwrap_or(usize::MAX);
        let rest = self.bytes.get(from..).unwrap_or_default();
        Ok(rest.get(..len).unwrap_or(rest))
    }
}

/// Records first, then what makes them found.
fn write(cache: &OpenCache, plan: &Plan) -> mailfs::Result<()> {
    cache.handle.write_at(&plan.bytes, plan.start)?;
    for (offset, decision) in &plan.decisions {
        cache.handle.write_at(&[decision.0], *offset)?;
    }
    if let Some((offset, pointer)) = plan.pointer {
        cache.handle.write_at(&pointer, offset.into())?;
    }
    let mut counts = [0; 8];
    if cache.handle.read_at(&mut counts, COUNTS_OFFSET)? == counts.len() {
        let [continued, fresh] = *counts.as_chunks::<4>().0 else { return Ok(()) };
        let continued = u32::from_le_bytes(continued).saturating_add(plan.continued);
        let fresh = u32::from_le_bytes(fresh).saturating_add(plan.fresh);
        let counts = [continued.to_le_bytes(), fresh.to_le_bytes()].concat();
        cache.handle.write_at(&counts, COUNTS_OFFSET)?;
    }
    Ok(())
}

impl MailboxIndex {
    /// Remembers values that were computed for a client, until [`MailboxIndex::flush_fills`]. Of more than
    /// [`EnvOptions::cache_fill_len_max`](crate::engine::EnvOptions::cache_fill_len_max) bytes the oldest are dropped.
    pub fn queue_fill(&self, uid: Uid, values: CacheValues) {
        if values.is_empty() || self.env().is_read_only() {
            return;
        }
        let max = self.env().options().cache_fill_len_max;
        self.fills().push(uid, values, max);
    }

    /// Writes what was queued, if the locks are free; else drops it. To be called at a command's end.
    pub fn flush_fills(self: &Arc<Self>) -> Result<()> {
        let fills = self.fills().take();
        if self.is_deleted() {
            return Ok(());
        }
        self.write_uses();
        if fills.is_empty() {
            return Ok(());
        }
        let written = with_lock(self, Duration::ZERO, |locked| {
            let there: Vec<_> = fills.into_iter().filter(|(uid, _)| locked.state.contains(*uid)).collect();
            let Some(transaction) = store(locked, &there, Wait::IfFree) else { return Ok(false) };
            let before = locked.written();
            locked.add(&transaction)?;
            if let Err(e) = locked.write() {
                locked.cut_back(before);
                return Err(e);
            }
            Ok(locked.publish())
        });
        match written {
            Ok(changed) => {
                self.announce(changed);
                Ok(())
            }
            Err(crate::engine::IndexError::LockTimeout { .. }) => Ok(()),
            Err(e) => Err(e),
        }
    }
}
