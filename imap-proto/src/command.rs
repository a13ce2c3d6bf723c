//! The commands of a client. APPEND is not among them: its messages come as [events](crate::Event).

use std::fmt;

use mailtypes::{
    Flags, Guid, InternalDate, Keyword, ModSeq, SearchKey, SequenceSet, SortCriterion, ThreadAlgorithm, UidValidity,
};

use crate::{Atom, FetchItem, InitialResponse, ListMailbox, Mailbox};

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
    /// `COMPRESS` (RFC 4978). What was read after it, before the answer, must be read as compressed.
    Compress {
        /// The algorithm.
        algorithm: Atom,
    },
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
        /// The mechanism.
        mechanism: Atom,
        /// What the client says at once (RFC 4959).
        initial: Option<InitialResponse>,
    },
    /// `ENABLE` (RFC 5161)
    Enable {
        /// What to enable.
        capabilities: Vec<Atom>,
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
        /// `USE` (RFC 6154 §5.3): what the mailbox is to be used for; each once.
        uses: Vec<SpecialUse>,
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
        set: MessageSet,
    },
    /// `SEARCH`, `UID SEARCH`
    Search(Search),
    /// `SORT`, `UID SORT` (RFC 5256)
    Sort(Sort),
    /// `THREAD`, `UID THREAD` (RFC 5256)
    Thread(Thread),
    /// `FETCH`, `UID FETCH`
    Fetch(Fetch),
    /// `STORE`, `UID STORE`
    Store(Store),
    /// `COPY`, `UID COPY`
    Copy {
        /// Whether `set` has UIDs.
        uid: bool,
        /// Which messages.
        set: MessageSet,
        /// Where to.
        mailbox: Mailbox,
    },
    /// `MOVE`, `UID MOVE` (RFC 6851)
    Move {
        /// Whether `set` has UIDs.
        uid: bool,
        /// Which messages.
        set: MessageSet,
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

/// A `sequence-set`, with what RFC 5182 adds to it.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum MessageSet {
    /// Numbers and ranges.
    Numbers(SequenceSet),
    /// `$`: the messages of the last search whose result was saved.
    SavedResult,
}

/// `select-param`s (RFC 4466).
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct SelectParams {
    /// `CONDSTORE` (RFC 7162 §3.1.8)
    pub condstore: bool,
    /// `QRESYNC` (RFC 7162 §3.2.5)
    pub qresync: Option<Qresync>,
}

/// What a client remembers of a mailbox (RFC 7162 §3.2.5).
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Qresync {
    /// Which incarnation it knew.
    pub uid_validity: UidValidity,
    /// The largest mod-sequence that it was told.
    pub mod_seq: ModSeq,
    /// The UIDs that it knew; `None` for all up to the last. Never with `*`.
    pub known_uids: Option<SequenceSet>,
    /// Some sequence numbers and the UIDs that they had, pair by pair. Never with `*`, ascending, equally many.
    pub seq_match: Option<(SequenceSet, SequenceSet)>,
}

/// What a mailbox is used for (RFC 6154 §2).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[non_exhaustive]
pub enum SpecialUse {
    /// `\All`
    All,
    /// `\Archive`
    Archive,
    /// `\Drafts`
    Drafts,
    /// `\Flagged`
    Flagged,
    /// `\Junk`
    Junk,
    /// `\Sent`
    Sent,
    /// `\Trash`
    Trash,
    /// `\Important` (RFC 8457)
    Important,
}

impl SpecialUse {
    /// Each use.
    pub const ALL: [Self; 8] =
        [Self::All, Self::Archive, Self::Drafts, Self::Flagged, Self::Junk, Self::Sent, Self::Trash, Self::Important];

    /// The name, with its backslash.
    pub const fn name(self) -> &'static str {
        match self {
            Self::All => "\\All",
            Self::Archive => "\\Archive",
            Self::Drafts => "\\Drafts",
            Self::Flagged => "\\Flagged",
            Self::Junk => "\\Junk",
            Self::Sent => "\\Sent",
            Self::Trash => "\\Trash",
            Self::Important => "\\Important",
        }
    }
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
    /// `MAILBOXID` (RFC 8474)
    MailboxId,
}

/// What a `status-att` is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum StatusValue {
    /// Of most.
    Number(u64),
    /// Of `MAILBOXID`.
    Id(Guid),
}

impl StatusItem {
    /// All.
    pub const ALL: [Self; 9] = [
        Self::Messages,
        Self::Recent,
        Self::UidNext,
        Self::UidValidity,
        Self::Unseen,
        Self::Deleted,
        Self::Size,
        Self::HighestModSeq,
        Self::MailboxId,
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
            Self::MailboxId => "MAILBOXID",
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
    /// Whether a CHARSET was named; texts have been decoded from it.
    pub charset: bool,
    /// What to look for.
    pub key: SearchKey,
}

/// SORT (RFC 5256).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sort {
    /// Whether the answer has UIDs.
    pub uid: bool,
    /// `RETURN` (RFC 5267 §3): the answer is an ESEARCH, in the order of sorting. `None` for a plain SORT.
    pub returns: Option<SearchReturn>,
    /// The first weighs most. Never empty.
    pub criteria: Vec<SortCriterion>,
    /// What to look for; texts have been decoded.
    pub key: SearchKey,
}

/// THREAD (RFC 5256).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Thread {
    /// Whether the answer has UIDs.
    pub uid: bool,
    /// How threads are made.
    pub algorithm: ThreadAlgorithm,
    /// What to look for; texts have been decoded.
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
    pub set: MessageSet,
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
    pub set: MessageSet,
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
