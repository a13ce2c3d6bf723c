//! Learning without looking of changes that other programs make in a mailbox's folders.
//!
//! # Invariants
//!
//! 1. [`Stir::looks`] comes before a look and [`Stir::stir`] after one that failed: a change that is not seen by a look is
//!    told by the next.
//! 2. Nothing counts as unchanged but while a watch is in force.

use std::{
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use mailfs::FileSystem;

use crate::traits::{Freshness, Result, Wake, Watch};

/// What the watches in force have seen.
#[derive(Debug, Default)]
pub(crate) struct Stir {
    stirred: AtomicBool,
    watches: AtomicU32,
}

impl Stir {
    /// The folders are about to be looked at.
    pub(crate) fn looks(&self) {
        self.stirred.store(false, Ordering::Release);
    }

    /// They were not looked at after all.
    pub(crate) fn stir(&self) {
        self.stirred.store(true, Ordering::Release);
    }

    pub(crate) fn freshness(&self) -> Freshness {
        let watched = self.watches.load(Ordering::Acquire) > 0;
        if watched && !self.stirred.load(Ordering::Acquire) { Freshness::Same } else { Freshness::Unknown }
    }
}

/// A watch of folders.
pub(crate) struct FolderWatch {
    stir: Arc<Stir>,
    _watches: Vec<Box<dyn mailfs::Watch>>,
}

impl FolderWatch {
    pub(crate) fn new(fs: &dyn FileSystem, dirs: &[&Path], stir: &Arc<Stir>, wake: &Wake) -> Result<Self> {
        let mut watches = Vec::with_capacity(dirs.len());
        for dir in dirs {
            let (stir, wake) = (Arc::clone(stir), Arc::clone(wake));
            let stirred = move || {
                stir.stir();
                wake();
            };
            watches.push(fs.watch_dir(dir, Arc::new(stirred))?);
        }
        // What came before the watch is not known.
        stir.stir();
        stir.watches.fetch_add(1, Ordering::AcqRel);
        Ok(Self { stir: Arc::clone(stir), _watches: watches })
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
