//! Messages of a view, one after the other.

use std::{fmt, rc::Rc};

use mailmime::{Envelope, Fields, decode_header_text};
use mailtypes::{Flags, Guid, InternalDate, Keyword, ModSeq, SeqNum, Uid, UidSet};

use super::MessageEnvelope;
use crate::traits::{Body, Column, Columns, Cursor, Result, Row, Rows, ScanBudget, Section, StorageError, View};

/// Bytes read at once of a message that is wanted whole.
const READ_LEN: usize = 256 << 10;

/// Messages brought with UIDs and flags alone where one of them cannot be read.
const ROWS_APART: usize = 64;

/// The messages of a view, in order; those that are gone are passed over. What [`Messages::with`] names is brought in
/// batches along with UIDs and flags. A message that cannot be read comes like the others, and fails when it is asked
/// for what cannot be had. An error that comes in place of a message is the last thing that comes: the messages before it
/// are not all.
#[must_use = "nothing is read before it is walked through"]
pub struct Messages<'a> {
    view: &'a dyn View,
    uids: UidSet,
    columns: Columns,
    next: Option<Cursor>,
    batch: Rc<Batch>,
    at: usize,
}

/// What one step of a scan brought. Its messages share it.
#[derive(Default)]
struct Batch {
    columns: Columns,
    rows: Rows,
}

impl<'a> Messages<'a> {
    pub(super) fn new(view: &'a dyn View, uids: UidSet) -> Self {
        Self { view, uids, columns: Columns::flags(), next: Some(Cursor::START), batch: Rc::default(), at: 0 }
    }

    /// With these columns at hand: a [`Message`] that is asked for one need not look for it on its own. To be said
    /// before the first message is taken.
    pub fn with(mut self, columns: Columns) -> Self {
        self.columns = columns;
        self
    }

    /// Brings the next batch, without the columns if a message in it cannot be read. False at the end.
    fn read_on(&mut self) -> Result<bool> {
        let Some(cursor) = self.next.take() else { return Ok(false) };
        // Whoever keeps a message keeps its batch.
        let mut batch = Rc::try_unwrap(std::mem::take(&mut self.batch)).unwrap_or_default();
        batch.rows.clear();
        if batch.columns != self.columns {
            batch.columns = self.columns.clone();
        }
        self.at = 0;
        let (view, uids, budget) = (self.view, &self.uids, ScanBudget::default());
        self.next = match view.scan(uids, cursor, &batch.columns, budget, &mut batch.rows) {
            Err(_) if !batch.columns.only_flags() => {
                batch = Batch::default();
                let budget = ScanBudget { rows: ROWS_APART, ..budget };
                view.scan(uids, cursor, &batch.columns, budget, &mut batch.rows)?
            }
            next => next?,
        };
        self.batch = Rc::new(batch);
        Ok(true)
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Result<Message<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            while let Some(&row) = self.batch.rows.rows.get(self.at) {
                self.at += 1;
                if !row.expunged {
                    return Some(Ok(Message { view: self.view, row, batch: Rc::clone(&self.batch) }));
                }
            }
            match self.read_on() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(e) => return Some(Err(e)),
            }
        }
    }
}

impl std::iter::FusedIterator for Messages<'_> {}

/// A message of a view. What it is asked for and [`Messages::with`] did not name costs a scan for this one message: a
/// look into the cache, or at the message where the cache does not have it.
pub struct Message<'a> {
    view: &'a dyn View,
    row: Row,
    batch: Rc<Batch>,
}

impl<'a> Message<'a> {
    pub(super) fn of(view: &'a dyn View, uid: Uid) -> Result<Self> {
        Messages::new(view, uid_alone(uid)).next().unwrap_or(Err(StorageError::Expunged { uid }))
    }

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
        self.batch.rows.keywords(&self.row)
    }

    /// Its mod-sequence.
    pub fn modseq(&self) -> ModSeq {
        self.row.modseq
    }

    /// Its size with CRLF line ends. [`Column::Size`].
    pub fn size(&self) -> Result<u64> {
        self.value(Column::Size, |row| row.size)
    }

    /// When it arrived. [`Column::InternalDate`].
    pub fn internal_date(&self) -> Result<InternalDate> {
        self.value(Column::InternalDate, |row| row.internal_date)
    }

    /// Its global identity. [`Column::Guid`].
    pub fn guid(&self) -> Result<Guid> {
        self.value(Column::Guid, |row| row.guid)
    }

    /// Who wrote to whom about what. [`Columns::envelope`].
    pub fn envelope(&self) -> Result<MessageEnvelope> {
        let lines = self.header_lines(&Envelope::FIELDS)?;
        Ok(MessageEnvelope::of_header(&lines))
    }

    /// The values of the header fields of a name, in the message's order, decoded. [`Columns::with_header`].
    pub fn header(&self, name: &str) -> Result<Vec<String>> {
        let lines = self.header_lines(&[name])?;
        Ok(Fields::new(&lines).map(|field| decode_header_text(field.raw_value).trim().to_owned()).collect())
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

    fn value<T>(&self, column: Column, take: impl Fn(&Row) -> Option<T>) -> Result<T> {
        match take(&self.row) {
            Some(value) => Ok(value),
            None => self.fetch(&Columns::flags().with(column), |row, _| take(row)),
        }
    }

    /// The lines of header fields, one name after the other.
    fn header_lines(&self, names: &[&str]) -> Result<Vec<u8>> {
        let Batch { columns, rows } = &*self.batch;
        let place = |name: &&str| columns.headers.iter().position(|have| have.eq_ignore_ascii_case(name));
        if let Some(places) = names.iter().map(place).collect::<Option<Vec<_>>>() {
            return Ok(places.into_iter().flat_map(|n| rows.header(&self.row, n)).copied().collect());
        }
        let columns = names.iter().fold(Columns::flags(), |columns, name| columns.with_header(name));
        self.fetch(&columns, |row, rows| {
            Some((0..names.len()).flat_map(|n| rows.header(row, n)).copied().collect::<Vec<u8>>())
        })
    }

    fn fetch<T>(&self, columns: &Columns, take: impl FnOnce(&Row, &Rows) -> Option<T>) -> Result<T> {
        let uid = self.row.uid;
        let mut rows = Rows::new();
        self.view.scan(&uid_alone(uid), Cursor::START, columns, ScanBudget::default(), &mut rows)?;
        let row = rows.rows.first().filter(|row| !row.expunged);
        row.and_then(|row| take(row, &rows)).ok_or(StorageError::Expunged { uid })
    }
}

pub(super) fn uid_alone(uid: Uid) -> UidSet {
    UidSet::from(uid..=uid)
}

impl fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("uid", &self.row.uid).field("flags", &self.row.flags).finish_non_exhaustive()
    }
}

impl fmt::Debug for Messages<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").field("uids", &self.uids).field("next", &self.next).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use mailtypes::{MailboxName, UidValidity};

    use super::*;
    use crate::{
        memory::{MemoryOptions, MemoryStorage},
        store::{Append, Store},
        traits::{Changes, Expunges, Freshness, MailStorage, ViewAs},
    };

    /// A view of which one message cannot be read, and of which nothing can from another message on.
    struct Damaged {
        view: Box<dyn View>,
        unreadable: Uid,
        gone_from: Uid,
    }

    impl View for Damaged {
        fn scan(
            &self,
            uids: &UidSet,
            at: Cursor,
            columns: &Columns,
            _: ScanBudget,
            out: &mut Rows,
        ) -> Result<Option<Cursor>> {
            let budget = ScanBudget { bytes: usize::MAX, rows: 2, until: None };
            let next = self.view.scan(uids, at, columns, budget, out)?;
            if out.rows.iter().any(|row| row.uid >= self.gone_from) {
                return Err(StorageError::Io("gone".into()));
            }
            if !columns.only_flags() && out.rows.iter().any(|row| row.uid == self.unreadable) {
                return Err(StorageError::Io("unreadable".into()));
            }
            Ok(next)
        }
        fn uid_validity(&self) -> UidValidity {
            self.view.uid_validity()
        }
        fn uid_next(&self) -> Uid {
            self.view.uid_next()
        }
        fn highest_modseq(&self) -> ModSeq {
            self.view.highest_modseq()
        }
        fn message_count(&self) -> u32 {
            self.view.message_count()
        }
        fn recent_count(&self) -> u32 {
            self.view.recent_count()
        }
        fn first_unseen(&self) -> Option<SeqNum> {
            self.view.first_unseen()
        }
        fn keywords(&self) -> Vec<Keyword> {
            self.view.keywords()
        }
        fn seq_of(&self, uid: Uid) -> Option<SeqNum> {
            self.view.seq_of(uid)
        }
        fn uid_at(&self, seq: SeqNum) -> Option<Uid> {
            self.view.uid_at(seq)
        }
        fn uids_at(&self, set: &UidSet) -> UidSet {
            self.view.uids_at(set)
        }
        fn uids(&self) -> UidSet {
            self.view.uids()
        }
        fn freshness(&self) -> Freshness {
            self.view.freshness()
        }
        fn sync(&mut self, expunges: Expunges) -> Result<Changes> {
            self.view.sync(expunges)
        }
        fn body(&self, uid: Uid) -> Result<Box<dyn Body>> {
            self.view.body(uid)
        }
    }

    fn uid(n: u32) -> Uid {
        Uid::new(n).unwrap()
    }

    fn damaged(unreadable: u32, gone_from: u32) -> Damaged {
        let storage: std::sync::Arc<dyn MailStorage> =
            std::sync::Arc::new(MemoryStorage::new(MemoryOptions::default()));
        let inbox = Store::of(std::sync::Arc::clone(&storage)).mailbox("INBOX").unwrap();
        for n in 1..=7 {
            inbox.append(Append::new(format!("Subject: {n}\n\n").as_bytes())).unwrap();
        }
        let view = storage.mailbox(&MailboxName::inbox()).unwrap().view(&ViewAs::default()).unwrap();
        Damaged { view, unreadable: uid(unreadable), gone_from: uid(gone_from) }
    }

    #[test]
    fn an_error_is_told_and_ends_the_walk() {
        let view = damaged(100, 6);
        let mut messages = Messages::new(&view, view.uids());
        let read: Vec<_> = messages.by_ref().map_while(Result::ok).map(|message| message.uid().value()).collect();
        assert_eq!(read, [1, 2, 3, 4]);
        assert!(messages.next().is_none(), "nothing comes after it");
        let told: Result<Vec<_>> = Messages::new(&view, view.uids()).collect();
        assert!(told.unwrap_err().to_string().contains("gone"));
    }

    #[test]
    fn a_message_that_cannot_be_read_hides_no_other() {
        let view = damaged(4, 100);
        for columns in [Columns::flags(), Columns::envelope()] {
            let messages: Vec<_> = Messages::new(&view, view.uids()).with(columns).map(Result::unwrap).collect();
            let subjects: Vec<_> = messages.iter().map(|m| m.envelope().map(|e| e.subject()).ok()).collect();
            let expect = |n: usize| (n != 4).then(|| n.to_string());
            assert_eq!(subjects, (1..=7).map(expect).collect::<Vec<_>>());
        }
    }
}
