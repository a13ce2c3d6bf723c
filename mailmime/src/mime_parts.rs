//! The cache's `mime.parts` (`docs/formats/cache.md`, "mime.parts").
//!
//! Decoding trusts nothing: no count is believed before the bytes for it are there, every part must lie within its
//! parent and behind the part before it, and the value must end where the last part does.

use thiserror::Error;

use crate::part::{Part, PartFlags, PartIndex, PartTree, Size};

/// A cached `mime.parts` that cannot be used. The message has to be scanned again.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum MimePartsError {
    /// The value ends within a part, or before all announced children.
    #[error("decoding mime.parts: the value ends early, at byte {offset}")]
    Truncated {
        /// Where, in bytes from the beginning of the value.
        offset: usize,
    },
    /// There is something behind the last part.
    #[error("decoding mime.parts: bytes are left over at byte {offset}")]
    TrailingBytes {
        /// Where the last part ends.
        offset: usize,
    },
    /// A part does not lie where its parent and the part before it allow, or its sizes contradict each other.
    #[error("decoding mime.parts: part {part}, read up to byte {offset}, has an impossible place or size")]
    Misplaced {
        /// The number of the part, the message itself being 0.
        part: usize,
        /// Behind the part's numbers.
        offset: usize,
    },
    /// A message/rfc822 part with other than one child.
    #[error("decoding mime.parts: message/rfc822 part {part}, read up to byte {offset}, has {count} children")]
    ChildCount {
        /// The number of the part.
        part: usize,
        /// Behind the part's numbers.
        offset: usize,
        /// The number of children it claims.
        count: u32,
    },
}

/// The value for the cache.
#[must_use]
pub fn encode_mime_parts(tree: &PartTree) -> Vec<u8> {
    let mut out = Vec::with_capacity(tree.count() * 52);
    for (index, part) in tree.iter() {
        out.extend_from_slice(&part.flags.bits().to_le_bytes());
        if index != PartIndex::ROOT {
            out.extend_from_slice(&part.header_offset.to_le_bytes());
        }
        for size in [part.header, part.body] {
            out.extend_from_slice(&size.physical_len.to_le_bytes());
            out.extend_from_slice(&size.virtual_len.to_le_bytes());
        }
        if part.flags.has_lines() {
            out.extend_from_slice(&part.body.lines.to_le_bytes());
        }
        if part.flags.has_children() {
            let count = u32::try_from(tree.children(index).count()).unwrap_or(u32::MAX);
            out.extend_from_slice(&count.to_le_bytes());
        }
    }
    out
}

/// Reads a value from the cache. Of headers there is no line count (0), of bodies only where the format has one.
///
/// # Errors
/// Whatever is not exactly one well-formed tree. The cost is linear in `value`.
pub fn decode_mime_parts(value: &[u8]) -> Result<PartTree, MimePartsError> {
    let mut reader = Reader { rest: value, len: value.len() };
    let mut tree = PartTree::new();
    // Parts that still want children: how many, and the last one they have got.
    let mut open = Vec::new();
    let (root, count) = reader.part(&tree, None)?;
    *tree.root_mut() = root;
    if count > 0 {
        open.push((PartIndex::ROOT, count, None));
    }
    while let Some((parent, wanted, previous)) = open.pop() {
        let (part, count) = reader.part(&tree, Some(parent))?;
        let earliest = match previous {
            Some(previous) => tree.part(previous).end_offset(),
            None => tree.part(parent).body_offset(),
        };
        if part.header_offset < earliest || part.end_offset() > tree.part(parent).end_offset() {
            return Err(MimePartsError::Misplaced { part: tree.count(), offset: reader.offset() });
        }
        let index = tree.push(parent, previous, part.header_offset);
        *tree.part_mut(index) = part;
        if wanted > 1 {
            open.push((parent, wanted - 1, Some(index)));
        }
        if count > 0 {
            open.push((index, count, None));
        }
    }
    if !reader.rest.is_empty() {
        return Err(MimePartsError::TrailingBytes { offset: reader.offset() });
    }
    Ok(tree)
}

struct Reader<'a> {
    rest: &'a [u8],
    len: usize,
}

impl Reader<'_> {
    fn offset(&self) -> usize {
        self.len - self.rest.len()
    }

    fn bytes<const N: usize>(&mut self) -> Result<[u8; N], MimePartsError> {
        let (bytes, rest) = self.rest.split_first_chunk().ok_or(MimePartsError::Truncated { offset: self.offset() })?;
        self.rest = rest;
        Ok(*bytes)
    }

    fn u32(&mut self) -> Result<u32, MimePartsError> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, MimePartsError> {
        self.bytes().map(u64::from_le_bytes)
    }

    fn size(&mut self) -> Result<Size, MimePartsError> {
        Ok(Size { physical_len: self.u64()?, virtual_len: self.u64()?, lines: 0 })
    }

    /// One part and the number of children it announces.
    fn part(&mut self, tree: &PartTree, parent: Option<PartIndex>) -> Result<(Part, u32), MimePartsError> {
        let flags = PartFlags::from_bits(self.u32()?);
        let mut part = Part::new(if parent.is_some() { self.u64()? } else { 0 }, parent);
        part.flags = flags;
        part.header = self.size()?;
        part.body = self.size()?;
        if flags.has_lines() {
            part.body.lines = self.u32()?;
        }
        let count = if flags.has_children() { self.u32()? } else { 0 };
        let number = if parent.is_some() { tree.count() } else { 0 };
        let offset = self.offset();
        // Offsets are sums of these, so none may run over.
        let sums = part.header_offset.checked_add(part.header.physical_len);
        if sums.and_then(|sum| sum.checked_add(part.body.physical_len)).is_none()
            || [part.header, part.body].iter().any(|size| size.virtual_len < size.physical_len)
        {
            return Err(MimePartsError::Misplaced { part: number, offset });
        }
        if flags.has(PartFlags::MESSAGE_RFC822) && count != 1 {
            return Err(MimePartsError::ChildCount { part: number, offset, count });
        }
        Ok((part, count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Structure;

    #[test]
    fn the_example_of_the_format_page() {
        let message = Structure::of(b"Subject: one\n\nbody\n");
        let mut expected = vec![8, 0, 0, 0];
        for number in [14u64, 16, 5, 6] {
            expected.extend_from_slice(&number.to_le_bytes());
        }
        expected.extend_from_slice(&[1, 0, 0, 0]);
        assert_eq!(encode_mime_parts(message.tree()), expected);
    }

    #[test]
    fn damaged_values_are_refused() {
        let message = Structure::of(b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b\n\ny\n--b--\n");
        let value = encode_mime_parts(message.tree());
        assert_eq!(decode_mime_parts(&value).unwrap().count(), 3);
        for len in 0..value.len() {
            assert!(matches!(decode_mime_parts(&value[..len]), Err(MimePartsError::Truncated { .. })), "{len}");
        }
        let longer = [value.as_slice(), b"\0"].concat();
        assert_eq!(decode_mime_parts(&longer), Err(MimePartsError::TrailingBytes { offset: value.len() }));
        // The first child's offset follows its flags; the root's numbers take 40 bytes.
        let mut moved = value;
        moved[44..52].copy_from_slice(&1u64.to_le_bytes());
        assert!(matches!(decode_mime_parts(&moved), Err(MimePartsError::Misplaced { part: 1, .. })));
    }
}
