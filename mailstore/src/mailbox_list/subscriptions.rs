//! The `subscriptions` file, versions 1 and 2 (`docs/formats/list.md`).

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use mailfs::{Dotlock, DotlockContent, DotlockOptions, FileSystem, FileSystemExt};
use mailindex::engine::aside;
use mailtypes::MailboxName;

use super::{Layout, Rights};
use crate::traits::{ForeignSpelling, Result, StorageError};

/// Largest file read.
const FILE_LEN_MAX: u64 = 16 << 20;

/// How long somebody else's lock is waited for.
const LOCK_TIMEOUT: Duration = Duration::from_secs(120);

/// When a lock without sign of life is overridden.
const LOCK_STALE: Duration = Duration::from_secs(30);

/// What a file of version 2 begins with.
const HEADER_V2: &[u8] = b"V\t2\n\n";

/// One user's subscriptions.
#[derive(Debug)]
pub(crate) struct Subscriptions {
    fs: Arc<dyn FileSystem>,
    path: PathBuf,
    layout: Layout,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Version {
    /// One name a line, levels separated as in the layout.
    One,
    /// A header; levels separated by TAB and escaped.
    Two,
}

/// Lines in their order, as they stand in the file; also those that are no name of ours.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Content {
    version: Version,
    lines: Vec<Vec<u8>>,
}

impl Subscriptions {
    pub(crate) fn new(fs: &Arc<dyn FileSystem>, layout: &Layout) -> Self {
        Self { fs: Arc::clone(fs), path: layout.subscriptions(), layout: layout.clone() }
    }

    /// Between levels in version 1.
    fn separator(&self) -> char {
        self.layout.storage_separator()
    }

    /// The names in order of subscribing. Lines that are no mailbox name are passed over.
    pub(crate) fn read(&self) -> Result<Vec<MailboxName>> {
        let content = self.content()?;
        Ok(content.lines.iter().filter_map(|line| self.name_in(content.version, line)).collect())
    }

    /// The same, with names of namespaces that keep theirs here.
    pub(crate) fn read_kept(&self) -> Result<Vec<MailboxName>> {
        let content = self.content()?;
        Ok(content.lines.iter().filter_map(|line| self.kept_name_in(content.version, line)).collect())
    }

    /// Adds or removes a name, durably; tells whether it was not so before. What is removed may be another namespace's.
    pub(crate) fn change(&self, name: &MailboxName, subscribe: bool) -> Result<bool> {
        self.edit(|content| {
            let version = content.version;
            let name_in = |line: &Vec<u8>| match subscribe {
                true => self.name_in(version, line),
                false => self.kept_name_in(version, line),
            };
            let is_it = |line: &Vec<u8>| name_in(line).is_some_and(|found| found == *name);
            if content.lines.iter().any(is_it) == subscribe {
                return false;
            }
            match subscribe {
                true => content.lines.push(self.line_of(version, name)),
                false => content.lines.retain(|line| !is_it(line)),
            }
            true
        })
    }

    /// Adds a name of a namespace that keeps its subscriptions here, durably; tells whether it was not there before.
    pub(crate) fn add_foreign(&self, name: &MailboxName, spelled: &ForeignSpelling) -> Result<bool> {
        self.edit(|content| {
            let version = content.version;
            if content.lines.iter().any(|line| self.kept_name_in(version, line).is_some_and(|found| found == *name)) {
                return false;
            }
            content.lines.push(self.foreign_line(version, name, spelled));
            true
        })
    }

    /// Writes the file anew, durably, if `how` says that it has changed something.
    fn edit(&self, how: impl FnOnce(&mut Content) -> bool) -> Result<bool> {
        let options = DotlockOptions {
            timeout: LOCK_TIMEOUT,
            stale: LOCK_STALE,
            access: Rights::of(&*self.fs, self.layout.control())?.file_access(),
            content: DotlockContent::Replacement,
        };
        let lock = Dotlock::acquire(&self.fs, &self.path, options)?;
        let mut content = self.content()?;
        if !how(&mut content) {
            return Ok(false);
        }
        lock.file().write_at(&content.encode(), 0)?;
        lock.replace()?;
        Ok(true)
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Puts a file right that cannot be read: it is kept under another name, and every line of it that is a name stays.
    /// Durable when it returns.
    pub(crate) fn mend(&self) -> Result<()> {
        let options = DotlockOptions {
            timeout: LOCK_TIMEOUT,
            stale: LOCK_STALE,
            access: Rights::of(&*self.fs, self.layout.control())?.file_access(),
            content: DotlockContent::Replacement,
        };
        let lock = Dotlock::acquire(&self.fs, &self.path, options)?;
        let bytes = match self.fs.read_all(&self.path, FILE_LEN_MAX) {
            Err(e) if e.is_not_found() => return Ok(()),
            other => other?,
        };
        if Content::parse(&bytes).is_ok() {
            return Ok(());
        }
        let is_name = |line: &&[u8]| !line.is_empty() && self.name_in(Version::Two, line).is_some();
        let lines = split_lines(&bytes).filter(is_name);
        let mut content = Content { version: Version::Two, lines: lines.map(<[u8]>::to_vec).collect() };
        // What remains of the first line.
        content.lines.retain(|line| !line.starts_with(b"V\t"));
        aside::link(&*self.fs, &self.path)?;
        lock.file().write_at(&content.encode(), 0)?;
        Ok(lock.replace()?)
    }

    fn name_in(&self, version: Version, line: &[u8]) -> Option<MailboxName> {
        if line.is_empty() {
            // The prefix that clients see before all other names.
            return (!self.layout.has_inbox()).then(MailboxName::storage_root);
        }
        let separator = self.separator();
        if separator != '/' && line.contains(&b'/') {
            return None;
        }
        let levels = match version {
            Version::One => String::from_utf8(line.to_vec()).ok()?.replace(separator, "/"),
            Version::Two => String::from_utf8(unescape(line)).ok()?,
        };
        // The prefix of a namespace that keeps its subscriptions here has its last separator.
        let levels = levels.strip_suffix('/').map(str::to_owned).unwrap_or(levels);
        // No level may look as if it were two to those who see this separator.
        let escapes = self.layout.naming().escapes();
        let is_split = |name: &MailboxName| separator == '/' || escapes || !name.as_str().contains(separator);
        self.layout.name_of(&levels).filter(is_split)
    }

    /// The same for a name that may be of a namespace that keeps its subscriptions here: behind its prefix stands what clients see
    /// between levels.
    fn kept_name_in(&self, version: Version, line: &[u8]) -> Option<MailboxName> {
        if self.separator() == '/' || !line.contains(&b'/') {
            return self.name_in(version, line);
        }
        let levels = match version {
            Version::One => String::from_utf8(line.to_vec()).ok()?,
            Version::Two => String::from_utf8(unescape(line)).ok()?,
        };
        self.layout.name_of(levels.strip_suffix('/').unwrap_or(&levels))
    }

    /// As Dovecot 2.3.19 writes it.
    fn foreign_line(&self, version: Version, name: &MailboxName, spelled: &ForeignSpelling) -> Vec<u8> {
        let own = self.separator();
        let mut line = Vec::new();
        let put = |separator: char| match version {
            Version::Two if separator == own => b"\t".to_vec(),
            _ => separator.to_string().into_bytes(),
        };
        let storage_name = self.layout.storage_name(name);
        for (at, level) in storage_name.split('/').enumerate() {
            if at > spelled.prefix_levels {
                line.extend(put(spelled.separator));
            }
            match version {
                Version::One => line.extend(level.as_bytes()),
                Version::Two => line.extend(escape(level.as_bytes())),
            }
            if at < spelled.prefix_levels {
                line.extend(put(spelled.prefix_separator));
            }
        }
        line
    }

    fn line_of(&self, version: Version, name: &MailboxName) -> Vec<u8> {
        if name.is_storage_root() {
            return Vec::new();
        }
        let levels = self.layout.storage_name(name);
        match version {
            Version::One => levels.replace('/', self.separator().encode_utf8(&mut [0; 4])).into_bytes(),
            Version::Two => escape(levels.as_bytes()),
        }
    }

    fn content(&self) -> Result<Content> {
        match self.fs.read_all(&self.path, FILE_LEN_MAX) {
            Ok(bytes) => Content::parse(&bytes).map_err(|(offset, what)| StorageError::Corrupt {
                path: self.path.clone(),
                offset,
                what: what.to_owned(),
            }),
            Err(e) if e.is_not_found() => Ok(Content { version: Version::Two, lines: Vec::new() }),
            Err(e) => Err(e.into()),
        }
    }
}

impl Content {
    fn parse(bytes: &[u8]) -> std::result::Result<Self, (u64, &'static str)> {
        if bytes.is_empty() {
            return Ok(Self { version: Version::Two, lines: Vec::new() });
        }
        let Some(after) = bytes.strip_prefix(b"V\t") else {
            return Ok(Self { version: Version::One, lines: split_lines(bytes).map(<[u8]>::to_vec).collect() });
        };
        if !bytes.starts_with(b"V\t2\n") {
            return Err((2, "a version of the subscriptions that is not known"));
        }
        // Between the version and the empty line there may be headers to come.
        let end = memchr::memmem::find(after, b"\n\n").ok_or((0, "the header of the subscriptions has no end"))?;
        let names = after.get(end + 2..).unwrap_or_default();
        Ok(Self { version: Version::Two, lines: split_lines(names).map(<[u8]>::to_vec).collect() })
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.version == Version::Two {
            out.extend_from_slice(HEADER_V2);
        }
        for line in &self.lines {
            out.extend_from_slice(line);
            out.push(b'\n');
        }
        out
    }
}

fn split_lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split_inclusive(|&b| b == b'\n').map(|line| line.strip_suffix(b"\n").unwrap_or(line))
}

/// Bytes that stand for themselves nowhere in a line, and the letters that stand for them.
const ESCAPES: [(u8, u8); 5] = [(1, b'1'), (b'\t', b't'), (b'\n', b'n'), (b'\r', b'r'), (0, b'0')];

fn escape(name: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    for &byte in name {
        match ESCAPES.iter().find(|(raw, _)| *raw == byte) {
            Some((_, letter)) => out.extend_from_slice(&[1, *letter]),
            None if byte == b'/' => out.push(b'\t'),
            None => out.push(byte),
        }
    }
    out
}

fn unescape(line: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(line.len());
    let mut bytes = line.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            1 => {
                let letter = bytes.next().copied().unwrap_or(b'1');
                out.push(ESCAPES.iter().find(|(_, l)| *l == letter).map_or(letter, |(raw, _)| *raw));
            }
            b'\t' => out.push(b'/'),
            _ => out.push(byte),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use mailfs::RealDisk;
    use proptest::prelude::*;

    use super::*;
    use crate::mailbox_list::{ListOptions, Shape};

    fn subscriptions(dir: &std::path::Path) -> Subscriptions {
        let fs: Arc<dyn FileSystem> = Arc::new(RealDisk::new());
        Subscriptions::new(&fs, &Layout::shaped(Shape::Dbox, dir, None, None))
    }

    fn flat(dir: &std::path::Path) -> Subscriptions {
        let fs: Arc<dyn FileSystem> = Arc::new(RealDisk::new());
        Subscriptions::new(&fs, &Layout::shaped(Shape::MaildirPlusPlus, dir, None, None))
    }

    fn name(name: &str) -> MailboxName {
        MailboxName::new(name).unwrap()
    }

    #[test]
    fn a_new_file_has_version_2() {
        let dir = tempfile::tempdir().unwrap();
        let subscriptions = subscriptions(dir.path());
        assert_eq!(subscriptions.read().unwrap(), []);
        for n in ["Work/Projects/2024", "Überblick & Co", "Work/Projects/2024"] {
            subscriptions.change(&name(n), true).unwrap();
        }
        let text = std::fs::read(dir.path().join("subscriptions")).unwrap();
        assert_eq!(text, b"V\t2\n\nWork\tProjects\t2024\n&ANw-berblick &- Co\n");
        assert_eq!(subscriptions.read().unwrap(), [name("Work/Projects/2024"), name("Überblick & Co")]);
        subscriptions.change(&name("Work/Projects/2024"), false).unwrap();
        assert_eq!(subscriptions.read().unwrap(), [name("Überblick & Co")]);
        assert!(!dir.path().join("subscriptions.lock").exists());
    }

    /// As Dovecot 2.3.19 writes it: the prefix of a namespace is an empty line in that namespace's list.
    #[test]
    fn the_storage_itself_is_an_empty_line() {
        let dir = tempfile::tempdir().unwrap();
        let fs: Arc<dyn FileSystem> = Arc::new(RealDisk::new());
        let list = |without_inbox| ListOptions { without_inbox, ..ListOptions::default() };
        let of = |list| Subscriptions::new(&fs, &Layout::new(Shape::Dbox, dir.path(), None, None, list));
        let (subscriptions, root) = (of(list(true)), MailboxName::storage_root());
        for n in [&root, &name("x"), &root] {
            subscriptions.change(n, true).unwrap();
        }
        assert_eq!(std::fs::read(dir.path().join("subscriptions")).unwrap(), b"V\t2\n\n\nx\n");
        assert_eq!(subscriptions.read().unwrap(), [root.clone(), name("x")]);
        assert_eq!(of(list(false)).read().unwrap(), [name("x")], "where it has INBOX it has no other name");
        subscriptions.change(&root, false).unwrap();
        assert_eq!(std::fs::read(dir.path().join("subscriptions")).unwrap(), b"V\t2\n\nx\n");
    }

    #[test]
    fn version_1_is_kept_and_so_is_what_is_no_name() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("subscriptions"), "a/b\n../x\nINBOX\n").unwrap();
        let subscriptions = subscriptions(dir.path());
        assert_eq!(subscriptions.read().unwrap(), [name("a/b"), name("INBOX")]);
        subscriptions.change(&name("c/d"), true).unwrap();
        assert_eq!(std::fs::read(dir.path().join("subscriptions")).unwrap(), b"a/b\n../x\nINBOX\nc/d\n");
    }

    #[test]
    fn maildir_lists_of_version_1_have_dots_between_levels() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("subscriptions"), "a.b\nx/y\nINBOX\n").unwrap();
        let subscriptions = flat(dir.path());
        assert_eq!(subscriptions.read().unwrap(), [name("a/b"), name("INBOX")]);
        subscriptions.change(&name("c/d"), true).unwrap();
        subscriptions.change(&name("a/b"), false).unwrap();
        assert_eq!(std::fs::read(dir.path().join("subscriptions")).unwrap(), b"x/y\nINBOX\nc.d\n");
    }

    /// As Dovecot 2.3.19 writes names of a namespace with the prefix `Nosub/` and `subscriptions = no`.
    #[test]
    fn names_of_other_namespaces_are_written_as_dovecot_has_them() {
        let spelled = |prefix_separator, separator| ForeignSpelling { prefix_levels: 1, prefix_separator, separator };
        for (is_flat, spelled, text) in [
            (false, spelled('/', '/'), "V\t2\n\nNosub\tk\nNosub\ta\tb\nNosub\t\n"),
            (true, spelled('/', '/'), "V\t2\n\nNosub/k\nNosub/a/b\nNosub/\n"),
            (true, spelled('/', '.'), "V\t2\n\nNosub/k\nNosub/a\tb\nNosub/\n"),
            (false, spelled('/', '.'), "V\t2\n\nNosub\tk\nNosub\ta.b\nNosub\t\n"),
            (true, spelled('.', '.'), "V\t2\n\nNosub\tk\nNosub\ta\tb\nNosub\t\n"),
            (false, spelled('.', '/'), "V\t2\n\nNosub.k\nNosub.a\tb\nNosub.\n"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let subscriptions = if is_flat { flat(dir.path()) } else { subscriptions(dir.path()) };
            for mailbox in ["Nosub/k", "Nosub/a/b", "Nosub"] {
                subscriptions.add_foreign(&name(mailbox), &spelled).unwrap();
            }
            assert_eq!(std::fs::read_to_string(dir.path().join("subscriptions")).unwrap(), text);
            if is_flat && spelled.prefix_separator == '/' {
                assert_eq!(subscriptions.read_kept().unwrap(), ["Nosub/k", "Nosub/a/b", "Nosub"].map(name));
                assert_eq!(subscriptions.read().unwrap(), []);
                assert!(!subscriptions.add_foreign(&name("Nosub/k"), &spelled).unwrap());
                assert!(subscriptions.change(&name("Nosub/a/b"), false).unwrap());
                assert_eq!(subscriptions.read_kept().unwrap(), ["Nosub/k", "Nosub"].map(name));
            }
        }
    }

    #[test]
    fn no_level_has_the_separator_that_clients_see() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("subscriptions"), "V\t2\n\na.b\na\tb\n").unwrap();
        assert_eq!(flat(dir.path()).read().unwrap(), [name("a/b")]);
        assert_eq!(subscriptions(dir.path()).read().unwrap(), [name("a.b"), name("a/b")]);
    }

    #[test]
    fn a_version_to_come_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("subscriptions"), "V\t3\n\nx\n").unwrap();
        let subscriptions = subscriptions(dir.path());
        assert!(matches!(subscriptions.change(&name("a"), true), Err(StorageError::Corrupt { offset: 2, .. })));
        assert_eq!(std::fs::read(dir.path().join("subscriptions")).unwrap(), b"V\t3\n\nx\n");
    }

    proptest! {
        #[test]
        fn lines_round_trip(names in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20), 0..10)) {
            for name in &names {
                let unescaped = unescape(&escape(name));
                prop_assert_eq!(&unescaped, name);
            }
            let content = Content { version: Version::Two, lines: names.iter().map(|name| escape(name)).collect() };
            prop_assert_eq!(Content::parse(&content.encode()), Ok(content));
        }

        #[test]
        fn any_bytes_are_parsed_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Content::parse(&bytes);
        }
    }
}
