//! SEARCH and UID SEARCH (RFC 3501 §6.4.4, RFC 4731), by the store's own search, in steps.

use imap_proto::{
    Search as SearchCommand, SearchReturn, Tag,
    write::{self, EsearchResult},
};
use mailstore::{
    ScanBudget, StorageError,
    search::{Search, SearchProgress},
};
use mailtypes::{Uid, UidSet};

use crate::{codes::Target, end::End, selected::Selected, session::Session, sync::Sync};

impl Session {
    pub(crate) async fn search(&mut self, tag: &Tag, command: SearchCommand) -> Result<(), End> {
        let SearchCommand { uid, returns, key, .. } = command;
        if returns.is_some_and(|returns| returns.save) {
            return self.bad(tag, "SEARCHRES is not supported.");
        }
        let search = self.here(|selected, _| Search::new(key, &*selected.view))?;
        let found = match search {
            Ok(search) => self.run_search(search, uid).await?,
            Err(error) => Err(error),
        };
        match found {
            Ok(found) => {
                match returns {
                    Some(returns) => self.tell_esearch(tag, uid, returns, &found),
                    None => self.tell_search(&found).await?,
                }
                self.finish(tag, Sync::after_message_command(uid), "Search completed.").await
            }
            Err(error) => self.storage_error(tag, "SEARCH", &error, Target::Other),
        }
    }

    /// Finds UIDs or sequence numbers.
    async fn run_search(&mut self, mut search: Search, uid: bool) -> Result<Result<UidSet, StorageError>, End> {
        let here = search.only_flags();
        loop {
            let step = move |selected: &mut Selected, _: &mut Vec<u8>| {
                let progress = search.step(&*selected.view, ScanBudget::default());
                let found = matches!(progress, Ok(SearchProgress::Done))
                    .then(|| if uid { search.uids() } else { search.seqs(&*selected.view) });
                (search, progress, found)
            };
            let (back, progress, found) = if here { self.here(step)? } else { self.on_selected(step).await? };
            match (progress, found) {
                (_, Some(found)) => return Ok(Ok(found)),
                (Ok(_), None) => search = back,
                (Err(error), None) => return Ok(Err(error)),
            }
            if self.wire.is_stopping() {
                return Err(End::Stopping);
            }
            tokio::task::yield_now().await;
        }
    }

    /// `* SEARCH`, sent in pieces where it is long.
    async fn tell_search(&mut self, found: &UidSet) -> Result<(), End> {
        self.wire.output.extend_from_slice(b"* SEARCH");
        for n in found.iter() {
            self.wire.output.push(b' ');
            write::number(&mut self.wire.output, n.value());
            if self.wire.output.len() >= self.ctx.limits.output_step_len {
                self.wire.flush().await?;
            }
        }
        self.wire.output.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn tell_esearch(&mut self, tag: &Tag, uid: bool, returns: SearchReturn, found: &UidSet) {
        let result = EsearchResult {
            uid,
            min: returns.min.then(|| found.first().map(Uid::value)).flatten(),
            max: returns.max.then(|| found.last().map(Uid::value)).flatten(),
            all: returns.all.then_some(found),
            count: returns.count.then(|| u32::try_from(found.count()).unwrap_or(u32::MAX)),
            mod_seq: None,
            ..EsearchResult::default()
        };
        write::esearch(&mut self.wire.output, tag, &result);
    }
}
