//! FETCH and UID FETCH (RFC 3501 §6.4.5, RFC 7162 §3.1.4, §3.2.6), streamed in steps.
//!
//! A step scans a batch of rows or reads a piece of a body and appends to the output until that is full; then the
//! client takes it, and the next step follows. `\Seen` is set by one batch for all messages of a scan whose text was
//! begun.

mod binary;
mod plan;
mod run;
mod text;

use imap_proto::{
    Fetch, FetchItem, MessageSet, Tag,
    write::{Code, Vanished},
};
use mailstore::{Columns, Cursor, Rows, ScanBudget, StorageError};
use mailtypes::{ModSeq, UidSet};

use crate::{
    codes::{EXPUNGED, Target},
    end::End,
    selected::{Selected, write_vanished},
    session::{Commit, Session, committed},
    store::{BAD_SEQUENCE, uids_of},
    sync::Sync,
};

use self::{
    binary::BinaryFailure,
    plan::Plan,
    run::{FetchRun, Progress},
};

/// Most messages whose flags are told without a hop to the pool.
const HERE_MESSAGES_MAX: u64 = 4096;

/// How a FETCH went.
struct Fetched {
    /// Some of the messages are gone.
    missing: bool,
    /// Why some could not be served.
    failed: Option<StorageError>,
    /// Why some parts could not be decoded.
    undecodable: Option<BinaryFailure>,
}

impl Session {
    pub(crate) async fn fetch(&mut self, tag: &Tag, fetch: Fetch) -> Result<(), End> {
        let Fetch { uid, set, mut items, changed_since, vanished } = fetch;
        if vanished && !self.features.qresync {
            return self.bad(tag, "QRESYNC is not enabled.");
        }
        if changed_since.is_some() && !items.contains(&FetchItem::ModSeq) {
            items.push(FetchItem::ModSeq);
        }
        if items.contains(&FetchItem::ModSeq) {
            self.enable_condstore();
        }
        let Some(mut uids) = self.here(|selected, _| uids_of(selected, uid, &set))? else {
            return self.bad(tag, BAD_SEQUENCE);
        };
        let Some(plan) = Plan::new(uid, items) else {
            return self.bad(tag, "Item is not supported.");
        };
        if let Some(since) = changed_since {
            let among = vanished.then(|| self.here(|selected, _| used_uids_of(selected, &set))).transpose()?;
            match self.changed(since, among, uids).await? {
                Ok(changed) => uids = changed,
                Err(error) => return self.storage_error(tag, "FETCH", &error, Target::Other),
            }
        }
        let fetched = self.fetch_all(plan, uids).await?;
        let highest = self.sync(Sync::after_message_command(uid)).await?;
        let is_served = matches!(&fetched, Ok(Fetched { missing, failed: None, undecodable: None }) if uid || !missing);
        if is_served {
            return self.answer_synced(tag, Ok(highest), None, "Fetch completed.");
        }
        self.tell_highest(highest);
        match fetched {
            Ok(Fetched { failed: Some(error), .. }) | Err(error) => {
                self.storage_error(tag, "FETCH", &error, Target::Other)
            }
            Ok(Fetched { undecodable: Some(failure), .. }) => {
                let (code, text) = failure.answer().unzip();
                self.no(tag, code, text.unwrap_or("A part cannot be decoded."))
            }
            // RFC 2180 §4.1.2. A UID that names nothing is no error (RFC 3501 §6.4.8).
            Ok(_) => self.no(tag, Some(Code::ExpungeIssued), EXPUNGED),
        }
    }

    /// Tells which of `gone_among` vanished since a mod-sequence, and which of `uids` changed, with their flags: what a
    /// client that comes back is told (RFC 7162 §3.2.5.1).
    pub(crate) async fn fetch_changes(
        &mut self,
        since: ModSeq,
        gone_among: UidSet,
        uids: UidSet,
    ) -> Result<Result<(), StorageError>, End> {
        let changed = match self.changed(since.value(), Some(gone_among), uids).await? {
            Ok(changed) => changed,
            Err(error) => return Ok(Err(error)),
        };
        let items = vec![FetchItem::Uid, FetchItem::Flags, FetchItem::ModSeq];
        let Some(plan) = Plan::new(true, items) else { return Ok(Ok(())) };
        Ok(self.fetch_all(plan, changed).await?.map(drop))
    }

    /// Tells which messages vanished, if that is asked for, and finds those of `uids` with a larger mod-sequence.
    async fn changed(
        &mut self,
        since: u64,
        gone_among: Option<UidSet>,
        uids: UidSet,
    ) -> Result<Result<UidSet, StorageError>, End> {
        self.on_selected(move |selected, out| {
            if let Some(among) = gone_among {
                let gone = selected.view.vanished(ModSeq::new(since).unwrap_or(ModSeq::MIN), &among)?;
                write_vanished(out, Vanished::Earlier, &gone);
            }
            let (mut changed, mut rows, mut at) = (UidSet::new(), Rows::new(), Some(Cursor::START));
            while let Some(from) = at {
                rows.clear();
                at = selected.view.scan(&uids, from, &Columns::flags(), ScanBudget::default(), &mut rows)?;
                changed.extend(rows.rows.iter().filter(|row| row.modseq.value() > since).map(|row| row.uid));
            }
            Ok(changed)
        })
        .await
    }

    async fn fetch_all(&mut self, plan: Plan, uids: UidSet) -> Result<Result<Fetched, StorageError>, End> {
        let read_only = self.here(|selected, _| selected.read_only)?;
        let here = plan.only_flags() && uids.count() <= HERE_MESSAGES_MAX;
        let run = Box::new(FetchRun::new(plan, uids, read_only, self.features));
        self.run_fetch(run, here).await
    }

    async fn run_fetch(&mut self, mut run: Box<FetchRun>, here: bool) -> Result<Result<Fetched, StorageError>, End> {
        let step_len = self.ctx.limits.output_step_len;
        let mut seen: Option<Commit> = None;
        let mut may_follow = true;
        loop {
            let step = move |selected: &mut Selected, out: &mut Vec<u8>| {
                let progress = run.step(selected, out, step_len);
                (run, progress)
            };
            let (back, progress) = if here { self.here(step)? } else { self.on_selected(step).await? };
            run = back;
            self.counts.fetched += std::mem::take(&mut run.fetched);
            self.counts.bodies += std::mem::take(&mut run.bodies);
            // At most one commit is in flight; the output goes on meanwhile.
            if let Some(commit) = run.seen_commit.take()
                && let Some(before) = seen.replace(commit)
                && let Err(error) = committed(before).await
            {
                return Ok(Err(error));
            }
            match progress {
                Ok(Progress::More) => self.wire.flush().await.map_err(End::midway)?,
                Ok(Progress::Done) => break,
                Err(run::Failed::Command(error)) => {
                    if !(std::mem::take(&mut may_follow) && self.has_followed(&error).await?) {
                        return Ok(Err(error));
                    }
                }
                Err(run::Failed::Session(text)) => return Err(End::Internal(text)),
            }
        }
        if let Some(commit) = seen
            && let Err(error) = committed(commit).await
        {
            return Ok(Err(error));
        }
        Ok(Ok(Fetched { missing: run.missing, failed: run.failed.take(), undecodable: run.undecodable.take() }))
    }
}

/// The UIDs that a set names, of messages that are there or were; `*` is the last that was.
fn used_uids_of(selected: &Selected, set: &MessageSet) -> UidSet {
    match set {
        MessageSet::Numbers(set) => set.resolve(selected.view.uid_next().value().saturating_sub(1)),
        MessageSet::SavedResult => selected.saved_result(),
    }
}
