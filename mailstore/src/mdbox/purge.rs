//! Purging, and moving messages to alternate storage and back (`docs/formats/dbox.md`, Purge; Alternate storage).
//!
//! Where a message lies is a matter of the file that it is in alone: mailboxes say nothing of it.

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use mailtypes::{Uid, UidSet};

use super::{
    Shared,
    files::Referred,
    m_files::Storage,
    map::MapResult,
    map_state::{FileId, MapRecord},
    rewrite::{Fate, Purged, rewrite},
};
use crate::{
    dbox::{MoveTo, Moved},
    indexed::{Indexed, from_index, records},
    traits::Result,
};

/// Removes what no mailbox refers to.
pub(super) fn purge(shared: &Arc<Shared>) -> Result<Purged> {
    rewrite(shared, &|record| if record.refs == 0 { Fate::Goes } else { Fate::Stays })
}

/// Moves the bodies of messages of a mailbox.
pub(super) fn move_messages(shared: &Arc<Shared>, mailbox: &Indexed, uids: &UidSet, to: MoveTo) -> Result<Moved> {
    let (name, index) = (&mailbox.name, &mailbox.index);
    let state = index.refresh().map_err(|e| from_index(name, &e))?;
    let of_map: HashMap<Uid, Uid> = records(&state, uids)
        .filter_map(|record| Some((Referred::of(&state, &record).map_uid?, record.uid())))
        .collect();
    let storage = match to {
        MoveTo::Alternate => Storage::Alternate,
        MoveTo::Primary => Storage::Primary,
    };
    // Files in which they lie where they should are not written anew.
    let map = shared.map.refresh(&shared.files).of_map()?;
    let mut lies: HashMap<FileId, Option<Storage>> = HashMap::new();
    for record in of_map.keys().filter_map(|map_uid| map.record(*map_uid)) {
        let id = record.place.file;
        if let Entry::Vacant(unknown) = lies.entry(id) {
            unknown.insert(shared.files.find(id)?.map(|(_, storage)| storage));
        }
    }
    let is_to_move = |record: &MapRecord| {
        let lies = lies.get(&record.place.file).copied().flatten();
        of_map.contains_key(&record.uid) && lies.is_some_and(|lies| lies != storage)
    };
    let done = rewrite(shared, &|record| if is_to_move(record) { Fate::In(storage) } else { Fate::Stays })?;
    for (path, why) in &done.left {
        tracing::warn!(path = %path.display(), "messages were not moved: {why}");
    }
    let moved: UidSet = done.moved.iter().filter_map(|map_uid| of_map.get(map_uid).copied()).collect();
    let bytes = done.moved.iter().filter_map(|uid| map.record(*uid)).map(|record| u64::from(record.place.len)).sum();
    Ok(Moved { moved, bytes })
}
