//! Learning of changes of an mbox without looking.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use super::files::MboxFiles;
use crate::traits::{Freshness, Result, Wake, Watch};

/// What the watches in force have seen.
#[derive(Debug, Default)]
pub(super) struct Stir {
    stirred: AtomicBool,
    watches: AtomicU32,
}

impl Stir {
    /// The file is about to be looked at.
    pub(super) fn looks(&self) {
        self.stirred.store(false, Ordering::Release);
    }

    /// It was not looked at after all.
    pub(super) fn stir(&self) {
        self.stirred.store(true, Ordering::Release);
    }

    pub(super) fn freshness(&self) -> Freshness {
        let watched = self.watches.load(Ordering::Acquire) > 0;
        if watched && !self.stirred.load(Ordering::Acquire) { Freshness::Same } else { Freshness::Unknown }
    }
}

/// A watch of the folder that the mbox lies in.
pub(super) struct MboxWatch {
    stir: Arc<Stir>,
    _watch: Box<dyn mailfs::Watch>,
}

impl MboxWatch {
    pub(super) fn new(files: &MboxFiles, wake: &Wake) -> Result<Self> {
        let dir = files.path().parent().unwrap_or(files.path());
        let (stir, wake) = (Arc::clone(&files.stir), Arc::clone(wake));
        let stirred = move || {
            stir.stir();
            wake();
        };
        let watch = files.fs().watch_dir(dir, Arc::new(stirred))?;
        // What came before the watch is not known.
        files.stir.stir();
        files.stir.watches.fetch_add(1, Ordering::AcqRel);
        Ok(Self { stir: Arc::clone(&files.stir), _watch: watch })
    }
}

impl Drop for MboxWatch {
    fn drop(&mut self) {
        self.stir.watches.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Watch for MboxWatch {}

impl fmt::Debug for MboxWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MboxWatch").finish_non_exhaustive()
    }
}
