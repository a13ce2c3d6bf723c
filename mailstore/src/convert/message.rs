//! Messages of a mailbox, as far as a conversion looks at them.

use std::collections::BTreeMap;

use mailtypes::{Flags, Guid, Keyword, ModSeq, Uid, UidSet};
use sha2::{Digest as _, Sha256};

use super::kept::{Fit, PIECE_LEN};
use crate::traits::{
    Column, Columns, Cursor, Keeps, Kept, Mailbox, MailboxIdentity, NulPolicy, Pop3Identity, Result, Row, Rows,
    SaveMeta, Saved, ScanBudget, Section, StorageError, View,
};

/// Keeps GUIDs of messages that had none apart from any other use of the same hash.
const PURPOSE: &[u8] = b"culver convert 1\0";

/// What is compared of each message of a mailbox.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Known {
    pub(super) uid: Uid,
    pub(super) flags: Flags,
    /// Sorted, in small letters.
    pub(super) keywords: Vec<Keyword>,
    pub(super) modseq: ModSeq,
}

/// A step of a scan that stops for nothing but its size.
fn budget() -> ScanBudget {
    ScanBudget { until: None, ..ScanBudget::default() }
}

/// Goes over messages, and tells of each that the view shows.
pub(super) fn each(
    view: &dyn View,
    uids: &UidSet,
    columns: &Columns,
    mut tell: impl FnMut(&Row, &Rows) -> Result<()>,
) -> Result<()> {
    let (mut rows, mut at) = (Rows::new(), Some(Cursor::START));
    while let Some(cursor) = at {
        rows.clear();
        at = view.scan(uids, cursor, columns, budget(), &mut rows)?;
        rows.rows.iter().filter(|row| !row.expunged).try_for_each(|row| tell(row, &rows))?;
    }
    Ok(())
}

/// A step of a scan for conversion: from `at` on; where to go on.
pub(super) fn step(view: &dyn View, uids: &UidSet, at: Cursor, rows: &mut Rows) -> Result<Option<Cursor>> {
    let columns = Columns::flags() | Column::InternalDate | Column::SaveDate | Column::Guid;
    rows.clear();
    view.scan(uids, at, &columns, budget(), rows)
}

/// All messages, ascending by UID.
pub(super) fn known(view: &dyn View) -> Result<Vec<Known>> {
    let mut all = Vec::with_capacity(view.message_count() as usize);
    each(view, &view.uids(), &Columns::flags(), |row, rows| {
        all.push(of_row(row, rows));
        Ok(())
    })?;
    Ok(all)
}

pub(super) fn of_row(row: &Row, rows: &Rows) -> Known {
    let mut keywords = rows.keywords(row).to_vec();
    keywords.sort_by_cached_key(|keyword| keyword.as_str().to_ascii_lowercase());
    Known { uid: row.uid, flags: row.flags, keywords, modseq: row.modseq }
}

/// GUIDs of messages that have one.
pub(super) fn guids(view: &dyn View, uids: &UidSet) -> Result<BTreeMap<Uid, Guid>> {
    let mut guids = BTreeMap::new();
    each(view, uids, &(Columns::flags() | Column::Guid), |row, _| {
        guids.extend(row.guid.filter(|guid| !guid.is_zero()).map(|guid| (row.uid, guid)));
        Ok(())
    })?;
    Ok(guids)
}

/// The GUID of a message that has none: the same at each run.
pub(super) fn guid_of_place(mailbox: &MailboxIdentity, uid: Uid) -> Guid {
    let mut hash = Sha256::new();
    hash.update(PURPOSE);
    hash.update(mailbox.guid.0);
    hash.update(mailbox.uid_validity.value().to_le_bytes());
    hash.update(uid.value().to_le_bytes());
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
    Guid(bytes)
}

/// Takes messages of one mailbox into another.
pub(super) struct Stager<'a> {
    pub(super) view: &'a dyn View,
    pub(super) destination: &'a dyn Mailbox,
    pub(super) identity: MailboxIdentity,
    pub(super) keeps: Keeps,
    pub(super) file_names_as_uidls: bool,
    buf: Vec<u8>,
    /// Messages that were given a line end, or the end of a header.
    pub(super) completed: u64,
    /// Messages that lost header fields.
    pub(super) without_fields: u64,
    /// Messages whose POP3 id had no place.
    pub(super) without_pop3: u64,
}

/// A message that was taken in.
pub(super) struct StagedMessage {
    pub(super) saved: Saved,
    pub(super) kept: Kept,
    pub(super) bytes: u64,
}

impl<'a> Stager<'a> {
    pub(super) fn new(
        view: &'a dyn View,
        destination: &'a dyn Mailbox,
        identity: MailboxIdentity,
        keeps: Keeps,
        file_names_as_uidls: bool,
    ) -> Self {
        let buf = vec![0; PIECE_LEN];
        Self {
            view,
            destination,
            identity,
            keeps,
            file_names_as_uidls,
            buf,
            completed: 0,
            without_fields: 0,
            without_pop3: 0,
        }
    }

    /// Reads a message and writes it where it waits for its batch.
    pub(super) fn stage(&mut self, row: &Row) -> std::result::Result<StagedMessage, StageError> {
        let mut pop3 = pop3_of(self.view, row.uid, self.file_names_as_uidls).map_err(StageError::Message)?;
        if !self.keeps.pop3 && !pop3.is_empty() {
            self.without_pop3 += 1;
            pop3 = Pop3Identity::default();
        }
        let guid = row.guid.filter(|guid| !guid.is_zero());
        let meta = SaveMeta {
            internal_date: row.internal_date,
            guid: Some(guid.unwrap_or_else(|| guid_of_place(&self.identity, row.uid))),
            // One store took it: the other must, or the mailbox cannot be converted.
            nuls: Some(NulPolicy::Keep),
            pop3,
        };
        let mut body = self.view.body(row.uid).map_err(StageError::Message)?;
        let mut save = self.destination.begin_save(meta, Some(body.size())).map_err(refused)?;
        let (mut offset, mut fit) = (0, Fit::new(self.keeps));
        loop {
            let len = body.read_at(Section::WHOLE, offset, &mut self.buf).map_err(StageError::Message)?;
            let piece = self.buf.get(..len).unwrap_or_default();
            fit.look(piece);
            save.write(piece).map_err(refused)?;
            offset += len as u64;
            if len < self.buf.len() {
                break;
            }
        }
        let filtered = fit.filtered();
        self.completed += u64::from(filtered.completed);
        self.without_fields += u64::from(filtered.dropped);
        let kept = Kept { uid: row.uid, save_date: row.save_date };
        Ok(StagedMessage { saved: save.finish().map_err(refused)?, kept, bytes: offset })
    }
}

/// Why a message was not taken in.
pub(super) enum StageError {
    /// It cannot be read, or not be stored.
    Message(StorageError),
    /// The destination takes no message.
    Destination(StorageError),
}

fn refused(error: StorageError) -> StageError {
    let is_its_own =
        matches!(error, StorageError::MessageRefused(_) | StorageError::Limit { .. } | StorageError::Unsupported(_));
    if is_its_own { StageError::Message(error) } else { StageError::Destination(error) }
}

/// What a message is to POP3 clients, as far as the store keeps it with the message.
pub(super) fn pop3_of(view: &dyn View, uid: Uid, file_names: bool) -> Result<Pop3Identity> {
    let mut uidl = view.saved_uidl(uid)?;
    if uidl.is_none() && file_names {
        uidl = view.file_identity(uid).map(|identity| identity.name);
    }
    Ok(Pop3Identity { uidl, order: view.saved_pop3_order(uid)? }.checked())
}
