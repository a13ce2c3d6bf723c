//! Rewriting the cache file without what nobody needs (`docs/formats/cache.md`, "Purging").

use std::sync::Arc;

use mailtypes::{Uid, UidSet};

use super::{
    OpenCache,
    decisions::{aged, first_recent, is_kept},
    window::FileWindow,
    writer,
};
use crate::{
    cache::{CacheError, Field, Fields, RawCacheHeader, encode_new_file, encode_record, read_values},
    engine::{
        MailboxIndex, Result,
        commit::{Locked, with_lock},
    },
    log::{Generation, Origin, Transaction},
    state::{ExtensionSpec, State},
};

/// Smaller files are left alone.
const FILE_LEN_MIN: u64 = 32 << 10;

/// A file of this length is purged whatever is in it: the limit is near.
const FILE_LEN_NEAR_MAX: u64 = 900 << 20;

/// Continued records, in percent of all, from which on it is due.
const CONTINUED_PERCENT: u64 = 200;

/// Records of expunged messages, in percent of all, from which on it is due.
const DELETED_PERCENT: u64 = 20;

/// More blocks of fields than this are too many to follow, however small the file.
const BLOCKS_MAX: usize = 4;

/// Bytes gathered before they are written.
const WRITE_LEN: usize = 1 << 20;

impl MailboxIndex {
    /// Rewrites the cache file if enough of it is of no use any more. Tells whether it did.
    pub fn purge_cache_if_due(self: &Arc<Self>) -> Result<bool> {
        let state = self.state();
        let Some(cache) = self.open_cache(&state) else { return Ok(false) };
        if !is_due(&cache, &state) {
            return Ok(false);
        }
        // Who asks for what is to count.
        self.write_uses();
        let purged = with_lock(self, self.env().options().cache_lock_timeout, purge)?;
        self.announce(purged.unwrap_or(false));
        Ok(purged.is_some())
    }
}

fn is_due(cache: &OpenCache, state: &State) -> bool {
    let mut window = FileWindow::new(Arc::clone(&cache.handle));
    let (Ok(header), Ok(len)) = (RawCacheHeader::read(&mut window), cache.handle.len()) else { return false };
    if Fields::count_blocks(&mut window, &header).is_ok_and(|count| count > BLOCKS_MAX) {
        return true;
    }
    if len < FILE_LEN_MIN {
        return false;
    }
    // The count of deleted records is only as good as all writers keep it; what lives is known.
    let live = state.records_from(0).filter(|record| record.cache_offset().is_some()).count() as u64;
    // Of a program that does not count them as deleted, they are among the others.
    let counted = u64::from(header.deleted_record_count.get());
    let records = (u64::from(header.record_count.get()) + counted).max(live);
    let deleted = records.saturating_sub(live).max(counted);
    let continued = u64::from(header.continued_record_count.get());
    len >= FILE_LEN_NEAR_MAX
        || continued * 100 >= records.max(1) * CONTINUED_PERCENT
        || deleted * 100 >= records.max(1) * DELETED_PERCENT
}

/// Messages of a state were expunged: their records are of no use any more. Best effort; where the count is too low, the
/// file is purged later.
pub(in crate::engine) fn count_deleted(index: &Arc<MailboxIndex>, state: &State, uids: &UidSet) {
    if index.env().is_read_only() {
        return;
    }
    let cached = |uid: &Uid| state.record_of(*uid).is_some_and(|record| record.cache_offset().is_some());
    let gone = u32::try_from(uids.iter().filter(cached).count()).unwrap_or(u32::MAX);
    if gone == 0 {
        return;
    }
    let Some(cache) = index.known_cache(state) else { return };
    match writer::lock(index, &cache, writer::Wait::IfFree) {
        Ok(Some(_lock)) => {}
        Ok(None) | Err(_) => return,
    }
    let counted = || -> mailfs::Result<()> {
        let mut counts = [0; 16];
        if cache.handle.read_at(&mut counts, RECORD_COUNT_OFFSET)? < counts.len() {
            return Ok(());
        }
        // record_count, used_file_size, deleted_record_count, and what is no count.
        let [records, _, deleted, _] = *counts.as_chunks::<4>().0 else { return Ok(()) };
        let records = u32::from_le_bytes(records).saturating_sub(gone);
        let deleted = u32::from_le_bytes(deleted).saturating_add(gone);
        cache.handle.write_at(&records.to_le_bytes(), RECORD_COUNT_OFFSET)?;
        cache.handle.write_at(&deleted.to_le_bytes(), DELETED_COUNT_OFFSET)
    };
    if let Err(e) = counted() {
        tracing::debug!("cache records not counted: {e}");
    }
}

/// `None` when it could not be done; else whether views see another state.
fn purge(locked: &mut Locked) -> Result<Option<bool>> {
    let index = Arc::clone(&locked.index);
    let rewritten = rewrite(&index, &locked.state);
    let (file_seq, offsets) = match rewritten {
        Ok(Some(rewritten)) => rewritten,
        Ok(None) => return Ok(None),
        Err(what) => {
            tracing::warn!(path = %index.paths.cache.display(), "cache not purged: {what}");
            return Ok(None);
        }
    };
    let mut transaction = Transaction::new();
    transaction.ext_reset(&ExtensionSpec::CACHE, file_seq, false, Origin::External);
    for (uid, offset) in offsets {
        let only = Generation::Only(file_seq);
        transaction.ext_record(&ExtensionSpec::CACHE, only, uid, &offset.to_le_bytes(), Origin::External);
    }
    let before = locked.written();
    locked.add(&transaction)?;
    if let Err(e) = locked.write() {
        locked.cut_back(before);
        return Err(e);
    }
    Ok(Some(locked.publish()))
}

type Rewritten = (u32, Vec<(Uid, u32)>);

/// Writes the new file and puts it in place; until the log says so it is of no use to anybody.
fn rewrite(index: &Arc<MailboxIndex>, state: &State) -> std::result::Result<Option<Rewritten>, String> {
    let (env, paths) = (index.env(), &index.paths);
    let fs = &**env.fs();
    let Some(old) = index.open_cache(state) else { return Ok(None) };
    let Some(_lock) = writer::lock(index, &old, writer::Wait::ForCommit)? else { return Ok(None) };
    if !old.is_at(fs, &paths.cache) {
        return Ok(None);
    }
    let old = old.refreshed()?;
    // The standard fields keep their places; of the others those that are wanted stay.
    let now = env.unix_time();
    let aged: Vec<Field> = old.fields.all().iter().map(|f| Field { decision: aged(f, now), ..f.clone() }).collect();
    let stays = |(number, field): (usize, &Field)| number < STANDARD_COUNT || field.decision.stores();
    let kept: Vec<usize> = aged.iter().enumerate().filter(|f| stays(*f)).map(|(number, _)| number).collect();
    let fields: Vec<Field> = kept.iter().filter_map(|n| aged.get(*n).cloned()).collect();
    let first_recent = first_recent(state);
    let file_seq = old.file_seq.saturating_add(1);
    let mut bytes = encode_new_file(state.index_id(), file_seq, &fields).map_err(|e| e.to_string())?;
    let new_fields = Fields::read_from(&mut &bytes[..], RawCacheHeader::SIZE as u32).map_err(|e| e.to_string())?;
    let temp = paths.temp("cache", env.random());
    let file = paths.create(fs, &temp).map_err(|e| e.to_string())?;
    let mut copy = || -> std::result::Result<Vec<(Uid, u32)>, String> {
        let (mut window, mut written) = (FileWindow::new(Arc::clone(&old.handle)), 0u64);
        let mut offsets = Vec::new();
        for record in state.records_from(0) {
            let Some(offset) = record.cache_offset() else { continue };
            let uid = record.uid();
            let stored = |n: u32| aged.get(n as usize).is_some_and(|f| is_kept(f.decision, uid, first_recent));
            let values = read_values(&mut window, &old.fields, offset, stored, None).map_err(|e| match e {
                CacheError::Read(e) => e.to_string(),
                CacheError::Damage(damage) => {
                    index.give_up_cache(old.file_seq, &damage);
                    damage.to_string()
                }
            })?;
            let renumbered = |number: u32| kept.binary_search(&(number as usize)).ok().map(|at| at as u32);
            let wanted: Vec<(u32, &[u8])> = values.iter().filter_map(|(n, v)| Some((renumbered(n)?, v))).collect();
            let Ok(encoded) = encode_record(&new_fields, 0, &wanted, writer::RECORD_LEN_MAX) else { continue };
            if wanted.is_empty() {
                continue;
            }
            let at = u32::try_from(written + bytes.len() as u64).map_err(|e| e.to_string())?;
            offsets.push((record.uid(), at));
            bytes.extend(encoded);
            if bytes.len() >= WRITE_LEN {
                file.write_at(&bytes, written).map_err(|e| e.to_string())?;
                written += bytes.len() as u64;
                bytes.clear();
            }
        }
        file.write_at(&bytes, written).map_err(|e| e.to_string())?;
        let count = (offsets.len() as u32).to_le_bytes();
        file.write_at(&count, RECORD_COUNT_OFFSET).map_err(|e| e.to_string())?;
        fs.rename(&temp, &paths.cache).map_err(|e| e.to_string())?;
        Ok(offsets)
    };
    let copied = copy();
    if copied.is_err() {
        let _ = fs.unlink(&temp);
    }
    copied.map(|offsets| Some((file_seq, offsets)))
}

/// Fields that every file begins with.
const STANDARD_COUNT: usize = 15;

/// Offset of `deleted_record_count` in the header.
const DELETED_COUNT_OFFSET: u64 = std::mem::offset_of!(RawCacheHeader, deleted_record_count) as u64;

/// Offset of `record_count` in the header.
const RECORD_COUNT_OFFSET: u64 = std::mem::offset_of!(RawCacheHeader, record_count) as u64;
