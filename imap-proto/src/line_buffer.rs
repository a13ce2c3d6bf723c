//! What is held of a command or response until it is whole: its lines, with their ends, and its literals inline.
//!
//! Invariants: the text outside literals is never longer than the limit given; a line that lies whole in the input while
//! nothing is held is not copied; what is found does not depend on how the input is cut.

use crate::literal::{self, Announcement};

/// A buffer larger than this is not kept when it is cleared: most connections are idle.
const KEPT_CAPACITY: usize = 1 << 10;

/// For a literal from this length on there is just the room that it needs: a buffer that doubles would take up to three
/// times as much while it grows.
const EXACT_LITERAL_LEN: usize = 16 << 10;

/// A line, complete.
#[derive(Clone, Copy)]
pub(crate) enum Line<'i> {
    /// In the input; nothing is held.
    Direct(&'i [u8]),
    /// At the end of what is held.
    Held,
}

/// The limit was reached before the line's end.
pub(crate) struct LineTooLong;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct LineBuffer {
    held: Vec<u8>,
    /// Where the present line begins: after the last literal.
    line_at: usize,
    /// How many of the bytes held are literals.
    literals_len: usize,
}

impl LineBuffer {
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.held
    }

    pub(crate) fn capacity(&self) -> usize {
        self.held.capacity()
    }

    pub(crate) fn literals_len(&self) -> usize {
        self.literals_len
    }

    /// Reads on to the end of a line. `None`: all input is held.
    pub(crate) fn take_line<'i>(
        &mut self,
        input: &mut &'i [u8],
        line_len_max: usize,
    ) -> Result<Option<Line<'i>>, LineTooLong> {
        let room = line_len_max.saturating_sub(self.held.len().saturating_sub(self.literals_len));
        let head = input.get(..room).unwrap_or(input);
        let Some(at) = memchr::memchr(b'\n', head) else {
            self.held.extend_from_slice(head);
            if head.len() == room {
                return Err(LineTooLong);
            }
            *input = &[];
            return Ok(None);
        };
        let line = take(input, at + 1);
        if self.held.is_empty() {
            return Ok(Some(Line::Direct(line)));
        }
        self.held.extend_from_slice(line);
        Ok(Some(Line::Held))
    }

    /// All bytes up to the end of this line.
    pub(crate) fn through<'a>(&'a self, line: Line<'a>) -> &'a [u8] {
        match line {
            Line::Direct(bytes) => bytes,
            Line::Held => &self.held,
        }
    }

    /// The literal that a line announces, its place counted in all bytes. Only the line itself is looked at: the end of
    /// a literal before it must not be taken for a part of it.
    pub(crate) fn announced(&self, line: Line<'_>) -> Option<Announcement> {
        match line {
            Line::Direct(bytes) => literal::announced(bytes),
            Line::Held => {
                let announced = literal::announced(self.held.get(self.line_at..)?)?;
                Some(Announcement { at: self.line_at + announced.at, ..announced })
            }
        }
    }

    /// Holds a line, as a literal follows it.
    pub(crate) fn hold(&mut self, line: Line<'_>) {
        if let Line::Direct(bytes) = line {
            self.held.extend_from_slice(bytes);
        }
    }

    /// Makes room for a literal that is about to come.
    pub(crate) fn expect_literal(&mut self, len: usize) {
        if len >= EXACT_LITERAL_LEN {
            self.held.reserve_exact(len);
        }
    }

    /// Reads on in a literal of which `left` bytes are missing, and says how many still are.
    pub(crate) fn take_literal(&mut self, input: &mut &[u8], left: usize) -> usize {
        let taken = take(input, left);
        self.held.extend_from_slice(taken);
        self.literals_len += taken.len();
        self.line_at = self.held.len();
        left - taken.len()
    }

    pub(crate) fn clear(&mut self) {
        self.line_at = 0;
        self.literals_len = 0;
        if self.held.capacity() > KEPT_CAPACITY { self.held = Vec::new() } else { self.held.clear() }
    }
}

/// Takes at most `len` bytes from the front.
pub(crate) fn take<'i>(input: &mut &'i [u8], len: usize) -> &'i [u8] {
    let (taken, rest) = input.split_at(len.min(input.len()));
    *input = rest;
    taken
}
