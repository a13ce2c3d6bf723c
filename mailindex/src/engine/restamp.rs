//! Mod-sequences as another store had them: what a conversion gives a mailbox when all its messages are there.
//!
//! A log counts its own records, and a mod-sequence only grows by what it says; so others than it counted are given where
//! a log begins. It is rotated, the new log starts from the counter wanted, and a snapshot that has the messages'
//! mod-sequences is written at once (`docs/formats/log.md`, "Rotation"; `docs/formats/index.md`, "modseq").
//!
//! # Invariants
//!
//! 1. A crash between the new log and its snapshot leaves the mailbox with all it had, and the mod-sequences that the old
//!    log counted.
//! 2. Nobody but the one who converts uses the mailbox: other processes that have it open keep the mod-sequences that
//!    they have seen until they open it again.

use std::{sync::Arc, time::Duration};

use mailtypes::{ModSeq, Uid};

use super::{
    IndexError, MailboxIndex, Result,
    commit::{settle, with_lock},
    rotate, snapshot_writer,
};

/// How long somebody else who makes a log, or was stopped while he did, is waited for: a little longer than it takes until
/// what he left is stale.
const WAIT_MAX: Duration = Duration::from_secs(70);

/// Pause between two looks.
const PAUSE: Duration = Duration::from_millis(100);

impl MailboxIndex {
    /// Gives messages these mod-sequences and the mailbox this HIGHESTMODSEQ, smaller ones than they have too. Messages
    /// that are not named keep theirs. `modseqs` ascend by UID. Durable when it returns. Costs a snapshot or two.
    pub fn restamp(self: &Arc<Self>, modseqs: &[(Uid, ModSeq)], highest: ModSeq) -> Result<()> {
        let timeout = self.env().options().lock_timeout;
        let (fs, start) = (&**self.env().fs(), self.env().fs().monotonic());
        loop {
            self.write_snapshot()?;
            let done = with_lock(self, timeout, |locked| {
                if locked.state.has_pending() {
                    settle(locked)?;
                }
                let state = locked.state.with_modseqs(modseqs, highest);
                if !rotate::rotate_as(locked, &state)? {
                    return Ok(None);
                }
                let written = snapshot_writer::write_first(locked);
                Ok(Some((locked.publish(), written)))
            })?;
            if let Some((changed, written)) = done {
                self.announce(changed);
                return written;
            }
            if fs.monotonic().saturating_sub(start) > WAIT_MAX {
                break;
            }
            fs.sleep(PAUSE);
        }
        let what = "its log could not be rotated: somebody else makes one all the time".to_owned();
        Err(IndexError::Unwritable { dir: self.paths.dir.clone(), what })
    }
}
