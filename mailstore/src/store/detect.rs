//! What lies at a path: a store that can be opened, or something that can at least be named.

use std::{fmt, io::ErrorKind, path::Path};

use mailfs::{DirEntry, FileKind, FileSystem, FileSystemExt};

use super::{Format, StoreOptions, leftovers::ForeignFile};
use crate::{
    mailbox_list::ListLayout,
    maildir::MaildirLayout,
    mbox::FromLine,
    traits::{Result, StorageError},
};

/// Folders below a Maildir's root that are looked into for what layout it has.
const FOLDERS_SEEN_MAX: usize = 10_000;

/// Files in a folder that are looked into for whether they are mbox files.
const FILES_SEEN_MAX: usize = 1_000;

/// Levels below a Maildir's root that are looked into.
const DEPTH_MAX: usize = 8;

/// A store that was found, and what it was known by.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub struct Detected {
    /// What it is.
    pub format: Format,
    /// Where the names of its mailboxes are.
    pub list: ListLayout,
    /// What was there that says so.
    pub why: String,
    /// What other servers left there.
    pub foreign: Vec<ForeignFile>,
}

impl Detected {
    fn new(format: Format, list: ListLayout, why: impl Into<String>) -> Self {
        Self { format, list, why: why.into(), foreign: Vec::new() }
    }

    /// Tells the log what is lost if nobody does anything about it.
    pub(super) fn tell_foreign(&self, path: &Path) {
        for file in self.foreign.iter().filter(|file| !file.is_superseded) {
            tracing::info!(path = %path.display(), "{file}");
        }
    }
}

impl fmt::Display for Detected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let layout = match self.list {
            ListLayout::Folders => "",
            ListLayout::Index => ", layout index",
        };
        write!(f, "{}{layout}: {}", self.format, self.why)?;
        self.foreign.iter().filter(|file| !file.is_superseded).try_for_each(|file| write!(f, "; {file}"))
    }
}

/// What store lies at a path. Fails with [`StorageError::NotAStore`], which says what was found, where there is none, or
/// where it could be one or the other. Costs one folder read; for a Maildir one for each folder until its layout is known.
pub fn detect(fs: &dyn FileSystem, path: &Path) -> Result<Detected> {
    match found(fs, path)? {
        Found::Store(detected) => Ok(detected),
        Found::Nothing => Err(not_a_store(path, "there is nothing")),
        Found::Empty => Err(not_a_store(path, "it is an empty folder; a store can be made in it")),
        Found::Mixed(what) => Err(not_a_store(path, &what)),
        Found::Other(what) | Found::Folder(what) => Err(not_a_store(path, what)),
    }
}

/// Whether a store of the format asked for lies there; the format of what is there, if none is asked for.
pub(super) fn detect_as(fs: &dyn FileSystem, path: &Path, options: &StoreOptions) -> Result<Detected> {
    let list = options.list.layout;
    let Some(asked) = options.format else { return check_list(path, detect(fs, path)?, list) };
    match found(fs, path)? {
        Found::Store(there) => check_list(path, check_same(path, there, asked)?, list),
        // Whoever says which is believed.
        Found::Mixed(why) if matches!(asked, Format::Maildir(_)) => Ok(Detected::new(asked, ListLayout::Folders, why)),
        // Its INBOX may lie elsewhere, and nothing else be there yet.
        Found::Nothing | Found::Empty | Found::Folder(_) if asked == Format::Mbox => {
            Ok(Detected::new(asked, ListLayout::Folders, "that is said"))
        }
        _ => detect(fs, path),
    }
}

/// The format of a store that is there, or that can be made there.
pub(super) fn detect_or_free(fs: &dyn FileSystem, path: &Path, options: &StoreOptions) -> Result<(Format, ListLayout)> {
    let free = || Ok((options.format.unwrap_or_default(), options.list.layout.unwrap_or_default()));
    match found(fs, path)? {
        Found::Nothing | Found::Empty => free(),
        // The first folder of an mdbox that somebody was stopped making.
        Found::Folder(_) if options.format == Some(Format::Mdbox) && fs.is_dir(&path.join("storage"))? => free(),
        _ => detect_as(fs, path, options).map(|there| (there.format, there.list)),
    }
}

fn check_same(path: &Path, there: Detected, asked: Format) -> Result<Detected> {
    let is_open = there.why == INBOX_ONLY && matches!(asked, Format::Maildir(_));
    if there.format == asked || is_open {
        return Ok(Detected { format: asked, ..there });
    }
    Err(not_a_store(path, &format!("{asked} is asked for, and it is {there}")))
}

/// Names that are looked for in the other place are none.
fn check_list(path: &Path, there: Detected, asked: Option<ListLayout>) -> Result<Detected> {
    match asked {
        Some(asked) if asked != there.list && there.why != NO_MAILBOXES && there.why != INBOX_ONLY => {
            let asked = if asked == ListLayout::Index { "names in the list index" } else { "names of folders" };
            Err(not_a_store(path, &format!("{asked} are asked for, and it is {there}")))
        }
        Some(list) => Ok(Detected { list, ..there }),
        None => Ok(there),
    }
}

enum Found {
    Store(Detected),
    Nothing,
    Empty,
    /// Signs of two layouts.
    Mixed(String),
    /// A folder of other things.
    Folder(&'static str),
    Other(&'static str),
}

impl Found {
    fn store(format: Format, why: impl Into<String>) -> Self {
        Self::Store(Detected::new(format, ListLayout::Folders, why))
    }

    fn by_guid(format: Format, why: impl Into<String>) -> Self {
        Self::Store(Detected::new(format, ListLayout::Index, why))
    }
}

/// A dbox store that is as good in one layout as in the other.
const NO_MAILBOXES: &str = "there is an empty folder \"mailboxes\"";

/// A Maildir that is as good in one layout as in the other.
const INBOX_ONLY: &str = "there are \"cur\" and \"new\", and no other mailbox that would tell the layout";

fn not_a_store(path: &Path, what: &str) -> StorageError {
    StorageError::NotAStore { path: path.to_owned(), what: what.to_owned() }
}

fn found(fs: &dyn FileSystem, path: &Path) -> Result<Found> {
    let there = match fs.metadata(path) {
        Ok(Some(there)) => there,
        Ok(None) => return Ok(Found::Nothing),
        Err(e) if e.kind() == ErrorKind::PermissionDenied => {
            return Ok(Found::Other("a folder on the way to it may not be entered"));
        }
        Err(e) => return Err(e.into()),
    };
    if there.kind != FileKind::Dir {
        let mbox = fs.read_range(path, 0, 5).is_ok_and(|start| start == b"From ");
        return Ok(Found::Other(if mbox {
            "it is an mbox file, not a folder of such"
        } else {
            "it is a file, not a folder"
        }));
    }
    let entries = match fs.read_dir(path) {
        Err(e) if e.kind() == ErrorKind::PermissionDenied => {
            return Ok(Found::Other("it is a folder that may not be read"));
        }
        other => other?,
    };
    let has = |name: &str| entries.iter().any(|e| e.name == name && e.kind != FileKind::File);
    let is_maildir = has("cur") && has("new");
    let mbox = if is_maildir || has("mailboxes") { None } else { mbox_sign(fs, path, &entries)? };
    let foreign = ForeignFile::among(&entries);
    let found = match (has("mailboxes"), is_maildir) {
        (true, false) => dbox_layout(fs, path, if has("storage") { Format::Mdbox } else { Format::Sdbox })?,
        (true, true) if has_dbox(fs, &path.join("mailboxes"))? => {
            Found::Other("there are a Maildir and a dbox store in one folder")
        }
        (_, true) => maildir_layout(fs, path, &entries)?,
        (false, false) if mbox.is_some() => Found::store(Format::Mbox, mbox.unwrap_or_default()),
        (false, false) if entries.iter().all(is_half_made) => Found::Empty,
        (false, false) => match maildir_layout(fs, path, &entries)? {
            Found::Store(detected) if detected.why == INBOX_ONLY => {
                Found::Folder("it is a folder without any mail store that is known")
            }
            // An INBOX that nobody has opened yet.
            other => other,
        },
    };
    Ok(match found {
        Found::Store(detected) => Found::Store(Detected { foreign, ..detected }),
        other => other,
    })
}

/// What says that a folder holds mbox files.
fn mbox_sign(fs: &dyn FileSystem, path: &Path, entries: &[DirEntry]) -> Result<Option<String>> {
    if entries.iter().any(|entry| entry.name == ".imap" && entry.kind == FileKind::Dir) {
        return Ok(Some("there is a folder \".imap\"".to_owned()));
    }
    for entry in entries.iter().filter(|entry| entry.kind == FileKind::File).take(FILES_SEEN_MAX) {
        let start = fs.read_range(&path.join(&entry.name), 0, FromLine::LEN_MAX + 2);
        // What may not be read is evidence of nothing.
        if start.is_ok_and(|start| FromLine::parse(&start).is_some()) {
            return Ok(Some(format!("{:?} is an mbox file", entry.name)));
        }
    }
    Ok(None)
}

/// Whether a name in a store's folder is one that making the store begins with: whoever was stopped then left nothing that
/// was anybody's mail.
fn is_half_made(entry: &DirEntry) -> bool {
    let Some(name) = entry.name.to_str() else { return false };
    let own = ["dovecot.index", "dovecot-uid", "dovecot-keywords", "..DOVECOT-T", ".culver.", mailfs::TEMP_PREFIX];
    ["tmp", "new", "mailboxes.lock"].contains(&name) || own.iter().any(|start| name.starts_with(start))
}

fn has_dbox(fs: &dyn FileSystem, mailboxes: &Path) -> Result<bool> {
    for level in fs.read_dir(mailboxes)? {
        if level.kind == FileKind::Dir && fs.is_dir(&mailboxes.join(&level.name).join("dbox-Mails"))? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn dbox_layout(fs: &dyn FileSystem, path: &Path, format: Format) -> Result<Found> {
    let mailboxes = path.join("mailboxes");
    let levels = match fs.read_dir(&mailboxes) {
        Err(e) if e.kind() == ErrorKind::PermissionDenied => {
            return Ok(Found::Other("its folder \"mailboxes\" may not be read"));
        }
        other => other?,
    };
    let mut is_empty = true;
    for level in levels.iter().filter(|level| level.kind == FileKind::Dir) {
        is_empty = false;
        if is_by_guid(fs, &mailboxes, level) {
            let why = format!("there is a mailbox in \"mailboxes/{}\", a GUID", level.name.to_string_lossy());
            return Ok(Found::by_guid(format, why));
        }
    }
    let why = match format {
        _ if is_empty => NO_MAILBOXES,
        Format::Mdbox => "there are folders \"mailboxes\" and \"storage\"",
        _ => "there is a folder \"mailboxes\" and no \"storage\"",
    };
    Ok(Found::store(format, why))
}

fn is_guid(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether a folder is named by a GUID and holds a mailbox.
fn is_by_guid(fs: &dyn FileSystem, mailboxes: &Path, level: &DirEntry) -> bool {
    if !level.name.to_str().is_some_and(is_guid) {
        return false;
    }
    // A level of another layout has folders in it.
    let entries = fs.read_dir(&mailboxes.join(&level.name));
    entries.is_ok_and(|entries| entries.iter().all(|entry| entry.kind != FileKind::Dir))
}

/// Maildir++ has folders with a dot, layout `fs` folders without; a mailbox of layout `fs` may begin with a dot, but lacks
/// the file `maildirfolder`.
fn maildir_layout(fs: &dyn FileSystem, path: &Path, entries: &[DirEntry]) -> Result<Found> {
    let (mut marked, mut dotted, mut plain) = (None, None, None);
    let may_be_dir = |entry: &&DirEntry| matches!(entry.kind, FileKind::Dir | FileKind::Symlink);
    let dirs = entries.iter().filter(may_be_dir).filter_map(|entry| entry.name.to_str());
    for name in dirs
        .filter(|name| {
            !["cur", "new", "tmp"].contains(name) && !name.starts_with("..") && !name.starts_with(mailfs::TEMP_PREFIX)
        })
        .take(FOLDERS_SEEN_MAX)
    {
        let dir = path.join(name);
        if name.starts_with('.') {
            let is_marked = marked.is_none() && evident(fs.exists(&dir.join("maildirfolder")))?;
            let slot = if is_marked { &mut marked } else { &mut dotted };
            if slot.is_none() && (is_marked || evident(fs.is_dir(&dir.join("cur")))?) {
                *slot = Some(name.to_owned());
            }
        } else if is_guid(name) && evident(fs.is_dir(&dir.join("cur")))? && !entries.iter().any(|e| e.name == "cur") {
            let why = format!("there is a mailbox in {name:?}, a GUID, and none in the folder itself");
            return Ok(Found::by_guid(Format::Maildir(MaildirLayout::Fs), why));
        } else if plain.is_none() && leads_to_maildir(fs, &dir)? {
            plain = Some(name.to_owned());
        }
    }
    let flat = |why| Found::store(Format::Maildir(MaildirLayout::PlusPlus), why);
    let tree = |why| Found::store(Format::Maildir(MaildirLayout::Fs), why);
    Ok(match (marked, dotted, plain) {
        (Some(marked), _, Some(plain)) => Found::Mixed(format!(
            "it is a Maildir with signs of both layouts: {marked:?} as in Maildir++, {plain:?} as in layout fs; say which \
             it is"
        )),
        (_, _, Some(plain)) => tree(format!("a mailbox lies in or below {plain:?}")),
        (Some(name), _, None) | (None, Some(name), None) => flat(format!("a mailbox lies in {name:?}")),
        (None, None, None) => flat(INBOX_ONLY.to_owned()),
    })
}

/// What cannot be looked into is evidence of nothing.
fn evident(found: mailfs::Result<bool>) -> Result<bool> {
    match found {
        Err(e) if e.kind() == ErrorKind::PermissionDenied => Ok(false),
        other => Ok(other?),
    }
}

/// Whether a folder is a Maildir or one lies below it.
fn leads_to_maildir(fs: &dyn FileSystem, dir: &Path) -> Result<bool> {
    let mut open = vec![(dir.to_owned(), 0)];
    let mut seen = 0;
    while let Some((dir, depth)) = open.pop() {
        let entries = match fs.read_dir(&dir) {
            // Somebody else's, such as a folder of scripts.
            Err(_) => continue,
            Ok(entries) => entries,
        };
        let has = |name: &str| entries.iter().any(|entry| entry.name == name && entry.kind == FileKind::Dir);
        if has("cur") && has("new") {
            return Ok(true);
        }
        seen += 1;
        if depth < DEPTH_MAX && seen < FOLDERS_SEEN_MAX {
            let below = entries.iter().filter(|entry| entry.kind == FileKind::Dir);
            open.extend(below.map(|entry| (dir.join(&entry.name), depth + 1)));
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use mailfs::RealDisk;

    use super::*;

    const FLAT: Format = Format::Maildir(MaildirLayout::PlusPlus);
    const TREE: Format = Format::Maildir(MaildirLayout::Fs);

    fn made(dirs: &[&str], files: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for dir in dirs {
            std::fs::create_dir_all(root.path().join(dir)).unwrap();
        }
        for file in files {
            std::fs::write(root.path().join(file), "").unwrap();
        }
        root
    }

    fn detected(dirs: &[&str], files: &[&str]) -> std::result::Result<Format, String> {
        let root = made(dirs, files);
        detect(&RealDisk::new(), root.path()).map(|found| found.format).map_err(|e| e.to_string())
    }

    #[test]
    fn stores_are_known_by_their_folders() {
        assert_eq!(detected(&["mailboxes"], &[]), Ok(Format::Sdbox));
        assert_eq!(detected(&["mailboxes", "storage"], &[]), Ok(Format::Mdbox));
        assert_eq!(detected(&["cur", "new", "tmp"], &["subscriptions"]), Ok(FLAT));
        assert_eq!(detected(&["cur", "new", ".a.b/cur"], &[".a.b/maildirfolder"]), Ok(FLAT));
        assert_eq!(detected(&["cur", "new", ".a/cur", "sieve/tmp", "courierimapkeywords"], &[]), Ok(FLAT));
        assert_eq!(detected(&["cur", "new", "a/b/cur", "a/b/new"], &[]), Ok(TREE));
        assert_eq!(detected(&["cur", "new", "a/cur", "a/new", ".hidden/cur"], &[]), Ok(TREE));
        assert_eq!(detected(&["cur", "new", "mailboxes/cur", "mailboxes/new"], &[]), Ok(TREE));
        assert_eq!(detected(&["a/cur", "a/new"], &["subscriptions"]), Ok(TREE));
    }

    #[test]
    fn mbox_files_are_known_by_one_or_by_their_indexes() {
        assert_eq!(detected(&[".imap/INBOX"], &["inbox"]), Ok(Format::Mbox));
        let root = made(&["Work"], &["notes"]);
        let options = StoreOptions { format: Some(Format::Mbox), ..StoreOptions::default() };
        let asked = |root: &Path| detect_as(&RealDisk::new(), root, &options);
        assert_eq!(asked(root.path()).unwrap().format, Format::Mbox, "whoever says so is believed");
        assert!(detect(&RealDisk::new(), root.path()).is_err());
        std::fs::write(root.path().join("Sent"), "From x Thu Nov 29 22:33:52 2001\n\n").unwrap();
        assert_eq!(detect(&RealDisk::new(), root.path()).unwrap().format, Format::Mbox);
        assert!(asked(made(&["mailboxes"], &[]).path()).is_err());
    }

    #[test]
    fn what_other_servers_left_is_told_with_what_to_do() {
        let told = |dirs: &[&str], files: &[&str]| {
            let root = made(dirs, files);
            detect(&RealDisk::new(), root.path()).unwrap()
        };
        let maildir = ["cur", "new", "courierimapkeywords"];
        let courier = told(&maildir, &["courierimapuiddb", "courierimapsubscribed", "subscriptions"]);
        let superseded: Vec<_> = courier.foreign.iter().map(|file| (file.name, file.is_superseded)).collect();
        let expected = [("courierimapuiddb", false), ("courierimapsubscribed", true), ("courierimapkeywords", false)];
        assert_eq!(superseded, expected);
        let text = courier.to_string();
        assert!(text.contains("copy it to dovecot-uidlist") && !text.contains("sed"), "{text}");
        let uw = told(&[".imap"], &[".mailboxlist"]).to_string();
        assert!(uw.starts_with("mbox: ") && uw.contains("UW-IMAP's subscriptions"), "{uw}");
        assert_eq!(told(&["mailboxes"], &[]).foreign, []);
    }

    #[test]
    fn what_is_none_or_could_be_two_is_told() {
        for (dirs, files, word) in [
            (&["cur", "new", ".a/cur", "b/cur", "b/new"][..], &[".a/maildirfolder"][..], "both layouts"),
            (&["cur", "new", "mailboxes/INBOX/dbox-Mails"], &[], "in one folder"),
            (&["other"], &[], "without any mail store"),
            (&[], &[], "empty folder"),
        ] {
            let told = detected(dirs, files).unwrap_err();
            assert!(told.contains(word), "{told}");
        }
    }

    #[test]
    fn who_asks_for_a_format_gets_it_or_is_told() {
        let as_format = |dirs: &[&str], files: &[&str], asked| {
            let root = made(dirs, files);
            let options = StoreOptions { format: Some(asked), ..StoreOptions::default() };
            detect_or_free(&RealDisk::new(), root.path(), &options).map(|(format, _)| format)
        };
        assert_eq!(as_format(&[], &[], TREE).unwrap(), TREE);
        let guid = "1051ab0cf874026b343a0000c17ffdbc";
        for (dirs, list) in [
            (vec![format!("mailboxes/{guid}")], ListLayout::Index),
            (vec![format!("mailboxes/{guid}/dbox-Mails")], ListLayout::Folders),
            (vec![format!("{guid}/cur"), format!("{guid}/new")], ListLayout::Index),
            (
                vec!["cur".to_owned(), "new".to_owned(), format!("{guid}/cur"), format!("{guid}/new")],
                ListLayout::Folders,
            ),
        ] {
            let dirs: Vec<&str> = dirs.iter().map(String::as_str).collect();
            let root = made(&dirs, &[]);
            assert_eq!(detect(&RealDisk::new(), root.path()).unwrap().list, list, "{dirs:?}");
        }
        assert_eq!(as_format(&["cur", "new"], &[], TREE).unwrap(), TREE);
        let mixed = (&["cur", "new", ".a/cur", "b/cur", "b/new"], &[".a/maildirfolder"]);
        assert_eq!(as_format(mixed.0, mixed.1, TREE).unwrap(), TREE);
        assert!(as_format(mixed.0, mixed.1, Format::Sdbox).is_err());
        assert!(as_format(&["mailboxes"], &[], FLAT).is_err());
        assert!(as_format(&["cur", "new", "a/cur", "a/new"], &[], FLAT).is_err());
    }
}
