//! Users' stores, opened once and shared by all sessions of a user.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use mailstore::MailStorage;

use crate::UserName;

/// Opens users' stores. Calls may block: they are made on a pool's thread.
pub trait StorageProvider: Send + Sync + fmt::Debug {
    /// The user's mail; made if it is not there yet and the provider does that.
    fn storage_for(&self, user: &UserName) -> mailstore::Result<Arc<dyn MailStorage>>;
}

/// Keeps stores open: as long as somebody uses them, and the last used ones up to a limit beyond that, so that a
/// delivery opens nothing twice.
#[derive(Debug)]
pub struct OpenStorages<P> {
    provider: P,
    idle_max: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    storages: HashMap<UserName, (Arc<dyn MailStorage>, u64)>,
    clock: u64,
}

impl<P: StorageProvider> OpenStorages<P> {
    /// Keeps up to `idle_max` stores open that nobody uses (`Limits::open_storages_max`).
    pub fn new(provider: P, idle_max: usize) -> Self {
        Self { provider, idle_max, open: Mutex::default() }
    }

    fn find(&self, user: &UserName) -> Option<Arc<dyn MailStorage>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.clock += 1;
        let now = open.clock;
        let (storage, used) = open.storages.get_mut(user)?;
        *used = now;
        Some(Arc::clone(storage))
    }

    /// Keeps the store, unless another thread opened it meanwhile: then that one is used, so that a user has one.
    fn keep(&self, user: &UserName, opened: Arc<dyn MailStorage>) -> (Arc<dyn MailStorage>, Vec<Arc<dyn MailStorage>>) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.clock += 1;
        let now = open.clock;
        let entry = open.storages.entry(user.clone()).or_insert((opened, now));
        let storage = Arc::clone(&entry.0);
        let mut closed = Vec::new();
        if open.storages.len() > self.idle_max {
            // A quarter at once, so that this walk is rare.
            let mut idle: Vec<_> = open
                .storages
                .iter()
                .filter(|(_, (storage, _))| Arc::strong_count(storage) == 1)
                .map(|(name, (_, used))| (*used, name.clone()))
                .collect();
            idle.sort_unstable();
            let surplus = open.storages.len() - self.idle_max + self.idle_max / 4;
            for (_, name) in idle.into_iter().take(surplus) {
                closed.extend(open.storages.remove(&name).map(|(storage, _)| storage));
            }
        }
        (storage, closed)
    }
}

impl<P: StorageProvider> StorageProvider for OpenStorages<P> {
    fn storage_for(&self, user: &UserName) -> mailstore::Result<Arc<dyn MailStorage>> {
        if let Some(storage) = self.find(user) {
            return Ok(storage);
        }
        let opened = self.provider.storage_for(user)?;
        // What is closed may have files to close: not under the lock.
        let (storage, closed) = self.keep(user, opened);
        drop(closed);
        Ok(storage)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use mailstore::{ListPattern, Mailbox, MailboxInfo, Result};
    use mailtypes::MailboxName;

    use super::*;

    #[derive(Debug)]
    struct Empty;

    impl MailStorage for Empty {
        fn list(&self, _: &ListPattern) -> Result<Vec<MailboxInfo>> {
            Ok(Vec::new())
        }
        fn mailbox(&self, name: &MailboxName) -> Result<Arc<dyn Mailbox>> {
            Err(mailstore::StorageError::NotFound(name.clone()))
        }
        fn create(&self, _: &MailboxName) -> Result<()> {
            Ok(())
        }
        fn delete(&self, _: &MailboxName) -> Result<()> {
            Ok(())
        }
        fn rename(&self, _: &MailboxName, _: &MailboxName) -> Result<()> {
            Ok(())
        }
        fn subscribe(&self, _: &MailboxName) -> Result<()> {
            Ok(())
        }
        fn unsubscribe(&self, _: &MailboxName) -> Result<()> {
            Ok(())
        }
        fn subscriptions(&self) -> Result<Vec<MailboxName>> {
            Ok(Vec::new())
        }
    }

    #[derive(Debug, Default)]
    struct Counting(AtomicUsize);

    impl StorageProvider for Counting {
        fn storage_for(&self, _: &UserName) -> mailstore::Result<Arc<dyn MailStorage>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            Ok(Arc::new(Empty))
        }
    }

    #[test]
    fn opens_once_and_closes_only_what_nobody_uses() {
        let storages = OpenStorages::new(Counting::default(), 2);
        let user = |n: usize| UserName::new(&format!("user{n}")).unwrap();
        let held = storages.storage_for(&user(0)).unwrap();
        for _ in 0..3 {
            assert!(Arc::ptr_eq(&held, &storages.storage_for(&user(0)).unwrap()));
        }
        assert_eq!(storages.provider.0.load(Ordering::Relaxed), 1);
        for n in 1..20 {
            storages.storage_for(&user(n)).unwrap();
        }
        assert!(storages.open.lock().unwrap().storages.len() <= 3);
        assert!(Arc::ptr_eq(&held, &storages.storage_for(&user(0)).unwrap()), "one in use is never closed");
    }
}
