//! A message to be appended, put together word by word.

use std::{
    fmt,
    io::{ErrorKind, Read},
};

use mailtypes::{Flag, Flags, InternalDate, Keyword, Uid, UidValidity};

use crate::traits::{Batch, Failure, Mailbox, Result, Save, SaveMeta, StorageError};

/// Bytes taken from a reader at a time.
const PIECE_LEN: usize = 64 << 10;

/// A message to be appended. It is in no mailbox before [`StoreMailbox::append`](super::StoreMailbox::append).
#[must_use = "nothing is appended before it is given to a mailbox"]
pub struct Append<'a> {
    source: Source<'a>,
    flags: Flags,
    keywords: Vec<Keyword>,
    meta: SaveMeta,
}

enum Source<'a> {
    Bytes(&'a [u8]),
    Reader(Box<dyn Read + 'a>),
}

/// Where an appended message is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Appended {
    /// Its UID.
    pub uid: Uid,
    /// The incarnation of the mailbox that the UID belongs to.
    pub uid_validity: UidValidity,
}

impl<'a> Append<'a> {
    /// A message, line ends LF or CRLF, without flags, arriving now.
    pub fn new(raw: &'a [u8]) -> Self {
        Self::of(Source::Bytes(raw))
    }

    /// The same of a message that is read to its end, such as a file or what somebody sends. It is never held whole, nor
    /// is anything in the mailbox where reading fails.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use mailstore::{Append, Store, mailtypes::Flag};
    /// let inbox = Store::open("/var/mail/ann")?.mailbox("INBOX")?;
    /// inbox.append(Append::reader(std::fs::File::open("message.eml")?).flag(Flag::Seen))?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn reader(reader: impl Read + 'a) -> Self {
        Self::of(Source::Reader(Box::new(reader)))
    }

    fn of(source: Source<'a>) -> Self {
        Self { source, flags: Flags::NONE, keywords: Vec::new(), meta: SaveMeta::default() }
    }

    /// With one more flag.
    pub fn flag(mut self, flag: Flag) -> Self {
        self.flags = self.flags | flag.into();
        self
    }

    /// With one more keyword.
    pub fn keyword(mut self, keyword: Keyword) -> Self {
        self.keywords.push(keyword);
        self
    }

    /// With this time of arrival.
    pub fn internal_date(mut self, date: InternalDate) -> Self {
        self.meta.internal_date = Some(date);
        self
    }

    /// Appends it; it is on disk when this returns.
    pub(super) fn to(self, mailbox: &dyn Mailbox) -> Result<Appended> {
        let Self { source, flags, keywords, meta } = self;
        let save = match source {
            Source::Bytes(raw) => {
                let mut save = mailbox.begin_save(meta, Some(raw.len() as u64))?;
                save.write(raw)?;
                save
            }
            Source::Reader(mut reader) => taken_in(&mut *reader, mailbox.begin_save(meta, None)?)?,
        };
        let committed = mailbox.submit(Batch::new().save(save.finish()?, flags, keywords))?.wait()?;
        let uid = committed.saved.first().copied();
        let uid = uid.ok_or_else(|| StorageError::Io("the store told no UID for the message".into()))?;
        Ok(Appended { uid, uid_validity: committed.uid_validity })
    }
}

fn taken_in(reader: &mut dyn Read, mut save: Box<dyn Save>) -> Result<Box<dyn Save>> {
    let mut piece = vec![0; PIECE_LEN];
    loop {
        match reader.read(&mut piece) {
            Ok(0) => return Ok(save),
            Ok(len) => save.write(piece.get(..len).unwrap_or_default())?,
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => {
                return Err(StorageError::Io(Failure::of_system(
                    format!("reading the message to be appended: {e}"),
                    &e,
                )));
            }
        }
    }
}

impl fmt::Debug for Append<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { source: _, flags, keywords, meta } = self;
        let mut shown = f.debug_struct("Append");
        shown.field("flags", flags).field("keywords", keywords).field("meta", meta).finish_non_exhaustive()
    }
}
