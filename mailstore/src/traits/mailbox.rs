//! One mailbox: views of it, messages on their way into it, changes of it.

use std::{any::Any, fmt, sync::Arc};

use mailtypes::{Guid, InternalDate, MailboxName, ModSeq, UidSet, UidValidity};

use super::{Batch, Pop3Identity, Result, Stamp, Status, StorageError, Ticket, View};

/// Called when something may have changed; from any thread, must not block.
pub type Wake = Arc<dyn Fn() + Send + Sync>;

/// A watch in force; dropping it ends it.
#[must_use = "dropping it ends the watch"]
pub trait Watch: Send + Sync + fmt::Debug {}

/// What kind of a session looks. Whose flags it sees was said when the store was opened ([`ListOptions::private`](crate::ListOptions::private)).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ViewAs {
    /// Whether this session takes the `\Recent` messages, as SELECT does and EXAMINE does not.
    pub takes_recent: bool,
}

/// A mailbox. All handles to one mailbox within one `Env` share one state.
pub trait Mailbox: Send + Sync + fmt::Debug {
    /// The name under which it was opened.
    fn name(&self) -> &MailboxName;
    /// Its identity, which a rename keeps.
    fn guid(&self) -> Guid;
    /// Its incarnation.
    fn uid_validity(&self) -> UidValidity;
    /// Counts, after looking for changes of others. Costs no reading of records.
    fn status(&self) -> Result<Status>;
    /// RFC822.SIZE of all messages together (RFC 8438).
    fn size(&self) -> Result<u64>;
    /// A snapshot, after looking for changes of others.
    fn view(&self, who: &ViewAs) -> Result<Box<dyn View>>;
    /// Begins to take a message in. `size_hint` is its size if the protocol announces it.
    fn begin_save(&self, meta: SaveMeta, size_hint: Option<u64>) -> Result<Box<dyn Save>>;
    /// Queues changes; they are carried out in order, all in one append. Never waits for the disk.
    fn submit(&self, batch: Batch) -> Result<Ticket>;
    /// Anyone's changes since a position, resumable in another process: the change feed.
    fn changes_since(&self, position: &Position) -> Result<ChangesSince>;
    /// The position of now, for [`Mailbox::changes_since`].
    fn position(&self) -> Result<Position>;
    /// Calls `wake` after changes by anyone, this process or others. May call too often.
    fn watch(&self, wake: Wake) -> Result<Box<dyn Watch>>;
    /// Writes what was put off, such as the flags of messages in an mbox: IMAP's CHECK. Waits for the disk; what fails is
    /// put off further.
    fn checkpoint(&self) -> Result<()> {
        Ok(())
    }
    /// Makes the mailbox tell of itself what another store's did, when all messages are in it. For conversions: sessions
    /// that have it open need not learn of it. Durable when it returns; what it says already is not written again.
    fn stamp(&self, _stamp: &Stamp) -> Result<()> {
        Err(StorageError::Unsupported("keeping mod-sequences of another store".to_owned()))
    }
    /// Whether no change of it is possible, whoever asks: as an IMAP server tells a client.
    fn is_read_only(&self) -> bool {
        false
    }
    /// Whether its messages have the UIDs that they are shown with for good. They do not where a store is only read, and
    /// nobody who may write has given them any yet: then they hold as long as the process.
    fn uids_are_lasting(&self) -> bool {
        true
    }
    /// For backends to know their own mailboxes, so that a copy within one store need not move bytes.
    fn as_any(&self) -> &dyn Any;
}

/// What is known of a message besides its bytes.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct SaveMeta {
    /// When it arrived; now if not given.
    pub internal_date: Option<InternalDate>,
    /// Its identity; a new one if not given. Conversions keep it.
    pub guid: Option<Guid>,
    /// What to do with NUL bytes; as the store is set if not given.
    pub nuls: Option<NulPolicy>,
    /// What it was to POP3 clients elsewhere. Conversions keep it.
    pub pop3: Pop3Identity,
}

/// What to do with NUL bytes, which RFC 5322 and IMAP's literals forbid and which come nevertheless.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum NulPolicy {
    /// Refuse the message.
    #[default]
    Refuse,
    /// Store 0x80 in their place.
    Replace,
    /// Store them, as Dovecot does with mail that is delivered: a refusal would send it back. Whoever shows them to an
    /// IMAP client must show something else in their place.
    Keep,
}

/// A message on its way in. Dropping it forgets the message.
pub trait Save: Send {
    /// The next bytes, line ends LF or CRLF. Never split by meaning: any cut will do.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;
    /// About how many bytes of memory it holds, for those who count what a client makes them hold. Costs nothing.
    fn held_len(&self) -> usize;
    /// The message is whole. It is not in the mailbox yet: that is [`Batch::save`]'s work.
    fn finish(self: Box<Self>) -> Result<Saved>;
}

/// A message that was taken in whole and awaits its [`Batch`]. Dropping it forgets the message.
#[derive(Debug)]
#[must_use = "the message is in no mailbox before its batch is committed"]
pub struct Saved(pub Box<dyn SavedMessage>);

/// A backend's own part of a [`Saved`].
pub trait SavedMessage: Send + fmt::Debug {
    /// Back to the backend's own type.
    fn into_any(self: Box<Self>) -> Box<dyn Any + Send>;
    /// Size with CRLF line ends.
    fn size(&self) -> u64;
    /// About how many bytes of memory it holds. Costs nothing.
    fn held_len(&self) -> usize;
    /// Gives back what can be found out again when somebody asks for it: for messages that wait in large numbers.
    fn shrink(&mut self);
}

/// A place in a mailbox's history.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Position {
    /// The incarnation it belongs to.
    pub uid_validity: UidValidity,
    /// The largest mod-sequence there.
    pub modseq: ModSeq,
    /// The backend's own words for the place, at most [`Position::TOKEN_LEN_MAX`] bytes; may be stored and given back
    /// to another process.
    pub token: Vec<u8>,
}

impl Position {
    /// Longest token.
    pub const TOKEN_LEN_MAX: usize = 64;
}

/// What happened since a [`Position`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ChangesSince {
    /// All of it.
    Changes {
        /// Messages that came.
        appended: UidSet,
        /// Messages whose flags or keywords changed, and that were there before.
        flags: UidSet,
        /// Messages that went.
        expunged: UidSet,
        /// Where to go on from.
        now: Position,
    },
    /// The history does not reach back that far, or the mailbox is another incarnation: compare everything.
    TooOld {
        /// Where to go on from.
        now: Position,
    },
}
