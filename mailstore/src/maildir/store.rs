//! What the engine asks of the files under the log's lock.

use std::{
    any::Any,
    collections::BTreeMap,
    fmt,
    sync::{Arc, PoisonError, Weak, atomic::Ordering},
    time::Duration,
};

use mailfs::{Dotlock, DotlockContent, DotlockOptions, LockOrder, LockRank};
use mailindex::{
    engine::{MessageStore, StoreError},
    log::{FlagChange, KeywordAction, Origin, Transaction},
    state::{RecordFlags, State},
};
use mailtypes::{Keyword, Uid, UidSet};

use super::{
    files::{Known, MaildirFiles},
    name::{self, Letters, NameFlags},
    table::{Entry, Folder, Place},
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

impl MaildirFiles {
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
        self.owe_names();
        Ok(())
    }

    /// The keywords of these messages get letters, as long as there are any. Other messages that have such a keyword, from
    /// when it had no letter, are to be written too.
    fn give_letters(&self, known: &mut Known, state: &State, uids: &UidSet) -> mailfs::Result<UidSet> {
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
        let mut all = uids.clone();
        for (bit, keyword) in used {
            if known.keywords.add(keyword).is_some() {
                let having = state.records_from(0).filter(|record| record.keyword_bits().contains(bit));
                all = all.union(&having.map(|record| record.uid()).collect());
            }
        }
        if known.keywords.letters() != before {
            self.save_keywords(known)?;
        }
        Ok(all)
    }

    /// Gives one message's file the name that the index asks for. What somebody else has changed in the name meanwhile
    /// counts beside that, and is recorded.
    fn write_one(&self, known: &mut Known, uid: Uid, asked: NameFlags, more: &mut Transaction) -> mailfs::Result<()> {
        let mapped = known.keywords.letters().0;
        let Some(entry) = known.table().get_mut(uid) else { return Ok(()) };
        let Some(found) = entry.name_flags() else { return Ok(()) };
        let before = entry.synced.unwrap_or(found);
        let (set, cleared) = (found.flags.without(before.flags), before.flags.without(found.flags));
        let letters_set = Letters(found.letters.0 & !before.letters.0 & mapped);
        let letters_cleared = Letters(before.letters.0 & !found.letters.0);
        // Letters that no keyword stands for are nobody's to take away.
        let letters = asked.letters.0 & !letters_cleared.0 | letters_set.0 | found.letters.0 & !mapped;
        let to = NameFlags { flags: asked.flags.without(cleared) | set, letters: Letters(letters) };
        self.rename(entry, to)?;
        entry.synced = Some(to);
        let one: UidSet = std::iter::once(uid).collect();
        if to.flags != asked.flags {
            let change = FlagChange { add: set.into(), remove: cleared.into(), count_modseq: false };
            more.flags(&one, change, Origin::External);
        }
        let letters =
            [(letters_cleared, asked.letters, KeywordAction::Remove), (letters_set, to.letters, KeywordAction::Add)];
        for (letters, of, action) in letters {
            let names = letters.iter().filter(|n| of.contains(*n)).filter_map(|n| known.keywords.name(n));
            names.for_each(|keyword| more.keyword(action, keyword, &one, Origin::External));
        }
        Ok(())
    }
}

/// The name could not be changed: the index has the truth until it can.
fn mark_dirty(uid: Uid, error: &mailfs::FsError, more: &mut Transaction) {
    tracing::warn!(%uid, "flags could not be written: {error}");
    let one: UidSet = std::iter::once(uid).collect();
    let change = FlagChange { add: RecordFlags::DIRTY, remove: RecordFlags::NONE, count_modseq: false };
    more.flags(&one, change, Origin::External);
}

impl MessageStore for MaildirFiles {
    fn lock(&self, timeout: Duration, ranked: bool) -> mailfs::Result<Option<Box<dyn fmt::Debug>>> {
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
        Ok(Some(Box::new((lock, rank))))
    }

    fn keeps_flags(&self) -> bool {
        true
    }

    fn write_flags(&self, state: &State, uids: &UidSet, more: &mut Transaction) -> std::result::Result<(), StoreError> {
        let mut known = self.known();
        self.load(&mut known)?;
        let uids = self.give_letters(&mut known, state, uids)?;
        // Even where a name is right already, it may be another's change that is not durable.
        self.owe_names();
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
                self.show_life();
                match self.write_one(&mut known, uid, asked, more) {
                    Ok(()) => {}
                    Err(e) if e.is_not_found() => lost.insert(uid),
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
                    Ok(()) => self.owe_names(),
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
        if self.owes_names.swap(false, Ordering::AcqRel) && self.shared.syncs() {
            let synced = self.fs().sync_dir(&self.cur).and_then(|()| self.fs().sync_dir(&self.new));
            synced.inspect_err(|_| self.owe_names())?;
        }
        Ok(())
    }

    fn owes_names(&self) -> bool {
        self.owes_names.load(Ordering::Acquire)
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
        let dirs = MailboxDirs { mail: root.into(), control: root.into(), index: root.into() };
        let shared = Arc::new(Shared::new(&env, root, MaildirOptions::default()));
        let files = MaildirFiles::new(&shared, &dirs);
        let changed = || env.fs().metadata(&root.join("dovecot-uidlist.lock")).unwrap().map(|lock| lock.modified);
        let lock = files.lock(Duration::ZERO, false).unwrap();
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
