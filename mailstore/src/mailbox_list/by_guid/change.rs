//! Changing the list.

use std::path::PathBuf;

use mailfs::{FileSystemExt, LockOrder, LockRank};
use mailindex::{engine::MailboxIndex, log::Origin, state::ExtensionSpec};
use mailtypes::{Guid, MailboxName, UidValidity};

use super::{
    super::{
        Format, MailboxDirs, Rights, alternate,
        change::{is_half_deleted, mark_deleted},
        list_index::{NAMES_MAX, NodesChange},
        mailbox_log::{MailboxLogKind, note, note_deleted},
        note_uid_validity,
        trash::move_to_trash,
    },
    tree::{name_of, node, nodes, open},
};
use crate::{
    indexed::{PREFIX, change, indexed_of, unix_now},
    traits::{MailboxIdentity, OnlyIf, Result, StorageError},
};

/// The extension of a mailbox's index that has its name in its header.
pub(super) const BOX_NAME: &str = "box-name";

/// That which has the time of the last renaming.
const RENAMED: ExtensionSpec = ExtensionSpec::header("last-rename-stamp", 4);

/// Names that a mailbox which was not finished can have.
const UNFINISHED_COUNT_MAX: u64 = 1000;

/// Changes the tree, unless `how` refuses: then nothing is written.
pub(super) fn change_list<T: Send + 'static>(
    format: &dyn Format,
    name: &MailboxName,
    mut how: impl FnMut(&mut NodesChange) -> Result<T> + Send + 'static,
) -> Result<T> {
    let index = open(format)?;
    let now = unix_now(&**format.env().fs());
    let _first = LockOrder::enter(LockRank::ListLog);
    let (told, _) = change(name, &index, move |at| {
        let mut nodes = NodesChange::of(at.state());
        let told = how(&mut nodes)?;
        nodes.commit(at, now);
        Ok(told)
    })?;
    told
}

/// Makes a mailbox.
pub(in super::super) fn create(format: &dyn Format, name: &MailboxName) -> Result<()> {
    create_as(format, name, None)
}

/// Makes an empty mailbox with an identity of another store's, in the place of what has its name.
pub(in super::super) fn replace(
    format: &dyn Format,
    name: &MailboxName,
    identity: &MailboxIdentity,
    only_if: OnlyIf,
) -> Result<()> {
    let layout = format.layout();
    layout.check_new(name)?;
    if let Some(there) = node(format, &nodes(format)?, name)?.filter(|node| node.flags.is_selectable()) {
        let dirs = layout.dirs_of(there.guid);
        // One that somebody was stopped while deleting is none.
        let is_gone =
            || Ok::<_, StorageError>(!format.env().fs().is_dir(&dirs.mail)? || is_half_deleted(format, name, &dirs)?);
        if only_if == OnlyIf::Nothing && !is_gone()? {
            return Err(StorageError::Changed(name.clone()));
        }
        delete(format, name, only_if)?;
    }
    if nodes(format)?.of_guid(identity.guid).is_none() {
        // Of one that was stopped while it did this.
        remove_folders(format, &layout.dirs_of(identity.guid))?;
    }
    note_uid_validity(&**format.env().fs(), layout.control(), identity.uid_validity)?;
    create_as(format, name, Some(identity))
}

fn create_as(format: &dyn Format, name: &MailboxName, identity: Option<&MailboxIdentity>) -> Result<()> {
    let (fs, layout) = (&**format.env().fs(), format.layout());
    layout.check_new(name)?;
    if let Some(there) = node(format, &nodes(format)?, name)?.filter(|node| node.flags.is_selectable()) {
        let dirs = layout.dirs_of(there.guid);
        if fs.is_dir(&dirs.mail)? && !format.is_deleted(&dirs)? {
            return Err(StorageError::AlreadyExists(name.clone()));
        }
        // Somebody was stopped while deleting it; or its folder is lost.
        unlist(format, name, there.guid)?;
        remove_folders(format, &dirs)?;
    }
    let (guid, uid_validity) = make(format, name, identity)?;
    let (levels, taken) = (layout.written_levels(name)?, name.clone());
    let listed = change_list(format, name, move |nodes| {
        let uid = nodes.make(&levels).ok_or_else(out_of_numbers)?;
        match nodes.nodes().get(uid) {
            // By somebody who found it without a name.
            Some(node) if node.guid == guid => Ok(()),
            Some(node) if node.flags.is_selectable() => Err(StorageError::AlreadyExists(taken.clone())),
            _ => {
                nodes.set(uid, Some((guid, uid_validity)));
                Ok(())
            }
        }
    });
    if listed.is_err() {
        // What matters is the first failure. A commit that failed may be in force all the same: then it stays.
        if node(format, &nodes(format)?, name)?.is_none_or(|node| node.guid != guid) {
            let _ = remove_folders(format, &layout.dirs_of(guid));
        }
    }
    listed
}

pub(super) fn out_of_numbers() -> StorageError {
    StorageError::Limit { name: "mailbox_list_nodes_max", limit: NAMES_MAX as u64 }
}

/// Makes the folders of an empty mailbox, durably, under its GUID. No name leads to it yet.
fn make(format: &dyn Format, name: &MailboxName, identity: Option<&MailboxIdentity>) -> Result<(Guid, UidValidity)> {
    let (fs, layout) = (&**format.env().fs(), format.layout());
    for root in layout.roots() {
        Rights::of(fs, root)?.create_dirs(fs, &layout.mailboxes_in(root))?;
    }
    let rights = Rights::of(fs, &layout.mailboxes())?;
    let mut random = [0; 8];
    fs.random(&mut random);
    let aside_name = format!("{}{:016x}", mailfs::TEMP_PREFIX, u64::from_le_bytes(random));
    let aside = layout.dirs_with(|root| root.join(&aside_name));
    let made = fill(format, name, &aside, rights, identity).and_then(|(guid, uid_validity)| {
        let dirs = layout.dirs_of(guid);
        let places: Vec<(PathBuf, PathBuf)> = pairs(&aside, &dirs);
        for (from, to) in places {
            fs.rename_new(&from, &to)?;
            if let Some(parent) = to.parent() {
                fs.sync_dir(parent)?;
            }
        }
        Ok((guid, uid_validity))
    });
    if made.is_err() {
        for dir in aside.beside_mail().chain([&*aside.mail]) {
            // What stays is removed by the next recovery.
            let _ = fs.remove_tree(dir, UNFINISHED_COUNT_MAX);
        }
    }
    made
}

/// The folders of one mailbox and of another in the same order, that of the messages last.
fn pairs(from: &MailboxDirs, to: &MailboxDirs) -> Vec<(PathBuf, PathBuf)> {
    let all = |dirs: &MailboxDirs| dirs.beside_mail().chain([&*dirs.mail]).map(PathBuf::from).collect::<Vec<_>>();
    all(from).into_iter().zip(all(to)).collect()
}

fn fill(
    format: &dyn Format,
    name: &MailboxName,
    dirs: &MailboxDirs,
    rights: Rights,
    identity: Option<&MailboxIdentity>,
) -> Result<(Guid, UidValidity)> {
    let fs = &**format.env().fs();
    for dir in dirs.beside_mail().chain([&*dirs.mail]) {
        rights.create_dir(fs, dir)?;
    }
    format.make(dirs, rights, identity)?;
    let mailbox = format.open(name, dirs)?;
    let Some(mailbox) = indexed_of(&mailbox) else { return Err(StorageError::NotFound(name.clone())) };
    write_name(format, name, &mailbox.index, false)?;
    Ok((mailbox.guid, mailbox.uid_validity))
}

/// Writes a mailbox's name into its index: what the list is made of when it is lost.
fn write_name(
    format: &dyn Format,
    name: &MailboxName,
    index: &std::sync::Arc<MailboxIndex>,
    renamed: bool,
) -> Result<()> {
    let levels = format.layout().written_levels(name)?.join(&0);
    let now = unix_now(&**format.env().fs());
    change(name, index, move |at| {
        if at.state().extension(BOX_NAME).is_some_and(|there| there.hdr() == levels) {
            return;
        }
        let hdr_size = u32::try_from(levels.len()).unwrap_or(u32::MAX);
        let spec = ExtensionSpec { name: BOX_NAME, hdr_size, record_size: 0, record_align: 0, no_shrink: false };
        at.transaction().ext_header(&spec, 0, &levels, Origin::External);
        if renamed {
            at.transaction().ext_header(&RENAMED, 0, &now.to_le_bytes(), Origin::External);
        } else {
            at.require_sync();
        }
    })
    .map(|_| ())
}

/// Deletes a mailbox, or a level that leads nowhere.
pub(in super::super) fn delete(format: &dyn Format, name: &MailboxName, only_if: OnlyIf) -> Result<()> {
    let (fs, layout) = (&**format.env().fs(), format.layout());
    let tree = nodes(format)?;
    let Some(there) = node(format, &tree, name)? else { return Err(StorageError::NotFound(name.clone())) };
    if there.flags.is_selectable() && !there.guid.is_zero() {
        let dirs = layout.dirs_of(there.guid);
        if fs.is_dir(&dirs.mail)? {
            mark_deleted(format, name, &dirs, only_if)?;
        }
        let level = unlist(format, name, there.guid)?;
        remove_folders(format, &dirs)?;
        note_deleted(format, name, Some(there.guid), level);
        return Ok(());
    }
    let drop_empty = layout.removes_empty_levels();
    change_list(format, name, move |nodes| {
        if nodes.nodes().has_children(there.uid) {
            return Err(StorageError::NotPossible("Mailbox has children, delete them first"));
        }
        nodes.remove(there.uid);
        if drop_empty {
            nodes.remove_empty_levels(there.parent);
        }
        Ok(())
    })?;
    note_deleted(format, name, None, true);
    Ok(())
}

/// Takes a mailbox out of the list, durably. Levels below it stay, and a level with them; tells whether there were none.
pub(super) fn unlist(format: &dyn Format, name: &MailboxName, guid: Guid) -> Result<bool> {
    let drop_empty = format.layout().removes_empty_levels();
    change_list(format, name, move |nodes| {
        let Some(node) = nodes.nodes().of_guid(guid).copied() else { return Ok(true) };
        let has_children = nodes.nodes().has_children(node.uid);
        if has_children {
            nodes.set(node.uid, None);
        } else {
            nodes.remove(node.uid);
            if drop_empty {
                nodes.remove_empty_levels(node.parent);
            }
        }
        Ok(!has_children)
    })
}

/// Removes the folders of a mailbox that no name leads to any more.
pub(super) fn remove_folders(format: &dyn Format, dirs: &MailboxDirs) -> Result<()> {
    let (fs, layout) = (&**format.env().fs(), format.layout());
    alternate::remove(fs, layout, dirs)?;
    for dir in [&*dirs.mail].into_iter().chain(dirs.beside_mail()) {
        if fs.is_dir(dir)? {
            move_to_trash(fs, layout, layout.root_of(dir), dir)?.empty(fs);
        }
    }
    Ok(())
}

/// Renames a mailbox or level; what is below it goes with it.
pub(in super::super) fn rename(format: &dyn Format, from: &MailboxName, to: &MailboxName) -> Result<()> {
    let layout = format.layout();
    let tree = nodes(format)?;
    for name in tree.iter().filter_map(|node| name_of(format, &tree, node)) {
        if let Some(new) = name.rebased(from, to) {
            let invalid = |source| StorageError::InvalidName { name: new.to_string(), source };
            MailboxName::new(new.as_str()).map_err(invalid)?;
        }
    }
    let (old, new) = (layout.written_levels(from)?, layout.written_levels(to)?);
    let (from_name, to_name) = (from.clone(), to.clone());
    let drop_empty = layout.removes_empty_levels();
    change_list(format, from, move |nodes| {
        let (found, depth) = nodes.nodes().find(&old);
        let node = *found.filter(|_| depth == old.len()).ok_or_else(|| StorageError::NotFound(from_name.clone()))?;
        let (there, depth) = nodes.nodes().find(&new);
        if let Some(there) = there.filter(|_| depth == new.len()).copied() {
            if there.flags.is_selectable() || nodes.nodes().has_children(there.uid) {
                return Err(StorageError::AlreadyExists(to_name.clone()));
            }
            nodes.remove(there.uid);
        }
        let (Some((last, above)), parent) = (new.split_last(), 0) else { return Ok(()) };
        let parent = match above {
            [] => parent,
            above => nodes.make(above).ok_or_else(out_of_numbers)?.value(),
        };
        nodes.rename(node.uid, parent, last);
        if drop_empty {
            nodes.remove_empty_levels(node.parent);
        }
        Ok(())
    })?;
    note(format, MailboxLogKind::Renamed, to);
    rename_boxes(format, to)
}

/// Has the mailboxes know their new names. The list has them already, so that what fails here matters only when the list
/// is lost.
fn rename_boxes(format: &dyn Format, to: &MailboxName) -> Result<()> {
    let tree = nodes(format)?;
    for node in tree.iter().filter(|node| node.flags.is_selectable() && !node.guid.is_zero()) {
        let Some(name) = name_of(format, &tree, node).filter(|name| name == to || name.is_below(to)) else { continue };
        let dirs = format.layout().dirs_of(node.guid);
        let opened = MailboxIndex::open(format.env(), &dirs.index, PREFIX, format.message_store(&dirs));
        let written = match opened {
            Ok(index) => write_name(format, &name, &index, true),
            Err(e) => Err(crate::indexed::from_index(&name, &e)),
        };
        if let Err(e) = written {
            tracing::warn!(mailbox = %name, "its index has its old name still: {e}");
        }
    }
    Ok(())
}
