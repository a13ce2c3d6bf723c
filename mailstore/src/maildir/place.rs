//! How messages get their places in a Maildir.
//!
//! # Invariants
//!
//! 1. A message's file bears its name, and its UID stands in the UID list, before its record is appended; folders and
//!    list are synced in between.
//! 2. Changes of flags and expunges are asked for in the log; the engine has them carried out behind that.
//! 3. After a crash before the record is appended, it is a message like one that another program delivered: whole, and
//!    new.

use std::{path::PathBuf, sync::Arc, time::SystemTime};

use mailfs::{FileHandle, FileSystem};
use mailindex::{
    engine::{CommitPoint, OpError},
    log::Origin,
    state::State,
};
use mailtypes::Uid;

use super::{
    files::{Known, MaildirFiles},
    name::{self, NameFlags},
    save::{InTmp, MaildirSave, create_temp, unique_base},
    table::{Folder, Place},
};
use crate::{
    indexed::{Backend, CopyFrom, First, Staged, link_or_copy},
    traits::{Result, Save, SaveMeta, StorageError},
};

/// What was done under the locks.
#[derive(Default)]
pub(super) struct Placed {
    /// Names given.
    names: Vec<PathBuf>,
    /// The UID list with lines of this operation, and its length before.
    appended: Option<(FileHandle, u64)>,
    /// The first UID that is not in the UID list yet.
    first_new: Option<Uid>,
    folders: Vec<Folder>,
    /// When `cur` was changed last before.
    cur_before: Option<SystemTime>,
}

impl Backend for MaildirFiles {
    type Waiting = InTmp;
    type Placed = Placed;
    const FLAGS_ORIGIN: Origin = Origin::Internal;

    fn fs(&self) -> &Arc<dyn FileSystem> {
        self.shared.env.fs()
    }

    fn begin_save(&self, meta: &SaveMeta, preview: bool) -> Result<Box<dyn Save>> {
        Ok(Box::new(MaildirSave::begin(self, meta, preview)?))
    }

    fn is_near(&self, source: &Self) -> bool {
        Arc::ptr_eq(self.fs(), source.fs())
    }

    fn begin(&self, at: &mut CommitPoint<'_>, placed: &mut Placed) -> std::result::Result<(), OpError> {
        self.catch_up(at)?;
        placed.cur_before = self.cur_time();
        Ok(())
    }

    fn look_now(&self, at: &mut CommitPoint<'_>) -> std::result::Result<(), OpError> {
        self.sync(at, false, true)
    }

    fn place(
        &self,
        at: &mut CommitPoint<'_>,
        placed: &mut Placed,
        message: &mut Staged<InTmp>,
        with: First<'_>,
    ) -> std::result::Result<Uid, OpError> {
        self.show_life();
        let keys = message.waiting.keys();
        let InTmp { base, temp, .. } = &mut message.waiting;
        let known = &mut *self.known();
        let place = place_for(self, known, at.state(), with)?;
        let path = self.path(base, &place);
        temp.rename_new(&path)?;
        placed.named(at, known, path, base, keys.as_bytes(), place)
    }

    /// The file gets another name.
    fn copy(
        &self,
        at: &mut CommitPoint<'_>,
        placed: &mut Placed,
        source: &CopyFrom<'_, Self>,
        uid: Uid,
        with: First<'_>,
    ) -> std::result::Result<Option<Uid>, OpError> {
        self.show_life();
        let Some((source_base, source_keys)) = identity_of(source.files, uid)? else { return Ok(None) };
        let (place, base, keys) = {
            let known = &mut *self.known();
            let place = place_for(self, known, at.state(), with)?;
            if known.table().uid_of(&source_base).is_none() {
                (place, source_base, source_keys)
            } else {
                // The name is taken: the copy gets another, and keeps its identity by a key.
                let (base, keys) = renamed(self, &source_base, &source_keys);
                (place, base, keys)
            }
        };
        let path = self.path(&base, &place);
        let link = |from: &std::path::Path| link_or_copy(&**self.fs(), from, &path, || create_temp(self));
        match source.files.with_path(source.state, uid, link) {
            Ok(()) => {}
            Err(StorageError::Expunged { .. }) => return Ok(None),
            Err(e) => return Err(OpError::refused(e)),
        }
        let known = &mut *self.known();
        Ok(Some(placed.named(at, known, path, &base, &keys, place)?))
    }

    fn end(&self, at: &mut CommitPoint<'_>, placed: &mut Placed) -> std::result::Result<(), OpError> {
        placed.appended = self.save_uidlist(&mut self.known(), at.state(), placed.first_new)?;
        if let Some((file, _)) = &placed.appended {
            at.sync_file(file);
        }
        placed.folders.iter().for_each(|folder| at.sync_dir(self.folder(*folder)));
        if placed.folders.contains(&Folder::Cur) {
            self.changed_cur(&mut self.known(), placed.cur_before);
        }
        Ok(())
    }

    fn undo(&self, placed: Placed) {
        for path in placed.names.iter().rev() {
            if let Err(e) = self.fs().unlink(path) {
                tracing::warn!("a message that was not committed stays: {e}");
            }
        }
        if let Some((file, len)) = placed.appended
            && let Err(e) = file.set_len(len)
        {
            // Lines without files do no harm.
            tracing::debug!("UIDs that were not given stay in the list: {e}");
        }
        self.forget();
    }
}

/// Where a message with these flags goes: with none it is delivered into `new`, unless it comes from another store, which
/// knows whether it is new.
fn place_for(files: &MaildirFiles, known: &mut Known, state: &State, with: First<'_>) -> mailfs::Result<Place> {
    let letters = files.letters_for(known, state, with.keywords)?;
    Ok(if with.flags.is_empty() && with.keywords.is_empty() && with.kept.is_none() {
        Place { folder: Folder::New, info: Box::default() }
    } else {
        Place { folder: Folder::Cur, info: name::with_flags(b"", NameFlags { flags: with.flags, letters }).into() }
    })
}

impl Placed {
    /// A file has its name: it gets its UID.
    fn named(
        &mut self,
        at: &mut CommitPoint<'_>,
        known: &mut Known,
        path: PathBuf,
        base: &[u8],
        keys: &[u8],
        place: Place,
    ) -> std::result::Result<Uid, OpError> {
        self.names.push(path);
        let uid = at.next_uid()?;
        if !self.folders.contains(&place.folder) {
            self.folders.push(place.folder);
        }
        if place.folder == Folder::New {
            known.left_in_new = Some(true);
            known.in_new.push(uid);
        }
        let scan = known.scan;
        known.table().push(uid, base, keys, place, scan);
        self.first_new.get_or_insert(uid);
        Ok(uid)
    }
}

/// Base name and keys of a message.
fn identity_of(files: &MaildirFiles, uid: Uid) -> mailfs::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let mut known = files.known();
    if known.table().get(uid).is_none() {
        files.load(&mut known)?;
    }
    Ok(known.table().get(uid).map(|entry| (entry.base.to_vec(), entry.keys.to_vec())))
}

/// Another base name with the same sizes, and keys with the identity.
fn renamed(files: &MaildirFiles, base: &[u8], keys: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut other = unique_base(&**files.fs());
    for key in [b'S', b'W'] {
        if let Some(size) = name::size_in(base, key) {
            other.extend_from_slice(format!(",{}={size}", char::from(key)).as_bytes());
        }
    }
    let mut keys = keys.to_vec();
    // A name with a space cannot stand in a key.
    if super::uidlist::value_of(&keys, b'G').is_none() && !base.contains(&b' ') {
        let space: &[u8] = if keys.is_empty() { b"" } else { b" " };
        keys = [&keys, space, b"G", base].concat();
    }
    (other, keys)
}
