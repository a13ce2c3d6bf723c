//! The stages of a batch, for one log or for several at once.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};

use mailfs::FileHandle;
use mailtypes::{Guid, Uid, UidSet};

use super::{
    BATCH_OPS_MAX, CommitOp, CommitOutcome, CommitPoint, Durability,
    append::{Locked, lock},
    point::Prepared,
};
use crate::{
    engine::{
        Background, CommitError, CommitStage, Env, Fsync, IndexError, LockFor, MailboxIndex, OpError, Result,
        StoreError,
        cache_file::{self, CacheValues, Wait},
        day_table, rotate,
    },
    log::Transaction,
    state::{ExtensionSpec, State},
};

/// Threads that sync folders side by side.
const DIR_SYNC_THREADS_MAX: usize = 8;

/// First pause before a busy log is tried again; doubled up to [`BUSY_PAUSE_MAX`].
const BUSY_PAUSE_MIN: Duration = Duration::from_micros(50);
const BUSY_PAUSE_MAX: Duration = Duration::from_millis(5);

/// From this pause on one of the busy logs is waited for instead, at most so long.
const BUSY_WAIT_FROM: Duration = Duration::from_micros(400);
const BUSY_WAIT_MAX: Duration = Duration::from_secs(1);

/// One operation on its way.
struct Entry {
    op: Box<dyn CommitOp>,
    has_files: bool,
    prepared: bool,
    durability: Durability,
    expunges: UidSet,
    error: Option<Arc<CommitError>>,
}

/// One mailbox's part of a round.
struct Batch {
    index: Arc<MailboxIndex>,
    entries: Vec<Entry>,
    locked: Option<Locked>,
    /// Where the log ended before this batch.
    base: u32,
    dirs: Vec<PathBuf>,
    files: Vec<FileHandle>,
    cached: Vec<(Uid, CacheValues)>,
    needs_sync: bool,
    outcome: Option<CommitOutcome>,
    changed: bool,
    owes_flush: bool,
}

/// Ends a leadership, whatever happens.
struct Leadership<'a>(&'a Arc<MailboxIndex>);

impl Drop for Leadership<'_> {
    fn drop(&mut self) {
        let next = self.0.queue().resign();
        self.0.hand_over(next);
    }
}

/// Carries one batch of a log whose lead was taken; waits for the lock.
pub(in crate::engine) fn lead(index: &Arc<MailboxIndex>) {
    let leadership = Leadership(index);
    let ops = index.queue().take(BATCH_OPS_MAX);
    let mut round = vec![Batch::new(index, ops)];
    sync_bodies(index.env(), &mut round);
    let timeout = index.env().options().lock_timeout;
    if let Some(batch) = round.first_mut() {
        batch.take_lock(timeout, true);
    }
    finish_round(index.env(), round);
    drop(leadership);
}

/// Carries what is queued on many logs, those that nobody else leads: one sync for all bodies, one for all logs. A log
/// that is locked elsewhere does not hold up the others.
pub(in crate::engine) fn drive_many(indexes: Vec<Arc<MailboxIndex>>) {
    let Some(env) = indexes.first().map(|index| index.env().clone()) else { return };
    let led: Vec<_> = indexes
        .iter()
        .filter(|index| {
            index.queue().arrived();
            index.queue().try_lead()
        })
        .collect();
    let leaderships: Vec<_> = led.iter().map(|index| Leadership(index)).collect();
    let mut round: Vec<_> = led.iter().map(|index| Batch::new(index, index.queue().take(BATCH_OPS_MAX))).collect();
    sync_bodies(&env, &mut round);
    let (start, mut pause) = (env.fs().monotonic(), BUSY_PAUSE_MIN);
    let mut blocked = None;
    while !round.is_empty() {
        let waited = env.fs().monotonic().saturating_sub(start);
        let last_try = waited >= env.options().lock_timeout;
        let (mut ready, mut busy): (Vec<Batch>, Vec<Batch>) = (Vec::new(), Vec::new());
        for mut batch in round {
            let first = ready.is_empty();
            let locked = batch.try_lock(first, last_try.then_some(waited));
            if locked { ready.push(batch) } else { busy.push(batch) }
        }
        let progress = !ready.is_empty();
        finish_round(&env, ready);
        if !progress {
            if pause >= BUSY_PAUSE_MAX {
                blocked.get_or_insert_with(|| env.pool().blocked());
            }
            if pause >= BUSY_WAIT_FROM && env.fs().waits_for_locks() {
                // None is held: one can be waited for where others wait.
                let left = env.options().lock_timeout.saturating_sub(waited).min(BUSY_WAIT_MAX);
                if busy.first_mut().is_some_and(|batch| batch.wait_lock(left)) {
                    finish_round(&env, vec![busy.remove(0)]);
                }
            } else {
                env.fs().sleep(pause);
            }
            pause = (pause * 2).min(BUSY_PAUSE_MAX);
        }
        round = busy;
    }
    drop(leaderships);
}

/// Runs something under a log's lock, outside the queue: internal work that needs no batch.
pub(in crate::engine) fn with_lock<T>(
    index: &Arc<MailboxIndex>,
    timeout: Duration,
    work: impl FnOnce(&mut Locked) -> Result<T>,
) -> Result<T> {
    let mut locked = lock(index, timeout, true, LockFor::Flags)?;
    work(&mut locked)
}

/// Takes the lock for what it is wanted for, and for what stands in the log to be carried out.
fn lock_for(index: &Arc<MailboxIndex>, timeout: Duration, ranked: bool, what_for: LockFor) -> Result<Locked> {
    let locked = lock(index, timeout, ranked, what_for)?;
    let asked = what_for != LockFor::Messages && !locked.state.requested_expunges().is_empty();
    if asked && index.store.removes_under_lock() {
        drop(locked);
        return lock(index, timeout, ranked, LockFor::Messages);
    }
    Ok(locked)
}

/// The stages after the locks: all logs of a round go through each stage together.
fn finish_round(env: &Env, mut round: Vec<Batch>) {
    for batch in &mut round {
        batch.prepare();
    }
    sync_names(env, &mut round);
    for batch in &mut round {
        batch.append();
    }
    sync_logs(env, &mut round);
    for batch in &mut round {
        batch.carry_out();
    }
    for batch in round {
        batch.finish();
    }
}

fn sync_bodies(env: &Env, round: &mut [Batch]) {
    let mut files: Vec<FileHandle> = Vec::new();
    for entry in round.iter_mut().flat_map(|batch| &mut batch.entries) {
        match contained(|| entry.op.files_to_sync()) {
            Ok(more) => {
                entry.has_files = !more.is_empty();
                files.extend(more);
            }
            Err(e) => entry.fail(CommitStage::Bodies, false, Arc::new(e)),
        }
    }
    if !env.syncs() || files.is_empty() {
        return;
    }
    if let Err(e) = env.fs().sync_many(&files) {
        // Which file failed is not known, and asking again might be answered with a wrong yes.
        let error = Arc::new(OpError::from(e));
        for entry in round.iter_mut().flat_map(|batch| &mut batch.entries).filter(|entry| entry.has_files) {
            entry.fail(CommitStage::Bodies, false, Arc::clone(&error));
        }
    }
}

fn sync_names(env: &Env, round: &mut [Batch]) {
    if !env.syncs() {
        return;
    }
    let mut work: Vec<(usize, Unsynced)> = Vec::new();
    for (at, batch) in round.iter_mut().enumerate() {
        work.extend(std::mem::take(&mut batch.files).into_iter().map(|file| (at, Unsynced::File(file))));
        work.extend(std::mem::take(&mut batch.dirs).into_iter().map(|dir| (at, Unsynced::Dir(dir))));
    }
    let sync = |work: &[(usize, Unsynced)]| -> Vec<(usize, mailfs::FsError)> {
        work.iter().filter_map(|(at, what)| Some((*at, what.sync(env).err()?))).collect()
    };
    let failures = if work.len() == 1 || env.options().background == Background::Manual {
        sync(&work)
    } else {
        let share = work.len().div_ceil(DIR_SYNC_THREADS_MAX).max(1);
        thread::scope(|scope| {
            let threads: Vec<_> = work.chunks(share).map(|part| scope.spawn(|| sync(part))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap_or_default()).collect()
        })
    };
    for (at, error) in failures {
        if let Some(batch) = round.get_mut(at) {
            if let Some(locked) = &batch.locked {
                locked.log.owe_name();
            }
            batch.abort(CommitStage::Names, IndexError::from(error));
        }
    }
}

/// What has to be durable before the append.
enum Unsynced {
    File(FileHandle),
    Dir(PathBuf),
}

impl Unsynced {
    fn sync(&self, env: &Env) -> mailfs::Result<()> {
        match self {
            Self::File(file) => file.sync_data(),
            Self::Dir(dir) => env.fs().sync_dir(dir),
        }
    }
}

fn sync_logs(env: &Env, round: &mut [Batch]) {
    let due = |batch: &&mut Batch| batch.needs_sync && batch.locked.is_some();
    let logs: Vec<_> =
        round.iter_mut().filter(due).filter_map(|b| b.locked.as_ref()).map(|l| Arc::clone(&l.log)).collect();
    if logs.is_empty() {
        return;
    }
    let handles: Vec<FileHandle> = logs.iter().map(|log| Arc::clone(&log.handle)).collect();
    let synced = match &handles[..] {
        [only] => only.sync_data(),
        all => env.fs().sync_many(all),
    };
    if let Err(e) = synced {
        let error = Arc::new(OpError::from(e));
        for batch in round.iter_mut().filter(due) {
            batch.abort_with(CommitStage::Sync, Arc::clone(&error));
        }
    } else {
        logs.iter().for_each(|log| {
            log.take_dirty();
        });
    }
}

impl Entry {
    fn fail(&mut self, stage: CommitStage, uncertain: bool, source: Arc<OpError>) {
        if self.error.is_none() {
            self.error = Some(Arc::new(CommitError { stage, uncertain, source }));
        }
    }

    fn undo(&mut self) {
        self.prepared = false;
        if let Err(e) = contained(|| self.op.undo()) {
            tracing::error!("a commit was not undone: {e}");
        }
    }
}

impl Batch {
    fn new(index: &Arc<MailboxIndex>, ops: Vec<Box<dyn CommitOp>>) -> Self {
        let entry = |op| Entry {
            op,
            has_files: false,
            prepared: false,
            durability: Durability::Lazy,
            expunges: UidSet::new(),
            error: None,
        };
        Self {
            index: Arc::clone(index),
            entries: ops.into_iter().map(entry).collect(),
            locked: None,
            base: 0,
            dirs: Vec::new(),
            files: Vec::new(),
            cached: Vec::new(),
            needs_sync: false,
            outcome: None,
            changed: false,
            owes_flush: false,
        }
    }

    fn what_for(&self) -> LockFor {
        let what_for = |entry: &Entry| match () {
            () if entry.op.touches_messages() => LockFor::Messages,
            () if entry.op.reads_messages() => LockFor::Reading,
            () => LockFor::Flags,
        };
        let sound = self.entries.iter().filter(|entry| entry.error.is_none());
        sound.map(what_for).max().unwrap_or(LockFor::Flags)
    }

    fn take_lock(&mut self, timeout: Duration, ranked: bool) {
        match lock_for(&self.index, timeout, ranked, self.what_for()) {
            Ok(locked) => self.locked = Some(locked),
            Err(e) => self.abort(CommitStage::Lock, e),
        }
    }

    /// `false` when the log is locked elsewhere and there is still time.
    fn try_lock(&mut self, ranked: bool, timed_out: Option<Duration>) -> bool {
        match lock_for(&self.index, Duration::ZERO, ranked, self.what_for()) {
            Ok(locked) => self.locked = Some(locked),
            Err(IndexError::LockTimeout { path, .. }) => match timed_out {
                None => return false,
                Some(waited) => self.abort(CommitStage::Lock, IndexError::LockTimeout { path, waited }),
            },
            Err(e) => self.abort(CommitStage::Lock, e),
        }
        true
    }

    /// Waits so long; `false` when the log is still locked elsewhere.
    fn wait_lock(&mut self, timeout: Duration) -> bool {
        match lock_for(&self.index, timeout, true, self.what_for()) {
            Ok(locked) => self.locked = Some(locked),
            Err(IndexError::LockTimeout { .. }) => return false,
            Err(e) => self.abort(CommitStage::Lock, e),
        }
        true
    }

    fn abort(&mut self, stage: CommitStage, error: IndexError) {
        self.abort_with(stage, Arc::new(OpError::Index(error)));
    }

    /// Fails every operation that has not failed yet, takes back what was appended, and then what was done to files.
    fn abort_with(&mut self, stage: CommitStage, error: Arc<OpError>) {
        let base = self.base;
        let taken_back = match &mut self.locked {
            Some(locked) if locked.written() != base || locked.log.is_distrusted() => locked.cut_back(base),
            _ => true,
        };
        if let Some(locked) = &mut self.locked {
            if taken_back { locked.take_back_store() } else { locked.publish_store() }
        }
        for entry in self.entries.iter_mut().rev() {
            if entry.prepared && taken_back {
                entry.undo();
            }
            entry.fail(stage, !taken_back, Arc::clone(&error));
        }
        if let Some(locked) = self.locked.take()
            && locked.log.is_distrusted()
            && self.index.env().syncs()
        {
            // What stood in the log unsynced before this batch is to be saved, whether or not another commit comes.
            self.index.env().pool().schedule_flush(Arc::clone(&self.index));
        }
        self.needs_sync = false;
    }

    fn prepare(&mut self) {
        let Some(mut locked) = self.locked.take() else { return };
        self.base = locked.written();
        if locked.log.take_owed_name() {
            self.dirs.push(self.index.paths.dir.clone());
        }
        if let Err(e) = carry_out_requests(&mut locked, Requests::Found) {
            tracing::warn!(dir = %self.index.dir().display(), "requests of others were not carried out: {e}");
        }
        let syncs = self.index.env().options().fsync;
        self.needs_sync |= locked.has_removals() && self.index.store.counts_references() && syncs != Fsync::Never;
        for entry in self.entries.iter_mut().filter(|entry| entry.error.is_none()) {
            if let Some(store) = &mut locked.store_lock {
                store.mark();
            }
            match prepare_one(entry, &mut locked, &mut self.dirs, &mut self.files, &mut self.cached) {
                Ok(()) => {
                    let due = entry.durability == Durability::Synced || syncs == Fsync::Always;
                    self.needs_sync |= due && syncs != Fsync::Never;
                }
                Err(e) => {
                    if let Some(store) = &mut locked.store_lock {
                        store.back_to_mark();
                    }
                    entry.undo();
                    entry.fail(CommitStage::Prepare, false, Arc::new(e));
                }
            }
        }
        let cached = std::mem::take(&mut self.cached);
        if !cached.is_empty()
            && let Some(transaction) = cache_file::store(&locked, &cached, Wait::ForCommit)
            && let Err(e) = locked.add(&transaction)
        {
            tracing::warn!(dir = %self.index.dir().display(), "values not cached: {e}");
        }
        let written = locked.store_lock.as_mut().map(|store| store.write());
        self.locked = Some(locked);
        match written {
            None => {}
            Some(Ok(files)) => self.files.extend(files),
            Some(Err(e)) => self.abort(CommitStage::Bodies, e),
        }
    }

    fn append(&mut self) {
        let Some(locked) = &mut self.locked else { return };
        if let Err(e) = locked.write() {
            self.abort(CommitStage::Append, e);
        }
    }

    /// What was asked for is durable now: it is recorded that the messages are gone, and their bodies are removed.
    fn carry_out(&mut self) {
        let Some(locked) = &mut self.locked else { return };
        let appended = locked.written() != self.base;
        self.owes_flush = appended && !self.needs_sync && self.index.env().syncs();
        let at_once = locked.index.store.counts_references();
        if at_once {
            locked.tell_gone();
        }
        let expunges = !at_once && self.entries.iter().any(|e| e.error.is_none() && !e.expunges.is_empty());
        let flags = locked.index.store.keeps_flags() && locked.state.has_pending();
        if !expunges && flags {
            // They are in force whether or not the store has them yet.
            let before = locked.written();
            let carried = carry_out_requests(locked, Requests::Synced).and_then(|()| locked.write());
            if let Err(e) = carried {
                tracing::warn!(dir = %locked.index.dir().display(), "flags were not written to the store: {e}");
                if locked.written() != before || locked.has_pieces() || locked.log.is_distrusted() {
                    locked.cut_back(before);
                }
            }
            self.owes_flush |= locked.written() != before && self.index.env().syncs();
        }
        if expunges {
            let before = locked.written();
            let carried = carry_out_requests(locked, Requests::Synced).and_then(|()| {
                locked.write().inspect_err(|_| {
                    // The requests stay: the next who takes the lock carries them out.
                    locked.cut_back(before);
                })
            });
            match carried {
                Ok(()) => self.owes_flush = self.index.env().syncs(),
                Err(e) => self.fail_expunges(e),
            }
        }
    }

    fn fail_expunges(&mut self, error: IndexError) {
        let error = Arc::new(OpError::Index(error));
        for entry in self.entries.iter_mut().filter(|e| !e.expunges.is_empty()) {
            entry.fail(CommitStage::Append, true, Arc::clone(&error));
        }
        // What the log says is not what `state` says any more: read it again.
        if let Some(locked) = &mut self.locked {
            locked.log.distrust();
        }
    }

    fn finish(mut self) {
        let (env, index) = (self.index.env().clone(), Arc::clone(&self.index));
        if let Some(mut locked) = self.locked.take() {
            let durable = self.needs_sync || !self.owes_flush;
            if locked.log.is_distrusted() {
                // What is in force is on disk, and read from there by another handle.
                locked.publish_store();
                drop(locked);
                if env.syncs() {
                    env.pool().schedule_flush(Arc::clone(&index));
                }
                self.outcome = index.refresh().ok().map(|state| CommitOutcome { state, durable });
            } else {
                settle_before_rotation(&mut locked);
                let rotated = rotate::rotate_if_due(&mut locked);
                self.owes_flush &= !rotated;
                self.changed = locked.publish();
                index.keep_files(&locked.log);
                self.outcome = Some(CommitOutcome { state: locked.state.clone(), durable });
                if self.owes_flush && locked.log.set_dirty() {
                    env.pool().schedule_flush(Arc::clone(&index));
                }
            }
        }
        index.announce(self.changed);
        let expunged = self.entries.iter().any(|entry| entry.error.is_none() && !entry.expunges.is_empty());
        for entry in self.entries {
            let outcome = match (entry.error, &self.outcome) {
                (None, Some(outcome)) => Ok(outcome),
                (Some(error), _) => Err(error),
                (None, None) => Err(Arc::new(CommitError {
                    stage: CommitStage::Lock,
                    uncertain: false,
                    source: Arc::new(OpError::Index(index.deleted_error())),
                })),
            };
            let op = entry.op;
            if catch_unwind(AssertUnwindSafe(|| op.done(outcome))).is_err() {
                tracing::error!(dir = %index.dir().display(), "panic in the end of an operation");
            }
        }
        index.schedule_snapshot_if_due();
        if expunged {
            index.schedule_cache_purge();
        }
    }
}

fn prepare_one(
    entry: &mut Entry,
    locked: &mut Locked,
    dirs: &mut Vec<PathBuf>,
    files: &mut Vec<FileHandle>,
    cached: &mut Vec<(Uid, CacheValues)>,
) -> std::result::Result<(), OpError> {
    entry.prepared = true;
    let state: State = locked.state.clone();
    let dir = locked.index.paths.dir.clone();
    let at_once = locked.index.store.counts_references();
    let mut point = CommitPoint::new(&state, &dir, locked.store_lock.as_deref_mut());
    contained(|| entry.op.prepare(&mut point)).and_then(|prepared| prepared)?;
    let Prepared { mut transaction, durability, expunges, dirs: more_dirs, files: more_files, cached: more_cached } =
        point.finish();
    if at_once {
        transaction.expunge_done(with_guids(&state, &expunges));
    } else if !expunges.is_empty() {
        transaction.request_expunge(&expunges);
    }
    if let Some(first) = transaction.first_appended() {
        let env = locked.index.env();
        let today = (env.options().day_start)(env.unix_time());
        if let Some(table) = day_table::after_append(&state, first, today) {
            transaction.header_update(day_table::DAY_STAMP, &table);
        }
    }
    locked.add(&transaction)?;
    if at_once && !expunges.is_empty() {
        locked.remove_when_written(state, expunges.clone());
    }
    entry.durability = durability;
    entry.expunges = expunges;
    for dir in more_dirs {
        if !dirs.contains(&dir) {
            dirs.push(dir);
        }
    }
    for file in more_files {
        if !files.iter().any(|there| Arc::ptr_eq(there, &file)) {
            files.push(file);
        }
    }
    cached.extend(more_cached);
    Ok(())
}

/// Messages with their GUIDs, where the index has them.
fn with_guids<'a>(state: &'a State, uids: &'a UidSet) -> impl Iterator<Item = (Uid, Guid)> + 'a {
    let field = state.extension_index(ExtensionSpec::GUID.name);
    uids.iter().map(move |uid| {
        let guid = field.and_then(|field| state.record_of(uid)?.field(field).first_chunk::<16>().copied());
        (uid, guid.map_or(Guid::ZERO, Guid))
    })
}

/// Puts a log right of which a write or sync failed.
pub(in crate::engine) fn heal(index: &Arc<MailboxIndex>) -> Result<()> {
    let timeout = index.env().options().lock_timeout;
    with_lock(index, timeout, |_| Ok(()))
}

/// Carries out what the log asks for, and nothing else.
pub(in crate::engine) fn carry_out(index: &Arc<MailboxIndex>) -> Result<State> {
    let timeout = index.env().options().lock_timeout;
    let mut locked = lock(index, timeout, true, LockFor::Messages)?;
    let before = locked.written();
    carry_out_requests(&mut locked, Requests::Found)?;
    if let Err(e) = locked.write() {
        locked.cut_back(before);
        return Err(e);
    }
    if locked.has_removals() {
        if index.env().syncs() {
            locked.log.handle.sync_data().inspect_err(|_| locked.log.distrust())?;
        }
        locked.tell_gone();
    } else if locked.written() != before && locked.log.set_dirty() {
        index.env().pool().schedule_flush(Arc::clone(index));
    }
    let (state, changed) = (locked.state.clone(), locked.publish());
    drop(locked);
    index.announce(changed);
    Ok(state)
}

/// Where requests come from that are to be carried out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Requests {
    /// They stood in the log; whoever wrote them may have died before the sync.
    Found,
    /// They are of this batch, and durable.
    Synced,
}

/// Does what internal records ask for (`docs/formats/log.md`, "Internal against external"): says that the messages are
/// gone, moves the tail, and has the bodies removed once that is written. Flags need nothing done where the index is their only place.
fn carry_out_requests(locked: &mut Locked, requests: Requests) -> Result<()> {
    if !locked.state.has_pending() {
        return Ok(());
    }
    let mut transaction = Transaction::new();
    let requested = locked.state.requested_expunges();
    let at_once = locked.index.store.counts_references();
    if !requested.is_empty() && requests == Requests::Found && !at_once && locked.index.env().syncs() {
        // Else a power cut might take the request and not the removal: a message without a body.
        locked.log.handle.sync_data().inspect_err(|_| locked.log.distrust())?;
    }
    if locked.index.store.keeps_flags() {
        return carry_out_in_store(locked, requests, &requested, transaction);
    }
    if !requested.is_empty() {
        transaction.expunge_done(with_guids(&locked.state, &requested));
    }
    transaction.move_tail();
    let before = locked.state.clone();
    locked.add(&transaction)?;
    if !requested.is_empty() {
        locked.remove_when_written(before, requested);
    }
    Ok(())
}

/// The same for a store whose names tell of messages and flags: these change first, and the tail moves when they are
/// durable. Until then whoever takes the lock after a crash does it again.
fn carry_out_in_store(
    locked: &mut Locked,
    requests: Requests,
    expunges: &UidSet,
    mut transaction: Transaction,
) -> Result<()> {
    let index = Arc::clone(&locked.index);
    let refused = |what: StoreError| IndexError::Store { dir: index.paths.dir.clone(), what: what.to_string() };
    let mut flags = locked.state.flag_requests(index.carried_out(&locked.state));
    flags.iter_mut().for_each(|(_, uids)| *uids = uids.difference(expunges));
    flags.retain(|(_, uids)| !uids.is_empty());
    if !flags.is_empty() {
        contained(|| index.store.write_flags(&locked.state, &flags, &mut transaction))
            .map_err(|e| refused(e.into()))?
            .map_err(refused)?;
        if requests == Requests::Found && index.env().syncs() {
            // Somebody else may have changed the names already, and died before they were durable.
            index.store.sync_names()?;
        }
    }
    if !expunges.is_empty() {
        contained(|| index.store.remove_recording(&locked.state, expunges, &mut transaction))
            .map_err(|e| refused(e.into()))?
            .map_err(refused)?;
        if index.env().syncs() {
            index.store.sync_names()?;
        }
        cache_file::count_deleted(&index, &locked.state, expunges);
        transaction.expunge_done(expunges.iter().map(|uid| (uid, Guid::ZERO)));
    }
    if !index.env().syncs() || !index.store.owes_names() {
        transaction.move_tail();
    }
    // The place that is on disk: what is added here may yet be cut off again.
    let carried_out = locked.state.clone();
    locked.add(&transaction)?;
    index.set_carried_out(&carried_out);
    Ok(())
}

/// A log with open requests cannot be rotated.
fn settle_before_rotation(locked: &mut Locked) {
    let index = Arc::clone(&locked.index);
    let due = locked.state.has_pending()
        && index.store.keeps_flags()
        && rotate::is_long_enough(index.env(), &locked.log, locked.written());
    if !due {
        return;
    }
    if let Err(e) = settle(locked) {
        tracing::warn!(dir = %index.dir().display(), "not rotated: {e}");
    }
}

/// Carries out what the log asks for, durably, so that nothing is left to be asked. When it fails the log is as it was.
pub(in crate::engine) fn settle(locked: &mut Locked) -> Result<()> {
    let (index, before) = (Arc::clone(&locked.index), locked.written());
    let settled = index.store.sync_names().map_err(IndexError::from).and_then(|()| {
        carry_out_requests(locked, Requests::Found)?;
        locked.write()
    });
    if settled.is_err() && (locked.written() != before || locked.has_pieces()) {
        locked.cut_back(before);
    }
    settled
}

/// A bug in an operation is that operation's failure, not the mailbox's.
fn contained<T>(work: impl FnOnce() -> T) -> std::result::Result<T, OpError> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let text =
            panic.downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
        OpError::Panicked(text.unwrap_or_else(|| "no text".to_owned()))
    })
}

impl MailboxIndex {
    /// Makes all flag changes of this mailbox durable that have been acknowledged so far.
    pub fn flush(self: &Arc<Self>) -> Result<()> {
        self.env().pool().flush(vec![Arc::clone(self)])
    }
}
