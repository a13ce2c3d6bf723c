//! A store small enough to be looked through, on top of the engine: one file a message, as sdbox has them.

use std::{
    error::Error,
    path::{Path, PathBuf},
    sync::Arc,
};

use mailfs::{FileHandle, FileSystem, FileSystemExt, OpenMode};
use mailindex::{
    engine::{
        Background, CommitError, CommitOp, CommitOutcome, CommitPoint, Completer, Completion, Env, EnvOptions,
        MailboxIndex, MessageStore, OpError, completion,
    },
    log::{FlagChange, Origin, Transaction},
    state::{DboxHeader, ExtensionSpec, RawIndexHeader, State},
};
use mailtypes::{Flag, Flags, Guid, Uid, UidSet};

pub(crate) const PREFIX: &str = "dovecot.index";
pub(crate) const UID_VALIDITY: u32 = 1_500_000_000;

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;
pub(crate) type Done = Result<(), String>;

#[derive(Debug)]
pub(crate) struct Bodies {
    pub(crate) fs: Arc<dyn FileSystem>,
    pub(crate) dir: PathBuf,
}

impl MessageStore for Bodies {
    fn remove(&self, _: &State, uids: &UidSet) -> Result<(), BoxError> {
        for uid in uids.iter() {
            match self.fs.unlink(&self.dir.join(format!("u.{uid}"))) {
                Err(e) if !e.is_not_found() => return Err(e.into()),
                _ => {}
            }
        }
        Ok(())
    }
}

pub(crate) fn uid(n: u32) -> Uid {
    Uid::new(n).expect("not zero")
}

pub(crate) fn set(uids: &[u32]) -> UidSet {
    uids.iter().map(|&n| uid(n)).collect()
}

pub(crate) fn manual() -> EnvOptions {
    EnvOptions { background: Background::Manual, ..EnvOptions::default() }
}

pub(crate) fn store(env: &Env, dir: &Path) -> Arc<Bodies> {
    Arc::new(Bodies { fs: Arc::clone(env.fs()), dir: dir.to_owned() })
}

/// What a new sdbox mailbox begins with.
pub(crate) fn initial() -> Transaction {
    let mut transaction = Transaction::new();
    let header = DboxHeader { rebuild_count: 0, guid: Guid([7; 16]), flags: 0 };
    transaction.ext_intro(&ExtensionSpec::DBOX_HDR, Origin::External);
    transaction.ext_header(&ExtensionSpec::DBOX_HDR, 0, &header.encode(), Origin::External);
    transaction.header_update_before(RawIndexHeader::UID_VALIDITY, &UID_VALIDITY.to_le_bytes());
    transaction
}

pub(crate) fn create(env: &Env, dir: &Path) -> Arc<MailboxIndex> {
    MailboxIndex::create(env, dir, PREFIX, store(env, dir), &initial()).expect("create")
}

pub(crate) fn open(env: &Env, dir: &Path) -> Result<Arc<MailboxIndex>, BoxError> {
    Ok(MailboxIndex::open(env, dir, PREFIX, store(env, dir))?)
}

/// An operation made of closures.
struct Closures<P, U> {
    files: Vec<FileHandle>,
    prepare: P,
    undo: U,
    completer: Completer<Done>,
}

impl<P, U> CommitOp for Closures<P, U>
where
    P: FnMut(&mut CommitPoint<'_>) -> Result<(), OpError> + Send,
    U: FnMut() + Send,
{
    fn files_to_sync(&self) -> Vec<FileHandle> {
        self.files.clone()
    }
    fn prepare(&mut self, at: &mut CommitPoint<'_>) -> Result<(), OpError> {
        (self.prepare)(at)
    }
    fn undo(&mut self) {
        (self.undo)();
    }
    fn done(self: Box<Self>, outcome: Result<&CommitOutcome, Arc<CommitError>>) {
        self.completer.complete(outcome.map(|_| ()).map_err(|e| e.to_string()));
    }
}

pub(crate) fn enqueue(
    index: &Arc<MailboxIndex>,
    prepare: impl FnMut(&mut CommitPoint<'_>) -> Result<(), OpError> + Send + 'static,
) -> Completion<Done> {
    let (completer, completion) = completion(index);
    index.enqueue(Box::new(Closures { files: Vec::new(), prepare, undo: || {}, completer }));
    completion
}

pub(crate) fn finish(completion: Completion<Done>) -> Result<(), BoxError> {
    Ok(completion.wait().ok_or("lost")??)
}

/// A message on its way: written to a temporary file, named when it is committed.
pub(crate) fn begin_save(
    index: &Arc<MailboxIndex>,
    text: &str,
) -> Result<(Completion<Done>, Arc<std::sync::Mutex<u32>>), BoxError> {
    let fs = Arc::clone(index.env().fs());
    let dir = index.dir().to_owned();
    let mut random = [0; 8];
    fs.random(&mut random);
    let temp = dir.join(format!(".temp.{:x}", u64::from_le_bytes(random)));
    let file = fs.open(&temp, OpenMode::CreateNew { mode: 0o600 })?;
    file.write_at(text.as_bytes(), 0)?;
    let got = Arc::new(std::sync::Mutex::new(0));
    let placed = Arc::clone(&got);
    let placed_undo = Arc::clone(&got);
    let (fs2, dir2, temp2) = (Arc::clone(&fs), dir.clone(), temp.clone());
    let prepare = move |at: &mut CommitPoint<'_>| {
        let uid = at.next_uid()?;
        fs.rename(&temp, &dir.join(format!("u.{uid}")))?;
        *placed.lock().unwrap() = uid.value();
        at.sync_dir(&dir);
        at.require_sync();
        at.transaction().append(uid, Flags::NONE);
        Ok(())
    };
    let undo = move || {
        let uid = *placed_undo.lock().unwrap();
        if uid != 0 {
            let _ = fs2.rename(&dir2.join(format!("u.{uid}")), &temp2);
        }
    };
    let (completer, completion) = completion(index);
    index.enqueue(Box::new(Closures { files: vec![file], prepare, undo, completer }));
    Ok((completion, got))
}

pub(crate) fn save(index: &Arc<MailboxIndex>, text: &str) -> Result<u32, BoxError> {
    let (completion, uid) = begin_save(index, text)?;
    finish(completion)?;
    let uid = *uid.lock().unwrap();
    Ok(uid)
}

pub(crate) fn flag(index: &Arc<MailboxIndex>, uids: &UidSet, flag: Flag) -> Result<(), BoxError> {
    let uids = uids.clone();
    finish(enqueue(index, move |at| {
        at.transaction().flags(&uids, FlagChange::add(Flags::from(flag)), Origin::External);
        Ok(())
    }))
}

pub(crate) fn expunge(index: &Arc<MailboxIndex>, uids: &UidSet) -> Result<(), BoxError> {
    let uids = uids.clone();
    finish(enqueue(index, move |at| {
        at.expunge(&uids);
        Ok(())
    }))
}

pub(crate) fn body(fs: &dyn FileSystem, dir: &Path, uid: u32) -> Result<String, BoxError> {
    Ok(String::from_utf8(fs.read_all(&dir.join(format!("u.{uid}")), 1 << 20)?)?)
}
