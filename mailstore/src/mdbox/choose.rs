//! Which file the next message is added to (`docs/formats/dbox.md`, "Saving, in order").

use std::{collections::BTreeSet, path::PathBuf};

use mailfs::{FileHandle, FlockGuard, OpenMode};

use super::{
    Shared,
    m_files::read_header,
    map_state::{FileId, MapState},
};
use crate::{
    dbox::{DboxError, FileHeader, MessageHeader},
    indexed::unix_now,
};

/// Files looked at before a new one is made.
const FILES_TRIED_MAX: usize = 10;

/// Records gone over for that, from the newest on.
const RECORDS_SEEN_MAX: u32 = 10_000;

/// Seconds of a day, an hour, a minute, and one.
const UNITS: [u64; 4] = [86_400, 3600, 60, 1];

/// A file that messages are added to, locked.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) id: FileId,
    pub(super) path: PathBuf,
    pub(super) handle: FileHandle,
    pub(super) lock: FlockGuard,
    /// Where it ends.
    pub(super) end: u64,
}

/// A file that so many bytes more fit into, but for those in `tried`, to which all that are looked at are added; `None`
/// where a new one is to be made. The map is locked.
pub(super) fn choose(
    shared: &Shared,
    map: &MapState,
    len: u64,
    tried: &mut BTreeSet<FileId>,
) -> Result<Option<Target>, DboxError> {
    let count = map.len();
    for index in (count.saturating_sub(RECORDS_SEEN_MAX)..count).rev() {
        if tried.len() >= FILES_TRIED_MAX {
            break;
        }
        let Some(record) = map.record_at(index) else { continue };
        if !tried.insert(record.place.file) {
            continue;
        }
        // A message that goes to the file's end, however long, is the last one there.
        let Some(end) = record.place.end() else { continue };
        match open(shared, map, record.place.file, end, len) {
            Ok(Some(target)) => return Ok(Some(target)),
            Ok(None) => {}
            Err(DboxError::Fs(e)) if e.is_not_found() => {}
            Err(e @ DboxError::Damaged { .. }) => {
                tracing::warn!(path = %shared.files.path(record.place.file).display(), "nothing is added to it: {e}");
            }
            Err(e) => return Err(e),
        }
    }
    Ok(None)
}

/// The file, if it has room, is young enough, whole, and nobody else adds to it. `end`: that of the message in it that
/// was stored last.
fn open(shared: &Shared, map: &MapState, id: FileId, end: u64, len: u64) -> Result<Option<Target>, DboxError> {
    let is_full = |end: u64| end.saturating_add(len) >= shared.options.rotate_size;
    if is_full(end) {
        return Ok(None);
    }
    let path = shared.files.path(id);
    let handle = shared.fs().open(&path, OpenMode::ReadWrite)?;
    let Some(lock) = FlockGuard::try_take(&handle)? else { return Ok(None) };
    let header = read_header(&handle)?;
    let file_len = handle.len()?;
    if is_full(file_len) || !is_young(shared, header) || header.message_header_len as usize != MessageHeader::LEN {
        return Ok(None);
    }
    // A purge moves messages without giving them other numbers, so that another may be last.
    let last = || {
        map.records()
            .filter(|record| record.place.file == id)
            .try_fold(0, |last, record| record.place.end().map(|end| last.max(end)))
    };
    if end != file_len && last() != Some(file_len) {
        // Somebody was stopped while he added to it, or it is damaged.
        return Ok(None);
    }
    Ok(Some(Target { id, path, handle, lock, end: file_len }))
}

fn is_young(shared: &Shared, header: FileHeader) -> bool {
    let now = u64::from(unix_now(shared.fs()));
    u64::from(header.created) >= oldest_added_to(now, shared.options.rotate_interval.as_secs())
}

/// Files made before that time (Unix seconds) get no more messages. It is `interval` seconds before the end of the day, hour
/// or minute that is under way, of those the longest that the interval holds (`docs/formats/dbox.md`, "Saving, in order"). Days
/// are those of UTC. An interval of zero has no such time.
fn oldest_added_to(now: u64, interval: u64) -> u64 {
    let Some(unit) = UNITS.into_iter().find(|unit| *unit <= interval) else { return 0 };
    (now - now % unit + unit).saturating_sub(interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Dovecot 2.3.19 with `TZ=UTC`: of a second more and a second less one is added to, the other not.
    #[test]
    fn intervals_end_with_the_unit_that_they_hold() {
        const DAY: u64 = 1_795_305_600;
        let now = DAY + 23 * 3600 + 37 * 60 + 55;
        for (interval, before) in [
            (30, now - 29),
            (600, now - 55 - 9 * 60),
            (5400, DAY + 23 * 3600 - 1800),
            (2 * 3600, DAY + 22 * 3600),
            (3 * 3600, DAY + 21 * 3600),
            (2 * 86_400, DAY - 86_400),
            (0, 0),
        ] {
            assert_eq!(oldest_added_to(now, interval), before, "{interval}");
        }
    }
}
