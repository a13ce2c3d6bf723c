//! Being told that a mailbox may have changed, by this process or another.
//!
//! # Invariants
//!
//! 1. `generation` grows whenever anything may have changed; a look at the disk that began at generation `g` and found
//!    nothing new makes `seen` at least `g`. So "generation = seen" means: nothing is known to be new.
//! 2. That holds only while the folder is watched; without a watch, freshness is unknown.

use std::{
    fmt,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use mailfs::{FileSystem, Wake};

/// Whether a view is up to date, as far as can be told without a system call.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Freshness {
    /// Nothing happened since.
    Same,
    /// There is something new.
    Changed,
    /// Nobody watches: only a refresh can tell.
    Unknown,
}

#[derive(Default)]
struct Listeners {
    next: u64,
    wakes: Vec<(u64, Wake)>,
    /// The folder's watch, while there is a listener.
    watch: Option<Box<dyn mailfs::Watch>>,
}

/// What a folder's watch and our own commits touch.
#[derive(Default)]
pub(super) struct Bell {
    generation: AtomicU64,
    seen: AtomicU64,
    listeners: Mutex<Listeners>,
}

/// A wake in force; dropping it ends it.
#[must_use = "dropping it ends the watch"]
pub struct IndexWatch {
    bell: Arc<Bell>,
    id: u64,
}

impl Bell {
    fn listeners(&self) -> MutexGuard<'_, Listeners> {
        self.listeners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something may have changed: wakes everybody.
    pub(super) fn ring(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.wake_all();
    }

    /// A commit or a refresh of this process has published something new: wakes everybody, but the disk holds nothing
    /// that was not looked at.
    pub(super) fn changed(&self) {
        self.wake_all();
    }

    fn wake_all(&self) {
        let wakes: Vec<Wake> = self.listeners().wakes.iter().map(|(_, wake)| Arc::clone(wake)).collect();
        for wake in wakes {
            wake();
        }
    }

    /// To be taken before looking at the disk, and given to [`Bell::looked`] after.
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn looked(&self, generation: u64) {
        self.seen.fetch_max(generation, Ordering::AcqRel);
    }

    /// Whether the disk may hold something that was not looked at; `None` when nobody watches.
    pub(super) fn may_have_changed(&self) -> Option<bool> {
        let watched = self.listeners().watch.is_some();
        watched.then(|| self.generation.load(Ordering::Acquire) != self.seen.load(Ordering::Acquire))
    }

    pub(super) fn listen(self: &Arc<Self>, fs: &dyn FileSystem, dir: &Path, wake: Wake) -> mailfs::Result<IndexWatch> {
        let mut listeners = self.listeners();
        if listeners.watch.is_none() {
            drop(listeners);
            let bell = Arc::downgrade(self);
            let ring: Wake = Arc::new(move || {
                if let Some(bell) = bell.upgrade() {
                    bell.ring();
                }
            });
            let watch = fs.watch_dir(dir, ring)?;
            listeners = self.listeners();
            // Before the watch began anything may have happened.
            self.generation.fetch_add(1, Ordering::AcqRel);
            let superfluous = listeners.watch.replace(watch);
            if superfluous.is_some() {
                drop(listeners);
                drop(superfluous);
                listeners = self.listeners();
            }
        }
        let id = listeners.next;
        listeners.next += 1;
        listeners.wakes.push((id, wake));
        Ok(IndexWatch { bell: Arc::clone(self), id })
    }
}

impl Drop for IndexWatch {
    fn drop(&mut self) {
        let mut listeners = self.bell.listeners();
        let at = listeners.wakes.iter().position(|(id, _)| *id == self.id);
        let wake = at.map(|at| listeners.wakes.swap_remove(at));
        let watch = if listeners.wakes.is_empty() { listeners.watch.take() } else { None };
        drop(listeners);
        drop((wake, watch)); // owners' code may run in here
    }
}

impl fmt::Debug for IndexWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IndexWatch").field("id", &self.id).finish_non_exhaustive()
    }
}
