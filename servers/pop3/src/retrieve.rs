//! RETR and TOP: a message read and written in steps, in constant memory.

use std::time::{Duration, Instant};

use mailstore::{Body, Result, Section, StorageError};

use crate::{
    maildrop::Maildrop,
    reply::{self, Refusal},
    stuffing::Stuffing,
};

/// How long a step goes on.
pub(crate) const STEP_TIME: Duration = Duration::from_millis(10);
/// Bytes of a message read at once.
const PIECE_LEN: usize = 32 * 1024;

/// A message that is being shown.
pub(crate) struct Retrieval {
    body: Box<dyn Body>,
    offset: u64,
    stuffing: Stuffing,
}

/// How an answer began.
pub(crate) enum Begun {
    /// The first line is written.
    Shown(Retrieval),
    /// An error is written.
    Refused(Option<StorageError>),
}

impl Retrieval {
    /// Opens a message and writes the answer's first line.
    pub(crate) fn begin(maildrop: &Maildrop, index: usize, body_lines: Option<u64>, out: &mut Vec<u8>) -> Begun {
        match maildrop.body(index) {
            Ok(body) => {
                match body_lines {
                    None => reply::line(out, format_args!("+OK {} octets", body.size())),
                    Some(_) => reply::ok(out, ""),
                }
                Begun::Shown(Self { body, offset: 0, stuffing: Stuffing::new(body_lines) })
            }
            Err(StorageError::Expunged { .. }) => {
                Refusal::EXPUNGED.write(out);
                Begun::Refused(None)
            }
            Err(error) => {
                reply::write_storage_error(out, &error);
                Begun::Refused(Some(error))
            }
        }
    }

    /// Writes on until the output has `len_max` bytes, a step's time is over, or the answer is whole; says whether it
    /// is. The output may become longer by what the dots of one piece need.
    pub(crate) fn step(&mut self, out: &mut Vec<u8>, len_max: usize) -> Result<bool> {
        let until = Instant::now() + STEP_TIME;
        let mut piece = vec![0; PIECE_LEN.min(usize::try_from(self.body.size()).unwrap_or(PIECE_LEN).max(1))];
        loop {
            let len = self.body.read_at(Section::WHOLE, self.offset, &mut piece)?;
            self.offset += len as u64;
            self.stuffing.write(piece.get(..len).unwrap_or_default(), out);
            if len == 0 || self.stuffing.is_full() || self.offset >= self.body.size() {
                self.stuffing.finish(out);
                return Ok(true);
            }
            if out.len() >= len_max || Instant::now() >= until {
                return Ok(false);
            }
        }
    }
}
