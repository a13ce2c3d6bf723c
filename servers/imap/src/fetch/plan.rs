//! What a FETCH needs of each message, decided once a command.

use std::num::NonZeroU32;

use imap_proto::{FetchItem, Partial, Section, SectionText};
use mailstore::{Column, Columns};

/// What to write of each message, in order, and what to scan for it.
pub(super) struct Plan {
    pub(super) items: Vec<Item>,
    pub(super) columns: Columns,
    /// A text without PEEK is among the items.
    pub(super) sets_seen: bool,
    /// FLAGS is among the items.
    pub(super) has_flags: bool,
    /// MODSEQ is among the items.
    pub(super) has_mod_seq: bool,
    /// A message has to be opened.
    pub(super) needs_body: bool,
}

pub(super) enum Item {
    Flags,
    Uid,
    InternalDate,
    Size,
    SaveDate,
    ModSeq,
    EmailId,
    ThreadId,
    Envelope,
    Body,
    BodyStructure,
    Preview,
    Text(Text),
    Binary(Binary),
    BinarySize(Vec<NonZeroU32>),
}

/// A text with its transfer encoding undone.
pub(super) struct Binary {
    pub(super) part: Vec<NonZeroU32>,
    pub(super) partial: Option<Partial>,
}

/// A text: some bytes of the message.
pub(super) struct Text {
    pub(super) label: Label,
    pub(super) source: Source,
    pub(super) partial: Option<Partial>,
}

/// Under which name it was asked for.
pub(super) enum Label {
    Section(Section),
    Rfc822(&'static str),
}

/// Where its bytes are.
pub(super) enum Source {
    /// The message.
    Whole,
    /// A stretch of it.
    Part { path: Vec<u32>, what: What },
    /// Fields of the header of a part.
    Fields { path: Vec<u32>, names: Vec<String>, not: bool },
    /// Fields of the message's header, which the scan brings: their places in [`Columns::headers`].
    Scanned(Vec<usize>),
}

/// Which stretch of a part.
#[derive(Clone, Copy)]
pub(super) enum What {
    Body,
    Header,
    Text,
    Mime,
}

impl Plan {
    /// `None` where an item belongs to an extension that is not supported.
    pub(super) fn new(uid: bool, items: Vec<FetchItem>) -> Option<Self> {
        let mut plan = Self {
            items: Vec::with_capacity(items.len() + 1),
            columns: Columns::flags(),
            sets_seen: items.iter().any(FetchItem::sets_seen),
            has_flags: items.contains(&FetchItem::Flags),
            has_mod_seq: items.contains(&FetchItem::ModSeq),
            needs_body: false,
        };
        if uid && !items.contains(&FetchItem::Uid) {
            plan.items.push(Item::Uid);
        }
        for (place, item) in items.iter().enumerate() {
            // An item asked for twice is told once; but each text as often as it is asked for.
            let is_text = matches!(item, FetchItem::BodySection { .. } | FetchItem::Binary { .. });
            if !is_text && items.iter().take(place).any(|before| before == item) {
                continue;
            }
            let item = match item.clone() {
                FetchItem::Flags => Item::Flags,
                FetchItem::Uid => Item::Uid,
                FetchItem::InternalDate => plan.column(Column::InternalDate, Item::InternalDate),
                FetchItem::Rfc822Size => plan.column(Column::Size, Item::Size),
                FetchItem::Envelope => plan.column(Column::Envelope, Item::Envelope),
                FetchItem::Body => plan.column(Column::Body, Item::Body),
                FetchItem::BodyStructure => plan.column(Column::BodyStructure, Item::BodyStructure),
                FetchItem::ModSeq => Item::ModSeq,
                FetchItem::SaveDate => plan.column(Column::SaveDate, Item::SaveDate),
                FetchItem::EmailId => plan.column(Column::Guid, Item::EmailId),
                FetchItem::ThreadId => Item::ThreadId,
                FetchItem::Preview { lazy: false } => plan.column(Column::Preview, Item::Preview),
                FetchItem::Preview { lazy: true } => plan.column(Column::CachedPreview, Item::Preview),
                FetchItem::Binary { part, partial, .. } => plan.opened(Item::Binary(Binary { part, partial })),
                FetchItem::BinarySize { part } => plan.opened(Item::BinarySize(part)),
                FetchItem::Rfc822 => plan.rfc822("RFC822", None),
                FetchItem::Rfc822Header => plan.rfc822("RFC822.HEADER", Some(What::Header)),
                FetchItem::Rfc822Text => plan.rfc822("RFC822.TEXT", Some(What::Text)),
                FetchItem::BodySection { section, partial, .. } => {
                    let source = plan.source(&section);
                    Item::Text(Text { label: Label::Section(section), source, partial })
                }
                _ => return None,
            };
            plan.items.push(item);
        }
        Some(plan)
    }

    /// Whether memory can answer it.
    pub(super) fn only_flags(&self) -> bool {
        self.columns.only_flags() && !self.needs_body
    }

    fn column(&mut self, column: Column, item: Item) -> Item {
        self.columns = std::mem::take(&mut self.columns).with(column);
        item
    }

    /// An item for which the message's parts are looked at.
    fn opened(&mut self, item: Item) -> Item {
        self.needs_body = true;
        self.column(Column::Parts, item)
    }

    fn rfc822(&mut self, name: &'static str, what: Option<What>) -> Item {
        let source = match what {
            Some(what) => self.part(Vec::new(), what),
            None => self.whole(),
        };
        Item::Text(Text { label: Label::Rfc822(name), source, partial: None })
    }

    fn source(&mut self, section: &Section) -> Source {
        let path: Vec<u32> = section.part.iter().map(|n| n.get()).collect();
        match &section.text {
            None if path.is_empty() => self.whole(),
            None => self.part(path, What::Body),
            Some(SectionText::Header) => self.part(path, What::Header),
            Some(SectionText::Text) => self.part(path, What::Text),
            Some(SectionText::Mime) => self.part(path, What::Mime),
            Some(SectionText::HeaderFields(names)) if path.is_empty() => self.scanned(names),
            Some(SectionText::HeaderFields(names)) => self.fields(path, names, false),
            Some(SectionText::HeaderFieldsNot(names)) => self.fields(path, names, true),
        }
    }

    fn whole(&mut self) -> Source {
        self.needs_body = true;
        Source::Whole
    }

    fn part(&mut self, path: Vec<u32>, what: What) -> Source {
        self.needs_body = true;
        self.columns = std::mem::take(&mut self.columns).with(Column::Parts);
        Source::Part { path, what }
    }

    fn fields(&mut self, path: Vec<u32>, names: &[String], not: bool) -> Source {
        self.needs_body = true;
        self.columns = std::mem::take(&mut self.columns).with(Column::Parts);
        Source::Fields { path, names: names.to_vec(), not }
    }

    fn scanned(&mut self, names: &[String]) -> Source {
        let mut places = Vec::with_capacity(names.len());
        for name in names {
            self.columns = std::mem::take(&mut self.columns).with_header(name);
            let place = self.columns.headers.iter().position(|have| have.eq_ignore_ascii_case(name));
            // A name given twice is told once.
            places.extend(place.filter(|place| !places.contains(place)));
        }
        Source::Scanned(places)
    }
}
