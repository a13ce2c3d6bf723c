//! The tokens that all commands are made of, read from one command's bytes: its lines, with their ends, and its
//! literals inline. Never recurses and never allocates more than the bytes it read.

use std::borrow::Cow;

use mailtypes::{SequenceBound, SequenceSet};

use super::chars;
use crate::{Limits, MessageSet, error::Fault, literal};

/// The result of a production.
pub(crate) type Parsed<T> = Result<T, Fault>;

/// Longest word compared with those of the grammar.
const WORD_LEN_MAX: usize = 24;

/// A word in capitals; empty when it is too long to be one of the grammar's.
pub(crate) struct Word {
    bytes: [u8; WORD_LEN_MAX],
    len: usize,
}

impl Word {
    pub(crate) fn new(word: &[u8]) -> Self {
        let mut bytes = [0; WORD_LEN_MAX];
        match bytes.get_mut(..word.len()) {
            Some(to) => {
                to.copy_from_slice(word);
                to.make_ascii_uppercase();
                Self { bytes, len: word.len() }
            }
            None => Self { bytes, len: 0 },
        }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

/// A place in a command.
#[derive(Clone, Copy)]
pub(crate) struct Cursor<'a> {
    rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(command: &'a [u8]) -> Self {
        Self { rest: command }
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// Steps over the byte if it is next.
    pub(crate) fn eat(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        if is_next {
            self.rest = self.rest.get(1..).unwrap_or_default();
        }
        is_next
    }

    pub(crate) fn expect(&mut self, byte: u8, otherwise: &'static str) -> Parsed<()> {
        if self.eat(byte) { Ok(()) } else { Err(Fault::syntax(otherwise)) }
    }

    /// `SP`, at least one: clients send more, and Dovecot takes them.
    pub(crate) fn space(&mut self) -> Parsed<()> {
        self.expect(b' ', "Expected a space.")?;
        self.skip_spaces();
        Ok(())
    }

    /// Spaces that may be there or not.
    pub(crate) fn skip_spaces(&mut self) {
        while self.eat(b' ') {}
    }

    /// The command's end. Spaces before it are forgiven: clients send them.
    pub(crate) fn end(&mut self) -> Parsed<()> {
        self.skip_spaces();
        match self.rest {
            [] | b"\n" | b"\r\n" => Ok(()),
            _ => Err(Fault::syntax("Too many arguments.")),
        }
    }

    /// Nothing left, not even a line's end.
    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// As many bytes as have the class; may be none.
    pub(crate) fn take_while(&mut self, class: impl Fn(u8) -> bool) -> &'a [u8] {
        let len = self.rest.iter().position(|&b| !class(b)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(len);
        self.rest = rest;
        taken
    }

    /// `atom`
    pub(crate) fn atom(&mut self) -> Parsed<&'a [u8]> {
        match self.take_while(chars::is_atom_char) {
            [] => Err(Fault::syntax("Expected an atom.")),
            atom => Ok(atom),
        }
    }

    /// An `atom` in capitals.
    pub(crate) fn word(&mut self) -> Parsed<Word> {
        self.atom().map(Word::new)
    }

    /// Letters, digits and dots in capitals, as in the names of `fetch-att`s; empty if there are none.
    pub(crate) fn dotted_word(&mut self) -> Word {
        Word::new(self.take_while(|b| b.is_ascii_alphanumeric() || b == b'.'))
    }

    /// `number64`, leading zeros allowed.
    pub(crate) fn number64(&mut self) -> Parsed<u64> {
        let digits = self.take_while(|b| b.is_ascii_digit());
        if digits.is_empty() {
            return Err(Fault::syntax("Expected a number."));
        }
        digits
            .iter()
            .try_fold(0u64, |n, b| n.checked_mul(10)?.checked_add(u64::from(b - b'0')))
            .ok_or(Fault::syntax("Number too large."))
    }

    /// `number`
    pub(crate) fn number(&mut self) -> Parsed<u32> {
        u32::try_from(self.number64()?).map_err(|_| Fault::syntax("Number too large."))
    }

    /// `astring`
    pub(crate) fn astring(&mut self) -> Parsed<Cow<'a, [u8]>> {
        match self.take_while(chars::is_astring_char) {
            [] => self.string(),
            atom => Ok(Cow::Borrowed(atom)),
        }
    }

    /// `list-mailbox`
    pub(crate) fn list_mailbox(&mut self) -> Parsed<Cow<'a, [u8]>> {
        match self.take_while(chars::is_list_char) {
            [] => self.string(),
            atom => Ok(Cow::Borrowed(atom)),
        }
    }

    /// `string`
    pub(crate) fn string(&mut self) -> Parsed<Cow<'a, [u8]>> {
        match self.peek() {
            Some(b'"') => self.quoted(),
            Some(b'{') => self.literal().map(Cow::Borrowed),
            _ => Err(Fault::syntax("Expected a string.")),
        }
    }

    /// `nstring`
    pub(crate) fn nstring(&mut self) -> Parsed<Option<Cow<'a, [u8]>>> {
        if matches!(self.peek(), Some(b'"' | b'{')) {
            return self.string().map(Some);
        }
        match self.word()?.as_bytes() {
            b"NIL" => Ok(None),
            _ => Err(Fault::syntax("Expected a string or NIL.")),
        }
    }

    /// `quoted`
    pub(crate) fn quoted(&mut self) -> Parsed<Cow<'a, [u8]>> {
        const UNENDED: Fault = Fault::syntax("Quoted string without an end.");
        self.expect(b'"', "Expected a quoted string.")?;
        let plain = self.take_while(|b| chars::is_quotable(b) && b != b'"' && b != b'\\');
        if self.eat(b'"') {
            return Ok(Cow::Borrowed(plain));
        }
        let mut unescaped = plain.to_vec();
        while self.eat(b'\\') {
            let escaped = self.peek().filter(|b| matches!(b, b'"' | b'\\'));
            unescaped.push(escaped.ok_or(Fault::syntax("Only \\ and \" can be escaped."))?);
            self.rest = self.rest.get(1..).unwrap_or_default();
            unescaped.extend_from_slice(self.take_while(|b| chars::is_quotable(b) && b != b'"' && b != b'\\'));
        }
        if self.eat(b'"') { Ok(Cow::Owned(unescaped)) } else { Err(UNENDED) }
    }

    /// `literal`
    fn literal(&mut self) -> Parsed<&'a [u8]> {
        let literal = self.literal8()?;
        if memchr::memchr(0, literal).is_some() {
            return Err(Fault::syntax("A literal cannot hold NUL here."));
        }
        Ok(literal)
    }

    /// A literal that may hold any bytes: `literal8` without its `~`.
    pub(crate) fn literal8(&mut self) -> Parsed<&'a [u8]> {
        const BROKEN: Fault = Fault::syntax("Broken literal.");
        let line_len = memchr::memchr(b'\n', self.rest).ok_or(BROKEN)? + 1;
        let (line, rest) = self.rest.split_at(line_len);
        let announced = literal::announced(line).filter(|announced| announced.at == 0 && !announced.binary);
        let len = usize::try_from(announced.ok_or(BROKEN)?.len).map_err(|_| BROKEN)?;
        let (literal, rest) = rest.split_at_checked(len).ok_or(BROKEN)?;
        self.rest = rest;
        Ok(literal)
    }

    /// `sequence-set`
    pub(crate) fn message_set(&mut self, limits: &Limits) -> Parsed<MessageSet> {
        if self.eat(b'$') {
            return Ok(MessageSet::SavedResult);
        }
        self.sequence_set(limits).map(MessageSet::Numbers)
    }

    /// `sequence-set`, without `$`.
    pub(crate) fn sequence_set(&mut self, limits: &Limits) -> Parsed<SequenceSet> {
        let mut ranges = Vec::new();
        loop {
            if ranges.len() >= limits.set_ranges_max {
                return Err(Fault::limit("Too many ranges in a set."));
            }
            let first = self.seq_number()?;
            let last = if self.eat(b':') { self.seq_number()? } else { first };
            ranges.push((first, last));
            if !self.eat(b',') {
                return Ok(SequenceSet(ranges));
            }
        }
    }

    /// `seq-number`
    fn seq_number(&mut self) -> Parsed<SequenceBound> {
        if self.eat(b'*') {
            return Ok(SequenceBound::Star);
        }
        match self.number() {
            Ok(0) => Err(Fault::syntax("A sequence set cannot hold 0.")),
            Ok(n) => Ok(SequenceBound::Number(n)),
            Err(_) => Err(Fault::syntax("Invalid sequence set.")),
        }
    }

    /// `(` item *(SP item) `)`, or `()`, with spaces more than that. `item` must read at least one byte or fail.
    pub(crate) fn list(&mut self, count_max: usize, mut item: impl FnMut(&mut Self) -> Parsed<()>) -> Parsed<()> {
        self.expect(b'(', "Expected a list.")?;
        self.skip_spaces();
        if self.eat(b')') {
            return Ok(());
        }
        for _ in 0..count_max {
            item(self)?;
            let spaced = self.peek() == Some(b' ');
            self.skip_spaces();
            if self.eat(b')') {
                return Ok(());
            }
            if !spaced {
                return Err(Fault::syntax("Expected a space or the end of a list."));
            }
        }
        Err(Fault::limit("Too many items in a list."))
    }
}
