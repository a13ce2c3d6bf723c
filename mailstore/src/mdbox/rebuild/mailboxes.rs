//! What mailboxes' indexes say of the messages of the map, and telling them what has become of these.
//!
//! # Invariants
//!
//! 1. The map is locked: messages come to a mailbox and go from it under that lock alone. So a mailbox's log is locked only
//!    while it is appended to.
//! 2. What can be told by appending is told so: flags, keywords, UIDs and mod-sequences stay as they are, and sessions go
//!    on. Only an index that cannot be read is made anew, from what of it can.

use std::sync::Arc;

use mailfs::FileSystemExt;
use mailindex::{
    engine::{self, Exclusive, IndexError, LockFor, MailboxIndex, RebuildMessage, inspect, kept_state},
    log::{Generation, Origin, Transaction},
    state::{Deletion, ExtensionSpec, MdboxHeader, RawIndexHeader, RecordFlags, RecordRef, State},
};
use mailtypes::{Guid, MailboxName, Uid};

use super::{
    super::{
        Shared,
        files::{Mails, Referred},
        map_state::BodyPlace,
    },
    inventory::{At, Inventory},
};
use crate::{
    indexed::{PREFIX, from_index, new_guid, unix_now},
    mailbox_list::{MailboxDirs, next_uid_validity},
    traits::{Result, StorageError},
};

/// A message of a mailbox.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reference {
    uid: Uid,
    number: Option<Uid>,
    guid: Option<Guid>,
    /// Which of the messages that lie in files it is.
    is: Option<u32>,
}

/// A mailbox as it was read.
#[derive(Debug)]
pub(super) struct Read {
    name: MailboxName,
    dirs: MailboxDirs,
    /// Of which map its numbers are; 0: of any.
    map: u32,
    /// Dovecot's fsck has been here.
    is_marked: bool,
    references: Vec<Reference>,
}

/// A message that a mailbox is to get.
#[derive(Clone, Copy, Debug)]
pub(super) struct New {
    pub(super) number: Uid,
    pub(super) guid: Guid,
}

/// Reads a mailbox, making its index anew if need be; `None` where there is none.
pub(super) fn read(shared: &Arc<Shared>, name: &MailboxName, dirs: &MailboxDirs) -> Result<Option<Read>> {
    let Some(index) = open(shared, name, dirs)? else { return Ok(None) };
    let state = index.refresh().map_err(|e| from_index(name, &e))?;
    Ok(Read::of(name, dirs, &state))
}

/// The same, and nothing is changed: what cannot be read is passed over.
pub(super) fn read_as_it_is(shared: &Arc<Shared>, name: &MailboxName, dirs: &MailboxDirs) -> Result<Option<Read>> {
    let store = Arc::new(Mails::new(shared, dirs, None));
    let state = MailboxIndex::open(&shared.env, &dirs.index, PREFIX, store).and_then(|index| index.refresh());
    match state {
        Ok(state) => Ok(Read::of(name, dirs, &state)),
        Err(IndexError::Fs(e)) => Err(e.into()),
        Err(e) => {
            tracing::warn!(mailbox = %name, "its messages are not looked for: {e}");
            Ok(None)
        }
    }
}

fn open(shared: &Arc<Shared>, name: &MailboxName, dirs: &MailboxDirs) -> Result<Option<Arc<MailboxIndex>>> {
    let failed = |e: IndexError| from_index(name, &e);
    let (env, store) = (&shared.env, || Arc::new(Mails::new(shared, dirs, None)));
    match MailboxIndex::open(env, &dirs.index, PREFIX, store()) {
        Ok(index) if was_lost(&index).map_err(failed)? => {
            drop(index);
            make_anew(shared, name, dirs)?;
        }
        Ok(index) => return Ok(Some(index)),
        Err(IndexError::NotFound { .. }) => {
            if !engine::restore_lost(env, &dirs.index, PREFIX).map_err(failed)? {
                return Ok(None);
            }
        }
        Err(IndexError::Deleted { .. }) => return Ok(None),
        Err(IndexError::NeedsRebuild { .. }) => make_anew(shared, name, dirs)?,
        Err(e) => return Err(failed(e)),
    }
    match MailboxIndex::open(env, &dirs.index, PREFIX, store()) {
        Ok(index) => Ok(Some(index)),
        Err(IndexError::Deleted { .. }) => Ok(None),
        Err(IndexError::NeedsRebuild { .. }) => {
            make_anew(shared, name, dirs)?;
            MailboxIndex::open(env, &dirs.index, PREFIX, store()).map(Some).map_err(failed)
        }
        Err(e) => Err(failed(e)),
    }
}

/// Whether the index is an empty one that somebody made where another was lost that is known by second names.
pub(in super::super) fn was_lost(index: &MailboxIndex) -> engine::Result<bool> {
    let is_empty = index.state().message_count() == 0 && index.state().next_uid() == Uid::MIN;
    Ok(is_empty && index.another_was_lost()?)
}

/// Makes an index anew from what can be read of it, or is known of it by second names.
fn make_anew(shared: &Arc<Shared>, name: &MailboxName, dirs: &MailboxDirs) -> Result<()> {
    let failed = |e: IndexError| from_index(name, &e);
    let there = inspect(&shared.env, &dirs.index, PREFIX).map_err(failed)?.state;
    let kept = kept_state(&shared.env, &dirs.index, PREFIX).map_err(failed)?;
    let known = further(there, kept);
    let messages: Vec<RebuildMessage> = known.iter().flat_map(|state| state.records_from(0)).map(of_record).collect();
    let mut more = Transaction::new();
    let (guid, validity) = known.as_ref().map_or((None, None), |state| (state.mdbox_header(), state.uid_validity()));
    if guid.is_none_or(|header| header.guid.is_zero()) {
        let header = MdboxHeader { guid: new_guid(shared.fs()), ..guid.unwrap_or_default() };
        more.ext_header(&ExtensionSpec::MDBOX_HDR, 0, &header.encode(), Origin::External);
    }
    if validity.is_none() {
        let validity = next_uid_validity(shared.fs(), &shared.control)?;
        more.header_update_before(RawIndexHeader::UID_VALIDITY, &validity.value().to_le_bytes());
    }
    engine::rebuild(&shared.env, &dirs.index, PREFIX, &messages, known.as_ref(), more).map_err(failed)?;
    tracing::warn!(mailbox = %name, messages = messages.len(), "the index was made anew from what could be read of it");
    Ok(())
}

fn of_record(record: RecordRef<'_>) -> RebuildMessage {
    RebuildMessage { uid: record.uid(), flags: RecordFlags::NONE }
}

/// Of two states that which goes further: of one index that which is behind the other in its log, though messages went
/// there; of two indexes that which has given more UIDs.
pub(in super::super) fn further(one: Option<State>, other: Option<State>) -> Option<State> {
    let knows_more = |other: &State, one: &State| {
        let given = |state: &State| (state.next_uid(), state.message_count());
        match one.index_id() == other.index_id() {
            true => other.position() > one.position(),
            false => given(other) > given(one),
        }
    };
    match (one, other) {
        (Some(one), Some(other)) if knows_more(&other, &one) => Some(other),
        (one, other) => one.or(other),
    }
}

impl Read {
    /// `None`: it is deleted.
    fn of(name: &MailboxName, dirs: &MailboxDirs, state: &State) -> Option<Self> {
        if state.deletion() == Deletion::Done {
            return None;
        }
        let references = state.records_from(0).map(|record| {
            let referred = Referred::of(state, &record);
            Reference { uid: record.uid(), number: referred.map_uid, guid: referred.guid, is: None }
        });
        let map = state.mdbox_header().map_or(0, |header| header.map_uid_validity);
        let (is_marked, references) = (has_fsck_mark(state), references.collect());
        Some(Self { name: name.clone(), dirs: dirs.clone(), map, is_marked, references })
    }

    /// Where the messages lie that its numbers mean, if these are that map's.
    pub(super) fn places<'a>(
        &'a self,
        map: u32,
        inventory: &'a Inventory,
    ) -> impl Iterator<Item = (Uid, BodyPlace)> + 'a {
        let references = self.references.iter().filter(move |_| self.trusts(map));
        references.filter_map(|reference| Some((reference.number?, inventory.stored.get(reference.is? as At)?.place)))
    }

    /// Of which map its numbers are, and how many there are.
    pub(super) fn map(&self) -> (u32, usize) {
        (self.map, self.references.len())
    }

    fn trusts(&self, map: u32) -> bool {
        self.map == 0 || self.map == map
    }

    /// Its numbers are not to be given to others. `map`: the UIDVALIDITY of the map.
    pub(super) fn note_numbers(&self, map: u32, inventory: &mut Inventory) {
        if self.trusts(map) {
            self.references.iter().filter_map(|reference| reference.number).for_each(|number| inventory.note(number));
        }
    }

    /// Finds its messages among those that lie in files.
    pub(super) fn find(&mut self, map: u32, inventory: &mut Inventory) {
        let trusts = self.trusts(map);
        for reference in &mut self.references {
            let number = reference.number.filter(|_| trusts);
            reference.is = inventory.find(number, reference.guid).map(|at| at as u32);
            reference.count(inventory);
        }
    }

    /// Once more, of those that were not found.
    pub(super) fn find_renamed(&mut self, map: u32, inventory: &mut Inventory) {
        if !self.trusts(map) {
            return;
        }
        for reference in self.references.iter_mut().filter(|reference| reference.is.is_none()) {
            let (Some(number), Some(guid)) = (reference.number, reference.guid) else { continue };
            reference.is = inventory.find_renamed(number, guid).map(|at| at as u32);
            reference.count(inventory);
        }
    }

    /// Sees to it that its messages have numbers, those that they have in it where that can be.
    pub(super) fn give_numbers(&self, map: u32, inventory: &mut Inventory) {
        let trusts = self.trusts(map);
        for reference in &self.references {
            if let Some(at) = reference.is {
                inventory.give_number(at as At, reference.number.filter(|_| trusts));
            }
        }
    }

    /// How many of its messages were not found.
    pub(super) fn lost(&self) -> usize {
        self.references.iter().filter(|reference| reference.is.is_none()).count()
    }

    /// Whether it has to be told anything.
    pub(super) fn is_right(&self, map: u32, inventory: &Inventory) -> bool {
        (self.map == map || self.references.is_empty() && self.map == 0)
            && !self.is_marked
            && self.references.iter().all(|reference| reference.is.is_some() && reference.is_right(inventory))
    }

    /// Tells it its messages' numbers, and which are nowhere, durably. `lost_go`: messages that are nowhere are taken out.
    pub(super) fn tell(&self, shared: &Arc<Shared>, map: u32, inventory: &Inventory, lost_go: bool) -> Result<()> {
        let Some(mut locked) = lock(shared, &self.name, &self.dirs)? else {
            return is_there(shared, &self.name, &self.dirs);
        };
        let mut transaction = Transaction::new();
        put_map(&mut transaction, locked.state(), map);
        if has_fsck_mark(locked.state()) {
            let flags = locked.state().header().flags.get() & !RawIndexHeader::FSCKED;
            transaction.header_update(RawIndexHeader::FLAGS, &flags.to_le_bytes());
        }
        let mut gone = Vec::new();
        for reference in &self.references {
            let Some(record) = locked.state().record_of(reference.uid) else { continue };
            match reference.is.and_then(|at| inventory.stored.get(at as At)?.number) {
                Some(_) if reference.is_right(inventory) => {}
                Some(number) => {
                    let saved = Referred::of(locked.state(), &record).saved;
                    put_place(&mut transaction, reference.uid, number, saved);
                }
                None if lost_go => gone.push((reference.uid, reference.guid.unwrap_or(Guid::ZERO))),
                None => {}
            }
        }
        transaction.expunge_done(gone);
        append(&mut locked, &self.name, &transaction)
    }
}

impl Reference {
    fn count(&self, inventory: &mut Inventory) {
        if let Some(stored) = self.is.and_then(|at| inventory.stored.get_mut(at as At)) {
            stored.refs = stored.refs.saturating_add(1);
        }
    }

    fn is_right(&self, inventory: &Inventory) -> bool {
        let number = self.is.and_then(|at| inventory.stored.get(at as At)?.number);
        number == self.number
    }
}

/// Adds messages to a mailbox, without flags, as if they had come now.
pub(super) fn add(
    shared: &Arc<Shared>,
    name: &MailboxName,
    dirs: &MailboxDirs,
    map: u32,
    messages: &[New],
) -> Result<()> {
    if open(shared, name, dirs)?.is_none() {
        super::super::index::make(shared, dirs, None)?;
    }
    let Some(mut locked) = lock(shared, name, dirs)? else { return is_there(shared, name, dirs) };
    let mut transaction = Transaction::new();
    put_map(&mut transaction, locked.state(), map);
    let now = unix_now(shared.fs());
    let mut uid = Some(locked.state().next_uid());
    for message in messages {
        let Some(this) = uid.filter(|uid| *uid <= Uid::MAX_ON_DISK) else { break };
        transaction.append(this, RecordFlags::NONE);
        put_place(&mut transaction, this, message.number, now);
        transaction.ext_record(&ExtensionSpec::GUID, Generation::Current, this, &message.guid.0, Origin::External);
        uid = this.successor();
    }
    append(&mut locked, name, &transaction)
}

fn lock(shared: &Arc<Shared>, name: &MailboxName, dirs: &MailboxDirs) -> Result<Option<Exclusive>> {
    let Some(index) = open(shared, name, dirs)? else { return Ok(None) };
    // The map is locked already.
    match index.lock_exclusively_for(shared.env.options().lock_timeout, true, LockFor::Flags) {
        Ok(locked) => Ok(Some(locked)),
        Err(IndexError::Deleted { .. } | IndexError::NotFound { .. }) => Ok(None),
        Err(e) => Err(from_index(name, &e)),
    }
}

/// Who could not be told anything is deleted; one whose folder is not where it was may be elsewhere, and has to be told.
fn is_there(shared: &Shared, name: &MailboxName, dirs: &MailboxDirs) -> Result<()> {
    match shared.fs().is_dir(&dirs.mail)? {
        true => Ok(()),
        false => Err(StorageError::Unavailable(format!("mailbox {name} went while the storage was rebuilt").into())),
    }
}

fn append(locked: &mut Exclusive, name: &MailboxName, transaction: &Transaction) -> Result<()> {
    let appended = locked.append(transaction).and_then(|()| locked.sync());
    if appended.is_err() {
        locked.take_back();
    }
    appended.map_err(|e| from_index(name, &e))?;
    locked.publish();
    Ok(())
}

/// Dovecot's fsck was here, and leaves it to the next to go over the messages.
pub(in super::super) fn has_fsck_mark(state: &State) -> bool {
    state.header().flags.get() & RawIndexHeader::FSCKED != 0
}

fn put_map(transaction: &mut Transaction, state: &State, map: u32) {
    let header = state.mdbox_header().unwrap_or_default();
    if header.map_uid_validity != map {
        let header = MdboxHeader { map_uid_validity: map, ..header };
        transaction.ext_header(&ExtensionSpec::MDBOX_HDR, 0, &header.encode(), Origin::External);
    }
}

fn put_place(transaction: &mut Transaction, uid: Uid, number: Uid, saved: u32) {
    let mut place = number.value().to_le_bytes().to_vec();
    place.extend(saved.to_le_bytes());
    transaction.ext_record(&ExtensionSpec::MDBOX, Generation::Current, uid, &place, Origin::External);
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mailfs::{FileSystem, sim::SimDisk};
    use mailindex::engine::{Background, Env, EnvOptions};

    use super::*;
    use crate::{
        Batch, MailStorage, SaveMeta,
        mdbox::{MdboxOptions, MdboxStorage},
    };

    /// What others did last is what counts, though there are fewer messages since.
    #[test]
    fn of_two_states_of_an_index_the_later_one_goes_further() {
        let fs: Arc<dyn FileSystem> = SimDisk::new().as_file_system();
        let env = Env::new(fs, EnvOptions { background: Background::Manual, ..EnvOptions::default() });
        let storage = MdboxStorage::create(&env, Path::new("/mail"), MdboxOptions::default()).unwrap();
        let inbox = storage.mailbox(&MailboxName::inbox()).unwrap();
        for _ in 0..3 {
            let mut save = inbox.begin_save(SaveMeta::default(), None).unwrap();
            save.write(b"Subject: x\r\n\r\nbody\r\n").unwrap();
            inbox
                .submit(Batch::new().save(save.finish().unwrap(), Default::default(), Vec::new()))
                .unwrap()
                .wait()
                .unwrap();
        }
        let state = || inspect(&env, Path::new("/mail/mailboxes/INBOX/dbox-Mails"), PREFIX).unwrap().state.unwrap();
        let before = state();
        inbox.submit(Batch::new().expunge(std::iter::once(Uid::MIN).collect())).unwrap().wait().unwrap();
        let after = state();
        for (one, other) in [(&before, &after), (&after, &before)] {
            let further = further(Some(one.clone()), Some(other.clone())).unwrap();
            assert_eq!(further.message_count(), 2);
        }
    }
}
