//! The map made right from the files of messages and the mailboxes (`docs/formats/dbox.md`, Rebuild).
//!
//! The files say which messages there are. The map, as far as it can be read, says which numbers they have and which were
//! expunged; mailboxes say to which messages they refer, by number and by GUID. A message that no mailbox refers to, and
//! that was not expunged, goes into the mailbox that it was saved to first.
//!
//! # Invariants
//!
//! 1. All of it happens under the list's lock and the map's, and the map is marked, as Dovecot's fsck marks it, from before
//!    the first change until after the last: whoever finds the mark, after a crash too, does it all again. No message is added
//!    meanwhile, and no mailbox gets another name.
//! 2. A message keeps its number where the map or a mailbox has one that is right, so that most mailboxes need not be
//!    changed. No number that a mailbox has is given to another message.
//! 3. No body goes: what is damaged is put aside, and messages that are nowhere lose their records alone.
//! 4. Every folder that holds a mailbox is counted, once, whatever it is called. Where one cannot be read, or goes meanwhile,
//!    nothing is rebuilt.
//! 5. A message that lies in two places to the byte is one message: what nobody refers to of it stays out of the map, and its
//!    file is put aside.
//! 6. Doing it twice changes nothing the second time, also where the first was stopped.

mod files;
mod inventory;
mod mailboxes;
mod scan;
mod stand_in;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use mailfs::FileSystemExt;
use mailindex::engine::IndexError;
use mailtypes::{MailboxName, Uid};

use self::{
    files::{Looked, are_equal, look},
    inventory::{At, Inventory, Stored},
    mailboxes::{New, Read},
};
pub(super) use self::{
    mailboxes::{further, has_fsck_mark, was_lost},
    stand_in::stand_in,
};
use super::{
    Shared,
    going::{self, Going, Why},
    map::{LockedMap, MapResult},
    map_state::{FileId, MapChanges, MapRecord, MapState},
    rewrite::{Output, by_file, next_free, sync_dirs},
};
use crate::{
    indexed::unix_now,
    mailbox_list::{Format, Held, ListLock, MailboxDirs, alternate_away, create, find, held},
    traits::{Failure, Result, StorageError},
};

/// How often it is begun anew: a mailbox had to be made first, or somebody else was faster.
const TRIES_MAX: usize = 4;

/// Pause where somebody is adding to a file that is to be written anew.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Messages that one transaction of the map is about.
const CHANGES_MAX: usize = 500;

/// New files that are kept locked until the map knows them. None is added to before, so that this is but care.
const OUTPUTS_HELD_MAX: usize = 100;

/// What a rebuild came to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Rebuilt {
    /// Messages that mailboxes have.
    pub(super) messages: usize,
    /// Messages that no mailbox had, and one has now.
    pub(super) returned: usize,
    /// Records of mailboxes whose message is nowhere.
    pub(super) lost: usize,
    /// They were taken out of their mailboxes, for all that should be there was looked at.
    pub(super) lost_went: bool,
    /// Damaged files that were written anew.
    pub(super) files: usize,
    /// Whether anything had to be changed.
    pub(super) has_changed: bool,
}

/// Makes the map right. `asked`: also where the map itself says nothing of being damaged. Takes the list's lock and the
/// map's; to be called without either. Reads all files of messages but for large bodies,
/// and all mailboxes' indexes; holds some hundred bytes a message.
///
/// # Errors
/// What cannot be read or written keeps the store shut: what the map says of it is not to be relied on, and what cannot be
/// looked at may hold mailboxes or messages. The text says what it is, and that it has to be put right first.
pub(super) fn rebuild(shared: &Arc<Shared>, format: &dyn Format, asked: bool) -> Result<Rebuilt> {
    let told = |why: Failure| {
        let dir = shared.files.dir().display();
        let text = format!(
            "{dir}: the store is damaged, and stays shut until it can be rebuilt from its files of messages, which fails: \
             {why}. Nothing was removed; put this right (rights, disk, mount), and open the store again"
        );
        why.saying(text)
    };
    try_rebuild(shared, format, asked).map_err(|e| match e {
        StorageError::Io(why) => StorageError::Io(told(why)),
        StorageError::NoSpace(why) => StorageError::NoSpace(told(why)),
        other => other,
    })
}

fn try_rebuild(shared: &Arc<Shared>, format: &dyn Format, asked: bool) -> Result<Rebuilt> {
    let mut refused: Vec<MailboxName> = Vec::new();
    for tries in 1..=TRIES_MAX {
        let list = ListLock::take_for_folders(format)?;
        let Some(map) = lock_map(shared, asked)? else { return Ok(Rebuilt::default()) };
        // Where a folder cannot be looked into nothing is done: that is to be found out before all files are read.
        let folders = held(format)?;
        let mut work = Work::new(shared, format, map)?;
        work.read_files()?;
        if tries < TRIES_MAX && work.files.iter().any(Looked::is_to_wait_for) {
            // Whoever adds to it may be waiting for the map.
            drop((work, list));
            shared.fs().sleep(BUSY_PAUSE);
            continue;
        }
        if !work.read_mailboxes(folders)? {
            continue;
        }
        work.connect();
        let homes = work.homes(format, &refused)?;
        let missing: Vec<MailboxName> = homes.keys().filter(|name| !work.places.contains_key(name)).cloned().collect();
        if missing.is_empty() {
            let rebuilt = work.write(homes)?;
            if rebuilt.has_changed {
                tracing::warn!(?rebuilt, "the storage was rebuilt");
            }
            return Ok(rebuilt);
        }
        // A mailbox is not made with the list and the map locked.
        drop((work, list));
        for name in missing {
            if let Err(e) = find(format, &name).map(|_| ()).or_else(|_| create(format, &name)) {
                if name.is_inbox() {
                    // There is no other place for them.
                    return Err(e);
                }
                tracing::warn!(mailbox = %name, "its messages go to INBOX: {e}");
                refused.push(name);
            }
        }
    }
    Err(StorageError::Unavailable("the mailboxes change faster than the storage can be rebuilt".into()))
}

/// Locks the map, making one first that is marked if none can be used. `None`: somebody else has just put it right.
fn lock_map(shared: &Shared, asked: bool) -> Result<Option<LockedMap>> {
    let timeout = shared.env.options().lock_timeout;
    for _ in 0..TRIES_MAX {
        match shared.map.lock_as_it_is(&shared.files, timeout, true) {
            Ok(map) if asked || map.state().has_fsck_mark() => return Ok(Some(map)),
            Ok(_) => return Ok(None),
            Err(IndexError::NeedsRebuild { damage, .. }) => {
                tracing::warn!("{damage}");
                shared.map.put_anew(&shared.files).of_map()?;
            }
            Err(e) => return Err(e).of_map(),
        }
    }
    Err(shared.map.lost("the map is damaged again and again".to_owned())).of_map()
}

struct Work {
    shared: Arc<Shared>,
    map: LockedMap,
    /// The map as it was.
    before: MapState,
    /// Its UIDVALIDITY, or what it is to be.
    validity: u32,
    inventory: Inventory,
    /// Mailboxes that are there, without a name among them.
    places: BTreeMap<MailboxName, MailboxDirs>,
    mailboxes: Vec<Read>,
    files: Vec<Looked>,
    /// All that should be there is: what is not found is nowhere.
    lost_go: bool,
}

impl Work {
    fn new(shared: &Arc<Shared>, format: &dyn Format, map: LockedMap) -> Result<Self> {
        let before = map.state();
        going::settle_noted(shared, &before)?;
        let away = alternate_away(shared.fs(), format.layout())?;
        if let Some(away) = &away {
            tracing::warn!(path = %away.path.display(), "messages that are not found stay where they are said to be: {}", away.what);
        }
        Ok(Self {
            shared: Arc::clone(shared),
            validity: before.uid_validity(),
            before,
            map,
            inventory: Inventory::default(),
            places: BTreeMap::new(),
            mailboxes: Vec::new(),
            files: Vec::new(),
            lost_go: away.is_none(),
        })
    }

    fn read_files(&mut self) -> Result<()> {
        let known = by_file(&self.before);
        for id in self.shared.files.ids()? {
            let records: &[MapRecord] = known.get(&id).map_or(&[], |records| records);
            self.files.extend(look(&self.shared, id, records, &mut self.inventory)?);
        }
        self.inventory.number(&self.before);
        Ok(())
    }

    /// `false`: a mailbox went from its place meanwhile, and may be at another one that was not looked at.
    fn read_mailboxes(&mut self, folders: Vec<Held>) -> Result<bool> {
        for held in folders {
            if !held.is_again {
                match mailboxes::read(&self.shared, &held.label(), &held.dirs)? {
                    Some(read) => self.mailboxes.push(read),
                    None if !self.shared.fs().is_dir(&held.dirs.mail)? => return Ok(false),
                    // Its index is lost; or it is deleted.
                    None => {}
                }
            }
            if let Some(name) = held.name {
                self.places.insert(name, held.dirs);
            }
        }
        if self.validity == 0 {
            self.validity = most_common_map(&self.mailboxes).unwrap_or_else(|| unix_now(self.shared.fs()).max(1));
        }
        Ok(true)
    }

    /// Finds out which message each record of a mailbox means, and gives all messages numbers.
    fn connect(&mut self) {
        let (map, inventory) = (self.validity, &mut self.inventory);
        self.mailboxes.iter().for_each(|mailbox| mailbox.note_numbers(map, inventory));
        self.mailboxes.iter_mut().for_each(|mailbox| mailbox.find(map, inventory));
        self.mailboxes.iter_mut().for_each(|mailbox| mailbox.find_renamed(map, inventory));
        self.mailboxes.iter().for_each(|mailbox| mailbox.give_numbers(map, inventory));
    }

    /// Messages that no mailbox has and that were not expunged, by the mailbox that they are to go to.
    fn homes(&mut self, format: &dyn Format, refused: &[MailboxName]) -> Result<BTreeMap<MailboxName, Vec<At>>> {
        let mut homes: BTreeMap<MailboxName, Vec<At>> = BTreeMap::new();
        for at in 0..self.inventory.stored.len() {
            let Some(stored) = self.inventory.stored.get(at).filter(|s| s.refs == 0 && s.counted != Some(0)) else {
                continue;
            };
            if let Some(is_double) = self.is_another(at)? {
                if is_double {
                    self.leave_out(at);
                }
                continue;
            }
            let home = stored.home.and_then(|home| self.inventory.homes.get(home as usize));
            let home = home.and_then(|home| format.layout().name_of(home)).filter(|name| !refused.contains(name));
            homes.entry(home.unwrap_or_else(MailboxName::inbox)).or_default().push(at);
        }
        Ok(homes)
    }

    /// Whether a message that nobody refers to is a second copy of one that somebody does, or that comes before it, or that
    /// was expunged; and whether it can be left out of the map, for the other one is no worse.
    fn is_another(&self, at: At) -> Result<Option<bool>> {
        let Some(stored) = self.inventory.stored.get(at).filter(|stored| !stored.guid.is_zero()) else {
            return Ok(None);
        };
        for other_at in self.inventory.of_guid(stored.guid).filter(|other_at| *other_at != at) {
            // One that a mailbox has made out to be another since is none.
            let other = self.inventory.stored.get(other_at).filter(|other| other.guid == stored.guid);
            let Some(other) = other else { continue };
            let was_expunged = other.counted == Some(0);
            let comes_before = (other.is_broken, other_at) < (stored.is_broken, at);
            // Of what the map counts itself the expunged one says nothing.
            let counts = other.refs > 0 || if was_expunged { stored.counted.is_none() } else { comes_before };
            if !counts {
                continue;
            }
            let is_in_map = stored.counted.is_some();
            if stored.is_broken || other.is_broken {
                return Ok(Some(!is_in_map && stored.is_broken && !other.is_broken));
            }
            if are_equal(&self.shared, stored, other)? {
                return Ok(Some(!is_in_map));
            }
        }
        Ok(None)
    }

    /// Leaves a second copy out of the map. Its file is to be written anew without it.
    fn leave_out(&mut self, at: At) {
        let Some(stored) = self.inventory.stored.get_mut(at) else { return };
        let is_it = |looked: &&mut Looked| looked.id == stored.place.file && looked.is_free;
        if let Some(looked) = self.files.iter_mut().find(is_it) {
            (stored.is_double, looked.is_damaged) = (true, true);
        }
    }

    fn write(mut self, homes: BTreeMap<MailboxName, Vec<At>>) -> Result<Rebuilt> {
        let mut rebuilt = Rebuilt {
            lost: self.mailboxes.iter().map(Read::lost).sum(),
            lost_went: self.lost_go,
            ..Rebuilt::default()
        };
        for at in homes.values().flatten() {
            if let Some(stored) = self.inventory.stored.get_mut(*at) {
                stored.refs = 1;
                if stored.guid.is_zero() {
                    stored.guid = crate::indexed::new_guid(self.shared.fs());
                }
                rebuilt.returned += 1;
            }
        }
        for at in 0..self.inventory.stored.len() {
            if self.inventory.stored.get(at).is_some_and(|stored| stored.is_double) {
                continue;
            }
            self.inventory
                .give_number(at, None)
                .ok_or_else(|| StorageError::Unavailable("the map has no numbers left".into()))?;
        }
        rebuilt.messages = self.inventory.stored.iter().filter(|stored| stored.refs > 0).count();
        for stored in self.inventory.stored.iter().filter(|stored| stored.is_broken) {
            let is_it = |looked: &&mut Looked| looked.id == stored.place.file && looked.is_free;
            self.files.iter_mut().find(is_it).into_iter().for_each(|looked| looked.is_damaged = true);
        }
        self.files.retain(|looked| looked.is_damaged && looked.is_free);
        let are_right = self.mailboxes.iter().all(|mailbox| mailbox.is_right(self.validity, &self.inventory));
        let is_right = are_right && homes.is_empty() && self.files.is_empty() && self.changes().is_empty();
        if is_right && !self.before.has_fsck_mark() {
            return Ok(rebuilt);
        }
        rebuilt.has_changed = true;
        self.mark()?;
        let (written, held) = self.write_files()?;
        rebuilt.files = written;
        self.map.tell(&self.changes()).of_map()?;
        drop(held);
        for mailbox in &self.mailboxes {
            if !mailbox.is_right(self.validity, &self.inventory) {
                mailbox.tell(&self.shared, self.validity, &self.inventory, self.lost_go)?;
            }
        }
        for (name, messages) in &homes {
            let stored = messages.iter().filter_map(|at| self.inventory.stored.get(*at));
            let new: Vec<New> = stored.filter_map(|s| Some(New { number: s.number?, guid: s.guid })).collect();
            if let Some(dirs) = self.places.get(name) {
                mailboxes::add(&self.shared, name, dirs, self.validity, &new)?;
            }
        }
        self.put_damaged_aside()?;
        self.unmark()?;
        Ok(rebuilt)
    }

    /// Says that the storage is being rebuilt, durably.
    fn mark(&mut self) -> Result<()> {
        let mut changes = MapChanges::new();
        changes.set_fsck_mark(&self.before, true);
        if self.before.uid_validity() == 0 {
            changes.set_uid_validity(self.validity);
        }
        self.map.tell(&[changes]).of_map()
    }

    /// The storage is as it should be, and what is open of the files is to be opened anew.
    fn unmark(&mut self) -> Result<()> {
        let mut changes = MapChanges::new();
        changes.set_fsck_mark(&self.before, false);
        changes.set_rebuild_count(self.before.rebuild_count().wrapping_add(1));
        self.map.tell(&[changes]).of_map()?;
        Ok(going::forget(self.shared.fs(), &self.shared.files)?)
    }

    /// Writes damaged files anew, and names the new ones, durably; tells how many. They are locked as long as what is given
    /// back is held.
    fn write_files(&mut self) -> Result<(usize, Vec<Output>)> {
        let shared = Arc::clone(&self.shared);
        if self.files.is_empty() {
            return Ok((0, Vec::new()));
        }
        let known = by_file(&self.before);
        let mut last = shared.files.ids()?.last().copied().unwrap_or(FileId(0)).max(self.before.highest_file());
        let mut all = Vec::with_capacity(self.files.len());
        for damaged in &self.files {
            let mut new = Vec::new();
            if self.inventory.of_file(damaged.id).iter().any(|stored| !stored.is_double) {
                last = next_free(&shared, last)?;
                new.push(last);
            }
            all.push(Going { why: Why::Damaged, old: vec![damaged.id], new });
        }
        going::note(&shared, &self.map.state(), &all)?;
        let (mut written, mut held) = (0, Vec::new());
        for (damaged, going) in self.files.iter().zip(&all) {
            let Some(id) = going.new.first() else { continue };
            let records: &[MapRecord] = known.get(&damaged.id).map_or(&[], |records| records);
            let mut output = damaged.write_anew(&shared, records, *id, &mut self.inventory)?;
            output.sync()?;
            output.name(&damaged.path_of(&shared, *id)?)?;
            written += 1;
            if held.len() < OUTPUTS_HELD_MAX {
                held.push(output);
            }
        }
        sync_dirs(&shared)?;
        Ok((written, held))
    }

    /// What the map is to be told; nothing where it says it all.
    fn changes(&self) -> Vec<MapChanges> {
        let mut telling = Telling::default();
        let highest = self.inventory.stored.iter().map(|s| s.moved.unwrap_or(s.place).file).max();
        if let Some(highest) = highest.filter(|highest| *highest > self.before.highest_file()) {
            telling.one().highest_file(highest);
        }
        let files: BTreeSet<FileId> = self.inventory.stored.iter().map(|stored| stored.place.file).collect();
        let mut gone = Vec::new();
        for record in self.before.records() {
            match self.inventory.of_number(record.uid).filter(|stored| stored.counted.is_some()) {
                Some(stored) => {
                    let place = stored.moved.unwrap_or(stored.place);
                    if place != record.place && (record.place.len != 0 || stored.moved.is_some()) {
                        telling.one().move_to(record.uid, place);
                    }
                    let more = i64::from(counted(stored.refs)) - i64::from(record.refs);
                    if let Some(more) = i32::try_from(more).ok().filter(|more| *more != 0) {
                        telling.one().count(record.uid, more);
                    }
                }
                None if self.lost_go || files.contains(&record.place.file) => gone.push(record.uid),
                None => {}
            }
        }
        for gone in gone.chunks(CHANGES_MAX) {
            telling.whole().remove(gone);
        }
        let mut added: Vec<(Uid, &Stored)> =
            self.inventory.stored.iter().filter(|s| s.counted.is_none()).filter_map(|s| Some((s.number?, s))).collect();
        added.sort_unstable_by_key(|(number, _)| *number);
        telling.whole();
        for (number, stored) in &added {
            telling.one().add(*number, stored.moved.unwrap_or(stored.place), counted(stored.refs));
        }
        let next =
            added.last().and_then(|(number, _)| number.successor()).unwrap_or(Uid::MIN).max(self.before.next_uid());
        if let Some(next) = self.inventory.next().filter(|known| *known > next) {
            telling.whole().set_next_uid(next);
        }
        telling.finish()
    }

    /// Fails where one has to stay: then the mark stays too.
    fn put_damaged_aside(&self) -> Result<()> {
        if self.files.is_empty() {
            return Ok(());
        }
        self.files.iter().try_for_each(|damaged| damaged.put_aside(&self.shared))?;
        sync_dirs(&self.shared)
    }
}

/// The map that most messages of mailboxes are of.
fn most_common_map(mailboxes: &[Read]) -> Option<u32> {
    let mut counts: BTreeMap<u32, usize> = BTreeMap::new();
    for (map, messages) in mailboxes.iter().map(Read::map).filter(|(map, _)| *map != 0) {
        *counts.entry(map).or_default() += messages;
    }
    counts.into_iter().max_by_key(|(map, messages)| (*messages, *map)).map(|(map, _)| map)
}

/// A count as the map can hold it.
fn counted(refs: u32) -> u16 {
    u16::try_from(refs).unwrap_or(u16::MAX)
}

/// Changes, so many in each transaction that no kill tears its write.
#[derive(Default)]
struct Telling {
    done: Vec<MapChanges>,
    present: Option<(MapChanges, usize)>,
}

impl Telling {
    /// For one more change.
    fn one(&mut self) -> &mut MapChanges {
        if self.present.as_ref().is_some_and(|(_, count)| *count >= CHANGES_MAX) {
            self.end();
        }
        let (changes, count) = self.present.get_or_insert_with(|| (MapChanges::new(), 0));
        *count += 1;
        changes
    }

    /// For changes that fill a transaction, or come before all that follow.
    fn whole(&mut self) -> &mut MapChanges {
        self.end();
        &mut self.present.insert((MapChanges::new(), 0)).0
    }

    fn end(&mut self) {
        let present = self.present.take().map(|(changes, _)| changes);
        self.done.extend(present.filter(MapChanges::has_any));
    }

    fn finish(mut self) -> Vec<MapChanges> {
        self.end();
        self.done
    }
}
