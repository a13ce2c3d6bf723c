//! The commands of a client. APPEND is not among them: its messages come as [events](crate::Event).

use std::fmt;

use mailtypes::{Flags, InternalDate, Keyword, SearchKey, SequenceSet};

use crate::{FetchItem, ListMailbox, Mailbox};

/// A command, read whole. Whether it is allowed in the session's state is the session's to know.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Command {
    /// `CAPABILITY`
    Capability,
    /// `NOOP`
    Noop,
    /// `LOGOUT`
    Logout,
    /// `STARTTLS`. What was read after it, before the handshake, must be thrown away.
    StartTls,
    /// `LOGIN`
    Login {
        /// User name, any bytes but NUL.
        user: Vec<u8>,
        /// Password, any bytes but NUL.
        password: Secret,
    },
    /// `AUTHENTICATE`. To read the client's next line call
    /// [`Decoder::begin_authenticate`](crate::Decoder::begin_authenticate).
    Authenticate {
        /// The mechanism, in capitals.
        mechanism: String,
        /// The initial response (RFC 4959), in base64; `=` means an empty one.
        initial: Option<Secret>,
    },
    /// `ENABLE` (RFC 5161)
    Enable {
        /// What to enable, in capitals.
        capabilities: Vec<String>,
    },
    /// `ID` (RFC 2971)
    Id {
        /// Fields and values; empty for NIL.
        params: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    },
    /// `SELECT`
    Select {
        /// Which mailbox.
        mailbox: Mailbox,
        /// How.
        params: SelectParams,
    },
    /// `EXAMINE`
    Examine {
        /// Which mailbox.
        mailbox: Mailbox,
        /// How.
        params: SelectParams,
    },
    /// `CREATE`
    Create {
        /// See [`Mailbox::name_to_create`].
        mailbox: Mailbox,
    },
    /// `DELETE`
    Delete {
        /// Which mailbox.
        mailbox: Mailbox,
    },
    /// `RENAME`
    Rename {
        /// Its name.
        from: Mailbox,
        /// Its name to be.
        to: Mailbox,
    },
    /// `SUBSCRIBE`
    Subscribe {
        /// Which mailbox.
        mailbox: Mailbox,
    },
    /// `UNSUBSCRIBE`
    Unsubscribe {
        /// Which mailbox.
        mailbox: Mailbox,
    },
    /// `LIST`
    List(List),
    /// `LSUB`
    Lsub {
        /// Reference name.
        reference: ListMailbox,
        /// Pattern.
        pattern: ListMailbox,
    },
    /// `NAMESPACE` (RFC 2342)
    Namespace,
    /// `STATUS`
    Status {
        /// Which mailbox.
        mailbox: Mailbox,
        /// What to tell, as often as asked.
        items: Vec<StatusItem>,
    },
    /// `IDLE` (RFC 2177). To wait for DONE call [`Decoder::begin_idle`](crate::Decoder::begin_idle).
    Idle,
    /// `CHECK`
    Check,
    /// `CLOSE`
    Close,
    /// `UNSELECT` (RFC 3691)
    Unselect,
    /// `EXPUNGE`
    Expunge,
    /// `UID EXPUNGE` (RFC 4315)
    UidExpunge {
        /// Which UIDs.
        set: SequenceSet,
    },
    /// `SEARCH`, `UID SEARCH`
    Search(Search),
    /// `FETCH`, `UID FETCH`
    Fetch(Fetch),
    /// `STORE`, `UID STORE`
    Store(Store),
    /// `COPY`, `UID COPY`
    Copy {
        /// Whether `set` has UIDs.
        uid: bool,
        /// Which messages.
        set: SequenceSet,
        /// Where to.
        mailbox: Mailbox,
    },
    /// `MOVE`, `UID MOVE` (RFC 6851)
    Move {
        /// Whether `set` has UIDs.
        uid: bool,
        /// Which messages.
        set: SequenceSet,
        /// Where to.
        mailbox: Mailbox,
    },
}

/// Bytes that no log may show.
#[derive(Clone, Eq, PartialEq)]
pub struct Secret(pub Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}

/// `select-param`s (RFC 4466).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct SelectParams {
    /// `CONDSTORE` (RFC 7162 §3.1.8)
    pub condstore: bool,
}

/// LIST, plain or extended (RFC 5258).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct List {
    /// `list-select-opts`; empty for a plain LIST.
    pub selection: Vec<ListSelection>,
    /// Reference name.
    pub reference: ListMailbox,
    /// Patterns; never none.
    pub patterns: Vec<ListMailbox>,
    /// `list-return-opts`; `None` where there was no RETURN.
    pub returns: Option<Vec<ListReturn>>,
}

/// `list-select-opt`: which mailboxes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ListSelection {
    /// `SUBSCRIBED`
    Subscribed,
    /// `REMOTE`
    Remote,
    /// `RECURSIVEMATCH`; never without an option other than `REMOTE`.
    RecursiveMatch,
    /// `SPECIAL-USE` (RFC 6154)
    SpecialUse,
}

/// `return-option`: what to tell of each mailbox.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ListReturn {
    /// `SUBSCRIBED`
    Subscribed,
    /// `CHILDREN`
    Children,
    /// `SPECIAL-USE` (RFC 6154)
    SpecialUse,
    /// `STATUS` (RFC 5819)
    Status(Vec<StatusItem>),
}

/// `status-att`.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum StatusItem {
    /// `MESSAGES`
    Messages,
    /// `RECENT`
    Recent,
    /// `UIDNEXT`
    UidNext,
    /// `UIDVALIDITY`
    UidValidity,
    /// `UNSEEN`: how many are not seen.
    Unseen,
    /// `DELETED`: how many are flagged so (RFC 9051).
    Deleted,
    /// `SIZE`: bytes of all messages (RFC 8438).
    Size,
    /// `HIGHESTMODSEQ` (RFC 7162)
    HighestModSeq,
}

impl StatusItem {
    /// All.
    pub const ALL: [Self; 8] = [
        Self::Messages,
        Self::Recent,
        Self::UidNext,
        Self::UidValidity,
        Self::Unseen,
        Self::Deleted,
        Self::Size,
        Self::HighestModSeq,
    ];

    /// Its name in IMAP.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Messages => "MESSAGES",
            Self::Recent => "RECENT",
            Self::UidNext => "UIDNEXT",
            Self::UidValidity => "UIDVALIDITY",
            Self::Unseen => "UNSEEN",
            Self::Deleted => "DELETED",
            Self::Size => "SIZE",
            Self::HighestModSeq => "HIGHESTMODSEQ",
        }
    }
}

/// SEARCH.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Search {
    /// Whether the answer has UIDs.
    pub uid: bool,
    /// `RETURN` (RFC 4731): the answer is an ESEARCH. `None` for a plain SEARCH.
    pub returns: Option<SearchReturn>,
    /// Whether a CHARSET was named (US-ASCII or UTF-8; no other gets here).
    pub charset: bool,
    /// What to look for.
    pub key: SearchKey,
}

/// `search-return-opt`s. `RETURN ()` is `RETURN (ALL)`.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct SearchReturn {
    /// `MIN`
    pub min: bool,
    /// `MAX`
    pub max: bool,
    /// `ALL`
    pub all: bool,
    /// `COUNT`
    pub count: bool,
    /// `SAVE` (RFC 5182)
    pub save: bool,
}

/// FETCH.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fetch {
    /// Whether `set` has UIDs; then the answers have a UID, asked for or not.
    pub uid: bool,
    /// Which messages.
    pub set: SequenceSet,
    /// What to tell, in the client's order; macros are spelled out. Never empty.
    pub items: Vec<FetchItem>,
    /// `CHANGEDSINCE` (RFC 7162 §3.1.4): only messages with a larger mod-sequence; 0 passes all.
    pub changed_since: Option<u64>,
    /// `VANISHED` (RFC 7162 §3.2.6); only with `changed_since` and `uid`.
    pub vanished: bool,
}

/// STORE.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Store {
    /// Whether `set` has UIDs.
    pub uid: bool,
    /// Which messages.
    pub set: SequenceSet,
    /// `UNCHANGEDSINCE` (RFC 7162 §3.1.3): only messages with no larger mod-sequence; 0 passes none.
    pub unchanged_since: Option<u64>,
    /// What to do.
    pub action: StoreAction,
    /// `.SILENT`: the new flags need not be told.
    pub silent: bool,
    /// With which flags.
    pub flags: FlagList,
}

/// What STORE does.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum StoreAction {
    /// `FLAGS`
    Replace,
    /// `+FLAGS`
    Add,
    /// `-FLAGS`
    Remove,
}

/// A `flag-list`: flags and keywords, each once.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct FlagList {
    /// The system flags.
    pub flags: Flags,
    /// The keywords, in the client's order.
    pub keywords: Vec<Keyword>,
}

/// An `append-message` without its text (RFC 3502).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AppendMessage {
    /// Flags to have.
    pub flags: FlagList,
    /// Internal date to have; `None` for now.
    pub date: Option<InternalDate>,
    /// Bytes of its text. 0 asks to cancel the APPEND (RFC 3502 §6.3.11).
    pub len: u64,
    /// The client waits for a continuation (its literal has no `+`).
    pub synchronizing: bool,
    /// Announced as a literal8 (RFC 3516): the text may hold NUL.
    pub binary: bool,
}
