//! What can be wrong with an mdbox store: the map against its files and against the mailboxes, and each mailbox's messages
//! against what the map says of them.

use std::{collections::BTreeMap, sync::Arc};

use mailindex::engine::inspect;

use super::{
    Shared,
    files::{Mails, Referred},
    map::PREFIX as MAP_PREFIX,
    map_state::{FileId, MapRecord, MapState},
    recover::References,
};
use crate::{
    check::{Finding, FindingKind, Look},
    indexed::{MessageFiles, PREFIX},
    mailbox_list::MailboxDirs,
    traits::{Result, StorageError},
};

/// Looks at the map. `mailboxes`: all of them.
pub(super) fn look_at_storage<'d>(
    shared: &Arc<Shared>,
    mailboxes: impl IntoIterator<Item = &'d MailboxDirs>,
    look: &mut Look<'_>,
) -> Result<()> {
    let seen = look.index_at(shared.map.dir(), MAP_PREFIX, FindingKind::Storage)?;
    let Some(state) = seen.state else {
        let files = shared.files.ids()?.len();
        if files > 0 {
            let what = format!("nothing can be read of the map, and there are {files} files of messages");
            let plan = "nothing yet: the map has to be made anew from them, as Dovecot's force-resync does";
            look.found(Finding::new(FindingKind::Storage, shared.map.dir(), what).plan(plan));
        }
        return Ok(());
    };
    let map = MapState::new(state);
    look_at_files(shared, &map, look)?;
    let mut references = References::default();
    for dirs in mailboxes {
        // What is wrong with it is told when it is looked at itself.
        if let Ok(Some(state)) = inspect(look.env, &dirs.index, PREFIX).map(|seen| seen.state) {
            references.add(&state);
        }
    }
    for (uid, missing) in references.uncounted(&map) {
        let what = format!(
            "number {uid} of the map counts {missing} references fewer than mailboxes have to it: a purge could remove \
             a message that is still there"
        );
        let path = shared.map.dir().join(format!("{MAP_PREFIX}.log"));
        look.found(Finding::new(FindingKind::Storage, path, what).of(uid).plan("count them all"));
    }
    Ok(())
}

/// Whether what the map speaks of can lie where it says.
fn look_at_files(shared: &Shared, map: &MapState, look: &mut Look<'_>) -> Result<()> {
    let mut by_file: BTreeMap<FileId, Vec<MapRecord>> = BTreeMap::new();
    for record in map.records().filter(|record| record.refs > 0) {
        by_file.entry(record.place.file).or_default().push(record);
    }
    let plan = "nothing: what else of the file's messages is there is read";
    for (file, mut records) in by_file {
        let found = shared.files.find(file)?;
        let path = found.map_or_else(|| shared.files.path(file), |(path, _)| path);
        let Some(there) = shared.fs().metadata(&path)? else {
            let what = format!("the file is missing, with {} messages", records.len());
            look.found(Finding::new(FindingKind::Storage, path, what).plan(plan));
            continue;
        };
        records.sort_by_key(|record| record.place.offset);
        let mut end = 0;
        for record in records {
            let start = u64::from(record.place.offset);
            if start < end {
                let what = format!("number {} of the map begins where the one before has not ended", record.uid);
                look.found(Finding::new(FindingKind::Storage, &path, what).at(start).of(record.uid).plan(plan));
            }
            end = record.place.end().unwrap_or(there.len);
            if end > there.len {
                let what = format!("number {} of the map goes to {end}, the file to {}", record.uid, there.len);
                look.found(Finding::new(FindingKind::Storage, &path, what).at(start).of(record.uid).plan(plan));
            }
        }
    }
    Ok(())
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
        let path = place_of(shared, &Referred::of(&state, &record)).unwrap_or_else(|| dirs.index.clone());
        match MessageFiles::open(&mails, &state, uid) {
            Ok(message) if look.deep => look.body(&path, uid, &*message),
            Ok(message) => {
                if let Err(e) = message.virtual_size() {
                    look.bad_body(&path, uid, &e);
                }
            }
            // Nothing is expunged that the index still has.
            Err(StorageError::Expunged { .. }) => {
                let what = "the index has the message, and the map does not";
                let finding = Finding::new(FindingKind::BodyMissing, &path, what).of(uid);
                look.found(finding.plan("nothing yet: the store has to be rebuilt from its files of messages"));
            }
            Err(e) => look.bad_body(&path, uid, &e),
        }
    }
    Ok(())
}

fn place_of(shared: &Shared, referred: &Referred) -> Option<std::path::PathBuf> {
    let map = shared.map.state(&shared.files).ok()?;
    let file = map.record(referred.map_uid?)?.place.file;
    let found = shared.files.find(file).ok().flatten();
    Some(found.map_or_else(|| shared.files.path(file), |(path, _)| path))
}
