//! Users' stores: where each lies, by the template of the configuration, and how it is opened.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use culver_runtime::{PasswordFile, Scheme, StorageProvider, UserName};
use mailfs::{FileSystemExt as _, RealDisk};
use mailindex::engine::{Env, EnvOptions, Fsync};
use mailstore::{
    Format, MailStorage, StorageError, StoreOptions, create_storage,
    dbox::BodyLineEnds,
    maildir::{MaildirLayout, MaildirSeparator},
    mailmime, recover_storage,
};
use tracing::{info, warn};

use crate::config::{
    Config, tables,
    tables::{FsyncMode, LineEnds, Storage},
    template::{NoPath, Template},
};

/// Mode of folders that are made.
const FOLDER_MODE: u32 = 0o700;

/// Where stores lie, and how they are opened.
#[derive(Clone, Debug)]
pub(crate) struct Stores {
    base: PathBuf,
    path: Template,
    index: Option<Template>,
    control: Option<Template>,
    /// What is the same for all users.
    options: StoreOptions,
    env: Env,
}

impl Stores {
    /// As the configuration says; makes the folder that they lie in.
    pub(crate) fn open(config: &Config, env: Env) -> anyhow::Result<Self> {
        let storage = &config.storage;
        let (base, path) = (config.data(), Template::clone(&storage.path));
        let (index, control) = (Option::clone(&storage.index), Option::clone(&storage.control));
        let parents = [Some(&path), index.as_ref(), control.as_ref()].map(|path| path.map(|path| path.parent(&base)));
        for folder in [base.clone()].into_iter().chain(parents.into_iter().flatten()) {
            env.fs().create_dir_all(&folder, FOLDER_MODE).with_context(|| format!("making {}", folder.display()))?;
        }
        Ok(Self { base, path, index, control, options: store_options(config), env })
    }

    fn place_of(&self, user: &UserName) -> Result<(PathBuf, StoreOptions), NoPath> {
        let expand = |path: &Option<Template>| path.as_ref().map(|path| path.expand(&self.base, user)).transpose();
        let (index, control) = (expand(&self.index)?, expand(&self.control)?);
        Ok((self.path.expand(&self.base, user)?, StoreOptions { index, control, ..self.options.clone() }))
    }

    /// Looks for what a crash left in the users' stores, before anybody else opens one: a Dovecot that meets a torn log
    /// first throws the whole log away. A store that cannot be looked at costs nobody but its user.
    pub(crate) fn recover(&self, users: &[UserName]) {
        for user in users {
            let (root, options) = match self.place_of(user) {
                Ok(place) => place,
                Err(error) => {
                    warn!(%user, %error, "a user without a place for mail");
                    continue;
                }
            };
            if matches!(self.env.fs().metadata(&root), Ok(Some(_))) {
                self.recover_store(user, &root, &options);
            }
        }
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
        let (root, options) = self.place_of(user).map_err(|error| StorageError::Unavailable(error.to_string()))?;
        if let Some(parent) = root.parent() {
            // The folder of a domain, say.
            self.env.fs().create_dir_all(parent, FOLDER_MODE).map_err(StorageError::from)?;
        }
        create_storage(&self.env, &root, &options)
    }
}

/// How all users' stores are opened.
fn store_options(config: &Config) -> StoreOptions {
    let storage = &config.storage;
    StoreOptions {
        format: match *storage.format {
            tables::Format::Auto => None,
            tables::Format::Sdbox => Some(Format::Sdbox),
            tables::Format::Maildir => Some(Format::Maildir(MaildirLayout::PlusPlus)),
            tables::Format::MaildirFs => Some(Format::Maildir(MaildirLayout::Fs)),
        },
        separator: match *storage.separator {
            tables::Separator::AsOnDisk => MaildirSeparator::AsOnDisk,
            tables::Separator::Slash => MaildirSeparator::Slash,
        },
        line_ends: match *storage.line_ends {
            LineEnds::Lf => BodyLineEnds::Lf,
            LineEnds::CrLf => BodyLineEnds::CrLf,
        },
        attachments: storage.attachments.as_ref().map(|folder| config.path(folder)),
        limits: mime_limits(&config.limits),
        ..StoreOptions::default()
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
