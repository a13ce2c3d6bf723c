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
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use mailfs::{FileSystem, Metadata};

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
        let (stir_too, wake) = (Arc::clone(stir), Arc::clone(wake));
        let stirred: Wake = Arc::new(move || {
            stir_too.stir();
            wake();
        });
        Ok(Self::in_force(stir, watch_all(fs, dirs, &stirred)?))
    }

    /// Watches one file, and the folder of the link that leads to it, if one does. What else happens in its folder, where
    /// others' mail may be and locks come and go, costs a `stat` and wakes nobody.
    pub(crate) fn of_file(fs: &Arc<dyn FileSystem>, path: &Path, stir: &Arc<Stir>, wake: &Wake) -> Result<Self> {
        let real = match fs.real_path(path) {
            Err(e) if e.is_not_found() => path.to_owned(),
            other => other?,
        };
        let mut dirs: Vec<&Path> = [path, &real].into_iter().filter_map(Path::parent).collect();
        dirs.dedup();
        let (fs_too, path, stir_too, wake) = (Arc::clone(fs), path.to_owned(), Arc::clone(stir), Arc::clone(wake));
        let last = Arc::new(Mutex::new(None));
        let known = Arc::clone(&last);
        let look = |m: Metadata| (m.device, m.inode, m.len, m.modified, m.changed);
        let stirred: Wake = Arc::new(move || {
            // What cannot be looked at may have changed.
            let now = fs_too.metadata(&path).ok().map(|there| there.map(look));
            let before = last.lock().unwrap_or_else(PoisonError::into_inner).replace(now);
            if now.is_none() || before != Some(now) {
                stir_too.stir();
                wake();
            }
        });
        let watches = watch_all(&**fs, &dirs, &stirred)?;
        // What comes from now on is another look of it.
        let now = fs.metadata(&real).ok().map(|there| there.map(look));
        *known.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
        Ok(Self::in_force(stir, watches))
    }

    fn in_force(stir: &Arc<Stir>, watches: Vec<Box<dyn mailfs::Watch>>) -> Self {
        // What came before the watch is not known.
        stir.stir();
        stir.watches.fetch_add(1, Ordering::AcqRel);
        Self { stir: Arc::clone(stir), _watches: watches }
    }
}

fn watch_all(fs: &dyn FileSystem, dirs: &[&Path], stirred: &Wake) -> Result<Vec<Box<dyn mailfs::Watch>>> {
    let watches: mailfs::Result<_> = dirs.iter().map(|dir| fs.watch_dir(dir, Arc::clone(stirred))).collect();
    Ok(watches?)
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

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use mailfs::RealDisk;

    use super::*;

    /// Of the folder that a file is in behind a link nothing else is told.
    #[test]
    fn a_file_is_watched_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let [links, spool] = ["links", "spool"].map(|name| dir.path().join(name));
        for folder in [&links, &spool] {
            std::fs::create_dir(folder).unwrap();
        }
        std::fs::write(spool.join("ann"), "").unwrap();
        let inbox = links.join("inbox");
        std::os::unix::fs::symlink(spool.join("ann"), &inbox).unwrap();
        let fs: Arc<dyn FileSystem> = Arc::new(RealDisk::new());
        let (stir, (tx, rx)) = (Arc::new(Stir::default()), channel());
        let seen = inbox.clone();
        let wake: Wake = Arc::new(move || {
            // A failing send is one after the test's end.
            let _ = tx.send(std::fs::metadata(&seen).map_or(0, |there| there.len()));
        });
        let watch = FolderWatch::of_file(&fs, &inbox, &stir, &wake).unwrap();
        assert_eq!(stir.freshness(), Freshness::Unknown);
        stir.looks();
        for name in ["bob", "ann.lock"] {
            std::fs::write(spool.join(name), "x").unwrap();
            std::fs::write(links.join(name), "x").unwrap();
        }
        std::fs::write(spool.join("ann"), "more").unwrap();
        let first = rx.recv().unwrap();
        assert_eq!(stir.freshness(), Freshness::Unknown);
        // Opening it cuts it, which may be seen first; nothing was told before that.
        assert!(first == 4 || rx.recv().unwrap() == 4);
        // One that takes its place is seen too.
        std::fs::write(spool.join("new"), "another").unwrap();
        std::fs::rename(spool.join("new"), spool.join("ann")).unwrap();
        while rx.recv().unwrap() != 7 {}
        drop(watch);
    }
}
