//! What a destination keeps of a message's bytes: all of them, but for an mbox, which has header fields of its own and
//! ends every message with a line end (`docs/formats/mbox.md`).

use sha2::{Digest as _, Sha256};

use crate::{
    mbox::{Filtered, HeaderFilter},
    traits::{Body, Keeps, Result, Section},
};

/// Bytes of a message moved or compared at a time.
pub(super) const PIECE_LEN: usize = 128 * 1024;

/// Tells of a message on its way what the destination changes of it.
#[derive(Debug, Default)]
pub(super) struct Fit(Option<HeaderFilter>);

impl Fit {
    pub(super) fn new(keeps: Keeps) -> Self {
        Self((!keeps.bytes).then(HeaderFilter::default))
    }

    /// Puts what is kept of a piece into `out`.
    fn write(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        match &mut self.0 {
            Some(filter) => into(filter.write(piece, |kept| {
                out.extend_from_slice(kept);
                Ok(())
            })),
            None => out.extend_from_slice(piece),
        }
    }

    /// Looks at a piece.
    pub(super) fn look(&mut self, piece: &[u8]) {
        if let Some(filter) = &mut self.0 {
            into(filter.write(piece, |_| Ok(())));
        }
    }

    /// The message is whole; puts what is added into `out`, behind what is there and stands behind the byte `before`.
    fn finish(self, out: &mut Vec<u8>, before: Option<u8>) -> Filtered {
        let Some(filter) = self.0 else { return Filtered::default() };
        let finished = filter.finish::<std::convert::Infallible>(|added| {
            for &byte in added {
                if byte == b'\n' && out.last().or(before.as_ref()) != Some(&b'\r') {
                    out.push(b'\r');
                }
                out.push(byte);
            }
            Ok(())
        });
        let Ok(filtered) = finished;
        filtered
    }

    /// What was changed of the message that was looked at.
    pub(super) fn filtered(self) -> Filtered {
        self.finish(&mut Vec::new(), None)
    }
}

fn into(done: std::result::Result<(), std::convert::Infallible>) {
    let Ok(()) = done;
}

/// A message as a destination keeps it, piece by piece.
struct AsKept<'a> {
    body: &'a mut dyn Body,
    fit: Option<Fit>,
    offset: u64,
    buf: Vec<u8>,
    /// The last byte before this piece.
    before: Option<u8>,
    filtered: Filtered,
}

impl<'a> AsKept<'a> {
    fn new(body: &'a mut dyn Body, keeps: Keeps) -> Self {
        let (fit, buf) = (Some(Fit::new(keeps)), vec![0; PIECE_LEN]);
        Self { body, fit, offset: 0, buf, before: None, filtered: Filtered::default() }
    }

    /// The next piece, which may be empty before the end; `false` behind it.
    fn next(&mut self, out: &mut Vec<u8>) -> Result<bool> {
        let before = out.last().copied().or(self.before);
        self.before = before;
        out.clear();
        let Some(mut fit) = self.fit.take() else { return Ok(false) };
        let len = self.body.read_at(Section::WHOLE, self.offset, &mut self.buf)?;
        let piece = self.buf.get(..len).unwrap_or_default();
        fit.write(piece, out);
        self.offset += len as u64;
        if len < self.buf.len() {
            self.filtered = fit.finish(out, before);
        } else {
            self.fit = Some(fit);
        }
        Ok(true)
    }
}

/// A hash of what a destination keeps of a message.
pub(super) fn hash_of(body: &mut dyn Body, keeps: Keeps) -> Result<[u8; 32]> {
    let (mut kept, mut piece, mut hash) = (AsKept::new(body, keeps), Vec::new(), Sha256::new());
    while kept.next(&mut piece)? {
        hash.update(&piece);
    }
    Ok(hash.finalize().into())
}

/// How a message of the destination compares with that of the source.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Bytes {
    Same,
    /// As the format keeps it.
    Fitted,
    Different,
}

/// Compares the bytes of two messages. Reads both.
pub(super) fn compare_bytes(source: &mut dyn Body, destination: &mut dyn Body, keeps: Keeps) -> Result<Bytes> {
    let (mut kept, mut expected, mut found) = (AsKept::new(source, keeps), Vec::new(), Vec::new());
    let mut offset = 0;
    while kept.next(&mut expected)? {
        found.resize(expected.len(), 0);
        let len = destination.read_at(Section::WHOLE, offset, &mut found)?;
        if found.get(..len) != Some(&expected[..]) {
            return Ok(Bytes::Different);
        }
        offset += len as u64;
    }
    if destination.read_at(Section::WHOLE, offset, &mut [0])? > 0 {
        return Ok(Bytes::Different);
    }
    Ok(if kept.filtered == Filtered::default() { Bytes::Same } else { Bytes::Fitted })
}
