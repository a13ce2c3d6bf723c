//! Users' stores: where each lies, by the template of the configuration, and how it is opened.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use culver_runtime::{StorageProvider, UserName};
use mailfs::FileSystemExt as _;
use mailindex::engine::{Env, EnvOptions, Fsync};
use mailstore::{
    MailStorage, StorageError,
    dbox::BodyLineEnds,
    sdbox::{SdboxOptions, SdboxStorage},
};
use tracing::{info, warn};

use crate::config::{
    Config,
    tables::{Format, FsyncMode, LineEnds, Storage},
    template::Template,
};

/// Mode of folders that are made.
const FOLDER_MODE: u32 = 0o700;

/// Where stores lie, and how they are opened.
#[derive(Clone, Debug)]
pub(crate) struct Stores {
    base: PathBuf,
    path: Template,
    format: Format,
    line_ends: BodyLineEnds,
    env: Env,
}

impl Stores {
    /// As the configuration says; makes the folder that they lie in.
    pub(crate) fn open(config: &Config, env: Env) -> anyhow::Result<Self> {
        let storage = &config.storage;
        let (base, path) = (config.data(), Template::clone(&storage.path));
        for folder in [&base, &path.parent(&base)] {
            env.fs().create_dir_all(folder, FOLDER_MODE).with_context(|| format!("making {}", folder.display()))?;
        }
        let line_ends = match *storage.line_ends {
            LineEnds::Lf => BodyLineEnds::Lf,
            LineEnds::CrLf => BodyLineEnds::CrLf,
        };
        Ok(Self { base, path, format: *storage.format, line_ends, env })
    }

    fn options(&self) -> SdboxOptions {
        SdboxOptions { line_ends: self.line_ends, ..SdboxOptions::default() }
    }

    /// Looks for what a crash left in the users' stores, before anybody else opens one: a Dovecot that meets a torn log
    /// first throws the whole log away. A store that cannot be looked at costs nobody but its user.
    pub(crate) fn recover(&self, users: &[UserName]) {
        for user in users {
            let root = match self.path.expand(&self.base, user) {
                Ok(root) => root,
                Err(error) => {
                    warn!(%user, %error, "a user without a place for mail");
                    continue;
                }
            };
            if matches!(self.env.fs().metadata(&root), Ok(Some(_))) {
                self.recover_store(user, &root);
            }
        }
    }

    fn recover_store(&self, user: &UserName, root: &Path) {
        let storage = match SdboxStorage::open(&self.env, root, self.options()) {
            Ok(storage) => storage,
            Err(error) => return warn!(%user, %error, "not a store, left alone"),
        };
        match storage.recover() {
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
        let root = self.path.expand(&self.base, user).map_err(|error| StorageError::Unavailable(error.to_string()))?;
        match self.format {
            Format::Sdbox => Ok(Arc::new(SdboxStorage::create(&self.env, &root, self.options())?)),
        }
    }
}

/// The engine's options of a configuration.
pub(crate) fn env_options(storage: &Storage) -> EnvOptions {
    let bytes = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
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
    }
}
