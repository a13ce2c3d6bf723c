//! What all mailboxes of a program share: the file system, the options, the registry of what is open, the threads.
//!
//! # Invariants
//!
//! 1. There is no global state: two `Env`s are as good as two processes.
//! 2. Threads are started at the first work for them and end with the last handle of the `Env`.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use mailfs::{FileSystem, Overlay};

use super::{day_table::host_day_start, pool::Pool, registry::Registry};

/// When data is made durable (`docs/formats/locking.md`, Durability).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Fsync {
    /// Appends and expunges before they are acknowledged, flag changes within [`EnvOptions::flag_flush_interval`].
    #[default]
    Optimized,
    /// Everything before it is acknowledged.
    Always,
    /// Nothing; for imports that can be run again.
    Never,
}

/// Who does background work.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Background {
    /// Threads of the `Env`'s own.
    #[default]
    Threads,
    /// The host, by calling [`Env::drain`].
    Manual,
}

/// Numbers that govern the engine.
#[derive(Clone, Debug)]
pub struct EnvOptions {
    /// When data is made durable.
    pub fsync: Fsync,
    /// How long a commit waits for the log's lock.
    pub lock_timeout: Duration,
    /// How long a commit waits for the cache's lock; then its values are not cached.
    pub cache_lock_timeout: Duration,
    /// Threads that carry commits nobody waits for.
    pub commit_threads: usize,
    /// How many mailboxes one commit thread takes at once.
    pub commit_gather_max: usize,
    /// Flag changes are durable after this long at the latest.
    pub flag_flush_interval: Duration,
    /// Bytes of states kept for mailboxes that nobody has open.
    pub state_cache_len_max: usize,
    /// A snapshot is written when the log has grown by this much, or by a quarter of the snapshot if that is more.
    pub snapshot_log_len_min: u64,
    /// A log of this length is rotated once it is [`rotate_age_min`](Self::rotate_age_min) old.
    pub rotate_len_min: u64,
    /// See [`rotate_len_min`](Self::rotate_len_min).
    pub rotate_age_min: Duration,
    /// A log of this length is rotated whatever its age.
    pub rotate_len_max: u64,
    /// `.log.2` is removed when it is older.
    pub log2_age_max: Duration,
    /// Cache values waiting to be written, per mailbox, in bytes; more are dropped.
    pub cache_fill_len_max: usize,
    /// The local midnight before a Unix time, for the index's day table.
    pub day_start: fn(u32) -> u32,
    /// Who does background work.
    pub background: Background,
    /// Not a byte and no time of any file changes, and no lock is taken: the file system is put below a
    /// [`mailfs::Overlay`]. What has to be put right, or found out, to be read at all is so in memory. Layers above refuse
    /// changes.
    pub read_only: bool,
}

impl Default for EnvOptions {
    fn default() -> Self {
        Self {
            fsync: Fsync::default(),
            lock_timeout: Duration::from_secs(180),
            cache_lock_timeout: Duration::from_secs(10),
            commit_threads: 4,
            commit_gather_max: 64,
            flag_flush_interval: Duration::from_secs(1),
            state_cache_len_max: 64 << 20,
            snapshot_log_len_min: 128 << 10,
            rotate_len_min: 32 << 10,
            rotate_age_min: Duration::from_secs(5 * 60),
            rotate_len_max: 1 << 20,
            log2_age_max: Duration::from_secs(2 * 24 * 3600),
            cache_fill_len_max: 1 << 20,
            day_start: host_day_start,
            background: Background::default(),
            read_only: false,
        }
    }
}

/// A file system with options and whatever mailboxes are open in it. Cheap to clone.
#[derive(Clone)]
pub struct Env(Arc<Inner>);

struct Inner {
    fs: Arc<dyn FileSystem>,
    options: EnvOptions,
    registry: Registry,
    pool: Pool,
    companions: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
    /// See [`Env::read_only`].
    read_only: OnceLock<Env>,
}

impl Env {
    /// Over a file system.
    pub fn new(fs: Arc<dyn FileSystem>, options: EnvOptions) -> Self {
        let fs = if options.read_only && !fs.is_overlay() { Arc::new(Overlay::new(fs)) } else { fs };
        let pool = Pool::new(Arc::clone(&fs), &options);
        let registry = Registry::new(options.state_cache_len_max);
        Self(Arc::new(Inner { fs, options, registry, pool, companions: Mutex::default(), read_only: OnceLock::new() }))
    }

    /// The `Env` for stores on the same file system that are only to be read ([`EnvOptions::read_only`]); always the same.
    pub fn read_only(&self) -> Self {
        if self.is_read_only() {
            return self.clone();
        }
        let options = EnvOptions { read_only: true, ..self.0.options.clone() };
        self.0.read_only.get_or_init(|| Self::new(Arc::clone(&self.0.fs), options)).clone()
    }

    /// See [`EnvOptions::read_only`].
    pub fn is_read_only(&self) -> bool {
        self.0.options.read_only
    }

    /// The file system.
    pub fn fs(&self) -> &Arc<dyn FileSystem> {
        &self.0.fs
    }

    /// The options.
    pub fn options(&self) -> &EnvOptions {
        &self.0.options
    }

    /// What a layer above keeps for as long as the `Env`, one of each type; made at the first call. It must not hold a
    /// handle of the `Env`.
    pub fn companion<T: Any + Send + Sync + Default>(&self) -> Arc<T> {
        let mut companions = self.0.companions.lock().unwrap_or_else(PoisonError::into_inner);
        let companion = companions.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(T::default()));
        Arc::clone(companion).downcast().unwrap_or_default()
    }

    /// Does all background work that is due now, on this thread: commits nobody waits for, snapshots, and flag changes
    /// whose time has come. With [`Background::Manual`] nobody else does it. Tells whether anything was done.
    pub fn drain(&self) -> bool {
        self.0.pool.drain()
    }

    /// Makes all flag changes durable that have been acknowledged so far.
    pub fn flush(&self) -> super::Result<()> {
        self.0.pool.flush_all()
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.0.registry
    }

    pub(super) fn pool(&self) -> &Pool {
        &self.0.pool
    }

    /// Whether data is synced at all.
    pub(super) fn syncs(&self) -> bool {
        self.0.options.fsync != Fsync::Never
    }

    /// Seconds since 1970, as the files hold them.
    pub(super) fn unix_time(&self) -> u32 {
        let since = self.0.fs.now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        u32::try_from(since.as_secs()).unwrap_or(u32::MAX)
    }

    /// A number that nobody else uses, for names of temporary files.
    pub(super) fn random(&self) -> u64 {
        let mut bytes = [0; 8];
        self.0.fs.random(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env").field("fs", &self.0.fs).finish_non_exhaustive()
    }
}
