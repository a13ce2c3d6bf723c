//! A FETCH under way: what was scanned, and how far its writing is.

use std::time::{Duration, Instant};

use imap_proto::write::FetchWriter;
use mailstore::{Batch, Cursor, FlagAction, FlagChange, Row, Rows, ScanBudget, StorageError};
use mailtypes::{Flag, InternalDate, UidSet};

use crate::{
    features::Features,
    selected::{FlagsDigest, Selected},
    session::{Commit, in_flight},
};

use super::{
    binary::BinaryFailure,
    plan::{Item, Plan},
    text::{Found, Message},
};

/// How long a step goes on.
const STEP_TIME: Duration = Duration::from_millis(10);

pub(super) struct FetchRun {
    plan: Plan,
    uids: UidSet,
    /// Where to scan on; `None` when all is scanned.
    at: Option<Cursor>,
    rows: Rows,
    next_row: usize,
    now: Option<Message>,
    /// Messages that are to get `\Seen`.
    seen: UidSet,
    sets_seen: bool,
    /// Whether a message's line tells that it is `\Seen` now. If not, the sync does, with the mod-sequence, as RFC 7162
    /// §3.2.4 says.
    tells_seen: bool,
    /// A commit that sets it, for the session to wait for.
    pub(super) seen_commit: Option<Commit>,
    /// Messages were gone.
    pub(super) missing: bool,
    /// Why a message could not be served: the first of them.
    pub(super) failed: Option<StorageError>,
    /// A part could not be decoded (RFC 3516 §4.3): the first of them.
    pub(super) undecodable: Option<BinaryFailure>,
    /// Messages told of without a text, since this was last taken.
    pub(super) fetched: u64,
    /// Messages told of with a text, since this was last taken.
    pub(super) bodies: u64,
}

/// How a step ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Progress {
    /// The output is full.
    More,
    /// All is written.
    Done,
}

/// Why a FETCH cannot go on.
pub(super) enum Failed {
    /// The command fails.
    Command(StorageError),
    /// A literal broke off: the client can no longer follow.
    Session(String),
}

impl FetchRun {
    pub(super) fn new(plan: Plan, uids: UidSet, read_only: bool, features: Features) -> Self {
        let sets_seen = plan.sets_seen && !read_only;
        Self {
            tells_seen: plan.has_flags || !features.condstore,
            plan,
            at: (!uids.is_empty()).then_some(Cursor::START),
            uids,
            rows: Rows::new(),
            next_row: 0,
            now: None,
            seen: UidSet::new(),
            sets_seen,
            seen_commit: None,
            missing: false,
            failed: None,
            undecodable: None,
            fetched: 0,
            bodies: 0,
        }
    }

    /// Writes until the output has `len_max` bytes, or a commit is to be waited for, or all is written. After
    /// [`StorageError::Deleted`] it may be stepped again, if the view has followed the mailbox.
    pub(super) fn step(
        &mut self,
        selected: &mut Selected,
        out: &mut Vec<u8>,
        len_max: usize,
    ) -> Result<Progress, Failed> {
        let until = Instant::now() + STEP_TIME;
        loop {
            if let Some(message) = self.now.take() {
                self.write_message(message, out, len_max)?;
            } else if let Some(&row) = self.rows.rows.get(self.next_row) {
                self.next_row += 1;
                self.begin_message(row, selected, out).map_err(Failed::Command)?;
            } else {
                self.submit_seen(selected).map_err(Failed::Command)?;
                let Some(at) = self.at else { return Ok(Progress::Done) };
                self.scan(at, selected, len_max, until).map_err(Failed::Command)?;
                if self.seen_commit.is_some() {
                    return Ok(Progress::More);
                }
            }
            // Opening messages, and computing what is not cached, takes time without making output.
            let late = || (self.plan.needs_body || self.at_end_of_rows()) && Instant::now() >= until;
            if out.len() >= len_max || late() {
                return Ok(Progress::More);
            }
        }
    }

    fn at_end_of_rows(&self) -> bool {
        self.next_row >= self.rows.rows.len()
    }

    fn scan(&mut self, at: Cursor, selected: &Selected, len_max: usize, until: Instant) -> Result<(), StorageError> {
        self.rows.clear();
        self.next_row = 0;
        let budget = ScanBudget { bytes: len_max, until: Some(until), ..ScanBudget::default() };
        let scanned = selected.view.scan(&self.uids, at, &self.plan.columns, budget, &mut self.rows);
        self.at = scanned.inspect_err(|_| self.rows.clear())?;
        Ok(())
    }

    /// Sets `\Seen` on the messages of the scan that is written.
    fn submit_seen(&mut self, selected: &Selected) -> Result<(), StorageError> {
        if self.seen.is_empty() {
            return Ok(());
        }
        let change = FlagChange {
            uids: std::mem::take(&mut self.seen),
            action: FlagAction::Add,
            flags: Flag::Seen.into(),
            keywords: Vec::new(),
            unchanged_since: None,
        };
        self.seen_commit = Some(selected.mailbox.submit(Batch::new().flags(change)).map(in_flight)?);
        Ok(())
    }

    /// Opens the message, if that is needed, and writes the beginning of its line. One that is gone or cannot be read
    /// has no line. Fails where the mailbox is gone; then the message is the next again.
    fn begin_message(&mut self, row: Row, selected: &mut Selected, out: &mut Vec<u8>) -> Result<(), StorageError> {
        if row.expunged {
            self.missing = true;
            return Ok(());
        }
        let mut body = None;
        if self.plan.needs_body {
            match selected.view.body(row.uid) {
                Ok(opened) => body = Some(opened),
                Err(StorageError::Expunged { .. }) => {
                    self.missing = true;
                    return Ok(());
                }
                Err(error @ StorageError::Deleted(_)) => {
                    self.next_row -= 1;
                    return Err(error);
                }
                Err(error) => {
                    tracing::warn!(uid = %row.uid, %error, "message cannot be fetched");
                    self.failed.get_or_insert(error);
                    return Ok(());
                }
            }
        }
        if self.plan.has_mod_seq {
            selected.tells_mod_seq(row.modseq);
        }
        let mut message = Message { row, begun: false, item: 0, body, tree: None, stream: None };
        if self.sets_seen && !row.flags.contains(Flag::Seen) {
            self.seen.insert(row.uid);
            message.row.flags = row.flags | Flag::Seen.into();
            let keywords = self.rows.keywords(&row);
            if self.tells_seen {
                selected.client_knows(row.uid, FlagsDigest::of(message.row.flags, keywords));
            }
            if self.tells_seen && !self.plan.has_flags {
                message.writer(out).flags(message.row.flags, row.recent, keywords);
                message.begun = true;
            }
        }
        self.now = Some(message);
        Ok(())
    }

    /// Writes on, up to the end of the message's line or until the output is full within a literal.
    fn write_message(&mut self, mut message: Message, out: &mut Vec<u8>, len_max: usize) -> Result<(), Failed> {
        loop {
            match message.stream(out, len_max) {
                Ok(true) => {}
                Ok(false) => {
                    self.now = Some(message);
                    return Ok(());
                }
                Err(error) => return Err(Failed::Session(error.to_string())),
            }
            let Some(item) = self.plan.items.get(message.item) else { break };
            message.item += 1;
            let binary = match item {
                Item::Binary(binary) => message.begin_binary(binary, &self.rows, out),
                Item::BinarySize(part) => message.binary_size(part, &self.rows, out),
                _ => Ok(()),
            };
            match binary {
                Err(BinaryFailure::Storage(error)) => _ = self.failed.get_or_insert(error),
                Err(failure) => _ = self.undecodable.get_or_insert(failure),
                Ok(()) => {}
            }
            if matches!(item, Item::Binary(_) | Item::BinarySize(_)) {
                continue;
            }
            if let Some(error) = write_item(&mut message, item, &self.rows, out) {
                tracing::warn!(uid = %message.row.uid, %error, "part of a message cannot be fetched");
                self.failed.get_or_insert(error);
            }
        }
        if message.begun {
            FetchWriter::resume(out).end();
        }
        *(if message.body.is_some() { &mut self.bodies } else { &mut self.fetched }) += 1;
        Ok(())
    }
}

/// Writes an item; of a text that is streamed, its head. What cannot be had is NIL, and the reason is given back.
fn write_item(message: &mut Message, item: &Item, rows: &Rows, out: &mut Vec<u8>) -> Option<StorageError> {
    let row = message.row;
    let mut failed = None;
    let mut found = Found::Nothing;
    if let Item::Text(text) = item {
        found = message.find(&text.source, rows).unwrap_or_else(|error| {
            failed = Some(error);
            Found::Nothing
        });
    }
    let mut fetch = message.writer(out);
    message.begun = true;
    let mut text_column = |name: &str, range: Option<mailstore::ArenaRange>| match range {
        Some(range) => fetch.raw_item(name, rows.text(range)),
        None => {
            fetch.nil(name);
            failed = Some(StorageError::Io(format!("the scan brought no {name} of message {}", row.uid).into()));
        }
    };
    match item {
        Item::Envelope => text_column("ENVELOPE", row.envelope),
        Item::Body => text_column("BODY", row.body),
        Item::BodyStructure => text_column("BODYSTRUCTURE", row.body_structure),
        Item::Flags => fetch.flags(row.flags, row.recent, rows.keywords(&row)),
        Item::Uid => fetch.uid(row.uid),
        Item::ModSeq => fetch.mod_seq(row.modseq),
        Item::SaveDate => fetch.save_date(row.save_date.map(InternalDate::utc)),
        Item::EmailId => match row.guid.filter(|guid| !guid.is_zero()) {
            Some(guid) => fetch.email_id(guid),
            None => text_column("EMAILID", None),
        },
        // Threads are not kept (RFC 8474 §5.2).
        Item::ThreadId => fetch.nil("THREADID"),
        Item::Preview => fetch.preview(row.preview.and_then(|range| std::str::from_utf8(rows.text(range)).ok())),
        // Written where their text is found.
        Item::Binary(_) | Item::BinarySize(_) => {}
        Item::InternalDate => match row.internal_date {
            Some(date) => fetch.internal_date(date),
            None => text_column("INTERNALDATE", None),
        },
        Item::Size => match row.size {
            Some(size) => fetch.size(size),
            None => text_column("RFC822.SIZE", None),
        },
        Item::Text(text) => message.begin(text, &found, &mut fetch),
    }
    failed
}
