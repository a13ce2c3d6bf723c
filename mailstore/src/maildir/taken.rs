//! Letters that files carry and that `dovecot-keywords` does not know, for it was lost or damaged.
//!
//! Such a letter is nobody's to give away: the messages that carry it would have another keyword. It goes back to the
//! keyword that the index has for just these messages, or gets a name of its own as Dovecot gives it.

use std::collections::BTreeMap;

use mailindex::state::{FlagRequest, State};
use mailtypes::{Keyword, Uid, UidSet};

use super::{
    files::{Known, MaildirFiles},
    name::Letters,
};

/// What is being written at the moment: there index and name differ.
#[derive(Clone, Copy)]
pub(super) struct Writing<'a> {
    /// The messages.
    pub(super) uids: &'a UidSet,
    /// What is asked of them.
    pub(super) asked: &'a [(FlagRequest, UidSet)],
}

impl Writing<'_> {
    /// Whether this keyword is set or removed.
    fn speaks_of(&self, keyword: &Keyword) -> bool {
        self.asked.iter().any(|(request, _)| match request {
            FlagRequest::Keyword(name) => name.eq_ignore_ascii_case(keyword.as_str().as_bytes()),
            FlagRequest::Keywords | FlagRequest::All => true,
            FlagRequest::Flags(_) => false,
        })
    }
}

/// The messages that have something, told by whether they are being written.
#[derive(Default)]
struct Having {
    settled: UidSet,
    written: UidSet,
}

impl Having {
    fn note(&mut self, uid: Uid, written: &UidSet) {
        let set = if written.contains(uid) { &mut self.written } else { &mut self.settled };
        set.insert(uid);
    }

    /// Whether a letter in these names may stand for a keyword of those. `asked`: for one that is just set or removed.
    fn may_be(&self, keyword: &Self, asked: bool) -> bool {
        if asked || !self.settled.is_empty() {
            self.settled == keyword.settled && !self.settled.is_empty()
        } else {
            keyword.settled.is_empty() && self.written == keyword.written
        }
    }
}

impl MaildirFiles {
    /// To be called before a letter is given to a keyword, with the lock held.
    pub(super) fn keep_taken_letters(
        &self,
        known: &mut Known,
        state: &State,
        writing: Option<Writing<'_>>,
    ) -> mailfs::Result<()> {
        if known.keywords.letters() != Letters::ALL {
            self.find_all_again(known)?;
            name_taken_letters(known, state, writing);
        }
        Ok(())
    }
}

/// Names all letters without a keyword that messages of the index carry, where their files were seen last.
pub(super) fn name_taken_letters(known: &mut Known, state: &State, writing: Option<Writing<'_>>) {
    let nothing = UidSet::new();
    let written = writing.map_or(&nothing, |writing| writing.uids);
    let mapped = known.keywords.letters().0;
    let mut carried: BTreeMap<usize, Having> = BTreeMap::new();
    for entry in known.table().iter() {
        let letters = Letters(entry.name_flags().map_or(0, |flags| flags.letters.0 & !mapped));
        if letters != Letters::default() && state.contains(entry.uid) {
            letters.iter().for_each(|letter| carried.entry(letter).or_default().note(entry.uid, written));
        }
    }
    if carried.is_empty() {
        return;
    }
    let homeless = keywords_without_letter(known, state, written);
    for (letter, having) in carried {
        let its = homeless.iter().find(|(keyword, of_it)| {
            let asked = writing.is_some_and(|writing| writing.speaks_of(keyword));
            known.keywords.letter(keyword).is_none() && having.may_be(of_it, asked)
        });
        match its {
            Some((keyword, _)) => known.keywords.give_back(letter, keyword),
            None => {
                known.keywords.invent(letter);
            }
        }
    }
}

/// In the order of the index.
fn keywords_without_letter(known: &Known, state: &State, written: &UidSet) -> Vec<(Keyword, Having)> {
    let mut having: BTreeMap<u16, Having> = BTreeMap::new();
    for record in state.records_from(0) {
        record.keyword_bits().iter().for_each(|bit| having.entry(bit).or_default().note(record.uid(), written));
    }
    let named = having.into_iter().filter_map(|(bit, having)| Some((state.keyword(bit)?.keyword()?.clone(), having)));
    named.filter(|(keyword, _)| known.keywords.letter(keyword).is_none()).collect()
}
