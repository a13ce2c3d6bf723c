//! The inside of a simulated disk, and how a call goes through it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use rustix::io::Errno;

use super::{
    fault::{CallKind, Plan, Verdict, crashed},
    image::{Image, Node},
    random::SimRandom,
};
use crate::{FsError, LockKind, Metadata, Result, Wake};

/// What each call takes.
const TICK: Duration = Duration::from_micros(1);

/// The clock's start: 2026-01-01, as good as any.
const START_SECONDS: u64 = 1_767_225_600;

/// The process that uses the disk, as it stands in dotlocks.
const PROCESS_ID: u32 = 4242;

pub(super) struct Shared {
    /// So that an inode of this disk is told from the same of another one, or of this one before a crash.
    pub(super) device: u64,
    state: Mutex<State>,
}

pub(super) struct State {
    pub(super) image: Image,
    pub(super) elapsed: Duration,
    pub(super) random: SimRandom,
    pub(super) plan: Plan,
    pub(super) locks: BTreeMap<u64, Vec<(u64, LockKind)>>,
    /// Which handle has the lock of the `flock` family, by inode.
    pub(super) flocks: BTreeMap<u64, u64>,
    pub(super) next_id: u64,
    pub(super) watches: BTreeMap<u64, (PathBuf, Wake)>,
    pub(super) processes: BTreeSet<u32>,
    pub(super) process_id: u32,
    pub(super) host_name: String,
    /// Directories that something happened in during the call.
    happened: BTreeSet<u64>,
    /// A directory has come, gone or moved, so that paths lead elsewhere.
    dirs_changed: bool,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("SimDisk")
            .field("device", &self.device)
            .field("calls", &state.plan.calls)
            .field("crashed_during", &state.plan.crashed_during)
            .finish_non_exhaustive()
    }
}

/// How far a call goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Extent {
    Whole,
    Half,
}

impl Shared {
    pub(super) fn new(device: u64, state: State) -> Arc<Self> {
        Arc::new(Self { device, state: Mutex::new(state) })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts one call through: counts it, lets it fail if it is to, and wakes watchers afterwards without the mutex.
    pub(super) fn call<T>(
        &self,
        kind: CallKind,
        op: &'static str,
        path: &Path,
        run: impl FnOnce(&mut State, Extent) -> io::Result<T>,
    ) -> Result<T> {
        self.judged(kind, op, path, |_, _| {}, run)
    }

    /// The same for a sync of data, of which a failure does more than not to happen.
    pub(super) fn sync_call(&self, op: &'static str, path: &Path, inode: u64) -> Result<()> {
        let on_failure = |state: &mut State, gives_up| {
            if gives_up {
                state.image.give_up_data(inode);
            }
        };
        self.judged(CallKind::SyncData, op, path, on_failure, |state, _| state.image.sync_data(inode))
    }

    fn judged<T>(
        &self,
        kind: CallKind,
        op: &'static str,
        path: &Path,
        on_failure: impl FnOnce(&mut State, bool),
        run: impl FnOnce(&mut State, Extent) -> io::Result<T>,
    ) -> Result<T> {
        let mut state = self.state();
        state.elapsed += TICK;
        let now = state.elapsed;
        let (extent, instead) = match state.plan.judge(kind, op, path, now) {
            Verdict::Go => (Some(Extent::Whole), None),
            Verdict::CutDuring => (Some(Extent::Whole), Some(crashed())),
            Verdict::Short => (Some(Extent::Half), Some(Errno::NOSPC.into())),
            Verdict::Held => (None, Some(Errno::AGAIN.into())),
            Verdict::Fail { error, gives_up_data } => {
                on_failure(&mut state, gives_up_data);
                (None, Some(error))
            }
        };
        let done = extent.map(|extent| run(&mut state, extent));
        let wakes = state.take_wakes();
        drop(state);
        for wake in wakes {
            wake();
        }
        // Here and not before: dropping an opened file takes the mutex.
        let result = match (instead, done) {
            (None, Some(done)) => done,
            (Some(error), _) => Err(error),
            (None, None) => Err(crashed()),
        };
        result.map_err(|e| FsError::new(op, path, e))
    }
}

impl State {
    pub(super) fn new(seed: u64) -> Self {
        let mut state = Self::on(Image::new(time_at(Duration::ZERO)), SimRandom::new(seed));
        state.elapsed = Duration::ZERO;
        state
    }

    /// As after a start of the machine.
    pub(super) fn on(image: Image, random: SimRandom) -> Self {
        Self {
            image,
            elapsed: Duration::ZERO,
            random,
            plan: Plan::default(),
            locks: BTreeMap::new(),
            flocks: BTreeMap::new(),
            next_id: 0,
            watches: BTreeMap::new(),
            processes: BTreeSet::new(),
            process_id: PROCESS_ID,
            host_name: "sim".to_owned(),
            happened: BTreeSet::new(),
            dirs_changed: false,
        }
    }

    /// Another disk like this one, with `image` on it, which nobody has open.
    pub(super) fn with_image(&self, image: Image) -> Self {
        Self {
            elapsed: self.elapsed,
            processes: self.processes.clone(),
            process_id: self.process_id,
            host_name: self.host_name.clone(),
            ..Self::on(image, self.random.clone())
        }
    }

    pub(super) fn now(&self) -> SystemTime {
        time_at(self.elapsed)
    }

    pub(super) fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn metadata(&self, device: u64, number: u64) -> io::Result<Metadata> {
        let inode = self.image.inode(number)?;
        Ok(Metadata {
            device,
            inode: number,
            len: inode.len(),
            kind: inode.kind(),
            mode: inode.mode,
            uid: 0,
            gid: inode.gid,
            links: inode.links,
            modified: inode.modified,
            changed: inode.changed,
        })
    }

    pub(super) fn try_lock(&mut self, inode: u64, handle: u64, kind: LockKind) -> bool {
        let holders = self.locks.entry(inode).or_default();
        let conflicts = |(other, held): &(u64, LockKind)| {
            *other != handle && (kind == LockKind::Exclusive || *held == LockKind::Exclusive)
        };
        if holders.iter().any(conflicts) {
            return false;
        }
        holders.retain(|(other, _)| *other != handle);
        holders.push((handle, kind));
        true
    }

    pub(super) fn unlock(&mut self, inode: u64, handle: u64) {
        if let Some(holders) = self.locks.get_mut(&inode) {
            holders.retain(|(other, _)| *other != handle);
            if holders.is_empty() {
                self.locks.remove(&inode);
            }
        }
    }

    pub(super) fn unflock(&mut self, inode: u64, handle: u64) {
        if self.flocks.get(&inode) == Some(&handle) {
            self.flocks.remove(&inode);
        }
    }

    pub(super) fn note_names(&mut self, dir: u64) {
        self.happened.insert(dir);
    }

    pub(super) fn note_dirs(&mut self) {
        self.dirs_changed = true;
    }

    /// The directories that have a name for the file.
    pub(super) fn note_data(&mut self, inode: u64) {
        if self.watches.is_empty() {
            return;
        }
        let is_parent = |node: &Node| matches!(node, Node::Dir(dir) if dir.live.values().any(|n| *n == inode));
        self.happened.extend(self.image.inodes().filter(|(_, i)| is_parent(&i.node)).map(|(n, _)| n));
    }

    fn take_wakes(&mut self) -> Vec<Wake> {
        let happened = std::mem::take(&mut self.happened);
        let all = std::mem::take(&mut self.dirs_changed);
        let concerned = |path: &Path| all || self.image.resolve(path).is_ok_and(|dir| happened.contains(&dir));
        if !all && happened.is_empty() {
            return Vec::new();
        }
        self.watches.values().filter(|(path, _)| concerned(path)).map(|(_, wake)| Arc::clone(wake)).collect()
    }
}

pub(super) fn time_at(elapsed: Duration) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(START_SECONDS) + elapsed
}
