//! Which folders a mailbox lies in.

use std::path::{Path, PathBuf};

use mailfs::{FileKind, FileSystem, FileSystemExt};
use mailtypes::{Guid, InvalidMailboxName, MailboxName};

use super::naming::Naming;
use crate::traits::{Result, StorageError};

/// The folder of all mailboxes of a dbox.
const MAILBOXES_DIR: &str = "mailboxes";

/// The folder that makes a level a dbox mailbox.
const MAILS_DIR: &str = "dbox-Mails";

/// The folder that makes a level a Maildir mailbox, in layout `fs`.
const CUR_DIR: &str = "cur";

/// The folders of a Maildir mailbox.
const MAILDIR_DIRS: [&str; 3] = [CUR_DIR, "new", "tmp"];

/// Where the indexes of mbox files lie, beside the files.
pub(crate) const MBOX_INDEX_DIR: &str = ".imap";

/// The subscriptions of a store of mbox files.
const MBOX_SUBSCRIPTIONS: &str = ".subscriptions";

/// What names of mbox locks end with.
const LOCK_SUFFIX: &str = ".lock";

/// What Dovecot's own files in a Maildir are called: no level of layout `fs` may be called so.
const OWN_FILE_PREFIX: &str = "dovecot-";

/// How the folders of a store are laid out.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Shape {
    /// `<root>/mailboxes/a/b/dbox-Mails`.
    Dbox,
    /// `<root>/.a.b`; INBOX is the root.
    MaildirPlusPlus,
    /// `<root>/a/b`; INBOX is the root.
    MaildirFs,
    /// `<root>/a/b`, a file; its index in `<root>/a/.imap/b`. INBOX may be a file elsewhere.
    Mbox,
}

/// Where a store keeps the names of its mailboxes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ListLayout {
    /// As names of folders: in a tree, or as Maildir++ has them.
    #[default]
    Folders,
    /// In the list index alone; folders are named by the mailboxes' GUIDs. Dovecot's `LAYOUT=index`.
    Index,
}

/// What can be said of a store's list besides where it is, whatever the format: words of Dovecot's `mail_location`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ListOptions {
    /// Where names are. If not given: as it is found, and as folders where a store is made.
    pub layout: Option<ListLayout>,
    /// Names are written in UTF-8, not in modified UTF-7. Dovecot's `UTF-8`.
    pub utf8: bool,
    /// Characters that the layout cannot hold are written as this one and two hex digits. That of Dovecot's `listescape`.
    pub escape: Option<char>,
    /// Names on disk that are not in modified UTF-7 are shown with this one before the hex digits of what does not belong
    /// there; if not given they are not shown. Dovecot's `BROKENCHAR=`.
    pub broken: Option<char>,
    /// The folder between a level and the messages of its mailbox, where there is none otherwise or `dbox-Mails`. Dovecot's
    /// `DIRNAME=`.
    pub mails_dir: Option<String>,
    /// The folder of all mailboxes, where there is none otherwise or `mailboxes`. Dovecot's `MAILBOXDIR=`.
    pub mailboxes_dir: Option<String>,
    /// The file of subscriptions, below the control folder. Dovecot's `SUBSCRIPTIONS=`.
    pub subscriptions: Option<String>,
    /// Where the messages of INBOX are, if not with the others. Dovecot's `INBOX=`.
    pub inbox: Option<PathBuf>,
    /// Where messages of a dbox go that are moved to cheaper storage. Dovecot's `ALT=`.
    pub alt: Option<PathBuf>,
    /// Levels above a deleted mailbox go with it when nothing else lies below them. Dovecot's `NO-NOSELECT`.
    pub no_empty_levels: bool,
    /// It lies in a namespace without INBOX: INBOX is a mailbox like others, made by nobody but who creates it.
    pub without_inbox: bool,
    /// What clients see before its names, with `/` between levels; told to replication with them.
    pub prefix: String,
    /// Where what need not outlive the machine lies: the list's lock. Dovecot's `VOLATILEDIR=`.
    pub volatile: Option<PathBuf>,
    /// Where the user has an index of his own for each mailbox, with the flags that are his alone: what he has read of mail
    /// that others read too. Dovecot's `INDEXPVT=`.
    pub private: Option<PathBuf>,
}

/// Paths of one store.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    shape: Shape,
    root: PathBuf,
    control: PathBuf,
    index: PathBuf,
    options: ListOptions,
    naming: Naming,
    /// Of an mbox store.
    mbox: Option<MboxPlaces>,
}

#[derive(Clone, Debug)]
struct MboxPlaces {
    inbox: PathBuf,
    /// What indexes lie below, in their `.imap` folders.
    index_root: PathBuf,
    uid_validity_dir: PathBuf,
}

/// Where the files of one mailbox lie. With neither separate control nor separate index path the three are the same.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct MailboxDirs {
    /// The messages: a folder, or an mbox file.
    pub(crate) mail: PathBuf,
    /// `dovecot-uidlist`, `dovecot-keywords`.
    pub(crate) control: PathBuf,
    /// `dovecot.index*`.
    pub(crate) index: PathBuf,
    /// Messages that were moved to alternate storage, if there is one; the folder may be missing.
    pub(crate) alt: Option<PathBuf>,
    /// `dovecot.index.pvt*`, the user's own; the folder may be missing.
    pub(crate) private: Option<PathBuf>,
}

impl MailboxDirs {
    /// The folders that are no others' at the same time, messages last.
    pub(crate) fn beside_mail(&self) -> impl Iterator<Item = &Path> {
        let control = (self.control != self.mail).then_some(&*self.control);
        let index = (self.index != self.mail && self.index != self.control).then_some(&*self.index);
        index.into_iter().chain(control)
    }
}

impl Layout {
    /// Control and index files go below the root unless they have one of their own.
    #[cfg(test)]
    pub(crate) fn shaped(shape: Shape, root: &Path, control: Option<&Path>, index: Option<&Path>) -> Self {
        Self::new(shape, root, control, index, ListOptions::default())
    }

    /// Control and index files go below the root unless they have one of their own.
    pub(crate) fn new(
        shape: Shape,
        root: &Path,
        control: Option<&Path>,
        index: Option<&Path>,
        options: ListOptions,
    ) -> Self {
        let or_root = |path: Option<&Path>| path.unwrap_or(root).to_owned();
        let shape = match shape {
            Shape::MaildirPlusPlus if options.layout == Some(ListLayout::Index) => Shape::MaildirFs,
            other => other,
        };
        let separator = if shape == Shape::MaildirPlusPlus { '.' } else { '/' };
        let naming = Naming::new(options.utf8, options.escape, options.broken, separator);
        let (root, control, index) = (root.to_owned(), or_root(control), or_root(index));
        Self { shape, root, control, index, options, naming, mbox: None }
    }

    /// The same of mbox files, whose INBOX is `<root>/inbox` if it is not elsewhere.
    pub(crate) fn mbox(root: &Path, control: Option<&Path>, index: Option<&Path>, options: ListOptions) -> Self {
        let inbox = options.inbox.clone().unwrap_or_else(|| root.join("inbox"));
        let index_root = index.unwrap_or(root).to_owned();
        let uid_validity_dir = control.map_or_else(|| root.join(MBOX_INDEX_DIR), Path::to_owned);
        let options = ListOptions { layout: None, ..options };
        let layout = Self::new(Shape::Mbox, root, control, Some(&index_root.join(MBOX_INDEX_DIR)), options);
        Self { mbox: Some(MboxPlaces { inbox, index_root, uid_validity_dir }), ..layout }
    }

    /// Where `dovecot-uidvalidity` lies.
    pub(crate) fn uid_validity_dir(&self) -> &Path {
        self.mbox.as_ref().map_or(&*self.control, |places| &places.uid_validity_dir)
    }

    /// Where the index of an mbox file lies.
    fn mbox_index(&self, name: &MailboxName) -> PathBuf {
        let root = self.mbox.as_ref().map_or(&self.index, |places| &places.index_root);
        let encoded = self.naming.storage_name(name, '/', |level| self.is_reserved(level));
        let (above, last) = encoded.rsplit_once('/').unwrap_or(("", &encoded));
        self.below(root).join(above).join(MBOX_INDEX_DIR).join(last)
    }

    /// The folder of a level in the root of indexes, where that is not the one of mailboxes.
    pub(super) fn mbox_index_tree(&self, name: &MailboxName) -> Option<PathBuf> {
        let places = self.mbox.as_ref().filter(|places| places.index_root != self.root)?;
        Some(self.level_in(&places.index_root, name))
    }

    /// Whether names are in the list index, and folders are named by GUIDs.
    pub(crate) fn is_by_guid(&self) -> bool {
        self.options.layout == Some(ListLayout::Index)
    }

    /// The levels of a name as they are written. Fails for a name that the layout cannot hold.
    pub(super) fn written_levels(&self, name: &MailboxName) -> Result<Vec<Vec<u8>>> {
        self.check(name)?;
        let is_reserved = |level: &str| self.is_reserved(level);
        let written = |level: &str| self.naming.level(level, is_reserved).into_bytes();
        Ok(name.levels().map(written).collect())
    }

    /// The name with these levels on disk.
    pub(super) fn name_of_levels(&self, levels: &[&[u8]]) -> Option<MailboxName> {
        let levels: Option<Vec<&str>> = levels.iter().map(|level| std::str::from_utf8(level).ok()).collect();
        let levels = levels.filter(|levels| levels.iter().all(|level| !level.contains('/')))?;
        self.naming.name_of(&levels.join("/"), |_| false)
    }

    /// Where the files of a mailbox lie that is found by its GUID.
    pub(super) fn dirs_of(&self, guid: Guid) -> MailboxDirs {
        let name = guid.to_string();
        self.dirs_with(|root| self.below(root).join(&name))
    }

    /// The folders of a mailbox, each as a function of the root that it lies below.
    pub(super) fn dirs_with(&self, level: impl Fn(&Path) -> PathBuf) -> MailboxDirs {
        let mail = level(&self.root);
        let control = match self.shape {
            Shape::Dbox | Shape::Mbox => mail.clone(),
            Shape::MaildirPlusPlus | Shape::MaildirFs => level(&self.control),
        };
        let (index, alt) = (level(&self.index), self.alt_root().map(&level));
        let private = self.private_root().map(level);
        MailboxDirs { mail, control, index, alt, private }
    }

    /// How it is laid out.
    pub(crate) fn shape(&self) -> Shape {
        self.shape
    }

    /// The store's own folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Where what belongs to the store as a whole lies: subscriptions, `dovecot-uidvalidity`.
    pub(crate) fn control(&self) -> &Path {
        &self.control
    }

    /// Where the list index lies, and the list's lock.
    pub(crate) fn index(&self) -> &Path {
        &self.index
    }

    /// The root of alternate storage, of a format that has one.
    pub(crate) fn alt_root(&self) -> Option<&Path> {
        self.options.alt.as_deref().filter(|_| self.shape == Shape::Dbox)
    }

    /// The root of the user's own indexes, if there are such.
    pub(crate) fn private_root(&self) -> Option<&Path> {
        self.options.private.as_deref()
    }

    /// The root and those that are set apart from it.
    pub(crate) fn roots(&self) -> impl Iterator<Item = &Path> {
        let control = (self.control != self.root).then_some(&*self.control);
        let index = (self.index != self.root && self.index != self.control).then_some(&*self.index);
        [&*self.root].into_iter().chain(control).chain(index)
    }

    /// The folder of all levels.
    pub(crate) fn mailboxes(&self) -> PathBuf {
        self.below(&self.root)
    }

    /// The same below one of the roots.
    pub(super) fn mailboxes_in(&self, root: &Path) -> PathBuf {
        self.below(root)
    }

    /// The root that a folder of messages, control or index files lies below.
    pub(super) fn root_of(&self, dir: &Path) -> &Path {
        let roots = self.roots().filter(|root| dir.starts_with(root));
        roots.max_by_key(|root| root.as_os_str().len()).unwrap_or(&self.root)
    }

    fn below(&self, root: &Path) -> PathBuf {
        match (&self.options.mailboxes_dir, self.shape) {
            (Some(dir), _) => root.join(dir),
            (None, Shape::Dbox) => root.join(MAILBOXES_DIR),
            (None, Shape::MaildirPlusPlus | Shape::MaildirFs | Shape::Mbox) => root.to_owned(),
        }
    }

    /// The folder of a level. Fails for a name that the layout cannot hold.
    pub(crate) fn level_dir(&self, name: &MailboxName) -> Result<PathBuf> {
        self.check(name)?;
        Ok(self.level_in(&self.root, name))
    }

    /// The folder of a level below one of the roots.
    pub(crate) fn level_in(&self, root: &Path, name: &MailboxName) -> PathBuf {
        let is_reserved = |level: &str| self.is_reserved(level);
        let encoded = self.naming.storage_name(name, self.naming.separator(), is_reserved);
        match self.shape {
            Shape::Dbox | Shape::Mbox if name.is_storage_root() => self.below(root),
            Shape::Dbox => self.below(root).join(encoded),
            Shape::MaildirPlusPlus | Shape::MaildirFs if name.is_storage_root() => root.to_owned(),
            // INBOX has a name of its own only where the messages are not.
            Shape::MaildirPlusPlus | Shape::MaildirFs if self.is_inbox(name) && root == self.root => root.to_owned(),
            Shape::MaildirPlusPlus => root.join(format!(".{encoded}")),
            Shape::Mbox if self.is_inbox(name) && root == self.root => {
                self.mbox.as_ref().map_or_else(|| root.join(encoded), |places| places.inbox.clone())
            }
            Shape::Mbox => self.below(root).join(encoded),
            Shape::MaildirFs => root.join(encoded),
        }
    }

    /// The folder of messages below that of their level.
    fn mails_in(&self, level: PathBuf) -> PathBuf {
        match self.shape {
            Shape::Dbox => level.join(self.mails_name()),
            Shape::MaildirPlusPlus | Shape::MaildirFs | Shape::Mbox => level,
        }
    }

    /// Where a mailbox's files lie.
    pub(crate) fn dirs(&self, name: &MailboxName) -> Result<MailboxDirs> {
        self.check(name)?;
        let mail = self.mails_of(name);
        let level = |root: &Path| if *root == self.root { mail.clone() } else { self.level_in(root, name) };
        let control = match self.shape {
            // A dbox mailbox has no control files.
            Shape::Dbox => mail.clone(),
            Shape::MaildirPlusPlus | Shape::MaildirFs => level(&self.control),
            Shape::Mbox => self.mbox_index(name),
        };
        let alt = self.alt_root().map(|root| self.mails_in(self.level_in(root, name)));
        let index = if self.shape == Shape::Mbox { control.clone() } else { level(&self.index) };
        let private = self.private_root().map(|root| self.level_in(root, name));
        Ok(MailboxDirs { mail, control, index, alt, private })
    }

    /// Where the files of a dbox mailbox lie whose level is at this path in the folder of mailboxes.
    pub(super) fn dirs_of_level(&self, path: &Path) -> MailboxDirs {
        let level = |root: &Path| match path.as_os_str().is_empty() {
            true => self.below(root),
            false => self.below(root).join(path),
        };
        let mail = self.mails_in(level(&self.root));
        let index = if self.index == self.root { mail.clone() } else { level(&self.index) };
        let alt = self.alt_root().map(|root| self.mails_in(level(root)));
        MailboxDirs { control: mail.clone(), mail, index, alt, private: self.private_root().map(level) }
    }

    /// The folder that holds a mailbox's messages.
    pub(crate) fn mails_dir(&self, name: &MailboxName) -> Result<PathBuf> {
        self.check(name)?;
        Ok(self.mails_of(name))
    }

    fn mails_of(&self, name: &MailboxName) -> PathBuf {
        match &self.options.inbox {
            Some(inbox) if self.is_inbox(name) => inbox.clone(),
            _ => self.mails_in(self.level_in(&self.root, name)),
        }
    }

    /// Whether INBOX lies elsewhere than its name says.
    pub(super) fn has_inbox_apart(&self) -> bool {
        self.options.inbox.is_some()
    }

    /// What clients see before names.
    pub(super) fn prefix(&self) -> &str {
        &self.options.prefix
    }

    /// Whether a name is that of the mailbox which every user has.
    pub(crate) fn is_inbox(&self, name: &MailboxName) -> bool {
        name.is_inbox() && !self.options.without_inbox
    }

    /// Whether the root can be a mailbox beside all others: where it is none of the user's INBOX.
    pub(crate) fn can_be_mailbox(&self) -> bool {
        !self.has_inbox() && !self.is_by_guid() && self.shape != Shape::Mbox
    }

    /// Whether the store has the mailbox which every user has.
    pub(crate) fn has_inbox(&self) -> bool {
        !self.options.without_inbox
    }

    /// Whether levels that lead nowhere go.
    pub(super) fn removes_empty_levels(&self) -> bool {
        self.options.no_empty_levels
    }

    /// Whether levels go that led to what was renamed, and to nothing else: so Dovecot has it where control or index files lie
    /// with the messages.
    pub(super) fn tidies_after_renames(&self) -> bool {
        self.has_tree() && (self.control == self.root || self.index == self.root)
    }

    /// Whether a folder of messages is there, so that the name can be selected.
    pub(crate) fn is_mailbox(&self, fs: &dyn FileSystem, name: &MailboxName) -> Result<bool> {
        let mails = self.mails_dir(name)?;
        Ok(match self.shape {
            Shape::Dbox => fs.is_dir(&mails)?,
            // Any folder with the right name is one; what it lacks is made when it is opened.
            Shape::MaildirPlusPlus if !self.is_inbox(name) && !name.is_storage_root() => fs.is_dir(&mails)?,
            Shape::Mbox => fs.metadata(&mails)?.is_some_and(|there| there.kind == FileKind::File),
            Shape::MaildirPlusPlus | Shape::MaildirFs => fs.is_dir(&mails.join(CUR_DIR))?,
        })
    }

    /// The name that makes a folder a mailbox; it comes last and goes first.
    pub(crate) fn marker(&self) -> &str {
        match self.shape {
            Shape::Dbox => self.mails_name(),
            // Of an mbox it is the file itself; no folder is called so.
            Shape::MaildirPlusPlus | Shape::MaildirFs | Shape::Mbox => CUR_DIR,
        }
    }

    /// Whether a name in a level's folder belongs to the mailbox itself and is no level below it.
    pub(crate) fn is_own(&self, name: &str) -> bool {
        self.has_tree() && self.is_mail_dir(name)
    }

    /// Whether the layout can hold this name at all.
    fn check(&self, name: &MailboxName) -> Result<()> {
        if name.is_storage_root() {
            return if self.can_be_mailbox() { Ok(()) } else { Err(impossible(name)) };
        }
        if self.is_by_guid() {
            return Ok(());
        }
        let has_trash = matches!(self.shape, Shape::MaildirFs | Shape::Mbox);
        let is_trash = has_trash && name.levels().next() == Some(self.trash_name());
        let is_two = |level: &str| self.shape == Shape::MaildirPlusPlus && level.contains('.');
        let clash = |level: &str| self.is_reserved(level) || is_two(level);
        if is_trash || !self.naming.escapes() && name.levels().any(clash) {
            return Err(impossible(name));
        }
        let encoded = self.naming.storage_name(name, self.naming.separator(), |level| self.is_reserved(level));
        let is_too_long = match self.shape {
            Shape::MaildirPlusPlus => encoded.len() >= MailboxName::LEVEL_LEN_MAX,
            Shape::Dbox | Shape::MaildirFs | Shape::Mbox => {
                encoded.split('/').any(|level| level.len() > MailboxName::LEVEL_LEN_MAX)
            }
        };
        if is_too_long {
            let (name, source) = (name.to_string(), InvalidMailboxName::TooLong);
            return Err(StorageError::InvalidName { name, source });
        }
        Ok(())
    }

    /// Whether the layout needs what is called so for itself.
    fn is_reserved(&self, level: &str) -> bool {
        match self.shape {
            _ if self.is_by_guid() => false,
            Shape::Dbox => level == self.mails_name(),
            Shape::MaildirPlusPlus => false,
            Shape::MaildirFs => self.is_own(level) || level.starts_with(OWN_FILE_PREFIX),
            Shape::Mbox => level == MBOX_INDEX_DIR || level == MBOX_SUBSCRIPTIONS || level.ends_with(LOCK_SUFFIX),
        }
    }

    fn mails_name(&self) -> &str {
        self.options.mails_dir.as_deref().unwrap_or(MAILS_DIR)
    }

    /// Whether a mailbox may be given this name: one that Dovecot would not open again must not be made.
    pub(crate) fn check_new(&self, name: &MailboxName) -> Result<()> {
        if name.as_str().starts_with('~') && !self.naming.escapes() && !self.is_by_guid() {
            return Err(impossible(name));
        }
        self.check(name)
    }

    /// Where deleted mailboxes go first, as Dovecot calls it.
    pub(crate) fn trash_name(&self) -> &'static str {
        match self.shape {
            Shape::Dbox | Shape::MaildirFs | Shape::Mbox => "..DOVECOT-TrasH",
            Shape::MaildirPlusPlus => "..DOVECOT-TRASHED",
        }
    }

    /// Where mailboxes are made before they get their names: no list may show it.
    pub(crate) fn workshop(&self) -> PathBuf {
        match self.shape {
            Shape::Dbox | Shape::MaildirPlusPlus => self.root.clone(),
            // Every other folder of the root is a level.
            Shape::MaildirFs => self.root.join("tmp"),
            // An mbox is made in its place.
            Shape::Mbox => self.index.clone(),
        }
    }

    /// Whether a folder in a mailbox's folder holds messages.
    pub(crate) fn is_mail_dir(&self, name: &str) -> bool {
        match self.shape {
            Shape::Dbox => name == self.mails_name(),
            Shape::MaildirPlusPlus | Shape::MaildirFs => MAILDIR_DIRS.contains(&name),
            Shape::Mbox => false,
        }
    }

    /// Whether levels below a mailbox lie in its folder.
    pub(crate) fn has_tree(&self) -> bool {
        matches!(self.shape, Shape::Dbox | Shape::MaildirFs)
    }

    /// What is locked while the list changes.
    pub(crate) fn list_lock(&self) -> PathBuf {
        self.options.volatile.as_deref().unwrap_or(&self.index).join("mailboxes.lock")
    }

    /// The subscriptions.
    pub(crate) fn subscriptions(&self) -> PathBuf {
        let default = if self.shape == Shape::Mbox { MBOX_SUBSCRIPTIONS } else { "subscriptions" };
        self.control.join(self.options.subscriptions.as_deref().unwrap_or(default))
    }

    /// Between the levels of a name in lists on disk.
    pub(crate) fn storage_separator(&self) -> char {
        self.naming.separator()
    }

    /// A name as it stands in lists on disk, with `/` between its levels.
    pub(crate) fn storage_name(&self, name: &MailboxName) -> String {
        self.naming.storage_name(name, '/', |level| self.is_reserved(level))
    }

    /// How names are written.
    pub(super) fn naming(&self) -> Naming {
        self.naming
    }

    /// The name with these levels on disk, `/` between them; `None` where no name leads to it, such as `inbox`.
    pub(crate) fn name_of(&self, storage_name: &str) -> Option<MailboxName> {
        self.naming.name_of(storage_name, |level| self.is_reserved(level))
    }

    /// The name of the Maildir++ folder with this name on disk; `None` for what is no folder of a mailbox.
    pub(super) fn name_of_flat(&self, entry: &str) -> Option<MailboxName> {
        let name = self.name_of(&entry.strip_prefix('.')?.replace('.', "/"))?;
        (!self.is_inbox(&name) && self.check(&name).is_ok()).then_some(name)
    }
}

fn impossible(name: &MailboxName) -> StorageError {
    StorageError::InvalidName { name: name.to_string(), source: InvalidMailboxName::Climbs }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(name: &str) -> MailboxName {
        MailboxName::new(name).unwrap()
    }

    fn layout(shape: Shape) -> Layout {
        Layout::shaped(shape, Path::new("/s"), None, None)
    }

    fn dir(shape: Shape, mailbox: &str) -> Result<PathBuf> {
        layout(shape).mails_dir(&name(mailbox))
    }

    #[test]
    fn names_become_folders() {
        for (shape, mailbox, path) in [
            (Shape::Dbox, "INBOX", "/s/mailboxes/INBOX/dbox-Mails"),
            (Shape::Dbox, "日本語/フォルダ", "/s/mailboxes/&ZeVnLIqe-/&MNUwqTDrMMA-/dbox-Mails"),
            (Shape::MaildirPlusPlus, "INBOX", "/s"),
            (Shape::MaildirPlusPlus, "INBOX/x", "/s/.INBOX.x"),
            (Shape::MaildirPlusPlus, "日本語/フォルダ", "/s/.&ZeVnLIqe-.&MNUwqTDrMMA-"),
            (Shape::MaildirPlusPlus, "cur/new", "/s/.cur.new"),
            (Shape::MaildirFs, "INBOX", "/s"),
            (Shape::MaildirFs, "INBOX/x", "/s/INBOX/x"),
            (Shape::MaildirFs, "a.b/..c", "/s/a.b/..c"),
        ] {
            assert_eq!(dir(shape, mailbox).unwrap(), Path::new(path));
        }
    }

    #[test]
    fn separate_paths_give_inbox_a_name() {
        let apart = |shape| Layout::shaped(shape, Path::new("/s"), Some(Path::new("/c")), Some(Path::new("/i")));
        let dirs = apart(Shape::MaildirPlusPlus).dirs(&MailboxName::inbox()).unwrap();
        assert_eq!((&*dirs.mail, &*dirs.control), (Path::new("/s"), Path::new("/c/.INBOX")));
        let dirs = apart(Shape::MaildirFs).dirs(&MailboxName::inbox()).unwrap();
        assert_eq!((&*dirs.mail, &*dirs.index), (Path::new("/s"), Path::new("/i/INBOX")));
        assert_eq!(dirs.beside_mail().collect::<Vec<_>>(), [Path::new("/i/INBOX"), Path::new("/c/INBOX")]);
        let dirs = apart(Shape::Dbox).dirs(&name("a/b")).unwrap();
        assert_eq!(
            (&*dirs.mail, &*dirs.index),
            (Path::new("/s/mailboxes/a/b/dbox-Mails"), Path::new("/i/mailboxes/a/b"))
        );
        assert_eq!(dirs.control, dirs.mail);
    }

    #[test]
    fn mbox_files_have_their_indexes_beside_them() {
        let layout = {
            let inbox = Some(PathBuf::from("/var/mail/ann"));
            Layout::mbox(Path::new("/s"), None, None, ListOptions { inbox, ..ListOptions::default() })
        };
        let places = |layout: &Layout, mailbox: &str| {
            let dirs = layout.dirs(&name(mailbox)).unwrap();
            [dirs.mail, dirs.index].map(|path| path.display().to_string())
        };
        assert_eq!(places(&layout, "INBOX"), ["/var/mail/ann", "/s/.imap/INBOX"]);
        assert_eq!(places(&layout, "a/b"), ["/s/a/b", "/s/a/.imap/b"]);
        assert_eq!((layout.index(), &*layout.subscriptions()), (Path::new("/s/.imap"), Path::new("/s/.subscriptions")));
        let apart = Layout::mbox(Path::new("/s"), None, Some(Path::new("/i")), ListOptions::default());
        assert_eq!(places(&apart, "INBOX"), ["/s/inbox", "/i/.imap/INBOX"]);
        assert_eq!(places(&apart, "a/b"), ["/s/a/b", "/i/a/.imap/b"]);
        assert_eq!((apart.index(), apart.uid_validity_dir()), (Path::new("/i/.imap"), Path::new("/s/.imap")));
        for mailbox in [".imap", "a/.imap/b", ".subscriptions", "x.lock", "x.lock/y"] {
            assert!(apart.dirs(&name(mailbox)).is_err(), "{mailbox}");
        }
    }

    #[test]
    fn no_new_name_begins_with_a_home() {
        for mailbox in ["~", "~ann", "~/x"] {
            for shape in [Shape::Dbox, Shape::MaildirPlusPlus, Shape::MaildirFs] {
                let checked = layout(shape).check_new(&name(mailbox));
                assert!(matches!(checked, Err(StorageError::InvalidName { .. })), "{mailbox}");
            }
        }
        for mailbox in ["a~", "a/~b", ".hidden", "..x", " lead", "trail ", "a*b%c"] {
            assert!(layout(Shape::Dbox).check_new(&name(mailbox)).is_ok(), "{mailbox}");
        }
    }

    #[test]
    fn what_a_layout_needs_for_itself_is_refused() {
        for (shape, mailbox) in [
            (Shape::Dbox, "dbox-Mails"),
            (Shape::Dbox, "a/dbox-Mails"),
            (Shape::Dbox, "dbox-Mails/a"),
            (Shape::MaildirFs, "cur"),
            (Shape::MaildirFs, "a/new"),
            (Shape::MaildirFs, "tmp/a"),
            (Shape::MaildirFs, "dovecot-uidlist"),
            (Shape::MaildirFs, "..DOVECOT-TrasH/x"),
            (Shape::MaildirPlusPlus, "a.b"),
            (Shape::MaildirPlusPlus, "a/.b"),
        ] {
            assert!(matches!(dir(shape, mailbox), Err(StorageError::InvalidName { .. })), "{mailbox}");
        }
        let long = format!("{}/{}", "a".repeat(200), "b".repeat(200));
        assert!(dir(Shape::MaildirPlusPlus, &long).is_err() && dir(Shape::MaildirFs, &long).is_ok());
    }

    #[test]
    fn flat_folders_have_names() {
        let name = |entry| layout(Shape::MaildirPlusPlus).name_of_flat(entry).map(|name| name.to_string());
        assert_eq!(name(".a.b").as_deref(), Some("a/b"));
        assert_eq!(name(".&ZeVnLIqe-.x").as_deref(), Some("日本語/x"));
        for entry in ["a", ".", "..", "..x", ".x.", ".a..b", ".INBOX", ".inbox", ".inbox.x", ".&AGE-", ".a&AC4-b", ".ä"]
        {
            assert_eq!(name(entry), None, "{entry}");
        }
    }
}
