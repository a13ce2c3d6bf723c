//! Files of messages written anew without what nobody needs any more, or in the other storage (`docs/formats/dbox.md`,
//! Purge; Alternate storage).
//!
//! # Invariants
//!
//! 1. A file that is written anew has its `flock` held from before it is read: nobody adds to it. What the map says of it
//!    must account for every byte, or it is left alone.
//! 2. Messages keep their numbers in the map. The map is told under its lock when the new file is durable under its name,
//!    and only if nothing that was to go has got a reference meanwhile.
//! 3. The old file goes when the map is durable. Old and new files are noted before ([`going`](super::going)): what a crash
//!    left of those that the map does not know goes, for a rebuild would bring back what was expunged.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    sync::Arc,
};

use mailfs::{FileHandle, FileSystemExt, FlockGuard, OpenMode};
use mailindex::engine::Fsync;
use mailtypes::Uid;

use super::{
    Shared,
    detached::remove_attachments,
    going::{self, Going, Why},
    m_files::{Storage, read_header},
    map::{LockedMap, MapResult},
    map_state::{BodyPlace, FileId, MapChanges, MapRecord, MapState},
    message::stored_len,
};
use crate::{
    dbox::{DboxMessage, FileHeader, MessageHeader, attachment_path},
    indexed::{TempFile, unix_now},
    mailbox_list::Rights,
    traits::{Result, StorageError},
};

/// Files that are written anew in one step.
const FILES_AT_ONCE_MAX: usize = 16;

/// Bytes copied at a time.
const COPY_LEN: usize = 256 << 10;

/// Messages that one transaction of the map is about.
const CHANGES_MAX: usize = 500;

/// Numbers of files tried before it is given up to find a free one.
const NAMES_TRIED_MAX: u32 = 10_000;

/// What is to become of a message.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fate {
    /// It is not needed any more.
    Goes,
    /// It stays in the storage that it lies in.
    Stays,
    /// It is to lie there.
    In(Storage),
}

/// What was done, and what was left alone.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct Purged {
    /// Files that are gone.
    pub files: u32,
    /// Messages that are gone.
    pub removed: u64,
    /// Messages that were copied into other files.
    pub copied: u64,
    /// Bytes by which the store is smaller.
    pub freed: u64,
    /// Files that were left as they are, and why.
    pub left: Vec<(PathBuf, &'static str)>,
    /// Numbers in the map of messages that were moved to the other storage.
    pub(super) moved: Vec<Uid>,
}

/// Writes those files anew in which a message has another fate than to stay. Each step is whole or not done at all. Where
/// messages go that have attachments, reads the metadata of all that stay, if the store was ever rebuilt.
pub(super) fn rewrite(shared: &Arc<Shared>, fate: &dyn Fn(&MapRecord) -> Fate) -> Result<Purged> {
    going::settle(shared)?;
    let (mut done, mut attachments) = (Purged::default(), BTreeSet::new());
    let rewritten = rewrite_files(shared, fate, &mut done, &mut attachments);
    remove_attachments(shared, attachments);
    rewritten.map(|()| done)
}

fn rewrite_files(
    shared: &Arc<Shared>,
    fate: &dyn Fn(&MapRecord) -> Fate,
    done: &mut Purged,
    attachments: &mut BTreeSet<PathBuf>,
) -> Result<()> {
    let mut known = Known::of(shared.map.refresh(&shared.files).of_map()?);
    let mut step = Step::new(shared);
    for (id, records) in known.files.clone() {
        if records.iter().all(|record| fate(record) == Fate::Stays) {
            continue;
        }
        match Source::open(shared, id, &mut known)? {
            Err((path, why)) => done.left.push((path, why)),
            Ok(source) => {
                step.add(source, fate)?;
                if step.is_full() {
                    std::mem::replace(&mut step, Step::new(shared)).commit(done, attachments)?;
                }
            }
        }
    }
    step.commit(done, attachments)
}

/// The map by files, as it was when it was asked last.
struct Known {
    map: MapState,
    files: BTreeMap<FileId, Vec<MapRecord>>,
}

impl Known {
    fn of(map: MapState) -> Self {
        Self { files: by_file(&map), map }
    }

    /// What it says of a file now.
    fn of_file(&mut self, shared: &Shared, id: FileId) -> Result<Vec<MapRecord>> {
        let map = shared.map.refresh(&shared.files).of_map()?;
        if map.position() != self.map.position() || map.position().is_none() {
            *self = Self::of(map);
        }
        Ok(self.files.get(&id).cloned().unwrap_or_default())
    }
}

/// All records by the file that they lie in, in the order of their offsets.
pub(super) fn by_file(map: &MapState) -> BTreeMap<FileId, Vec<MapRecord>> {
    let mut files: BTreeMap<FileId, Vec<MapRecord>> = BTreeMap::new();
    for record in map.records() {
        files.entry(record.place.file).or_default().push(record);
    }
    for records in files.values_mut() {
        records.sort_unstable_by_key(|record| record.place.offset);
    }
    files
}

/// Makes it durable that files have gone, wherever they were.
pub(super) fn sync_dirs(shared: &Shared) -> Result<()> {
    for dir in shared.files.dirs() {
        if shared.fs().is_dir(dir)? {
            shared.fs().sync_dir(dir)?;
        }
    }
    Ok(())
}

/// A file that is to be written anew, and nobody else adds to it.
struct Source {
    id: FileId,
    path: PathBuf,
    storage: Storage,
    handle: FileHandle,
    header: FileHeader,
    len: u64,
    records: Vec<MapRecord>,
    _lock: FlockGuard,
}

impl Source {
    /// `Err` with the reason if it is to be left alone.
    fn open(
        shared: &Shared,
        id: FileId,
        known: &mut Known,
    ) -> Result<std::result::Result<Self, (PathBuf, &'static str)>> {
        let Some((path, storage)) = shared.files.find(id)? else {
            return Ok(Err((shared.files.path(id), "the file is not there")));
        };
        let handle = match shared.fs().open(&path, OpenMode::ReadWrite) {
            Err(e) if e.is_not_found() => return Ok(Err((path, "the file has just gone"))),
            other => other?,
        };
        let Some(lock) = FlockGuard::try_take(&handle)? else { return Ok(Err((path, "somebody adds to it"))) };
        let there = handle.metadata()?;
        if shared.fs().metadata(&path)?.is_none_or(|named| (named.device, named.inode) != (there.device, there.inode)) {
            return Ok(Err((path, "somebody else has just written it anew")));
        }
        let header = match read_header(&handle) {
            Ok(header) => header,
            Err(e) => {
                tracing::warn!(path = %path.display(), "not written anew: {e}");
                return Ok(Err((path, "its header cannot be read")));
            }
        };
        // Nobody adds to it from here on.
        let records = known.of_file(shared, id)?;
        let source = Self { id, path, storage, handle, header, len: there.len, records, _lock: lock };
        if !source.is_accounted_for()? {
            return Ok(Err((source.path, "it holds something that the map does not know; a rebuild looks what")));
        }
        Ok(Ok(source))
    }

    fn record_len(&self, record: &MapRecord) -> Result<u64> {
        stored_len(record.place, || self.handle.len()).map_err(|e| e.at(&self.path))
    }

    /// Whether the messages lie behind each other from the file's header to its end.
    fn is_accounted_for(&self) -> Result<bool> {
        let mut header = Vec::new();
        let mut first = [0; FileHeader::LEN_MAX];
        let read = self.handle.read_at(&mut first, 0)?;
        header.extend_from_slice(first.get(..read).unwrap_or_default());
        let mut at = match FileHeader::parse(&header) {
            Ok((_, len)) => len as u64,
            Err(_) => return Ok(false),
        };
        for record in &self.records {
            if u64::from(record.place.offset) != at {
                return Ok(false);
            }
            at += self.record_len(record)?;
        }
        Ok(at == self.len && self.header.message_header_len as usize == MessageHeader::LEN)
    }

    /// The files of the attachments of one of its messages.
    fn attachments(&self, shared: &Shared, record: &MapRecord) -> Vec<PathBuf> {
        let Some(folder) = &shared.attachments else { return Vec::new() };
        let message = DboxMessage::read_at(Arc::clone(&self.handle), self.header, record.place.in_file());
        let metadata = message.and_then(|message| message.metadata()).ok();
        let list = metadata.and_then(|metadata| metadata.attachments()).unwrap_or_default();
        list.iter().filter_map(|attachment| attachment_path(folder, attachment, "")).collect()
    }
}

/// A new file.
pub(super) struct Output {
    temp: TempFile,
    handle: FileHandle,
    /// Where it ends.
    pub(super) end: u64,
    /// What lies in it: number in the map, offset, length.
    messages: Vec<(Uid, u64, u64)>,
    _lock: FlockGuard,
}

/// Files that are written anew together.
struct Step {
    shared: Arc<Shared>,
    sources: Vec<Source>,
    /// For each storage the file that is written there.
    primary: Option<Output>,
    alternate: Option<Output>,
    gone: Vec<Uid>,
    moved: Vec<Uid>,
    attachments: Vec<PathBuf>,
}

impl Step {
    fn new(shared: &Arc<Shared>) -> Self {
        let (sources, gone, moved, attachments) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { shared: Arc::clone(shared), sources, primary: None, alternate: None, gone, moved, attachments }
    }

    fn outputs(&self) -> impl Iterator<Item = &Output> {
        self.primary.iter().chain(&self.alternate)
    }

    fn is_full(&self) -> bool {
        let written = self.outputs().map(|output| output.end).max().unwrap_or(0);
        self.sources.len() >= FILES_AT_ONCE_MAX || written >= self.shared.options.rotate_size
    }

    /// Copies what stays of a file.
    fn add(&mut self, source: Source, fate: &dyn Fn(&MapRecord) -> Fate) -> Result<()> {
        for record in &source.records {
            let storage = match fate(record) {
                Fate::Goes => {
                    self.gone.push(record.uid);
                    self.attachments.extend(source.attachments(&self.shared, record));
                    continue;
                }
                Fate::Stays => source.storage,
                Fate::In(storage) => storage,
            };
            if storage != source.storage {
                self.moved.push(record.uid);
            }
            let shared = Arc::clone(&self.shared);
            let slot = match storage {
                Storage::Primary => &mut self.primary,
                Storage::Alternate => &mut self.alternate,
            };
            let output = match slot {
                Some(output) => output,
                none => none.insert(Output::make(&shared, storage)?),
            };
            let len = source.record_len(record)?;
            output.copy(&source, record, len)?;
        }
        self.sources.push(source);
        Ok(())
    }

    /// Puts the new files in the place of the old ones, if nothing has changed that matters.
    fn commit(mut self, done: &mut Purged, attachments: &mut BTreeSet<PathBuf>) -> Result<()> {
        if self.sources.is_empty() {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let syncs = shared.env.options().fsync != Fsync::Never;
        if syncs {
            self.outputs().try_for_each(|output| output.handle.sync_data())?;
        }
        let mut map = shared.map.lock(&shared.files, shared.env.options().lock_timeout, true).of_map()?;
        if !self.is_current(&map.state()) {
            let why = "a message in it got a reference, or another place, while it was written anew";
            done.left.extend(self.sources.drain(..).map(|source| (source.path, why)));
            return Ok(());
        }
        let written = self.publish(&mut map)?;
        let (mut old, mut new) = (0, 0);
        for source in &self.sources {
            old += source.len;
            shared.fs().unlink(&source.path)?;
            shared.files.forget(source.id);
        }
        self.outputs().for_each(|output| new += output.end);
        sync_dirs(&shared)?;
        going::forget(shared.fs(), &shared.files)?;
        drop(map);
        done.files += self.sources.len() as u32;
        done.removed += self.gone.len() as u64;
        done.copied += written;
        done.freed += old - new.min(old);
        done.moved.append(&mut self.moved);
        attachments.extend(self.attachments);
        Ok(())
    }

    /// Whether the map still says of the old files what it did, references apart, and what is to go has none.
    fn is_current(&self, map: &MapState) -> bool {
        let files = by_file(map);
        let places = |records: &[MapRecord]| records.iter().map(|r| (r.uid, r.place)).collect::<Vec<_>>();
        let are_there = self.sources.iter().all(|source| {
            files.get(&source.id).map(|records| places(records)).unwrap_or_default() == places(&source.records)
        });
        are_there && self.gone.iter().all(|uid| map.record(*uid).is_some_and(|record| record.refs == 0))
    }

    /// Names the new files and tells the map, durably; tells how many messages lie in them.
    fn publish(&mut self, map: &mut LockedMap) -> Result<u64> {
        let shared = Arc::clone(&self.shared);
        let mut last = map.state().highest_file();
        let mut named = Vec::new();
        for (storage, output) in [(Storage::Primary, &mut self.primary), (Storage::Alternate, &mut self.alternate)] {
            if let Some(output) = output {
                last = next_free(&shared, last)?;
                named.push((last, shared.files.path_of(storage, last).ok_or_else(no_alternate)?, output));
            }
        }
        let old = self.sources.iter().map(|source| source.id).collect();
        let new = named.iter().map(|(id, ..)| *id).collect();
        going::note(&shared, &map.state(), &[Going { why: Why::Purged, old, new }])?;
        let fs = shared.fs();
        let mut places: Vec<(Uid, BodyPlace)> = Vec::new();
        for (id, path, output) in &mut named {
            output.temp.rename_new(path)?;
            for (uid, offset, len) in &output.messages {
                places.push((*uid, place(*id, *offset, *len)?));
            }
        }
        sync_dirs(&shared)?;
        places.sort_unstable_by_key(|(uid, _)| *uid);
        let told = tell(map, &places, &self.gone, last);
        if told.is_err() && map.take_back() {
            // What cannot be removed is noted.
            named.iter().for_each(|(_, path, _)| drop(fs.unlink(path)));
        }
        told.map(|()| places.len() as u64)
    }
}

/// Appends to the map where messages are now, and which are gone, and makes it durable. `highest`: that of the files.
fn tell(map: &mut LockedMap, places: &[(Uid, BodyPlace)], gone: &[Uid], highest: FileId) -> Result<()> {
    let mut highest = Some(highest);
    for chunk in places.chunks(CHANGES_MAX) {
        let mut changes = MapChanges::new();
        if let Some(id) = highest.take() {
            changes.highest_file(id);
        }
        chunk.iter().for_each(|(uid, place)| changes.move_to(*uid, *place));
        map.append(&changes).of_map()?;
    }
    for chunk in gone.chunks(CHANGES_MAX) {
        let mut changes = MapChanges::new();
        changes.remove(chunk);
        map.append(&changes).of_map()?;
    }
    map.file_to_sync().sync_data()?;
    map.publish();
    Ok(())
}

impl Output {
    pub(super) fn make(shared: &Shared, storage: Storage) -> Result<Self> {
        let dir = shared.files.dir_of(storage).ok_or_else(no_alternate)?;
        if !shared.fs().is_dir(dir)? {
            Rights::of(shared.fs(), shared.files.dir())?.create_dirs(shared.fs(), dir)?;
        }
        let (path, handle) = shared.files.create_temp_in(dir)?;
        let temp = TempFile::new(shared.env.fs(), path);
        // Nobody knows it yet; but it must be locked from the moment it has its name until the map knows it.
        let lock = FlockGuard::try_take(&handle)?;
        let lock =
            lock.ok_or_else(|| StorageError::Unavailable(format!("{} is locked", temp.path().display()).into()))?;
        let mut header = Vec::new();
        FileHeader::new(unix_now(shared.fs())).write(&mut header);
        handle.write_at(&header, 0)?;
        Ok(Self { temp, handle, end: header.len() as u64, messages: Vec::new(), _lock: lock })
    }

    /// Adds bytes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> mailfs::Result<()> {
        self.handle.write_at(bytes, self.end)?;
        self.end += bytes.len() as u64;
        Ok(())
    }

    pub(super) fn sync(&self) -> mailfs::Result<()> {
        self.handle.sync_data()
    }

    /// Gives it its name.
    pub(super) fn name(&mut self, path: &Path) -> mailfs::Result<()> {
        self.temp.rename_new(path)
    }

    /// Copies a message to the byte.
    fn copy(&mut self, source: &Source, record: &MapRecord, len: u64) -> Result<()> {
        let mut buffer = vec![0; usize::try_from(len).unwrap_or(COPY_LEN).min(COPY_LEN)];
        let from = u64::from(record.place.offset);
        let mut copied = 0;
        while copied < len {
            let want = usize::try_from(len - copied).unwrap_or(COPY_LEN).min(buffer.len());
            let piece = buffer.get_mut(..want).unwrap_or_default();
            let read = source.handle.read_at(piece, from + copied)?;
            if read < want {
                let what = "the file was cut while it was read".to_owned();
                return Err(StorageError::Corrupt { path: source.path.clone(), offset: from + copied, what });
            }
            self.handle.write_at(piece, self.end + copied)?;
            copied += read as u64;
        }
        self.messages.push((record.uid, self.end, len));
        self.end += len;
        Ok(())
    }
}

pub(super) fn no_alternate() -> StorageError {
    StorageError::NotPossible("The store has no alternate storage")
}

/// A number above `last` that no file has.
pub(super) fn next_free(shared: &Shared, mut last: FileId) -> Result<FileId> {
    for _ in 0..NAMES_TRIED_MAX {
        let Some(id) = last.next() else { break };
        if !shared.files.is_taken(id)? {
            return Ok(id);
        }
        last = id;
    }
    Err(StorageError::Unavailable("no number is left for a file of messages".into()))
}

fn place(file: FileId, offset: u64, len: u64) -> Result<BodyPlace> {
    let fits = |n: u64| u32::try_from(n).map_err(|_| StorageError::MessageRefused("Message is too large"));
    Ok(BodyPlace { file, offset: fits(offset)?, len: fits(len)? })
}
