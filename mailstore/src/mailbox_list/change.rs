//! Making, deleting and renaming mailboxes.
//!
//! Whatever step a crash comes between: a name has a whole mailbox or none, no message is lost, and giving the command
//! again finishes it.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use mailfs::{CreatedLock, DirEntry, FileKind, FileSystem, FileSystemExt, LockOrder, LockRank, RankGuard};
use mailtypes::{Guid, MailboxName, UidSet};

use super::{
    Format, Layout, MailboxDirs, Rights, Shape, alternate, by_guid,
    list_index::{Renamed, mark_stale},
    mailbox_log::{MailboxLogKind, note, note_deleted},
    mbox, note_uid_validity, private,
    trash::{clear_leftover, has_levels, move_to_trash, strip_to_trash},
    walk::{Found, flat_names, walk, walk_noted},
};
use crate::traits::{
    Batch, BatchItem, CopySource, ListPattern, MailStorage, Mailbox, MailboxIdentity, MailboxInfo, OnlyIf, Result,
    StorageError, ViewAs,
};

/// How long somebody else's change of the list is waited for.
const LIST_LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// The file that tells a Maildir++ folder from a store.
const MAILDIR_FOLDER: &str = "maildirfolder";

/// Where messages are delivered in a Maildir.
const NEW_DIR: &str = "new";

/// Names that a mailbox which was not finished can have.
const UNFINISHED_COUNT_MAX: u64 = 1000;

/// `mailboxes.lock` held.
pub(crate) struct ListLock {
    _lock: CreatedLock,
    _rank: RankGuard,
}

impl ListLock {
    pub(super) fn take(format: &dyn Format) -> Result<Self> {
        let (fs, layout) = (format.env().fs(), format.layout());
        let rank = LockOrder::enter(LockRank::Mailboxes);
        let (rights, path) = (Rights::of(&**fs, layout.index())?, layout.list_lock());
        let acquire = || CreatedLock::acquire(fs, &path, rights.file_mode(), LIST_LOCK_TIMEOUT);
        let lock = match (acquire(), path.parent()) {
            // What need not outlive the machine is gone after its restart.
            (Err(e), Some(dir)) if e.is_not_found() && dir != layout.index() => {
                rights.create_dirs(&**fs, dir)?;
                acquire()
            }
            (acquired, _) => acquired,
        };
        Ok(Self { _lock: lock?, _rank: rank })
    }

    /// For one who must know where all mailboxes are until he is done. Nothing where folders are named by GUIDs, for then
    /// none ever changes its name.
    pub(crate) fn take_for_folders(format: &dyn Format) -> Result<Option<Self>> {
        if format.layout().is_by_guid() { Ok(None) } else { Self::take(format).map(Some) }
    }
}

/// Makes one change with the list locked, and tells Dovecot of it.
fn change(format: &dyn Format, how: impl FnOnce() -> Result<()>) -> Result<()> {
    change_renaming(format, None, how)
}

/// The same where it gives a mailbox another name.
fn change_renaming(format: &dyn Format, renamed: Option<Renamed>, how: impl FnOnce() -> Result<()>) -> Result<()> {
    let lock = ListLock::take(format)?;
    how()?;
    drop(lock);
    mark_stale(format.env(), format.layout().index(), renamed);
    Ok(())
}

/// The mailboxes that match. INBOX is there always: it is made as soon as somebody opens it.
pub(crate) fn list(format: &dyn Format, pattern: &ListPattern) -> Result<Vec<MailboxInfo>> {
    let mut found = if format.layout().is_by_guid() { by_guid::walk(format)? } else { walk_noted(format)? };
    let inbox = MailboxName::inbox();
    match found.first_mut().filter(|first| first.name.is_inbox()) {
        Some(first) => first.selectable |= format.layout().has_inbox(),
        None if !format.layout().has_inbox() => {}
        None => found.insert(0, Found { name: inbox, selectable: true, has_children: false }),
    }
    let listed = found.into_iter().filter(|found| pattern.matches(&found.name));
    let info = |Found { name, selectable, has_children }| MailboxInfo { name, selectable, has_children };
    Ok(listed.map(info).collect())
}

/// Where the files of a mailbox lie that is to be opened. INBOX is made if it is not there yet.
pub(crate) fn find(format: &dyn Format, name: &MailboxName) -> Result<MailboxDirs> {
    let (fs, layout) = (&**format.env().fs(), format.layout());
    if layout.is_by_guid() {
        return by_guid::find(format, name);
    }
    let dirs = layout.dirs(name)?;
    if layout.is_mailbox(fs, name)? {
        return Ok(dirs);
    }
    if layout.is_inbox(name) {
        return match create(format, name) {
            Err(StorageError::AlreadyExists(_)) | Ok(()) => Ok(dirs),
            Err(e) => Err(e),
        };
    }
    let is_level = match layout.shape() {
        Shape::Dbox | Shape::MaildirFs | Shape::Mbox => fs.is_dir(&layout.level_dir(name)?)?,
        Shape::MaildirPlusPlus => flat_names(fs, layout, layout.root())?.iter().any(|other| other.is_below(name)),
    };
    Err(if is_level { StorageError::NotSelectable(name.clone()) } else { StorageError::NotFound(name.clone()) })
}

/// Makes a mailbox.
pub(crate) fn create(format: &dyn Format, name: &MailboxName) -> Result<()> {
    if format.layout().is_by_guid() {
        return by_guid::create(format, name);
    }
    format.layout().check_new(name)?;
    change(format, || create_locked(format, name, None))
}

/// Makes an empty mailbox with an identity of another store's, in the place of what has its name.
pub(crate) fn replace(
    format: &dyn Format,
    name: &MailboxName,
    identity: &MailboxIdentity,
    only_if: OnlyIf,
) -> Result<()> {
    if format.layout().is_by_guid() {
        return by_guid::replace(format, name, identity, only_if);
    }
    format.layout().check_new(name)?;
    change(format, || {
        let (fs, layout) = (&**format.env().fs(), format.layout());
        if layout.is_mailbox(fs, name)? {
            // One that somebody was stopped while deleting is none.
            if only_if == OnlyIf::Nothing && !is_half_deleted(format, name, &layout.dirs(name)?)? {
                return Err(StorageError::Changed(name.clone()));
            }
            match layout.shape() {
                Shape::Mbox => mbox::delete(format, name, only_if)?,
                Shape::Dbox | Shape::MaildirPlusPlus | Shape::MaildirFs => delete_mailbox(format, name, only_if)?,
            }
        }
        // Mailboxes to come must not be taken for this one.
        note_uid_validity(fs, layout.uid_validity_dir(), identity.uid_validity)?;
        create_locked(format, name, Some(identity))
    })
}

fn create_locked(format: &dyn Format, name: &MailboxName, identity: Option<&MailboxIdentity>) -> Result<()> {
    let (fs, layout) = (&**format.env().fs(), format.layout());
    if layout.shape() == Shape::Mbox {
        return mbox::create(format, name, identity);
    }
    let dirs = layout.dirs(name)?;
    if layout.is_mailbox(fs, name)? {
        if !format.is_deleted(&dirs)? {
            return Err(StorageError::AlreadyExists(name.clone()));
        }
        // Somebody was stopped while deleting it.
        remove_mailbox(format, name, &dirs)?;
    } else if layout.shape() == Shape::MaildirFs && fs.is_dir(&dirs.mail)? && format.is_deleted(&dirs)? {
        // The same, and what makes it a mailbox had gone already.
        remove_mailbox(format, name, &dirs)?;
    }
    let rights = Rights::of(fs, &layout.mailboxes())?;
    for beside in dirs.beside_mail() {
        // Of a mailbox that had this name once.
        clear_leftover(fs, layout, layout.root_of(beside), beside)?;
        rights.create_dirs(fs, beside)?;
    }
    let aside = make_aside(format, &dirs, rights, identity)?;
    let placed = place(fs, layout, &aside, &dirs.mail, rights);
    if placed.is_err() {
        // What matters is the first failure; what stays is removed by the next recovery.
        let _ = fs.remove_tree(&aside, UNFINISHED_COUNT_MAX);
    }
    match placed {
        Err(e) if e.is_already_exists() => Err(StorageError::AlreadyExists(name.clone())),
        other => Ok(other?),
    }
}

/// Makes an empty mailbox where no list shows it; control and index files that do not lie with the messages where they
/// belong, for without a folder of messages they are nothing.
fn make_aside(
    format: &dyn Format,
    dirs: &MailboxDirs,
    rights: Rights,
    identity: Option<&MailboxIdentity>,
) -> Result<PathBuf> {
    let (fs, workshop) = (&**format.env().fs(), format.layout().workshop());
    rights.create_dirs(fs, &workshop)?;
    let mut random = [0; 8];
    fs.random(&mut random);
    let aside = workshop.join(format!("{}{:016x}", mailfs::TEMP_PREFIX, u64::from_le_bytes(random)));
    rights.create_dir(fs, &aside)?;
    let or_aside = |dir: &PathBuf| if *dir == dirs.mail { aside.clone() } else { dir.clone() };
    let (control, index) = (or_aside(&dirs.control), or_aside(&dirs.index));
    let there = MailboxDirs { mail: aside.clone(), control, index, alt: dirs.alt.clone(), private: None };
    let made = format.make(&there, rights, identity).and_then(|()| {
        // Tells those who deliver or count quota that this is a folder of a store and no store itself.
        let is_marked = format.layout().shape() == Shape::MaildirPlusPlus && dirs.mail != format.layout().root();
        if is_marked {
            rights.create(fs, &aside.join(MAILDIR_FOLDER))?;
            fs.sync_dir(&aside)?;
        }
        Ok(())
    });
    if let Err(e) = made {
        // As above.
        let _ = fs.remove_tree(&aside, UNFINISHED_COUNT_MAX);
        return Err(e);
    }
    Ok(aside)
}

/// Moves a mailbox to where it belongs: by one rename, or, where its folder is there as a level, piece by piece, the
/// one that makes it a mailbox last.
fn place(fs: &dyn FileSystem, layout: &Layout, aside: &Path, dir: &Path, rights: Rights) -> mailfs::Result<()> {
    let parent = dir.parent().unwrap_or(dir);
    if layout.shape() == Shape::Dbox || !fs.is_dir(dir)? {
        rights.create_dirs(fs, parent)?;
        fs.rename_new(aside, dir)?;
        return fs.sync_dir(parent);
    }
    let mut pieces = fs.read_dir(aside)?;
    pieces.sort_by_key(|piece| piece.name == layout.marker());
    for piece in pieces {
        if piece.name == layout.marker() {
            fs.sync_dir(dir)?;
        }
        match fs.rename_new(&aside.join(&piece.name), &dir.join(&piece.name)) {
            // What is there, whoever put it there, stays, but for that which makes it a mailbox already.
            Err(e) if e.is_already_exists() && piece.name != layout.marker() => {}
            other => other?,
        }
    }
    fs.sync_dir(dir)?;
    fs.remove_tree(aside, UNFINISHED_COUNT_MAX).map(|_| ())
}

/// Deletes a mailbox, or a level that leads nowhere.
pub(crate) fn delete(format: &dyn Format, name: &MailboxName, only_if: OnlyIf) -> Result<()> {
    if format.layout().is_inbox(name) {
        return Err(StorageError::NotPossible("INBOX can't be deleted"));
    }
    if format.layout().is_by_guid() {
        return by_guid::delete(format, name, only_if);
    }
    let mut guid = None;
    let mut is_level_gone = false;
    change(format, || {
        guid = guid_of(format, name)?;
        delete_locked(format, name, only_if)?;
        let layout = format.layout();
        is_level_gone =
            layout.shape() == Shape::MaildirPlusPlus || !format.env().fs().is_dir(&layout.level_dir(name)?)?;
        Ok(())
    })?;
    note_deleted(format, name, guid, is_level_gone);
    Ok(())
}

/// The identity of a mailbox that is to be deleted, as far as it can be told.
fn guid_of(format: &dyn Format, name: &MailboxName) -> Result<Option<Guid>> {
    let (fs, layout) = (&**format.env().fs(), format.layout());
    let (level, dirs) = (layout.level_dir(name)?, layout.dirs(name)?);
    // What a link leads to goes on under other names.
    let is_linked = |path: &Path| path.parent().map(|parent| is_link(fs, parent, path)).transpose();
    if !layout.is_mailbox(fs, name)? || is_linked(&level)? == Some(true) || is_linked(&dirs.mail)? == Some(true) {
        return Ok(None);
    }
    Ok(format.open(name, &dirs).ok().map(|mailbox| mailbox.guid()))
}

/// Whether a name in a folder is a link.
fn is_link(fs: &dyn FileSystem, parent: &Path, path: &Path) -> mailfs::Result<bool> {
    let entries = match fs.read_dir(parent) {
        Err(e) if e.is_not_found() => return Ok(false),
        other => other?,
    };
    let is_it = |entry: &DirEntry| Some(entry.name.as_os_str()) == path.file_name();
    Ok(entries.iter().any(|entry| is_it(entry) && entry.kind == FileKind::Symlink))
}

fn delete_locked(format: &dyn Format, name: &MailboxName, only_if: OnlyIf) -> Result<()> {
    let (fs, layout) = (&**format.env().fs(), format.layout());
    if layout.shape() == Shape::Mbox {
        return mbox::delete(format, name, only_if);
    }
    let level = layout.level_dir(name)?;
    if !fs.is_dir(&level)? {
        return Err(StorageError::NotFound(name.clone()));
    }
    if layout.is_mailbox(fs, name)? {
        return delete_mailbox(format, name, only_if);
    }
    // A level without children may go; RFC 9051 §6.3.4 refuses only one with children.
    if remove_empty(fs, &level)? {
        remove_empty_above(fs, layout, name)
    } else {
        Err(StorageError::NotPossible("Mailbox has children, delete them first"))
    }
}

fn delete_mailbox(format: &dyn Format, name: &MailboxName, only_if: OnlyIf) -> Result<()> {
    let (fs, layout) = (&**format.env().fs(), format.layout());
    let (level, dirs) = (layout.level_dir(name)?, layout.dirs(name)?);
    // What a link leads to may be others' mailbox too; it is not marked as deleted, and nothing in it is touched.
    let is_linked = !layout.is_inbox(name) && (remove_link(fs, &level)? || remove_link(fs, &dirs.mail)?);
    if is_linked {
        return remove_mailbox(format, name, &dirs);
    }
    mark_deleted(format, name, &dirs, only_if)?;
    match only_if.judged() {
        Some(_) => remove_but(format, name, &dirs, &|moved| keep_late(format, name, &dirs, moved)),
        None => remove_mailbox(format, name, &dirs),
    }
}

/// Tells everybody who has a mailbox open that it is deleted, if it is one that may be.
pub(super) fn mark_deleted(format: &dyn Format, name: &MailboxName, dirs: &MailboxDirs, only_if: OnlyIf) -> Result<()> {
    let Some(judged) = only_if.judged() else { return format.mark_deleted(name, dirs) };
    match format.open(name, dirs).and_then(|mailbox| mailbox.mark_deleted_if(judged)) {
        // By somebody who was stopped.
        Err(StorageError::Deleted(_)) => Ok(()),
        other => other,
    }
}

/// Whether nobody can open a mailbox whose folder is there.
pub(super) fn is_half_deleted(format: &dyn Format, name: &MailboxName, dirs: &MailboxDirs) -> Result<bool> {
    match format.open(name, dirs) {
        Err(StorageError::Deleted(_) | StorageError::NotFound(_)) => Ok(true),
        other => other.map(|_| false),
    }
}

/// What somebody who takes no locks has put into a mailbox on its last way goes into a new one of its name.
fn keep_late(format: &dyn Format, name: &MailboxName, dirs: &MailboxDirs, moved: &Path) -> Result<()> {
    let (fs, late) = (&**format.env().fs(), format.late(dirs, moved)?);
    if late.is_empty() {
        return Ok(());
    }
    create_locked(format, name, None)?;
    let to = dirs.mail.join(NEW_DIR);
    for path in late {
        if let Some(file_name) = path.file_name() {
            fs.rename_new(&path, &to.join(file_name))?;
        }
    }
    fs.sync_dir(&to)?;
    Err(StorageError::Changed(name.clone()))
}

/// Takes a mailbox that is marked as deleted out of the list, durably, and removes its files; its level too if nothing
/// lies below it.
pub(super) fn remove_mailbox(format: &dyn Format, name: &MailboxName, dirs: &MailboxDirs) -> Result<()> {
    remove_but(format, name, dirs, &|_| Ok(()))
}

/// The same; `look` sees the folder of the messages when it is out of the list, and nothing goes where that fails.
fn remove_but(
    format: &dyn Format,
    name: &MailboxName,
    dirs: &MailboxDirs,
    look: &dyn Fn(&Path) -> Result<()>,
) -> Result<()> {
    let (fs, layout) = (&**format.env().fs(), format.layout());
    let shares = match layout.shape() {
        Shape::Dbox => false,
        Shape::MaildirPlusPlus => layout.is_inbox(name),
        Shape::MaildirFs => layout.is_inbox(name) || fs.is_dir(&dirs.mail)? && has_levels(fs, layout, &dirs.mail)?,
        Shape::Mbox => return mbox::finish_deletion(format, dirs),
    };
    if fs.is_dir(&dirs.mail)? {
        // First: what is found there later would be taken for messages of the next mailbox of this name.
        alternate::remove(fs, layout, dirs)?;
    }
    let bag = if shares {
        strip_to_trash(fs, layout, layout.root(), &dirs.mail)?
    } else if fs.is_dir(&dirs.mail)? {
        Some(move_to_trash(fs, layout, layout.root(), &dirs.mail)?)
    } else {
        None
    };
    if let Some(bag) = bag {
        look(bag.dir())?;
        bag.empty(fs);
    }
    for beside in dirs.beside_mail() {
        clear_leftover(fs, layout, layout.root_of(beside), beside)?;
    }
    private::remove(fs, dirs);
    if layout.shape() == Shape::Dbox {
        remove_empty(fs, &layout.level_dir(name)?)?;
    }
    remove_empty_above(fs, layout, name)
}

/// Removes those levels above a name that lead nowhere, where the store is to have none.
fn remove_empty_above(fs: &dyn FileSystem, layout: &Layout, name: &MailboxName) -> Result<()> {
    if layout.removes_empty_levels() && layout.has_tree() { remove_levels_above(fs, layout, name) } else { Ok(()) }
}

/// Removes those levels above a name that lead nowhere.
fn remove_levels_above(fs: &dyn FileSystem, layout: &Layout, name: &MailboxName) -> Result<()> {
    let mut above = name.parent();
    while let Some(level) = above {
        if !remove_empty(fs, &layout.level_dir(&level)?)? {
            break;
        }
        above = level.parent();
    }
    Ok(())
}

/// Removes a name durably if it is a link; tells whether it was one.
fn remove_link(fs: &dyn FileSystem, name: &Path) -> Result<bool> {
    match fs.unlink(name) {
        Ok(()) => {
            sync_parent(fs, name)?;
            Ok(true)
        }
        Err(e) if e.is_not_found() || e.kind() == io::ErrorKind::IsADirectory => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Removes a folder if nothing is in it, durably; tells whether it is gone.
fn remove_empty(fs: &dyn FileSystem, dir: &Path) -> Result<bool> {
    match fs.remove_dir(dir) {
        Ok(()) => {
            sync_parent(fs, dir)?;
            Ok(true)
        }
        Err(e) if e.is_not_found() => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::DirectoryNotEmpty || e.is_already_exists() => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Renames a mailbox or level and all below it. INBOX's messages move, and INBOX stays (RFC 9051 §6.3.6).
pub(crate) fn rename(
    storage: &dyn MailStorage,
    format: &dyn Format,
    from: &MailboxName,
    to: &MailboxName,
) -> Result<()> {
    format.layout().check_new(to)?;
    if from == to || format.layout().is_inbox(to) {
        return Err(StorageError::AlreadyExists(to.clone()));
    }
    if format.layout().is_inbox(from) {
        return rename_inbox(storage, to);
    }
    if to.is_below(from) {
        return Err(StorageError::NotPossible("A mailbox can't be renamed to a place below itself"));
    }
    if format.layout().is_by_guid() {
        return by_guid::rename(format, from, to);
    }
    let written = |name| format.layout().written_levels(name);
    let renamed = Renamed { from: written(from)?, to: written(to)? };
    change_renaming(format, Some(renamed), || match format.layout().shape() {
        Shape::Dbox | Shape::MaildirFs => rename_tree(format, from, to),
        Shape::MaildirPlusPlus => rename_flat(format, from, to),
        Shape::Mbox => mbox::rename(format, from, to),
    })?;
    note(format, MailboxLogKind::Renamed, to);
    Ok(())
}

fn rename_inbox(storage: &dyn MailStorage, to: &MailboxName) -> Result<()> {
    storage.create(to)?;
    let source: Arc<dyn Mailbox> = storage.mailbox(&MailboxName::inbox())?;
    let target = storage.mailbox(to)?;
    let uids = source.view(&ViewAs::default())?.uids();
    let copy = BatchItem::Copy(CopySource { mailbox: Arc::clone(&source), uids });
    let committed = target.submit(Batch { items: vec![copy] })?.wait()?;
    let mut moved = UidSet::new();
    committed.copied.iter().for_each(|(uid, _)| moved.insert(*uid));
    source.submit(Batch::new().expunge(moved))?.wait()?;
    Ok(())
}

fn rename_tree(format: &dyn Format, from: &MailboxName, to: &MailboxName) -> Result<()> {
    let (fs, layout) = (&**format.env().fs(), format.layout());
    let (old, new) = (layout.level_dir(from)?, layout.level_dir(to)?);
    if !fs.is_dir(&old)? {
        return Err(StorageError::NotFound(from.clone()));
    }
    for found in walk(fs, layout)? {
        if let Some(name) = found.name.rebased(from, to) {
            check_renamed(layout, &name)?;
        }
    }
    // An empty level may be replaced; anything else is in the way.
    if fs.exists(&new)? && !matches!(fs.remove_dir(&new), Ok(())) {
        return Err(StorageError::AlreadyExists(to.clone()));
    }
    let rights = Rights::of(fs, &layout.mailboxes())?;
    alternate::rename(fs, layout, (from, to), || {
        for root in beside_root(layout) {
            move_beside(fs, layout, root, from, to, rights)?;
        }
        private::rename(fs, layout, (from, to), || move_dir(fs, &old, &new, rights))
    })?;
    match layout.tidies_after_renames() {
        true => remove_levels_above(fs, layout, from),
        false => remove_empty_above(fs, layout, from),
    }
}

/// Each folder has a name of its own. The one that the client named comes last: as long as it has its old name, the
/// same command can be given again.
fn rename_flat(format: &dyn Format, from: &MailboxName, to: &MailboxName) -> Result<()> {
    let (fs, layout) = (&**format.env().fs(), format.layout());
    let there = flat_names(fs, layout, layout.root())?;
    let mut renames = Vec::new();
    for old in &there {
        let Some(new) = old.rebased(from, to) else { continue };
        check_renamed(layout, &new)?;
        if there.contains(&new) || fs.exists(&layout.level_dir(&new)?)? {
            return Err(StorageError::AlreadyExists(new));
        }
        renames.push((old, new));
    }
    if renames.is_empty() {
        return Err(StorageError::NotFound(from.clone()));
    }
    renames.sort_by(|a, b| b.0.cmp(a.0));
    let rights = Rights::of(fs, layout.root())?;
    for (old, new) in renames {
        for root in beside_root(layout) {
            move_beside(fs, layout, root, old, &new, rights)?;
        }
        let (old_dir, new_dir) = (layout.level_dir(old)?, layout.level_dir(&new)?);
        private::rename(fs, layout, (old, &new), || move_dir(fs, &old_dir, &new_dir, rights))?;
    }
    Ok(())
}

/// A name that the limits or the layout refuse would make the mailbox unreachable.
fn check_renamed(layout: &Layout, name: &MailboxName) -> Result<()> {
    let invalid = |source| StorageError::InvalidName { name: name.to_string(), source };
    MailboxName::new(name.as_str()).map_err(invalid)?;
    layout.level_dir(name).map(|_| ())
}

fn beside_root(layout: &Layout) -> impl Iterator<Item = &Path> {
    layout.roots().filter(|root| *root != layout.root())
}

/// Moves control or index files that lie apart from the messages.
fn move_beside(
    fs: &dyn FileSystem,
    layout: &Layout,
    root: &Path,
    from: &MailboxName,
    to: &MailboxName,
    rights: Rights,
) -> Result<()> {
    let (old, new) = (layout.level_in(root, from), layout.level_in(root, to));
    if !fs.is_dir(&old)? {
        // Never opened; or a rename was stopped behind this step, and goes on with the messages.
        return Ok(());
    }
    if fs.is_dir(&new)? {
        move_to_trash(fs, layout, root, &new)?.empty(fs);
    }
    move_dir(fs, &old, &new, rights)
}

pub(super) fn move_dir(fs: &dyn FileSystem, old: &Path, new: &Path, rights: Rights) -> Result<()> {
    if let Some(parent) = new.parent() {
        rights.create_dirs(fs, parent)?;
    }
    fs.rename(old, new)?;
    // First where it is now: after a crash in between it may have two names, but not none.
    sync_parent(fs, new)?;
    Ok(sync_parent(fs, old)?)
}

fn sync_parent(fs: &dyn FileSystem, path: &Path) -> mailfs::Result<()> {
    path.parent().map_or(Ok(()), |parent| fs.sync_dir(parent))
}
