//! EXPUNGE and UID EXPUNGE (RFC 3501 §6.4.3, RFC 4315 §2.1).

use imap_proto::{MessageSet, Tag, write::Code};
use mailstore::{Batch, Columns, Cursor, Expunges, Result as StorageResult, Rows, ScanBudget, StorageError, View};
use mailtypes::{Flag, UidSet};

use crate::{
    codes::Target,
    end::End,
    session::{Session, committed, in_flight},
    store::uids_of,
    sync::Sync,
};

/// What a client is told that may not change the mailbox.
pub(crate) const READ_ONLY: &str = "Mailbox is read-only.";

impl Session {
    pub(crate) async fn expunge(&mut self, tag: &Tag, within: Option<MessageSet>) -> Result<(), End> {
        if self.here(|selected, _| selected.read_only)? {
            return self.no(tag, Some(Code::ReadOnly), READ_ONLY);
        }
        match self.expunge_deleted(within).await? {
            Ok(expunged) => self.finish_expunge(tag, Sync::ALL, expunged, "Expunge completed.").await,
            Err(error) => self.storage_error(tag, "EXPUNGE", &error, Target::Other),
        }
    }

    /// Expunges the messages with `\Deleted`, or those of them that a UID set names. Says how many.
    pub(crate) async fn expunge_deleted(&mut self, within: Option<MessageSet>) -> Result<StorageResult<u64>, End> {
        match self.try_expunge_deleted(within.clone()).await? {
            Err(error) if self.has_followed(&error).await? => self.try_expunge_deleted(within).await,
            other => Ok(other),
        }
    }

    async fn try_expunge_deleted(&mut self, within: Option<MessageSet>) -> Result<StorageResult<u64>, End> {
        let submitted = self.on_selected(move |selected, _| -> StorageResult<_> {
            // What others have deleted or expunged by now counts.
            selected.sync(Expunges::Hold)?;
            let among = match within {
                Some(within) => uids_of(selected, true, &within).unwrap_or_default(),
                None => selected.view.uids(),
            };
            let deleted = deleted(&*selected.view, &among)?;
            if deleted.is_empty() {
                return Ok(None);
            }
            selected.mailbox.submit(Batch::new().expunge(deleted)).map(in_flight).map(Some)
        });
        Ok(match submitted.await? {
            Ok(Some(commit)) => committed(commit).await.map(|committed| committed.expunged.count()),
            Ok(None) => Ok(0),
            Err(error) => Err(error),
        })
    }
}

/// Those of `among` that are flagged so. Costs index records only.
fn deleted(view: &dyn View, among: &UidSet) -> Result<UidSet, StorageError> {
    let mut deleted = UidSet::new();
    let mut rows = Rows::new();
    let mut at = Some(Cursor::START);
    while let Some(from) = at {
        rows.clear();
        at = view.scan(among, from, &Columns::flags(), ScanBudget::default(), &mut rows)?;
        let flagged = rows.rows.iter().filter(|row| !row.expunged && row.flags.contains(Flag::Deleted));
        deleted.extend(flagged.map(|row| row.uid));
    }
    Ok(deleted)
}
