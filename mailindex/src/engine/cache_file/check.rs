//! Going over what a state says is cached, without using it.

use std::{path::Path, sync::Arc};

use mailfs::{FileSystem, OpenMode};

use super::window::FileWindow;
use crate::{
    cache::{CacheError, Fields, RawCacheHeader, read_values},
    engine::{IndexError, Result},
    state::State,
};

/// What is wrong with a cache file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::engine) struct CacheFlaw {
    /// Where in it.
    pub(in crate::engine) offset: u64,
    pub(in crate::engine) what: String,
}

/// Reads every record that `state` speaks of. No file, or another one, is nothing wrong. Costs about one read of the
/// file.
pub(in crate::engine) fn check_cache(
    fs: &dyn FileSystem,
    path: &Path,
    state: &State,
) -> Result<std::result::Result<(), CacheFlaw>> {
    let Some(file_seq) = state.cache_file_seq() else { return Ok(Ok(())) };
    let handle = match fs.open(path, OpenMode::Read) {
        Err(e) if e.is_not_found() => return Ok(Ok(())),
        other => other?,
    };
    let mut window = FileWindow::new(Arc::clone(&handle));
    let header = match RawCacheHeader::read(&mut window) {
        Ok(header) => header,
        Err(e) => return flaw(e),
    };
    if header.indexid.get() != state.index_id() || header.file_seq.get() != file_seq {
        return Ok(Ok(()));
    }
    let fields = match Fields::read(&mut window, &header) {
        Ok(fields) => fields,
        Err(e) => return flaw(e),
    };
    for record in state.records_from(0) {
        let Some(offset) = record.cache_offset() else { continue };
        if let Err(e) = read_values(&mut window, &fields, offset, |_| false, None) {
            return flaw(e);
        }
    }
    Ok(Ok(()))
}

fn flaw(error: CacheError<mailfs::FsError>) -> Result<std::result::Result<(), CacheFlaw>> {
    match error {
        CacheError::Read(e) => Err(IndexError::Fs(e)),
        CacheError::Damage(damage) => Ok(Err(CacheFlaw { offset: u64::from(damage.offset), what: damage.to_string() })),
    }
}
