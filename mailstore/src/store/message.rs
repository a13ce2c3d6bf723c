//! Messages of a view, one after the other.

use mailmime::Envelope;
use mailtypes::{Flags, Guid, InternalDate, Keyword, ModSeq, SeqNum, Uid, UidSet};

use crate::traits::{Body, Column, Columns, Cursor, Result, Row, Rows, ScanBudget, Section, StorageError, View};

/// Bytes read at once of a message that is wanted whole.
const READ_LEN: usize = 256 << 10;

/// The messages of a view.
pub struct Messages<'a> {
    view: &'a dyn View,
    uids: UidSet,
    next: Option<Cursor>,
    rows: Rows,
    at: usize,
}

impl<'a> Messages<'a> {
    pub(super) fn new(view: &'a dyn View) -> Self {
        Self { view, uids: view.uids(), next: Some(Cursor::START), rows: Rows::new(), at: 0 }
    }

    fn read_on(&mut self) -> bool {
        let Some(cursor) = self.next.take() else { return false };
        self.rows.clear();
        self.at = 0;
        match self.view.scan(&self.uids, cursor, &Columns::flags(), ScanBudget::default(), &mut self.rows) {
            Ok(next) => self.next = next,
            // Flags and UIDs are part of the view; a backend that cannot bring them has lost its mailbox.
            Err(e) => tracing::error!("the messages of a view end early: {e}"),
        }
        !self.rows.rows.is_empty()
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        loop {
            if let Some(row) = self.rows.rows.get(self.at) {
                self.at += 1;
                if row.expunged {
                    continue;
                }
                return Some(Message { view: self.view, row: *row, keywords: self.rows.keywords(row).to_vec() });
            }
            if !self.read_on() {
                return None;
            }
        }
    }
}

/// A message of a view.
pub struct Message<'a> {
    view: &'a dyn View,
    row: Row,
    keywords: Vec<Keyword>,
}

impl Message<'_> {
    /// Its identity within the mailbox.
    pub fn uid(&self) -> Uid {
        self.row.uid
    }

    /// Its place in the view.
    pub fn seq(&self) -> SeqNum {
        self.row.seq
    }

    /// Its system flags.
    pub fn flags(&self) -> Flags {
        self.row.flags
    }

    /// Its keywords.
    pub fn keywords(&self) -> &[Keyword] {
        &self.keywords
    }

    /// Its mod-sequence.
    pub fn modseq(&self) -> ModSeq {
        self.row.modseq
    }

    /// Its size with CRLF line ends.
    pub fn size(&self) -> Result<u64> {
        self.fetch(Columns::default() | Column::Size, |row, _| row.size)
    }

    /// When it arrived.
    pub fn internal_date(&self) -> Result<InternalDate> {
        self.fetch(Columns::default() | Column::InternalDate, |row, _| row.internal_date)
    }

    /// Its global identity.
    pub fn guid(&self) -> Result<Guid> {
        self.fetch(Columns::default() | Column::Guid, |row, _| row.guid)
    }

    /// Who wrote to whom about what; from the cache where it is there.
    pub fn envelope(&self) -> Result<MessageEnvelope> {
        let columns = Envelope::FIELDS.iter().fold(Columns::default(), |columns, field| columns.with_header(field));
        let lines = self.fetch(columns, |row, rows| {
            let lines = (0..Envelope::FIELDS.len()).flat_map(|n| rows.header(row, n).iter().copied());
            Some(lines.collect::<Vec<u8>>())
        })?;
        Ok(MessageEnvelope { envelope: Envelope::from_header(&lines) })
    }

    /// Its bytes, to be read in ranges.
    pub fn body(&self) -> Result<Box<dyn Body>> {
        self.view.body(self.row.uid)
    }

    /// All its bytes, with CRLF line ends. For messages that are known to be small.
    pub fn read(&self) -> Result<Vec<u8>> {
        let mut body = self.body()?;
        let mut bytes = Vec::new();
        loop {
            let filled = bytes.len();
            bytes.resize(filled + READ_LEN, 0);
            let read = body.read_at(Section::WHOLE, filled as u64, bytes.get_mut(filled..).unwrap_or_default())?;
            bytes.truncate(filled + read);
            if read < READ_LEN {
                return Ok(bytes);
            }
        }
    }

    fn fetch<T>(&self, columns: Columns, take: impl FnOnce(&Row, &Rows) -> Option<T>) -> Result<T> {
        let uid = self.row.uid;
        let mut uids = UidSet::new();
        uids.insert(uid);
        let mut rows = Rows::new();
        self.view.scan(&uids, Cursor::START, &columns, ScanBudget::default(), &mut rows)?;
        let row = rows.rows.first().filter(|row| !row.expunged);
        row.and_then(|row| take(row, &rows)).ok_or(StorageError::Expunged { uid })
    }
}

impl std::fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Message").field("uid", &self.row.uid).field("flags", &self.row.flags).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Messages<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Messages").field("next", &self.next).finish_non_exhaustive()
    }
}

/// The fields of a message's header that say who wrote to whom about what.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MessageEnvelope {
    envelope: Envelope,
}

impl MessageEnvelope {
    /// The subject, decoded; empty if there is none.
    pub fn subject(&self) -> String {
        self.envelope.subject.as_deref().map(mailmime::decode_header_text).unwrap_or_default()
    }

    /// All fields, as they stand in the message.
    pub fn fields(&self) -> &Envelope {
        &self.envelope
    }
}
