//! mdbox: many messages in a file, and a map of them all (`docs/formats/dbox.md`, "mdbox").
//!
//! # Invariants
//!
//! 1. A message is in a mailbox when the mailbox's log says so. Its body is durable, and the map counts the mailbox's
//!    reference to it durably, before the log says so; the count goes down only when the log says durably that the message
//!    is gone. So a crash of ours leaves a count too high, never one too low. Whoever counts anew lowers a count only with
//!    the list and the map locked, and when every folder that may hold a mailbox was read.
//! 2. Whoever adds messages to a mailbox or takes them away has the map's log locked before the mailbox's, and as long.
//! 3. What lies in an `m.<id>` file within what the map says of it is never written again. Behind that, only who has the
//!    file's `flock` and the map's lock appends.
//! 4. Nothing is written on the strength of a map that is damaged or lost: it is rebuilt first, from the files and the
//!    mailboxes.
//! 5. Views take no lock and wait for none.

mod check;
mod choose;
mod commit;
mod detached;
mod draft;
mod expunged;
mod files;
mod going;
mod index;
mod m_files;
mod map;
mod map_state;
mod message;
mod place;
mod purge;
mod rebuild;
mod recover;
mod rewrite;
mod save;
mod storage;

use std::{
    collections::HashSet,
    fmt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use mailfs::FileSystem;
use mailindex::engine::Env;

pub use self::{expunged::Expunged, rewrite::Purged, storage::MdboxStorage};
use self::{m_files::MFiles, map::Map};
pub use crate::mailbox_list::{RecoveredMailbox, RecoveryReport};
use crate::{
    compressed::BodyCompression,
    dbox::{BodyLineEnds, NulPolicy},
    mailbox_list::ListOptions,
};

/// The folder of the files of messages, and of the map, below their roots.
const STORAGE_DIR: &str = "storage";

/// A message longer than this part of the largest file is not copied into another file.
const OWN_FILE_SHARE: u64 = 4;

/// How a store is to be written.
#[derive(Clone, Debug)]
pub struct MdboxOptions {
    /// Line ends of new messages' bodies; both kinds are read.
    pub line_ends: BodyLineEnds,
    /// Whether new messages' bodies are compressed; all kinds are read.
    pub compression: BodyCompression,
    /// What to do with messages that hold NUL bytes, where [`SaveMeta::nuls`](crate::SaveMeta::nuls) does not say.
    pub nuls: NulPolicy,
    /// What parsing a message may hold in memory.
    pub limits: mailmime::Limits,
    /// Where attachments lie that Dovecot has detached from their messages (its `mail_attachment_dir`). They are read; none
    /// is detached here.
    pub attachments: Option<PathBuf>,
    /// Where indexes lie, the map among them; in the store's folder if not given. Dovecot's `INDEX=`.
    pub index: Option<PathBuf>,
    /// Where subscriptions and `dovecot-uidvalidity` lie; in the store's folder if not given. Dovecot's `CONTROL=`.
    pub control: Option<PathBuf>,
    /// The list of mailboxes.
    pub list: ListOptions,
    /// No file is made larger than that in bytes, unless by a single message. Dovecot's `mdbox_rotate_size`.
    pub rotate_size: u64,
    /// Files made longer ago than that get no more messages, counted from the end of the day that is under way, of shorter
    /// intervals from that of the hour or minute; zero: however old they are. Dovecot's `mdbox_rotate_interval`.
    pub rotate_interval: Duration,
}

impl MdboxOptions {
    /// What [`MdboxOptions::rotate_size`] is where nothing is said: Dovecot's 10 MiB.
    pub const ROTATE_SIZE: u64 = 10 << 20;
}

impl Default for MdboxOptions {
    fn default() -> Self {
        Self {
            line_ends: BodyLineEnds::default(),
            compression: BodyCompression::default(),
            nuls: NulPolicy::default(),
            limits: mailmime::Limits::default(),
            attachments: None,
            index: None,
            control: None,
            list: ListOptions::default(),
            rotate_size: Self::ROTATE_SIZE,
            rotate_interval: Duration::ZERO,
        }
    }
}

/// What all mailboxes of a store share.
struct Shared {
    env: Env,
    options: MdboxOptions,
    /// Where `dovecot-uidvalidity` is.
    control: PathBuf,
    map: Map,
    files: MFiles,
    attachments: Option<Arc<Path>>,
    /// Messages taken in whose files are open.
    open_saved: Arc<AtomicUsize>,
    /// Bytes of messages taken in that wait in memory.
    held: Arc<AtomicU64>,
    doubts: Doubts,
}

/// Whether the map and the mailboxes are suspected not to go together, as opening a mailbox may show. Each mailbox can raise
/// that suspicion once: what a rebuild has not put right it will not put right the next time either.
#[derive(Debug, Default)]
struct Doubts {
    raised: AtomicBool,
    by: Mutex<HashSet<PathBuf>>,
}

impl Doubts {
    fn raise(&self, mailbox: &Path) {
        if self.by.lock().unwrap_or_else(PoisonError::into_inner).insert(mailbox.to_owned()) {
            self.raised.store(true, Ordering::Release);
        }
    }

    fn is_raised(&self) -> bool {
        self.raised.load(Ordering::Acquire)
    }

    fn take(&self) -> bool {
        self.raised.swap(false, Ordering::AcqRel)
    }

    /// What was taken was not settled.
    fn put_back(&self) {
        self.raised.store(true, Ordering::Release);
    }
}

impl Shared {
    fn new(env: &Env, root: &Path, options: MdboxOptions, control: &Path, index: &Path) -> Self {
        let alt = options.list.alt.as_deref().map(|alt| alt.join(STORAGE_DIR));
        let files = MFiles::new(env.fs(), root.join(STORAGE_DIR), alt);
        Self {
            env: env.clone(),
            control: control.to_owned(),
            map: Map::new(env, index.join(STORAGE_DIR)),
            files,
            attachments: options.attachments.as_deref().map(Arc::from),
            options,
            open_saved: Arc::default(),
            held: Arc::default(),
            doubts: Doubts::default(),
        }
    }

    fn fs(&self) -> &dyn FileSystem {
        &**self.env.fs()
    }

    /// Whether a message of this length is not worth copying: its own file becomes one of the store, which smaller ones
    /// are added to later.
    fn has_own_file(&self, len: u64) -> bool {
        len > self.options.rotate_size / OWN_FILE_SHARE
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("files", &self.files).finish_non_exhaustive()
    }
}
