//! What FETCH can ask for (RFC 9051 §6.4.5, `fetch-att`).

use std::num::{NonZeroU32, NonZeroU64};

/// A `fetch-att`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum FetchItem {
    /// `FLAGS`
    Flags,
    /// `UID`
    Uid,
    /// `INTERNALDATE`
    InternalDate,
    /// `RFC822`: the message; sets `\Seen`.
    Rfc822,
    /// `RFC822.HEADER`: the header; does not set `\Seen`.
    Rfc822Header,
    /// `RFC822.TEXT`: the body; sets `\Seen`.
    Rfc822Text,
    /// `RFC822.SIZE`
    Rfc822Size,
    /// `ENVELOPE`
    Envelope,
    /// `BODY`: the body structure without extension data.
    Body,
    /// `BODYSTRUCTURE`
    BodyStructure,
    /// `BODY[section]<partial>`; sets `\Seen` unless it peeks.
    BodySection {
        /// `BODY.PEEK`: leaves `\Seen` alone.
        peek: bool,
        /// Which bytes.
        section: Section,
        /// Which of them.
        partial: Option<Partial>,
    },
    /// `BINARY[section]<partial>` (RFC 3516): a part's text with its transfer encoding undone.
    Binary {
        /// `BINARY.PEEK`: leaves `\Seen` alone.
        peek: bool,
        /// Which part; empty for the whole message.
        part: Vec<NonZeroU32>,
        /// Which of its bytes.
        partial: Option<Partial>,
    },
    /// `BINARY.SIZE[section]` (RFC 3516)
    BinarySize {
        /// Which part.
        part: Vec<NonZeroU32>,
    },
    /// `MODSEQ` (RFC 7162)
    ModSeq,
    /// `SAVEDATE` (RFC 8514)
    SaveDate,
    /// `PREVIEW` (RFC 8970)
    Preview {
        /// `LAZY`: only if it is at hand.
        lazy: bool,
    },
    /// `EMAILID` (RFC 8474)
    EmailId,
    /// `THREADID` (RFC 8474)
    ThreadId,
}

impl FetchItem {
    /// Whether the server sets `\Seen` on a message for having sent this.
    pub fn sets_seen(&self) -> bool {
        match self {
            Self::Rfc822 | Self::Rfc822Text => true,
            Self::BodySection { peek, .. } | Self::Binary { peek, .. } => !peek,
            _ => false,
        }
    }
}

/// A `section`: which bytes of a message. Both fields empty is the whole message.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Section {
    /// `section-part`: numbers of nested parts, outermost first; empty for the message itself.
    pub part: Vec<NonZeroU32>,
    /// What of that part; `None` for its body (of the message: all of it).
    pub text: Option<SectionText>,
}

/// `section-text`: what of a part.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum SectionText {
    /// `HEADER`: the RFC 5322 header of the message, or of the message/rfc822 part.
    Header,
    /// `HEADER.FIELDS`: these of its fields. Printable ASCII, spelled as the client did.
    HeaderFields(Vec<String>),
    /// `HEADER.FIELDS.NOT`: all its fields but these.
    HeaderFieldsNot(Vec<String>),
    /// `TEXT`: the body without the header.
    Text,
    /// `MIME`: the part's own MIME header. Only with a part.
    Mime,
}

/// `partial`: a range of bytes, cut to what there is.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Partial {
    /// The first byte, from 0.
    pub offset: u64,
    /// How many at most.
    pub len: NonZeroU64,
}
