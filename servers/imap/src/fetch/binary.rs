//! BINARY and BINARY.SIZE (RFC 3516): parts with their transfer encoding undone, read piece by piece.
//!
//! What is asked for is a list of stretches: as stored, decoded, or a header whose Content-Transfer-Encoding was changed to
//! `binary`. Its length must be known before the first byte is sent, so a long one is read twice, and a short one kept. A
//! message or multipart is told with all its parts decoded and their headers changed, as Dovecot does.

use std::collections::VecDeque;

use imap_proto::write::Code;
use mailmime::{BinaryDecoder, Content, Fields, Part, PartFlags, PartIndex, PartTree, TransferEncoding};
use mailstore::{Body, Section, StorageError};

/// Bytes read of the message at a time.
const PIECE_LEN: usize = 16 * 1024;

/// Longest text, as stored, that is kept from when its length was found out.
const KEPT_LEN_MAX: u64 = 128 * 1024;

/// Longest header of a part that is looked at for its encoding.
const HEADER_LEN_MAX: u64 = 1 << 20;

/// Why a part cannot be told.
#[derive(Debug)]
pub(super) enum BinaryFailure {
    /// Its encoding is not known.
    UnknownEncoding,
    /// It is not encoded as it says.
    Broken,
    /// The store failed.
    Storage(StorageError),
}

impl BinaryFailure {
    /// What the command answers.
    pub(super) fn answer(&self) -> Option<(Code<'static>, &'static str)> {
        match self {
            Self::UnknownEncoding => Some((Code::UnknownCte, "Unknown Content-Transfer-Encoding.")),
            Self::Broken => Some((Code::Parse, "Invalid data in a part.")),
            Self::Storage(_) => None,
        }
    }
}

impl From<StorageError> for BinaryFailure {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

/// A text that is read from its beginning to its end.
#[derive(Debug)]
pub(super) struct BinaryText {
    pieces: VecDeque<Piece>,
    /// Where in the first piece reading is.
    offset: u64,
    decoder: Option<BinaryDecoder>,
    /// Something was decoded or may hold NULs: the text must be a literal8.
    pub(super) is_binary: bool,
}

#[derive(Clone, Debug)]
enum Piece {
    AsStored(Section),
    /// Made already: a header, or a whole text.
    Made(Vec<u8>),
    Decoded(Section, TransferEncoding),
}

impl BinaryText {
    /// The text of the part with this number; `None` if there is no such part.
    pub(super) fn find(body: &mut dyn Body, tree: &PartTree, path: &[u32]) -> Result<Option<Self>, BinaryFailure> {
        let (Some(index), Some(ranges)) = (tree.find(path), tree.ranges(path)) else { return Ok(None) };
        let part = tree.part(index);
        let mut pieces = VecDeque::new();
        let mut is_binary = part.flags.has(PartFlags::HAS_NULS);
        let end = ranges.body.offset.saturating_add(ranges.body.physical_len);
        if !holds_parts(part) && !path.is_empty() {
            let (_, encoding) = encoding_of(body, part)?;
            is_binary |= encoding != TransferEncoding::Identity;
            pieces.push_back(Piece::Decoded(stretch(part.body_offset(), end), encoding));
            return Ok(Some(Self { pieces, offset: 0, decoder: None, is_binary }));
        }
        let mut at = ranges.body.offset;
        for (inner, leaf) in tree.iter().filter(|(_, part)| !holds_parts(part)) {
            if leaf.header_offset < ranges.body.offset || leaf.end_offset() > end || !is_within(tree, inner, index) {
                continue;
            }
            is_binary |= leaf.flags.has(PartFlags::HAS_NULS);
            let (header, encoding) = encoding_of(body, leaf)?;
            if encoding == TransferEncoding::Identity {
                continue;
            }
            is_binary = true;
            pieces.push_back(Piece::AsStored(stretch(at, leaf.header_offset)));
            pieces.push_back(Piece::Made(as_binary(&header)));
            pieces.push_back(Piece::Decoded(stretch(leaf.body_offset(), leaf.end_offset()), encoding));
            at = leaf.end_offset();
        }
        pieces.push_back(Piece::AsStored(stretch(at, end)));
        Ok(Some(Self { pieces, offset: 0, decoder: None, is_binary }))
    }

    /// Bytes of the text, which is read for it.
    pub(super) fn len(&mut self, body: &mut dyn Body) -> Result<u64, BinaryFailure> {
        let keeps = self.stored_len() <= KEPT_LEN_MAX;
        let mut copy = Self { pieces: self.pieces.clone(), offset: 0, decoder: None, is_binary: false };
        let (mut len, mut text) = (0, Vec::new());
        while copy.read(body, &mut text)? {
            if !keeps {
                len += text.len() as u64;
                text.clear();
            }
        }
        if keeps {
            len = text.len() as u64;
            self.pieces = VecDeque::from([Piece::Made(text)]);
        }
        Ok(len)
    }

    fn stored_len(&self) -> u64 {
        let len = |piece: &Piece| match piece {
            Piece::AsStored(section) | Piece::Decoded(section, _) => section.len,
            Piece::Made(bytes) => bytes.len() as u64,
        };
        self.pieces.iter().map(len).sum()
    }

    /// Appends the next bytes; perhaps none. False at the end.
    pub(super) fn read(&mut self, body: &mut dyn Body, out: &mut Vec<u8>) -> Result<bool, BinaryFailure> {
        let (section, encoding) = match self.pieces.front() {
            None => return Ok(false),
            Some(Piece::Made(bytes)) => {
                out.extend_from_slice(bytes);
                self.next_piece();
                return Ok(true);
            }
            Some(&Piece::AsStored(section)) => (section, TransferEncoding::Identity),
            Some(&Piece::Decoded(section, encoding)) => (section, encoding),
        };
        let mut piece = [0; PIECE_LEN];
        let read = if section.len > 0 { body.read_at(section, self.offset, &mut piece)? } else { 0 };
        self.offset += read as u64;
        let decoder = self.decoder.get_or_insert_with(|| BinaryDecoder::new(encoding));
        decoder.push(piece.get(..read).unwrap_or_default(), out).map_err(|_| BinaryFailure::Broken)?;
        if read < PIECE_LEN {
            if let Some(decoder) = self.decoder.take() {
                decoder.finish().map_err(|_| BinaryFailure::Broken)?;
            }
            self.next_piece();
        }
        Ok(true)
    }

    fn next_piece(&mut self) {
        self.pieces.pop_front();
        self.offset = 0;
        self.decoder = None;
    }
}

fn holds_parts(part: &Part) -> bool {
    part.flags.has(PartFlags::MULTIPART | PartFlags::MESSAGE_RFC822)
}

/// Whether a part lies in another, or is it. As many steps as parts are nested.
fn is_within(tree: &PartTree, part: PartIndex, outer: PartIndex) -> bool {
    std::iter::successors(Some(part), |&part| tree.parent(part)).any(|part| part == outer)
}

fn stretch(start: u64, end: u64) -> Section {
    Section { start, len: end.saturating_sub(start) }
}

/// A part's header and how its body is encoded.
fn encoding_of(body: &mut dyn Body, part: &Part) -> Result<(Vec<u8>, TransferEncoding), BinaryFailure> {
    let section = Section { start: part.header_offset, len: part.header.physical_len };
    let len = part.header.virtual_len.min(HEADER_LEN_MAX);
    let mut header = vec![0; usize::try_from(len).unwrap_or_default()];
    let mut filled = 0;
    while let Some(room) = header.get_mut(filled..).filter(|room| !room.is_empty()) {
        match body.read_at(section, filled as u64, room)? {
            0 => break,
            read => filled += read,
        }
    }
    header.truncate(filled);
    let content = Content::of_header(&header);
    match TransferEncoding::of(content.transfer_encoding.as_deref()) {
        Some(encoding) => Ok((header, encoding)),
        None => Err(BinaryFailure::UnknownEncoding),
    }
}

/// A header that says that the body is not encoded, in its last field as from Dovecot.
fn as_binary(header: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(header.len());
    let mut end = 0;
    for field in Fields::new(header) {
        end = field.offset + field.raw.len();
        if !field.is(b"Content-Transfer-Encoding") {
            out.extend_from_slice(field.raw);
        }
    }
    out.extend_from_slice(b"Content-Transfer-Encoding: binary\r\n");
    out.extend_from_slice(header.get(end..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use mailmime::Structure;

    use super::*;

    /// A message in memory, and how many bytes of it were read.
    struct Counted(&'static [u8], usize);

    impl Body for Counted {
        fn size(&self) -> u64 {
            self.0.len() as u64
        }

        fn stored_size(&self) -> u64 {
            self.size()
        }

        fn read_at(&mut self, section: Section, offset: u64, buf: &mut [u8]) -> mailstore::Result<usize> {
            let from = (section.start + offset) as usize;
            let len = ((section.len - offset) as usize).min(buf.len()).min(self.0.len() - from);
            buf[..len].copy_from_slice(&self.0[from..from + len]);
            self.1 += len;
            Ok(len)
        }
    }

    #[test]
    fn a_short_text_is_read_once() {
        let raw = b"MIME-Version: 1.0\r\nContent-Transfer-Encoding: base64\r\n\r\naGVsbG8=\r\n";
        let (mut body, structure) = (Counted(raw, 0), Structure::of(raw));
        let mut text = BinaryText::find(&mut body, structure.tree(), &[1]).unwrap().unwrap();
        assert_eq!(text.len(&mut body).unwrap(), 5);
        let (read, mut out) = (body.1, Vec::new());
        while text.read(&mut body, &mut out).unwrap() {}
        assert_eq!((out.as_slice(), body.1), (&b"hello"[..], read));
    }
}
