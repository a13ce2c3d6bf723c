//! Reading the list.

use std::sync::Arc;

use mailfs::FileSystemExt;
use mailindex::engine::{IndexError, MailboxIndex};
use mailtypes::{Guid, MailboxName};

use super::{
    super::{
        Format, MailboxDirs,
        list_index::{Node, Nodes, open_list},
        walk::Found,
    },
    change::create,
    rebuild::rebuild,
};
use crate::{
    indexed::{from_index, indexed_of},
    traits::{MailStorage, Mailbox, Result, StorageError},
};

/// The list index; made of the mailboxes that are there if there is none, or none that can be read.
pub(super) fn open(format: &dyn Format) -> Result<Arc<MailboxIndex>> {
    match open_list(format.env(), format.layout().index()) {
        Ok(index) => Ok(index),
        Err(IndexError::NotFound { .. } | IndexError::NeedsRebuild { .. } | IndexError::Corrupt(_)) => rebuild(format),
        Err(e) => Err(from_index(&MailboxName::inbox(), &e)),
    }
}

/// The tree as it is now.
pub(super) fn nodes(format: &dyn Format) -> Result<Nodes> {
    let index = open(format)?;
    let state = index.refresh().map_err(|e| from_index(&MailboxName::inbox(), &e))?;
    Ok(Nodes::read(&state))
}

/// The node of a name.
pub(super) fn node(format: &dyn Format, nodes: &Nodes, name: &MailboxName) -> Result<Option<Node>> {
    let levels = format.layout().written_levels(name)?;
    let (found, depth) = nodes.find(&levels);
    Ok(found.filter(|_| depth == levels.len()).copied())
}

/// The name of a node.
pub(super) fn name_of(format: &dyn Format, nodes: &Nodes, node: &Node) -> Option<MailboxName> {
    format.layout().name_of_levels(&nodes.levels(node)?)
}

/// All levels, sorted by name, INBOX first. What no name leads to is passed over.
pub(in super::super) fn walk(format: &dyn Format) -> Result<Vec<Found>> {
    let nodes = nodes(format)?;
    let mut found: Vec<Found> = Vec::with_capacity(nodes.len());
    for node in nodes.iter() {
        let has_children = nodes.has_children(node.uid);
        if let Some(name) = name_of(format, &nodes, node) {
            found.push(Found { name, selectable: node.flags.is_selectable(), has_children });
        }
    }
    // Of two with one name the mailbox counts.
    found.sort_by(|a, b| {
        (!a.name.is_inbox(), &a.name, !a.selectable).cmp(&(!b.name.is_inbox(), &b.name, !b.selectable))
    });
    found.dedup_by(|a, b| a.name == b.name);
    Ok(found)
}

/// Where the files of a mailbox lie; `None` where the name leads to none.
fn dirs(format: &dyn Format, name: &MailboxName) -> Result<Option<MailboxDirs>> {
    let found = node(format, &nodes(format)?, name)?;
    let mailbox = found.filter(|node| node.flags.is_selectable() && !node.guid.is_zero());
    Ok(mailbox.map(|node| format.layout().dirs_of(node.guid)))
}

/// Where the files of a mailbox lie that is to be opened. INBOX is made if it is not there yet.
pub(in super::super) fn find(format: &dyn Format, name: &MailboxName) -> Result<MailboxDirs> {
    let tree = nodes(format)?;
    let found = node(format, &tree, name)?;
    let fs = format.env().fs();
    if let Some(node) = found.filter(|node| node.flags.is_selectable() && !node.guid.is_zero()) {
        let dirs = format.layout().dirs_of(node.guid);
        if fs.is_dir(&dirs.mail)? {
            return Ok(dirs);
        }
        if !format.layout().is_inbox(name) {
            tracing::warn!(mailbox = %name, "its folder {} is gone", dirs.mail.display());
            return Err(StorageError::NotFound(name.clone()));
        }
    }
    if format.layout().is_inbox(name) {
        match create(format, name) {
            Err(StorageError::AlreadyExists(_)) | Ok(()) => {}
            Err(e) => return Err(e),
        }
        return dirs(format, name)?.ok_or_else(|| StorageError::NotFound(name.clone()));
    }
    Err(match found {
        Some(_) => StorageError::NotSelectable(name.clone()),
        None => StorageError::NotFound(name.clone()),
    })
}

/// See [`MailStorage::follow`].
pub(in super::super) fn follow(
    storage: &dyn MailStorage,
    format: &dyn Format,
    mailbox: &dyn Mailbox,
) -> Result<Option<Arc<dyn Mailbox>>> {
    let Some(old) = indexed_of(mailbox) else { return Ok(None) };
    let guid: Guid = old.guid;
    let tree = nodes(format)?;
    let Some(name) = tree.of_guid(guid).and_then(|node| name_of(format, &tree, node)) else { return Ok(None) };
    match storage.mailbox(&name) {
        Ok(new) => Ok(indexed_of(&*new).is_some_and(|new| new.is_same_mailbox(old)).then_some(new)),
        Err(StorageError::NotFound(_) | StorageError::NotSelectable(_) | StorageError::Deleted(_)) => Ok(None),
        Err(e) => Err(e),
    }
}
