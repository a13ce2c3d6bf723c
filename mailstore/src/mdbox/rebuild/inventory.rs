//! All messages that lie in the files, under which numbers, and who refers to them. Some 60 bytes a message.

use std::collections::HashMap;

use mailtypes::{Guid, Uid};

use super::super::map_state::{BodyPlace, FileId, MapState};

/// A message that lies in a file.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    /// Where it was found.
    pub(super) place: BodyPlace,
    /// Where it lies now, its file being written anew.
    pub(super) moved: Option<BodyPlace>,
    /// Its identity; zero: not known.
    pub(super) guid: Guid,
    /// The number that it has in the map, or is to have.
    pub(super) number: Option<Uid>,
    /// How many references the map counted to it; `None`: it did not know it at this place.
    pub(super) counted: Option<u16>,
    /// How many references there are.
    pub(super) refs: u32,
    /// Which mailbox its metadata name, of [`Inventory::homes`].
    pub(super) home: Option<u32>,
    /// Something of it has to be put right in its file.
    pub(super) is_broken: bool,
    /// It is a second copy of another one, that the map does not know and is not to.
    pub(super) is_double: bool,
}

/// Which of the [`Inventory`].
pub(super) type At = usize;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Inventory {
    /// In the order of files and offsets.
    pub(super) stored: Vec<Stored>,
    /// Names of mailboxes as folders are called, that messages were saved to first.
    pub(super) homes: Vec<String>,
    home_of: HashMap<String, u32>,
    by_guid: Vec<(Guid, u32)>,
    by_number: HashMap<Uid, u32>,
    /// The first number that was never given.
    next: Option<Uid>,
    /// The first number that the map can take in anew.
    free_from: Option<Uid>,
}

impl Inventory {
    pub(super) fn add(&mut self, stored: Stored) {
        self.stored.push(stored);
    }

    /// The number of a mailbox's name.
    pub(super) fn home(&mut self, name: &str) -> u32 {
        if let Some(at) = self.home_of.get(name) {
            return *at;
        }
        let at = self.homes.len() as u32;
        self.homes.push(name.to_owned());
        self.home_of.insert(name.to_owned(), at);
        at
    }

    /// All files were gone over: takes over what the map has at the same places, and makes messages to be found by
    /// their GUIDs.
    pub(super) fn number(&mut self, map: &MapState) {
        self.stored.sort_by_key(|stored| (stored.place.file, stored.place.offset));
        for record in map.records() {
            let place = (record.place.file, record.place.offset);
            let found = self.stored.binary_search_by_key(&place, |stored| (stored.place.file, stored.place.offset));
            let Some((at, stored)) = found.ok().and_then(|at| Some((at, self.stored.get_mut(at)?))) else { continue };
            if stored.number.is_none() {
                (stored.number, stored.counted) = (Some(record.uid), Some(record.refs));
                self.by_number.insert(record.uid, at as u32);
            }
        }
        self.by_guid =
            (0u32..).zip(&self.stored).filter(|(_, s)| !s.guid.is_zero()).map(|(at, s)| (s.guid, at)).collect();
        self.by_guid.sort_unstable();
        (self.next, self.free_from) = (Some(map.next_uid()), Some(map.next_uid()));
    }

    /// A mailbox has this number: no other message is to get it.
    pub(super) fn note(&mut self, number: Uid) {
        if self.next.is_some_and(|next| next <= number) {
            self.next = number.successor().filter(|next| *next <= Uid::MAX_ON_DISK);
        }
    }

    /// The message that has a number.
    pub(super) fn of_number(&self, number: Uid) -> Option<&Stored> {
        self.stored.get(*self.by_number.get(&number)? as usize)
    }

    /// The number that the next message of the map gets.
    pub(super) fn next(&self) -> Option<Uid> {
        self.next
    }

    /// Those of this GUID.
    pub(super) fn of_guid(&self, guid: Guid) -> impl Iterator<Item = At> + '_ {
        let from = self.by_guid.partition_point(|(other, _)| *other < guid);
        let rest = self.by_guid.get(from..).unwrap_or_default();
        rest.iter().take_while(move |(other, _)| *other == guid).map(|(_, at)| *at as usize)
    }

    /// The message that a mailbox means by a number and a GUID, as far as it gives them: both right, or the GUID. A message
    /// that cannot say who it is is the one that has the number.
    pub(super) fn find(&mut self, number: Option<Uid>, guid: Option<Guid>) -> Option<At> {
        let numbered = number.and_then(|number| self.by_number.get(&number)).map(|at| *at as usize);
        let Some(guid) = guid else { return numbered };
        let is_it = |at: &At| self.stored.get(*at).is_some_and(|stored| stored.guid == guid);
        if let Some(at) = numbered.filter(is_it) {
            return Some(at);
        }
        // Of several the map's come first, and of those the ones that it counts.
        let rank =
            |at: &At| self.stored.get(*at).map(|s| (s.is_broken, s.counted.is_none_or(|n| n == 0), s.number.is_none()));
        if let Some(at) = self.of_guid(guid).min_by_key(rank) {
            return Some(at);
        }
        let nameless = numbered.and_then(|at| Some((at, self.stored.get_mut(at)?)));
        let (at, stored) = nameless.filter(|(_, stored)| stored.guid.is_zero())?;
        stored.guid = guid;
        Some(at)
    }

    /// The message that has the number, though its file says that it is another one, which nobody has: what says so is
    /// damaged. To be asked when all others were found.
    pub(super) fn find_renamed(&mut self, number: Uid, guid: Guid) -> Option<At> {
        let at = *self.by_number.get(&number)? as usize;
        let stored = self.stored.get_mut(at).filter(|s| s.refs == 0 && s.counted.is_some_and(|n| n > 0))?;
        (stored.guid, stored.is_broken) = (guid, true);
        Some(at)
    }

    /// Gives a message a number if it has none: `wanted` if nobody has or had that.
    pub(super) fn give_number(&mut self, at: At, wanted: Option<Uid>) -> Option<Uid> {
        if let Some(number) = self.stored.get(at)?.number {
            return Some(number);
        }
        let is_free = |number: &Uid| self.free_from <= Some(*number) && !self.by_number.contains_key(number);
        let number = match wanted.filter(is_free) {
            Some(number) => {
                self.note(number);
                number
            }
            None => {
                let number = self.next?;
                self.note(number);
                number
            }
        };
        self.stored.get_mut(at)?.number = Some(number);
        self.by_number.insert(number, at as u32);
        Some(number)
    }

    /// Those that lie in a file.
    pub(super) fn of_file(&mut self, file: FileId) -> &mut [Stored] {
        let from = self.stored.partition_point(|stored| stored.place.file < file);
        let to = self.stored.partition_point(|stored| stored.place.file <= file);
        self.stored.get_mut(from..to).unwrap_or_default()
    }
}
