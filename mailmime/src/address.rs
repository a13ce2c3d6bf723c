//! Address lists (RFC 5322 §3.4), read leniently: whatever is there becomes some address.
//!
//! What is missing is filled in with words that no real address holds (`MISSING_DOMAIN`), as Dovecot does in ENVELOPE,
//! so that a client sees that there was something. A group becomes a start entry, its members and an end entry
//! (RFC 9051 §7.5.2).

use crate::lex::{Broken, Lexed, Lexer, Next, is_atext};

/// One entry of an address list as ENVELOPE knows it. Which of the four parts are there tells what it is:
/// with a domain it is a mailbox; without one, the start of a group named `mailbox`, or with no mailbox either, its end.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct Address {
    /// The display name, unquoted but not decoded (RFC 2047).
    pub name: Option<Vec<u8>>,
    /// The obsolete source route, `@a,@b`.
    pub route: Option<Vec<u8>>,
    /// The local part, unquoted; or the name of the group that begins here.
    pub mailbox: Option<Vec<u8>>,
    /// The domain, or the domain literal in its brackets.
    pub domain: Option<Vec<u8>>,
}

/// What an [`Address`] is taken to cost in memory beside its bytes.
pub(crate) const ADDRESS_OVERHEAD: usize = size_of::<Address>();

impl Address {
    pub(crate) fn memory_len(&self) -> usize {
        let fields = [&self.name, &self.route, &self.mailbox, &self.domain];
        ADDRESS_OVERHEAD + fields.iter().map(|field| field.as_ref().map_or(0, Vec::len)).sum::<usize>()
    }
}

/// Reads the value of an address field, of which no more than `count_max` entries (rounded up to whole groups).
/// The value may be folded. Linear in its length.
#[must_use]
pub fn parse_address_list(value: &[u8], count_max: usize) -> Vec<Address> {
    let mut parser = Parser {
        lexer: Lexer::collecting_comments(value),
        list: Vec::new(),
        count_max,
        address: Address::default(),
        invalid: false,
    };
    if parser.lexer.skip_cfws() == Ok(Next::More) {
        parser.address_list();
    }
    parser.list
}

/// Appends addresses as they are written when all are written alike: `Ann <ann@example.org>, <bob@example.org>`, groups as
/// `name: …;`. It is what Dovecot looks into for SEARCH FROM, TO, CC and BCC; encoded words stay as they are.
pub fn write_address_list(list: &[Address], out: &mut Vec<u8>) {
    let mut in_group = false;
    let mut is_first = true;
    for address in list {
        match (&address.mailbox, &address.domain) {
            (None, None) => {
                out.push(b';');
                (in_group, is_first) = (false, false);
                continue;
            }
            _ if !is_first => out.extend_from_slice(b", "),
            _ if in_group => out.push(b' '),
            _ => {}
        }
        let mailbox = address.mailbox.as_deref().unwrap_or_default();
        let Some(domain) = &address.domain else {
            write_phrase(mailbox, out);
            out.push(b':');
            (in_group, is_first) = (true, true);
            continue;
        };
        is_first = false;
        if let Some(name) = address.name.as_deref().filter(|name| !name.is_empty()) {
            write_phrase(name, out);
            out.push(b' ');
        }
        out.push(b'<');
        if let Some(route) = &address.route {
            out.extend_from_slice(route);
            out.push(b':');
        }
        write_word(mailbox, |byte| is_atext(byte) || byte == b'.', out);
        out.push(b'@');
        out.extend_from_slice(domain);
        out.push(b'>');
    }
}

/// A name: quoted unless it is an atom, or has an encoded word, which quotes would make none.
fn write_phrase(name: &[u8], out: &mut Vec<u8>) {
    if memchr::memmem::find(name, b"=?").is_some() {
        return out.extend_from_slice(name);
    }
    write_word(name, is_atext, out);
}

fn write_word(word: &[u8], is_plain: impl Fn(u8) -> bool, out: &mut Vec<u8>) {
    if !word.is_empty() && word.iter().all(|&byte| is_plain(byte)) {
        return out.extend_from_slice(word);
    }
    out.push(b'"');
    for &byte in word {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

struct Parser<'a> {
    lexer: Lexer<'a>,
    list: Vec<Address>,
    count_max: usize,
    /// The one being read.
    address: Address,
    /// Something in it was not as it should be.
    invalid: bool,
}

impl Parser<'_> {
    fn address_list(&mut self) {
        while self.list.len() < self.count_max {
            if self.address() == Ok(Next::End) || self.lexer.peek() != Some(b',') {
                return;
            }
            self.lexer.bump();
            match self.lexer.skip_cfws() {
                Ok(Next::More) => {}
                Ok(Next::End) => return,
                Err(Broken) => {
                    self.push_mailbox();
                    return;
                }
            }
        }
    }

    fn address(&mut self) -> Lexed {
        let start = self.lexer.mark();
        let (next, name) = self.display_name();
        if next == Ok(Next::More) && self.lexer.peek() == Some(b':') {
            return self.group(name);
        }
        self.mailbox(start, next, name)
    }

    fn display_name(&mut self) -> (Lexed, Vec<u8>) {
        let mut name = Vec::new();
        (self.lexer.phrase(&mut name), name)
    }

    /// The cursor is on the colon behind the group's name.
    fn group(&mut self, name: Vec<u8>) -> Lexed {
        self.lexer.bump();
        let mut next = self.lexer.skip_cfws();
        self.address.mailbox = Some(name);
        self.push();
        if next == Ok(Next::More) && self.lexer.peek() != Some(b';') {
            next = self.group_members(next);
        }
        if next.is_ok() {
            next = if self.lexer.peek() == Some(b';') {
                self.lexer.bump();
                self.lexer.skip_cfws()
            } else {
                Err(Broken)
            };
        }
        self.push();
        if next == Ok(Next::End) { next } else { Ok(Next::More) }
    }

    fn group_members(&mut self, next: Lexed) -> Lexed {
        while self.list.len() < self.count_max {
            // A broken member leaves some entry behind; the next comma is tried all the same.
            let start = self.lexer.mark();
            let (name_next, name) = self.display_name();
            let _ = self.mailbox(start, name_next, name);
            if self.lexer.peek() != Some(b',') {
                return next;
            }
            self.lexer.bump();
            if self.lexer.skip_cfws() != Ok(Next::More) {
                return Err(Broken);
            }
        }
        Err(Broken)
    }

    /// `name_next` and `name` are what reading a display name from `start` on gave.
    fn mailbox(&mut self, start: usize, name_next: Lexed, name: Vec<u8>) -> Lexed {
        let next = if name_next == Ok(Next::More) && self.lexer.peek() == Some(b'<') {
            self.name_addr(name)
        } else {
            self.lexer.rewind(start);
            let next = self.addr_spec();
            let address = &mut self.address;
            if self.invalid && address.name.is_none() && address.domain.is_none() {
                address.name = address.mailbox.take();
            }
            next
        };
        self.push_mailbox();
        next
    }

    /// `[display-name] <...>`, the cursor being on the angle bracket.
    fn name_addr(&mut self, name: Vec<u8>) -> Lexed {
        self.address.name = Some(name).filter(|name| !name.is_empty());
        if self.angle_addr().is_err() {
            self.address.domain = Some(b"SYNTAX_ERROR".to_vec());
            self.invalid = true;
        }
        Ok(if self.lexer.at_end() { Next::End } else { Next::More })
    }

    fn angle_addr(&mut self) -> Lexed {
        self.lexer.bump();
        self.more()?;
        if self.lexer.peek() == Some(b'@') {
            self.route()?;
        }
        if self.lexer.peek() != Some(b'>') {
            if self.local_part(&mut Vec::new())? == Next::End {
                return Err(Broken);
            }
            if self.lexer.peek() == Some(b'@') && self.domain()? == Next::End {
                return Err(Broken);
            }
        }
        if self.lexer.peek() != Some(b'>') {
            return Err(Broken);
        }
        self.lexer.bump();
        self.lexer.skip_cfws()
    }

    /// Skips white space; an error if nothing follows.
    fn more(&mut self) -> Result<(), Broken> {
        match self.lexer.skip_cfws()? {
            Next::More => Ok(()),
            Next::End => Err(Broken),
        }
    }

    /// `@a,@b:`, after which the cursor is on the local part.
    fn route(&mut self) -> Result<(), Broken> {
        if self.domain_list() == Ok(Next::More) && self.lexer.peek() == Some(b':') {
            self.lexer.bump();
        } else {
            self.address.route = Some(b"INVALID_ROUTE".to_vec());
            if self.lexer.at_end() {
                return Err(Broken);
            }
        }
        self.more()
    }

    fn domain_list(&mut self) -> Lexed {
        let mut route = Vec::new();
        loop {
            match self.lexer.peek() {
                None => return Ok(Next::End),
                Some(b'@') => {}
                Some(_) => break,
            }
            if !route.is_empty() {
                route.push(b',');
            }
            route.push(b'@');
            if self.lexer.domain(&mut route)? == Next::End {
                return Ok(Next::End);
            }
            while self.lexer.skip_cfws() == Ok(Next::More) && self.lexer.peek() == Some(b',') {
                self.lexer.bump();
            }
        }
        self.address.route = Some(route);
        Ok(Next::More)
    }

    /// `text` gets what was read, even of a broken local part.
    fn local_part(&mut self, text: &mut Vec<u8>) -> Lexed {
        let next =
            if self.lexer.peek() == Some(b'"') { self.lexer.quoted_string(text) } else { self.lenient_dot_atom(text) }?;
        self.address.mailbox = Some(text.clone());
        Ok(next)
    }

    /// A dot-atom that may begin or end with dots or have several in a row.
    fn lenient_dot_atom(&mut self, out: &mut Vec<u8>) -> Lexed {
        let mut next = Err(Broken);
        loop {
            while self.lexer.peek() == Some(b'.') {
                out.push(b'.');
                self.lexer.bump();
                if self.lexer.at_end() {
                    return Ok(Next::End);
                }
                next = Ok(Next::More);
            }
            if self.lexer.peek() == Some(b'@') {
                return next;
            }
            next = self.lexer.atom(out);
            if next != Ok(Next::More) || self.lexer.peek() != Some(b'.') {
                return next;
            }
        }
    }

    fn domain(&mut self) -> Lexed {
        let mut domain = Vec::new();
        let next = self.lexer.domain(&mut domain)?;
        self.address.domain = Some(domain);
        Ok(next)
    }

    /// `local@domain`, its name perhaps in a comment (`ann@example.org (Ann)`); or words that are no address.
    fn addr_spec(&mut self) -> Lexed {
        if let Some(comment) = self.lexer.last_comment.as_mut() {
            comment.clear();
        }
        let quoted = self.lexer.peek() == Some(b'"');
        let mut text = Vec::new();
        let mut next = self.local_part(&mut text);
        if next != Ok(Next::More) {
            self.invalid = true;
        }
        let mut domain_tried = false;
        if next != Ok(Next::End) && self.lexer.peek() == Some(b'@') {
            domain_tried = true;
            let domain = self.domain();
            if domain != Ok(Next::More) {
                next = domain;
            }
        }
        if let Some(comment) = self.lexer.last_comment.as_ref().filter(|comment| !comment.is_empty()) {
            self.address.name = Some(comment.clone());
        } else if !domain_tried {
            self.lone_words(text, quoted);
            next = Err(Broken);
        }
        next
    }

    /// One word alone is a mailbox; followed by others it was the beginning of a display name.
    fn lone_words(&mut self, mut text: Vec<u8>, quoted: bool) {
        text.push(b' ');
        let len = text.len();
        let _ = self.lexer.phrase(&mut text);
        if text.len() != len {
            self.address.mailbox = None;
            self.address.name = Some(text);
        } else if !quoted {
            self.address.domain = Some(Vec::new());
        }
        self.invalid = true;
    }

    /// Ends the current mailbox, filling in what it lacks.
    fn push_mailbox(&mut self) {
        self.address.mailbox.get_or_insert_with(|| b"MISSING_MAILBOX".to_vec());
        if self.address.domain.as_ref().is_none_or(Vec::is_empty) {
            self.address.domain = Some(b"MISSING_DOMAIN".to_vec());
        }
        self.push();
    }

    fn push(&mut self) {
        self.list.push(std::mem::take(&mut self.address));
        self.invalid = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> Vec<[String; 4]> {
        let text = |part: Option<Vec<u8>>| part.map_or("-".into(), |text| String::from_utf8(text).unwrap());
        parse_address_list(value.as_bytes(), usize::MAX)
            .into_iter()
            .map(|address| [address.name, address.route, address.mailbox, address.domain].map(text))
            .collect()
    }

    #[test]
    fn usual_forms() {
        for (value, expected) in [
            ("a@b", ["-", "-", "a", "b"]),
            ("Ann Lee <a@b>", ["Ann Lee", "-", "a", "b"]),
            ("\"Lee, Ann\" <a@b>", ["Lee, Ann", "-", "a", "b"]),
            ("a@b (Ann)", ["Ann", "-", "a", "b"]),
            ("<@x,@y:a@b>", ["-", "@x,@y", "a", "b"]),
            ("<a..b.@c>", ["-", "-", "a..b.", "c"]),
            ("user", ["-", "-", "user", "MISSING_DOMAIN"]),
            ("two words", ["two words", "-", "MISSING_MAILBOX", "MISSING_DOMAIN"]),
            ("<a@b", ["-", "-", "a", "SYNTAX_ERROR"]),
            ("x <>", ["x", "-", "MISSING_MAILBOX", "MISSING_DOMAIN"]),
        ] {
            assert_eq!(parse(value), [expected], "{value}");
        }
    }

    #[test]
    fn groups() {
        assert_eq!(
            parse("Team: a@b, c@d;, e@f"),
            [["-", "-", "Team", "-"], ["-", "-", "a", "b"], ["-", "-", "c", "d"], ["-"; 4], ["-", "-", "e", "f"]]
        );
        assert_eq!(parse("none:;"), [["-", "-", "none", "-"], ["-"; 4]]);
    }

    #[test]
    fn a_list_is_cut_at_its_limit() {
        assert_eq!(parse_address_list(b"a,b,c,d", 2).len(), 2);
    }

    /// What each was found to be by SEARCH FROM with Dovecot 2.3.19, letter by letter.
    #[test]
    fn written_alike() {
        for (value, expected) in [
            ("a@example.org (John \"Q\" Smith)", "\"John \\\"Q\\\" Smith\" <a@example.org>"),
            ("Jane   Doe  <j@x>", "\"Jane Doe\" <j@x>"),
            ("=?utf-8?q?Jane?= <j@x>", "=?utf-8?q?Jane?= <j@x>"),
            ("grp: m1@x, Mem Two <m2@x>;", "grp: <m1@x>, \"Mem Two\" <m2@x>;"),
            ("g1: a@b;, e@f", "g1: <a@b>;, <e@f>"),
            ("grp: ;", "grp:;"),
            (": a@b;", "\"\": <a@b>;"),
            ("\"quoted local\"@x", "<\"quoted local\"@x>"),
            ("name@", "<name@MISSING_DOMAIN>"),
            ("<@r1,@r2:foo@bar>", "<@r1,@r2:foo@bar>"),
            ("O'Neil <o@x>", "O'Neil <o@x>"),
            ("a.b <q@x>", "\"a.b\" <q@x>"),
            ("\"\" <e@y>", "<e@y>"),
            ("a@b; c@d", "<a@b>"),
        ] {
            let mut out = Vec::new();
            write_address_list(&parse_address_list(value.as_bytes(), 100), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected, "{value}");
        }
    }
}
