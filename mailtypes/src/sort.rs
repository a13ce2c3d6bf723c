//! Orders in which messages can be told (RFC 5256, RFC 5957), free of any protocol's syntax.

/// What messages are sorted by.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum SortKey {
    /// `ARRIVAL`: internal date and time.
    Arrival,
    /// `CC`: the first mailbox of the Cc field.
    Cc,
    /// `DATE`: the time in the Date field, in UTC; without one, the internal date.
    Date,
    /// `DISPLAYFROM`: the first From address as shown to people (RFC 5957).
    DisplayFrom,
    /// `DISPLAYTO`: the first To address as shown to people (RFC 5957).
    DisplayTo,
    /// `FROM`: the first mailbox of the From field.
    From,
    /// `SIZE`: bytes.
    Size,
    /// `SUBJECT`: the base subject (RFC 5256 §2.1).
    Subject,
    /// `TO`: the first mailbox of the To field.
    To,
}

impl SortKey {
    /// All.
    pub const ALL: [Self; 9] = [
        Self::Arrival,
        Self::Cc,
        Self::Date,
        Self::DisplayFrom,
        Self::DisplayTo,
        Self::From,
        Self::Size,
        Self::Subject,
        Self::To,
    ];

    /// Its name in IMAP.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Arrival => "ARRIVAL",
            Self::Cc => "CC",
            Self::Date => "DATE",
            Self::DisplayFrom => "DISPLAYFROM",
            Self::DisplayTo => "DISPLAYTO",
            Self::From => "FROM",
            Self::Size => "SIZE",
            Self::Subject => "SUBJECT",
            Self::To => "TO",
        }
    }
}

/// One of several criteria, the first of which weighs most. Messages equal in all stand in order of sequence number.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct SortCriterion {
    /// By what.
    pub key: SortKey,
    /// `REVERSE`: the largest first.
    pub reverse: bool,
}

/// How threads are made of messages.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ThreadAlgorithm {
    /// `ORDEREDSUBJECT`: by base subject and date (RFC 5256 §3).
    OrderedSubject,
    /// `REFERENCES`: by Message-ID and References, then by subject (RFC 5256 §3).
    References,
    /// `REFS`: by Message-ID and References alone, threads in the order of their newest message
    /// (draft-ietf-morg-inthread).
    Refs,
}

impl ThreadAlgorithm {
    /// All.
    pub const ALL: [Self; 3] = [Self::OrderedSubject, Self::References, Self::Refs];

    /// Its name in IMAP.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OrderedSubject => "ORDEREDSUBJECT",
            Self::References => "REFERENCES",
            Self::Refs => "REFS",
        }
    }
}
