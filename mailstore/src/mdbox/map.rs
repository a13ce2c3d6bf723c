//! The map's index: opened when it is needed, made where there is none and nothing that it would have to speak of.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use mailfs::{FileHandle, FileSystemExt};
use mailindex::{
    engine::{self, Damage, Env, Exclusive, IndexError, MailboxIndex, MessageStore, StoreError},
    log::Transaction,
    state::{RawIndexHeader, State},
};
use mailtypes::UidSet;

use super::{
    going,
    m_files::MFiles,
    map_state::{MapChanges, MapState},
    rebuild::further,
};
use crate::{
    indexed::unix_now,
    mailbox_list::Rights,
    storage_error::from_fs,
    traits::{Result, StorageError},
};

/// What the names of the map's files begin with.
pub(super) const PREFIX: &str = "dovecot.map.index";

/// The map's records stand for bodies, which go with the files they lie in.
struct Bodies;

impl MessageStore for Bodies {
    fn remove(&self, _: &State, _: &UidSet) -> std::result::Result<(), StoreError> {
        Ok(())
    }

    /// Mailboxes have numbers of it: of an older state others would be given out that they have.
    fn is_put_right_alone(&self) -> bool {
        false
    }

    fn index_is_sole_record(&self) -> bool {
        true
    }
}

/// The map of a store.
pub(crate) struct Map {
    env: Env,
    dir: PathBuf,
    index: Mutex<Option<Arc<MailboxIndex>>>,
    /// What is read from where the map is lost and nothing may be written.
    stand_in: Mutex<Option<State>>,
}

impl Map {
    /// Of a store whose map lies, or will lie, in this folder.
    pub(super) fn new(env: &Env, dir: PathBuf) -> Self {
        Self { env: env.clone(), dir, index: Mutex::default(), stand_in: Mutex::default() }
    }

    /// Where it lies.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Opens it; makes it if there is none and there are no files of messages either.
    pub(crate) fn open(&self, files: &MFiles) -> engine::Result<Arc<MailboxIndex>> {
        let mut slot = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(index) = slot.as_ref().filter(|index| !index.is_deleted()) {
            return Ok(Arc::clone(index));
        }
        let index = match MailboxIndex::open(&self.env, &self.dir, PREFIX, Arc::new(Bodies)) {
            Err(IndexError::NotFound { .. }) => self.make(files)?,
            other => other?,
        };
        if !self.env.is_read_only() && index.another_was_lost()? {
            // Somebody has rebuilt the storage since: numbers are others.
            engine::set_kept_aside(&self.env, &self.dir, PREFIX)?;
            index.keep_files_anew();
        }
        *slot = Some(Arc::clone(&index));
        Ok(index)
    }

    fn make(&self, files: &MFiles) -> engine::Result<Arc<MailboxIndex>> {
        let found = files.ids()?.len();
        if found > 0 {
            return Err(self.lost(format!("the map is not there, and {found} files of messages are")));
        }
        self.make_dirs(files)?;
        let fs = &**self.env.fs();
        let mut initial = Transaction::new();
        let validity = unix_now(fs).max(1);
        initial.header_update_before(RawIndexHeader::UID_VALIDITY, &validity.to_le_bytes());
        // Whatever stands behind the tail, Dovecot takes the map for damaged.
        initial.move_tail();
        MailboxIndex::create(&self.env, &self.dir, PREFIX, Arc::new(Bodies), &initial)
    }

    fn make_dirs(&self, files: &MFiles) -> engine::Result<()> {
        let fs = &**self.env.fs();
        for dir in [files.dir(), &*self.dir] {
            if let Some(parent) = dir.parent().filter(|_| !matches!(fs.is_dir(dir), Ok(true))) {
                Rights::of(fs, parent)?.create_dirs(fs, dir)?;
            }
        }
        Ok(())
    }

    /// The map as far as it is known; looks for what others changed only where nothing is known yet.
    pub(crate) fn state(&self, files: &MFiles) -> engine::Result<MapState> {
        self.or_stand_in(self.open(files).map(|index| index.state()))
    }

    /// The map with all that others changed.
    pub(crate) fn refresh(&self, files: &MFiles) -> engine::Result<MapState> {
        self.or_stand_in(match self.open(files).and_then(|index| index.refresh()) {
            // Another has taken its place, or none.
            Err(IndexError::NotFound { .. } | IndexError::Deleted { .. }) => {
                self.open(files).and_then(|index| index.refresh())
            }
            other => other,
        })
    }

    fn or_stand_in(&self, read: engine::Result<State>) -> engine::Result<MapState> {
        let stand_in = || self.stand_in.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match read {
            Err(lost @ IndexError::NeedsRebuild { .. }) => stand_in().ok_or(lost).map(MapState::new),
            other => other.map(MapState::new),
        }
    }

    /// This is read wherever the map is lost. For stores that are only read.
    pub(super) fn set_stand_in(&self, content: &MapChanges) -> engine::Result<()> {
        let state = engine::state_of(&self.dir, PREFIX, content.transaction())?;
        *self.stand_in.lock().unwrap_or_else(PoisonError::into_inner) = Some(state);
        Ok(())
    }

    /// The map as it is known by second names, if it is.
    pub(super) fn kept(&self) -> engine::Result<Option<MapState>> {
        Ok(engine::kept_state(&self.env, &self.dir, PREFIX)?.map(MapState::new))
    }

    /// Keeps everybody else from changing it. Fails where it has to be rebuilt first.
    pub(crate) fn lock(&self, files: &MFiles, timeout: Duration, ranked: bool) -> engine::Result<LockedMap> {
        let map = self.lock_as_it_is(files, timeout, ranked)?;
        if map.state().has_fsck_mark() {
            return Err(self.lost("the map is marked as damaged".to_owned()));
        }
        Ok(map)
    }

    /// The same for one who rebuilds it.
    pub(super) fn lock_as_it_is(&self, files: &MFiles, timeout: Duration, ranked: bool) -> engine::Result<LockedMap> {
        let index = self.open(files)?;
        let exclusive = index.lock_exclusively(timeout, ranked).map_err(|e| match e {
            // It is the map that is gone, not a mailbox.
            IndexError::NotFound { .. } | IndexError::Deleted { .. } => self.lost("the map is gone".to_owned()),
            other => other,
        })?;
        Ok(LockedMap { exclusive })
    }

    /// Marks it as damaged, durably: whoever opens the store next rebuilds it.
    pub(super) fn mark(&self, files: &MFiles, timeout: Duration) -> engine::Result<()> {
        let mut locked = self.lock_as_it_is(files, timeout, true)?;
        let state = locked.state();
        if !state.has_fsck_mark() {
            let mut changes = MapChanges::new();
            changes.set_fsck_mark(&state, true);
            locked.tell(&[changes])?;
        }
        Ok(())
    }

    /// Makes a map in the place of one that cannot be used, from what can be read of it or is known by second names, and
    /// marks it: it has to be rebuilt. Nothing, where it can be used after all.
    pub(super) fn put_anew(&self, files: &MFiles) -> engine::Result<()> {
        match MailboxIndex::open(&self.env, &self.dir, PREFIX, Arc::new(Bodies)) {
            Err(IndexError::NeedsRebuild { .. } | IndexError::NotFound { .. }) => {}
            other => return other.map(|_| ()),
        }
        let there = engine::inspect(&self.env, &self.dir, PREFIX)?.state;
        let known = further(there, engine::kept_state(&self.env, &self.dir, PREFIX)?);
        self.make_dirs(files)?;
        // What was noted was about the map that is gone.
        going::forget(&**self.env.fs(), files)?;
        let content = marked(known.as_ref());
        engine::replace(&self.env, &self.dir, PREFIX, known.as_ref(), content.transaction())?;
        Ok(())
    }

    /// Looks over its files after a crash, before anybody else does.
    pub(super) fn recover(&self) -> engine::Result<engine::Recovered> {
        engine::recover(&self.env, &self.dir, PREFIX, Arc::new(Bodies))
    }

    /// The map cannot be used, for this reason.
    pub(crate) fn lost(&self, what: String) -> IndexError {
        let damage = Damage { path: self.dir.join(format!("{PREFIX}.log")), offset: 0, what };
        IndexError::NeedsRebuild { dir: self.dir.clone(), damage }
    }
}

impl fmt::Debug for Map {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// A map as far as it is known, marked.
fn marked(known: Option<&State>) -> MapChanges {
    let known = MapState::new(known.cloned().unwrap_or_else(State::empty));
    let mut content = MapChanges::new();
    content.set_fsck_mark(&known, true);
    if known.uid_validity() != 0 {
        content.set_uid_validity(known.uid_validity());
    }
    content.highest_file(known.highest_file());
    content.set_rebuild_count(known.rebuild_count());
    known.records().for_each(|record| content.add(record.uid, record.place, record.refs));
    content.set_next_uid(known.next_uid());
    content
}

/// What is wrong with the map, as the storage traits tell it.
pub(super) fn from_map(error: IndexError) -> StorageError {
    let damaged = |Damage { path, offset, what }: Damage| StorageError::Corrupt {
        path,
        offset,
        what: format!(
            "{what}; the store has to be rebuilt from its files of messages, as it is when it is opened for writing, or by \
             `culver check --repair`"
        ),
    };
    match error {
        IndexError::NeedsRebuild { damage, .. } | IndexError::Corrupt(damage) => damaged(damage),
        IndexError::NotFound { dir } | IndexError::Deleted { dir } => {
            damaged(Damage { path: dir.join(format!("{PREFIX}.log")), offset: 0, what: "the map is gone".to_owned() })
        }
        IndexError::LockTimeout { .. } => StorageError::Unavailable((&error).into()),
        IndexError::Fs(e) => from_fs(&e),
        other => StorageError::Io((&other).into()),
    }
}

/// The map, and nobody else can change it.
#[derive(Debug)]
pub(crate) struct LockedMap {
    exclusive: Exclusive,
}

impl LockedMap {
    /// The map with all that was appended here.
    pub(crate) fn state(&self) -> MapState {
        MapState::new(self.exclusive.state().clone())
    }

    /// Appends; not synced. When that fails nothing of it is in force, and nothing more can be appended.
    pub(crate) fn append(&mut self, changes: &MapChanges) -> engine::Result<()> {
        self.exclusive.append(changes.transaction())
    }

    /// What has to be synced for it to be durable; the caller does so.
    pub(crate) fn file_to_sync(&mut self) -> FileHandle {
        self.exclusive.file_to_sync()
    }

    /// Appends, makes it durable, and lets readers of this process see it; all of it or nothing.
    pub(super) fn tell(&mut self, all: &[MapChanges]) -> engine::Result<()> {
        let told = all.iter().try_for_each(|changes| self.append(changes));
        let told = told.and_then(|()| Ok(self.file_to_sync().sync_data()?));
        match told {
            Ok(()) => self.publish(),
            // What could not be synced must not stay before what is appended next: it may never reach the disk.
            Err(_) => drop(self.take_back()),
        }
        told
    }

    /// Takes back all that was appended and not published; `false` when that failed and it may be in force.
    pub(crate) fn take_back(&mut self) -> bool {
        self.exclusive.take_back()
    }

    /// Lets readers of this process see it.
    pub(crate) fn publish(&mut self) {
        self.exclusive.publish();
    }
}

/// For callers that want the traits' errors.
pub(super) trait MapResult<T> {
    fn of_map(self) -> Result<T>;
}

impl<T> MapResult<T> for engine::Result<T> {
    fn of_map(self) -> Result<T> {
        self.map_err(from_map)
    }
}
