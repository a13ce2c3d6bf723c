//! The folder of `culver serve`: `users` (a password file) and `mail/NAME`, an sdbox store a user.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::Context;
use culver_runtime::{PasswordFile, StorageProvider, UserName};
use mailfs::FileSystemExt as _;
use mailindex::engine::Env;
use mailstore::{
    MailStorage,
    sdbox::{SdboxOptions, SdboxStorage},
};
use tracing::{info, warn};

/// Mode of folders that are made.
const FOLDER_MODE: u32 = 0o700;

/// The folder, and how stores in it are opened.
#[derive(Clone, Debug)]
pub(crate) struct DataFolder {
    path: PathBuf,
    env: Env,
}

impl DataFolder {
    /// Opens the folder, or makes it.
    pub(crate) fn open(path: &Path, env: Env) -> anyhow::Result<Self> {
        let mail = path.join("mail");
        env.fs().create_dir_all(&mail, FOLDER_MODE).with_context(|| format!("making {}", mail.display()))?;
        Ok(Self { path: path.to_owned(), env })
    }

    /// The file of users.
    pub(crate) fn users(&self) -> PasswordFile {
        PasswordFile::new(self.path.join("users"))
    }

    fn mail_of(&self, user: &str) -> PathBuf {
        self.path.join("mail").join(user)
    }

    /// Looks for what a crash left, in every store, before anybody else opens one: a Dovecot that meets a torn log first
    /// throws the whole log away. A store that cannot be looked at costs nobody but its user.
    pub(crate) fn recover(&self) -> anyhow::Result<()> {
        let mail = self.path.join("mail");
        for entry in self.env.fs().read_dir(&mail)? {
            let user = entry.name.to_string_lossy().into_owned();
            let root = mail.join(&entry.name);
            let storage = match SdboxStorage::open(&self.env, &root, SdboxOptions::default()) {
                Ok(storage) => storage,
                Err(error) => {
                    warn!(user, %error, "not a store, left alone");
                    continue;
                }
            };
            match storage.recover() {
                Ok(report) => {
                    info!(user, mailboxes = report.mailboxes, repaired = report.repaired.len(), "store looked over");
                    for repaired in &report.repaired {
                        warn!(user, ?repaired, "mailbox repaired");
                    }
                }
                Err(error) => warn!(user, %error, "store could not be looked over"),
            }
        }
        Ok(())
    }
}

impl StorageProvider for DataFolder {
    fn storage_for(&self, user: &UserName) -> mailstore::Result<Arc<dyn MailStorage>> {
        let root = self.mail_of(user.as_str());
        Ok(Arc::new(SdboxStorage::create(&self.env, &root, SdboxOptions::default())?))
    }
}
