//! The tokens of structured header fields (RFC 5322 §3.2, RFC 2045 §5.1), read leniently.
//!
//! The grammar is wider than the RFCs': bytes from 0x80 up count as letters, and a token may be followed by comments
//! and folding white space anywhere. Every reading function advances past that white space too, so that afterwards
//! [`Lexer::peek`] is the next thing that means something. Nothing recurses; each call is linear in what it passes.

/// What stands in for a NUL byte in decoded values: U+FFFD in UTF-8.
pub(crate) const NUL_REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// The token at the cursor is not what was asked for, or is not closed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Broken;

/// Whether input is left after the token and the white space behind it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Next {
    More,
    End,
}

pub(crate) type Lexed = Result<Next, Broken>;

pub(crate) fn is_atext(byte: u8) -> bool {
    ATEXT.get(usize::from(byte)).copied().unwrap_or_default()
}

/// By byte.
static ATEXT: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = match byte as u8 {
            b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'/' | b'=' | b'?' | b'^'..=b'`' | b'{'..=b'~' => true,
            other => other.is_ascii_alphanumeric() || other >= 0x80,
        };
        byte += 1;
    }
    table
};

fn is_token_char(byte: u8) -> bool {
    byte == b'.' || (is_atext(byte) && !matches!(byte, b'/' | b'=' | b'?'))
}

/// A cursor over one unfolded or folded header value.
#[derive(Clone, Debug)]
pub(crate) struct Lexer<'a> {
    data: &'a [u8],
    pos: usize,
    /// NULs in quoted strings, comments and domain literals become [`NUL_REPLACEMENT`].
    pub(crate) replace_nuls: bool,
    /// The last comment that was passed, if comments are collected at all.
    pub(crate) last_comment: Option<Vec<u8>>,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(data: &'a [u8]) -> Self {
        Self { data, pos: 0, replace_nuls: false, last_comment: None }
    }

    /// For addresses, where the comment behind an address may be its display name.
    pub(crate) fn collecting_comments(data: &'a [u8]) -> Self {
        Self { data, pos: 0, replace_nuls: true, last_comment: Some(Vec::new()) }
    }

    /// The byte at the cursor; `None` at the end.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.data.get(self.pos).copied()
    }

    pub(crate) fn at_end(&self) -> bool {
        self.pos >= self.data.len()
    }

    /// Steps over one byte.
    pub(crate) fn bump(&mut self) {
        self.pos = self.data.len().min(self.pos + 1);
    }

    /// A mark for [`Lexer::rewind`].
    pub(crate) fn mark(&self) -> usize {
        self.pos
    }

    pub(crate) fn rewind(&mut self, mark: usize) {
        self.pos = mark;
    }

    fn next(&self) -> Next {
        if self.at_end() { Next::End } else { Next::More }
    }

    /// The bytes from the cursor on for which `wanted` holds, stepped over.
    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.data.get(self.pos..).unwrap_or_default();
        let len = rest.iter().position(|&byte| !wanted(byte)).unwrap_or(rest.len());
        self.pos += len;
        rest.get(..len).unwrap_or_default()
    }

    /// Like [`Lexer::take_while`] for callers outside the grammar.
    pub(crate) fn take_until(&mut self, stop: impl Fn(u8) -> bool) -> &'a [u8] {
        self.take_while(|byte| !stop(byte))
    }

    /// CFWS: white space and comments.
    pub(crate) fn skip_cfws(&mut self) -> Lexed {
        loop {
            self.take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
            if self.peek() != Some(b'(') {
                return Ok(self.next());
            }
            self.skip_comment()?;
        }
    }

    fn skip_comment(&mut self) -> Result<(), Broken> {
        self.bump();
        let mut text = self.last_comment.take();
        if let Some(text) = text.as_mut() {
            text.clear();
        }
        let mut scratch = Vec::new();
        let keep = text.is_some();
        let mut level = 1usize;
        let closed = self.delimited(keep, &mut scratch, |byte| {
            match byte {
                b'(' => level += 1,
                b')' => level -= 1,
                _ => {}
            }
            level == 0
        });
        if let Some(text) = text.as_mut() {
            *text = scratch;
        }
        self.last_comment = text;
        closed
    }

    /// Reads up to the byte for which `closes` holds, steps over it, and appends the content to `out`: quoted pairs
    /// unescaped, line ends removed, NULs replaced. What was read before a missing end stays in `out` only as far as
    /// the last such special place.
    fn delimited(&mut self, keep: bool, out: &mut Vec<u8>, mut closes: impl FnMut(u8) -> bool) -> Result<(), Broken> {
        let mut start = self.pos;
        while let Some(byte) = self.peek() {
            let here = self.pos;
            match byte {
                0 if self.replace_nuls && keep => {
                    out.extend_from_slice(self.between(start, here));
                    out.extend_from_slice(NUL_REPLACEMENT);
                    start = here + 1;
                }
                b'\n' if keep => {
                    out.extend_from_slice(without_cr(self.between(start, here)));
                    start = here + 1;
                }
                b'\\' => {
                    self.bump();
                    match self.peek() {
                        None => return Err(Broken),
                        // Such a backslash stands for itself.
                        Some(b'\r' | b'\n' | 0) => self.pos = here,
                        Some(_) => {
                            if keep {
                                out.extend_from_slice(self.between(start, here));
                            }
                            start = here + 1;
                        }
                    }
                }
                _ => {
                    if closes(byte) {
                        if keep {
                            out.extend_from_slice(self.between(start, here));
                        }
                        self.bump();
                        return Ok(());
                    }
                }
            }
            self.bump();
        }
        Err(Broken)
    }

    fn between(&self, start: usize, end: usize) -> &'a [u8] {
        self.data.get(start..end).unwrap_or_default()
    }

    /// One atom; at least one byte of it must be there.
    pub(crate) fn atom(&mut self, out: &mut Vec<u8>) -> Lexed {
        let atom = self.take_while(is_atext);
        if atom.is_empty() {
            return Err(Broken);
        }
        out.extend_from_slice(atom);
        self.skip_cfws()
    }

    /// Atoms joined by dots; white space around the dots is dropped (RFC 822 allowed it).
    pub(crate) fn dot_atom(&mut self, out: &mut Vec<u8>) -> Lexed {
        loop {
            if self.atom(out)? == Next::End {
                return Ok(Next::End);
            }
            if self.peek() != Some(b'.') {
                return Ok(Next::More);
            }
            self.bump();
            out.push(b'.');
            if self.skip_cfws()? == Next::End {
                return Err(Broken);
            }
        }
    }

    /// A MIME token and the dots in it; may be empty.
    pub(crate) fn mime_token(&mut self, out: &mut Vec<u8>) -> Lexed {
        out.extend_from_slice(self.take_while(is_token_char));
        self.skip_cfws()
    }

    /// A quoted string, the cursor being on its first quote.
    pub(crate) fn quoted_string(&mut self, out: &mut Vec<u8>) -> Lexed {
        self.bump();
        self.delimited(true, out, |byte| byte == b'"')?;
        self.skip_cfws()
    }

    /// Words of a display name, one space between them. An empty one is no error, but one that begins with a dot is.
    pub(crate) fn phrase(&mut self, out: &mut Vec<u8>) -> Lexed {
        match self.peek() {
            None => return Ok(Next::End),
            Some(b'.') => return Err(Broken),
            Some(_) => {}
        }
        loop {
            let next = if self.peek() == Some(b'"') {
                self.quoted_string(out)?
            } else {
                out.extend_from_slice(self.take_while(|byte| byte == b'.' || is_atext(byte)));
                self.skip_cfws()?
            };
            if next == Next::End {
                return Ok(Next::End);
            }
            match self.peek() {
                Some(byte) if is_atext(byte) || byte == b'"' || byte == b'.' => out.push(b' '),
                _ => return Ok(Next::More),
            }
        }
    }

    /// What follows an `@`, on which the cursor is: a dot-atom or a domain literal.
    pub(crate) fn domain(&mut self, out: &mut Vec<u8>) -> Lexed {
        self.bump();
        if self.skip_cfws()? == Next::End {
            return Err(Broken);
        }
        if self.peek() == Some(b'[') { self.domain_literal(out) } else { self.dot_atom(out) }
    }

    /// Brackets and backslashes stay in the output.
    fn domain_literal(&mut self, out: &mut Vec<u8>) -> Lexed {
        let mut start = self.pos;
        self.bump();
        while let Some(byte) = self.peek() {
            let here = self.pos;
            match byte {
                0 if self.replace_nuls => {
                    out.extend_from_slice(self.between(start, here));
                    out.extend_from_slice(NUL_REPLACEMENT);
                    start = here + 1;
                }
                b'[' => return Err(Broken),
                b']' => {
                    out.extend_from_slice(self.between(start, here + 1));
                    self.bump();
                    return self.skip_cfws();
                }
                b'\n' => {
                    out.extend_from_slice(without_cr(self.between(start, here)));
                    start = here + 1;
                }
                b'\\' => match self.data.get(here + 1) {
                    None => {
                        self.bump();
                        return Err(Broken);
                    }
                    Some(b'\r' | b'\n' | 0) => {
                        out.extend_from_slice(self.between(start, here + 1));
                        start = here + 1;
                    }
                    Some(_) => self.bump(),
                },
                _ => {}
            }
            self.bump();
        }
        Err(Broken)
    }
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_nest_and_are_unescaped() {
        let mut lexer = Lexer::collecting_comments(b" (a (b) \\) c) x");
        assert_eq!(lexer.skip_cfws(), Ok(Next::More));
        assert_eq!(lexer.peek(), Some(b'x'));
        assert_eq!(lexer.last_comment.as_deref(), Some(&b"a (b) ) c"[..]));
        assert_eq!(Lexer::new(b"(never closed").skip_cfws(), Err(Broken));
    }

    #[test]
    fn quoted_strings_lose_line_ends_and_escapes() {
        let mut out = Vec::new();
        assert_eq!(Lexer::new(b"\"a\\\"b\r\n c\\\\\" ").quoted_string(&mut out), Ok(Next::End));
        assert_eq!(out, b"a\"b c\\");
    }

    #[test]
    fn domains() {
        let mut out = Vec::new();
        assert_eq!(Lexer::new(b"@ a . b >").domain(&mut out), Ok(Next::More));
        assert_eq!(out, b"a.b");
        out.clear();
        assert_eq!(Lexer::new(b"@[1.2\\]3]").domain(&mut out), Ok(Next::End));
        assert_eq!(out, b"[1.2\\]3]");
        assert_eq!(Lexer::new(b"@a.").domain(&mut out), Err(Broken));
    }
}
