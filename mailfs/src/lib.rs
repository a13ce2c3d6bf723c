//! One door to the file system for a mail store.
//!
//! Every layer above touches the disk through one injected [`FileSystem`], for three reasons: the locking rules stand in
//! one place, the sync rules stand in one place, and a simulated disk can stand behind the same calls ([`sim`]), so
//! that a test can crash after every call and fail every call.
//!
//! # Invariants
//!
//! 1. A new file counts as there only after its own data *and* its directory are synced ([`FileSystem::sync_dir`]).
//! 2. After a failed write or sync a handle is not trusted again: what it wrote may or may not be on disk.
//! 3. Record locks are open-file-description locks: they exclude Dovecot's fcntl locks, work between threads, and do not
//!    vanish when another descriptor of the file is closed (`docs/formats/locking.md`).
//! 4. Nothing here knows what mail is.

#![deny(unsafe_code)]

/// The example of the README is tested like those here.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod convenience;
mod dotlock;
mod error;
mod file_system;
mod host;
mod lock;
mod lock_order;
mod map;
mod overlay;
mod real;
pub mod sim;

pub use convenience::{Access, FileSystemExt, TEMP_PREFIX};
pub use dotlock::{Dotlock, DotlockContent, DotlockOptions};
pub use error::{FsError, Result};
pub use file_system::{DirEntry, File, FileHandle, FileKind, FileSystem, LockKind, Metadata, OpenMode, Wake, Watch};
pub use lock::{CreatedLock, FlockGuard, LockGuard, LockPoller, lock_with_timeout};
pub use lock_order::{LockOrder, LockRank, RankGuard};
pub use map::{Bytes, MapPolicy, ReadOnlyMap, open_bytes};
pub use overlay::{OVERLAY_LEN_MAX, Overlay};
pub use real::{RealDisk, RealDiskOptions};
