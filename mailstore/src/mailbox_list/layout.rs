//! Which folder a mailbox lies in.

use std::path::{Path, PathBuf};

use mailtypes::{InvalidMailboxName, MailboxName, mutf7};

use crate::traits::{Result, StorageError};

/// The folder that makes a level a mailbox.
pub(crate) const MAILS_DIR: &str = "dbox-Mails";

/// Where deleted mailboxes go first.
const TRASH_DIR: &str = "..DOVECOT-TrasH";

/// Paths of one store.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
    mailboxes: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), mailboxes: root.join("mailboxes") }
    }

    /// The store's own folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of all levels.
    pub(crate) fn mailboxes(&self) -> &Path {
        &self.mailboxes
    }

    /// The folder of a level. Fails for a name that the layout cannot hold.
    pub(crate) fn level_dir(&self, name: &MailboxName) -> Result<PathBuf> {
        if name.levels().any(|level| level == MAILS_DIR) {
            let (name, source) = (name.to_string(), InvalidMailboxName::Climbs);
            return Err(StorageError::InvalidName { name, source });
        }
        Ok(self.mailboxes.join(mutf7::encode(name.as_str())))
    }

    /// Whether a mailbox may be given this name: one that Dovecot would not open again must not be made.
    pub(crate) fn check_new(&self, name: &MailboxName) -> Result<()> {
        if name.as_str().starts_with('~') {
            let (name, source) = (name.to_string(), InvalidMailboxName::Climbs);
            return Err(StorageError::InvalidName { name, source });
        }
        self.level_dir(name).map(|_| ())
    }

    /// The folder that holds a mailbox's messages.
    pub(crate) fn mails_dir(&self, name: &MailboxName) -> Result<PathBuf> {
        Ok(self.level_dir(name)?.join(MAILS_DIR))
    }

    /// Where deleted mailboxes go first.
    pub(crate) fn trash(&self) -> PathBuf {
        self.root.join(TRASH_DIR)
    }

    /// What is locked while the list changes.
    pub(crate) fn list_lock(&self) -> PathBuf {
        self.root.join("mailboxes.lock")
    }

    /// The subscriptions.
    pub(crate) fn subscriptions(&self) -> PathBuf {
        self.root.join("subscriptions")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(name: &str) -> Result<PathBuf> {
        Layout::new(Path::new("/s")).mails_dir(&MailboxName::new(name).unwrap())
    }

    #[test]
    fn names_become_folders() {
        assert_eq!(dir("INBOX").unwrap(), Path::new("/s/mailboxes/INBOX/dbox-Mails"));
        assert_eq!(dir("日本語/フォルダ").unwrap(), Path::new("/s/mailboxes/&ZeVnLIqe-/&MNUwqTDrMMA-/dbox-Mails"));
    }

    #[test]
    fn no_new_name_begins_with_a_home() {
        let check = |name: &str| Layout::new(Path::new("/s")).check_new(&MailboxName::new(name).unwrap());
        for name in ["~", "~ann", "~/x"] {
            assert!(matches!(check(name), Err(StorageError::InvalidName { .. })), "{name}");
        }
        for name in ["a~", "a/~b", ".hidden", "..x", " lead", "trail ", "a*b%c"] {
            assert!(check(name).is_ok(), "{name}");
        }
    }

    #[test]
    fn the_layouts_own_name_is_refused() {
        for name in ["dbox-Mails", "a/dbox-Mails", "dbox-Mails/a"] {
            assert!(matches!(dir(name), Err(StorageError::InvalidName { .. })), "{name}");
        }
    }
}
