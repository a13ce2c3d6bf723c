//! A user's store, opened for a command.

use std::sync::Arc;

use anyhow::{Context, bail};
use culver_runtime::{PasswordFile, StorageProvider as _, UserName};
use mailfs::RealDisk;
use mailindex::engine::Env;
use mailstore::{DboxStorage, MailStorage, Mailbox, mailtypes::MailboxName, open_dbox};

use crate::{
    config::{Config, arguments::ConfigArguments, check::Purpose},
    stores::{Place, Stores, env_options},
};

/// A user's mail.
pub(super) struct UserStore {
    env: Env,
    /// The mail.
    pub(super) storage: Arc<dyn MailStorage>,
    /// Where it lies, and how it is opened.
    place: Place,
}

/// The configuration, if there is nothing wrong with it.
pub(super) fn config(arguments: &ConfigArguments) -> anyhow::Result<Config> {
    let (config, problems) = Config::load_for(Purpose::Commands, &arguments.overlay(None));
    problems.result()?;
    Ok(config)
}

/// The file of users.
pub(super) fn users(config: &Config) -> PasswordFile {
    crate::stores::password_file(config)
}

impl UserStore {
    /// Opens the mail of a user who is in the users' file.
    pub(super) fn open(arguments: &ConfigArguments, user: &str) -> anyhow::Result<Self> {
        let config = config(arguments)?;
        let user = UserName::new(user).with_context(|| format!("the user name {user:?}"))?;
        let users = Arc::new(users(&config));
        if !users.names()?.contains(&user) {
            bail!("there is no user {user} in {}; `culver user add {user}` makes one", users.path().display());
        }
        let env = Env::new(Arc::new(RealDisk::new()), env_options(&config.storage));
        let stores = Stores::open(&config, env.clone(), Arc::clone(&users))?;
        let place = stores.place_for(&user)?;
        let storage = stores.storage_for(&user).with_context(|| format!("opening the mail of {user}"))?;
        Ok(Self { env, storage, place })
    }

    /// Opens a mailbox by the name that a user would type.
    pub(super) fn mailbox(&self, name: &str) -> anyhow::Result<Arc<dyn Mailbox>> {
        Ok(self.storage.mailbox(&mailbox_name(name)?)?)
    }

    /// Opens it as what can move messages between storages.
    pub(super) fn dbox(&self) -> anyhow::Result<DboxStorage> {
        Ok(open_dbox(&self.env, &self.place.path, &self.place.options)?)
    }

    /// Makes durable what is not yet; to be called at the end of a command that changes something.
    pub(super) fn finish(&self) -> anyhow::Result<()> {
        self.env.flush().context("syncing")
    }
}

/// A mailbox's name, levels separated by `/`.
pub(super) fn mailbox_name(name: &str) -> anyhow::Result<MailboxName> {
    MailboxName::new(name).with_context(|| format!("the mailbox name {name:?}"))
}
