//! What the engine asks of the files under the log's lock.

use std::{
    any::Any,
    collections::BTreeMap,
    sync::{Arc, PoisonError, Weak},
    time::Duration,
};

use mailfs::{Dotlock, DotlockContent, DotlockOptions, LockOrder, LockRank, RankGuard};
use mailindex::{
    engine::{self, LockFor, MessageStore, StoreError, StoreLock},
    log::{FlagChange, KeywordAction, Origin, Transaction},
    state::{FlagRequest, RecordFlags, State},
};
use mailtypes::{Flags, Keyword, Uid, UidSet};

use super::{
    files::{Known, MaildirFiles},
    keywords::Keywords,
    name::{self, Letters, NameFlags},
    table::{Entry, Folder, Place},
    taken::Writing,
};

/// Longest wait for the UID list's lock.
const LOCK_TIMEOUT_MAX: Duration = Duration::from_secs(120);

/// A lock of the UID list that shows no life for so long is overridden.
const LOCK_STALE: Duration = Duration::from_secs(120);

/// How often one that is held shows life: those on other hosts cannot ask for the process.
const LOCK_TOUCH_INTERVAL: Duration = Duration::from_secs(10);

/// The UID list's lock, while somebody holds it.
#[derive(Debug)]
pub(super) struct Held {
    lock: Weak<Dotlock>,
    /// When it showed life last, on the monotonic clock.
    shown: Duration,
}

/// The UID list's lock, as the engine holds it.
#[derive(Debug)]
pub(super) struct UidListLock {
    /// Dropped first.
    _lock: Arc<Dotlock>,
    _rank: Option<RankGuard>,
}

impl StoreLock for UidListLock {}

impl MaildirFiles {
    /// Takes the UID list's lock; zero tries once.
    pub(super) fn lock_uidlist(&self, timeout: Duration, ranked: bool) -> mailfs::Result<UidListLock> {
        let rank = ranked.then(|| LockOrder::enter(LockRank::Uidlist));
        let options = DotlockOptions {
            timeout: timeout.min(LOCK_TIMEOUT_MAX),
            stale: LOCK_STALE,
            access: self.control_access()?,
            content: DotlockContent::Owner,
        };
        let lock = Arc::new(Dotlock::acquire(self.fs(), &self.uidlist_path(), options)?);
        let held = Held { lock: Arc::downgrade(&lock), shown: self.fs().monotonic() };
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(held);
        Ok(UidListLock { _lock: lock, _rank: rank })
    }

    /// Shows that the holder of the UID list's lock lives, where that is due; called for each message.
    pub(super) fn show_life(&self) {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.fs().monotonic();
        let due = held.as_mut().filter(|held| now.saturating_sub(held.shown) >= LOCK_TOUCH_INTERVAL);
        let Some((held, lock)) = due.and_then(|held| held.lock.upgrade().map(|lock| (held, lock))) else { return };
        held.shown = now;
        if let Err(e) = lock.touch() {
            tracing::debug!("the lock of the UID list shows no life: {e}");
        }
    }

    /// Gives a message's file the name that tells these flags. Nothing is done where it has it.
    pub(super) fn rename(&self, entry: &mut Entry, to: NameFlags) -> mailfs::Result<()> {
        let Some(place) = &entry.place else { return Ok(()) };
        let info = name::with_flags(&place.info, to);
        let in_new = place.folder == Folder::New;
        if *info == *place.info || in_new && name::flags_of(&place.info) == to {
            return Ok(());
        }
        let renamed = Place { folder: Folder::Cur, info: info.into() };
        self.fs().rename_new(&self.path(&entry.base, place), &self.path(&entry.base, &renamed))?;
        entry.place = Some(renamed);
        self.debt.owe();
        Ok(())
    }

    /// The keywords of these messages get letters, as long as there are any. Other messages that have such a keyword, from
    /// when it had no letter, are to be written too. Tells which messages that makes, and which letters are new.
    fn give_letters(
        &self,
        known: &mut Known,
        state: &State,
        uids: &UidSet,
        asked: &[(FlagRequest, UidSet)],
    ) -> mailfs::Result<(UidSet, Letters)> {
        let before = known.keywords.letters();
        let mut used: BTreeMap<u16, &Keyword> = BTreeMap::new();
        for record in crate::indexed::records(state, uids) {
            for bit in record.keyword_bits().iter() {
                if let Some(keyword) = state.keyword(bit).and_then(|name| name.keyword()) {
                    used.insert(bit, keyword);
                }
            }
        }
        used.retain(|_, keyword| known.keywords.letter(keyword).is_none());
        if !used.is_empty() {
            self.keep_taken_letters(known, state, Some(Writing { uids, asked }))?;
            used.retain(|_, keyword| known.keywords.letter(keyword).is_none());
        }
        let (mut all, mut given) = (uids.clone(), Letters::default());
        for (bit, keyword) in used {
            if let Some(letter) = known.keywords.add(keyword) {
                given.insert(letter);
                let having = state.records_from(0).filter(|record| record.keyword_bits().contains(bit));
                all = all.union(&having.map(|record| record.uid()).collect());
            }
        }
        if known.keywords.letters() != before {
            self.save_keywords(known)?;
        }
        Ok((all, given))
    }

    /// Gives one message's file the name that the index asks for. Where nothing that is asked speaks of a flag
    /// (`spoken`), and the name differs from the index in it, somebody else has changed it there: that counts beside
    /// what is asked, and is recorded. Tells whether the file was where it was seen last.
    fn write_one(
        &self,
        known: &mut Known,
        uid: Uid,
        asked: NameFlags,
        spoken: NameFlags,
        more: &mut Transaction,
    ) -> mailfs::Result<bool> {
        let mapped = known.keywords.letters().0;
        let Some(entry) = known.table().get_mut(uid) else { return Ok(true) };
        let (Some(found), Some(place)) = (entry.name_flags(), &entry.place) else { return Ok(true) };
        let set = found.flags.without(asked.flags).without(spoken.flags);
        let cleared = asked.flags.without(found.flags).without(spoken.flags);
        let letters_set = Letters(found.letters.0 & !asked.letters.0 & !spoken.letters.0 & mapped);
        // A letter may be younger than the keyword on this message, and never have been in its name.
        let had = entry.synced.map_or(u32::MAX, |synced| synced.letters.0);
        let letters_cleared = Letters(asked.letters.0 & !found.letters.0 & !spoken.letters.0 & had);
        // Letters that no keyword stands for are nobody's to take away.
        let letters = asked.letters.0 & !letters_cleared.0 | letters_set.0 | found.letters.0 & !mapped;
        let to = NameFlags { flags: asked.flags.without(cleared) | set, letters: Letters(letters) };
        let is_foreign = [set, cleared].iter().any(|flags| !flags.is_empty()) || letters_set.0 | letters_cleared.0 != 0;
        // No renaming tells that the name is old, and what others changed is nothing but what is not known yet.
        if (is_foreign || to == found) && self.fs().metadata(&self.path(&entry.base, place))?.is_none() {
            return Ok(false);
        }
        match self.rename(entry, to) {
            Err(e) if e.is_not_found() => return Ok(false),
            renamed => renamed?,
        }
        entry.synced = Some(to);
        let one: UidSet = std::iter::once(uid).collect();
        if to.flags != asked.flags {
            let change = FlagChange { add: set.into(), remove: cleared.into(), count_modseq: false };
            more.flags(&one, change, Origin::External);
        }
        for (letters, action) in [(letters_cleared, KeywordAction::Remove), (letters_set, KeywordAction::Add)] {
            let names = letters.iter().filter_map(|n| known.keywords.name(n));
            names.for_each(|keyword| more.keyword(action, keyword, &one, Origin::External));
        }
        Ok(true)
    }
}

/// The flags and letters that a request speaks of.
fn spoken_in(request: &FlagRequest, keywords: &Keywords) -> NameFlags {
    let mut spoken = NameFlags::default();
    match request {
        FlagRequest::Flags(bits) => spoken.flags = Flags::from_bits(*bits),
        FlagRequest::Keyword(name) => {
            let keyword = std::str::from_utf8(name).ok().and_then(|name| Keyword::new(name).ok());
            if let Some(letter) = keyword.and_then(|keyword| keywords.letter(&keyword)) {
                spoken.letters.insert(letter);
            }
        }
        FlagRequest::Keywords => spoken.letters = Letters::ALL,
        FlagRequest::All => spoken = NameFlags::ALL,
    }
    spoken
}

/// The name could not be changed: the index has the truth until it can.
fn mark_dirty(uid: Uid, error: &mailfs::FsError, more: &mut Transaction) {
    tracing::warn!(%uid, "flags could not be written: {error}");
    let one: UidSet = std::iter::once(uid).collect();
    let change = FlagChange { add: RecordFlags::DIRTY, remove: RecordFlags::NONE, count_modseq: false };
    more.flags(&one, change, Origin::External);
}

impl MessageStore for MaildirFiles {
    fn lock(&self, timeout: Duration, ranked: bool, _what_for: LockFor) -> engine::Result<Option<Box<dyn StoreLock>>> {
        Ok(Some(Box::new(self.lock_uidlist(timeout, ranked)?)))
    }

    fn keeps_flags(&self) -> bool {
        true
    }

    fn write_flags(
        &self,
        state: &State,
        asked: &[(FlagRequest, UidSet)],
        more: &mut Transaction,
    ) -> std::result::Result<(), StoreError> {
        let mut known = self.known();
        self.load(&mut known)?;
        let uids = asked.iter().fold(UidSet::new(), |all, (_, uids)| all.union(uids));
        let (uids, given) = self.give_letters(&mut known, state, &uids, asked)?;
        let spoken: Vec<(NameFlags, &UidSet)> =
            asked.iter().map(|(request, uids)| (spoken_in(request, &known.keywords), uids)).collect();
        let spoken_of = |uid| {
            let of_it = spoken.iter().filter(|(_, uids)| uids.contains(uid));
            of_it.fold(NameFlags { letters: given, ..NameFlags::default() }, |all, (spoken, _)| all.union(*spoken))
        };
        // Even where a name is right already, it may be another's change that is not durable.
        self.debt.owe();
        let unplaced = |known: &mut Known, uid| known.table().get(uid).is_some_and(|entry| entry.place.is_none());
        if uids.iter().any(|uid| unplaced(&mut known, uid)) {
            self.find_all(&mut known)?;
        }
        let before = self.cur_time();
        let mut todo = uids;
        for turn in 0..2 {
            let mut lost = UidSet::new();
            for record in crate::indexed::records(state, &todo) {
                let (uid, asked) = (record.uid(), self.flags_in(&known, state, &record));
                // What a name was not given yet, it cannot have lost.
                let dirty = record.record_flags().contains(RecordFlags::DIRTY);
                let spoken = if dirty { NameFlags::ALL } else { spoken_of(uid) };
                self.show_life();
                match self.write_one(&mut known, uid, asked, spoken, more) {
                    Ok(true) => {}
                    Ok(false) => lost.insert(uid),
                    Err(e) => {
                        mark_dirty(uid, &e, more);
                        if let Some(entry) = known.table().get_mut(uid) {
                            entry.synced = None;
                        }
                    }
                }
            }
            // Somebody has renamed or removed them.
            if lost.is_empty() || turn > 0 {
                break;
            }
            self.find_all(&mut known)?;
            todo = lost;
        }
        self.changed_cur(&mut known, before);
        Ok(())
    }

    /// Found again once if they were renamed; what is not there then is gone.
    fn remove(&self, _state: &State, uids: &UidSet) -> std::result::Result<(), StoreError> {
        let mut known = self.known();
        self.load(&mut known)?;
        let before = self.cur_time();
        let mut left: Vec<Uid> = uids.iter().collect();
        for turn in 0..2 {
            let unplaced = |known: &mut Known, uid: &Uid| known.table().get(*uid).is_some_and(|e| e.place.is_none());
            if turn > 0 || left.iter().any(|uid| unplaced(&mut known, uid)) {
                self.find_all(&mut known)?;
            }
            let mut lost = Vec::new();
            for uid in left {
                self.show_life();
                let Some(entry) = known.table().get_mut(uid) else { continue };
                let Some(place) = entry.place.take() else { continue };
                match self.fs().unlink(&self.path(&entry.base, &place)) {
                    Ok(()) => self.debt.owe(),
                    Err(e) if e.is_not_found() => lost.push(uid),
                    Err(e) => {
                        entry.place = Some(place);
                        return Err(e.into());
                    }
                }
            }
            left = lost;
            if left.is_empty() {
                break;
            }
        }
        self.changed_cur(&mut known, before);
        Ok(())
    }

    fn sync_names(&self) -> mailfs::Result<()> {
        self.debt.pay(|| {
            if !self.shared.syncs() {
                return Ok(());
            }
            self.fs().sync_dir(&self.cur)?;
            self.fs().sync_dir(&self.new)
        })
    }

    fn owes_names(&self) -> bool {
        self.debt.is_owed()
    }

    fn as_any(self: Arc<Self>) -> Option<Arc<dyn Any + Send + Sync>> {
        Some(self)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mailfs::sim::SimDisk;
    use mailindex::engine::{Background, Env, EnvOptions};

    use super::{super::Shared, *};
    use crate::{mailbox_list::MailboxDirs, maildir::MaildirOptions};

    #[test]
    fn a_lock_held_long_shows_life() {
        let options = EnvOptions { background: Background::Manual, ..EnvOptions::default() };
        let env = Env::new(SimDisk::new().as_file_system(), options);
        let root = Path::new("/mail");
        env.fs().create_dir(root, 0o700).unwrap();
        let dirs =
            MailboxDirs { mail: root.into(), control: root.into(), index: root.into(), alt: None, private: None };
        let shared = Arc::new(Shared::new(&env, root, MaildirOptions::default()));
        let files = MaildirFiles::new(&shared, &dirs);
        let changed = || env.fs().metadata(&root.join("dovecot-uidlist.lock")).unwrap().map(|lock| lock.modified);
        let lock = files.lock_uidlist(Duration::ZERO, false).unwrap();
        let taken = changed().unwrap();
        let after = |wait: u64| {
            env.fs().sleep(Duration::from_secs(wait));
            files.show_life();
            changed()
        };
        assert_eq!(after(9), Some(taken));
        assert!(after(2) > Some(taken));
        drop(lock);
        assert_eq!(after(20), None);
    }
}
