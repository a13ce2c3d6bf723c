//! A disk in memory behind the same calls as the real one, whose power can be cut during any call, and of which any call
//! can fail.
//!
//! # The model
//!
//! There are two images. The *live* one is what running code sees. The *durable* one is what a power cut leaves for
//! certain. Between them stand the changes that are not synced yet, of which a [`CrashChoice`] keeps, drops or tears each.
//!
//! - [`File::sync_data`](crate::File::sync_data) makes a file's data and length durable, not its name.
//! - [`FileSystem::sync_dir`](crate::FileSystem::sync_dir) makes all changes of names in that directory durable. A rename between two directories
//!   becomes durable as a whole when either is synced, as with a journal. So does what it depends on: earlier changes of
//!   the same names. The directory's own name is its parent's matter.
//! - Not synced, changes of *different* names come to the disk in any order and independently. That is harsher than ext4,
//!   which orders all of them, and no harsher than what POSIX allows. A rename is never half done. A directory's removal
//!   does not come before the changes that emptied it.
//! - Writes come to the disk in any order, cut at any byte, or as zeros where the file has grown.
//! - Modes and groups are durable at once. Inode numbers stay, and those of removed files are used again at once, as
//!   soon as no crash can bring the file back. Locks and open handles do not survive.
//! - A sync that failed by [`Fault::Io`] has lost the data for good, although reading still shows it: Linux takes the pages
//!   for clean. Another write of the same range and another sync save it.
//!
//! There are no symbolic links. Time is the disk's own: each call takes a microsecond, and sleeping only advances the
//! clock. Random bytes come from a seed. So a single-threaded run comes out the same each time.

mod crash;
mod disk;
mod fault;
mod file;
mod image;
mod random;
mod runner;
mod state;
mod transfer;

pub use self::{
    crash::CrashChoice,
    disk::SimDisk,
    fault::Fault,
    runner::{Acks, BoxError, CrashReport, CrashRunner, FaultReport, FaultRunner},
};
