//! Keywords that have another name in `dovecot-keywords` than they had, or another number, by a byte that was changed: the
//! index has still the old one, for the same messages.

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

/// The letters whose keywords are not what they were, in an order in which they can be renamed.
pub(super) fn misspelt(keywords: &Keywords, list: &Uidlist, listed: &[Listed], state: &State) -> Vec<Meant> {
    let carried = carried(list, listed, state);
    let is_strange = |letter: &usize| {
        let name = keywords.name(*letter);
        name.is_some_and(|name| state.keyword_bit(name.as_str().as_bytes()).is_none())
    };
    let strange: Vec<usize> = (0..Letters::COUNT).filter(is_strange).collect();
    let nameless = carried.keys().any(|letter| keywords.name(*letter).is_none());
    if strange.is_empty() && !nameless {
        return Vec::new();
    }
    let having = having(state);
    let spelt = strange.into_iter().filter_map(|letter| spelt(letter, keywords, &carried, &having));
    spelt.chain(numbered(keywords, &carried, &having)).collect()
}

/// The name that was misspelt: the index does not know the one that is there, and knows another that differs by one byte
/// only, has no letter, and is that of the very messages whose files carry this letter.
fn spelt(letter: usize, keywords: &Keywords, carried: &Carried, having: &[(Keyword, UidSet)]) -> Option<Meant> {
    let (name, uids) = (keywords.name(letter)?, carried.get(&letter)?);
    let is_it = |(keyword, of_it): &&(Keyword, UidSet)| {
        differ_by_one(keyword, name) && of_it == uids && keywords.letter(keyword).is_none()
    };
    let mut candidates = having.iter().filter(is_it);
    let (keyword, _) = candidates.next()?;
    candidates.next().is_none().then(|| (letter, keyword.clone()))
}

/// Keywords that stand at another's number: files carry a letter that has no name, they are the very messages that have a
/// keyword in the index, and the messages that carry the letter where it stands now have one that has no letter.
fn numbered(keywords: &Keywords, carried: &Carried, having: &[(Keyword, UidSet)]) -> Vec<Meant> {
    let only = |uids: &UidSet| {
        let mut of_them = having.iter().filter(|(_, of_it)| of_it == uids);
        of_them.next().filter(|_| of_them.next().is_none()).map(|(keyword, _)| keyword)
    };
    let mut meant = Vec::new();
    for (letter, uids) in carried.iter().filter(|(letter, _)| keywords.name(**letter).is_none()) {
        let Some(keyword) = only(uids) else { continue };
        let Some(stands_at) = keywords.letter(keyword) else { continue };
        let Some(other) = carried.get(&stands_at).and_then(only) else { continue };
        if keywords.letter(other).is_none() {
            meant.push((stands_at, other.clone()));
            meant.push((*letter, keyword.clone()));
        }
    }
    meant
}

/// The messages of the index whose files carry each letter.
type Carried = BTreeMap<usize, UidSet>;

fn carried(list: &Uidlist, listed: &[Listed], state: &State) -> Carried {
    let uids: HashMap<&[u8], Uid> = list.records.iter().map(|record| (&*record.base, record.uid)).collect();
    let mut carried = Carried::new();
    for file in listed {
        let (base, info) = name::split(&file.name);
        let Some(uid) = uids.get(base).copied().filter(|uid| state.contains(*uid)) else { continue };
        for letter in name::flags_of(info).letters.iter() {
            carried.entry(letter).or_default().insert(uid);
        }
    }
    carried
}

/// The messages that have each keyword.
fn having(state: &State) -> Vec<(Keyword, UidSet)> {
    let mut by_bit: BTreeMap<u16, UidSet> = BTreeMap::new();
    for record in state.records_from(0) {
        record.keyword_bits().iter().for_each(|bit| {
            by_bit.entry(bit).or_default().insert(record.uid());
        });
    }
    by_bit.into_iter().filter_map(|(bit, uids)| Some((state.keyword(bit)?.keyword()?.clone(), uids))).collect()
}

fn differ_by_one(one: &Keyword, other: &Keyword) -> bool {
    let (one, other) = (one.as_str().as_bytes(), other.as_str().as_bytes());
    one.len() == other.len() && one.iter().zip(other).filter(|(a, b)| a != b).count() == 1
}

#[cfg(test)]
mod tests {
    use mailindex::{
        log::{KeywordAction, Origin, RawLogHeader, Transaction},
        replay::{Limits, Replay},
    };
    use mailtypes::Flags;

    use super::{super::table::Folder, *};

    const KEYWORDS: &[u8] = b"0 $Label1\n1 project-x\n2 Junk\n";

    /// Three messages: `a` has the first keyword, `b` the first and the second, `c` the third.
    fn meant(file: &[u8]) -> Vec<(usize, String)> {
        let mut replay = Replay::new(State::empty(), Limits::default());
        replay.enter(&RawLogHeader::first(7, 2, 1, 1)).unwrap();
        let state = replay.finish();
        let uids = |uids: &[u32]| uids.iter().map(|n| Uid::new(*n).unwrap()).collect::<UidSet>();
        let mut t = Transaction::new();
        (1..=3).for_each(|n| t.append(Uid::new(n).unwrap(), Flags::NONE));
        for (name, of) in [("$Label1", &[1, 2][..]), ("project-x", &[2]), ("Junk", &[3])] {
            t.keyword(KeywordAction::Add, &Keyword::new(name).unwrap(), &uids(of), Origin::External);
        }
        let state = t.encode(&state).unwrap().iter().fold(state, |state, piece| {
            let mut replay = Replay::new(state, Limits::default());
            replay.apply(&piece.bytes);
            replay.finish()
        });
        let list = Uidlist::parse(b"3 V5 N4 Gb90cef286a74026beb430000c17ffdbc\n1 :a\n2 :b\n3 :c\n");
        let listed =
            [&b"a:2,a"[..], b"b:2,ab", b"c:2,c"].map(|name| Listed { folder: Folder::Cur, name: name.to_vec() });
        let mut keywords = Keywords::parse(file);
        let meant = misspelt(&keywords, &list, &listed, &state);
        meant.iter().for_each(|(letter, keyword)| keywords.rename(*letter, keyword));
        assert!(meant.is_empty() || keywords == Keywords::parse(KEYWORDS), "{keywords:?}");
        meant.into_iter().map(|(letter, keyword)| (letter, keyword.as_str().to_owned())).collect()
    }

    #[test]
    fn a_changed_byte_is_told_by_the_index() {
        assert_eq!(meant(KEYWORDS), []);
        assert_eq!(meant(b"0 $Label1\n1 project-y\n2 Junk\n"), [(1, "project-x".to_owned())]);
        let both = [(2, "Junk".to_owned()), (1, "project-x".to_owned())];
        assert_eq!(meant(b"0 $Label1\n2 project-x\n2 Junk\n"), both, "its number is another's now");
        assert_eq!(meant(b"0 $Label1\n"), [], "lines that are gone come back by themselves");
    }
}
