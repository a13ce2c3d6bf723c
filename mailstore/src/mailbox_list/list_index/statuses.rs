//! STATUS values in the list index (`docs/formats/list.md`): for whoever asks next, in this process, in another, or in a
//! Dovecot.
//!
//! Dovecot believes values as long as log and folders have the size and the times that were noted with them, in whole
//! seconds. Here they are believed as long as everything looks as it did to the nanosecond; that is noted beside, in an
//! extension of our own (`culver-status`), which Dovecot keeps and does not look at.
//!
//! # Invariants
//!
//! 1. What is noted with a stamp was so when everything looked as the stamp says.
//! 2. Values are written behind, by threads of the `Env`, many at once; nobody waits for them and nothing is synced. What is
//!    lost is found out again.
//! 3. INBOX is left out, as Dovecot leaves it out.

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use mailindex::{
    engine::{CommitError, CommitOp, CommitOutcome, CommitPoint, Env, IndexError, MailboxIndex, OpError},
    log::{Generation, Origin, Transaction},
    state::{ExtensionSpec, State},
};
use mailtypes::{Guid, ModSeq, Uid, UidValidity};

use super::{
    super::{noted::Mark, status::Stamp},
    Nodes, NodesChange, create_list, open_list,
};
use crate::{indexed::unix_now, traits::Status};

const MSGS: ExtensionSpec = ExtensionSpec::record("msgs", 16, 4);
const VSIZE: ExtensionSpec = ExtensionSpec::record("vsize", 16, 8);
const HMODSEQ: ExtensionSpec = ExtensionSpec::record("hmodseq", 8, 8);
const INDEX_SYNC: ExtensionSpec = ExtensionSpec::record("index sync", 8, 4);
const MAILDIR: ExtensionSpec = ExtensionSpec::record("maildir", 8, 4);
const MBOX: ExtensionSpec = ExtensionSpec::record("mbox", 8, 4);

/// Ours: see [`ours_bytes`].
const OURS: ExtensionSpec = ExtensionSpec::record("culver-status", 48, 8);

/// How much of it tells how everything looked.
const STAMP_LEN: usize = 40;

/// Stands last in it where [`VSIZE`] is of the same look.
const HAS_SIZE: u32 = 1;

/// Values waiting to be written at most; more are dropped.
const WAITING_MAX: usize = 10_000;

/// Stores whose list indexes are remembered.
const STORES_MAX: usize = 256;

/// A mailbox's values, and how it looked.
#[derive(Clone, Debug)]
pub(in super::super) struct Noticed {
    pub(in super::super) guid: Guid,
    pub(in super::super) stamp: Stamp,
    pub(in super::super) status: Status,
    /// RFC822.SIZE of all messages together, if anybody asked for it.
    pub(in super::super) size: Option<u64>,
}

/// What is known of list indexes, kept with the `Env`.
#[derive(Debug, Default)]
pub(in super::super) struct StatusFiles(Mutex<HashMap<PathBuf, Arc<StatusFile>>>);

/// Nodes by the levels of their names, as those are stored, with NUL between them.
type Names = HashMap<Vec<u8>, Uid>;

/// One store's.
#[derive(Default)]
struct StatusFile {
    /// Names as they are stored, and where their values are, of a state.
    read: Mutex<Option<(State, Arc<Names>)>>,
    waiting: Mutex<BTreeMap<Vec<Vec<u8>>, Noticed>>,
}

impl std::fmt::Debug for StatusFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StatusFile").finish_non_exhaustive()
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl StatusFiles {
    fn of(&self, dir: &Path) -> Arc<StatusFile> {
        let mut all = locked(&self.0);
        if all.len() >= STORES_MAX && !all.contains_key(dir) {
            all.clear();
        }
        Arc::clone(all.entry(dir.to_owned()).or_default())
    }

    /// The values of a mailbox that looks so, with the size of all its messages if that is known; `None` where they are not.
    pub(in super::super) fn find(
        &self,
        env: &Env,
        dir: &Path,
        levels: &[Vec<u8>],
        stamp: &Stamp,
    ) -> Option<(Status, Option<u64>)> {
        let index = open_list(env, dir).ok()?;
        let state = index.refresh().ok()?;
        let uid = *self.of(dir).names(&state).get(&key(levels))?;
        let record = state.record_of(uid)?;
        let field = |name: &str| state.extension_index(name).map(|at| record.field(at));
        let ours = field(OURS.name)?;
        let word = |bytes: &[u8], at: usize| bytes.get(at..at + 4)?.try_into().ok().map(u32::from_le_bytes);
        let (deleted, has_size) = (word(ours, STAMP_LEN)?, word(ours, STAMP_LEN + 4)? == HAS_SIZE);
        if ours.get(..STAMP_LEN) != ours_bytes(stamp, 0, 0)?.get(..STAMP_LEN) {
            return None;
        }
        let (msgs, list) = (field(MSGS.name)?, field("list")?);
        let modseq = u64::from_le_bytes(field(HMODSEQ.name)?.get(..8)?.try_into().ok()?);
        let status = Status {
            messages: word(msgs, 0)?,
            unseen: word(msgs, 4)?,
            recent: word(msgs, 8)?,
            deleted,
            uid_next: Uid::new(word(msgs, 12)?)?,
            uid_validity: UidValidity::new(word(list, 24)?)?,
            highest_modseq: ModSeq::new(modseq)?,
        };
        let size = field(VSIZE.name).filter(|_| has_size).and_then(|vsize| {
            let sum = u64::from_le_bytes(vsize.get(..8)?.try_into().ok()?);
            (vsize.get(8..)? == of_all(&status)).then_some(sum)
        });
        Some((status, size))
    }

    /// Has values written.
    pub(in super::super) fn note(&self, env: &Env, dir: &Path, levels: Vec<Vec<u8>>, noticed: Noticed) {
        if env.is_read_only() {
            return;
        }
        let file = self.of(dir);
        let is_first = {
            let mut waiting = locked(&file.waiting);
            if waiting.len() >= WAITING_MAX {
                return;
            }
            let is_first = waiting.is_empty();
            waiting.insert(levels, noticed);
            is_first
        };
        // Somebody is about to write, and takes these along.
        if !is_first {
            return;
        }
        match open_or_create(env, dir) {
            Ok(index) => index.submit(Box::new(Write { file, now: unix_now(&**env.fs()), taken: false })),
            Err(e) => {
                tracing::debug!(dir = %dir.display(), "STATUS values are not kept: {e}");
                locked(&file.waiting).clear();
            }
        }
    }
}

fn open_or_create(env: &Env, dir: &Path) -> Result<Arc<MailboxIndex>, IndexError> {
    match open_list(env, dir) {
        Err(IndexError::NotFound { .. }) => {
            let mut first = Transaction::new();
            // The tree is nobody's work yet: a Dovecot must look for itself.
            NodesChange::of(&State::empty()).stale().write(&mut first, unix_now(&**env.fs()));
            create_list(env, dir, &first)
        }
        other => other,
    }
}

fn key(levels: &[Vec<u8>]) -> Vec<u8> {
    levels.join(&0)
}

impl StatusFile {
    fn names(&self, state: &State) -> Arc<Names> {
        let mut read = locked(&self.read);
        if let Some((of, names)) = &*read
            && of.ptr_eq(state)
        {
            return Arc::clone(names);
        }
        let nodes = Nodes::read(state);
        let named = nodes.iter().filter_map(|node| Some((nodes.levels(node)?.join(&0), node.uid)));
        let names: Arc<Names> = Arc::new(named.collect());
        *read = Some((state.clone(), Arc::clone(&names)));
        names
    }
}

/// What [`VSIZE`] has behind the sum, if it is that of all messages: the UID before the next one, and how many they are.
fn of_all(status: &Status) -> [u8; 8] {
    let (last, count) = (status.uid_next.value().saturating_sub(1), status.messages);
    (u64::from(count) << 32 | u64::from(last)).to_le_bytes()
}

/// Inode of the log, when it was written last, when `new` and `cur` changed last, length of the log, how many messages are
/// `\Deleted`, whether there is a size ([`HAS_SIZE`]): little-endian, times in nanoseconds. `None` for what has no such time.
fn ours_bytes(stamp: &Stamp, deleted: u32, has_size: u32) -> Option<[u8; 48]> {
    let nanos = |time: SystemTime| u64::try_from(time.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok();
    let folders = match &stamp.folders {
        Some([new, cur]) => [nanos(new.changed)?, nanos(cur.changed)?],
        None => [0, 0],
    };
    let log = [stamp.log.inode, nanos(stamp.log.modified)?];
    let words: Vec<u8> = log.into_iter().chain(folders).flat_map(u64::to_le_bytes).collect();
    let parts: [&[u8]; 4] = [&words, &stamp.log.len.to_le_bytes(), &deleted.to_le_bytes(), &has_size.to_le_bytes()];
    let mut bytes = [0; 48];
    bytes.iter_mut().zip(parts.into_iter().flatten()).for_each(|(to, from)| *to = *from);
    Some(bytes)
}

/// What is waiting goes into the log.
struct Write {
    file: Arc<StatusFile>,
    now: u32,
    taken: bool,
}

impl CommitOp for Write {
    fn prepare(&mut self, at: &mut CommitPoint<'_>) -> Result<(), OpError> {
        self.taken = true;
        let waiting = std::mem::take(&mut *locked(&self.file.waiting));
        let mut change = NodesChange::of(at.state());
        let mut values = Vec::with_capacity(waiting.len());
        for (levels, noticed) in waiting {
            let Some(uid) = change.make(&levels) else { break };
            change.identify(uid, noticed.guid, noticed.status.uid_validity);
            values.push((uid, noticed));
        }
        change.write(at.transaction(), self.now);
        for (uid, noticed) in values {
            write_values(at.transaction(), uid, &noticed);
        }
        Ok(())
    }

    fn done(self: Box<Self>, outcome: Result<&CommitOutcome, Arc<CommitError>>) {
        if let Err(e) = outcome {
            tracing::debug!("STATUS values were not kept: {e}");
            if !self.taken {
                // The next who has values begins anew.
                locked(&self.file.waiting).clear();
            }
        }
    }
}

fn write_values(to: &mut Transaction, uid: Uid, noticed: &Noticed) {
    let Noticed { stamp, status, size, .. } = noticed;
    let has_size = if size.is_some() { HAS_SIZE } else { 0 };
    let Some(ours) = ours_bytes(stamp, status.deleted, has_size) else { return };
    let seconds = |mark: &Mark| {
        let since = mark.modified.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        u32::try_from(since).unwrap_or_default()
    };
    let mut put = |spec: &ExtensionSpec, words: &[u32]| {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        to.ext_record(spec, Generation::Current, uid, &bytes, Origin::External);
    };
    put(&MSGS, &[status.messages, status.unseen, status.recent, status.uid_next.value()]);
    put(&INDEX_SYNC, &[u32::try_from(stamp.log.len).unwrap_or_default(), seconds(&stamp.log)]);
    match &stamp.folders {
        // One file, and no folders.
        Some([file, same]) if file == same => {
            put(&MBOX, &[seconds(file), u32::try_from(file.len).unwrap_or_default()]);
        }
        Some([new, cur]) => put(&MAILDIR, &[seconds(new), seconds(cur)]),
        None => {}
    }
    if let Some(size) = size {
        let bytes = [size.to_le_bytes(), of_all(status)].concat();
        to.ext_record(&VSIZE, Generation::Current, uid, &bytes, Origin::External);
    }
    let modseq = status.highest_modseq.value().to_le_bytes();
    to.ext_record(&HMODSEQ, Generation::Current, uid, &modseq, Origin::External);
    to.ext_record(&OURS, Generation::Current, uid, &ours, Origin::External);
}
