//! Maildir: a file for each message, whose name holds its flags (`docs/formats/maildir.md`).
//!
//! # Invariants
//!
//! 1. Anybody may add, rename and remove files at any moment; the index follows. What is acknowledged to a client is in
//!    the index, durable, before names change for it.
//! 2. A UID that was shown is never given to another message, and stays with its own as long as UID list, index or a
//!    process that has the mailbox open knows it.
//! 3. No file is written once it has its name, and none is overwritten: a file may have further names elsewhere.

mod check;
mod debt;
pub(crate) mod dump;
mod duplicates;
mod files;
mod index;
mod keywords;
mod late;
mod measured;
mod message;
mod misspelt;
mod name;
mod place;
mod recover;
mod resized;
mod save;
mod seen;
mod storage;
mod store;
mod sync;
mod table;
mod taken;
mod uidlist;

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicUsize},
};

use mailindex::engine::{Env, Fsync};

pub use self::storage::{MaildirLayout, MaildirPlaces, MaildirSeparator, MaildirStorage};
use crate::{compressed::BodyCompression, traits::NulPolicy};

/// How a store is to be written.
#[derive(Clone, Debug, Default)]
pub struct MaildirOptions {
    /// What to do with messages that hold NUL bytes, where [`SaveMeta::nuls`](crate::SaveMeta::nuls) does not say.
    pub nuls: NulPolicy,
    /// What parsing a message may hold in memory.
    pub limits: mailmime::Limits,
    /// Whether new messages are compressed; all kinds are read.
    pub compression: BodyCompression,
}

/// What all mailboxes of a store share.
struct Shared {
    env: Env,
    options: MaildirOptions,
    /// Where `dovecot-uidvalidity` is (the control root).
    uid_validity_dir: PathBuf,
    /// Messages taken in whose files are open.
    open_saved: Arc<AtomicUsize>,
}

impl Shared {
    fn new(env: &Env, uid_validity_dir: &Path, options: MaildirOptions) -> Self {
        Self { env: env.clone(), options, uid_validity_dir: uid_validity_dir.to_owned(), open_saved: Arc::default() }
    }

    /// Whether data is synced at all.
    fn syncs(&self) -> bool {
        self.env.options().fsync != Fsync::Never
    }
}
