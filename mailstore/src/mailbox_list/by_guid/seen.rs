//! The mailboxes as the list index and the folders show them, whatever state they are in; nothing is made or mended.

use std::{collections::BTreeSet, path::Path};

use mailindex::{
    engine::inspect,
    state::{Deletion, State},
};
use mailtypes::Guid;

use super::{
    super::{Format, LIST_INDEX_PREFIX, Placed, list_index::Nodes},
    rebuild::{folders, levels_in, lost_level},
    tree::name_of,
};
use crate::{indexed::PREFIX, traits::Result};

/// All mailboxes with a name, INBOX first, then those that no name leads to.
pub(in super::super) fn seen(format: &dyn Format) -> Result<Vec<Placed>> {
    let layout = format.layout();
    let nodes = state_in(format, layout.index(), LIST_INDEX_PREFIX).map_or_else(Nodes::default, |s| Nodes::read(&s));
    let (mut all, mut guids, mut names) = (Vec::new(), BTreeSet::new(), BTreeSet::new());
    for node in nodes.iter().filter(|node| node.flags.is_selectable() && !node.guid.is_zero()) {
        let Some(name) = name_of(format, &nodes, node) else { continue };
        if guids.insert(node.guid) && names.insert(name.clone()) {
            all.push(Placed { name, dirs: layout.dirs_of(node.guid), is_unlisted: false });
        }
    }
    all.sort_by(|a, b| (!a.name.is_inbox(), &a.name).cmp(&(!b.name.is_inbox(), &b.name)));
    for guid in folders(format)?.into_iter().filter(|guid| !guids.contains(guid)) {
        if let Some(placed) = unlisted(format, guid, |placed| names.insert(placed.name.clone())) {
            all.push(placed);
        }
    }
    Ok(all)
}

/// A mailbox that no name leads to, under the name in its own index if that is free; `None` for one that is deleted.
fn unlisted(format: &dyn Format, guid: Guid, mut is_free: impl FnMut(&Placed) -> bool) -> Option<Placed> {
    let dirs = format.layout().dirs_of(guid);
    let state = state_in(format, &dirs.index, PREFIX);
    if state.as_ref().is_some_and(|state| state.deletion() == Deletion::Done) {
        return None;
    }
    let known = state.as_ref().and_then(|state| levels_in(format, state));
    let mut candidates = known.into_iter().chain([vec![lost_level(guid)]]).filter_map(|levels| {
        let levels: Vec<&[u8]> = levels.iter().map(Vec::as_slice).collect();
        let name = format.layout().name_of_levels(&levels)?;
        Some(Placed { name, dirs: dirs.clone(), is_unlisted: true })
    });
    candidates.find(|placed| is_free(placed))
}

/// What can be read of an index.
fn state_in(format: &dyn Format, dir: &Path, prefix: &str) -> Option<State> {
    inspect(format.env(), dir, prefix).ok()?.state
}
