//! Bytes to responses.

use std::mem;

use super::{
    Condition, Response,
    token::{Token, tokens},
};
use crate::{
    Tag,
    line_buffer::{Line, LineBuffer},
    literal::without_line_end,
    parse::{chars, cursor::Cursor},
};

/// What a [`ResponseDecoder`] takes.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ResponseLimits {
    /// Bytes of one response outside its literals.
    pub line_len_max: usize,
    /// Bytes of one response in literals.
    pub literal_len_max: usize,
    /// How deep parentheses may nest.
    pub depth_max: usize,
    /// Words and parentheses in one response.
    pub tokens_max: usize,
}

impl Default for ResponseLimits {
    fn default() -> Self {
        Self { line_len_max: 16 << 20, literal_len_max: 256 << 20, depth_max: 200, tokens_max: 4 << 20 }
    }
}

/// Why a response could not be read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// Not a response. The next one can be read.
    #[error("invalid response: {0}")]
    Syntax(&'static str),
    /// A line or a literal longer than its limit. Nothing more is read.
    #[error("response too long")]
    TooLong,
}

#[derive(Debug)]
enum State {
    Line,
    Literal { left: usize },
    Closed,
}

/// Turns a server's bytes into responses.
#[derive(Debug)]
pub struct ResponseDecoder {
    limits: ResponseLimits,
    state: State,
    buffer: LineBuffer,
}

impl ResponseDecoder {
    /// At the start of a connection.
    pub fn new(limits: ResponseLimits) -> Self {
        Self { limits, state: State::Line, buffer: LineBuffer::default() }
    }

    /// Reads from the front of `input`, which is left with what was not read, up to the end of a response. `Ok(None)`:
    /// the input is used up.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Response>, ResponseError> {
        loop {
            match mem::replace(&mut self.state, State::Line) {
                State::Line => {
                    let Ok(line) = self.buffer.take_line(input, self.limits.line_len_max) else {
                        return Err(self.close());
                    };
                    let Some(line) = line else { return Ok(None) };
                    if let Some(response) = self.line(line)? {
                        return Ok(Some(response));
                    }
                }
                State::Literal { left } => {
                    let left = self.buffer.take_literal(input, left);
                    if left > 0 {
                        self.state = State::Literal { left };
                        return Ok(None);
                    }
                }
                State::Closed => {
                    self.state = State::Closed;
                    *input = &[];
                    return Ok(None);
                }
            }
        }
    }

    fn line(&mut self, line: Line<'_>) -> Result<Option<Response>, ResponseError> {
        // Text for people may end in what looks like a literal.
        let announced = self.buffer.announced(line).filter(|_| !has_text(self.buffer.through(line)));
        let Some(announced) = announced else {
            let response = response(self.buffer.through(line), &self.limits);
            self.buffer.clear();
            return response.map(Some);
        };
        let room = self.limits.literal_len_max.saturating_sub(self.buffer.literals_len());
        let Some(left) = usize::try_from(announced.len).ok().filter(|&len| len <= room) else {
            return Err(self.close());
        };
        self.buffer.hold(line);
        self.state = State::Literal { left };
        Ok(None)
    }

    fn close(&mut self) -> ResponseError {
        self.buffer.clear();
        self.state = State::Closed;
        ResponseError::TooLong
    }
}

/// The tag and the condition with which a status response begins; the cursor is left before its code.
fn status(cursor: &mut Cursor<'_>) -> Option<(Option<Tag>, Condition)> {
    let tag = if cursor.eat(b'*') { None } else { Some(Tag::new(cursor.take_while(chars::is_tag_char))?) };
    if !cursor.eat(b' ') {
        return None;
    }
    let condition = Condition::from_name(cursor.take_while(|b| b.is_ascii_alphabetic()))?;
    matches!(cursor.peek(), None | Some(b' ' | b'\r' | b'\n')).then_some((tag, condition))
}

/// Whether the response ends in text for people, where there are no literals.
fn has_text(bytes: &[u8]) -> bool {
    bytes.first() == Some(&b'+') || status(&mut Cursor::new(bytes)).is_some()
}

fn response(bytes: &[u8], limits: &ResponseLimits) -> Result<Response, ResponseError> {
    if let Some(text) = bytes.strip_prefix(b"+") {
        let text = without_line_end(text);
        return Ok(Response::Continuation { text: text.strip_prefix(b" ").unwrap_or(text).to_vec() });
    }
    let mut cursor = Cursor::new(bytes);
    if let Some((tag, condition)) = status(&mut cursor) {
        cursor.eat(b' ');
        let mut code: Vec<Token> = Vec::new();
        if cursor.eat(b'[') {
            code = tokens(&mut cursor, true, limits)?;
            cursor.eat(b' ');
        }
        let text = without_line_end(cursor.take_while(|_| true)).to_vec();
        return Ok(Response::Status { tag, condition, code, text });
    }
    let mut cursor = Cursor::new(bytes);
    if !(cursor.eat(b'*') && cursor.eat(b' ')) {
        return Err(ResponseError::Syntax("Neither tagged, untagged nor a continuation."));
    }
    tokens(&mut cursor, false, limits).map(Response::Data)
}
