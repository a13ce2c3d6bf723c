//! The header as lines: fields with their raw values, and picking fields out (RFC 5322 §2.2, RFC 9051 §6.4.5).
//!
//! A header ends at its first empty line or at the end of the bytes. A line that begins with white space continues
//! the one before it. Any other line is a field, if need be one without a name.

use std::borrow::Cow;

use memchr::memchr;

/// A longer name is not taken for one: the line then has no name.
const NAME_LEN_MAX: usize = 1000;

/// One field of a header.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Field<'a> {
    /// Without white space before the colon; empty if the line has no colon.
    pub name: &'a [u8],
    /// Everything behind the colon, white space, continuation lines and the last line end included (which is missing
    /// if the header was cut off there).
    pub raw_value: &'a [u8],
    /// The whole field: name, colon, value.
    pub raw: &'a [u8],
    /// Where it begins, in bytes from the beginning of the header.
    pub offset: usize,
    /// The line on which it begins, from 1, counting physical lines.
    pub line: u32,
}

impl<'a> Field<'a> {
    /// Takes a field's lines apart. Position and line are given as 0 and 1.
    pub(crate) fn parse(raw: &'a [u8]) -> Self {
        let line_len = memchr(b'\n', raw).unwrap_or(raw.len());
        let colon = memchr(b':', raw.get(..line_len).unwrap_or_default());
        let mut name = raw.get(..colon.unwrap_or(0)).unwrap_or_default();
        while let [rest @ .., b' ' | b'\t'] = name {
            name = rest;
        }
        let value_start = match colon {
            Some(colon) if name.len() <= NAME_LEN_MAX => colon + 1,
            _ => {
                name = b"";
                0
            }
        };
        Self { name, raw_value: raw.get(value_start..).unwrap_or_default(), raw, offset: 0, line: 1 }
    }

    /// The name compared without regard to case; a name ends at a NUL, if it has one.
    #[must_use]
    pub fn is(&self, name: &[u8]) -> bool {
        self.name_to_nul().eq_ignore_ascii_case(name)
    }

    /// Names are compared as C strings by those whose answers are to be matched.
    pub(crate) fn name_to_nul(&self) -> &'a [u8] {
        self.name.split(|&byte| byte == 0).next().unwrap_or_default()
    }

    /// The value as [`unfold_value`] gives it.
    #[must_use]
    pub fn value(&self) -> Cow<'a, [u8]> {
        unfold_value(self.raw_value)
    }
}

/// A raw value made ready for parsing: without the white space at its beginning and the line end at its end, line
/// ends within it being LF. Folding is left as it is. Borrows unless there are CRs to drop.
#[must_use]
pub fn unfold_value(raw: &[u8]) -> Cow<'_, [u8]> {
    let line_len = memchr(b'\n', raw).unwrap_or(raw.len());
    let first_line = raw.get(..line_len).unwrap_or_default();
    let first_line = if line_len < raw.len() { without_cr(first_line) } else { first_line };
    // Of a first line that is all white space only one is dropped, or Dovecot's answers would differ.
    let skip = match first_line.iter().position(|byte| !matches!(byte, b' ' | b'\t')) {
        Some(text) => text,
        None => first_line.len().min(1),
    };
    let value = raw.get(skip..).unwrap_or_default();
    let value = value.strip_suffix(b"\n").map_or(value, without_cr);
    if memchr(b'\r', value).is_none() {
        return Cow::Borrowed(value);
    }
    let mut lines = value.split(|&byte| byte == b'\n').peekable();
    let mut out = Vec::with_capacity(value.len());
    while let Some(line) = lines.next() {
        if lines.peek().is_some() {
            out.extend_from_slice(without_cr(line));
            out.push(b'\n');
        } else {
            out.extend_from_slice(line);
        }
    }
    Cow::Owned(out)
}

fn without_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Bytes of the header at the beginning of `message`, the empty line that ends it included.
#[must_use]
pub fn header_len(message: &[u8]) -> usize {
    let mut fields = Fields::new(message);
    fields.by_ref().for_each(drop);
    fields.pos
}

/// The fields of a header, in order. The bytes may go on with the body, which is not looked at.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    bytes: &'a [u8],
    pos: usize,
    line: u32,
    ended: bool,
}

impl<'a> Fields<'a> {
    /// `bytes` begin with the header.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, pos: 0, line: 1, ended: false }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let rest = self.bytes.get(self.pos..).unwrap_or_default();
        if self.ended || rest.is_empty() {
            return None;
        }
        for line_end in [&b"\n"[..], b"\r\n"] {
            if rest.starts_with(line_end) {
                self.ended = true;
                self.pos += line_end.len();
                return None;
            }
        }
        let (offset, line) = (self.pos, self.line);
        let mut len = 0;
        loop {
            let Some(line_len) = memchr(b'\n', rest.get(len..).unwrap_or_default()) else {
                len = rest.len();
                break;
            };
            len += line_len + 1;
            self.line = self.line.saturating_add(1);
            if !matches!(rest.get(len), Some(b' ' | b'\t')) {
                break;
            }
        }
        self.pos += len;
        Some(Field { offset, line, ..Field::parse(rest.get(..len).unwrap_or_default()) })
    }
}

/// Which fields `HEADER.FIELDS` and `HEADER.FIELDS.NOT` ask for; names in any case.
#[derive(Clone, Copy, Debug)]
pub enum HeaderSelection<'a> {
    /// Those named.
    Fields(&'a [&'a [u8]]),
    /// All others.
    FieldsNot(&'a [&'a [u8]]),
}

impl HeaderSelection<'_> {
    fn selects(&self, field: &Field<'_>) -> bool {
        let any = |names: &[&[u8]]| names.iter().any(|name| field.is(name));
        match self {
            Self::Fields(names) => any(names),
            Self::FieldsNot(names) => !any(names),
        }
    }
}

/// What [`write_header_fields`] does where a header is cut off: no empty line ends it, or not even its last line ends.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HeaderEnding {
    /// Adds the empty line: what Dovecot does for `BODY[HEADER.FIELDS (..)]` of the message itself.
    Always,
    /// Adds nothing: for `HEADER.FIELDS.NOT`, and for the headers of messages within the message.
    AsStored,
}

/// Appends the chosen fields of `header` as they stand, with CRLF line ends, and the empty line that ends it.
pub fn write_header_fields(out: &mut Vec<u8>, header: &[u8], selection: HeaderSelection<'_>, ending: HeaderEnding) {
    let mut fields = Fields::new(header);
    for field in fields.by_ref().filter(|field| selection.selects(field)) {
        for line in field.raw.split_inclusive(|&byte| byte == b'\n') {
            match line.strip_suffix(b"\n") {
                Some(line) => out.extend_from_slice(without_cr(line)),
                None => out.extend_from_slice(line),
            }
            if line.ends_with(b"\n") || ending == HeaderEnding::Always {
                out.extend_from_slice(b"\r\n");
            }
        }
    }
    if fields.ended || ending == HeaderEnding::Always {
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_with_their_places() {
        let header = b"A: b\r\n c\r\nX-No colon\nB : d\n\nbody: x\n";
        let fields: Vec<_> = Fields::new(header).map(|f| (f.name, f.value().into_owned(), f.offset, f.line)).collect();
        assert_eq!(
            fields,
            [(&b"A"[..], b"b\n c".to_vec(), 0, 1), (b"", b"X-No colon".to_vec(), 10, 3), (b"B", b"d".to_vec(), 21, 4)]
        );
        assert_eq!(header_len(header), 28);
        assert_eq!(header_len(b"A: b"), 4);
        assert_eq!(header_len(b"\nx"), 1);
    }

    #[test]
    fn white_space_before_a_value() {
        assert_eq!(*unfold_value(b" \t x \n"), *b"x ");
        assert_eq!(*unfold_value(b"  \r\n x\r\n"), *b" \n x");
        assert_eq!(*unfold_value(b"\n x"), *b"\n x");
        assert_eq!(*unfold_value(b" a\r"), *b"a\r");
    }

    #[test]
    fn selecting() {
        let select = |header: &str, selection, ending| {
            let mut out = Vec::new();
            write_header_fields(&mut out, header.as_bytes(), selection, ending);
            String::from_utf8(out).unwrap()
        };
        let to = HeaderSelection::Fields(&[b"TO", b"cc"]);
        let not_to = HeaderSelection::FieldsNot(&[b"to"]);
        let whole = "From: a\nTo: b\n c\nSubject: d\n\nTo: body\n";
        assert_eq!(select(whole, to, HeaderEnding::Always), "To: b\r\n c\r\n\r\n");
        assert_eq!(select(whole, not_to, HeaderEnding::AsStored), "From: a\r\nSubject: d\r\n\r\n");
        let cut_off = "From: a\nTo: b";
        assert_eq!(select(cut_off, to, HeaderEnding::Always), "To: b\r\n\r\n");
        assert_eq!(select(cut_off, to, HeaderEnding::AsStored), "To: b");
        assert_eq!(select(cut_off, not_to, HeaderEnding::AsStored), "From: a\r\n");
    }
}
