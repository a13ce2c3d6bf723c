//! Maildir: a file for each message, whose name holds its flags (`docs/formats/maildir.md`).
//!
//! # Invariants
//!
//! 1. Anybody may add, rename and remove files at any moment; the index follows. What is acknowledged to a client is in
//!    the index, durable, before names change for it.
//! 2. A UID that was shown is never given to another message, and stays with its own as long as UID list, index or a
//!    process that has the mailbox open knows it.
//! 3. No file is written once it has its name, and none is overwritten: a file may have further names elsewhere.

mod commit;
mod duplicates;
mod files;
mod index;
mod keywords;
mod mailbox;
mod message;
mod name;
mod recover;
mod save;
mod seen;
mod storage;
mod store;
mod sync;
mod table;
mod uidlist;
mod watch;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicUsize},
};

use mailindex::engine::{Env, Fsync};

pub(crate) use self::mailbox::MaildirMailbox;
pub use self::storage::{MaildirLayout, MaildirPlaces, MaildirSeparator, MaildirStorage};
use crate::traits::NulPolicy;

/// How a store is to be written.
#[derive(Clone, Debug, Default)]
pub struct MaildirOptions {
    /// What to do with messages that hold NUL bytes, where [`SaveMeta::nuls`](crate::SaveMeta::nuls) does not say.
    pub nuls: NulPolicy,
    /// What parsing a message may hold in memory.
    pub limits: mailmime::Limits,
}

/// Where the parts of one mailbox lie; all the same folder but where CONTROL= and INDEX= say otherwise.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Dirs {
    /// `tmp`, `new` and `cur`.
    pub(crate) mail: PathBuf,
    /// `dovecot-uidlist` and `dovecot-keywords`.
    pub(crate) control: PathBuf,
    /// `dovecot.index*`.
    pub(crate) index: PathBuf,
}

/// What all mailboxes of a store share.
pub(crate) struct Shared {
    pub(crate) env: Env,
    pub(crate) options: MaildirOptions,
    /// Where `dovecot-uidvalidity` is (the control root).
    pub(crate) uid_validity_dir: PathBuf,
    /// Messages taken in whose files are open.
    pub(crate) open_saved: Arc<AtomicUsize>,
}

impl Shared {
    pub(crate) fn new(env: &Env, uid_validity_dir: &Path, options: MaildirOptions) -> Self {
        Self { env: env.clone(), options, uid_validity_dir: uid_validity_dir.to_owned(), open_saved: Arc::default() }
    }

    /// Whether data is synced at all.
    fn syncs(&self) -> bool {
        self.env.options().fsync != Fsync::Never
    }
}
