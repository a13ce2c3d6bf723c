//! A message's bytes where they lie.

use std::ops::Range;

use mailfs::FileHandle;

use crate::{mbox::Unquoting, traits::Result};

/// Bytes read at once.
const PIECE_LEN: usize = 128 << 10;

/// A message that can be read more than once.
pub(super) struct Content {
    /// What is in front of the file's bytes.
    pub(super) header: Vec<u8>,
    pub(super) file: FileHandle,
    pub(super) range: Range<u64>,
    /// Whether lines that begin with `>From ` lose a mark.
    pub(super) quoted: bool,
}

impl Content {
    pub(super) fn len(&self) -> u64 {
        self.header.len() as u64 + (self.range.end - self.range.start)
    }

    /// Passes all bytes on, in pieces.
    pub(super) fn read(&self, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut unquoting = self.quoted.then(Unquoting::default);
        let mut unquoted = Vec::new();
        let mut pass = |piece: &[u8], unquoting: &mut Option<Unquoting>| match unquoting {
            Some(unquoting) => {
                unquoted.clear();
                unquoting.write(piece, &mut unquoted);
                sink(&unquoted)
            }
            None => sink(piece),
        };
        pass(&self.header, &mut unquoting)?;
        let mut buffer =
            vec![0; PIECE_LEN.min(usize::try_from(self.range.end - self.range.start).unwrap_or(PIECE_LEN))];
        let mut at = self.range.start;
        while at < self.range.end {
            let want = buffer.len().min(usize::try_from(self.range.end - at).unwrap_or(usize::MAX));
            let read = self.file.read_at(buffer.get_mut(..want).unwrap_or_default(), at)?;
            if read == 0 {
                break;
            }
            pass(buffer.get(..read).unwrap_or_default(), &mut unquoting)?;
            at += read as u64;
        }
        let mut rest = Vec::new();
        if let Some(unquoting) = unquoting {
            unquoting.finish(&mut rest);
        }
        sink(&rest)
    }
}
