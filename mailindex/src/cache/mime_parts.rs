//! The value of `mime.parts`: where each part of a message lies (`docs/formats/cache.md`, "mime.parts").

/// Most parts that a value can hold.
pub const MIME_PARTS_MAX: usize = 10_000;

/// One part.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct MimePart {
    /// 1 multipart, 2 multipart/digest, 4 message/rfc822, 8 text, 0x10 unknown, 0x20 NULs, 0x40 MIME, 0x80 too many
    /// parts.
    pub flags: u32,
    /// Where its header begins in the message as stored; 0 for the root.
    pub physical_pos: u64,
    /// Header bytes as stored, empty line included.
    pub header_physical: u64,
    /// Header bytes with CRLF.
    pub header_virtual: u64,
    /// Body bytes as stored.
    pub body_physical: u64,
    /// Body bytes with CRLF.
    pub body_virtual: u64,
    /// Lines of the body; only of texts and messages.
    pub body_lines: u32,
    /// How many parts it has; only of multiparts and messages.
    pub children: u32,
}

impl MimePart {
    /// `flags`: multipart.
    pub const MULTIPART: u32 = 0x1;
    /// `flags`: message/rfc822.
    pub const MESSAGE: u32 = 0x4;
    /// `flags`: text.
    pub const TEXT: u32 = 0x8;

    fn has_lines(flags: u32) -> bool {
        flags & (Self::TEXT | Self::MESSAGE) != 0
    }

    fn has_children(flags: u32) -> bool {
        flags & (Self::MULTIPART | Self::MESSAGE) != 0
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn u32(&mut self) -> Option<u32> {
        let (bytes, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*bytes))
    }

    fn u64(&mut self) -> Option<u64> {
        let (bytes, rest) = self.0.split_first_chunk::<8>()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*bytes))
    }
}

/// The parts, depth first, the message itself first; `None` if the value is not exactly a tree of parts.
pub fn decode_mime_parts(value: &[u8]) -> Option<Vec<MimePart>> {
    let mut reader = Reader(value);
    let mut parts = Vec::new();
    // Parts still to come, in all open levels: depth does not matter, every part is followed by its own.
    let mut open: u64 = 1;
    while open > 0 {
        if parts.len() >= MIME_PARTS_MAX {
            return None;
        }
        let flags = reader.u32()?;
        let mut part = MimePart {
            flags,
            physical_pos: if parts.is_empty() { 0 } else { reader.u64()? },
            header_physical: reader.u64()?,
            header_virtual: reader.u64()?,
            body_physical: reader.u64()?,
            body_virtual: reader.u64()?,
            ..MimePart::default()
        };
        if MimePart::has_lines(flags) {
            part.body_lines = reader.u32()?;
        }
        if MimePart::has_children(flags) {
            part.children = reader.u32()?;
        }
        if flags & MimePart::MESSAGE != 0 && part.children != 1 {
            return None;
        }
        open = open - 1 + u64::from(part.children);
        parts.push(part);
    }
    reader.0.is_empty().then_some(parts)
}

/// The value for a tree of parts, depth first. What the flags do not call for is not written.
pub fn encode_mime_parts(parts: &[MimePart]) -> Vec<u8> {
    let mut out = Vec::with_capacity(parts.len() * 52);
    for (i, part) in parts.iter().enumerate() {
        out.extend(part.flags.to_le_bytes());
        if i > 0 {
            out.extend(part.physical_pos.to_le_bytes());
        }
        for size in [part.header_physical, part.header_virtual, part.body_physical, part.body_virtual] {
            out.extend(size.to_le_bytes());
        }
        if MimePart::has_lines(part.flags) {
            out.extend(part.body_lines.to_le_bytes());
        }
        if MimePart::has_children(part.flags) {
            out.extend(part.children.to_le_bytes());
        }
    }
    out
}
