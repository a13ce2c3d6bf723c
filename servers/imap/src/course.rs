//! The course of a SEARCH, SORT or THREAD: many steps, between which others have their turn, and which together may take
//! no longer than `search_timeout`.
//!
//! What is counted is the time that the steps themselves take, so that a busy host refuses nobody what an idle one would
//! do. The client is told now and then that it goes on, which also shows whether the client is still there: commands that
//! it sent ahead are not looked at before this one is done, LOGOUT neither (RFC 3501 §5.5 has them carried out in order).

use std::time::{Duration, Instant};

use culver_runtime::Limits;
use imap_proto::write::{self, Status};
use mailstore::{ScanBudget, StorageError};
use mailtypes::SearchKey;

use crate::{end::End, session::Session};

/// So many keys judge so many messages in the time of one step.
const KEYS_A_STEP: usize = 64;
/// A step looks at so many messages, however many keys there are.
const ROWS_MIN: usize = 32;

/// See the module.
pub(crate) struct Course {
    /// What the steps may take yet.
    left: Duration,
    /// When the client was last told something.
    told: Instant,
    /// Messages that a step looks at.
    rows: usize,
}

impl Course {
    /// At the beginning of a search by this key.
    pub(crate) fn new(key: &SearchKey, limits: &Limits) -> Self {
        let rows = ScanBudget::default().rows * KEYS_A_STEP / count(key).max(KEYS_A_STEP);
        Self { left: limits.search_timeout, told: Instant::now(), rows: rows.max(ROWS_MIN) }
    }

    /// What the next step may take; to be asked for when it begins.
    pub(crate) fn budget(&self) -> impl FnOnce() -> ScanBudget + Send + 'static {
        let (rows, left) = (self.rows, self.left);
        move || {
            let budget = ScanBudget { rows, ..ScanBudget::default() };
            let last = Instant::now().checked_add(left);
            ScanBudget { until: [budget.until, last].into_iter().flatten().min(), ..budget }
        }
    }
}

impl Session {
    /// After a step that took so long and was not the last. An error where it must not go on: of the command, or of the
    /// session.
    pub(crate) async fn go_on(&mut self, course: &mut Course, took: Duration) -> Result<Result<(), StorageError>, End> {
        if self.wire.is_stopping() {
            return Err(End::Stopping);
        }
        course.left = course.left.saturating_sub(took);
        if course.left.is_zero() {
            let limit = self.ctx.limits.search_timeout.as_secs();
            return Ok(Err(StorageError::Limit { name: "search_timeout", limit }));
        }
        if course.told.elapsed() >= self.ctx.options.search_notify_interval {
            write::untagged_status(&mut self.wire.output, Status::Ok, None, "Still searching.");
            self.wire.flush().await?;
            course.told = Instant::now();
        }
        tokio::task::yield_now().await;
        Ok(Ok(()))
    }
}

/// Keys in a key. Recurses as deep as the parser lets keys be.
fn count(key: &SearchKey) -> usize {
    match key {
        SearchKey::And(keys) => keys.iter().map(count).sum(),
        SearchKey::Or(a, b) => count(a) + count(b),
        SearchKey::Not(key) => count(key),
        _ => 1,
    }
}
