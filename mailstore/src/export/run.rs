//! One export: brings the messages of each mailbox to where they go.

use mailtypes::{InternalDate, MailboxName, Uid, UidSet, UidValidity};

use super::{Destination, ExportFailure, ExportProgress, ExportSummary, Message, WriteError};
use crate::traits::{
    Column, Columns, Cursor, ListPattern, MailStorage, Mailbox, Result, Row, Rows, ScanBudget, StorageError, View,
    ViewAs,
};

type Written = std::result::Result<(), WriteError>;

/// See the module.
pub(super) struct Run<'a> {
    storage: &'a dyn MailStorage,
    to: Box<dyn Destination + 'a>,
    tell: &'a mut dyn FnMut(&ExportProgress),
    summary: ExportSummary,
}

impl<'a> Run<'a> {
    pub(super) fn new(
        storage: &'a dyn MailStorage,
        to: Box<dyn Destination + 'a>,
        tell: &'a mut dyn FnMut(&ExportProgress),
    ) -> Self {
        Self { storage, to, tell, summary: ExportSummary::default() }
    }

    /// Exports all mailboxes that match.
    pub(super) fn all(mut self, mailboxes: &ListPattern) -> Result<ExportSummary> {
        let listed = self.storage.list(mailboxes)?.into_iter().filter(|info| info.selectable);
        let names: Vec<MailboxName> = listed.map(|info| info.name).collect();
        // What is wrong with a mailbox comes out when it is its turn.
        let counts = names.iter().filter_map(|name| self.storage.status(name).ok());
        self.summary.progress.size = counts.map(|status| u64::from(status.messages)).sum();
        for name in &names {
            match self.mailbox(name) {
                Ok(()) => self.summary.progress.mailboxes += 1,
                // It went since.
                Err(WriteError::Source(StorageError::NotFound(_) | StorageError::Deleted(_))) => {}
                Err(WriteError::Source(error)) => self.failed(name, None, error),
                Err(WriteError::Destination(error)) => return Err(error),
            }
            (self.tell)(&self.summary.progress);
        }
        Ok(self.summary)
    }

    fn failed(&mut self, mailbox: &MailboxName, uid: Option<Uid>, error: StorageError) {
        self.summary.progress.failed += 1;
        if self.summary.failures.len() < ExportSummary::FAILURES_MAX {
            self.summary.failures.push(ExportFailure { mailbox: mailbox.clone(), uid, error });
        }
    }

    fn mailbox(&mut self, name: &MailboxName) -> Written {
        let mailbox = self.storage.mailbox(name).map_err(WriteError::Source)?;
        let view = mailbox.view(&ViewAs::default()).map_err(WriteError::Source)?;
        self.to.begin(name)?;
        let mut missing = UidSet::new();
        let written = self.messages(name, &*view, &mut missing);
        if !matches!(written, Err(WriteError::Destination(_))) {
            // Whole as far as it could be read.
            self.to.end().map_err(WriteError::Destination)?;
        }
        written?;
        self.name_missing(name, &*mailbox, &missing)
    }

    /// Exports the messages of a view, and notes those that it shows and that are not there.
    fn messages(&mut self, name: &MailboxName, view: &dyn View, missing: &mut UidSet) -> Written {
        let uids = view.uids();
        let columns = Columns::flags().with(Column::InternalDate).with(Column::Guid);
        let (mut rows, mut at) = (Rows::new(), Some(Cursor::START));
        while let Some(cursor) = at {
            rows.clear();
            match view.scan(&uids, cursor, &columns, ScanBudget::default(), &mut rows) {
                Ok(next) => {
                    rows.rows.iter().try_for_each(|row| self.message(name, view, row, &rows, missing))?;
                    at = next;
                }
                Err(error) => {
                    // The first message is the one that failed: those in front of it would have been brought.
                    let Some(uid) = first_from(&uids, cursor.0).filter(|_| !is_of_mailbox(&error)) else {
                        return Err(WriteError::Source(error));
                    };
                    self.failed(name, Some(uid), error);
                    self.done();
                    at = uid.successor().map(Cursor);
                }
            }
        }
        Ok(())
    }

    fn message(
        &mut self,
        name: &MailboxName,
        view: &dyn View,
        row: &Row,
        rows: &Rows,
        missing: &mut UidSet,
    ) -> Written {
        match self.write(view, row, rows) {
            Err(WriteError::Source(StorageError::Expunged { .. })) => missing.insert(row.uid),
            Err(WriteError::Source(error)) => self.failed(name, Some(row.uid), error),
            written => written?,
        }
        self.done();
        Ok(())
    }

    fn write(&mut self, view: &dyn View, row: &Row, rows: &Rows) -> Written {
        if row.expunged {
            return Err(WriteError::Source(StorageError::Expunged { uid: row.uid }));
        }
        let message = message(view.uid_validity(), row, rows);
        if self.to.has(&message) {
            self.summary.progress.skipped += 1;
            return Ok(());
        }
        let mut body = view.body(row.uid).map_err(WriteError::Source)?;
        self.to.write(&message, &mut *body)?;
        self.summary.progress.exported += 1;
        Ok(())
    }

    fn done(&mut self) {
        self.summary.progress.done += 1;
        (self.tell)(&self.summary.progress);
    }

    /// Names messages that were not there and that the mailbox has still: nobody has expunged them, they are lost.
    fn name_missing(&mut self, name: &MailboxName, mailbox: &dyn Mailbox, missing: &UidSet) -> Written {
        if missing.is_empty() {
            return Ok(());
        }
        let now = mailbox.view(&ViewAs::default()).map_err(WriteError::Source)?;
        for uid in now.uids().intersection(missing).iter() {
            let what = "the mailbox has it, and its file cannot be found".to_owned();
            self.failed(name, Some(uid), StorageError::Io(what.into()));
        }
        Ok(())
    }
}

/// Whether an error is none of a message alone.
fn is_of_mailbox(error: &StorageError) -> bool {
    matches!(
        error,
        StorageError::NotFound(_)
            | StorageError::Deleted(_)
            | StorageError::Moved(_)
            | StorageError::Unavailable(_)
            | StorageError::Fenced(_)
    )
}

/// The first of some UIDs that is not smaller than `at`.
fn first_from(uids: &UidSet, at: Uid) -> Option<Uid> {
    uids.ranges().find(|range| *range.end() >= at).map(|range| (*range.start()).max(at))
}

fn message(uid_validity: UidValidity, row: &Row, rows: &Rows) -> Message {
    Message {
        uid_validity,
        uid: row.uid,
        guid: row.guid.filter(|guid| !guid.is_zero()),
        flags: row.flags,
        keywords: rows.keywords(row).to_vec(),
        date: row.internal_date.unwrap_or(InternalDate::utc(0)),
    }
}
