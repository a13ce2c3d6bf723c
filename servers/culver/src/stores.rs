//! Users' stores: where each lies, by the template of the configuration or by what the file of users says of him, and how
//! it is opened.

mod location;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use culver_runtime::{PasswordFile, PasswordFileError, Scheme, StorageProvider, User, UserName};
use mailfs::{FileSystemExt as _, RealDisk};
use mailindex::engine::{Env, EnvOptions, Fsync};
use mailstore::{
    Format, ListLayout, ListOptions, MailStorage, NamespaceKind, StorageError, StoreOptions,
    compressed::{BodyCompression, ZstdLevel},
    create_storage,
    dbox::BodyLineEnds,
    maildir::{MaildirLayout, MaildirSeparator},
    mailmime,
    mailtypes::MailboxName,
    mbox::{MboxLock, MboxLocks, MboxMd5},
    memory::{MemoryOptions, MemoryStorage},
    namespaces::{Listing, Namespace, NamespaceError, Namespaces},
    recover_storage,
};
use tracing::{info, warn};

use self::location::{Location, NoLocation};
use crate::config::{
    Config,
    problem::Source,
    tables,
    tables::{FsyncMode, LineEnds, Storage},
    template::{NoPath, Template},
};

/// Mode of folders that are made.
pub(crate) const FOLDER_MODE: u32 = 0o700;

/// Where stores lie, and how they are opened.
#[derive(Clone, Debug)]
pub(crate) struct Stores {
    users: Arc<PasswordFile>,
    base: PathBuf,
    path: Template,
    index: Option<Template>,
    alt: Option<Template>,
    control: Option<Template>,
    inbox: Option<Template>,
    /// What is the same for all users.
    options: StoreOptions,
    namespaces: Vec<Space>,
    /// What clients see between levels, unless it is as on disk.
    separator: Option<char>,
    env: Env,
}

/// A namespace of the configuration.
#[derive(Clone, Debug)]
struct Space {
    prefix: String,
    location: Option<Location>,
    inbox: bool,
    kind: NamespaceKind,
    hidden: bool,
    list: Listing,
    subscriptions: bool,
}

impl Space {
    fn of(namespace: &tables::Namespace) -> Result<Self, NoLocation> {
        Ok(Self {
            prefix: namespace.prefix.to_string(),
            location: namespace.location.as_ref().map(|text| Location::parse(text)).transpose()?,
            inbox: *namespace.inbox,
            kind: match *namespace.kind {
                tables::NamespaceKind::Private => NamespaceKind::Personal,
                tables::NamespaceKind::Shared => NamespaceKind::OtherUsers,
                tables::NamespaceKind::Public => NamespaceKind::Shared,
            },
            hidden: *namespace.hidden,
            list: match *namespace.list {
                tables::NamespaceList::Yes => Listing::Yes,
                tables::NamespaceList::Children => Listing::Children,
                tables::NamespaceList::No => Listing::No,
            },
            subscriptions: *namespace.subscriptions,
        })
    }

    /// With `/` between levels.
    fn prefix(&self, separator: char) -> String {
        self.prefix.replace(separator, "/")
    }

    fn with(&self, separator: char, storage: Arc<dyn MailStorage>) -> Namespace {
        let Self { inbox, kind, hidden, list, subscriptions, .. } = *self;
        Namespace { prefix: self.prefix(separator), kind, inbox, hidden, list, subscriptions, storage }
    }
}

/// Reads a mail location, to see whether it can be.
pub(crate) fn location_of(text: &str) -> Result<(), String> {
    Location::parse(text).map(|_| ()).map_err(|error| error.to_string())
}

/// Whether the namespaces of a configuration go together; with the number of one that does not.
pub(crate) fn check_namespaces(config: &Config) -> Result<(), (usize, String)> {
    let storage: Arc<dyn MailStorage> = Arc::new(MemoryStorage::new(MemoryOptions::default()));
    let separator = separator_of(&config.storage).unwrap_or(MailboxName::SEPARATOR);
    let mut spaces = Vec::new();
    let mut without_location = 0;
    for (at, namespace) in config.namespaces.iter().enumerate() {
        // A location that is none was told of.
        let space = match Space::of(namespace) {
            Ok(space) => space,
            Err(_) => continue,
        };
        without_location += usize::from(space.location.is_none());
        if without_location > 1 {
            return Err((at, "two namespaces without a location would be one place".to_owned()));
        }
        let separator = match *config.storage.separator {
            // What stands there on disk is known when a store is opened.
            tables::Separator::AsOnDisk if space.prefix.ends_with('.') => '.',
            _ => separator,
        };
        spaces.push(space.with(separator, Arc::clone(&storage)));
    }
    if config.namespaces.is_empty() {
        return Ok(());
    }
    Namespaces::new(spaces, '/').map(|_| ()).map_err(|error| (0, error.to_string()))
}

fn separator_of(storage: &Storage) -> Option<char> {
    match *storage.separator {
        tables::Separator::AsOnDisk => None,
        other => other.word().chars().next(),
    }
}

/// Where one store lies, and how it is opened.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Its folder.
    pub(crate) path: PathBuf,
    /// As its user, or the configuration, says.
    pub(crate) options: StoreOptions,
}

/// Why a user's mail is nowhere.
#[derive(Debug, thiserror::Error)]
enum NoPlace {
    #[error(transparent)]
    Path(#[from] NoPath),
    #[error("userdb_mail: {0}")]
    Location(#[from] NoLocation),
    #[error("namespaces: {0}")]
    Namespaces(#[from] NamespaceError),
    #[error(transparent)]
    Users(#[from] PasswordFileError),
}

impl Stores {
    /// As the configuration says, and `users`; makes the folder that they lie in, unless mail is only read.
    pub(crate) fn open(config: &Config, env: Env, users: Arc<PasswordFile>) -> anyhow::Result<Self> {
        let storage = &config.storage;
        let (base, path) = (config.data(), Template::clone(&storage.path));
        let (index, control) = (Option::clone(&storage.index), Option::clone(&storage.control));
        let alt = Option::clone(&storage.alt);
        let inbox = Option::clone(&storage.inbox);
        let parents = [Some(&path), index.as_ref(), control.as_ref()].map(|path| path.map(|path| path.parent(&base)));
        let folders = [base.clone()].into_iter().chain(parents.into_iter().flatten());
        for folder in folders.filter(|_| !*storage.read_only) {
            env.fs().create_dir_all(&folder, FOLDER_MODE).with_context(|| format!("making {}", folder.display()))?;
        }
        let namespaces = config.namespaces.iter().map(Space::of).collect::<Result<_, _>>()?;
        let separator = separator_of(storage);
        let options = store_options(config);
        Ok(Self { users, base, path, index, control, alt, inbox, options, namespaces, separator, env })
    }

    /// Where the mail of a namespace lies.
    fn place_in(&self, space: &Space, name: &UserName) -> Result<Place, NoPlace> {
        let mut place = match &space.location {
            Some(location) => {
                let user = self.users.find(name)?.map_or_else(|| User::new(name.clone()), |(user, _)| user);
                location.place(name, user.home.as_deref(), &self.options)?
            }
            None => self.place_of(name)?,
        };
        place.options.list.without_inbox = !space.inbox;
        place.options.list.prefix = space.prefix(self.separator.unwrap_or(MailboxName::SEPARATOR));
        Ok(place)
    }

    /// All places of a user's mail.
    fn places_of(&self, name: &UserName) -> Result<Vec<Place>, NoPlace> {
        if self.namespaces.is_empty() {
            return Ok(vec![self.place_of(name)?]);
        }
        self.namespaces.iter().map(|space| self.place_in(space, name)).collect()
    }

    /// The store of a place; made if it is not there.
    fn create(&self, place: &Place) -> mailstore::Result<Arc<dyn MailStorage>> {
        if let Some(parent) = place.path.parent().filter(|_| !self.options.read_only) {
            // The folder of a domain, say.
            self.env.fs().create_dir_all(parent, FOLDER_MODE).map_err(StorageError::from)?;
        }
        create_storage(&self.env, &place.path, &place.options)
    }

    /// By the name under which mail is kept: who is known to the host only by another name has no home and no place of
    /// his own, as with Dovecot's lookup of users.
    fn place_of(&self, name: &UserName) -> Result<Place, NoPlace> {
        let user = self.users.find(name)?.map_or_else(|| User::new(name.clone()), |(user, _)| user);
        let home = user.home.as_deref();
        if let Some(location) = &user.mail {
            return Ok(Location::parse(location)?.place(name, home, &self.options)?);
        }
        let expand = |path: &Template| path.expand(&self.base, name, home);
        let (index, control) =
            (self.index.as_ref().map(expand).transpose()?, self.control.as_ref().map(expand).transpose()?);
        let alt = self.alt.as_ref().map(expand).transpose()?;
        let inbox = self.inbox.as_ref().map(expand).transpose()?;
        let list = ListOptions { alt, inbox, ..self.options.list.clone() };
        let options = StoreOptions { index, control, list, ..self.options.clone() };
        Ok(Place { path: expand(&self.path)?, options })
    }

    /// Where the mail of a user lies, and how it is opened.
    pub(crate) fn place_for(&self, user: &UserName) -> anyhow::Result<Place> {
        Ok(self.place_of(user)?)
    }

    /// Where a location in the words of Dovecot's `mail_location` leads to; nothing in it may hang on a user.
    pub(crate) fn place_at(config: &Config, location: &str) -> anyhow::Result<Place> {
        let nobody = UserName::new("nobody")?;
        let location = Location::parse(location)?;
        Ok(location.place(&nobody, None, &Self::options_at(config))?)
    }

    /// How a store is opened that is no user's: as it is found.
    pub(crate) fn options_at(config: &Config) -> StoreOptions {
        StoreOptions { format: None, ..store_options(config) }
    }

    /// Warns of every user whose mail has no place, with the line that says so, and of homes that nothing looks at where
    /// nobody has decided on a path.
    pub(crate) fn complain(&self, config: &Config) -> anyhow::Result<()> {
        let templates = [Some(&self.path), self.index.as_ref(), self.control.as_ref(), self.alt.as_ref()];
        let uses_home = templates.into_iter().flatten().any(Template::uses_home);
        let mut unused_home = None;
        for name in self.users.names()? {
            let Some((user, line)) = self.users.find(&name)? else { continue };
            if let Err(error) = self.place_of(&name) {
                warn!(file = %self.users.path().display(), line, user = %name, %error, "a user without a place for mail");
            }
            if user.home.is_some() && user.mail.is_none() {
                unused_home = unused_home.min(Some(line)).or(Some(line));
            }
        }
        if let Some(line) = unused_home.filter(|_| !uses_home && config.storage.path.source == Source::Default) {
            let hint = "storage.path = \"{home}/mail\" would use them; name a storage.path of your own to leave it so";
            warn!(file = %self.users.path().display(), line, hint, "users have homes, which storage.path does not use");
        }
        Ok(())
    }

    /// Looks for what a crash left in the users' stores, before anybody else opens one: a Dovecot that meets a torn log
    /// first throws the whole log away. A store that cannot be looked at costs nobody but its user.
    pub(crate) fn recover(&self) -> anyhow::Result<()> {
        if self.options.read_only {
            return Ok(());
        }
        for user in self.users.names()? {
            // Who has none was told of.
            for Place { path, options } in self.places_of(&user).unwrap_or_default() {
                if matches!(self.env.fs().metadata(&path), Ok(Some(_))) {
                    self.recover_store(&user, &path, &options);
                }
            }
        }
        Ok(())
    }

    /// The places of a user's mail that are there, each with what it is called: the user's name, and of other namespaces
    /// their prefix behind it.
    pub(crate) fn places_there(&self, user: &UserName) -> anyhow::Result<Vec<(String, Place)>> {
        let mut places = Vec::new();
        for (number, place) in self.places_of(user)?.into_iter().enumerate() {
            let prefix = self.namespaces.get(number).map(|space| &*space.prefix).filter(|prefix| !prefix.is_empty());
            let name = prefix.map_or_else(|| user.to_string(), |prefix| format!("{user} {prefix}"));
            if self.env.fs().metadata(&place.path)?.is_some() {
                places.push((name, place));
            }
        }
        Ok(places)
    }

    fn recover_store(&self, user: &UserName, root: &Path, options: &StoreOptions) {
        match recover_storage(&self.env, root, options) {
            Ok(report) => {
                info!(%user, mailboxes = report.mailboxes, repaired = report.repaired.len(), "store looked over");
                for repaired in &report.repaired {
                    warn!(%user, ?repaired, "mailbox repaired");
                }
            }
            Err(error) => warn!(%user, %error, "store could not be looked over"),
        }
    }
}

impl StorageProvider for Stores {
    fn storage_for(&self, user: &UserName) -> mailstore::Result<Arc<dyn MailStorage>> {
        let nowhere = |error: NoPlace| StorageError::Unavailable(error.to_string().into());
        let mut storages = Vec::new();
        for place in self.places_of(user).map_err(nowhere)? {
            storages.push(self.create(&place)?);
        }
        let on_disk = storages.first().map_or(MailboxName::SEPARATOR, |first| first.separator());
        let separator = self.separator.unwrap_or(on_disk);
        if let ([], [storage]) = (&self.namespaces[..], &storages[..])
            && storage.separator() == separator
        {
            return Ok(Arc::clone(storage));
        }
        let whole = Space {
            prefix: String::new(),
            location: None,
            inbox: true,
            kind: NamespaceKind::Personal,
            hidden: false,
            list: Listing::Yes,
            subscriptions: true,
        };
        let whole = [whole];
        let spaces = if self.namespaces.is_empty() { &whole[..] } else { &self.namespaces };
        let spaces = spaces.iter().zip(storages).map(|(space, storage)| space.with(separator, storage)).collect();
        Ok(Arc::new(Namespaces::new(spaces, separator).map_err(|error| nowhere(error.into()))?))
    }
}

/// How all users' stores are opened.
fn store_options(config: &Config) -> StoreOptions {
    let storage = &config.storage;
    StoreOptions {
        format: format_of(*storage.format),
        mbox_locks: mbox_locks(storage),
        mbox_md5: match *storage.mbox_md5 {
            tables::MboxMd5::Apop3d => MboxMd5::Apop3d,
            tables::MboxMd5::All => MboxMd5::All,
        },
        separator: match *storage.separator {
            tables::Separator::AsOnDisk | tables::Separator::Dot => MaildirSeparator::AsOnDisk,
            // Names come with `/`, and are seen with another.
            _ => MaildirSeparator::Slash,
        },
        list: ListOptions {
            layout: match *storage.list_layout {
                tables::ListLayout::Auto => None,
                tables::ListLayout::Folders => Some(ListLayout::Folders),
                tables::ListLayout::Index => Some(ListLayout::Index),
            },
            utf8: *storage.utf8_names,
            escape: storage.escape.as_ref().and_then(|text| text.chars().next()),
            ..ListOptions::default()
        },
        line_ends: match *storage.line_ends {
            LineEnds::Lf => BodyLineEnds::Lf,
            LineEnds::CrLf => BodyLineEnds::CrLf,
        },
        compression: match *storage.compression {
            tables::BodyCompression::None => BodyCompression::None,
            tables::BodyCompression::Zstd => {
                let level = i32::try_from(*storage.compression_level).ok().and_then(ZstdLevel::new);
                BodyCompression::Zstd(level.unwrap_or_default())
            }
        },
        mdbox_rotate_size: Some(storage.mdbox_rotate_size.0),
        mdbox_rotate_interval: storage.mdbox_rotate_interval.map_or(Duration::ZERO, |interval| interval.0),
        attachments: storage.attachments.as_ref().map(|folder| config.path(folder)),
        limits: mime_limits(&config.limits),
        read_only: *storage.read_only,
        ..StoreOptions::default()
    }
}

fn mbox_locks(storage: &Storage) -> MboxLocks {
    let methods = |words: &[tables::MboxLock]| {
        let method = |word: &tables::MboxLock| match word {
            tables::MboxLock::Dotlock => MboxLock::Dotlock,
            tables::MboxLock::DotlockTry => MboxLock::DotlockTry,
            tables::MboxLock::Fcntl => MboxLock::Fcntl,
            tables::MboxLock::Flock => MboxLock::Flock,
        };
        words.iter().map(method).collect()
    };
    MboxLocks {
        read: methods(&storage.mbox_read_locks),
        write: methods(&storage.mbox_write_locks),
        timeout: storage.mbox_lock_timeout.0,
        dotlock_stale: storage.mbox_dotlock_change_timeout.0,
    }
}

/// The format of a setting; `None`: what is found.
pub(crate) fn format_of(setting: tables::Format) -> Option<Format> {
    match setting {
        tables::Format::Auto => None,
        tables::Format::Sdbox => Some(Format::Sdbox),
        tables::Format::Mdbox => Some(Format::Mdbox),
        tables::Format::Maildir => Some(Format::Maildir(MaildirLayout::PlusPlus)),
        tables::Format::MaildirFs => Some(Format::Maildir(MaildirLayout::Fs)),
        tables::Format::Mbox => Some(Format::Mbox),
    }
}

/// What looking at a message may hold in memory.
fn mime_limits(limits: &tables::Limits) -> mailmime::Limits {
    mailmime::Limits {
        part_count_max: *limits.mime_parts_max,
        nesting_max: *limits.mime_nesting_max,
        field_len_max: bytes(limits.header_field_len_max.0),
        content_len_max: bytes(limits.header_content_len_max.0),
        header_len_max: bytes(limits.header_len_max.0),
    }
}

fn bytes(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

/// The users of a configuration.
pub(crate) fn password_file(config: &Config) -> PasswordFile {
    // A scheme that is none was refused when the configuration was read.
    let scheme = Scheme::from_name(&config.users.default_scheme).unwrap_or(Scheme::Crypt);
    PasswordFile::on(Arc::new(RealDisk::new()), config.path(&config.users.passwd_file), scheme)
}

/// The engine's options of a configuration.
pub(crate) fn env_options(storage: &Storage) -> EnvOptions {
    EnvOptions {
        fsync: match *storage.fsync {
            FsyncMode::Optimized => Fsync::Optimized,
            FsyncMode::Always => Fsync::Always,
            FsyncMode::Never => Fsync::Never,
        },
        lock_timeout: storage.lock_timeout.0,
        cache_lock_timeout: storage.cache_lock_timeout.0,
        commit_threads: *storage.commit_threads,
        flag_flush_interval: storage.flag_flush_interval.0,
        state_cache_len_max: bytes(storage.state_cache_len_max.0),
        rotate_len_min: storage.rotate_len_min.0,
        rotate_age_min: storage.rotate_age_min.0,
        rotate_len_max: storage.rotate_len_max.0,
        log2_age_max: storage.log2_age_max.0,
        cache_fill_len_max: bytes(storage.cache_fill_len_max.0),
        ..EnvOptions::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::section::Section as _;

    #[test]
    fn the_documented_defaults_are_the_engines() {
        let (ours, theirs) = (env_options(&Storage::defaults()), EnvOptions::default());
        assert_eq!(format!("{ours:?}"), format!("{theirs:?}"));
        assert_eq!(mime_limits(&tables::Limits::defaults()), mailmime::Limits::default());
    }
}
