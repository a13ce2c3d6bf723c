//! What mail keeps that comes from another store: identities that a store otherwise gives itself.

use mailtypes::{Guid, ModSeq, Uid, UidValidity};

/// What tells a mailbox from any other that ever had its name.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct MailboxIdentity {
    /// Its identity, which a rename keeps.
    pub guid: Guid,
    /// Its incarnation.
    pub uid_validity: UidValidity,
}

/// What a mailbox was like when it was decided what is to become of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Judged {
    /// Which it was.
    pub identity: MailboxIdentity,
    /// The next UID.
    pub uid_next: Uid,
    /// The largest mod-sequence.
    pub highest_modseq: ModSeq,
    /// Messages.
    pub messages: u32,
}

/// What may stand in a place that is to be taken, when it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OnlyIf {
    /// Whatever it is.
    Anything,
    /// No mailbox.
    Nothing,
    /// A mailbox that is as it was judged, or none.
    As(Judged),
}

impl OnlyIf {
    /// What a mailbox must be like, if that matters.
    pub(crate) fn judged(&self) -> Option<&Judged> {
        match self {
            Self::As(judged) => Some(judged),
            Self::Anything | Self::Nothing => None,
        }
    }
}

/// What a message keeps of its place in another store's mailbox.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Kept {
    /// Its UID: not smaller than the mailbox's next, and larger than those before it in the batch.
    pub uid: Uid,
    /// When it was put into that mailbox, Unix seconds; kept where the backend can ([`Column::SaveDate`](super::Column)).
    pub save_date: Option<i64>,
}

/// What a message was to POP3 clients of another store.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Pop3Identity {
    /// Its unique id: 1 to 70 printable characters without spaces (RFC 1939).
    pub uidl: Option<Vec<u8>>,
    /// Its place among the messages; those without one come last, by UID.
    pub order: Option<u32>,
}

impl Pop3Identity {
    /// Longest unique id (RFC 1939 §7).
    pub const UIDL_LEN_MAX: usize = 70;

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.uidl.is_none() && self.order.is_none()
    }

    /// Without a unique id that POP3 could not have.
    pub fn checked(self) -> Self {
        let fits = |id: &Vec<u8>| (1..=Self::UIDL_LEN_MAX).contains(&id.len()) && id.iter().all(u8::is_ascii_graphic);
        Self { uidl: self.uidl.filter(fits), ..self }
    }
}

/// What a mailbox keeps of another store's when all messages are in it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Stamp {
    /// The UID of the next message, at least.
    pub uid_next: Uid,
    /// Messages from here on are `\Recent` to the next session.
    pub recent_from: Uid,
    /// The largest mod-sequence.
    pub highest_modseq: ModSeq,
    /// Mod-sequences of messages, ascending by UID. Who is not named keeps its own.
    pub modseqs: Vec<(Uid, ModSeq)>,
}

/// What a storage can hold of another's mail.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(clippy::struct_excessive_bools, reason = "each is told of on its own")]
pub struct Keeps {
    /// GUIDs of messages.
    pub guids: bool,
    /// [`Pop3Identity`] of messages.
    pub pop3: bool,
    /// Every byte of a message. Where that is not so, a field of the header may be one that the store keeps for itself, and
    /// the end of the header or of the last line may be added.
    pub bytes: bool,
    /// Mailboxes below one that holds messages.
    pub children: bool,
}

impl Keeps {
    /// All of it.
    pub const ALL: Self = Self { guids: true, pop3: true, bytes: true, children: true };
}
