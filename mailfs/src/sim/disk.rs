//! The simulated disk as a [`FileSystem`], and the handles by which a test drives it.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

use rustix::io::Errno;

use super::{
    crash::{CrashChoice, crash},
    fault::{CallKind, Fault, Plan},
    file::SimFile,
    image::{Image, Node, ROOT},
    state::{Shared, State},
};
use crate::{
    Access, DirEntry, FileHandle, FileKind, FileSystem, FsError, Metadata, OpenMode, Result, Wake, Watch,
    file_system::MODE_BITS,
};

/// Each disk of a process has its own device number.
static NEXT_DEVICE: AtomicU64 = AtomicU64::new(1);

/// A disk in memory; see the module's description for what it promises. Clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimDisk {
    pub(super) shared: Arc<Shared>,
}

impl Default for SimDisk {
    fn default() -> Self {
        Self::new()
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> Self {
        Self::with_seed(0)
    }

    /// An empty disk with other random bytes.
    pub fn with_seed(seed: u64) -> Self {
        Self::from_state(State::new(seed))
    }

    fn from_state(state: State) -> Self {
        Self { shared: Shared::new(NEXT_DEVICE.fetch_add(1, Ordering::Relaxed), state) }
    }

    /// As a file system for code that wants to share one.
    pub fn as_file_system(&self) -> Arc<dyn FileSystem> {
        Arc::new(self.clone())
    }

    /// A disk of its own with the same content, synced and not, the same clock and the same random bytes to come. Nobody
    /// has files open on it, nothing is locked, watched or planned. Costs a few bytes for each file and name.
    pub fn fork(&self) -> Self {
        let state = self.shared.state();
        let mut image = state.image.clone();
        image.close_all_handles();
        Self::from_state(state.with_image(image))
    }

    /// The disk that is found after a power cut now (or when the planned one happened). This one stays as it is.
    pub fn crash(&self, choice: CrashChoice) -> Self {
        let state = self.shared.state();
        let image = crash(&state.image, choice, state.now());
        Self::from_state(state.with_image(image))
    }

    /// Makes all that is there durable, as `sync` does; for setting up.
    pub fn sync_all(&self) {
        self.shared.state().image.sync_all();
    }

    /// From now on: cuts the power during the `k`-th call (from 1) that changes something or syncs. That call and all
    /// after it fail. Counters start anew; a plan that was there before is replaced.
    pub fn crash_after(&self, k: u64) {
        self.shared.state().plan = Plan::crash_at(k);
    }

    /// From now on: lets the `n`-th call (from 1) fail, if it is one that can fail so. Counters start anew; a plan that
    /// was there before is replaced.
    pub fn fail_call(&self, n: u64, fault: Fault) {
        self.shared.state().plan = Plan::fail_at(n, fault, false);
    }

    /// Like [`SimDisk::fail_call`], and every call after it too.
    pub fn fail_calls_from(&self, n: u64, fault: Fault) {
        self.shared.state().plan = Plan::fail_at(n, fault, true);
    }

    /// Nothing fails any more, and counters start anew. A disk that has crashed is back, with what code saw.
    pub fn clear_plan(&self) {
        self.shared.state().plan = Plan::default();
    }

    /// Whether the planned power cut has happened.
    pub fn is_crashed(&self) -> bool {
        self.shared.state().plan.crashed_during.is_some()
    }

    /// The call during which it happened.
    pub fn crashed_during(&self) -> Option<String> {
        self.shared.state().plan.crashed_during.clone()
    }

    /// How many calls were made to fail.
    pub fn faults_delivered(&self) -> u64 {
        self.shared.state().plan.faults_delivered
    }

    /// The last call that was made to fail.
    pub fn failed_call(&self) -> Option<String> {
        self.shared.state().plan.failed_call.clone()
    }

    /// Calls since the plan was made, all that can fail.
    pub fn calls(&self) -> u64 {
        self.shared.state().plan.calls
    }

    /// Calls since the plan was made that change something or sync.
    pub fn changing_calls(&self) -> u64 {
        self.shared.state().plan.crash_calls
    }

    /// Which other processes of this host exist, for stale dotlocks.
    pub fn set_processes(&self, pids: impl IntoIterator<Item = u32>) {
        self.shared.state().processes = pids.into_iter().collect();
    }

    /// What this process is called in dotlocks.
    pub fn set_identity(&self, pid: u32, host_name: &str) {
        let mut state = self.shared.state();
        state.process_id = pid;
        state.host_name = host_name.to_owned();
    }

    /// A number that is the same for disks on which running code would find the same: names, content, modes and which
    /// names are one file. Times do not count.
    pub fn content_hash(&self) -> u64 {
        let state = self.shared.state();
        let mut hasher = DefaultHasher::new();
        hash_tree(&state.image, &mut hasher);
        hasher.finish()
    }

    fn change_name<T>(
        &self,
        kind: CallKind,
        op: &'static str,
        path: &Path,
        change: impl FnOnce(&mut State, SystemTime) -> io::Result<T>,
    ) -> Result<T> {
        self.shared.call(kind, op, path, |state, _| {
            let now = state.now();
            change(state, now)
        })
    }

    fn rename_as(&self, op: &'static str, from: &Path, to: &Path, replace: bool) -> Result<()> {
        self.change_name(CallKind::AddName, op, from, |state, now| {
            let (old_dir, new_dir) = state.image.rename(from, to, replace, now)?;
            state.note_names(old_dir);
            state.note_names(new_dir);
            state.note_dirs();
            Ok(())
        })
        .map_err(|e| FsError::two_paths("rename", from, to, e.source))
    }

    fn handle(&self, state: &mut State, inode: u64, writable: bool, path: &Path) -> FileHandle {
        state.image.open_handle(inode);
        let handle = state.new_id();
        Arc::new(SimFile { shared: Arc::clone(&self.shared), inode, handle, writable, path: path.to_owned() })
    }
}

impl FileSystem for SimDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> Result<FileHandle> {
        let writable = mode != OpenMode::Read;
        if let OpenMode::CreateNew { mode } = mode {
            return self.change_name(CallKind::Create, "create", path, |state, now| {
                let place = state.image.place(path)?;
                let inode = state.image.create(&place, mode & MODE_BITS, now)?;
                state.note_names(place.dir);
                Ok(self.handle(state, inode, true, path))
            });
        }
        self.shared.call(CallKind::Open, "open", path, |state, _| {
            let inode = state.image.resolve(path)?;
            if writable && state.image.inode(inode)?.kind() == FileKind::Dir {
                return Err(Errno::ISDIR.into());
            }
            Ok(self.handle(state, inode, writable, path))
        })
    }

    fn metadata(&self, path: &Path) -> Result<Option<Metadata>> {
        self.shared.call(CallKind::Look, "stat", path, |state, _| match state.image.resolve(path) {
            Ok(inode) => state.metadata(self.shared.device, inode).map(Some),
            Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
            Err(e) => Err(e),
        })
    }

    fn read_dir(&self, path: &Path) -> Result<Vec<DirEntry>> {
        self.shared.call(CallKind::List, "read directory", path, |state, _| {
            let dir = state.image.dir(state.image.resolve(path)?)?;
            let entry = |(name, inode): (&std::ffi::OsString, &u64)| {
                Ok(DirEntry { name: name.clone(), kind: state.image.inode(*inode)?.kind() })
            };
            dir.live.iter().map(entry).collect()
        })
    }

    fn create_dir_as(&self, path: &Path, access: Access) -> Result<()> {
        self.change_name(CallKind::AddName, "create directory", path, |state, now| {
            let place = state.image.place(path)?;
            let made = state.image.create_dir(&place, access.mode & MODE_BITS, now)?;
            let inode = state.image.inode_mut(made)?;
            inode.gid = access.gid.unwrap_or(inode.gid);
            state.note_names(place.dir);
            state.note_dirs();
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.rename_as("rename", from, to, true)
    }

    fn rename_new(&self, from: &Path, to: &Path) -> Result<()> {
        self.rename_as("rename", from, to, false)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> Result<()> {
        self.change_name(CallKind::AddName, "link", from, |state, now| {
            let inode = state.image.resolve(from)?;
            let place = state.image.place(to)?;
            state.image.link(inode, &place, now)?;
            state.note_names(place.dir);
            Ok(())
        })
        .map_err(|e| FsError::two_paths("link", from, to, e.source))
    }

    fn unlink(&self, path: &Path) -> Result<()> {
        self.change_name(CallKind::RemoveName, "unlink", path, |state, now| {
            let place = state.image.place(path)?;
            state.image.unlink(&place, now)?;
            state.note_names(place.dir);
            Ok(())
        })
    }

    fn remove_dir(&self, path: &Path) -> Result<()> {
        self.change_name(CallKind::RemoveName, "remove directory", path, |state, now| {
            let place = state.image.place(path)?;
            state.image.remove_dir(&place, now)?;
            state.note_names(place.dir);
            state.note_dirs();
            Ok(())
        })
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        self.shared.call(CallKind::SyncDir, "sync directory", path, |state, _| {
            let dir = state.image.resolve(path)?;
            state.image.dir(dir)?;
            state.image.sync_dir(dir);
            Ok(())
        })
    }

    /// One after the other, so that the power can be cut between any two.
    fn sync_many(&self, files: &[FileHandle]) -> Result<()> {
        let mut result = Ok(());
        for file in files {
            result = result.and(file.sync_data());
        }
        result
    }

    fn now(&self) -> SystemTime {
        self.shared.state().now()
    }

    fn monotonic(&self) -> Duration {
        let mut state = self.shared.state();
        // Else one who waits by looking at the clock would wait for ever.
        state.elapsed += Duration::from_micros(1);
        state.elapsed
    }

    fn sleep(&self, duration: Duration) {
        self.shared.state().elapsed += duration;
        thread::yield_now();
    }

    fn random(&self, buf: &mut [u8]) {
        self.shared.state().random.fill(buf);
    }

    fn watch_dir(&self, path: &Path, wake: Wake) -> Result<Box<dyn Watch>> {
        let id = self.shared.call(CallKind::Open, "watch", path, |state, _| {
            state.image.dir(state.image.resolve(path)?)?;
            let id = state.new_id();
            state.watches.insert(id, (path.to_owned(), wake));
            Ok(id)
        })?;
        Ok(Box::new(SimWatch { shared: Arc::clone(&self.shared), id }))
    }

    fn process_exists(&self, pid: u32) -> bool {
        let state = self.shared.state();
        pid == state.process_id || state.processes.contains(&pid)
    }

    fn process_id(&self) -> u32 {
        self.shared.state().process_id
    }

    fn host_name(&self) -> String {
        self.shared.state().host_name.clone()
    }
}

struct SimWatch {
    shared: Arc<Shared>,
    id: u64,
}

impl fmt::Debug for SimWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimWatch").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Watch for SimWatch {}

impl Drop for SimWatch {
    fn drop(&mut self) {
        let ended = self.shared.state().watches.remove(&self.id);
        drop(ended); // owners' code may run in here
    }
}

/// In order of names; inodes are named by their first name, so that their numbers do not matter.
fn hash_tree(image: &Image, hasher: &mut DefaultHasher) {
    let mut first_names: std::collections::BTreeMap<u64, PathBuf> = Default::default();
    let mut pending = vec![(ROOT, PathBuf::from("/"))];
    while let Some((number, path)) = pending.pop() {
        path.hash(hasher);
        if let Some(first) = first_names.get(&number) {
            first.hash(hasher);
            continue;
        }
        let Ok(inode) = image.inode(number) else { continue };
        inode.mode.hash(hasher);
        match &inode.node {
            Node::File(file) => file.live.hash(hasher),
            Node::Dir(dir) => {
                dir.live.len().hash(hasher);
                pending.extend(dir.live.iter().map(|(name, number)| (*number, path.join(name))));
            }
        }
        first_names.insert(number, path);
    }
}
