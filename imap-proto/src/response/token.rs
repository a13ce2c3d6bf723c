//! A response's words.

use std::fmt;

use super::{ResponseError, ResponseLimits};
use crate::parse::cursor::Cursor;

/// A word of a response.
#[derive(Clone, Eq, PartialEq)]
pub enum Token {
    /// Anything outside quotes and literals: an atom, a number, a flag, `NIL`, `BODY[...]<...>` as a whole.
    Atom(Vec<u8>),
    /// A quoted string, unescaped, or a literal.
    String(Vec<u8>),
    /// What stood in parentheses.
    List(Vec<Token>),
}

impl Token {
    /// Whether it is this atom, in any case.
    pub fn is_atom(&self, name: &str) -> bool {
        matches!(self, Self::Atom(atom) if atom.eq_ignore_ascii_case(name.as_bytes()))
    }

    /// Whether it is NIL.
    pub fn is_nil(&self) -> bool {
        self.is_atom("NIL")
    }

    /// The bytes of an atom or string; `None` for NIL and lists.
    pub fn bytes(&self) -> Option<&[u8]> {
        match self {
            Self::Atom(_) if self.is_nil() => None,
            Self::Atom(bytes) | Self::String(bytes) => Some(bytes),
            Self::List(_) => None,
        }
    }

    /// The words of a list.
    pub fn list(&self) -> Option<&[Token]> {
        match self {
            Self::List(tokens) => Some(tokens),
            _ => None,
        }
    }

    /// The number that an atom is.
    pub fn number(&self) -> Option<u64> {
        match self {
            Self::Atom(digits) if digits.first().is_some_and(u8::is_ascii_digit) => {
                std::str::from_utf8(digits).ok()?.parse().ok()
            }
            _ => None,
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Atom(bytes) => write!(f, "{}", bytes.escape_ascii()),
            Self::String(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            Self::List(tokens) => tokens.fmt(f),
        }
    }
}

/// Reads words up to the end of the line or, in a response code, up to its bracket. Does not recurse.
pub(super) fn tokens(
    cursor: &mut Cursor<'_>,
    in_code: bool,
    limits: &ResponseLimits,
) -> Result<Vec<Token>, ResponseError> {
    let mut outer = Vec::new();
    let mut level = Vec::new();
    for _ in 0..limits.tokens_max {
        while cursor.eat(b' ') {}
        let token = match cursor.peek() {
            None | Some(b'\r' | b'\n') if outer.is_empty() && !in_code => return Ok(level),
            None | Some(b'\r' | b'\n') => return Err(ResponseError::Syntax("Line ended early.")),
            Some(b']') if in_code && outer.is_empty() => {
                cursor.eat(b']');
                return Ok(level);
            }
            Some(b'(') => {
                cursor.eat(b'(');
                if outer.len() >= limits.depth_max {
                    return Err(ResponseError::Syntax("Nested too deeply."));
                }
                outer.push(std::mem::take(&mut level));
                continue;
            }
            Some(b')') => {
                cursor.eat(b')');
                let above = outer.pop().ok_or(ResponseError::Syntax("Parenthesis without a beginning."))?;
                Token::List(std::mem::replace(&mut level, above))
            }
            Some(b'"') => Token::String(string(cursor.quoted())?.into_owned()),
            Some(b'{') => Token::String(string(cursor.literal8())?.to_vec()),
            Some(_) => atom(cursor, in_code && outer.is_empty())?,
        };
        level.push(token);
    }
    Err(ResponseError::Syntax("Too many words."))
}

fn string<T, E>(parsed: Result<T, E>) -> Result<T, ResponseError> {
    parsed.map_err(|_| ResponseError::Syntax("Broken string."))
}

/// A literal8, or anything else up to a space, parenthesis, quote, literal or line end; `BODY[` and `BINARY[` hold what
/// is in their brackets.
fn atom(cursor: &mut Cursor<'_>, ends_with_bracket: bool) -> Result<Token, ResponseError> {
    let goes_on = |b: u8| match b {
        b' ' | b'(' | b')' | b'"' | b'{' | b'\r' | b'\n' => false,
        b']' => !ends_with_bracket,
        _ => true,
    };
    let mut atom = cursor.take_while(|b| goes_on(b) && b != b'[').to_vec();
    if atom == b"~" && cursor.peek() == Some(b'{') {
        return Ok(Token::String(string(cursor.literal8())?.to_vec()));
    }
    let sections: [&[u8]; 3] = [b"BODY", b"BINARY", b"BINARY.SIZE"];
    if cursor.peek() == Some(b'[') && sections.iter().any(|name| name.eq_ignore_ascii_case(&atom)) {
        section(cursor, &mut atom)?;
    }
    atom.extend_from_slice(cursor.take_while(goes_on));
    if atom.is_empty() { Err(ResponseError::Syntax("Expected a word.")) } else { Ok(Token::Atom(atom)) }
}

/// `[` up to its `]`, in which quoted header field names may hold anything.
fn section(cursor: &mut Cursor<'_>, to: &mut Vec<u8>) -> Result<(), ResponseError> {
    loop {
        to.extend_from_slice(cursor.take_while(|b| !matches!(b, b']' | b'"' | b'\r' | b'\n')));
        match cursor.peek() {
            Some(b']') => {
                cursor.eat(b']');
                to.push(b']');
                return Ok(());
            }
            Some(b'"') => crate::write::quoted(to, &string(cursor.quoted())?),
            _ => return Err(ResponseError::Syntax("Section without an end.")),
        }
    }
}
