//! How messages get their places in an sdbox.
//!
//! # Invariants
//!
//! 1. A message's file bears its name before its record is appended, and the folder is synced in between.
//! 2. A name that is taken is never overwritten and never removed: it was left by a crash, or by an index that was lost,
//!    and its message is taken in under the UID it bears. Only the same message, of a conversion that goes on, takes its
//!    place.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use mailfs::{FileSystem, FsError};
use mailindex::{
    engine::{CommitPoint, MailboxIndex, OpError},
    log::{FlagChange, Origin},
    state::{DboxHeader, ExtensionSpec, RecordFlags},
};
use mailtypes::{Uid, UidSet};

use super::{
    alternate::Storage,
    attached,
    files::Mails,
    save::{SdboxSave, Written},
};
use crate::{
    dbox::DboxMessage,
    indexed::{Backend, CopyFrom, First, Staged, link_or_copy},
    traits::{Result, Save, SaveMeta},
};

/// Left-over files that one operation walks through before it asks for a rebuild instead.
const LEFTOVERS_MAX: u32 = 10_000;

/// How often, and after what time each, a commit is looked after that removes a message.
const LOOKS_MAX: u32 = 2_000;
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// What one operation has done to the files.
#[derive(Debug, Default)]
pub(super) struct Placed {
    /// Names given.
    paths: Vec<PathBuf>,
    /// Copies that lie in alternate storage.
    alt: UidSet,
}

impl Backend for Mails {
    type Waiting = Written;
    type Placed = Placed;
    const FLAGS_ORIGIN: Origin = Origin::External;

    fn fs(&self) -> &Arc<dyn FileSystem> {
        self.shared.env.fs()
    }

    fn begin_save(&self, meta: &SaveMeta, preview: bool) -> Result<Box<dyn Save>> {
        Ok(Box::new(SdboxSave::begin(self, meta, preview)?))
    }

    fn is_near(&self, source: &Self) -> bool {
        Arc::ptr_eq(self.fs(), source.fs())
    }

    fn place(
        &self,
        at: &mut CommitPoint<'_>,
        placed: &mut Placed,
        message: &mut Staged<Written>,
        with: First<'_>,
    ) -> std::result::Result<Uid, OpError> {
        let Written { temp, pop3 } = &mut message.waiting;
        let flags = at.state().dbox_header().map_or(0, |header| header.flags);
        if flags | *pop3 != flags {
            let flags = [flags | *pop3];
            at.transaction().ext_header(&ExtensionSpec::DBOX_HDR, DboxHeader::FLAGS, &flags, Origin::External);
        }
        name_next(self, at, placed, |_, path| match temp.rename_new(path) {
            // Left by a conversion that was stopped at this very place: it is the same message.
            Err(e) if e.is_already_exists() && with.kept.is_some() && is_same(self, path, temp.path()) => {
                temp.replace(path).map(|()| Storage::Primary)
            }
            other => other.map(|()| Storage::Primary),
        })
    }

    /// The file gets another name, in the storage that it lies in.
    fn copy(
        &self,
        at: &mut CommitPoint<'_>,
        placed: &mut Placed,
        source: &CopyFrom<'_, Self>,
        uid: Uid,
        _with: First<'_>,
    ) -> std::result::Result<Option<Uid>, OpError> {
        let fs = &**self.fs();
        let attached = attached::files_of(source.files, source.state, uid);
        let guid = at.state().dbox_header().map(|header| header.guid);
        let named = name_next(self, at, placed, |copy, to| {
            attached::link(fs, &attached, guid, copy)?;
            self.copy_file(source.files, uid, copy, to)
        });
        match named {
            Err(OpError::Fs(e)) if e.is_not_found() && is_gone(source.index, uid)? => Ok(None),
            other => other.map(Some),
        }
    }

    fn end(&self, at: &mut CommitPoint<'_>, placed: &mut Placed) -> std::result::Result<(), OpError> {
        at.sync_dir(&self.dir);
        if let (Some(alt), false) = (&self.alt, placed.alt.is_empty()) {
            at.sync_dir(alt);
            at.transaction().flags(&placed.alt, FlagChange::add(RecordFlags::ALT), Origin::External);
        }
        Ok(())
    }

    fn undo(&self, placed: Placed) {
        for path in placed.paths.iter().rev() {
            if let Err(e) = self.fs().unlink(path) {
                tracing::warn!("a message that was not committed stays: {e}");
            }
        }
    }
}

/// Whether two files hold the same message, by its GUID.
fn is_same(mails: &Mails, one: &Path, other: &Path) -> bool {
    let guid = |path: &Path| DboxMessage::open(&**mails.fs(), path).ok()?.metadata().ok()?.guid();
    guid(one).is_some_and(|one| guid(other) == Some(one))
}

impl Mails {
    /// Gives a copy its file: `to`, or the same name in alternate storage if the message lies there. Tells which.
    fn copy_file(&self, source: &Self, uid: Uid, copy: Uid, to: &Path) -> mailfs::Result<Storage> {
        let fs = &**self.fs();
        let first = link_or_copy(fs, &source.path(uid), to, || self.create_temp());
        let (from, gone) = match (first, source.alt_path(uid)) {
            (Err(e), Some(alt)) if e.is_not_found() => (alt, e),
            (other, _) => return other.map(|()| Storage::Primary),
        };
        let (dir, to, storage) = match (self.make_alt(), self.alt_path(copy)) {
            (Ok(alt), Some(to)) => (alt, to, Storage::Alternate),
            _ => (&*self.dir, to.to_owned(), Storage::Primary),
        };
        match link_or_copy(fs, &from, &to, || self.create_temp_in(dir)) {
            Ok(()) => Ok(storage),
            // It may have come back between the two looks.
            Err(e) if e.is_not_found() => match source.open_placed(uid) {
                Ok((_, there)) => link_or_copy(fs, &there, &to, || self.create_temp_in(dir)).map(|()| storage),
                Err(_) => Err(gone),
            },
            Err(e) => Err(e),
        }
    }
}

/// The next UID whose name is free, and a file under it. What lies in the way is taken in if it is whole.
fn name_next(
    mails: &Mails,
    at: &mut CommitPoint<'_>,
    placed: &mut Placed,
    mut put: impl FnMut(Uid, &Path) -> mailfs::Result<Storage>,
) -> std::result::Result<Uid, OpError> {
    for _ in 0..LEFTOVERS_MAX {
        let uid = at.next_uid()?;
        let path = mails.path(uid);
        match put(uid, &path) {
            Ok(storage) => {
                let alt = mails.alt_path(uid).filter(|_| storage == Storage::Alternate);
                if alt.is_some() {
                    placed.alt.insert(uid);
                }
                placed.paths.push(alt.unwrap_or(path));
                return Ok(uid);
            }
            Err(e) if e.is_already_exists() => {
                if mails.is_whole(&path) {
                    tracing::warn!(path = %path.display(), "a message that no index knew was found and taken in");
                    at.transaction().append(uid, RecordFlags::NONE);
                } else {
                    tracing::warn!(path = %path.display(), "a damaged message that no index knew is left as it is");
                }
            }
            Err(e) => return Err(e.into()),
        }
    }
    let text = format!("{LEFTOVERS_MAX} message files that no index knows");
    Err(FsError::new("name a message in", &mails.dir, io::Error::other(text)).into())
}

/// Whether a message is gone whose file is. A commit of this process has it removed before it tells: that is waited for.
fn is_gone(source: &Arc<MailboxIndex>, uid: Uid) -> std::result::Result<bool, OpError> {
    for _ in 0..LOOKS_MAX {
        let is_committing = source.is_committing();
        if !source.refresh()?.contains(uid) {
            return Ok(true);
        }
        if !is_committing {
            break;
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
    Ok(false)
}
