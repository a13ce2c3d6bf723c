//! GUIDs of imported messages.

use std::collections::HashMap;

use mailtypes::{Guid, MailboxName};
use sha2::{Digest as _, Sha256};

use super::content::Content;
use crate::traits::Result;

/// Keeps GUIDs of imports apart from any other use of the same hash.
const PURPOSE: &[u8] = b"culver import 1\0";

/// Gives GUIDs.
#[derive(Default)]
pub(super) struct Identities {
    /// How many messages of these bytes went to this mailbox.
    counts: HashMap<Guid, u32>,
}

impl Identities {
    /// The GUID of the next message of these bytes in a mailbox. Line ends make no difference.
    pub(super) fn next(&mut self, mailbox: &MailboxName, content: &Content) -> Result<Guid> {
        let mut hash = Sha256::new();
        hash.update(PURPOSE);
        hash.update(mailbox.as_str());
        hash.update([0]);
        let mut lines = LfLines::default();
        content.read(&mut |piece| {
            lines.update(piece, &mut hash);
            Ok(())
        })?;
        let first = guid(&hash.clone());
        let count = self.counts.entry(first).or_insert(0);
        hash.update([0]);
        hash.update(count.to_le_bytes());
        *count = count.saturating_add(1);
        Ok(guid(&hash))
    }
}

fn guid(hash: &Sha256) -> Guid {
    let digest = hash.clone().finalize();
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
    Guid(bytes)
}

/// Feeds a text with LF line ends, whatever it has.
#[derive(Default)]
struct LfLines {
    /// A CR is held back: it may belong to a line end.
    cr: bool,
}

impl LfLines {
    fn update(&mut self, piece: &[u8], hash: &mut Sha256) {
        if piece.is_empty() {
            return;
        }
        if self.cr && !piece.starts_with(b"\n") {
            hash.update(b"\r");
        }
        self.cr = piece.ends_with(b"\r");
        let piece = piece.strip_suffix(b"\r").unwrap_or(piece);
        let mut rest = piece;
        while let Some(at) = memchr::memmem::find(rest, b"\r\n") {
            hash.update(rest.get(..at).unwrap_or_default());
            rest = rest.get(at + 1..).unwrap_or_default();
        }
        hash.update(rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(pieces: &[&[u8]]) -> Guid {
        let (mut lines, mut hash) = (LfLines::default(), Sha256::new());
        pieces.iter().for_each(|piece| lines.update(piece, &mut hash));
        guid(&hash)
    }

    #[test]
    fn line_ends_and_cuts_make_no_difference() {
        let expect = digest(&[b"a\nb\r\r\nc"]);
        assert_eq!(digest(&[b"a\r\nb\r\r\nc"]), expect);
        assert_eq!(digest(&[b"a\r", b"\nb\r", b"\r", b"", b"\nc"]), expect);
        assert_ne!(digest(&[b"a\nb\r\nc"]), expect);
    }
}
