//! One way to open, make and look over a store, whatever its format.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use mailindex::engine::Env;

use super::{
    dbox::DboxStorage,
    detect::{Detected, detect_as, detect_or_free},
};
use crate::{
    compressed::BodyCompression,
    dbox::BodyLineEnds,
    mailbox_list::{self, ListLayout, ListOptions, Listed as _, RecoveryReport},
    maildir::{MaildirLayout, MaildirOptions, MaildirPlaces, MaildirSeparator, MaildirStorage},
    mbox::{MboxLocks, MboxMd5, MboxOptions, MboxPlaces, MboxStorage},
    mdbox::{MdboxOptions, MdboxStorage},
    sdbox::{SdboxOptions, SdboxStorage},
    traits::{MailStorage, NulPolicy, Result, StorageError},
};

/// How a store lies on disk.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub enum Format {
    /// A file for each message, flags in the index.
    #[default]
    Sdbox,
    /// Many messages in a file, flags in the index.
    Mdbox,
    /// A file for each message, whose name holds its flags.
    Maildir(MaildirLayout),
    /// A file for each mailbox.
    Mbox,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Sdbox => "sdbox",
            Self::Mdbox => "mdbox",
            Self::Maildir(MaildirLayout::PlusPlus) => "Maildir++",
            Self::Maildir(MaildirLayout::Fs) => "Maildir, layout fs",
            Self::Mbox => "mbox",
        })
    }
}

/// How stores are to be opened and made.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct StoreOptions {
    /// What it must be. If not given: what is found, and sdbox where a store is made.
    pub format: Option<Format>,
    /// Where indexes lie; below the store if not given. Dovecot's `INDEX=`.
    pub index: Option<PathBuf>,
    /// Where subscriptions, and a Maildir's UID lists and keywords lie; below the store if not given. Dovecot's
    /// `CONTROL=`.
    pub control: Option<PathBuf>,
    /// The locks of the host's mail programs on mbox files.
    pub mbox_locks: MboxLocks,
    /// What tells messages of mbox files from each other that have no UIDs. Dovecot's `mbox_md5`.
    pub mbox_md5: MboxMd5,
    /// What clients see between the levels of a Maildir's names.
    pub separator: MaildirSeparator,
    /// The list of mailboxes, and how their names are written. The INBOX of an mbox store is `inbox` in the store if it is
    /// not elsewhere.
    pub list: ListOptions,
    /// No file of an mdbox is made larger than that in bytes, unless by a single message; 10 MiB if not given. Dovecot's
    /// `mdbox_rotate_size`.
    pub mdbox_rotate_size: Option<u64>,
    /// Files of an mdbox made longer ago than that get no more messages, counted from the end of the day that is under way,
    /// of shorter intervals from that of the hour or minute; zero: however old they are. Dovecot's
    /// `mdbox_rotate_interval`.
    pub mdbox_rotate_interval: Duration,
    /// Where attachments lie that Dovecot has detached from the messages of a dbox (its `mail_attachment_dir`).
    pub attachments: Option<PathBuf>,
    /// Line ends of new messages' bodies in sdbox and mdbox.
    pub line_ends: BodyLineEnds,
    /// Whether new messages' bodies are compressed; all kinds are read.
    pub compression: BodyCompression,
    /// What to do with messages that hold NUL bytes, where [`SaveMeta::nuls`](crate::SaveMeta::nuls) does not say.
    pub nuls: NulPolicy,
    /// What parsing a message may hold in memory.
    pub limits: mailmime::Limits,
    /// Not a byte and no time of any file changes, no lock is taken, and every change is refused with
    /// [`StorageError::ReadOnly`](crate::StorageError::ReadOnly): see [`EnvOptions::read_only`](mailindex::engine::EnvOptions::read_only).
    pub read_only: bool,
}

impl StoreOptions {
    /// Where the store is to be opened.
    fn env(&self, env: &Env) -> Env {
        if self.read_only { env.read_only() } else { env.clone() }
    }

    fn list(&self, layout: ListLayout) -> ListOptions {
        ListOptions { layout: Some(layout), ..self.list.clone() }
    }

    fn sdbox(&self, list: ListLayout) -> SdboxOptions {
        SdboxOptions {
            line_ends: self.line_ends,
            compression: self.compression,
            nuls: self.nuls,
            limits: self.limits.clone(),
            attachments: self.attachments.clone(),
            index: self.index.clone(),
            control: self.control.clone(),
            list: self.list(list),
        }
    }

    fn mbox(&self) -> (MboxPlaces, MboxOptions) {
        let places = MboxPlaces { index: self.index.clone(), control: self.control.clone(), list: self.list.clone() };
        let (nuls, limits, locks, md5) = (self.nuls, self.limits.clone(), self.mbox_locks.clone(), self.mbox_md5);
        (places, MboxOptions { nuls, limits, locks, md5, ..MboxOptions::default() })
    }

    fn mdbox(&self, list: ListLayout) -> MdboxOptions {
        MdboxOptions {
            line_ends: self.line_ends,
            compression: self.compression,
            nuls: self.nuls,
            limits: self.limits.clone(),
            attachments: self.attachments.clone(),
            index: self.index.clone(),
            control: self.control.clone(),
            list: self.list(list),
            rotate_size: self.mdbox_rotate_size.unwrap_or(MdboxOptions::ROTATE_SIZE),
            rotate_interval: self.mdbox_rotate_interval,
        }
    }

    fn maildir(&self, layout: MaildirLayout, list: ListLayout) -> (MaildirPlaces, MaildirOptions) {
        let Self { index, control, separator, .. } = self;
        let (control, index, list) = (control.clone(), index.clone(), self.list(list));
        let places = MaildirPlaces { layout, control, index, separator: *separator, list };
        (places, MaildirOptions { nuls: self.nuls, limits: self.limits.clone(), compression: self.compression })
    }
}

/// Opens the store at a path. Fails with [`StorageError::NotAStore`](crate::StorageError::NotAStore), which says what was
/// found, where there is none, or none of the format asked for.
pub fn open_storage(env: &Env, path: &Path, options: &StoreOptions) -> Result<Arc<dyn MailStorage>> {
    let env = &options.env(env);
    let Detected { format, list, .. } = detect_as(&**env.fs(), path, options)?;
    Ok(match format {
        Format::Sdbox => Arc::new(SdboxStorage::open(env, path, options.sdbox(list))?),
        Format::Mdbox => Arc::new(MdboxStorage::open(env, path, options.mdbox(list))?),
        Format::Maildir(layout) => {
            let (places, options) = options.maildir(layout, list);
            Arc::new(MaildirStorage::open(env, path, &places, options)?)
        }
        Format::Mbox => {
            let (places, options) = options.mbox();
            Arc::new(MboxStorage::open(env, path, &places, options)?)
        }
    })
}

/// Makes a store with an empty INBOX, or opens the one that is there. With [`StoreOptions::read_only`] it must be there.
pub fn create_storage(env: &Env, path: &Path, options: &StoreOptions) -> Result<Arc<dyn MailStorage>> {
    if options.read_only || env.is_read_only() {
        return open_storage(env, path, options);
    }
    let (format, list) = detect_or_free(&**env.fs(), path, options)?;
    Ok(match format {
        Format::Sdbox => Arc::new(SdboxStorage::create(env, path, options.sdbox(list))?),
        Format::Mdbox => Arc::new(MdboxStorage::create(env, path, options.mdbox(list))?),
        Format::Maildir(layout) => {
            let (places, options) = options.maildir(layout, list);
            Arc::new(MaildirStorage::create(env, path, &places, options)?)
        }
        Format::Mbox => {
            let (places, options) = options.mbox();
            Arc::new(MboxStorage::create(env, path, &places, options)?)
        }
    })
}

/// Opens the store at a path for work on its files.
pub(crate) fn with_format<T>(
    env: &Env,
    path: &Path,
    options: &StoreOptions,
    work: impl FnOnce(&dyn mailbox_list::Format) -> Result<T>,
) -> Result<T> {
    let env = &options.env(env);
    let Detected { format, list, .. } = detect_as(&**env.fs(), path, options)?;
    match format {
        Format::Sdbox => work(SdboxStorage::open(env, path, options.sdbox(list))?.format()),
        Format::Mdbox => work(MdboxStorage::open(env, path, options.mdbox(list))?.format()),
        Format::Maildir(layout) => {
            let (places, options) = options.maildir(layout, list);
            work(MaildirStorage::open(env, path, &places, options)?.format())
        }
        Format::Mbox => {
            let (places, options) = options.mbox();
            work(MboxStorage::open(env, path, &places, options)?.format())
        }
    }
}

/// Opens the store at a path, which must be one whose messages can lie in alternate storage.
pub fn open_dbox(env: &Env, path: &Path, options: &StoreOptions) -> Result<DboxStorage> {
    let Detected { format, list, .. } = detect_as(&**env.fs(), path, options)?;
    match format {
        Format::Sdbox => Ok(DboxStorage::Sdbox(SdboxStorage::open(env, path, options.sdbox(list))?)),
        Format::Mdbox => Ok(DboxStorage::Mdbox(MdboxStorage::open(env, path, options.mdbox(list))?)),
        other @ (Format::Maildir(_) | Format::Mbox) => {
            let what = format!("messages of {other} are not moved to alternate storage");
            Err(StorageError::NotAStore { path: path.to_owned(), what })
        }
    }
}

/// Looks over a store after a crash; to be called before anybody else opens it. See [`SdboxStorage::recover`],
/// [`MdboxStorage::recover`] and [`MaildirStorage::recover`]. Tells the log of what other servers left there.
pub fn recover_storage(env: &Env, path: &Path, options: &StoreOptions) -> Result<RecoveryReport> {
    let env = &options.env(env);
    let detected = detect_as(&**env.fs(), path, options)?;
    detected.tell_foreign(path);
    let Detected { format, list, .. } = detected;
    match format {
        Format::Sdbox => SdboxStorage::open(env, path, options.sdbox(list))?.recover(),
        Format::Mdbox => MdboxStorage::open(env, path, options.mdbox(list))?.recover(),
        Format::Maildir(layout) => {
            let (places, options) = options.maildir(layout, list);
            MaildirStorage::open(env, path, &places, options)?.recover()
        }
        Format::Mbox => {
            let (places, options) = options.mbox();
            MboxStorage::open(env, path, &places, options)?.recover()
        }
    }
}
