//! The names of a storage's mailboxes, and its subscriptions.
//!
//! Only mailboxes are kept; a level that leads to one is there because the mailbox is.

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
};

use mailtypes::{Guid, MailboxName, UidValidity};

use super::state::State;
use crate::traits::{ListPattern, MailboxIdentity, MailboxInfo, Result, StorageError};

#[derive(Debug)]
pub(super) struct MailboxList {
    mailboxes: BTreeMap<MailboxName, Arc<State>>,
    subscriptions: Vec<MailboxName>,
    uid_validity_next: UidValidity,
    guids: GuidSource,
}

impl MailboxList {
    /// With an empty INBOX. UIDVALIDITYs count from `now`, so that they differ from those of an earlier process.
    pub(super) fn new(now: i64) -> Self {
        let uid_validity_next = u32::try_from(now).ok().and_then(UidValidity::new).unwrap_or(UidValidity::MIN);
        let mut list =
            Self { mailboxes: BTreeMap::new(), subscriptions: Vec::new(), uid_validity_next, guids: GuidSource::new() };
        list.insert(MailboxName::inbox());
        list
    }

    fn insert(&mut self, name: MailboxName) {
        let uid_validity = self.uid_validity_next;
        self.uid_validity_next = uid_validity.successor().unwrap_or(UidValidity::MIN);
        self.mailboxes.insert(name, Arc::new(State::new(self.guids.next(), uid_validity)));
    }

    /// See [`crate::MailStorage::replace`]; gives what was there.
    pub(super) fn replace(&mut self, name: &MailboxName, identity: &MailboxIdentity) -> Option<Arc<State>> {
        let MailboxIdentity { guid, uid_validity } = *identity;
        let next = uid_validity.successor().unwrap_or(UidValidity::MIN);
        self.uid_validity_next = self.uid_validity_next.max(next);
        self.mailboxes.insert(name.clone(), Arc::new(State::new(guid, uid_validity)))
    }

    pub(super) fn new_guid(&mut self) -> Guid {
        self.guids.next()
    }

    fn is_level(&self, name: &MailboxName) -> bool {
        self.mailboxes.keys().any(|other| other.is_below(name))
    }

    pub(super) fn find(&self, name: &MailboxName) -> Result<Arc<State>> {
        match self.mailboxes.get(name) {
            Some(state) => Ok(Arc::clone(state)),
            None if self.is_level(name) => Err(StorageError::NotSelectable(name.clone())),
            None => Err(StorageError::NotFound(name.clone())),
        }
    }

    pub(super) fn create(&mut self, name: &MailboxName) -> Result<()> {
        if self.mailboxes.contains_key(name) {
            return Err(StorageError::AlreadyExists(name.clone()));
        }
        self.insert(name.clone());
        Ok(())
    }

    pub(super) fn delete(&mut self, name: &MailboxName) -> Result<Arc<State>> {
        let state = self.find(name)?;
        self.mailboxes.remove(name);
        Ok(state)
    }

    pub(super) fn rename(&mut self, from: &MailboxName, to: &MailboxName) -> Result<()> {
        if !self.mailboxes.contains_key(from) && !self.is_level(from) {
            return Err(StorageError::NotFound(from.clone()));
        }
        if self.mailboxes.contains_key(to) || self.is_level(to) {
            return Err(StorageError::AlreadyExists(to.clone()));
        }
        if to.is_below(from) {
            return Err(StorageError::NotPossible("A mailbox cannot be moved below itself"));
        }
        let mut moves = Vec::new();
        for (old, state) in &self.mailboxes {
            if let Some(new) = old.rebased(from, to) {
                // Below a longer name a child's own may have become too long.
                let name = new.as_str().to_owned();
                let new = MailboxName::new(&name).map_err(|source| StorageError::InvalidName { name, source })?;
                moves.push((old.clone(), new, Arc::clone(state)));
            }
        }
        for (old, _, _) in &moves {
            self.mailboxes.remove(old);
        }
        self.mailboxes.extend(moves.into_iter().map(|(_, new, state)| (new, state)));
        Ok(())
    }

    pub(super) fn list(&self, pattern: &ListPattern) -> Vec<MailboxInfo> {
        let mut infos = BTreeMap::new();
        for name in self.mailboxes.keys() {
            let info = |name: &MailboxName| MailboxInfo { name: name.clone(), selectable: false, has_children: false };
            infos.entry(name.clone()).or_insert_with(|| info(name)).selectable = true;
            let mut level = name.parent();
            while let Some(name) = level {
                infos.entry(name.clone()).or_insert_with(|| info(&name)).has_children = true;
                level = name.parent();
            }
        }
        let inbox = infos.remove(&MailboxName::inbox());
        inbox.into_iter().chain(infos.into_values()).filter(|info| pattern.matches(&info.name)).collect()
    }

    pub(super) fn subscribe(&mut self, name: &MailboxName) {
        if !self.subscriptions.contains(name) {
            self.subscriptions.push(name.clone());
        }
    }

    pub(super) fn unsubscribe(&mut self, name: &MailboxName) {
        self.subscriptions.retain(|other| other != name);
    }

    pub(super) fn subscriptions(&self) -> &[MailboxName] {
        &self.subscriptions
    }
}

/// GUIDs that differ within a process by a count and between processes by chance.
#[derive(Debug)]
struct GuidSource {
    process: u64,
    count: u64,
}

impl GuidSource {
    fn new() -> Self {
        // The standard library seeds its hash maps from the system's randomness.
        Self { process: RandomState::new().build_hasher().finish(), count: 0 }
    }

    fn next(&mut self) -> Guid {
        self.count += 1;
        Guid((u128::from(self.process) << 64 | u128::from(self.count)).to_be_bytes())
    }
}
