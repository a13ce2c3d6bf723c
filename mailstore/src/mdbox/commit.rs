//! The map's part in a commit of a mailbox: what is to be stored and counted is gathered while the operations are prepared,
//! and written in one go, bodies first.
//!
//! # Invariants
//!
//! 1. The map's log is appended to when the bodies are durable under their names; the mailbox's log when the map's is
//!    durable (the engine syncs it).
//! 2. Until the mailbox's log is appended to, all of it can be taken back: the map's log and the files are cut to where
//!    they ended, which nobody else can have moved.
//! 3. References are taken away when the mailbox's log is durable, and need not be durable themselves: what is lost of that
//!    is a count too high.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fmt, io,
    path::PathBuf,
    sync::Arc,
};

use mailfs::{FileHandle, FlockGuard, FsError};
use mailindex::{
    engine::{self, IndexError, StoreError, StoreLock},
    state::{ExtensionSpec, State},
};
use mailtypes::{Uid, UidSet};

use super::{
    Shared,
    choose::{Target, choose},
    draft::NewBody,
    map::LockedMap,
    map_state::{BodyPlace, FileId, MapChanges, MapRecord, MapState},
};
use crate::{
    dbox::{DboxError, FileHeader},
    indexed::{TempFile, unix_now},
};

/// References that one body can have; a further message with it gets a body of its own.
const REFS_MAX: u32 = 32768;

/// Messages that one transaction of the map is about, so that it is written by a write that no kill tears.
const CHANGES_MAX: usize = 500;

/// Bytes of bodies written at once.
const WRITE_LEN: usize = 1 << 20;

/// Names of files that are taken though the map does not know them, walked past.
const NAMES_TRIED_MAX: u32 = 10_000;

/// A file that was written to, locked.
struct Touched {
    id: FileId,
    path: PathBuf,
    handle: FileHandle,
    _lock: FlockGuard,
    end: u64,
    how: How,
}

/// What a file was before.
enum How {
    /// It ended here.
    Appended { end: u64 },
    /// There was none of this name yet.
    Temp(TempFile),
    /// Nor of this one, and all that it holds is durable: it was synced before any lock was taken.
    DurableTemp(TempFile),
    /// It has its name by now.
    Named,
}

/// See the module.
pub(super) struct MapCommit {
    shared: Arc<Shared>,
    map: LockedMap,
    before: MapState,
    new: Vec<(Uid, NewBody)>,
    /// Bodies that get another reference, in the order in which they were asked for.
    linked: Vec<Uid>,
    links: HashMap<Uid, u32>,
    mark: (usize, usize),
    touched: Vec<Touched>,
}

impl MapCommit {
    pub(super) fn new(shared: &Arc<Shared>, map: LockedMap) -> Self {
        let before = map.state();
        Self {
            shared: Arc::clone(shared),
            map,
            before,
            new: Vec::new(),
            linked: Vec::new(),
            links: HashMap::new(),
            mark: (0, 0),
            touched: Vec::new(),
        }
    }

    /// The map as it was when it was locked.
    pub(super) fn map(&self) -> &MapState {
        &self.before
    }

    /// Has a message stored, with one reference; tells its number in the map.
    pub(super) fn store(&mut self, body: NewBody) -> engine::Result<Uid> {
        let next = match self.new.last() {
            Some((last, _)) => last.successor(),
            None => Some(self.before.next_uid()),
        };
        let uid = next.filter(|uid| *uid <= Uid::MAX_ON_DISK);
        let uid = uid.ok_or_else(|| IndexError::UidsExhausted { dir: self.shared.map.dir().to_owned() })?;
        self.new.push((uid, body));
        Ok(uid)
    }

    /// Has another reference counted for a body; `false` where it has as many as can be.
    pub(super) fn link(&mut self, record: &MapRecord) -> bool {
        let more = self.links.entry(record.uid).or_default();
        if u32::from(record.refs) + *more >= REFS_MAX {
            return false;
        }
        *more += 1;
        self.linked.push(record.uid);
        true
    }

    /// Writes all bodies; tells where they lie.
    fn write_bodies(&mut self) -> Result<Vec<(Uid, BodyPlace)>, DboxError> {
        let mut places = Vec::with_capacity(self.new.len());
        let mut tried = BTreeSet::new();
        let mut file: Option<usize> = None;
        let mut run = Run::default();
        for (uid, body) in std::mem::take(&mut self.new) {
            let len = body.len();
            let body = match self.as_own_file(body)? {
                Err(body) => body,
                Ok(own) => {
                    places.push((uid, place(own.id, own.end - len, len)?));
                    self.touched.push(own);
                    continue;
                }
            };
            let fits = |touched: &Touched| touched.end.saturating_add(len) < self.shared.options.rotate_size;
            if !file.and_then(|at| self.touched.get(at)).is_some_and(fits) {
                run.write(file.and_then(|at| self.touched.get(at)))?;
                let touched = match choose(&self.shared, &self.before, len, &mut tried)? {
                    Some(target) => appended(target),
                    None => self.make_file()?,
                };
                file = Some(self.touched.len());
                self.touched.push(touched);
            }
            let Some(at) = file.and_then(|at| self.touched.get_mut(at)) else { continue };
            places.push((uid, place(at.id, at.end, len)?));
            run.add(at, &body)?;
        }
        run.write(file.and_then(|at| self.touched.get(at)))?;
        Ok(places)
    }

    /// A large message's own file becomes one of the store.
    fn as_own_file(&self, body: NewBody) -> Result<Result<Touched, NewBody>, DboxError> {
        match body {
            NewBody::Draft { draft, from, len } if self.shared.has_own_file(len) => match draft.into_temp() {
                Ok((temp, handle)) => {
                    let lock = locked(&handle, &temp)?;
                    let (path, end) = (temp.path().to_owned(), from + len);
                    Ok(Ok(Touched {
                        id: self.next_file()?,
                        path,
                        handle,
                        _lock: lock,
                        end,
                        how: How::DurableTemp(temp),
                    }))
                }
                Err(draft) => Ok(Err(NewBody::Draft { draft, from, len })),
            },
            other => Ok(Err(other)),
        }
    }

    fn make_file(&self) -> Result<Touched, DboxError> {
        let (path, handle) = self.shared.files.create_temp()?;
        let temp = TempFile::new(self.shared.env.fs(), path);
        let lock = locked(&handle, &temp)?;
        let mut header = Vec::new();
        FileHeader::new(unix_now(self.shared.fs())).write(&mut header);
        handle.write_at(&header, 0)?;
        let (path, end) = (temp.path().to_owned(), header.len() as u64);
        Ok(Touched { id: self.next_file()?, path, handle, _lock: lock, end, how: How::Temp(temp) })
    }

    /// A number that no file has. One that the map does not know of was left by a crash, or by a map that was lost.
    fn next_file(&self) -> Result<FileId, DboxError> {
        let new = self.touched.iter().filter(|touched| !matches!(touched.how, How::Appended { .. }));
        let mut last = new.map(|touched| touched.id).fold(self.before.highest_file(), FileId::max);
        for _ in 0..NAMES_TRIED_MAX {
            let id = last.next().ok_or(DboxError::damaged(0, "no number is left for a file of messages"))?;
            if !self.shared.files.is_taken(id)? {
                return Ok(id);
            }
            last = id;
        }
        Err(DboxError::damaged(0, "there are too many files of messages that the map does not know"))
    }

    /// Makes the files durable, and gives new ones their names.
    fn publish_files(&mut self) -> Result<(), FsError> {
        let fs = self.shared.env.fs();
        let syncs = self.shared.env.options().fsync != engine::Fsync::Never;
        if syncs {
            let written = self.touched.iter().filter(|touched| !matches!(touched.how, How::DurableTemp(_)));
            let handles: Vec<FileHandle> = written.map(|touched| Arc::clone(&touched.handle)).collect();
            match &handles[..] {
                [] => {}
                [only] => only.sync_data()?,
                all => fs.sync_many(all)?,
            }
        }
        let mut named = false;
        for touched in &mut self.touched {
            if let How::Temp(temp) | How::DurableTemp(temp) = &mut touched.how {
                let path = self.shared.files.path(touched.id);
                temp.rename_new(&path)?;
                (touched.path, touched.how, named) = (path, How::Named, true);
            }
        }
        if named && syncs {
            fs.sync_dir(self.shared.files.dir())?;
        }
        Ok(())
    }

    /// Tells the map of it all.
    fn append_to_map(&mut self, places: &[(Uid, BodyPlace)]) -> engine::Result<()> {
        let named = self.touched.iter().filter(|touched| matches!(touched.how, How::Named));
        let mut highest = named.map(|touched| touched.id).max();
        for chunk in places.chunks(CHANGES_MAX) {
            let mut changes = MapChanges::new();
            if let Some(id) = highest.take() {
                changes.highest_file(id);
            }
            chunk.iter().for_each(|(uid, place)| changes.add(*uid, *place, 1));
            self.map.append(&changes)?;
        }
        let links: BTreeMap<Uid, u32> = self.links.drain().filter(|(_, more)| *more > 0).collect();
        self.count(links.into_iter().map(|(uid, more)| (uid, more as i32)).collect())
    }

    fn count(&mut self, diffs: Vec<(Uid, i32)>) -> engine::Result<()> {
        for chunk in diffs.chunks(CHANGES_MAX) {
            let mut changes = MapChanges::new();
            chunk.iter().for_each(|(uid, diff)| changes.count(*uid, *diff));
            self.map.append(&changes)?;
        }
        Ok(())
    }

    fn write_all(&mut self) -> engine::Result<Vec<FileHandle>> {
        if self.new.is_empty() && self.linked.is_empty() {
            return Ok(Vec::new());
        }
        let written = self.write_bodies().map_err(|e| match e {
            DboxError::Fs(e) => IndexError::Fs(e),
            other => IndexError::Unwritable { dir: self.shared.files.dir().to_owned(), what: other.to_string() },
        })?;
        self.publish_files()?;
        self.append_to_map(&written)?;
        self.linked.clear();
        Ok(vec![self.map.file_to_sync()])
    }
}

/// Bodies that are written together, behind each other.
#[derive(Default)]
struct Run {
    bytes: Vec<u8>,
    offset: u64,
}

impl Run {
    fn add(&mut self, to: &mut Touched, body: &NewBody) -> Result<(), DboxError> {
        if self.bytes.is_empty() {
            self.offset = to.end;
        }
        let mut read = 0;
        while read < body.len() {
            let from = self.bytes.len();
            let want = usize::try_from(body.len() - read).unwrap_or(WRITE_LEN).min(WRITE_LEN);
            self.bytes.resize(from + want, 0);
            let got = body.read_at(self.bytes.get_mut(from..).unwrap_or_default(), read)?;
            if got < want {
                return Err(DboxError::damaged(read, "a message that is to be stored was cut"));
            }
            read += got as u64;
            if self.bytes.len() >= WRITE_LEN {
                self.write(Some(&*to))?;
            }
        }
        to.end += read;
        Ok(())
    }

    /// Writes what was gathered.
    fn write(&mut self, to: Option<&Touched>) -> Result<(), DboxError> {
        if let Some(to) = to.filter(|_| !self.bytes.is_empty()) {
            to.handle.write_at(&self.bytes, self.offset)?;
            self.offset += self.bytes.len() as u64;
            self.bytes.clear();
        }
        Ok(())
    }
}

fn appended(target: Target) -> Touched {
    let Target { id, path, handle, lock, end } = target;
    Touched { id, path, handle, _lock: lock, end, how: How::Appended { end } }
}

/// A file that nobody knows yet is locked by nobody, but must be from the moment it has its name.
fn locked(handle: &FileHandle, temp: &TempFile) -> Result<FlockGuard, DboxError> {
    let taken = FlockGuard::try_take(handle)?;
    taken.ok_or_else(|| DboxError::Fs(FsError::new("lock", temp.path(), io::ErrorKind::WouldBlock.into())))
}

fn place(file: FileId, offset: u64, len: u64) -> Result<BodyPlace, DboxError> {
    let fits = |n: u64| u32::try_from(n).map_err(|_| DboxError::Refused("Message is too large"));
    Ok(BodyPlace { file, offset: fits(offset)?, len: fits(len)? })
}

impl StoreLock for MapCommit {
    fn mark(&mut self) {
        self.mark = (self.new.len(), self.linked.len());
    }

    fn back_to_mark(&mut self) {
        let (new, linked) = self.mark;
        self.new.truncate(new);
        for uid in self.linked.drain(linked.min(self.linked.len())..) {
            if let Some(more) = self.links.get_mut(&uid) {
                *more = more.saturating_sub(1);
            }
        }
    }

    fn write(&mut self) -> engine::Result<Vec<FileHandle>> {
        self.write_all()
    }

    fn take_back(&mut self) {
        if !self.map.take_back() {
            // It may be in force, and then it must find the bodies.
            return;
        }
        for touched in std::mem::take(&mut self.touched).into_iter().rev() {
            let undone = match touched.how {
                How::Appended { end } => touched.handle.set_len(end),
                How::Named => self.shared.fs().unlink(&touched.path),
                // It is removed by itself.
                How::Temp(_) | How::DurableTemp(_) => Ok(()),
            };
            if let Err(e) = undone {
                tracing::warn!("a message that was not committed stays without a number: {e}");
            }
        }
    }

    fn gone(&mut self, state: &State, uids: &UidSet) -> Result<(), StoreError> {
        let Some(field) = state.extension_index(ExtensionSpec::MDBOX.name) else { return Ok(()) };
        let mut fewer: BTreeMap<Uid, i32> = BTreeMap::new();
        for record in crate::indexed::records(state, uids) {
            if let Some(uid) = Uid::new(record.field_u32(field)) {
                *fewer.entry(uid).or_default() += 1;
            }
        }
        let map = self.map.state();
        let mut diffs = Vec::with_capacity(fewer.len());
        for (uid, fewer) in fewer {
            // Below zero the map would be taken for damaged, which it is; but it is no better for being said again.
            let there = map.record(uid).map_or(0, |record| i32::from(record.refs));
            if there < fewer {
                tracing::warn!(number = %uid, "the map counts {there} references to a message that has {fewer} or more");
            }
            diffs.push((uid, -fewer.min(there)));
        }
        diffs.retain(|(_, diff)| *diff != 0);
        Ok(self.count(diffs)?)
    }

    fn publish(&mut self) {
        self.map.publish();
        self.touched.clear();
    }
}

impl fmt::Debug for MapCommit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapCommit").field("new", &self.new.len()).finish_non_exhaustive()
    }
}
