//! The maildrop: INBOX as it was at login, and what the session wants done to it at QUIT (RFC 1939 §5, §6).
//!
//! Invariants:
//! - Message numbers never change: the view is never synced.
//! - Nothing is changed in the store before [`Maildrop::changes`] is committed.
//! - A message costs 8 bytes and two bits, and what its unique id costs beyond its UID; a session costs what is read ahead.

use std::sync::Arc;

use mailstore::{
    Batch, Body, Column, Columns, Cursor, FlagAction, FlagChange, MailStorage, Mailbox, Result, Rows, ScanBudget, View,
    ViewAs,
};
use mailtypes::{Flag, Flags, Keyword, MailboxName, Uid, UidSet, UidValidity};

use crate::{DeleteType, Options, ahead::Ahead, marks::Marks, reply::Refusal};

/// INBOX as it was at login.
pub(crate) struct Maildrop {
    pub(crate) mailbox: Arc<dyn Mailbox>,
    pub(crate) view: Box<dyn View>,
    messages: Vec<Message>,
    /// Sizes that do not fit a message's own field: index and size, ascending.
    large: Vec<(u32, u64)>,
    total: u64,
    deleted: Marks,
    deleted_size: u64,
    /// Shown by RETR.
    seen: Marks,
    /// The highest index shown or deleted, plus one (LAST of RFC 1460).
    last: usize,
    /// What is likely to be asked for next.
    pub(crate) ahead: Ahead,
}

#[derive(Clone, Copy, Debug)]
struct Message {
    uid: Uid,
    /// With CR LF line ends; [`LARGE`] if it is in the other table.
    size: u32,
}

const LARGE: u32 = u32::MAX;

/// A maildrop that is being opened: what was read of it so far.
pub(crate) struct Opening {
    maildrop: Maildrop,
    uids: UidSet,
    at: Option<Cursor>,
    rows: Rows,
    hidden: Option<Keyword>,
}

impl Opening {
    /// Opens INBOX. The rest is done in steps.
    pub(crate) fn new(storage: &dyn MailStorage, options: &Options) -> Result<Self> {
        let mailbox = storage.mailbox(&MailboxName::inbox())?;
        let view = mailbox.view(&ViewAs { takes_recent: !options.no_flag_updates })?;
        let uids = view.uids();
        let maildrop = Maildrop {
            mailbox,
            messages: Vec::with_capacity(view.message_count() as usize),
            view,
            large: Vec::new(),
            total: 0,
            deleted: Marks::default(),
            deleted_size: 0,
            seen: Marks::default(),
            last: 0,
            ahead: Ahead::default(),
        };
        let hidden = match &options.delete {
            DeleteType::Expunge => None,
            DeleteType::Flag(keyword) => Some(keyword.clone()),
        };
        let at = (!uids.is_empty()).then_some(Cursor::START);
        Ok(Self { maildrop, uids, at, rows: Rows::new(), hidden })
    }

    /// Reads sizes for a step's time. Says whether all are read.
    pub(crate) fn step(&mut self) -> Result<bool> {
        let Some(at) = self.at else { return Ok(true) };
        self.rows.clear();
        let columns = Columns::flags().with(Column::Size);
        self.at = self.maildrop.view.scan(&self.uids, at, &columns, ScanBudget::default(), &mut self.rows)?;
        for row in self.rows.rows.iter().filter(|row| !row.expunged) {
            let hidden = |keyword: &Keyword| self.rows.keywords(row).contains(keyword);
            if let Some(size) = row.size
                && !self.hidden.as_ref().is_some_and(hidden)
            {
                self.maildrop.push(row.uid, size);
            }
        }
        if self.at.is_none() {
            self.maildrop.view.flush_cache();
        }
        Ok(self.at.is_none())
    }

    pub(crate) fn finish(self) -> Maildrop {
        self.maildrop
    }
}

impl Maildrop {
    fn push(&mut self, uid: Uid, size: u64) {
        let small = u32::try_from(size).ok().filter(|&size| size != LARGE);
        if small.is_none() {
            self.large.push((self.messages.len() as u32, size));
        }
        self.messages.push(Message { uid, size: small.unwrap_or(LARGE) });
        self.total += size;
    }

    /// How many numbers there are, deleted messages included.
    pub(crate) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Messages that are not deleted, and their size together: STAT.
    pub(crate) fn stat(&self) -> (usize, u64) {
        (self.messages.len() - self.deleted.count(), self.total - self.deleted_size)
    }

    /// The index of a number that a client gave, if the message is there and not deleted.
    pub(crate) fn find(&self, number: u64) -> std::result::Result<usize, Refusal> {
        let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
        match index.filter(|&index| index < self.messages.len()) {
            Some(index) if self.deleted.contains(index) => Err(Refusal::DELETED),
            Some(index) => Ok(index),
            None => Err(Refusal::NO_SUCH_MESSAGE),
        }
    }

    /// The first index from `from` on that is not deleted.
    pub(crate) fn next_shown(&self, from: usize) -> Option<usize> {
        (from..self.messages.len()).find(|&index| !self.deleted.contains(index))
    }

    pub(crate) fn size(&self, index: usize) -> u64 {
        let size = self.messages.get(index).map_or(0, |message| message.size);
        if size < LARGE {
            return u64::from(size);
        }
        let large = self.large.binary_search_by_key(&(index as u32), |&(index, _)| index);
        large.ok().and_then(|at| self.large.get(at)).map_or(0, |&(_, size)| size)
    }

    pub(crate) fn uid(&self, index: usize) -> Option<Uid> {
        self.messages.get(index).map(|message| message.uid)
    }

    pub(crate) fn index_of(&self, uid: Uid) -> Option<usize> {
        self.messages.binary_search_by_key(&uid, |message| message.uid).ok()
    }

    pub(crate) fn uid_validity(&self) -> UidValidity {
        self.view.uid_validity()
    }

    pub(crate) fn delete(&mut self, index: usize) {
        self.deleted_size += self.size(index);
        self.deleted.insert(index);
        self.last = self.last.max(index + 1);
    }

    /// RSET: nothing is deleted, and nothing counts as shown.
    pub(crate) fn reset(&mut self) {
        self.seen = Marks::default();
        self.deleted = Marks::default();
        self.deleted_size = 0;
        self.last = 0;
    }

    /// LAST of RFC 1460.
    pub(crate) fn last(&self) -> usize {
        self.last
    }

    pub(crate) fn deleted_count(&self) -> usize {
        self.deleted.count()
    }

    /// Opens a message.
    pub(crate) fn body(&self, index: usize) -> Result<Box<dyn Body>> {
        match self.uid(index) {
            Some(uid) => self.view.body(uid),
            None => Err(mailstore::StorageError::NotPossible("no such message")),
        }
    }

    /// Notes that RETR shows a message.
    pub(crate) fn mark_shown(&mut self, index: usize) {
        self.seen.insert(index);
        self.last = self.last.max(index + 1);
    }

    /// What is to be committed where the client is lost without QUIT; as in Dovecot, what was shown was seen.
    pub(crate) fn changes_without_quit(&self, options: &Options) -> Option<Batch> {
        let seen = if options.no_flag_updates { UidSet::new() } else { self.uids_of(&self.seen, &Marks::default()) };
        (!seen.is_empty()).then(|| Batch::new().flags(added(seen, Flag::Seen.into(), Vec::new())))
    }

    /// What QUIT is to commit, in one batch; `None` if there is nothing.
    pub(crate) fn changes(&self, options: &Options) -> Option<Batch> {
        let deleted = self.uids_of(&self.deleted, &Marks::default());
        let seen = if options.no_flag_updates { UidSet::new() } else { self.uids_of(&self.seen, &self.deleted) };
        let mut batch = Batch::new();
        if !seen.is_empty() {
            batch = batch.flags(added(seen, Flag::Seen.into(), Vec::new()));
        }
        match &options.delete {
            _ if deleted.is_empty() => {}
            DeleteType::Expunge => batch = batch.expunge(deleted),
            DeleteType::Flag(keyword) => batch = batch.flags(added(deleted, Flags::NONE, vec![keyword.clone()])),
        }
        (!batch.items.is_empty()).then_some(batch)
    }

    fn uids_of(&self, marks: &Marks, without: &Marks) -> UidSet {
        let mut uids = UidSet::new();
        uids.extend(marks.iter().filter(|&index| !without.contains(index)).filter_map(|index| self.uid(index)));
        uids
    }
}

fn added(uids: UidSet, flags: Flags, keywords: Vec<Keyword>) -> FlagChange {
    FlagChange { uids, action: FlagAction::Add, flags, keywords, unchanged_since: None }
}
