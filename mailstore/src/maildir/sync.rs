//! Bringing what anybody did to the files into the index (`docs/formats/maildir.md`, "Synchronising").
//!
//! # Invariants
//!
//! 1. Done under the UID list's lock and then the log's; UIDs are in the UID list before they are in the index.
//! 2. A message is taken for gone only when two readings of both folders have not found it: one reading may miss a file
//!    that is renamed meanwhile.
//! 3. Flags that the index has and a name has not yet been given (marked dirty) beat the name; else the name counts.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::SystemTime,
};

use mailindex::{
    engine::{self, CommitError, CommitOp, CommitOutcome, CommitPoint, OpError, completion},
    log::{FlagChange, KeywordAction, Origin},
    state::{RawIndexHeader, RecordFlags, RecordRef, State},
};
use mailtypes::{MailboxName, Uid, UidSet};

use super::{
    duplicates::resolve,
    files::{Known, Listed, MaildirFiles},
    name::{self, Letters, NameFlags},
    seen::{MAILDIR_EXT, Seen, SeenDir, SeenHeader},
    table::{Entry, Folder, Place},
    taken::name_taken_letters,
};
use crate::{
    indexed::{Indexed, from_commit, lost},
    traits::{Result, StorageError},
};

/// What a look at the folders' times tells.
#[derive(Clone, Copy, Debug, Default)]
struct Stale {
    new: bool,
    cur: bool,
}

/// A message that the UID list does not know.
struct Fresh {
    base: Vec<u8>,
    place: Place,
}

impl MaildirFiles {
    /// The times of both folders now; that a mailbox has no `cur` means that it is gone.
    pub(super) fn times(&self) -> mailfs::Result<Option<Seen>> {
        let fs = self.fs();
        let checked = fs.now();
        let Some(cur) = fs.metadata(&self.cur)? else { return Ok(None) };
        let new = fs.metadata(&self.new)?.map_or(SystemTime::UNIX_EPOCH, |new| new.modified);
        Ok(Some(Seen { new: SeenDir::new(new, checked), cur: SeenDir::new(cur.modified, checked) }))
    }

    fn stale(known: &mut Known, state: &State, now: &Seen, takes_recent: bool) -> Stale {
        if known.seen.is_none() && !has_dirty(state) {
            known.seen = SeenHeader::of(state).and_then(|header| header.seen());
        }
        let Some(seen) = known.seen else { return Stale { new: true, cur: true } };
        Stale {
            new: !seen.new.is_still(&now.new) || takes_recent && known.left_in_new != Some(false),
            cur: !seen.cur.is_still(&now.cur),
        }
    }

    /// See [`MessageFiles::look`](crate::indexed::MessageFiles::look).
    pub(super) fn look_for_changes(&self, mailbox: &Indexed, takes_recent: bool) -> Result<()> {
        self.stir.looks();
        let looked = self.look_once(mailbox, takes_recent);
        // What changes of our own may have hidden is still to be looked for.
        let hidden = self.known().seen.is_none_or(|seen| seen.cur.is_own());
        if looked.is_err() || hidden {
            self.stir.stir();
        }
        looked
    }

    fn look_once(&self, mailbox: &Indexed, takes_recent: bool) -> Result<()> {
        let Some(now) = self.times()? else { return Err(StorageError::Deleted(mailbox.name.clone())) };
        let stale = Self::stale(&mut self.known(), &mailbox.index.state(), &now, takes_recent);
        if !stale.new && !stale.cur {
            return Ok(());
        }
        let (completer, completion) = completion(&mailbox.index);
        let files = mailbox.index.store().and_then(|store| store.downcast::<Self>().ok());
        let Some(files) = files else { return Err(lost()) };
        let op = SyncOp { name: mailbox.name.clone(), files, takes_recent, completer: Some(completer) };
        mailbox.index.enqueue(Box::new(op));
        completion.wait().unwrap_or_else(|| Err(lost()))
    }

    /// Sees to it that the index knows all that the UID list does, so that the next UID is free in both.
    pub(super) fn catch_up(&self, at: &mut CommitPoint<'_>) -> std::result::Result<(), OpError> {
        let behind = {
            let mut known = self.known();
            self.load(&mut known)?;
            known.table().from(at.state().next_uid()).len()
        };
        if behind > 0 {
            self.sync(at, false, true)?;
        }
        let next_uid = self.known().table().next_uid();
        at.raise_next_uid(next_uid);
        Ok(())
    }

    /// One synchronisation; `forced`: whatever the times say.
    pub(super) fn sync(
        &self,
        at: &mut CommitPoint<'_>,
        takes_recent: bool,
        forced: bool,
    ) -> std::result::Result<(), OpError> {
        let mut known = self.known();
        self.load(&mut known)?;
        let Some(now) = self.times()? else { return Ok(()) };
        let mut stale = Self::stale(&mut known, at.state(), &now, takes_recent);
        let behind = !known.table().from(at.state().next_uid()).is_empty();
        if forced || behind || stale.cur {
            stale = Stale { new: true, cur: true };
        }
        if !stale.new {
            return Ok(());
        }
        let mut sync = Sync::new(self, &mut known, at.state(), stale.cur);
        sync.read_folders()?;
        sync.find_missing()?;
        sync.drop_second_names()?;
        let changes = sync.finish(takes_recent)?;
        self.record(&mut known, at, changes, now)
    }

    /// Puts it all into the UID list and the transaction.
    fn record(
        &self,
        known: &mut Known,
        at: &mut CommitPoint<'_>,
        mut changes: Changes,
        now: Seen,
    ) -> std::result::Result<(), OpError> {
        let state = at.state();
        if name_letters(known, state, &mut changes) {
            self.save_keywords(known)?;
        }
        if let Some(first) = changes.first_new {
            self.note_made_up(first);
        }
        if let Some((file, _)) = self.save_uidlist(known, state, changes.first_new)? {
            at.sync_file(&file);
        }
        if state.uid_validity().is_none()
            && let Some(uid_validity) = known.table().header.uid_validity
        {
            at.transaction().header_update_before(RawIndexHeader::UID_VALIDITY, &uid_validity.value().to_le_bytes());
        }
        for (uid, flags) in &changes.appended {
            at.transaction().append(*uid, flags.flags);
        }
        if !changes.appended.is_empty() {
            at.require_sync();
        }
        for (&(add, remove), uids) in &changes.flags {
            let change = FlagChange { add: RecordFlags(add), remove: RecordFlags(remove), count_modseq: false };
            at.transaction().flags(uids, change, Origin::External);
        }
        let actions = [(KeywordAction::Remove, &changes.letters_removed), (KeywordAction::Add, &changes.letters_added)];
        for (action, letters) in actions {
            for (letter, uids) in letters {
                if let Some(keyword) = known.keywords.name(*letter) {
                    at.transaction().keyword(action, keyword, uids, Origin::External);
                }
            }
        }
        if !changes.gone.is_empty() {
            at.transaction().expunge_done(changes.gone.iter().map(|uid| (uid, mailtypes::Guid::ZERO)));
        }
        if changes.all_clean && has_dirty(state) {
            let flags = state.header().flags.get() & !RawIndexHeader::HAVE_DIRTY;
            at.transaction().header_update(RawIndexHeader::FLAGS, &flags.to_le_bytes());
        }
        let next_uid = known.table().next_uid();
        let appended = changes.appended.last().and_then(|(uid, _)| uid.successor());
        if next_uid > appended.max(Some(state.next_uid())).unwrap_or(Uid::MIN) {
            at.transaction().header_update(RawIndexHeader::NEXT_UID, &next_uid.value().to_le_bytes());
        }
        at.raise_next_uid(next_uid);
        known.seen = Some(now);
        if changes.moved {
            self.changed_cur(known, Some(now.cur.modified));
        }
        known.left_in_new = Some(changes.left_in_new);
        let header = SeenHeader::new(&now, known.uidlist.as_ref());
        if SeenHeader::of(state).is_none_or(|old| header.is_worth_more_than(&old)) {
            at.transaction().ext_header(&MAILDIR_EXT, 0, &header.encode(), Origin::External);
        }
        Ok(())
    }
}

/// Letters that files carry and that have no keyword get one; tells whether any did.
fn name_letters(known: &mut Known, state: &State, changes: &mut Changes) -> bool {
    let before = known.keywords.letters();
    if changes.letters_added.keys().all(|letter| before.contains(*letter)) {
        return false;
    }
    name_taken_letters(known, state, None);
    for (letter, uids) in &mut changes.letters_added {
        known.keywords.invent(*letter);
        // Where it was given back, the messages have it.
        if !before.contains(*letter)
            && let Some(bit) = known.keywords.name(*letter).and_then(|name| state.keyword_bit(name.as_str().as_bytes()))
        {
            let has = |uid: &Uid| state.record_of(*uid).is_some_and(|record| record.keyword_bits().contains(bit));
            *uids = uids.iter().filter(|uid| !has(uid)).collect();
        }
    }
    changes.letters_added.retain(|_, uids| !uids.is_empty());
    true
}

/// What a synchronisation has found.
#[derive(Default)]
struct Changes {
    appended: Vec<(Uid, NameFlags)>,
    /// By the bits that are set and those that are removed.
    flags: BTreeMap<(u8, u8), UidSet>,
    letters_added: BTreeMap<usize, UidSet>,
    letters_removed: BTreeMap<usize, UidSet>,
    gone: UidSet,
    first_new: Option<Uid>,
    left_in_new: bool,
    /// Messages went from `new` to `cur`.
    moved: bool,
    /// No message is marked dirty any more.
    all_clean: bool,
}

/// A synchronisation on its way.
struct Sync<'a> {
    files: &'a MaildirFiles,
    known: &'a mut Known,
    state: &'a State,
    /// Both folders are read, not only `new`.
    whole: bool,
    fresh: Vec<Fresh>,
    fresh_bases: HashMap<Vec<u8>, usize>,
    /// Where messages were before that were found elsewhere.
    moved: HashMap<Uid, Place>,
    gone: UidSet,
    /// UIDs whose messages were expunged, and whose names other messages have now.
    reappeared: UidSet,
    /// Messages that were seen in `new`.
    in_new: Vec<Uid>,
}

impl<'a> Sync<'a> {
    fn new(files: &'a MaildirFiles, known: &'a mut Known, state: &'a State, whole: bool) -> Self {
        known.scan = known.scan.wrapping_add(1);
        if whole {
            known.table().mark_indexed(state.records_from(0).map(|record| record.uid()));
        }
        Self {
            files,
            known,
            state,
            whole,
            fresh: Vec::new(),
            fresh_bases: HashMap::new(),
            moved: HashMap::new(),
            gone: UidSet::new(),
            reappeared: UidSet::new(),
            in_new: Vec::new(),
        }
    }

    fn read_folders(&mut self) -> mailfs::Result<()> {
        let mut listed = Vec::new();
        self.files.list(Folder::New, &mut listed)?;
        if self.whole {
            self.files.list(Folder::Cur, &mut listed)?;
        }
        for file in listed {
            self.note(file)?;
        }
        if !self.whole && self.is_any_missing_from_new() {
            // It went to `cur`, or for good.
            self.whole = true;
            let uids = self.state.records_from(0).map(|record| record.uid());
            self.known.table().mark_indexed(uids);
            let mut listed = Vec::new();
            self.files.list(Folder::Cur, &mut listed)?;
            listed.into_iter().try_for_each(|file| self.note(file))?;
        }
        Ok(())
    }

    fn is_any_missing_from_new(&mut self) -> bool {
        let (scan, in_new) = (self.known.scan, std::mem::take(&mut self.known.in_new));
        let (table, state) = (self.known.table(), self.state);
        let is_missing = |uid: &Uid| table.get(*uid).is_some_and(|e| e.scan != scan && is_in(e, Folder::New));
        let any = in_new.iter().any(|uid| is_missing(uid) && state.contains(*uid));
        self.known.in_new = in_new;
        any
    }

    /// A file was listed.
    fn note(&mut self, file: Listed) -> mailfs::Result<()> {
        let (base, info) = name::split(&file.name);
        let (scan, next_uid) = (self.known.scan, self.state.next_uid());
        let place = || Place { folder: file.folder, info: info.into() };
        let Some(entry) = self.known.table().by_base_mut(base) else { return self.note_fresh(base.to_vec(), place()) };
        let indexed = if self.whole { entry.indexed } else { self.state.contains(entry.uid) };
        if entry.uid < next_uid && !indexed {
            // It was expunged, and somebody has put it back: that is another message.
            let uid = entry.uid;
            self.reappeared.insert(uid);
            return self.note_fresh(base.to_vec(), place());
        }
        let is_seen = entry.scan == scan;
        entry.scan = scan;
        if file.folder == Folder::New {
            self.in_new.push(entry.uid);
        }
        match &entry.place {
            Some(old) if old.folder == file.folder && *old.info == *info => Ok(()),
            None => {
                entry.place = Some(place());
                Ok(())
            }
            Some(old) => {
                // What was seen elsewhere before this scan, in a folder that it reads, has only moved.
                let unread = !self.whole && old.folder == Folder::Cur;
                let (uid, old, base) = (entry.uid, old.clone(), Arc::clone(&entry.base));
                self.note_moved(uid, &base, old, place(), is_seen || unread)
            }
        }
    }

    /// A message was found elsewhere than before; `twice`: its file may be there too.
    fn note_moved(&mut self, uid: Uid, base: &[u8], old: Place, found: Place, twice: bool) -> mailfs::Result<()> {
        let place = match self.moved.get(&uid) {
            _ if !twice => found,
            // Of two files the one is the message that was there before.
            Some(before) if *before == found => resolve(self.files, base, &found, &old)?.unwrap_or(found),
            _ => match resolve(self.files, base, &old, &found)? {
                Some(place) => place,
                None => return Ok(()),
            },
        };
        if let Some(entry) = self.known.table().get_mut(uid) {
            entry.place = Some(place);
            self.moved.entry(uid).or_insert(old);
        }
        Ok(())
    }

    fn note_fresh(&mut self, base: Vec<u8>, place: Place) -> mailfs::Result<()> {
        match self.fresh_bases.get(&base).and_then(|n| self.fresh.get_mut(*n)) {
            Some(other) if other.place != place => {
                if let Some(place) = resolve(self.files, &base, &other.place, &place)? {
                    other.place = place;
                }
            }
            Some(_) => {}
            None => {
                self.fresh_bases.insert(base.clone(), self.fresh.len());
                self.fresh.push(Fresh { base, place });
            }
        }
        Ok(())
    }

    /// Messages of the index that the scan has not seen.
    fn missing(&mut self) -> UidSet {
        let (scan, state) = (self.known.scan, self.state);
        let mut entries = self.known.table().iter().peekable();
        let is_missing = |uid: &Uid| {
            while entries.next_if(|entry| entry.uid < *uid).is_some() {}
            entries.next_if(|entry| entry.uid == *uid).is_none_or(|entry| entry.scan != scan)
        };
        state.records_from(0).map(|record| record.uid()).filter(is_missing).collect()
    }

    /// Invariant 2.
    fn find_missing(&mut self) -> mailfs::Result<()> {
        if !self.whole {
            return Ok(());
        }
        if !self.missing().is_empty() {
            let mut listed = Vec::new();
            self.files.list(Folder::New, &mut listed)?;
            self.files.list(Folder::Cur, &mut listed)?;
            let scan = self.known.scan;
            for file in listed {
                let (base, _) = name::split(&file.name);
                let table = self.known.table();
                let entry = table.uid_of(base).and_then(|uid| table.get(uid));
                if entry.is_some_and(|entry| entry.scan != scan) {
                    self.note(file)?;
                }
            }
            self.gone = self.missing();
            if !self.gone.is_empty() {
                tracing::debug!(dir = %self.files.dirs.mail.display(), uids = %self.gone, "files of messages are gone");
            }
            for uid in self.gone.iter() {
                if let Some(entry) = self.known.table().get_mut(uid) {
                    entry.place = None;
                }
            }
        }
        Ok(())
    }

    /// Files that are messages which are known are no new ones.
    fn drop_second_names(&mut self) -> mailfs::Result<()> {
        if self.fresh.is_empty() {
            return Ok(());
        }
        let sized = self.files.sized(self.known, self.fresh.iter().map(|file| &*file.base));
        for file in std::mem::take(&mut self.fresh) {
            if !self.files.is_second_name(self.known, (&file.base, &file.place), &sized)? {
                self.fresh.push(file);
            }
        }
        Ok(())
    }

    /// Gives new messages their UIDs, and compares the others with the index.
    fn finish(mut self, takes_recent: bool) -> mailfs::Result<Changes> {
        let mut changes = Changes { gone: std::mem::take(&mut self.gone), ..Changes::default() };
        self.give_uids(&mut changes);
        if takes_recent {
            changes.moved = self.move_to_cur();
        }
        let mut in_new = std::mem::take(&mut self.in_new);
        let table = self.known.table();
        in_new.retain(|uid| table.get(*uid).is_some_and(|entry| is_in(entry, Folder::New)));
        changes.left_in_new = !in_new.is_empty();
        let (scan, next_uid) = (self.known.scan, self.state.next_uid());
        let table = self.known.table();
        let new = table.from(next_uid).iter().filter(|entry| entry.scan == scan);
        let new: Vec<(Uid, NameFlags)> = new.map(|e| (e.uid, e.name_flags().unwrap_or_default())).collect();
        for (uid, flags) in new {
            changes.appended.push((uid, flags));
            flags.letters.iter().for_each(|letter| changes.letter(KeywordAction::Add, letter, uid));
            if let Some(entry) = table.get_mut(uid) {
                entry.synced = Some(flags);
            }
        }
        let differs = |e: &Entry| e.place.is_some() && e.synced != e.name_flags() && e.uid < next_uid;
        let differing: Vec<Uid> = if self.whole {
            table.iter().filter(|entry| differs(entry)).map(|entry| entry.uid).collect()
        } else {
            in_new.iter().chain(self.moved.keys()).copied().filter(|uid| table.get(*uid).is_some_and(differs)).collect()
        };
        self.known.in_new = in_new;
        for uid in differing {
            self.compare(uid, &mut changes);
        }
        changes.all_clean = self.whole && self.is_clean_after(&changes);
        Ok(changes)
    }

    fn is_clean_after(&self, changes: &Changes) -> bool {
        let cleaned = changes.flags.get(&(0, RecordFlags::DIRTY.0));
        let is_dirty = |record: &RecordRef<'_>| record.record_flags().contains(RecordFlags::DIRTY);
        let mut dirty = self.state.records_from(0).filter(is_dirty).map(|record| record.uid());
        has_dirty(self.state) && dirty.all(|uid| cleaned.is_some_and(|uids| uids.contains(uid)))
    }

    fn give_uids(&mut self, changes: &mut Changes) {
        let mut fresh = std::mem::take(&mut self.fresh);
        fresh.sort_by(|a, b| name::arrival_order(&a.base).cmp(&name::arrival_order(&b.base)));
        let (scan, state) = (self.known.scan, self.state);
        let table = self.known.table();
        if !self.reappeared.is_empty() {
            // Their lines must not stand beside the new ones.
            table.retain(|entry| !self.reappeared.contains(entry.uid));
            table.needs_rewrite = true;
        }
        let mut next = Some(table.next_uid().max(state.next_uid()));
        for Fresh { base, place } in fresh {
            let Some(uid) = next.filter(|uid| *uid <= Uid::MAX_ON_DISK) else {
                tracing::error!(dir = %self.files.dirs.mail.display(), "no UID is left");
                return;
            };
            if place.folder == Folder::New {
                self.in_new.push(uid);
            }
            tracing::debug!(dir = %self.files.dirs.mail.display(), %uid, base = %base.escape_ascii(), "a new file");
            table.push(uid, &base, b"", place, scan);
            changes.first_new.get_or_insert(uid);
            next = uid.successor();
        }
    }

    /// A session that takes the recent messages has them moved; tells whether there were any.
    fn move_to_cur(&mut self) -> bool {
        let table = self.known.table();
        let mut any = false;
        for uid in &self.in_new {
            let Some(entry) = table.get_mut(*uid) else { continue };
            let Some(place) = entry.place.clone().filter(|place| place.folder == Folder::New) else { continue };
            any = true;
            let flags = name::flags_of(&place.info);
            let to = Place { folder: Folder::Cur, info: name::with_flags(&place.info, flags).into() };
            let (from_path, to_path) = (self.files.path(&entry.base, &place), self.files.path(&entry.base, &to));
            match self.files.fs().rename_new(&from_path, &to_path) {
                Ok(()) => entry.place = Some(to),
                // Somebody else moves it, or it is there twice: the next synchronisation sees.
                Err(e) if e.is_not_found() || e.is_already_exists() => {}
                Err(e) => tracing::warn!("a new message stays where it is: {e}"),
            }
        }
        any
    }

    /// Compares what a name says with the index.
    fn compare(&mut self, uid: Uid, changes: &mut Changes) {
        let Some(record) = self.state.record_of(uid) else { return };
        let with_keyword = self.known.keywords.letters();
        let in_index = self.files.flags_in(self.known, self.state, &record);
        let Some(entry) = self.known.table().get_mut(uid) else { return };
        let Some(in_name) = entry.name_flags() else { return };
        entry.synced = Some(in_name);
        if record.record_flags().contains(RecordFlags::DIRTY) {
            if self.rename_dirty(uid, in_index) {
                changes.flag(RecordFlags::NONE, RecordFlags::DIRTY, uid);
            } else if let Some(entry) = self.known.table().get_mut(uid) {
                entry.synced = None;
            }
            return;
        }
        if in_name.flags != in_index.flags {
            let (add, remove) = (in_name.flags.without(in_index.flags), in_index.flags.without(in_name.flags));
            changes.flag(add.into(), remove.into(), uid);
        }
        if in_name.letters != in_index.letters {
            let Letters(name) = in_name.letters;
            let Letters(index) = in_index.letters;
            Letters(name & !index).iter().for_each(|letter| changes.letter(KeywordAction::Add, letter, uid));
            let removed = Letters(index & !name & with_keyword.0);
            removed.iter().for_each(|letter| changes.letter(KeywordAction::Remove, letter, uid));
        }
    }

    /// Tries again what was not possible before.
    fn rename_dirty(&mut self, uid: Uid, to: NameFlags) -> bool {
        let files = self.files;
        let Some(entry) = self.known.table().get_mut(uid) else { return false };
        match files.rename(entry, to) {
            Ok(()) => {
                entry.synced = entry.name_flags();
                true
            }
            Err(e) => {
                tracing::debug!("flags are still not written: {e}");
                false
            }
        }
    }
}

/// Whether some message's flags may not have been written to its name.
fn has_dirty(state: &State) -> bool {
    state.header().flags.get() & RawIndexHeader::HAVE_DIRTY != 0
}

fn is_in(entry: &Entry, folder: Folder) -> bool {
    entry.place.as_ref().is_some_and(|place| place.folder == folder)
}

impl Changes {
    fn flag(&mut self, add: RecordFlags, remove: RecordFlags, uid: Uid) {
        self.flags.entry((add.0, remove.0)).or_default().insert(uid);
    }

    fn letter(&mut self, action: KeywordAction, letter: usize, uid: Uid) {
        let letters = match action {
            KeywordAction::Add => &mut self.letters_added,
            KeywordAction::Remove => &mut self.letters_removed,
        };
        letters.entry(letter).or_default().insert(uid);
    }
}

/// A synchronisation as an operation of its own.
struct SyncOp {
    name: MailboxName,
    files: Arc<MaildirFiles>,
    takes_recent: bool,
    completer: Option<engine::Completer<Result<()>>>,
}

impl CommitOp for SyncOp {
    fn prepare(&mut self, at: &mut CommitPoint<'_>) -> std::result::Result<(), OpError> {
        self.files.sync(at, self.takes_recent, false)
    }

    fn undo(&mut self) {
        // What was noted is not what the index says.
        self.files.forget();
    }

    fn done(mut self: Box<Self>, outcome: std::result::Result<&CommitOutcome, Arc<CommitError>>) {
        if let Some(completer) = self.completer.take() {
            completer.complete(outcome.map(|_| ()).map_err(|e| from_commit(&self.name, &e)));
        }
    }
}
