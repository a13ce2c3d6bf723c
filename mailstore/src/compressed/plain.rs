//! Any range of the plain text of a compressed body.
//!
//! The beginning is kept as it was decoded: headers, and most messages whole. Behind it a decoder stands where it was
//! last read, with the last piece at hand; who goes back before that piece has it start again.

use std::{
    fmt,
    io::{self, Read},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{CodecError, Compression, PLAIN_LEN_MAX, StoredBytes, StoredReader};

/// How much of the beginning is kept.
const HEAD_LEN_MAX: usize = 256 << 10;

/// Plain bytes decoded at once.
const PIECE_LEN: usize = 64 << 10;

/// How much before the last piece stays at hand, for who goes back a little.
const BACK_LEN: usize = 16 << 10;

/// Plain bytes decoded at first: most headers.
const FIRST_PIECE_LEN: usize = 16 << 10;

/// See the module.
pub(crate) struct PlainText {
    stored: Arc<dyn StoredBytes>,
    compression: Compression,
    /// How long it is said to be.
    told: Option<u64>,
    running: Option<Running>,
    head: Vec<u8>,
    /// What was decoded last, behind the head.
    piece: Vec<u8>,
    piece_at: u64,
    end: Option<End>,
}

/// A decoder on its way.
struct Running {
    decoder: Box<dyn Read + Send>,
    taken: Arc<AtomicU64>,
    /// Plain bytes that it gave.
    at: u64,
}

/// What was found behind the last byte that can be read.
#[derive(Clone, Copy, Debug)]
struct End {
    at: u64,
    /// If it is not the end that should be: where in the file, and what is wrong.
    damage: Option<(u64, &'static str)>,
}

impl PlainText {
    /// Of a body that is compressed; `told`: how long its plain text is said to be. Reads nothing.
    pub(crate) fn new(stored: Arc<dyn StoredBytes>, compression: Compression, told: Option<u64>) -> Self {
        let (head, piece) = (Vec::new(), Vec::new());
        Self { stored, compression, told, running: None, head, piece, piece_at: 0, end: None }
    }

    /// What it is compressed by.
    pub(crate) fn compression(&self) -> Compression {
        self.compression
    }

    /// Bytes of the plain text: what was told, else it is decoded once to be counted.
    pub(crate) fn len(&mut self) -> Result<u64, CodecError> {
        if let Some(told) = self.told {
            return Ok(told);
        }
        while self.end.is_none() {
            self.decode_on()?;
        }
        match self.end {
            Some(End { damage: Some((offset, what)), .. }) => Err(CodecError::Damaged { offset, what }),
            Some(End { at, .. }) => {
                self.told = Some(at);
                Ok(at)
            }
            None => Ok(0),
        }
    }

    /// Reads from `offset`; fewer bytes than asked for only at the end.
    pub(crate) fn read(&mut self, offset: u64, buf: &mut [u8]) -> Result<usize, CodecError> {
        let mut filled = 0;
        while filled < buf.len() {
            let at = offset.saturating_add(filled as u64);
            let there = self.at_hand(at);
            if !there.is_empty() {
                let len = there.len().min(buf.len() - filled);
                if let (Some(to), Some(from)) = (buf.get_mut(filled..filled + len), there.get(..len)) {
                    to.copy_from_slice(from);
                }
                filled += len;
                continue;
            }
            match self.end {
                Some(end) if at >= end.at => match end.damage {
                    None => break,
                    // What comes before it can be had.
                    Some(_) if filled > 0 => break,
                    Some((offset, what)) => return Err(CodecError::Damaged { offset, what }),
                },
                _ => {}
            }
            if self.running.as_ref().is_some_and(|running| running.at > at) {
                self.running = None;
            }
            self.decode_on()?;
        }
        Ok(filled)
    }

    /// What is there without decoding, from `at` on.
    fn at_hand(&self, at: u64) -> &[u8] {
        let from = |bytes: &[u8], start: u64| at.checked_sub(start).filter(|from| *from < bytes.len() as u64);
        if let Some(from) = from(&self.head, 0) {
            return self.head.get(from as usize..).unwrap_or_default();
        }
        match from(&self.piece, self.piece_at) {
            Some(from) => self.piece.get(from as usize..).unwrap_or_default(),
            None => &[],
        }
    }

    /// Decodes the next piece, from the beginning if no decoder is under way.
    fn decode_on(&mut self) -> Result<(), CodecError> {
        let mut running = match self.running.take() {
            Some(running) => running,
            None => self.start()?,
        };
        let at = running.at;
        let is_head = at == self.head.len() as u64 && self.head.len() < HEAD_LEN_MAX;
        let want = if at == 0 { FIRST_PIECE_LEN } else { PIECE_LEN };
        let mut piece = std::mem::take(if is_head { &mut self.head } else { &mut self.piece });
        if !is_head {
            let goes_on = self.piece_at + piece.len() as u64 == at;
            let dropped = if goes_on { piece.len().saturating_sub(BACK_LEN) } else { piece.len() };
            piece.drain(..dropped);
        }
        let kept = piece.len();
        piece.resize(kept + want, 0);
        let outcome = self.fill(&mut running, piece.get_mut(kept..).unwrap_or_default());
        piece.truncate(kept + (running.at - at) as usize);
        if is_head {
            self.head = piece;
        } else {
            (self.piece, self.piece_at) = (piece, at - kept as u64);
        }
        self.end = self.end.or(outcome?);
        self.running = Some(running);
        Ok(())
    }

    fn start(&self) -> Result<Running, CodecError> {
        let reader = StoredReader::new(Arc::clone(&self.stored));
        let taken = reader.taken();
        let decoder = self.compression.decoder(reader);
        let decoder = decoder.map_err(|_| self.damaged(0, self.compression.damage()))?;
        Ok(Running { decoder, taken, at: 0 })
    }

    fn damaged(&self, taken: u64, what: &'static str) -> CodecError {
        CodecError::Damaged { offset: self.stored.file_offset() + taken, what }
    }

    /// Fills `piece` unless the end comes first; tells the end when it was seen.
    fn fill(&self, running: &mut Running, piece: &mut [u8]) -> Result<Option<End>, CodecError> {
        let limit = self.told.unwrap_or(PLAIN_LEN_MAX).min(PLAIN_LEN_MAX);
        let mut filled = 0;
        loop {
            let room = usize::try_from(limit.saturating_sub(running.at)).unwrap_or(usize::MAX);
            let rest = piece.get_mut(filled..).unwrap_or_default();
            let rest_len = rest.len().min(room);
            // At the limit one byte more is asked for: none must come, and only then were all checksums looked at.
            let mut beyond = [0];
            let wanted = if room == 0 { &mut beyond } else { rest.get_mut(..rest_len).unwrap_or_default() };
            if wanted.is_empty() {
                return Ok(None);
            }
            let read = match running.decoder.read(wanted) {
                Ok(read) => read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return self.failed(running, e).map(Some),
            };
            let at = running.at;
            let end = |what| Some(End { at, damage: Some((self.stored.file_offset() + taken(running), what)) });
            match (read, self.told) {
                (0, Some(told)) if told != at => return Ok(end("the body is shorter than its metadata say")),
                (0, _) => return Ok(Some(End { at, damage: None })),
                _ if room == 0 && self.told.is_some() => return Ok(end("the body is longer than its metadata say")),
                _ if room == 0 => return Ok(end("the body becomes longer than any message can be")),
                _ => {}
            }
            filled += read;
            running.at += read as u64;
        }
    }

    /// A decoder that cannot go on: the file system's fault, or the stream's.
    fn failed(&self, running: &Running, error: io::Error) -> Result<End, CodecError> {
        let text = error.to_string();
        if let Some(source) = error.into_inner()
            && let Ok(error) = source.downcast::<CodecError>()
        {
            return Err(*error);
        }
        tracing::debug!("a compressed body cannot be read on: {text}");
        let offset = self.stored.file_offset() + taken(running);
        Ok(End { at: running.at, damage: Some((offset, self.compression.damage())) })
    }
}

fn taken(running: &Running) -> u64 {
    running.taken.load(Ordering::Relaxed)
}

impl fmt::Debug for PlainText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PlainText")
            .field("compression", &self.compression)
            .field("told", &self.told)
            .finish_non_exhaustive()
    }
}
