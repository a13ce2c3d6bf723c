//! The first words of a message (RFC 8970), made of its bytes where the cache does not know them.

use mailmime::{Content, Limits, PreviewText, Structure};

use crate::traits::Result;

/// Bytes read at a time of the part that the preview is made of.
const PIECE_LEN: usize = 16 * 1024;

/// Bytes of that part that are looked at, at most: quotations and markup may be long, and no longer than this.
pub const PREVIEW_READ_LEN_MAX: u64 = 4 << 20;

/// What stands before a preview in the cache: how it was made (`docs/formats/cache.md`, `body.snippet`).
pub(crate) const CACHED_PREFIX: &str = "1";

/// Makes the preview of a message whose bytes, as stored, `read` brings from an offset on.
pub(crate) fn preview(structure: &Structure, mut read: impl FnMut(u64, &mut [u8]) -> Result<usize>) -> Result<String> {
    let Some(part) = structure.preview_part().map(|index| structure.tree().part(index)) else {
        return Ok(String::new());
    };
    let header_len = usize::try_from(part.header.physical_len).unwrap_or(usize::MAX);
    let mut header = vec![0; header_len.min(Limits::HEADER_LEN_MAX)];
    let len = read(part.header_offset, &mut header)?;
    header.truncate(len);
    let Some(mut text) = PreviewText::new(&Content::of_header(&header)) else { return Ok(String::new()) };
    let body_len = part.body.physical_len.min(PREVIEW_READ_LEN_MAX);
    let mut piece = [0; PIECE_LEN];
    let mut at = 0;
    loop {
        let room = usize::try_from(body_len - at).unwrap_or(usize::MAX).min(PIECE_LEN);
        let len = match piece.get_mut(..room) {
            Some(piece) if room > 0 => read(part.body_offset() + at, piece)?,
            _ => 0,
        };
        at += len as u64;
        let last = len == 0 || at >= body_len;
        if !text.push(piece.get(..len).unwrap_or_default(), last) {
            return Ok(text.finish());
        }
    }
}
