//! What was found at a path, and is so as long as what is there looks the same.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use mailfs::Metadata;

/// Paths in one half of the notes; with the other half they are twice as many.
pub(super) const NOTED_MAX: usize = 8192;

/// How long a folder must have been at rest, that a later change gives it another time: times may be kept in whole seconds,
/// and changes of our own hide those of others in a Maildir for a second.
const REST: Duration = Duration::from_secs(3);

/// Whether a folder with this time is at rest.
pub(super) fn is_at_rest(modified: SystemTime, now: SystemTime) -> bool {
    now.duration_since(modified).is_ok_and(|age| age > REST)
}

/// A file or folder as it looks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Mark {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) len: u64,
    pub(super) modified: SystemTime,
    /// Who sets `modified` back, as programs that restore files do, does not set this.
    pub(super) changed: SystemTime,
}

impl Mark {
    pub(super) fn of(there: &Metadata) -> Self {
        let &Metadata { device, inode, len, modified, changed, .. } = there;
        Self { device, inode, len, modified, changed }
    }
}

/// Notes of one kind, kept with the `Env`: sessions come and go.
#[derive(Debug)]
pub(super) struct Noted<S, V>(Mutex<Halves<S, V>>);

/// What is asked for moves to the new half; when that is full, the old one is what was not asked for since.
#[derive(Debug)]
struct Halves<S, V> {
    new: HashMap<PathBuf, (S, V)>,
    old: HashMap<PathBuf, (S, V)>,
}

impl<S, V> Default for Noted<S, V> {
    fn default() -> Self {
        Self(Mutex::new(Halves { new: HashMap::new(), old: HashMap::new() }))
    }
}

impl<S: PartialEq, V: Clone> Noted<S, V> {
    fn halves(&self) -> MutexGuard<'_, Halves<S, V>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was noted of this path when it looked like this.
    pub(super) fn find(&self, path: &Path, stamp: &S) -> Option<V> {
        let mut halves = self.halves();
        if let Some((noted, value)) = halves.new.get(path) {
            return (noted == stamp).then(|| value.clone());
        }
        let (noted, value) = halves.old.remove(path)?;
        if noted != *stamp {
            return None;
        }
        halves.put(path, noted, value.clone());
        Some(value)
    }

    pub(super) fn note(&self, path: &Path, stamp: S, value: V) {
        self.halves().put(path, stamp, value);
    }

    /// How many there are in the new half.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.halves().new.len()
    }
}

impl<S, V> Halves<S, V> {
    fn put(&mut self, path: &Path, stamp: S, value: V) {
        if self.new.len() >= NOTED_MAX && !self.new.contains_key(path) {
            self.old = std::mem::take(&mut self.new);
        }
        self.new.insert(path.to_owned(), (stamp, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_asked_for_is_forgotten_and_the_rest_is_not() {
        let noted = Noted::default();
        for number in 0..5 * NOTED_MAX {
            noted.note(Path::new(&number.to_string()), 1, number);
            assert_eq!(noted.find(Path::new("0"), &1), Some(0));
        }
        let halves = noted.halves();
        assert!(halves.new.len() <= NOTED_MAX && halves.old.len() <= NOTED_MAX);
        drop(halves);
        assert_eq!((noted.find(Path::new("1"), &1), noted.find(Path::new("0"), &2)), (None, None));
    }
}
