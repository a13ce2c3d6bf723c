//! sdbox: a file for each message, flags and keywords in the index alone (`docs/formats/dbox.md`).
//!
//! # Invariants
//!
//! 1. A message is in the mailbox when the log says so. Its file is there, durable and under its name, before the log
//!    says so, and goes only after the log was asked for it.
//! 2. A published message file is never written again and never overwritten. Copies are further names of it.
//! 3. Whatever a message file that no record knows was left by, it is never removed, and taken in if it is whole.
//! 4. Views read no lock and wait for none.

mod alternate;
mod attached;
mod check;
mod files;
mod index;
mod message;
mod place;
mod rebuild;
mod recover;
mod save;
mod storage;

use std::{
    fmt,
    path::PathBuf,
    sync::{Arc, Mutex, atomic::AtomicUsize},
};

use mailfs::FileSystem;
use mailindex::engine::Env;

pub use self::storage::SdboxStorage;
pub use crate::mailbox_list::{RecoveredMailbox, RecoveryReport};
use crate::{
    compressed::BodyCompression,
    dbox::{BodyLineEnds, NulPolicy},
    mailbox_list::ListOptions,
};

/// How a store is to be written.
#[derive(Clone, Debug, Default)]
pub struct SdboxOptions {
    /// Line ends of new messages' bodies; both kinds are read.
    pub line_ends: BodyLineEnds,
    /// Whether new messages' bodies are compressed; all kinds are read.
    pub compression: BodyCompression,
    /// What to do with messages that hold NUL bytes, where [`SaveMeta::nuls`](crate::SaveMeta::nuls) does not say.
    pub nuls: NulPolicy,
    /// What parsing a message may hold in memory.
    pub limits: mailmime::Limits,
    /// Where attachments lie that Dovecot has detached from their messages (its `mail_attachment_dir`). They are read, and
    /// copied and removed with their messages; none is detached here.
    pub attachments: Option<PathBuf>,
    /// Where indexes lie; with the messages if not given. Dovecot's `INDEX=`.
    pub index: Option<PathBuf>,
    /// Where subscriptions and `dovecot-uidvalidity` lie; in the store's folder if not given. Dovecot's `CONTROL=`.
    pub control: Option<PathBuf>,
    /// The list of mailboxes.
    pub list: ListOptions,
}

/// What all mailboxes of a store share.
struct Shared {
    env: Env,
    options: SdboxOptions,
    /// Where `dovecot-uidvalidity` is.
    control: PathBuf,
    /// The root of alternate storage, and the link that is to lead there.
    alt_link: Option<(PathBuf, PathBuf)>,
    /// Held while an index is rebuilt, so that two who find it damaged do not both do it at once.
    rebuilding: Mutex<()>,
    /// Messages taken in whose files are open.
    open_saved: Arc<AtomicUsize>,
}

impl Shared {
    fn fs(&self) -> &dyn FileSystem {
        &**self.env.fs()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("control", &self.control).finish_non_exhaustive()
    }
}
