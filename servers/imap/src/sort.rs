//! SORT and UID SORT (RFC 5256, RFC 5267 §3), by the store's own sort, in steps.

use std::time::Instant;

use imap_proto::{
    SearchReturn, Sort as SortCommand, Tag,
    write::{self, EsearchResult},
};
use mailstore::{
    Result as StorageResult,
    sort::{Sort, SortProgress, SortedMessage},
};
use mailtypes::{ModSeq, SearchKey, SortCriterion, UidSet};

use crate::{
    codes::Target,
    course::Course,
    end::End,
    search::{has_key, highest_modseq, sync_after, with_saved_result},
    selected::Selected,
    session::Session,
};

impl Session {
    pub(crate) async fn sort(&mut self, tag: &Tag, command: SortCommand) -> Result<(), End> {
        let SortCommand { uid, returns, criteria, key } = command;
        let sync = sync_after(uid, &key);
        let asks_modseq = has_key(&key, &|key| matches!(key, SearchKey::ModSeq(_)));
        if asks_modseq {
            self.enable_condstore();
        }
        let saves = returns.is_some_and(|returns| returns.save);
        let mut sorted = self.run_sort(key.clone(), &criteria).await?;
        if let Err(error) = &sorted
            && self.has_followed(error).await?
        {
            sorted = self.run_sort(key, &criteria).await?;
        }
        let sort = match sorted {
            Ok(sort) => sort,
            Err(error) => {
                if saves {
                    self.here(|selected, _| selected.save_result(UidSet::new()))?;
                }
                return self.storage_error(tag, "SORT", &error, Target::Other);
            }
        };
        let modseq = sort.highest_modseq().filter(|_| asks_modseq);
        match returns {
            Some(returns) => self.tell_esort(tag, uid, returns, sort.sorted(), modseq)?,
            None => self.tell_sort(uid, sort.sorted(), modseq).await?,
        }
        self.finish(tag, sync, "Sort completed.").await
    }

    async fn run_sort(&mut self, key: SearchKey, criteria: &[SortCriterion]) -> Result<StorageResult<Box<Sort>>, End> {
        let mut course = Course::new(&key, &self.ctx.limits);
        let sort = self.here(|selected, _| Sort::new(with_saved_result(key, selected), criteria, &*selected.view))?;
        let mut sort = match sort {
            Ok(sort) => Box::new(sort),
            Err(error) => return Ok(Err(error)),
        };
        loop {
            let budget = course.budget();
            let step = move |selected: &mut Selected, _: &mut Vec<u8>| {
                let began = Instant::now();
                let progress = sort.step(&*selected.view, budget());
                (sort, progress, began.elapsed())
            };
            let (back, progress, took) = self.on_selected(step).await?;
            sort = back;
            match progress {
                Ok(SortProgress::Done) => return Ok(Ok(sort)),
                Ok(SortProgress::Running) => {}
                Err(error) => return Ok(Err(error)),
            }
            if let Err(error) = self.go_on(&mut course, took).await? {
                return Ok(Err(error));
            }
        }
    }

    /// `* SORT`, sent in pieces where it is long.
    async fn tell_sort(&mut self, uid: bool, sorted: &[SortedMessage], mod_seq: Option<ModSeq>) -> Result<(), End> {
        self.wire.output.extend_from_slice(b"* SORT");
        for message in sorted {
            self.wire.output.push(b' ');
            write::number(&mut self.wire.output, number(uid, message));
            if self.wire.output.len() >= self.ctx.limits.output_step_len {
                self.wire.flush().await.map_err(End::midway)?;
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

    /// `* ESEARCH`: the first and the last are those in the order of the sort.
    fn tell_esort(
        &mut self,
        tag: &Tag,
        uid: bool,
        returns: SearchReturn,
        sorted: &[SortedMessage],
        mod_seq: Option<ModSeq>,
    ) -> Result<(), End> {
        let SearchReturn { min, max, all, count, save } = returns;
        // RFC 4731 §3.2, RFC 5182 §2.1: what is told is what is saved, and what the mod-sequence is of.
        let only_ends = (min || max) && !all && !count;
        let told: UidSet = match only_ends {
            true => {
                let ends = [sorted.first().filter(|_| min), sorted.last().filter(|_| max)];
                ends.into_iter().flatten().map(|message| message.uid).collect()
            }
            false => sorted.iter().map(|message| message.uid).collect(),
        };
        let mod_seq = match mod_seq {
            Some(_) if only_ends => self.here(|selected, _| highest_modseq(&*selected.view, &told))?,
            of_all => of_all,
        };
        let first = sorted.first().map(|message| number(uid, message));
        let last = sorted.last().map(|message| number(uid, message));
        let numbers: Vec<u32> = sorted.iter().filter(|_| all).map(|message| number(uid, message)).collect();
        if min || max || all || count || mod_seq.is_some() {
            let result = EsearchResult {
                uid,
                min: first.filter(|_| min),
                max: last.filter(|_| max),
                sorted: Some(&numbers),
                count: count.then(|| u32::try_from(sorted.len()).unwrap_or(u32::MAX)),
                mod_seq,
                ..EsearchResult::default()
            };
            write::esearch(&mut self.wire.output, tag, &result);
        }
        if save {
            self.here(|selected, _| selected.save_result(told))?;
        }
        Ok(())
    }
}

fn number(uid: bool, message: &SortedMessage) -> u32 {
    if uid { message.uid.value() } else { message.seq.value() }
}
