//! Putting mailboxes that no name leads to back into the list.

use std::{collections::BTreeSet, sync::Arc};

use mailfs::{FileKind, FileSystemExt};
use mailindex::{
    engine::{IndexError, MailboxIndex},
    log::Transaction,
    state::State,
};
use mailtypes::{Guid, MailboxName, UidValidity};

use super::{
    super::{
        Format, RecoveredMailbox,
        list_index::{NodesChange, create_list, open_list, replace_list},
    },
    change::{BOX_NAME, change_list, out_of_numbers, remove_folders, unlist},
    tree::{name_of, nodes},
};
use crate::{
    indexed::{from_index, indexed_of, unix_now},
    traits::{Result, StorageError},
};

/// Mailboxes looked at.
const MAILBOXES_MAX: usize = 100_000;

/// What a mailbox is called of which nothing else is known.
const LOST_PREFIX: &str = "lost-";

/// A mailbox as its folder has it.
struct Orphan {
    guid: Guid,
    uid_validity: UidValidity,
    levels: Vec<Vec<u8>>,
}

/// The GUIDs that folders are named by.
pub(in super::super) fn folders(format: &dyn Format) -> Result<Vec<Guid>> {
    let (fs, dir) = (&**format.env().fs(), format.layout().mailboxes());
    let mut guids = Vec::new();
    if !fs.is_dir(&dir)? {
        return Ok(guids);
    }
    for entry in fs.read_dir(&dir)? {
        let is_dir = matches!(entry.kind, FileKind::Dir | FileKind::Symlink);
        let name = entry.name.to_str().filter(|name| is_dir && name.len() == 32);
        guids.extend(
            name.and_then(|name| name.parse::<Guid>().ok())
                .filter(|guid| guid.to_string().as_str() == name.unwrap_or_default()),
        );
        if guids.len() > MAILBOXES_MAX {
            return Err(StorageError::Limit { name: "mailbox_list_count_max", limit: MAILBOXES_MAX as u64 });
        }
    }
    guids.sort_unstable();
    Ok(guids)
}

/// What a mailbox's folder tells of it; `None` for one that is deleted.
fn look(format: &dyn Format, guid: Guid) -> Result<Option<Orphan>> {
    let dirs = format.layout().dirs_of(guid);
    let lost = format!("{LOST_PREFIX}{guid}");
    let invalid = |source| StorageError::InvalidName { name: lost.clone(), source };
    let name = MailboxName::new(&lost).map_err(invalid)?;
    if format.is_deleted(&dirs)? {
        return Ok(None);
    }
    let mailbox = match format.open(&name, &dirs) {
        Err(StorageError::Deleted(_) | StorageError::NotFound(_)) => return Ok(None),
        other => other?,
    };
    let Some(mailbox) = indexed_of(&mailbox) else { return Ok(None) };
    let levels = levels_in(format, &mailbox.index.state()).unwrap_or_else(|| vec![lost_level(guid)]);
    Ok(Some(Orphan { guid, uid_validity: mailbox.uid_validity, levels }))
}

/// The name that a mailbox's index has of it, if it is one that somebody can open.
pub(super) fn levels_in(format: &dyn Format, state: &State) -> Option<Vec<Vec<u8>>> {
    let levels: Vec<&[u8]> = state.extension(BOX_NAME)?.hdr().split(|&byte| byte == 0).collect();
    format.layout().name_of_levels(&levels)?;
    Some(levels.into_iter().map(<[u8]>::to_vec).collect())
}

/// What it is called otherwise.
pub(super) fn lost_level(guid: Guid) -> Vec<u8> {
    format!("{LOST_PREFIX}{guid}").into_bytes()
}

/// Gives it its name, or another if that one is taken.
fn enter(nodes: &mut NodesChange, orphan: &Orphan) -> Result<()> {
    let mut uid = nodes.make(&orphan.levels).ok_or_else(out_of_numbers)?;
    let there = nodes.nodes().get(uid);
    if there.is_some_and(|there| there.flags.is_selectable() && there.guid != orphan.guid) {
        uid = nodes.make(&[lost_level(orphan.guid)]).ok_or_else(out_of_numbers)?;
    }
    nodes.set(uid, Some((orphan.guid, orphan.uid_validity)));
    Ok(())
}

/// Makes the list index of the mailboxes that are there.
pub(super) fn rebuild(format: &dyn Format) -> Result<Arc<MailboxIndex>> {
    let (env, dir) = (format.env(), format.layout().index());
    let failed = |e: IndexError| from_index(&MailboxName::inbox(), &e);
    let mut change = NodesChange::of(&State::empty());
    let mut count = 0;
    for guid in folders(format)? {
        match look(format, guid) {
            Ok(Some(orphan)) => {
                enter(&mut change, &orphan)?;
                count += 1;
            }
            Ok(None) => {}
            Err(e) => tracing::error!(%guid, "a mailbox has no name now, for it cannot be opened: {e}"),
        }
    }
    if count > 0 {
        tracing::warn!(dir = %dir.display(), count, "the list of mailboxes was made anew from the mailboxes");
    }
    let now = unix_now(&**env.fs());
    match open_list(env, dir) {
        // Somebody else was faster.
        Ok(index) => return Ok(index),
        Err(IndexError::NotFound { .. }) => {
            let mut first = Transaction::new();
            change.write(&mut first, now);
            return create_list(env, dir, &first).map_err(failed);
        }
        Err(IndexError::NeedsRebuild { .. } | IndexError::Corrupt(_)) => {
            let (messages, content) = change.rebuilt(now);
            replace_list(env, dir, &messages, content).map_err(failed)?;
        }
        Err(e) => return Err(failed(e)),
    }
    open_list(env, dir).map_err(failed)
}

/// Puts mailboxes that no name leads to back into the list, and finishes deleting those that are marked as deleted.
pub(in super::super) fn adopt(format: &dyn Format, repaired: &mut Vec<RecoveredMailbox>) -> Result<()> {
    let tree = nodes(format)?;
    let lost: BTreeSet<Guid> = tree.lost().map(|node| node.guid).collect();
    let listed: BTreeSet<Guid> = tree.iter().map(|node| node.guid).filter(|guid| !lost.contains(guid)).collect();
    if tree.lost().next().is_some() {
        change_list(format, &MailboxName::inbox(), |nodes| {
            let lost: Vec<_> = nodes.nodes().lost().map(|node| node.uid).collect();
            lost.into_iter().for_each(|uid| nodes.remove(uid));
            Ok(())
        })?;
    }
    for guid in folders(format)?.into_iter().filter(|guid| !listed.contains(guid)) {
        let Some(orphan) = look(format, guid)? else {
            remove_folders(format, &format.layout().dirs_of(guid))?;
            continue;
        };
        change_list(format, &MailboxName::inbox(), move |nodes| enter(nodes, &orphan))?;
        let tree = nodes(format)?;
        if let Some(name) = tree.of_guid(guid).and_then(|node| name_of(format, &tree, node)) {
            tracing::warn!(mailbox = %name, "a mailbox that no name led to is in the list again");
            repaired.push(RecoveredMailbox { listed: true, ..RecoveredMailbox::new(name) });
        }
    }
    Ok(())
}

/// Takes a mailbox that is marked as deleted out of the list and removes its files.
pub(in super::super) fn finish_deletion(format: &dyn Format, name: &MailboxName) -> Result<()> {
    let tree = nodes(format)?;
    let Some(node) = super::tree::node(format, &tree, name)? else { return Ok(()) };
    unlist(format, name, node.guid)?;
    remove_folders(format, &format.layout().dirs_of(node.guid))
}
