//! The files of one mailbox: which name each message has now, the UID list and the keywords beside them.
//!
//! One of these is shared by all who have the mailbox open in one `Env`. Names change at any moment by anybody's hand; what
//! stands here is where a file was last seen, to be looked for again where it is not found.
//!
//! # Invariants
//!
//! 1. UID list and keywords are written with the UID list's dotlock held; reading needs none.
//! 2. The mutex is never held while a lock is waited for.
//! 3. A name that is taken is never overwritten.

use std::{
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, SystemTime},
};

use mailfs::{Access, FileHandle, FileKind, FileSystem, FileSystemExt, Metadata, OpenMode};
use mailindex::state::{RecordRef, State};
use mailtypes::{Guid, Keyword, Uid, UidValidity};
use sha1::{Digest, Sha1};

use super::{
    Shared,
    debt::Debt,
    keywords::{self, Keywords},
    measured::Measured,
    name::{self, Letters, NameFlags},
    seen::Seen,
    store::Held,
    table::{Entry, Folder, Place, Table},
    uidlist::{self, Header, Uidlist},
};
use crate::{
    indexed::{Stir, new_guid},
    mailbox_list::{MailboxDirs, Rights, next_uid_validity},
    traits::{Result, StorageError},
};

const UIDLIST: &str = "dovecot-uidlist";
const KEYWORDS: &str = "dovecot-keywords";

/// How often a message that is renamed under our hands is looked for again.
const FIND_TRIES_MAX: usize = 4;

/// How often folders are read for a message that is not seen in them.
const READINGS_MAX: usize = 2;

/// Read of a UID list for its first line.
const HEADER_READ_LEN: usize = 4 << 10;

/// Files in `tmp` of that age belong to nobody any more.
const TMP_AGE_MAX: Duration = Duration::from_secs(36 * 3600);

/// What identifies one content of a file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Mark {
    device: u64,
    inode: u64,
    pub(super) len: u64,
    pub(super) modified: SystemTime,
}

impl Mark {
    pub(super) fn of(there: &Metadata) -> Self {
        Self { device: there.device, inode: there.inode, len: there.len, modified: there.modified }
    }
}

/// What is known of the files.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) table: Option<Table>,
    pub(super) uidlist: Option<Mark>,
    pub(super) keywords: Keywords,
    keywords_mark: Option<Mark>,
    /// The folders as the index knows them.
    pub(super) seen: Option<Seen>,
    /// The folders as they were just before all files were last looked for.
    found: Option<Seen>,
    /// Whether messages stay in `new`, for who does not take the recent ones.
    pub(super) left_in_new: Option<bool>,
    /// Messages that were in `new` when it was read last, or were put there since.
    pub(super) in_new: Vec<Uid>,
    pub(super) scan: u32,
}

impl Known {
    /// The table, which is there once it was asked for by [`MaildirFiles::load`].
    pub(super) fn table(&mut self) -> &mut Table {
        self.table.get_or_insert_default()
    }
}

/// See the module.
pub(super) struct MaildirFiles {
    pub(super) shared: Arc<Shared>,
    pub(super) dirs: MailboxDirs,
    pub(super) new: PathBuf,
    pub(super) cur: PathBuf,
    tmp: PathBuf,
    known: Mutex<Known>,
    pub(super) measured: Arc<Measured>,
    /// Names that were changed and are not durable.
    pub(super) debt: Debt,
    pub(super) stir: Arc<Stir>,
    /// The UID list's lock, if it is held.
    pub(super) held: Mutex<Option<Held>>,
    /// The first UID that was given in memory alone; 0: none was.
    made_up_from: AtomicU32,
}

/// A file that was listed.
pub(super) struct Listed {
    pub(super) folder: Folder,
    pub(super) name: Vec<u8>,
}

impl MaildirFiles {
    pub(super) fn new(shared: &Arc<Shared>, dirs: &MailboxDirs) -> Self {
        Self {
            shared: Arc::clone(shared),
            dirs: dirs.clone(),
            new: dirs.mail.join("new"),
            cur: dirs.mail.join("cur"),
            tmp: dirs.mail.join("tmp"),
            known: Mutex::default(),
            measured: Arc::default(),
            debt: Debt::default(),
            stir: Arc::default(),
            held: Mutex::default(),
            made_up_from: AtomicU32::new(0),
        }
    }

    pub(super) fn fs(&self) -> &Arc<dyn FileSystem> {
        self.shared.env.fs()
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn folder(&self, folder: Folder) -> &Path {
        match folder {
            Folder::New => &self.new,
            Folder::Cur => &self.cur,
        }
    }

    pub(super) fn tmp(&self) -> &Path {
        &self.tmp
    }

    pub(super) fn path(&self, base: &[u8], place: &Place) -> PathBuf {
        name::path_in(self.folder(place.folder), base, &place.info)
    }

    pub(super) fn uidlist_path(&self) -> PathBuf {
        self.dirs.control.join(UIDLIST)
    }

    pub(super) fn keywords_path(&self) -> PathBuf {
        self.dirs.control.join(KEYWORDS)
    }

    /// Who may use new files in the control folder.
    pub(super) fn control_access(&self) -> mailfs::Result<Access> {
        Ok(Rights::of(&**self.fs(), &self.dirs.control)?.file_access())
    }

    /// Forgets all: what an operation has left half done is read from the files again.
    pub(super) fn forget(&self) {
        *self.known() = Known::default();
        self.measured.forget();
    }

    /// Reads UID list and keywords if they are not known or have changed.
    pub(super) fn load(&self, known: &mut Known) -> mailfs::Result<()> {
        let there = self.fs().metadata(&self.uidlist_path())?.as_ref().map(Mark::of);
        if known.table.is_none() || there != known.uidlist {
            let list = match there {
                Some(_) => Uidlist::parse(&self.read(&self.uidlist_path(), uidlist::FILE_LEN_MAX)?),
                None => Uidlist::parse(b""),
            };
            if let Some(line) = list.damaged_line.filter(|_| there.is_some()) {
                tracing::warn!(path = %self.uidlist_path().display(), line, "damaged UID list");
            }
            known.table = Some(Table::new(list, known.table.take()));
            // For messages that it did not have nobody has looked.
            known.found = None;
            known.uidlist = there;
        }
        self.load_keywords(known)
    }

    fn load_keywords(&self, known: &mut Known) -> mailfs::Result<()> {
        let path = self.dirs.control.join(KEYWORDS);
        let there = self.fs().metadata(&path)?.as_ref().map(Mark::of);
        if there != known.keywords_mark {
            let bytes = if there.is_some() { self.read(&path, keywords::FILE_LEN_MAX)? } else { Vec::new() };
            known.keywords = Keywords::parse(&bytes);
            known.keywords_mark = there;
        }
        Ok(())
    }

    fn read(&self, path: &Path, limit: u64) -> mailfs::Result<Vec<u8>> {
        match self.fs().read_all(path, limit) {
            Err(e) if e.is_not_found() => Ok(Vec::new()),
            other => other,
        }
    }

    /// Writes the keywords, with the lock held. The time of the file must be another than before, for Dovecot looks at
    /// nothing else.
    pub(super) fn save_keywords(&self, known: &mut Known) -> mailfs::Result<()> {
        let path = self.dirs.control.join(KEYWORDS);
        let sync = self.shared.syncs();
        self.fs().write_atomic(&path, &known.keywords.encode(), self.control_access()?, sync)?;
        let seconds = |time: SystemTime| time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let file = self.fs().open(&path, OpenMode::ReadWrite)?;
        let before = known.keywords_mark.map(|mark| mark.modified);
        if let Some(before) = before.filter(|t| seconds(*t) >= file.metadata().map_or(0, |m| seconds(m.modified))) {
            file.set_modified(before + Duration::from_secs(1))?;
        }
        known.keywords_mark = Some(Mark::of(&file.metadata()?));
        Ok(())
    }

    /// Writes what is new in the table, from a UID on, with the lock held: appended, or the file anew where that is due.
    /// Gives the file that is still to be synced, and its length before.
    pub(super) fn save_uidlist(
        &self,
        known: &mut Known,
        state: &State,
        from: Option<Uid>,
    ) -> mailfs::Result<Option<(FileHandle, u64)>> {
        let next_uid = state.next_uid();
        let Some(table) = known.table.as_mut() else { return Ok(None) };
        let live = state.message_count() as usize + table.from(next_uid).len();
        if table.needs_rewrite || known.uidlist.is_none() || table.is_mostly_dead(live) {
            table.retain(|entry: &Entry| entry.uid >= next_uid || state.contains(entry.uid));
            self.rewrite_uidlist(known, state)?;
            return Ok(None);
        }
        let Some(from) = from else { return Ok(None) };
        let lines = table.encode_from(from);
        let file = self.fs().open(&self.uidlist_path(), OpenMode::ReadWrite)?;
        let before = table.file_len;
        if file.len()? > before {
            // A line that a crash has left unfinished.
            file.set_len(before)?;
        }
        file.write_at(&lines, before)?;
        table.file_len = before + lines.len() as u64;
        known.uidlist = Some(Mark::of(&file.metadata()?));
        Ok(Some((file, before)))
    }

    /// Writes the whole UID list, durably, with the lock held.
    pub(super) fn rewrite_uidlist(&self, known: &mut Known, state: &State) -> mailfs::Result<()> {
        let fs = &**self.fs();
        let table = known.table();
        let header = &mut table.header;
        if header.uid_validity.is_none() {
            self.note_made_up(Uid::MIN);
            let in_index = state.uid_validity().map(Ok);
            header.uid_validity =
                Some(in_index.unwrap_or_else(|| next_uid_validity(fs, &self.shared.uid_validity_dir))?);
        }
        header.guid = header.guid.or_else(|| Some(new_guid(fs)));
        table.header.next_uid = Some(table.next_uid().max(state.next_uid()));
        let bytes = table.encode();
        fs.write_atomic(&self.uidlist_path(), &bytes, self.control_access()?, self.shared.syncs())?;
        table.file_len = bytes.len() as u64;
        table.needs_rewrite = false;
        known.uidlist = fs.metadata(&self.uidlist_path())?.as_ref().map(Mark::of);
        Ok(())
    }

    /// UIDVALIDITY and GUID, read from the files.
    pub(super) fn identity(&self) -> Result<(Option<UidValidity>, Option<Guid>)> {
        let mut known = self.known();
        if known.table.is_none() {
            // The first line is enough, and the others may be many.
            let start = match self.fs().read_range(&self.uidlist_path(), 0, HEADER_READ_LEN) {
                Err(e) if e.is_not_found() => return Ok((None, None)),
                other => other?,
            };
            let Header { uid_validity, guid, .. } = Uidlist::parse_header(&start).unwrap_or_default();
            return Ok((uid_validity, guid));
        }
        self.load(&mut known)?;
        let header = &known.table().header;
        Ok((header.uid_validity, header.guid))
    }

    /// Reads the names of one folder. What cannot be a message is left out; empty folders go.
    pub(super) fn list(&self, folder: Folder, out: &mut Vec<Listed>) -> mailfs::Result<()> {
        let dir = self.folder(folder);
        let entries = match self.fs().read_dir(dir) {
            Err(e) if e.is_not_found() && folder == Folder::New => return Ok(()),
            other => other?,
        };
        for entry in entries {
            match entry.kind {
                FileKind::File | FileKind::Symlink => {
                    let name = entry.name.into_vec();
                    if name::is_message(&name) {
                        out.push(Listed { folder, name });
                    }
                }
                FileKind::Dir => {
                    // Only if it is empty, as Dovecot does.
                    let _ = self.fs().remove_dir(&dir.join(entry.name));
                }
                FileKind::Other => {}
            }
        }
        Ok(())
    }

    /// Reads the names of one folder and changes nothing. What cannot be a message is left out.
    pub(super) fn list_only(&self, folder: Folder, out: &mut Vec<Listed>) -> mailfs::Result<()> {
        let entries = match self.fs().read_dir(self.folder(folder)) {
            Err(e) if e.is_not_found() => return Ok(()),
            other => other?,
        };
        let files = entries.into_iter().filter(|entry| matches!(entry.kind, FileKind::File | FileKind::Symlink));
        let names = files.map(|entry| entry.name.into_vec()).filter(|name| name::is_message(name));
        out.extend(names.map(|name| Listed { folder, name }));
        Ok(())
    }

    /// Where a file was listed.
    pub(super) fn path_of(&self, file: &Listed) -> PathBuf {
        name::path_in(self.folder(file.folder), &file.name, b"")
    }

    /// Removes files from `tmp` that belong to nobody any more.
    pub(super) fn clean_tmp(&self) -> mailfs::Result<()> {
        let fs = self.fs();
        let entries = match fs.read_dir(&self.tmp) {
            Err(e) if e.is_not_found() => return Ok(()),
            other => other?,
        };
        for entry in entries.into_iter().filter(|entry| entry.kind == FileKind::File) {
            let path = self.tmp.join(&entry.name);
            // Not the time of modification, which may be that of the mail.
            let age = fs.metadata(&path)?.and_then(|there| fs.now().duration_since(there.changed).ok());
            if age.is_some_and(|age| age > TMP_AGE_MAX) {
                match fs.unlink(&path) {
                    Err(e) if !e.is_not_found() => return Err(e),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Notes where the files of known messages are now; the index is not told. A folder that changes while it is read may
    /// show a file that is renamed then under neither name: one that was not seen is looked for once more.
    pub(super) fn find_all(&self, known: &mut Known) -> mailfs::Result<()> {
        known.scan = known.scan.wrapping_add(1);
        let scan = known.scan;
        let mut missing = Vec::new();
        for _ in 0..READINGS_MAX {
            let before = self.times()?;
            self.place_listed(known)?;
            known.found = before;
            missing = known.table().iter().filter(|entry| entry.scan != scan).map(|entry| entry.uid).collect();
            if missing.is_empty() || are_still(before, self.times()?) {
                break;
            }
        }
        for uid in missing {
            if let Some(entry) = known.table().get_mut(uid) {
                entry.place = None;
            }
        }
        Ok(())
    }

    /// One reading of both folders: each known message that was not found yet gets the place of its file.
    fn place_listed(&self, known: &mut Known) -> mailfs::Result<()> {
        let mut listed = Vec::new();
        self.list(Folder::New, &mut listed)?;
        self.list(Folder::Cur, &mut listed)?;
        let scan = known.scan;
        let table = known.table();
        for Listed { folder, name } in &listed {
            let (base, info) = name::split(name);
            let Some(entry) = table.by_base_mut(base) else { continue };
            let is_there = |place: &Place| place.folder == *folder && *place.info == *info;
            if entry.scan != scan && !entry.place.as_ref().is_some_and(is_there) {
                entry.place = Some(Place { folder: *folder, info: info.into() });
            }
            entry.scan = scan;
        }
        Ok(())
    }

    /// The same, but not where neither folder has changed since: what was not there then is not there now, and of many
    /// messages that are gone each would cost a reading of all.
    pub(super) fn find_all_again(&self, known: &mut Known) -> mailfs::Result<()> {
        match are_still(known.found, self.times()?) {
            true => Ok(()),
            false => self.find_all(known),
        }
    }

    /// Does something with a message's file under its present name, looking for it again where it is not found.
    pub(super) fn with_path<T>(
        &self,
        state: &State,
        uid: Uid,
        mut work: impl FnMut(&Path) -> mailfs::Result<T>,
    ) -> Result<T> {
        for turn in 0..FIND_TRIES_MAX {
            for path in self.candidates(state, uid, turn)? {
                match work(&path) {
                    Err(e) if e.is_not_found() => {}
                    other => return Ok(other?),
                }
            }
        }
        Err(StorageError::Expunged { uid })
    }

    /// Where a message's file should be: where it was seen; else where its flags say; else where it is found.
    fn candidates(&self, state: &State, uid: Uid, turn: usize) -> Result<Vec<PathBuf>> {
        let mut known = self.known();
        if known.table.is_none() || turn == 1 {
            self.load(&mut known)?;
        }
        if turn > 0 {
            self.find_all_again(&mut known)?;
        }
        let Some(entry) = known.table().get(uid).cloned() else { return Ok(Vec::new()) };
        Ok(match &entry.place {
            Some(place) => vec![self.path(&entry.base, place)],
            None if turn == 0 => self.guesses(&known, state, &entry),
            None => Vec::new(),
        })
    }

    fn guesses(&self, known: &Known, state: &State, entry: &Entry) -> Vec<PathBuf> {
        let flags = state.record_of(entry.uid).map(|record| self.flags_in(known, state, &record)).unwrap_or_default();
        let info = name::with_flags(b"", flags);
        let cur = name::path_in(&self.cur, &entry.base, &info);
        vec![cur, name::path_in(&self.new, &entry.base, b"")]
    }

    /// A message's flags as its name should tell them.
    pub(super) fn flags_in(&self, known: &Known, state: &State, record: &RecordRef<'_>) -> NameFlags {
        let names = record.keyword_bits().iter().filter_map(|bit| state.keyword(bit)?.keyword());
        let mut letters = Letters::default();
        names.filter_map(|name| known.keywords.letter(name)).for_each(|letter| letters.insert(letter));
        NameFlags { flags: record.flags(), letters }
    }

    /// When `cur` was changed last, to be asked before changes of our own.
    pub(super) fn cur_time(&self) -> Option<SystemTime> {
        self.fs().metadata(&self.cur).ok()?.map(|there| there.modified)
    }

    /// To be called after changes of our own in `cur`, with what [`Self::cur_time`] said before them.
    pub(super) fn changed_cur(&self, known: &mut Known, before: Option<SystemTime>) {
        if let (Some(seen), Some(before), Some(after)) = (&mut known.seen, before, self.cur_time()) {
            seen.cur = seen.cur.after_own(before, after, self.fs().now());
        }
    }

    /// The letters of keywords; those that have none get one as long as there are any. With the lock held.
    pub(super) fn letters_for(
        &self,
        known: &mut Known,
        state: &State,
        keywords: &[Keyword],
    ) -> mailfs::Result<Letters> {
        let mut letters = Letters::default();
        let before = known.keywords.letters();
        if keywords.iter().any(|keyword| known.keywords.letter(keyword).is_none()) {
            self.keep_taken_letters(known, state, None)?;
        }
        for keyword in keywords {
            if let Some(letter) = known.keywords.add(keyword) {
                letters.insert(letter);
            }
        }
        if known.keywords.letters() != before {
            self.save_keywords(known)?;
        }
        Ok(letters)
    }

    /// UIDs from this one on are given; where the store is only read, in memory alone.
    pub(super) fn note_made_up(&self, first: Uid) {
        if self.shared.env.is_read_only()
            && self.made_up_from.compare_exchange(0, first.value(), Ordering::AcqRel, Ordering::Acquire).is_ok()
        {
            let dir = self.dirs.mail.display();
            tracing::warn!(%dir, "UIDs from {first} on are made up in memory: nobody has given any yet who may write");
        }
    }

    /// The first UID that was made up.
    pub(super) fn made_up_from(&self) -> Option<Uid> {
        Uid::new(self.made_up_from.load(Ordering::Acquire))
    }
}

/// Whether nothing can have come or gone between two looks at the folders' times.
fn are_still(before: Option<Seen>, now: Option<Seen>) -> bool {
    before.zip(now).is_some_and(|(before, now)| before.new.is_still(&now.new) && before.cur.is_still(&now.cur))
}

/// The GUID of a message whose GUID is a text (`docs/formats/README.md`, "GUID128").
pub(super) fn guid_of_text(text: &[u8]) -> Guid {
    Guid::parse(text).unwrap_or_else(|_| {
        let hash = Sha1::digest(text);
        let mut guid = Guid::ZERO;
        guid.0.iter_mut().zip(hash.iter().skip(hash.len() - 16)).for_each(|(to, from)| *to = *from);
        guid
    })
}
