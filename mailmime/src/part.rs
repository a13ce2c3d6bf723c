//! The parts of a message as places, sizes and flags: what Dovecot caches as `mime.parts` (`docs/formats/cache.md`).
//!
//! A [`PartTree`] is flat: the parts in the order in which they begin, which is also depth first, the message itself
//! at 0. So no walk over it needs recursion and dropping it is one free.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

/// What a part is, with the bits of `mime.parts`.
#[derive(Clone, Copy, Default, Eq, Hash, PartialEq)]
pub struct PartFlags(u32);

impl PartFlags {
    /// `multipart/*`.
    pub const MULTIPART: Self = Self(0x01);
    /// `multipart/digest`, set beside MULTIPART.
    pub const MULTIPART_DIGEST: Self = Self(0x02);
    /// `message/rfc822`; has exactly one child, the message in it.
    pub const MESSAGE_RFC822: Self = Self(0x04);
    /// `text/*`, the default included.
    pub const TEXT: Self = Self(0x08);
    /// Header or body has NUL bytes.
    pub const HAS_NULS: Self = Self(0x20);
    /// The header has MIME fields, or the part lies in a multipart.
    pub const IS_MIME: Self = Self(0x40);
    /// A limit was met: what this part holds was not taken apart further.
    pub const OVERFLOW: Self = Self(0x80);

    /// Any bits, also ones without a meaning here: a cache may hold them.
    #[must_use]
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The bits as stored.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether any of `flags` is set.
    #[must_use]
    pub const fn has(self, flags: Self) -> bool {
        self.0 & flags.0 != 0
    }

    pub(crate) fn remove(&mut self, flags: Self) {
        self.0 &= !flags.0;
    }

    /// `mime.parts` has a line count for these.
    pub(crate) fn has_lines(self) -> bool {
        self.has(Self::TEXT | Self::MESSAGE_RFC822)
    }

    /// `mime.parts` has a number of children for these.
    pub(crate) fn has_children(self) -> bool {
        self.has(Self::MULTIPART | Self::MESSAGE_RFC822)
    }
}

impl BitOr for PartFlags {
    type Output = Self;
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for PartFlags {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for PartFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PartFlags({:#x})", self.0)
    }
}

/// How large a header or a body is.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Size {
    /// Bytes as stored.
    pub physical_len: u64,
    /// Bytes with every line end as CRLF.
    pub virtual_len: u64,
    /// Line ends.
    pub lines: u32,
}

impl Size {
    /// Adds another size, such as a part's to the body of the part around it.
    pub(crate) fn add(&mut self, other: Self) {
        self.physical_len = self.physical_len.saturating_add(other.physical_len);
        self.virtual_len = self.virtual_len.saturating_add(other.virtual_len);
        self.lines = self.lines.saturating_add(other.lines);
    }

    /// Takes away one line end of `newline_len` bytes that had been counted.
    pub(crate) fn remove_newline(&mut self, newline_len: u64) {
        self.physical_len = self.physical_len.saturating_sub(newline_len);
        self.virtual_len = self.virtual_len.saturating_sub(2);
        self.lines = self.lines.saturating_sub(1);
    }

    /// Adds one line end of `newline_len` bytes.
    pub(crate) fn add_newline(&mut self, newline_len: u64) {
        self.add(Self { physical_len: newline_len, virtual_len: 2, lines: 1 });
    }
}

/// A part's place in its [`PartTree`]; the message itself is [`PartIndex::ROOT`].
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PartIndex(pub(crate) usize);

impl PartIndex {
    /// The message as a whole.
    pub const ROOT: Self = Self(0);
}

/// One part.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct Part {
    /// What it is.
    pub flags: PartFlags,
    /// Where its header begins, in bytes as stored from the beginning of the message.
    pub header_offset: u64,
    /// The header, with the empty line that ends it.
    pub header: Size,
    /// The body, which follows the header. Its line count is kept for text and message/rfc822 only.
    pub body: Size,
    pub(crate) parent: Option<PartIndex>,
    pub(crate) first_child: Option<PartIndex>,
    pub(crate) next_sibling: Option<PartIndex>,
}

impl Part {
    pub(crate) fn new(header_offset: u64, parent: Option<PartIndex>) -> Self {
        Self {
            flags: PartFlags::default(),
            header_offset,
            header: Size::default(),
            body: Size::default(),
            parent,
            first_child: None,
            next_sibling: None,
        }
    }

    /// Where the body begins.
    #[must_use]
    pub fn body_offset(&self) -> u64 {
        self.header_offset.saturating_add(self.header.physical_len)
    }

    /// Where the body ends.
    #[must_use]
    pub fn end_offset(&self) -> u64 {
        self.body_offset().saturating_add(self.body.physical_len)
    }
}

/// All parts of one message; there is always at least the message itself.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct PartTree {
    root: Part,
    /// Those below the root.
    rest: Vec<Part>,
}

impl PartTree {
    pub(crate) fn new() -> Self {
        Self { root: Part::new(0, None), rest: Vec::new() }
    }

    /// The message itself.
    #[must_use]
    pub fn root(&self) -> &Part {
        &self.root
    }

    pub(crate) fn root_mut(&mut self) -> &mut Part {
        &mut self.root
    }

    /// How many parts there are, the message itself included.
    #[must_use]
    pub fn count(&self) -> usize {
        self.rest.len() + 1
    }

    /// The part at `index`. An index from another tree may give any part of this one.
    #[must_use]
    pub fn part(&self, index: PartIndex) -> &Part {
        index.0.checked_sub(1).and_then(|i| self.rest.get(i)).unwrap_or(&self.root)
    }

    pub(crate) fn part_mut(&mut self, index: PartIndex) -> &mut Part {
        match index.0.checked_sub(1).and_then(|i| self.rest.get_mut(i)) {
            Some(part) => part,
            None => &mut self.root,
        }
    }

    /// All parts with their indexes, in the order in which they begin.
    pub fn iter(&self) -> impl Iterator<Item = (PartIndex, &Part)> {
        std::iter::once(&self.root).chain(&self.rest).enumerate().map(|(i, part)| (PartIndex(i), part))
    }

    /// The parts directly in `parent`, in order.
    pub fn children(&self, parent: PartIndex) -> impl Iterator<Item = PartIndex> {
        std::iter::successors(self.part(parent).first_child, |&child| self.part(child).next_sibling)
    }

    /// The part around `index`; `None` for the message itself.
    #[must_use]
    pub fn parent(&self, index: PartIndex) -> Option<PartIndex> {
        self.part(index).parent
    }

    /// Appends the last child of `parent`. `previous` is the child before it, if there is one.
    pub(crate) fn push(&mut self, parent: PartIndex, previous: Option<PartIndex>, header_offset: u64) -> PartIndex {
        let index = PartIndex(self.count());
        self.rest.push(Part::new(header_offset, Some(parent)));
        match previous {
            Some(previous) => self.part_mut(previous).next_sibling = Some(index),
            None => self.part_mut(parent).first_child = Some(index),
        }
        index
    }
}
