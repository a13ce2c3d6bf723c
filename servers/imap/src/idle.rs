//! IDLE (RFC 2177): waits for the client's DONE, and meanwhile tells what changes.

use std::{sync::Arc, time::Duration};

use imap_proto::{
    Tag,
    write::{self, Status},
};
use mailstore::Watch;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};
use tracing::warn;

use crate::{
    end::End,
    session::{Incoming, Session},
    sync::Sync,
    wire::Waited,
};

/// Between two looks at a mailbox that changes all the time.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);

/// What an idle session waited for.
enum Woken {
    Input(Waited),
    Changed,
}

impl Session {
    pub(crate) async fn idle(&mut self, tag: &Tag) -> Result<(), End> {
        let changed = Arc::new(Notify::new());
        // Watched before the first look, so that no change falls between the two.
        let watch = self.watch(&changed).await?;
        write::continuation(&mut self.wire.output, "idling");
        self.decoder.begin_idle();
        let ended = self.wait_for_done(tag, &changed).await;
        drop(watch);
        ended
    }

    async fn watch(&mut self, changed: &Arc<Notify>) -> Result<Option<Box<dyn Watch>>, End> {
        if self.state.selected().is_none() {
            return Ok(None);
        }
        let wake = Arc::clone(changed);
        let step = move |selected: &mut crate::selected::Selected, _: &mut Vec<u8>| {
            selected.mailbox.watch(Arc::new(move || wake.notify_one()))
        };
        match self.on_selected(step).await? {
            Ok(watch) => Ok(Some(watch)),
            Err(error) => {
                // The client is told of changes at its next command at the latest.
                warn!(user = %self.user_for_log(), %error, "cannot watch the selected mailbox");
                Ok(None)
            }
        }
    }

    async fn wait_for_done(&mut self, tag: &Tag, changed: &Notify) -> Result<(), End> {
        let deadline = Instant::now() + self.ctx.limits.idle_timeout;
        self.sync_idle().await?;
        loop {
            match self.decode(&mut Vec::new()) {
                Some(Incoming::IdleDone) => return self.finish(tag, Sync::ALL, "Idle completed.").await,
                Some(Incoming::Error(error)) if error.is_fatal() => return self.command_error(&error),
                Some(_) => return self.bad(tag, "Expected DONE."),
                None => {}
            }
            self.wire.flush().await?;
            let now = Instant::now();
            if now >= deadline {
                return Err(End::Inactive);
            }
            // A client without news is told that the connection lives: translators of addresses forget silent ones.
            let time = self.ctx.options.idle_notify_interval.min(deadline - now);
            let woken = tokio::select! {
                read = self.wire.read(time) => Woken::Input(read?),
                () = changed.notified() => Woken::Changed,
            };
            match woken {
                Woken::Input(Waited::Input) => {}
                Woken::Input(Waited::TimedOut) => {
                    write::untagged_status(&mut self.wire.output, Status::Ok, None, "Still here");
                }
                Woken::Changed => {
                    self.sync_idle().await?;
                    self.wire.flush().await?;
                    // Wakes that come meanwhile are kept, as one.
                    sleep_until(now + LOOK_INTERVAL).await;
                }
            }
        }
    }

    async fn sync_idle(&mut self) -> Result<(), End> {
        let highest = self.sync(Sync::ALL).await?;
        self.tell_highest(highest);
        Ok(())
    }
}
