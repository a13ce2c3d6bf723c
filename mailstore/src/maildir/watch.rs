//! Learning of changes in `new` and `cur` without looking.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use super::files::MaildirFiles;
use crate::traits::{Freshness, Result, Wake, Watch};

/// What the watches in force have seen.
#[derive(Debug, Default)]
pub(super) struct Stir {
    stirred: AtomicBool,
    watches: AtomicU32,
}

impl Stir {
    /// The folders are about to be looked at.
    pub(super) fn looks(&self) {
        self.stirred.store(false, Ordering::Release);
    }

    /// They were not looked at after all.
    pub(super) fn stir(&self) {
        self.stirred.store(true, Ordering::Release);
    }

    pub(super) fn freshness(&self) -> Freshness {
        let watched = self.watches.load(Ordering::Acquire) > 0;
        if watched && !self.stirred.load(Ordering::Acquire) { Freshness::Same } else { Freshness::Unknown }
    }
}

/// A watch of both folders.
pub(super) struct FolderWatch {
    stir: Arc<Stir>,
    _watches: Vec<Box<dyn mailfs::Watch>>,
}

impl FolderWatch {
    pub(super) fn new(files: &MaildirFiles, wake: &Wake) -> Result<Self> {
        let mut watches = Vec::new();
        for dir in [&files.new, &files.cur] {
            let (stir, wake) = (Arc::clone(&files.stir), Arc::clone(wake));
            let stirred = move || {
                stir.stir();
                wake();
            };
            watches.push(files.fs().watch_dir(dir, Arc::new(stirred))?);
        }
        // What came before the watch is not known.
        files.stir.stir();
        files.stir.watches.fetch_add(1, Ordering::AcqRel);
        Ok(Self { stir: Arc::clone(&files.stir), _watches: watches })
    }
}

impl Drop for FolderWatch {
    fn drop(&mut self) {
        self.stir.watches.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Watch for FolderWatch {}

impl fmt::Debug for FolderWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FolderWatch").finish_non_exhaustive()
    }
}
