//! Reading lines and literals off a socket, and IMAP's tokens: enough to judge a server, on purpose not the code that
//! the server is made of.

use std::{
    fmt,
    io::{self, Read},
};

/// A buffered reader that can wait for a line or for a number of bytes.
#[derive(Debug)]
pub struct Input<R> {
    stream: R,
    buffer: Vec<u8>,
    start: usize,
}

impl<R: Read> Input<R> {
    /// Nothing read yet.
    pub fn new(stream: R) -> Self {
        Self { stream, buffer: Vec::new(), start: 0 }
    }

    /// The stream below.
    pub fn stream(&self) -> &R {
        &self.stream
    }

    fn fill(&mut self) -> io::Result<()> {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
        }
        let len = self.buffer.len();
        self.buffer.resize(len + 64 * 1024, 0);
        let read = self.stream.read(&mut self.buffer[len..]);
        self.buffer.truncate(len + *read.as_ref().unwrap_or(&0));
        match read? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    /// A line without its line end.
    pub fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut searched = 0;
        loop {
            if let Some(at) = self.buffer[self.start + searched..].iter().position(|&b| b == b'\n') {
                let end = self.start + searched + at;
                let line = &self.buffer[self.start..end];
                let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
                self.start = end + 1;
                return Ok(line);
            }
            searched = self.buffer.len() - self.start;
            self.fill()?;
            searched = searched.min(self.buffer.len() - self.start);
        }
    }

    /// Exactly that many bytes.
    pub fn bytes(&mut self, len: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() - self.start < len {
            self.fill()?;
        }
        let bytes = self.buffer[self.start..self.start + len].to_vec();
        self.start += len;
        Ok(bytes)
    }

    /// A response of IMAP: a line with the literals that it announces, each literal in place as `{n}` CR LF and bytes.
    pub fn response(&mut self) -> io::Result<Vec<u8>> {
        let mut response = Vec::new();
        loop {
            let line = self.line()?;
            let literal = literal_len(&line);
            response.extend_from_slice(&line);
            let Some(len) = literal else { return Ok(response) };
            response.extend_from_slice(b"\r\n");
            response.extend(self.bytes(len)?);
        }
    }
}

fn literal_len(line: &[u8]) -> Option<usize> {
    let line = line.strip_suffix(b"}")?;
    let at = line.iter().rposition(|&b| b == b'{')?;
    std::str::from_utf8(&line[at + 1..]).ok()?.parse().ok()
}

/// A piece of an IMAP response.
#[derive(Clone, Eq, Ord, PartialEq, PartialOrd)]
pub enum Token {
    /// Unquoted; `NIL` too.
    Atom(Vec<u8>),
    /// Quoted or literal.
    Text(Vec<u8>),
    /// In parentheses.
    List(Vec<Token>),
}

impl Token {
    /// The bytes of an atom or text.
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Atom(bytes) | Self::Text(bytes) => bytes,
            Self::List(_) => &[],
        }
    }

    /// What lies in the parentheses.
    pub fn items(&self) -> &[Token] {
        match self {
            Self::List(items) => items,
            _ => &[],
        }
    }

    /// As UTF-8, for what cannot be anything else.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.bytes()).into_owned()
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Atom(bytes) => write!(f, "{}", String::from_utf8_lossy(bytes)),
            Self::Text(bytes) if bytes.len() <= 2000 => write!(f, "{:?}", String::from_utf8_lossy(bytes)),
            Self::Text(bytes) => write!(f, "<{} bytes>", bytes.len()),
            Self::List(items) => f.debug_list().entries(items).finish(),
        }
    }
}

/// The tokens of a response, or what is wrong with it.
pub fn tokens(response: &[u8]) -> Result<Vec<Token>, String> {
    let mut open: Vec<Vec<Token>> = vec![Vec::new()];
    let mut rest = response;
    while let Some((&byte, after)) = rest.split_first() {
        let token = match byte {
            b' ' => {
                rest = after;
                continue;
            }
            b'(' => {
                open.push(Vec::new());
                rest = after;
                continue;
            }
            b')' => {
                rest = after;
                if open.len() < 2 {
                    return Err("a parenthesis too many".to_owned());
                }
                Token::List(open.pop().unwrap_or_default())
            }
            b'"' => {
                let (text, after) = quoted(after)?;
                rest = after;
                Token::Text(text)
            }
            // A literal8 (RFC 3516).
            b'~' if after.starts_with(b"{") => {
                rest = after;
                continue;
            }
            b'{' => {
                let end = rest.iter().position(|&b| b == b'\n').ok_or("literal without a line end")?;
                let len = literal_len(rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end])).ok_or("bad literal")?;
                let text = rest.get(end + 1..end + 1 + len).ok_or("literal cut short")?;
                rest = &rest[end + 1 + len..];
                Token::Text(text.to_vec())
            }
            _ => {
                let (atom, after) = atom(rest);
                rest = after;
                Token::Atom(atom)
            }
        };
        if let Some(list) = open.last_mut() {
            list.push(token);
        }
    }
    match (open.pop(), open.is_empty()) {
        (Some(tokens), true) => Ok(tokens),
        _ => Err("a parenthesis never closed".to_owned()),
    }
}

fn quoted(mut rest: &[u8]) -> Result<(Vec<u8>, &[u8]), String> {
    let mut text = Vec::new();
    loop {
        match rest {
            [b'"', after @ ..] => return Ok((text, after)),
            [b'\\', c, after @ ..] => {
                text.push(*c);
                rest = after;
            }
            [c, after @ ..] => {
                text.push(*c);
                rest = after;
            }
            [] => return Err("a quoted string never closed".to_owned()),
        }
    }
}

/// An atom; a section in brackets (`BODY[HEADER.FIELDS (DATE)]`) belongs to it, spaces and all.
fn atom(rest: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut depth = 0;
    let end = rest.iter().position(|&b| {
        match b {
            b'[' => depth += 1,
            b']' => depth -= 1,
            b' ' | b'(' | b')' if depth <= 0 => return true,
            _ => {}
        }
        false
    });
    let (atom, rest) = rest.split_at(end.unwrap_or(rest.len()));
    (atom.to_vec(), rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fetch_response_falls_apart_into_tokens() {
        let mut input =
            Input::new(&b"* 1 FETCH (BODY[HEADER.FIELDS (DATE)] {3}\r\na)b FLAGS (\\Seen) X \"q\\\"\")\r\n"[..]);
        let tokens = tokens(&input.response().unwrap()).unwrap();
        assert_eq!(
            format!("{tokens:?}"),
            r#"[*, 1, FETCH, [BODY[HEADER.FIELDS (DATE)], "a)b", FLAGS, [\Seen], X, "q\""]]"#
        );
        assert_eq!(
            format!("{:?}", super::tokens(b"BINARY[1] ~{3}\r\na b UID 2").unwrap()),
            r#"[BINARY[1], "a b", UID, 2]"#
        );
    }
}
