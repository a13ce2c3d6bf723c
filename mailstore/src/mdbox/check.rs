//! What can be wrong with an mdbox store: the map against its files and against the mailboxes, and each mailbox's messages
//! against what the map says of them.

use std::{path::Path, sync::Arc, time::Duration};

use mailfs::{FileSystemExt, FlockGuard, OpenMode};
use mailindex::{engine::inspect, state::Deletion};
use mailtypes::Uid;

use super::{
    Shared,
    files::{Mails, Referred},
    map::{MapResult, PREFIX as MAP_PREFIX},
    map_state::{MapRecord, MapState},
    recover::References,
    rewrite::by_file,
};
use crate::{
    check::{Finding, FindingKind, Look},
    dbox::FileHeader,
    indexed::{MessageFiles, PREFIX, from_index},
    mailbox_list::{Format, ListLock, MailboxDirs, held},
    traits::{Result, StorageError},
};

/// What is done about most of it.
const REBUILD: &str = "go over all files and mailboxes, and make the map right from them; nothing is removed, damaged files \
                       are kept";

/// How long somebody who adds to a file may take to tell the map.
const SECOND_LOOK: Duration = Duration::from_millis(100);

/// How often a file is looked at again that somebody adds to.
const LOOKS_MAX: usize = 50;

/// Looks at the map.
pub(super) fn look_at_storage(shared: &Arc<Shared>, format: &dyn Format, look: &mut Look<'_>) -> Result<()> {
    let seen = look.index_at(shared.map.dir(), MAP_PREFIX, FindingKind::Storage)?;
    let Some(state) = seen.state else {
        let files = shared.files.ids()?.len();
        if files > 0 {
            let what = format!("nothing can be read of the map, and there are {files} files of messages");
            look.found(Finding::new(FindingKind::Storage, shared.map.dir(), what).plan(REBUILD));
        }
        return Ok(());
    };
    let map = MapState::new(state);
    look_at_files(shared, &map, look)?;
    let mut wrong = Miscounted::of(&map, &references(format, look)?);
    if !wrong.is_empty() {
        // Somebody may have put messages into a mailbox that had been looked at, or moved them; or is about to: whoever
        // tells the map of messages has its lock until their mailbox has them. Where nothing may be locked, time must do.
        let locked = match shared.env.is_read_only() {
            true => None,
            false => {
                let list = ListLock::take_for_folders(format)?;
                let timeout = shared.env.options().lock_timeout;
                Some((shared.map.lock_as_it_is(&shared.files, timeout, true).of_map()?, list))
            }
        };
        let map = match &locked {
            Some((locked, _)) => locked.state(),
            None => {
                shared.fs().sleep(SECOND_LOOK);
                shared.map.refresh(&shared.files).of_map()?
            }
        };
        let exact = references(format, look)?;
        drop(locked);
        wrong.retain(&Miscounted::of(&map, &exact));
    }
    wrong.tell(shared, look);
    Ok(())
}

/// What the mailboxes refer to. What is wrong with one is told when it is looked at itself.
/// Fails where one cannot be looked at: then nobody knows what it refers to.
fn references(format: &dyn Format, look: &Look<'_>) -> Result<References> {
    let mut references = References::default();
    for mailbox in held(format)?.iter().filter(|mailbox| !mailbox.is_again) {
        let seen = inspect(look.env, &mailbox.dirs.index, PREFIX).map_err(|e| from_index(&mailbox.label(), &e))?;
        if let Some(state) = seen.state.filter(|state| state.deletion() != Deletion::Done) {
            references.add(&state);
        }
    }
    Ok(references)
}

/// Numbers of the map that are not referred to as often as it counts.
struct Miscounted {
    fewer: Vec<(Uid, i32)>,
    more: Vec<(Uid, i32)>,
    unreferenced: Vec<Uid>,
}

impl Miscounted {
    fn of(map: &MapState, references: &References) -> Self {
        Self {
            fewer: references.uncounted(map),
            more: references.overcounted(map),
            unreferenced: references.unreferenced(map),
        }
    }

    fn is_empty(&self) -> bool {
        self.fewer.is_empty() && self.more.is_empty() && self.unreferenced.is_empty()
    }

    /// Drops what the other one does not say too.
    fn retain(&mut self, other: &Self) {
        // All of them ascend.
        self.fewer.retain(|found| other.fewer.binary_search(found).is_ok());
        self.more.retain(|found| other.more.binary_search(found).is_ok());
        self.unreferenced.retain(|uid| other.unreferenced.binary_search(uid).is_ok());
    }

    fn tell(self, shared: &Shared, look: &mut Look<'_>) {
        let log = shared.map.dir().join(format!("{MAP_PREFIX}.log"));
        let mut told = |what: String, uid: Uid| {
            look.found(Finding::new(FindingKind::Storage, &log, what).of(uid).plan("count them all"));
        };
        for (uid, more) in self.more {
            told(format!("number {uid} of the map counts {more} references more than mailboxes have to it"), uid);
        }
        for (uid, missing) in self.fewer {
            let what = format!(
                "number {uid} of the map counts {missing} references fewer than mailboxes have to it: a purge could \
                 remove a message that is still there"
            );
            told(what, uid);
        }
        if !self.unreferenced.is_empty() {
            let what =
                format!("{} messages of the map are in no mailbox, and were not expunged", self.unreferenced.len());
            let plan = "put them into the mailboxes that they were saved to first";
            look.found(Finding::new(FindingKind::Storage, shared.map.dir(), what).plan(plan));
        }
    }
}

/// Whether what the map speaks of can lie where it says.
fn look_at_files(shared: &Shared, map: &MapState, look: &mut Look<'_>) -> Result<()> {
    let mut files = by_file(map);
    for id in shared.files.ids()? {
        files.entry(id).or_default();
    }
    for (file, records) in files {
        let Some((path, _)) = shared.files.find(file)? else {
            let what = format!("the file is missing, with {} messages", records.len());
            look.found(Finding::new(FindingKind::Storage, shared.files.path(file), what).plan(REBUILD));
            continue;
        };
        if is_accounted_for(shared, &path, &records, None)? {
            continue;
        }
        // Somebody who is adding to it has not told the map yet.
        let Some(lock) = at_rest(shared, &path)? else { continue };
        let known = by_file(&shared.map.refresh(&shared.files).of_map()?).remove(&file).unwrap_or_default();
        if shared.fs().exists(&path)? {
            is_accounted_for(shared, &path, &known, Some(look))?;
        }
        drop(lock);
    }
    Ok(())
}

/// Waits until nobody is adding to a file: whoever does holds its `flock` until the map has been told. `None`: it is gone, or
/// in use all the time. Where nothing may be locked, time must do.
fn at_rest(shared: &Shared, path: &Path) -> Result<Option<FlockGuard>> {
    for _ in 0..LOOKS_MAX {
        let handle = match shared.fs().open(path, OpenMode::Read) {
            Err(e) if e.is_not_found() => return Ok(None),
            other => other?,
        };
        let lock = FlockGuard::try_take(&handle)?;
        if lock.is_some() && !shared.env.is_read_only() {
            return Ok(lock);
        }
        shared.fs().sleep(SECOND_LOOK);
        if lock.is_some() {
            return Ok(lock);
        }
    }
    tracing::debug!(file = %path.display(), "others are adding to the file all the time: it is not looked at");
    Ok(None)
}

/// Whether the file is tiled by what the map says of it; tells where not.
fn is_accounted_for(
    shared: &Shared,
    path: &Path,
    records: &[MapRecord],
    mut look: Option<&mut Look<'_>>,
) -> Result<bool> {
    let file = match shared.fs().open(path, OpenMode::Read) {
        Err(e) if e.is_not_found() => return Ok(true),
        other => other?,
    };
    let len = file.len()?;
    let mut start = [0; FileHeader::LEN_MAX];
    let read = file.read_at(&mut start, 0)?;
    let header = FileHeader::parse(start.get(..read).unwrap_or_default());
    let mut is_right = true;
    let mut tell = |at: u64, uid: Option<Uid>, what: String| {
        is_right = false;
        if let Some(look) = look.as_deref_mut() {
            let finding = Finding::new(FindingKind::Storage, path, what).at(at).plan(REBUILD);
            look.found(uid.into_iter().fold(finding, Finding::of));
        }
    };
    let mut end = match header {
        Ok((_, end)) => end as u64,
        Err(_) => {
            tell(0, None, "the file does not begin as it must".to_owned());
            records.first().map_or(len, |first| first.place.offset.into())
        }
    };
    for record in records {
        let (uid, start) = (record.uid, u64::from(record.place.offset));
        if start < end {
            tell(start, Some(uid), format!("number {uid} of the map begins where what is before it has not ended"));
        } else if start > end {
            tell(end, None, format!("the map says nothing of {} bytes", start - end));
        }
        end = record.place.end().unwrap_or(len);
        if end > len {
            tell(start, Some(uid), format!("number {uid} of the map goes to {end}, the file to {len}"));
        }
    }
    if end < len {
        tell(end, None, format!("the map says nothing of the last {} bytes", len - end));
    }
    Ok(is_right)
}

/// Looks at a mailbox's index, and at every message that it has.
pub(super) fn look(shared: &Arc<Shared>, dirs: &MailboxDirs, look: &mut Look<'_>) -> Result<()> {
    let Some(state) = look.index(dirs)?.state else { return Ok(()) };
    look.identity(dirs, &state, false);
    look.will_look_at(u64::from(state.message_count()));
    let mails = Mails::new(shared, dirs, None);
    for record in state.records_from(0) {
        let uid = record.uid();
        look.step();
        let referred = Referred::of(&state, &record);
        let path = place_of(shared, &referred).unwrap_or_else(|| dirs.index.clone());
        match MessageFiles::open(&mails, &state, uid) {
            Ok(message) if look.deep => {
                if checksum(shared, &referred, &path, uid, look) {
                    look.body(&path, uid, &*message);
                }
            }
            Ok(message) => {
                if let Err(e) = message.virtual_size() {
                    look.bad_body(&path, uid, &e);
                }
            }
            // Nothing is expunged that the index still has.
            Err(StorageError::Expunged { .. }) => {
                let what = "the index has the message, and the map does not";
                look.found(Finding::new(FindingKind::BodyMissing, &path, what).of(uid).plan(REBUILD));
            }
            Err(e) => look.bad_body(&path, uid, &e),
        }
    }
    Ok(())
}

/// Compares a body with its checksum; tells whether there is more to look at.
fn checksum(shared: &Shared, referred: &Referred, path: &Path, uid: Uid, look: &mut Look<'_>) -> bool {
    let map = shared.map.state(&shared.files).ok();
    let found = map.and_then(|map| {
        let (message, _) = shared.dbox_message(&map, map.record(referred.map_uid?)?.place).ok()?;
        let metadata = message.metadata().ok()?;
        Some((message, metadata))
    });
    // Whoever could open it a moment ago reads it where it is now.
    let Some((message, metadata)) = found else { return true };
    look.checksum(path, uid, &message, &metadata) || metadata.physical_size().is_none()
}

fn place_of(shared: &Shared, referred: &Referred) -> Option<std::path::PathBuf> {
    let map = shared.map.state(&shared.files).ok()?;
    let file = map.record(referred.map_uid?)?.place.file;
    let found = shared.files.find(file).ok().flatten();
    Some(found.map_or_else(|| shared.files.path(file), |(path, _)| path))
}
