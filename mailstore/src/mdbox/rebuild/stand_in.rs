//! A map that is lost, made up in memory for a store that is only read.
//!
//! # Invariants
//!
//! 1. Nothing is written or locked: files that somebody adds to are read as far as they come.
//! 2. A number that a mailbox has leads to the message of its GUID. Other mailboxes may have other numbers for the same
//!    message; each of them leads to it.

use std::{collections::BTreeMap, sync::Arc};

use mailindex::state::State;
use mailtypes::Uid;

use super::{
    super::{
        Shared,
        map::MapResult,
        map_state::{BodyPlace, MapChanges, MapState},
        rewrite::by_file,
    },
    files::look,
    inventory::Inventory,
    mailboxes::{Read, read_as_it_is},
    most_common_map,
};
use crate::{
    mailbox_list::{Format, held},
    traits::Result,
};

/// Has the map read from what the files of messages and the mailboxes say. Reads all files but for large bodies, and all
/// mailboxes' indexes; holds some hundred bytes a message.
pub(in super::super) fn stand_in(shared: &Arc<Shared>, format: &dyn Format) -> Result<()> {
    let kept = shared.map.kept().of_map()?.unwrap_or_else(|| MapState::new(State::empty()));
    let known = by_file(&kept);
    let mut inventory = Inventory::default();
    for id in shared.files.ids()? {
        look(shared, id, known.get(&id).map_or(&[], |records| records), &mut inventory)?;
    }
    inventory.number(&kept);
    let mut mailboxes: Vec<Read> = Vec::new();
    for held in held(format)?.iter().filter(|held| !held.is_again) {
        mailboxes.extend(read_as_it_is(shared, &held.label(), &held.dirs)?);
    }
    let validity = match kept.uid_validity() {
        0 => most_common_map(&mailboxes).unwrap_or(1),
        validity => validity,
    };
    mailboxes.iter_mut().for_each(|mailbox| mailbox.find(validity, &mut inventory));
    mailboxes.iter_mut().for_each(|mailbox| mailbox.find_renamed(validity, &mut inventory));
    let mut places: BTreeMap<Uid, BodyPlace> = BTreeMap::new();
    places.extend(inventory.stored.iter().filter_map(|stored| Some((stored.number?, stored.place))));
    places.extend(mailboxes.iter().flat_map(|mailbox| mailbox.places(validity, &inventory)));
    let mut content = MapChanges::new();
    content.set_uid_validity(validity);
    places.iter().for_each(|(number, place)| content.add(*number, *place, 1));
    shared.map.set_stand_in(&content).of_map()?;
    tracing::warn!(
        messages = places.len(),
        "the map is lost; what is only read is read by what the files of messages and the mailboxes say"
    );
    Ok(())
}
