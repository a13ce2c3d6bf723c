//! Keywords that have another name in `dovecot-keywords` than they had, by a byte that was changed: the index has still the
//! old one, for the same messages.

use std::collections::{BTreeMap, HashMap};

use mailindex::state::State;
use mailtypes::{Keyword, Uid, UidSet};

use super::{
    files::Listed,
    keywords::Keywords,
    name::{self, Letters},
    uidlist::Uidlist,
};

/// A letter, and the keyword that it stands for.
pub(super) type Meant = (usize, Keyword);

/// The letters whose keywords are misspelt: the index does not know the name, and knows another that differs by one byte
/// only, has no letter, and is that of the very messages whose files carry this letter.
pub(super) fn misspelt(keywords: &Keywords, list: &Uidlist, listed: &[Listed], state: &State) -> Vec<Meant> {
    let is_strange = |letter: &usize| {
        let name = keywords.name(*letter);
        name.is_some_and(|name| state.keyword_bit(name.as_str().as_bytes()).is_none())
    };
    let strange: Vec<usize> = (0..Letters::COUNT).filter(is_strange).collect();
    if strange.is_empty() {
        return Vec::new();
    }
    let (carried, having) = (carried(list, listed, state), having(keywords, state));
    let meant = |letter: usize| {
        let (name, uids) = (keywords.name(letter)?, carried.get(&letter)?);
        let is_it = |(keyword, of_it): &(&Keyword, &UidSet)| differ_by_one(keyword, name) && *of_it == uids;
        let mut candidates = having.iter().map(|(keyword, uids)| (keyword, uids)).filter(is_it);
        let (keyword, _) = candidates.next()?;
        candidates.next().is_none().then(|| (letter, keyword.clone()))
    };
    strange.into_iter().filter_map(meant).collect()
}

/// The messages of the index whose files carry each letter.
fn carried(list: &Uidlist, listed: &[Listed], state: &State) -> BTreeMap<usize, UidSet> {
    let uids: HashMap<&[u8], Uid> = list.records.iter().map(|record| (&*record.base, record.uid)).collect();
    let mut carried: BTreeMap<usize, UidSet> = BTreeMap::new();
    for file in listed {
        let (base, info) = name::split(&file.name);
        let Some(uid) = uids.get(base).copied().filter(|uid| state.contains(*uid)) else { continue };
        for letter in name::flags_of(info).letters.iter() {
            carried.entry(letter).or_default().insert(uid);
        }
    }
    carried
}

/// The messages that have each of the keywords which have no letter.
fn having(keywords: &Keywords, state: &State) -> Vec<(Keyword, UidSet)> {
    let mut by_bit: BTreeMap<u16, UidSet> = BTreeMap::new();
    for record in state.records_from(0) {
        record.keyword_bits().iter().for_each(|bit| {
            by_bit.entry(bit).or_default().insert(record.uid());
        });
    }
    let named = by_bit.into_iter().filter_map(|(bit, uids)| Some((state.keyword(bit)?.keyword()?.clone(), uids)));
    named.filter(|(keyword, _)| keywords.letter(keyword).is_none()).collect()
}

fn differ_by_one(one: &Keyword, other: &Keyword) -> bool {
    let (one, other) = (one.as_str().as_bytes(), other.as_str().as_bytes());
    one.len() == other.len() && one.iter().zip(other).filter(|(a, b)| a != b).count() == 1
}
