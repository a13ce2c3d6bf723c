//! Rewriting the cache file without what nobody needs (`docs/formats/cache.md`, "Purging").

use std::sync::Arc;

use mailtypes::Uid;

use super::{OpenCache, window::FileWindow, writer};
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
        let purged = with_lock(self, self.env().options().cache_lock_timeout, purge)?;
        self.announce(purged.unwrap_or(false));
        Ok(purged.is_some())
    }
}

fn is_due(cache: &OpenCache, state: &State) -> bool {
    let mut window = FileWindow::new(Arc::clone(&cache.handle));
    let (Ok(header), Ok(len)) = (RawCacheHeader::read(&mut window), cache.handle.len()) else { return false };
    if len < FILE_LEN_MIN {
        return false;
    }
    // The count of deleted records is only as good as all writers keep it; what lives is known.
    let live = state.records_from(0).filter(|record| record.cache_offset().is_some()).count() as u64;
    let records = u64::from(header.record_count.get());
    let deleted = records.saturating_sub(live).max(header.deleted_record_count.get().into());
    let continued = u64::from(header.continued_record_count.get());
    len >= FILE_LEN_NEAR_MAX
        || continued * 100 >= records.max(1) * CONTINUED_PERCENT
        || deleted * 100 >= records.max(1) * DELETED_PERCENT
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
    let stays = |(number, field): (usize, &Field)| number < STANDARD_COUNT || field.decision.stores();
    let kept: Vec<usize> =
        old.fields.all().iter().enumerate().filter(|f| stays(*f)).map(|(number, _)| number).collect();
    let fields: Vec<Field> = kept.iter().filter_map(|n| old.fields.get(*n as u32).cloned()).collect();
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
            let stored = |number: u32| old.fields.get(number).is_some_and(|field| field.decision.stores());
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

/// Offset of `record_count` in the header.
const RECORD_COUNT_OFFSET: u64 = std::mem::offset_of!(RawCacheHeader, record_count) as u64;
