//! How messages get their places in an mdbox: a number in the map, which the mailbox's record gives.

use std::sync::Arc;

use mailfs::FileSystem;
use mailindex::{
    engine::{CommitPoint, OpError},
    log::{Generation, Origin},
    state::{DboxHeader, ExtensionSpec, MdboxHeader},
};
use mailtypes::{Guid, Uid};

use super::{
    commit::MapCommit,
    draft::NewBody,
    files::{Mails, Referred},
    map_state::MapRecord,
    message::stored_len,
    save::{MdboxSave, Waiting},
};
use crate::{
    indexed::{Backend, CopyFrom, First, MessageFiles, Staged, unix_now},
    traits::{Result, Save, SaveMeta},
};

pub(super) type OpResult<T> = std::result::Result<T, OpError>;

/// The map's part of the commit that is being prepared.
pub(super) fn of_map<'p>(at: &'p mut CommitPoint<'_>) -> OpResult<&'p mut MapCommit> {
    at.store_lock().ok_or_else(|| OpError::refused("the map is not locked"))
}

/// Says in the mailbox which message of the map it has, and since when (Unix seconds) if not since now.
pub(super) fn refer(
    mails: &Mails,
    at: &mut CommitPoint<'_>,
    map_uid: Uid,
    guid: Guid,
    saved: Option<i64>,
) -> OpResult<Uid> {
    let uid = at.next_uid()?;
    let mut place = map_uid.value().to_le_bytes().to_vec();
    let saved = saved.and_then(|saved| u32::try_from(saved).ok()).unwrap_or_else(|| unix_now(mails.shared.fs()));
    place.extend(saved.to_le_bytes());
    let transaction = at.transaction();
    transaction.ext_record(&ExtensionSpec::MDBOX, Generation::Current, uid, &place, Origin::External);
    transaction.ext_record(&ExtensionSpec::GUID, Generation::Current, uid, &guid.0, Origin::External);
    Ok(uid)
}

impl Mails {
    /// A body that can have no more references, as it lies there.
    fn stored_anew(&self, commit: &MapCommit, record: &MapRecord) -> OpResult<NewBody> {
        let files = &self.shared.files;
        let file = files.open(record.place.file, commit.map().rebuild_count()).map_err(OpError::refused)?;
        let len = stored_len(record.place, || file.handle.len()).map_err(OpError::refused)?;
        Ok(NewBody::Stored { file, place: record.place.in_file(), len })
    }
}

impl Backend for Mails {
    type Waiting = Waiting;
    type Placed = ();
    const FLAGS_ORIGIN: Origin = Origin::External;

    fn fs(&self) -> &Arc<dyn FileSystem> {
        self.shared.env.fs()
    }

    fn begin_save(&self, meta: &SaveMeta, preview: bool) -> Result<Box<dyn Save>> {
        Ok(Box::new(MdboxSave::begin(self, meta, preview)))
    }

    fn is_near(&self, source: &Self) -> bool {
        let (here, there) = (&self.shared, &source.shared);
        Arc::ptr_eq(here.env.fs(), there.env.fs())
            && here.files.dir() == there.files.dir()
            && here.map.dir() == there.map.dir()
    }

    /// The mailbox says which map its numbers are of.
    fn begin(&self, at: &mut CommitPoint<'_>, _placed: &mut ()) -> OpResult<()> {
        let state = at.state();
        let map = of_map(at)?.map().clone();
        self.check_map(state, &map).map_err(OpError::refused)?;
        let header = state.mdbox_header().unwrap_or_default();
        if header.map_uid_validity == 0 {
            let header = MdboxHeader { map_uid_validity: map.uid_validity(), ..header };
            at.transaction().ext_header(&ExtensionSpec::MDBOX_HDR, 0, &header.encode(), Origin::External);
        }
        Ok(())
    }

    fn place(
        &self,
        at: &mut CommitPoint<'_>,
        _placed: &mut (),
        message: &mut Staged<Waiting>,
        with: First<'_>,
    ) -> OpResult<Uid> {
        let flags = at.state().mdbox_header().map_or(0, |header| header.flags);
        if flags | message.waiting.pop3 != flags {
            let flags = [flags | message.waiting.pop3];
            at.transaction().ext_header(&ExtensionSpec::MDBOX_HDR, DboxHeader::FLAGS, &flags, Origin::External);
        }
        let body = message.waiting.body.take().ok_or_else(|| OpError::refused("the message has its place already"))?;
        let map_uid = of_map(at)?.store(body)?;
        refer(self, at, map_uid, message.waiting.guid, with.kept.and_then(|kept| kept.save_date))
    }

    fn copy(
        &self,
        at: &mut CommitPoint<'_>,
        _placed: &mut (),
        source: &CopyFrom<'_, Self>,
        uid: Uid,
        _with: First<'_>,
    ) -> OpResult<Option<Uid>> {
        let Some(record) = source.state.record_of(uid) else { return Ok(None) };
        let referred = Referred::of(source.state, &record);
        let commit = of_map(at)?;
        source.files.check_map(source.state, commit.map()).map_err(OpError::refused)?;
        let found = referred.map_uid.and_then(|map_uid| commit.map().record(map_uid)).filter(|found| found.refs > 0);
        let uncounted = || source.files.damaged(format!("the map counts no reference to message {uid}"));
        let found = found.ok_or_else(|| OpError::refused(uncounted()))?;
        let map_uid = if commit.link(&found) {
            found.uid
        } else {
            let body = self.stored_anew(commit, &found)?;
            commit.store(body)?
        };
        let guid = match referred.guid {
            Some(guid) => guid,
            None => {
                let message = source.files.open(source.state, uid).map_err(OpError::refused)?;
                message.guid().map_err(OpError::refused)?.unwrap_or(Guid::ZERO)
            }
        };
        refer(self, at, map_uid, guid, None).map(Some)
    }

    fn end(&self, _at: &mut CommitPoint<'_>, _placed: &mut ()) -> OpResult<()> {
        Ok(())
    }

    /// What the map was to be told is forgotten with the operation.
    fn undo(&self, _placed: ()) {}
}
