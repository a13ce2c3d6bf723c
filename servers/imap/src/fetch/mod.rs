//! FETCH and UID FETCH (RFC 3501 §6.4.5), streamed in steps.
//!
//! A step scans a batch of rows or reads a piece of a body and appends to the output until that is full; then the
//! client takes it, and the next step follows. `\Seen` is set by one batch for all messages of a scan whose text was
//! begun.

mod plan;
mod run;
mod text;

use imap_proto::{Fetch, Tag, write::Code};
use mailstore::StorageError;

use crate::{
    codes::Target,
    end::End,
    selected::Selected,
    session::{Commit, Session, committed},
    store::{BAD_SEQUENCE, uids_of},
    sync::Sync,
};

use self::{
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
}

impl Session {
    pub(crate) async fn fetch(&mut self, tag: &Tag, fetch: Fetch) -> Result<(), End> {
        if fetch.changed_since.is_some() || fetch.vanished {
            return self.bad(tag, "CHANGEDSINCE is not supported.");
        }
        let uid = fetch.uid;
        let Some(uids) = self.here(|selected, _| uids_of(selected, uid, &fetch.set))? else {
            return self.bad(tag, BAD_SEQUENCE);
        };
        let Some(plan) = Plan::new(uid, fetch.items) else {
            return self.bad(tag, "Item is not supported.");
        };
        let read_only = self.here(|selected, _| selected.read_only)?;
        let here = plan.only_flags() && uids.count() <= HERE_MESSAGES_MAX;
        let run = Box::new(FetchRun::new(plan, uids, read_only));
        let fetched = self.run_fetch(run, here).await?;
        self.sync(Sync::after_message_command(uid)).await?;
        match fetched {
            Ok(Fetched { failed: Some(error), .. }) | Err(error) => {
                self.storage_error(tag, "FETCH", &error, Target::Other)
            }
            // RFC 2180 §4.1.2. A UID that names nothing is no error (RFC 3501 §6.4.8).
            Ok(Fetched { missing: true, .. }) if !uid => {
                self.no(tag, Some(Code::ExpungeIssued), "Some of the requested messages no longer exist.")
            }
            Ok(_) => {
                self.ok(tag, "Fetch completed.");
                Ok(())
            }
        }
    }

    async fn run_fetch(&mut self, mut run: Box<FetchRun>, here: bool) -> Result<Result<Fetched, StorageError>, End> {
        let step_len = self.ctx.limits.output_step_len;
        let mut seen: Option<Commit> = None;
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
                Err(run::Failed::Command(error)) => return Ok(Err(error)),
                Err(run::Failed::Session(text)) => return Err(End::Internal(text)),
            }
        }
        if let Some(commit) = seen
            && let Err(error) = committed(commit).await
        {
            return Ok(Err(error));
        }
        Ok(Ok(Fetched { missing: run.missing, failed: run.failed.take() }))
    }
}
