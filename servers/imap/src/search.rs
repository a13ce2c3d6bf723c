//! SEARCH and UID SEARCH (RFC 3501 §6.4.4, RFC 4731, RFC 5182, RFC 7162 §3.1.5), by the store's own search, in steps.

use std::time::Instant;

use imap_proto::{
    Search as SearchCommand, SearchReturn, Tag,
    write::{self, EsearchResult},
};
use mailstore::{
    Columns, Cursor, Expunges, Result as StorageResult, Rows, ScanBudget, View,
    search::{Search, SearchProgress},
};
use mailtypes::{ModSeq, SearchKey, SequenceBound, SequenceSet, Uid, UidSet};

use crate::{
    codes::Target, course::Course, end::End, selected::Selected, session::Session, store::seqs_of, sync::Sync,
};

/// What a search found.
pub(crate) struct Found {
    pub(crate) uids: UidSet,
    /// The largest mod-sequence among them.
    pub(crate) highest_modseq: Option<ModSeq>,
}

impl Session {
    pub(crate) async fn search(&mut self, tag: &Tag, command: SearchCommand) -> Result<(), End> {
        let SearchCommand { uid, returns, key, .. } = command;
        let sync = sync_after(uid, &key);
        let asks_modseq = has_key(&key, &|key| matches!(key, SearchKey::ModSeq(_)));
        if asks_modseq {
            self.enable_condstore();
        }
        let saves = returns.is_some_and(|returns| returns.save);
        let mut found = match self.find(key).await? {
            Ok(found) => found,
            Err(error) => {
                if saves {
                    self.here(|selected, _| selected.save_result(UidSet::new()))?;
                }
                return self.storage_error(tag, "SEARCH", &error, Target::Other);
            }
        };
        if let Some(returns) = returns {
            let told = told_by(returns, &found.uids);
            if asks_modseq && told != found.uids {
                found.highest_modseq = self.here(|selected, _| highest_modseq(&*selected.view, &told))?;
            }
            self.here(|selected, out| {
                tell_esearch(out, tag, uid, returns, &*selected.view, &found, asks_modseq);
                if saves {
                    selected.save_result(told);
                }
            })?;
        } else {
            let numbers = match uid {
                true => found.uids,
                false => self.here(|selected, _| seqs_of(&*selected.view, &found.uids))?,
            };
            self.tell_search(&numbers, found.highest_modseq.filter(|_| asks_modseq)).await?;
        }
        self.finish(tag, sync, "Search completed.").await
    }

    /// Finds messages, in steps.
    pub(crate) async fn find(&mut self, key: SearchKey) -> Result<StorageResult<Found>, End> {
        match self.try_find(key.clone()).await? {
            Err(error) if self.has_followed(&error).await? => self.try_find(key).await,
            other => Ok(other),
        }
    }

    async fn try_find(&mut self, key: SearchKey) -> Result<StorageResult<Found>, End> {
        let mut course = Course::new(&key, &self.ctx.limits);
        let search = self.here(|selected, _| {
            let key = with_saved_result(key, selected);
            Search::new(key, &*selected.view)
        })?;
        let mut search = match search {
            Ok(search) => search,
            Err(error) => return Ok(Err(error)),
        };
        let here = search.only_flags();
        loop {
            let budget = course.budget();
            let step = move |selected: &mut Selected, _: &mut Vec<u8>| {
                let began = Instant::now();
                let progress = search.step(&*selected.view, budget());
                (search, progress, began.elapsed())
            };
            let (back, progress, took) = if here { self.here(step)? } else { self.on_selected(step).await? };
            search = back;
            match progress {
                Ok(SearchProgress::Done) => {
                    return Ok(Ok(Found { uids: search.uids(), highest_modseq: search.highest_modseq() }));
                }
                Ok(SearchProgress::Running) => {}
                Err(error) => return Ok(Err(error)),
            }
            if let Err(error) = self.go_on(&mut course, took).await? {
                return Ok(Err(error));
            }
        }
    }

    /// `* SEARCH`, sent in pieces where it is long.
    async fn tell_search(&mut self, found: &UidSet, mod_seq: Option<ModSeq>) -> Result<(), End> {
        self.wire.output.extend_from_slice(b"* SEARCH");
        for n in found.iter() {
            self.wire.output.push(b' ');
            write::number(&mut self.wire.output, n.value());
            if self.wire.output.len() >= self.ctx.limits.output_step_len {
                self.wire.flush().await?;
            }
        }
        if let Some(mod_seq) = mod_seq {
            self.wire.output.extend_from_slice(b" (MODSEQ ");
            write::number(&mut self.wire.output, mod_seq);
            self.wire.output.push(b')');
        }
        self.wire.output.extend_from_slice(b"\r\n");
        Ok(())
    }
}

/// What may be told after a search: sequence numbers in it stand for messages as the client knows them, in UID SEARCH too
/// (RFC 7162 §3.2.10.2).
pub(crate) fn sync_after(uid: bool, key: &SearchKey) -> Sync {
    let mut sync = Sync::after_message_command(uid);
    if has_key(key, &|key| matches!(key, SearchKey::Sequence(_))) {
        sync.expunges = Expunges::Hold;
    }
    sync
}

/// Whether a key is in a key. Recurses as deep as the parser lets keys be.
pub(crate) fn has_key(key: &SearchKey, is_it: &impl Fn(&SearchKey) -> bool) -> bool {
    match key {
        SearchKey::And(keys) => keys.iter().any(|key| has_key(key, is_it)),
        SearchKey::Or(a, b) => has_key(a, is_it) || has_key(b, is_it),
        SearchKey::Not(key) => has_key(key, is_it),
        key => is_it(key),
    }
}

/// Puts the messages that `$` names in its place. Recurses as deep as the parser lets keys be.
pub(crate) fn with_saved_result(key: SearchKey, selected: &Selected) -> SearchKey {
    let put = |key| with_saved_result(key, selected);
    match key {
        SearchKey::And(keys) => SearchKey::And(keys.into_iter().map(put).collect()),
        SearchKey::Or(a, b) => SearchKey::Or(Box::new(put(*a)), Box::new(put(*b))),
        SearchKey::Not(key) => SearchKey::Not(Box::new(put(*key))),
        SearchKey::SavedResult => {
            let bound = |uid: &Uid| SequenceBound::Number(uid.value());
            let saved = selected.saved_result();
            SearchKey::Uid(SequenceSet(
                saved.ranges().map(|range| (bound(range.start()), bound(range.end()))).collect(),
            ))
        }
        key => key,
    }
}

/// The messages that an answer names: the first and last alone, where only they were asked for (RFC 4731 §3.2, RFC 5182
/// §2.4).
fn told_by(returns: SearchReturn, found: &UidSet) -> UidSet {
    let SearchReturn { min, max, all, count, .. } = returns;
    if all || count || !(min || max) {
        return found.clone();
    }
    let ends = [found.first().filter(|_| min), found.last().filter(|_| max)];
    ends.into_iter().flatten().collect()
}

/// The largest mod-sequence of a few messages; costs index records only.
pub(crate) fn highest_modseq(view: &dyn View, uids: &UidSet) -> Option<ModSeq> {
    let mut rows = Rows::new();
    view.scan(uids, Cursor::START, &Columns::flags(), ScanBudget::default(), &mut rows).ok()?;
    rows.rows.iter().map(|row| row.modseq).max()
}

/// Writes ESEARCH. A result that is only saved is not told (RFC 5182 §2.1).
fn tell_esearch(
    out: &mut Vec<u8>,
    tag: &Tag,
    uid: bool,
    returns: SearchReturn,
    view: &dyn View,
    found: &Found,
    asks_modseq: bool,
) {
    let SearchReturn { min, max, all, count, .. } = returns;
    let mod_seq = found.highest_modseq.filter(|_| asks_modseq);
    if !(min || max || all || count || mod_seq.is_some()) {
        return;
    }
    let seqs = (!uid).then(|| seqs_of(view, &found.uids));
    let numbers = seqs.as_ref().unwrap_or(&found.uids);
    let result = EsearchResult {
        uid,
        min: numbers.first().filter(|_| min).map(Uid::value),
        max: numbers.last().filter(|_| max).map(Uid::value),
        all: all.then_some(numbers),
        count: count.then(|| u32::try_from(numbers.count()).unwrap_or(u32::MAX)),
        mod_seq,
        ..EsearchResult::default()
    };
    write::esearch(out, tag, &result);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_saved_is_what_is_told() {
        let uid = |n| Uid::new(n).unwrap();
        let found: UidSet = [2, 10, 11, 21].map(uid).into_iter().collect();
        let told =
            |min, max, all, count| told_by(SearchReturn { min, max, all, count, save: true }, &found).to_string();
        assert_eq!(told(true, false, false, false), "2");
        assert_eq!(told(false, true, false, false), "21");
        assert_eq!(told(true, true, false, false), "2,21");
        for (all, count) in [(true, false), (false, true), (true, true)] {
            assert_eq!(told(true, true, all, count), "2,10:11,21");
        }
        assert_eq!(told(false, false, false, false), "2,10:11,21");
    }
}
