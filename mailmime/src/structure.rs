//! What a scan found: parts, the fields that describe them, envelopes; and what follows from these.

use crate::content::Content;
use crate::date::{SentDate, parse_date};
use crate::envelope::Envelope;
use crate::part::{Part, PartFlags, PartIndex, PartTree};

/// The cache's `flags` (`docs/formats/cache.md`).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct CacheFlags(u32);

impl CacheFlags {
    /// The header is stored with CRLF throughout.
    pub const BINARY_HEADER: u32 = 0x01;
    /// The body is stored with CRLF throughout.
    pub const BINARY_BODY: u32 = 0x02;
    /// There are NUL bytes.
    pub const HAS_NULS: u32 = 0x04;
    /// One us-ascii text/plain part in 7bit, about which the header says nothing more: BODYSTRUCTURE follows from the
    /// sizes alone.
    pub const PLAIN_7BIT: u32 = 0x10;
    /// There are no NUL bytes.
    pub const HAS_NO_NULS: u32 = 0x20;

    /// The bits as stored.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.0
    }
}

/// One message, taken apart.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Structure {
    tree: PartTree,
    contents: Vec<Content>,
    /// Of the message itself and of those within it, ascending by part.
    envelopes: Vec<(PartIndex, Envelope)>,
    date: Option<Vec<u8>>,
    header: Vec<u8>,
    /// What contents and envelopes hold, by the estimate of the scan.
    content_len: usize,
}

/// Bytes that are held for the parts of a message, whatever their headers say.
pub(crate) fn held_for_parts(tree: &PartTree, envelopes: usize) -> usize {
    tree.count() * (size_of::<Part>() + size_of::<Content>()) + envelopes * size_of::<(PartIndex, Envelope)>()
}

impl Structure {
    pub(crate) fn new(
        tree: PartTree,
        contents: Vec<Content>,
        envelopes: Vec<(PartIndex, Envelope)>,
        date: Option<Vec<u8>>,
        header: Vec<u8>,
        content_len: usize,
    ) -> Self {
        Self { tree, contents, envelopes, date, header, content_len }
    }

    /// About how many bytes of memory it holds.
    #[must_use]
    pub fn held_len(&self) -> usize {
        self.header.capacity() + self.content_len + held_for_parts(&self.tree, self.envelopes.len())
    }

    /// Gives the memory of [`Structure::header`] back: it is empty from now on, as if the limit for it were 0.
    pub fn forget_header(&mut self) {
        self.header = Vec::new();
    }

    /// Scans a message that is in memory as a whole, with default limits.
    #[must_use]
    pub fn of(message: &[u8]) -> Self {
        let mut scanner = crate::Scanner::new(crate::Limits::default());
        scanner.write(message);
        scanner.finish()
    }

    /// Places, sizes and flags of the parts.
    #[must_use]
    pub fn tree(&self) -> &PartTree {
        &self.tree
    }

    /// The `Content-*` fields of a part.
    #[must_use]
    pub fn content(&self, part: PartIndex) -> &Content {
        static NONE: Content = Content {
            media_type: None,
            params: Vec::new(),
            id: None,
            description: None,
            transfer_encoding: None,
            md5: None,
            disposition: None,
            language: Vec::new(),
            location: None,
        };
        self.contents.get(part.0).unwrap_or(&NONE)
    }

    /// The message's envelope.
    #[must_use]
    pub fn envelope(&self) -> Option<&Envelope> {
        self.envelope_of(PartIndex::ROOT)
    }

    /// The envelope of a message: of [`PartIndex::ROOT`], or of the child of a message/rfc822 part.
    #[must_use]
    pub fn envelope_of(&self, part: PartIndex) -> Option<&Envelope> {
        let place = self.envelopes.binary_search_by_key(&part, |(part, _)| *part).ok()?;
        self.envelopes.get(place).map(|(_, envelope)| envelope)
    }

    /// The header of the message as stored, with the empty line that ends it; cut off at
    /// [`crate::Limits::header_len_max`], which [`Structure::header_is_whole`] tells.
    #[must_use]
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// Whether [`Structure::header`] is all of it.
    #[must_use]
    pub fn header_is_whole(&self) -> bool {
        self.header.len() as u64 == self.tree.root().header.physical_len
    }

    /// Bytes of the message as stored.
    #[must_use]
    pub fn physical_len(&self) -> u64 {
        self.tree.root().end_offset()
    }

    /// Bytes of the message with CRLF line ends: RFC822.SIZE.
    #[must_use]
    pub fn virtual_len(&self) -> u64 {
        let root = self.tree.root();
        root.header.virtual_len.saturating_add(root.body.virtual_len)
    }

    /// When it was sent, by its first Date field; `None` if there is none or it is no date.
    #[must_use]
    pub fn sent_date(&self) -> Option<SentDate> {
        parse_date(self.date.as_deref()?)
    }

    /// Whether there are NUL bytes anywhere.
    #[must_use]
    pub fn has_nuls(&self) -> bool {
        self.tree.iter().any(|(_, part)| part.flags.has(PartFlags::HAS_NULS))
    }

    /// The value for the cache's field `flags`.
    #[must_use]
    pub fn cache_flags(&self) -> CacheFlags {
        let root = self.tree.root();
        let mut bits = if self.has_nuls() { CacheFlags::HAS_NULS } else { CacheFlags::HAS_NO_NULS };
        if root.header.virtual_len == root.header.physical_len {
            bits |= CacheFlags::BINARY_HEADER;
        }
        if root.body.virtual_len == root.body.physical_len {
            bits |= CacheFlags::BINARY_BODY;
        }
        if self.is_plain_7bit() {
            bits |= CacheFlags::PLAIN_7BIT;
        }
        CacheFlags(bits)
    }

    fn is_plain_7bit(&self) -> bool {
        let content = self.content(PartIndex::ROOT);
        let charset_is_default = match content.params.as_slice() {
            [] => true,
            [param] => {
                param.name.eq_ignore_ascii_case(b"charset")
                    && param.value.eq_ignore_ascii_case(crate::body_structure::DEFAULT_CHARSET)
            }
            _ => false,
        };
        self.tree.root().flags.has(PartFlags::TEXT)
            && content.media_type.as_ref().is_none_or(|(_, sub)| sub.eq_ignore_ascii_case(b"plain"))
            && charset_is_default
            && content.transfer_encoding.as_ref().is_none_or(|token| token.eq_ignore_ascii_case(b"7bit"))
            && content.id.is_none()
            && content.description.is_none()
            && content.md5.is_none()
            && content.disposition.is_none()
            && content.language.is_empty()
            && content.location.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flags(message: &[u8]) -> u32 {
        Structure::of(message).cache_flags().bits()
    }

    #[test]
    fn cache_flags() {
        assert_eq!(flags(b"Subject: one\n\nbody\n"), CacheFlags::PLAIN_7BIT | CacheFlags::HAS_NO_NULS);
        assert_eq!(flags(b"Subject: x\r\n\r\nnul \0\n"), 0x10 | 0x04 | 0x01);
        assert_eq!(flags(b"Content-Type: TEXT/Plain; Charset=US-ASCII\n\n\r\n"), 0x10 | 0x20 | 0x02);
        assert_eq!(flags(b"Content-Type: text/plain; charset=utf-8\n\nx\n"), 0x20);
        assert_eq!(flags(b"Content-Type: text/plain\nContent-ID: x\n\nx\n"), 0x20);
    }

    /// What the flag promises: the text made from the sizes says the same.
    #[test]
    fn plain_messages_need_no_cached_text() {
        let message = Structure::of(b"Subject: one\n\nbody\n");
        let (mut plain, mut printed) = (Vec::new(), Vec::new());
        message.tree().write_plain_bodystructure_inner(&mut plain);
        message.write_bodystructure_inner(&mut printed);
        assert_eq!(plain, printed);
    }

    #[test]
    fn the_first_date_counts() {
        let message = Structure::of(b"Date: 2 Jan 1970 00:00 GMT\nDate: 1 Jan 2000 00:00 GMT\n\n");
        assert_eq!(message.sent_date(), Some(SentDate { unix_seconds: 86_400, zone_minutes: 0 }));
        assert_eq!(message.envelope().unwrap().date.as_deref(), Some(&b"1 Jan 2000 00:00 GMT"[..]));
    }
}
